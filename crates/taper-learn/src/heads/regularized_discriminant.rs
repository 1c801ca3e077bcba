//! Regularized discriminant analysis (Friedman 1989) with one covariance for all classes, shrunk towards the identity.
//! The share of the identity is chosen by leave-one-out likelihood, which is known in closed form.

use super::covariance::Covariance;
use super::embedding::TaskEmbedding;
use super::linear_on_features::LinearOnFeatures;
use super::matrix::{Matrix, dot, solve_positive};
use super::on_features::FeatureHead;
use crate::{
    Adapt, Classifier, Context, LearnError, Result, TaskNorm, TypedMethod, method_settings,
    methods::{Kind, MethodInfo, Registered, Training},
};
use candle_core::{Device, Tensor};
use taper_data::Batch;
use taper_models::State;

/// Regularized discriminant analysis on the features of an ordinary classifier, in a registry.
pub const REGULARIZED_DISCRIMINANT: Registered<RegularizedDiscriminant> = Registered::new();

method_settings! {
    /// Normal classes with a common covariance, shrunk towards the identity.
    pub struct RegularizedDiscriminant {}
}

impl TypedMethod for RegularizedDiscriminant {
    const INFO: MethodInfo = MethodInfo {
        name: "rda",
        title: "pretrained + RDA",
        kind: Kind::Transfer,
        paper: "Friedman 1989",
        transductive: false,
        norm: TaskNorm::Stored,
        training: Training::Pretraining,
    };

    fn learner(&self, context: &Context, state: State) -> Result<Box<dyn Adapt>> {
        Ok(context.on_features(self.clone(), &state))
    }
}

/// Shares of the identity to choose from.
const SHARES: [f64; 4] = [0.1, 0.3, 0.6, 0.9];
/// The share if no class has a second image to leave out, or there are too many classes.
const DEFAULT_SHARE: f64 = 0.6;
/// Images that the choice is made with at most: its time grows with their cube.
const MOST: usize = 500;

impl FeatureHead for RegularizedDiscriminant {
    fn fit(&self, features: &Tensor, support: &Batch, task: TaskEmbedding, _seed: u64) -> Result<Box<dyn Classifier>> {
        let labels: Vec<usize> = support.labels.to_vec1::<u32>()?.into_iter().map(|label| label as usize).collect();
        let rows = Matrix::from_tensor(features)?;
        // other views of an image that is left out would tell about it: the share is chosen in the first view
        let first = &labels[..labels.len() / support.views];
        let some = evenly(first, support.ways);
        let share = match some.len() {
            0..=MOST => Classes::new(&rows.select(&some), labels_of(first, &some), support.ways)?.best_share()?,
            _ => DEFAULT_SHARE,
        };
        let classes = Classes::new(&rows, labels, support.ways)?;
        let (weight, bias) = classes.head(share)?;
        let bias = (bias + classes.correction(share)?)?;
        // in units of the identity's part, so that fits to other images or with other shares have logits of one size,
        // and a temperature suits them all
        let unit = if classes.variance() > 0.0 { share * classes.variance() } else { 1.0 };
        Ok(Box::new(LinearOnFeatures::new(task, (weight * unit)?, (bias * unit)?)))
    }
}

fn labels_of(labels: &[usize], images: &[usize]) -> Vec<usize> {
    images.iter().map(|&image| labels[image]).collect()
}

/// An even share of each class, at least two images where there are two: at most [`MOST`] in all, unless there are more
/// than half as many classes.
fn evenly(labels: &[usize], ways: usize) -> Vec<usize> {
    let mut seen = vec![0usize; ways];
    // with two of each class first, the others must not exceed the rest
    let every = labels.len().div_ceil(MOST.saturating_sub(2 * ways).max(1));
    let kept = |&image: &usize| {
        let number = seen[labels[image]];
        seen[labels[image]] += 1;
        number == 1 || number.is_multiple_of(every)
    };
    (0..labels.len()).filter(kept).collect()
}

/// Classes of images with their means. Everything is relative to the mean image.
struct Classes {
    labels: Vec<usize>,
    /// Images of each class.
    counts: Vec<f64>,
    mean: Vec<f64>,
    /// The images, `(n, d)`.
    images: Matrix,
    /// `(ways, d)`.
    means: Matrix,
    /// The images less the means of their classes; where each class has a single one, less the mean image.
    residuals: Matrix,
}

impl Classes {
    /// # Errors
    /// Returns an error if a class has no image.
    fn new(features: &Matrix, labels: Vec<usize>, ways: usize) -> Result<Self> {
        let mean = features.mean();
        let images = features.clone().less(&mean);
        let mut counts = vec![0.0; ways];
        labels.iter().for_each(|&label| counts[label] += 1.0);
        if let Some(class) = counts.iter().position(|&count| count == 0.0) {
            return Err(LearnError::Invalid(format!(
                "class {class} of the task has no image: give each class at least one"
            )));
        }
        let means = means(&images, &labels, &counts);
        let single = counts.iter().all(|&count| count == 1.0);
        let from_mean = |row: usize, values: &mut [f64]| {
            values.iter_mut().zip(means.row(labels[row])).for_each(|(value, mean)| *value -= mean);
        };
        let residuals = if single { images.clone() } else { images.clone().each_row(from_mean) };
        Ok(Self { labels, counts, mean, images, means, residuals })
    }

    /// The mean variance of a feature inside the classes.
    fn variance(&self) -> f64 {
        let (n, d) = self.residuals.shape();
        self.residuals.norm_squared() / (n * d) as f64
    }

    /// Weight `Σ⁻¹μ_k`, `(ways, d)`, and bias `−½ μ_kᵀΣ⁻¹μ_k + ln π_k`, `(ways)`, as scikit-learn's
    /// `LinearDiscriminantAnalysis(solver="lsqr", shrinkage=share)`.
    fn head(&self, share: f64) -> Result<(Tensor, Tensor)> {
        let (n, d) = self.residuals.shape();
        let rows = self.residuals.clone().scaled(((1.0 - share) / n as f64).sqrt());
        let covariance = Covariance { diagonal: vec![share * self.variance(); d], rows };
        let weight = covariance.solve(&self.means.transpose())?.transpose();
        let bias = (0..self.counts.len()).map(|class| {
            let own = weight.row(class);
            let prior = (self.counts[class] / n as f64).ln();
            (-0.5 * dot(self.means.row(class), own) + prior - dot(&self.mean, own)) as f32
        });
        Ok((weight.to_tensor()?, Tensor::from_iter(bias, &Device::Cpu)?))
    }

    /// What the discriminants of classes of unequal sizes lack, `(ways)`. The distance to a mean of n images is too large by
    /// tr(Σ⁻¹S) / n on average, S the covariance inside the classes (Moran and Murphy 1979).
    fn correction(&self, share: f64) -> Result<Tensor> {
        let ways = self.counts.len();
        let even = self.counts.iter().all(|&count| count == self.counts[0]);
        let (n, d) = self.residuals.shape();
        if even || n <= ways {
            return Ok(Tensor::zeros(ways, candle_core::DType::F32, &Device::Cpu)?);
        }
        // the trace is the mean of rᵀΣ⁻¹r over residuals, with the freedom that the means take
        let some: Vec<usize> = (0..n).step_by(n.div_ceil(MOST)).collect();
        let some = self.residuals.select(&some);
        let rows = self.residuals.clone().scaled(((1.0 - share) / n as f64).sqrt());
        let solved =
            Covariance { diagonal: vec![share * self.variance(); d], rows }.solve(&some.transpose())?.transpose();
        let sum: f64 = some.iter().zip(solved.iter()).map(|(row, solved)| dot(row, solved)).sum();
        let trace = sum / some.shape().0 as f64 * n as f64 / (n - ways) as f64;
        Ok(Tensor::from_iter(self.counts.iter().map(|count| (0.5 * trace / count) as f32), &Device::Cpu)?)
    }

    /// The share under which images that are left out are the likeliest; of equal ones the first.
    fn best_share(&self) -> Result<f64> {
        // images that are the same but for rounding have no spread
        const NONE: f64 = 1e-12;
        let (n, d) = self.images.shape();
        let spread = self.variance() * (n * d) as f64 > NONE * self.images.norm_squared();
        if self.counts.iter().all(|&count| count == 1.0) || !spread {
            return Ok(DEFAULT_SHARE);
        }
        let products = Products::new(self)?;
        let mut best = (f64::INFINITY, DEFAULT_SHARE);
        for share in SHARES {
            let loss = least_cross_entropy(&self.left_out(&products, share)?);
            if loss < best.0 {
                best = (loss, share);
            }
        }
        Ok(best.1)
    }

    /// For each image that is not its class's only one, the discriminants of all classes without it, and its class.
    /// Leaving an image out moves its class's mean and takes a multiple of r rᵀ from the scatter, r its residual, so
    /// the inverse follows from Sherman and Morrison's formula; the identity's multiple stays.
    fn left_out(&self, products: &Products, share: f64) -> Result<Vec<(Vec<f64>, usize)>> {
        let n = self.labels.len();
        let within = (1.0 - share) / (n - 1) as f64;
        // zᵢᵀA⁻¹zⱼ for A = within · S + share · variance · I, by Woodbury's identity
        let inverse = products.inverse(within, share * self.variance())?;
        let to_means = class_means(&inverse, &self.labels, &self.counts);
        let between = means(&to_means, &self.labels, &self.counts);
        let of_image = |image: usize| {
            let (own, count) = (self.labels[image], self.counts[self.labels[image]]);
            let (square, to) = (inverse.row(image)[image], to_means.row(image));
            // rᵀA⁻¹r, and how much of S goes with the image
            let along = square - 2.0 * to[own] + between.row(own)[own];
            let stretch = count / (count - 1.0);
            let correction = within * stretch / (1.0 - within * stretch * along);
            let discriminant = |class: usize| {
                let (distance, product, others) = if class == own {
                    (stretch * stretch * along, stretch * along, count - 1.0)
                } else {
                    let distance = square - 2.0 * to[class] + between.row(class)[class];
                    (distance, square - to[own] - to[class] + between.row(class)[own], self.counts[class])
                };
                others.ln() - 0.5 * (distance + correction * product * product)
            };
            ((0..self.counts.len()).map(discriminant).collect(), own)
        };
        Ok((0..n).filter(|&image| self.counts[self.labels[image]] > 1.0).map(of_image).collect())
    }
}

/// Mean rows by class.
fn means(rows: &Matrix, labels: &[usize], counts: &[f64]) -> Matrix {
    let mut means = Matrix::zeros(counts.len(), rows.shape().1);
    for (row, &label) in rows.iter().zip(labels) {
        means.row_mut(label).iter_mut().zip(row).for_each(|(sum, value)| *sum += value / counts[label]);
    }
    means
}

/// Mean columns by class: `(n, n)` to `(n, ways)`.
fn class_means(rows: &Matrix, labels: &[usize], counts: &[f64]) -> Matrix {
    let mut means = Matrix::zeros(rows.shape().0, counts.len());
    for (number, row) in rows.iter().enumerate() {
        let sums = means.row_mut(number);
        row.iter().zip(labels).for_each(|(value, &label)| sums[label] += value / counts[label]);
    }
    means
}

/// Inner products of the images.
struct Products {
    /// Images by images.
    all: Matrix,
    /// Residuals by images.
    mixed: Matrix,
    /// Residuals by residuals.
    within: Matrix,
}

impl Products {
    fn new(classes: &Classes) -> Result<Self> {
        let Classes { images, residuals, .. } = classes;
        Ok(Self {
            all: images.times_transposed(images)?,
            mixed: residuals.times_transposed(images)?,
            within: residuals.times_transposed(residuals)?,
        })
    }

    /// The images' inner products by `(within · S + diagonal · I)⁻¹`, S the scatter of the residuals.
    fn inverse(&self, within: f64, diagonal: f64) -> Result<Matrix> {
        let inner = self.within.clone().scaled(within).each_row(|k, row| row[k] += diagonal);
        let correction = self.mixed.transposed_times(&solve_positive(&inner, &self.mixed)?)?;
        Ok(Matrix::from_fn(self.all.shape().0, self.all.shape().1, |i, j| {
            (self.all.row(i)[j] - within * correction.row(i)[j]) / diagonal
        }))
    }
}

/// The mean cross-entropy of the discriminants divided by the temperature that suits them best: a classifier's
/// probabilities are calibrated in the end, so their sharpness must not decide.
fn least_cross_entropy(rows: &[(Vec<f64>, usize)]) -> f64 {
    let at = |temperature: f64| -> f64 {
        let of = |(discriminants, label): &(Vec<f64>, usize)| {
            let most = discriminants.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = discriminants.iter().map(|value| ((value - most) / temperature).exp()).sum();
            sum.ln() - (discriminants[*label] - most) / temperature
        };
        rows.iter().map(of).sum::<f64>() / rows.len() as f64
    };
    (-2..=8).map(|half| at(10f64.powf(f64::from(half) / 2.0))).fold(f64::INFINITY, f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heads::golden::{Golden, assert_close, golden};
    use rand::Rng as _;

    fn classes() -> Classes {
        let Golden { features, labels, ways, .. } = golden();
        Classes::new(&features, labels.into_iter().map(|label| label as usize).collect(), ways).unwrap()
    }

    #[test]
    fn weights_are_scikit_learns() {
        let Golden { features, labels, ways, few, rda, rda_few, .. } = golden();
        let labels: Vec<usize> = labels.into_iter().map(|label| label as usize).collect();
        for (count, expected) in [(labels.len(), &rda), (few, &rda_few)] {
            let rows = features.select(&(0..count).collect::<Vec<_>>());
            let (weight, bias) = Classes::new(&rows, labels[..count].to_vec(), ways).unwrap().head(0.3).unwrap();
            // scikit-learn's are not relative to the mean image, which adds the same to all classes
            let relative = |all: &Tensor| all.broadcast_sub(&all.get(0).unwrap()).unwrap();
            let weight_of =
                |values: &[f64]| Tensor::from_slice(values, (ways, values.len() / ways), &Device::Cpu).unwrap();
            for (ours, expected) in [(weight, &expected.weight), (bias.unsqueeze(1).unwrap(), &expected.bias)] {
                assert_close(
                    &relative(&ours),
                    &relative(&weight_of(expected)).flatten_all().unwrap().to_vec1().unwrap(),
                );
            }
        }
    }

    /// The discriminants of `image` by covariance `within · S + diagonal · I` of the other images.
    fn refitted(all: &Classes, image: usize, share: f64) -> Vec<f64> {
        let (n, d) = all.images.shape();
        let others: Vec<usize> = (0..n).filter(|&other| other != image).collect();
        let (rows, labels) = (all.images.select(&others), labels_of(&all.labels, &others));
        let rest = Classes::new(&rows, labels, all.counts.len()).unwrap();
        let (within, diagonal) = ((1.0 - share) / others.len() as f64, share * all.variance());
        let scatter = rest.residuals.transposed_times(&rest.residuals).unwrap();
        let covariance = scatter.scaled(within).each_row(|k, row| row[k] += diagonal);
        let of_class = |class: usize| {
            let at = |k: usize| all.images.row(image)[k] - rest.mean[k] - rest.means.row(class)[k];
            let difference = Matrix::from_fn(d, 1, |k, _| at(k));
            let solved = solve_positive(&covariance, &difference).unwrap();
            rest.counts[class].ln() - 0.5 * (0..d).map(|k| at(k) * solved.row(k)[0]).sum::<f64>()
        };
        (0..rest.counts.len()).map(of_class).collect()
    }

    #[test]
    fn left_out_images_get_what_a_fit_without_them_says() {
        let classes = classes();
        let products = Products::new(&classes).unwrap();
        for share in [0.1, 0.6] {
            let left_out = classes.left_out(&products, share).unwrap();
            assert_eq!(left_out.len(), classes.labels.len());
            for (image, (ours, label)) in left_out.iter().enumerate().step_by(7) {
                assert_eq!(*label, classes.labels[image]);
                for (ours, expected) in ours.iter().zip(refitted(&classes, image, share)) {
                    assert!((ours - expected).abs() < 1e-6 * expected.abs().max(1.0), "{image}: {ours}, {expected}");
                }
            }
        }
    }

    #[test]
    fn a_class_spread_along_few_directions_gets_a_small_share_of_the_identity_and_noise_a_large_one() {
        let noise = |i: usize, j: usize| ((i * 7919 + j * 104_729 + i * i * j) % 1009) as f64 / 1009.0 - 0.5;
        let labels: Vec<usize> = (0..60).map(|i| i % 2).collect();
        // classes differ along a direction of little variance, beside one of much
        let flat = Matrix::from_fn(60, 4, |i, j| {
            let class = (i % 2) as f64 - 0.5;
            if j == 0 { 100.0 * noise(i, 0) + 20.0 * class } else { noise(i, j) + 2.0 * class }
        });
        let round = Matrix::from_fn(60, 80, |i, j| noise(i, j) + if j == i % 2 { 1.0 } else { 0.0 });
        let share = |rows: &Matrix| Classes::new(rows, labels.clone(), 2).unwrap().best_share().unwrap();
        assert!(share(&flat) < share(&round), "{} {}", share(&flat), share(&round));
    }

    #[test]
    fn a_small_class_is_found_as_often_as_a_large_one() {
        let noise = |i: usize, j: usize| taper_ops::rng(i as u64, "noise", j as u64).random_range(-1.0..1.0);
        let rows = |count: usize, from: usize| {
            Matrix::from_fn(count, 60, |i, j| noise(from + i, j) + if j == 0 { 2.5 * (i % 2) as f64 } else { 0.0 })
        };
        // class 1, the odd rows, has 3 images, class 0 has 30
        let kept: Vec<usize> = (0..60).filter(|i| i % 2 == 0 || *i < 6).collect();
        let classes = Classes::new(&rows(60, 0).select(&kept), kept.iter().map(|i| i % 2).collect(), 2).unwrap();
        let (weight, bias) = classes.head(0.6).unwrap();
        let queries = rows(400, 1000);
        let found = |bias: &Tensor| {
            let logits = taper_ops::linear(&queries.to_tensor().unwrap(), &weight, bias).unwrap();
            let given = logits.argmax(1).unwrap().to_vec1::<u32>().unwrap();
            (1..400).step_by(2).filter(|&i| given[i] == 1).count()
        };
        let corrected = (&bias + classes.correction(0.6).unwrap()).unwrap();
        assert!(
            found(&bias) + 30 < found(&corrected) && found(&corrected) > 140,
            "{} {}",
            found(&bias),
            found(&corrected)
        );
        let equal = Classes::new(&rows(60, 0), (0..60).map(|i| i % 2).collect(), 2).unwrap();
        assert_eq!(equal.correction(0.6).unwrap().to_vec1::<f32>().unwrap(), [0.0, 0.0]);
    }

    #[test]
    fn single_images_have_the_spread_between_them_and_an_even_share_of_many_is_looked_at() {
        let rows = Matrix::from_fn(3, 5, |i, j| ((i * 5 + j * j) % 7) as f64);
        let classes = Classes::new(&rows, vec![0, 1, 2], 3).unwrap();
        assert_eq!(classes.best_share().unwrap(), DEFAULT_SHARE);
        assert!(classes.variance() > 0.0 && classes.head(DEFAULT_SHARE).is_ok());
        let labels: Vec<usize> = (0..4000).map(|i| usize::from(i % 1000 == 999)).collect();
        let some = labels_of(&labels, &evenly(&labels, 2));
        let small = some.iter().filter(|label| **label == 1).count();
        assert!((2..=3).contains(&small) && (350..=MOST).contains(&some.len()), "{small} of {}", some.len());
        assert!(Classes::new(&rows, vec![0, 0, 2], 3).err().unwrap().to_string().contains("class 1"));
    }
}
