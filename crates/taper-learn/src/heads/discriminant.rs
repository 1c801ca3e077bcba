//! Linear discriminant analysis (Fisher 1936) with each class's covariance shrunk as in Ledoit and
//! Wolf (2004), as scikit-learn's `LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")`.

use super::covariance::Covariance;
use super::embedding::TaskEmbedding;
use super::linear_on_features::LinearOnFeatures;
use super::matrix::{Matrix, dot};
use super::on_features::FeatureHead;
use crate::{
    Adapt, Classifier, Context, LearnError, Result, TaskNorm, TypedMethod, method_settings,
    methods::{Kind, MethodInfo, Registered, Training},
};
use candle_core::{Device, Tensor};
use taper_data::Batch;
use taper_models::State;

/// Discriminant analysis on the features of an ordinary classifier, in a registry.
pub const DISCRIMINANT: Registered<Discriminant> = Registered::new();

method_settings! {
    /// Normal classes with a common covariance, estimated with shrinkage.
    pub struct Discriminant {}
}

impl TypedMethod for Discriminant {
    const INFO: MethodInfo = MethodInfo {
        name: "lda",
        title: "pretrained + LDA",
        kind: Kind::Transfer,
        paper: "Ledoit and Wolf 2004",
        transductive: false,
        norm: TaskNorm::Stored,
        training: Training::Pretraining,
    };

    fn learner(&self, context: &Context, state: State) -> Result<Box<dyn Adapt>> {
        Ok(context.on_features(self.clone(), &state))
    }
}

impl FeatureHead for Discriminant {
    fn fit(&self, features: &Tensor, support: &Batch, task: TaskEmbedding, _seed: u64) -> Result<Box<dyn Classifier>> {
        let (weight, bias) = fit(&Matrix::from_tensor(features)?, &support.labels.to_vec1::<u32>()?, support.ways)?;
        Ok(Box::new(LinearOnFeatures::new(task, weight, bias)))
    }
}

/// Weight `Σ⁻¹μ_k`, `(ways, d)`, and bias `−½ μ_kᵀΣ⁻¹μ_k + ln π_k`, `(ways)`.
fn fit(features: &Matrix, labels: &[u32], ways: usize) -> Result<(Tensor, Tensor)> {
    let (n, d) = features.shape();
    let mut means = Matrix::zeros(ways, d);
    let mut covariance = Covariance { diagonal: vec![0.0; d], rows: Matrix::zeros(n, d) };
    let mut priors = vec![0.0; ways];
    for (class, prior) in priors.iter_mut().enumerate() {
        let members: Vec<usize> = (0..n).filter(|&row| labels[row] as usize == class).collect();
        if members.is_empty() {
            return Err(LearnError::Invalid(format!(
                "class {class} of the task has no image: give each class at least one"
            )));
        }
        *prior = members.len() as f64 / n as f64;
        let images = features.select(&members);
        let mean = images.mean();
        means.row_mut(class).copy_from_slice(&mean);
        add(&mut covariance, &members, images.less(&mean), *prior)?;
    }
    let weight = covariance.solve(&means.transpose())?.transpose();
    let bias = (0..ways).map(|k| (-0.5 * dot(means.row(k), weight.row(k)) + priors[k].ln()) as f32);
    Ok((weight.to_tensor()?, Tensor::from_iter(bias, &Device::Cpu)?))
}

/// Adds to `covariance` `prior` times the shrunk covariance of one class's centered `images`, which are its rows
/// `members`. Features are brought to unit variance for the shrinkage and back.
fn add(covariance: &mut Covariance, members: &[usize], images: Matrix, prior: f64) -> Result<()> {
    let (n, d) = images.shape();
    let squares = images.clone().each_row(|_, row| row.iter_mut().for_each(|value| *value *= *value));
    let usable = |deviation: f64| if deviation > 1e-12 { deviation } else { 1.0 };
    let scales: Vec<f64> = squares.mean().into_iter().map(|variance| usable(variance.sqrt())).collect();
    let scaled = images.clone().each_row(|_, row| row.iter_mut().zip(&scales).for_each(|(v, scale)| *v /= scale));
    let mean_variance = scaled.norm_squared() / (n * d) as f64;
    let shrinkage = ledoit_wolf(&scaled)?;
    for (value, scale) in covariance.diagonal.iter_mut().zip(&scales) {
        *value += prior * shrinkage * mean_variance * scale * scale;
    }
    let share = (prior * (1.0 - shrinkage) / n as f64).sqrt();
    for (&row, image) in members.iter().zip(images.scaled(share).iter()) {
        covariance.rows.row_mut(row).copy_from_slice(image);
    }
    Ok(())
}

/// The share of the identity that Ledoit and Wolf mix into the covariance of centered `rows (n, d)`.
fn ledoit_wolf(rows: &Matrix) -> Result<f64> {
    let (images, width) = rows.shape();
    let (n, d) = (images as f64, width as f64);
    let trace = rows.norm_squared() / n;
    let mean = trace / d;
    let fourth: f64 = rows.iter().map(|row| dot(row, row).powi(2)).sum();
    let gram = if images <= width { rows.times_transposed(rows)? } else { rows.transposed_times(rows)? };
    let squared = gram.norm_squared() / (n * n);
    let delta = (squared - 2.0 * mean * trace + d * mean * mean) / d;
    let beta = ((fourth / n - squared) / (d * n)).min(delta);
    Ok(if beta <= 0.0 { 0.0 } else { beta / delta })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heads::golden::{Golden, assert_close, golden};

    #[test]
    fn weights_are_scikit_learns_for_many_images_and_for_few() {
        let Golden { features, labels, ways, lda, few, lda_few, .. } = golden();
        let (weight, bias) = fit(&features, &labels, ways).unwrap();
        assert_close(&weight, &lda.weight);
        assert_close(&bias, &lda.bias);
        let (weight, bias) = fit(&features.select(&(0..few).collect::<Vec<_>>()), &labels[..few], ways).unwrap();
        assert_close(&weight, &lda_few.weight);
        assert_close(&bias, &lda_few.bias);
    }

    #[test]
    fn one_image_per_class_gives_the_nearest_mean() {
        let features =
            Matrix::from_tensor(&Tensor::new(&[[1f32, 0.0, 2.0], [-1.0, 3.0, 0.5]], &Device::Cpu).unwrap()).unwrap();
        let (weight, _) = fit(&features, &[0, 1], 2).unwrap();
        assert_eq!(weight.to_vec2::<f32>().unwrap(), [[1.0, 0.0, 2.0], [-1.0, 3.0, 0.5]]);
    }
}
