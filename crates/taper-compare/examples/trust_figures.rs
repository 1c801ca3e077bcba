//! The figures of `docs/guide/predict.md`: how well images of other classes are refused, how often prediction sets hold
//! the right class, and what adding classes costs.
//!
//! ```sh
//! cargo run --release -p taper-compare --example trust_figures -- DATA WEIGHTS CACHE 1000
//! ```
//!
//! `DATA` holds `trashnet`, `sign-digits` and `grocery`; `CACHE` is a directory for features; the number is that of
//! draws of labels for prediction sets. A fifth argument, `rejection`, `sets` or `adding`, makes only that table.

#![allow(clippy::print_stdout, reason = "an example prints")]
#![allow(unsafe_code, reason = "switches of the process are set before its first thread")]

use candle_core::Tensor;
use faer::linalg::solvers::Solve;
use faer::{Mat, Side};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use taper_compare::{Revision, adapt, revise};
use taper_data::{Class, Dataset, Hash, Image, Inputs, Part, View, images_of_part, open};
use taper_learn::evaluation::Labeled;
use taper_learn::heads::{NEAREST_MEAN, RIDGE, default_folds, unit_length};
use taper_learn::methods::SettingValues;
use taper_learn::models::Origin;
use taper_learn::provenance::Provenance;
use taper_learn::statistics::{mean_interval, paired_difference, wilson_interval};
use taper_learn::support::{Assessor, HeldOut, Rows, Similarity, Support, SupportImage};
use taper_learn::{Adapt, Context, Interval, Method, Model, NoopObserver, TaskNorm};
use taper_models::catalog::{Pretrained, WeightHints};
use taper_models::{Head, Network, State};
use taper_ops::{map_in_order, permutation, rng};
use taper_transfer::{FeatureCache, Features, Problem, ProblemOptions};

type Fallible<T> = Result<T, Box<dyn Error>>;

/// A data set with features of all its images.
struct Data {
    name: &'static str,
    problem: Problem,
    rows: Rows,
    train: Vec<usize>,
    val: Vec<usize>,
}

impl Data {
    fn open(name: &'static str, folder: &Path, weights: &Pretrained, cache: &FeatureCache) -> Fallible<Self> {
        let dataset = open(&folder.join(name))?;
        let problem = Problem::new(dataset.clone(), Some(weights), &ProblemOptions::default(), &mut NoopObserver)?;
        let images: Vec<usize> = (0..dataset.labels().len()).collect();
        let (network, state) = (problem.network(), problem.state());
        let features = Features::compute(problem.view(), &images, network, state, Some(cache), |_, _| Ok(()))?;
        let rows = Rows(features.inputs(&images, None)?);
        let part = |part| images_of_part(dataset.as_ref(), part);
        Ok(Self { name, rows, train: part(Part::Train), val: part(Part::Validation), problem })
    }

    fn labels(&self) -> &[u32] {
        self.problem.dataset().labels()
    }

    fn ways(&self) -> usize {
        self.problem.dataset().classes().len()
    }

    /// `shots` of the images `from` of each of `classes`, but at most three quarters, labeled by place; and the others, at
    /// most 20 of each class.
    fn draw(&self, from: &[usize], classes: &[u32], shots: usize, number: u64) -> [Labeled; 2] {
        const OTHERS: usize = 20;
        let empty = || Labeled { images: Vec::new(), labels: Vec::new(), ways: classes.len() };
        let (mut drawn, mut others) = (empty(), empty());
        for (place, &class) in (0..).zip(classes) {
            let own: Vec<usize> = from.iter().copied().filter(|&image| self.labels()[image] == class).collect();
            let order = permutation(&mut rng(number, "draw", u64::from(class)), own.len());
            let (first, rest) = order.split_at(shots.min(own.len() * 3 / 4));
            for (part, order) in [(&mut drawn, first), (&mut others, &rest[..rest.len().min(OTHERS)])] {
                part.images.extend(order.iter().map(|&at| own[at]));
                part.labels.resize(part.images.len(), place);
            }
        }
        [drawn, others]
    }

    /// Validation images of these classes, labeled by place.
    fn val_of(&self, classes: &[u32]) -> Labeled {
        let place = |image: &usize| classes.iter().position(|&class| class == self.labels()[*image]);
        let found = self.val.iter().filter_map(|image| Some((*image, place(image)? as u32)));
        let (images, labels) = found.unzip();
        Labeled { images, labels, ways: classes.len() }
    }

    fn learner(&self, method: &dyn Method) -> Fallible<Box<dyn Adapt>> {
        let context = Context::new(self.problem.network().with_head(Head::Identity), TaskNorm::Stored);
        Ok(method.configure(&SettingValues::new(), context)?.learner(self.problem.state().clone())?)
    }

    fn features(&self, images: &[usize]) -> Fallible<Tensor> {
        Ok(self.rows.inputs(images, None)?)
    }
}

/// A head with what it keeps, as `taper train` would keep it.
struct Fitted {
    network: Network,
    state: State,
    support: Support,
}

impl Fitted {
    fn new(data: &Data, learner: &dyn Adapt, labeled: &Labeled) -> Fallible<Self> {
        let (network, state) = learner.adapt(&labeled.batch(&data.rows)?, 0)?.network()?;
        let folds = default_folds(&labeled.labels, labeled.ways).ok_or("a class has one image")?;
        let learn = |kept: &[usize]| labeled.select(kept).batch(&data.rows);
        let similarity = Similarity::new(&network, &state, &data.features(&labeled.images)?)?;
        let held_out = HeldOut::out_of_fold(learner, &learn, &data.rows, labeled, Some(&similarity), folds, 0)?;
        Self::keeping(data, labeled, network, state, held_out)
    }

    fn keeping(data: &Data, labeled: &Labeled, network: Network, state: State, held_out: HeldOut) -> Fallible<Self> {
        let image = |_: &usize| SupportImage { name: String::new(), content: Hash([0; 32]) };
        let support = Support {
            features: data.features(&labeled.images)?,
            labels: labeled.labels.clone(),
            images: labeled.images.iter().map(image).collect(),
            head: None,
            held_out: Some(held_out),
        };
        Ok(Self { network, state, support })
    }

    fn assessor(&self) -> Fallible<Assessor> {
        Ok(Assessor::new(&self.network, &self.state, &self.support)?)
    }

    fn logits(&self, features: &Tensor) -> Fallible<Tensor> {
        Ok(self.network.logits(&self.state, features)?.detach())
    }
}

fn main() -> Fallible<()> {
    // SAFETY: the first statement of main, before any thread exists.
    unsafe { taper_ops::configure_process() };
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ([folder, weights, cache, draws], only) = match arguments.as_slice() {
        [folder, weights, cache, draws] => ([folder, weights, cache, draws], None),
        [folder, weights, cache, draws, only] => ([folder, weights, cache, draws], Some(only.as_str())),
        _ => return Err("give a folder of data sets, weights, a directory for features and a number of draws".into()),
    };
    let is_asked = |table| only.is_none_or(|only| only == table);
    let pretrained = Pretrained::read(Path::new(weights), &WeightHints::default())?;
    let cache = FeatureCache::new(Path::new(cache));
    let open = |name| Data::open(name, Path::new(folder), &pretrained, &cache);
    let all = [open("trashnet")?, open("sign-digits")?, open("grocery")?];
    if is_asked("rejection") {
        rejection(&all)?;
    }
    if is_asked("sets") {
        prediction_sets(&all, draws.parse()?)?;
    }
    if is_asked("adding") {
        adding(&all[2], &cache)?;
    }
    Ok(())
}

// ---- rejection

/// Scores that are compared; higher for more foreign images.
const SCORES: [&str; 4] = ["Taper", "max-softmax", "kNN distance", "Mahalanobis"];
/// Classes left out together, and how often.
const LEFT_OUT: [(&str, usize, u64); 3] = [("trashnet", 1, 6), ("sign-digits", 2, 5), ("grocery", 16, 5)];

fn rejection(all: &[Data]) -> Fallible<()> {
    println!("| data, labels per class | foreign images | {} | gain over the best other |", SCORES.join(" | "));
    println!("|---|---|{}---|", "---|".repeat(SCORES.len()));
    let mut rates = Vec::new();
    for (data, (_, count, draws)) in all.iter().zip(LEFT_OUT) {
        for shots in [2, 5, 20] {
            let numbers: Vec<u64> = (0..draws).collect();
            let made = map_in_order(&numbers, |_, &draw| {
                one_rejection(all, data, count, shots, draw).map_err(|error| error.to_string())
            });
            let made = made.into_iter().collect::<Result<Vec<_>, _>>()?;
            for (place, foreign) in ["left-out classes", "other data sets"].into_iter().enumerate() {
                let of = |score: usize| made.iter().map(|one| one.areas[place][score]).collect::<Vec<f64>>();
                let cells = (0..SCORES.len()).map(|score| percent(mean_interval(&of(score))));
                let best = (1..SCORES.len())
                    .max_by(|&a, &b| mean_interval(&of(a)).mean.total_cmp(&mean_interval(&of(b)).mean));
                let gain = percent(paired_difference(&of(0), &of(best.unwrap_or(1))));
                let cells = cells.collect::<Vec<_>>().join(" | ");
                println!("| {}, {shots} | {foreign} | {cells} | {gain} |", data.name);
            }
            let refused = [0, 1].map(|part| {
                let shares: Vec<f64> = made.iter().filter_map(|one| Some(one.refused?[part])).collect();
                if shares.is_empty() { "can't be promised".into() } else { percent(mean_interval(&shares)) }
            });
            rates.push(format!("| {}, {shots} | {} | {} |", data.name, refused[0], refused[1]));
        }
    }
    println!("\n| data, labels per class | refused at 5%: other images of `train/` | refused: `val/` |\n|---|---|---|");
    rates.iter().for_each(|line| println!("{line}"));
    println!();
    Ok(())
}

struct Rejection {
    /// Of left-out classes and of other data sets, by score.
    areas: [[f64; 4]; 2],
    /// Of other training images, and of validation images.
    refused: Option<[f64; 2]>,
}

fn one_rejection(all: &[Data], data: &Data, count: usize, shots: usize, draw: u64) -> Fallible<Rejection> {
    let order = match count {
        1 => (0..data.ways()).map(|class| (class + draw as usize) % data.ways()).collect(),
        _ => permutation(&mut rng(draw, "classes", 0), data.ways()),
    };
    let order: Vec<u32> = order.into_iter().map(|class| class as u32).collect();
    let (foreign, known) = order.split_at(count);
    let [labeled, others] = data.draw(&data.train, known, shots, draw);
    let fitted = Fitted::new(data, data.learner(&RIDGE)?.as_ref(), &labeled)?;
    let (assessor, mahalanobis) = (fitted.assessor()?, Mahalanobis::new(&fitted.support)?);
    let temperature = fitted.support.held_out.as_ref().map_or(1.0, HeldOut::temperature);
    let scores = |features: &Tensor| -> Fallible<[Vec<f64>; 4]> {
        let logits = fitted.logits(features)?;
        let rows: Vec<Vec<f32>> = (&logits / temperature)?.to_vec2()?;
        let softmax = rows.iter().map(|row| {
            let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            -1.0 / row.iter().map(|logit| f64::from(logit - most).exp()).sum::<f64>()
        });
        let near = taper_ops::matmul_nt(&unit_length(features)?, &unit_length(&fitted.support.features)?)?;
        let near: Vec<f64> = near.max(1)?.to_vec1::<f32>()?.into_iter().map(|cosine| -f64::from(cosine)).collect();
        Ok([assessor.novelty(features, &logits)?, softmax.collect(), near, mahalanobis.distances(features)?])
    };
    let own = data.features(&data.val_of(known).images)?;
    let here = data.features(&data.val_of(foreign).images)?;
    let elsewhere = all.iter().filter(|other| other.name != data.name).map(|other| other.features(&other.val));
    let elsewhere = Tensor::cat(&elsewhere.collect::<Fallible<Vec<_>>>()?, 0)?;
    let own_scores = scores(&own)?;
    let area = |foreign: &Tensor| -> Fallible<[f64; 4]> {
        let foreign = scores(foreign)?;
        Ok([0, 1, 2, 3].map(|score| area_under_curve(&own_scores[score], &foreign[score])))
    };
    let areas = [area(&here)?, area(&elsewhere)?];
    let share = |features: &Tensor| -> Fallible<f64> {
        let shares = assessor.familiarity(features, &fitted.logits(features)?)?;
        Ok(shares.iter().filter(|share| **share <= 0.05 + 1e-9).count() as f64 / shares.len() as f64)
    };
    let refused = match assessor.smallest_rate() <= 0.05 {
        true => Some([share(&data.features(&others.images)?)?, share(&own)?]),
        false => None,
    };
    Ok(Rejection { areas, refused })
}

/// The probability that a foreign image's score is above a known one's; equal ones count half.
fn area_under_curve(known: &[f64], foreign: &[f64]) -> f64 {
    let mut sorted = known.to_vec();
    sorted.sort_by(f64::total_cmp);
    let below = |score: &f64| {
        let (less, at_most) = (sorted.partition_point(|v| v < score), sorted.partition_point(|v| v <= score));
        (less + at_most) as f64 / 2.0
    };
    foreign.iter().map(below).sum::<f64>() / (known.len() * foreign.len()) as f64
}

/// Mahalanobis distance to the nearest class mean (Lee et al. 2018), the common covariance shrunk as in Ledoit and Wolf
/// (2004).
struct Mahalanobis {
    /// Rows of the labeled images about their class means, `(n, d)`.
    residuals: Mat<f64>,
    means: Mat<f64>,
    /// The identity's share of the covariance, and 1 over the others' weight times n.
    ridge: f64,
    inner: faer::linalg::solvers::Llt<f64>,
}

impl Mahalanobis {
    fn new(support: &Support) -> Fallible<Self> {
        let rows: Vec<Vec<f32>> = support.features.to_vec2()?;
        let (n, d) = (rows.len(), rows[0].len());
        let ways = support.labels.iter().max().map_or(0, |label| *label as usize + 1);
        let mut means = Mat::<f64>::zeros(ways, d);
        let counts: Vec<usize> =
            (0..ways).map(|class| support.labels.iter().filter(|label| **label as usize == class).count()).collect();
        for (row, &label) in rows.iter().zip(&support.labels) {
            (0..d).for_each(|k| means[(label as usize, k)] += f64::from(row[k]) / counts[label as usize] as f64);
        }
        let residuals = Mat::from_fn(n, d, |i, k| f64::from(rows[i][k]) - means[(support.labels[i] as usize, k)]);
        let gram = &residuals * residuals.transpose();
        let trace = (0..n).map(|i| gram[(i, i)]).sum::<f64>() / n as f64;
        let mean = trace / d as f64;
        let squared = gram.squared_norm_l2() / (n * n) as f64;
        let fourth = (0..n).map(|i| gram[(i, i)].powi(2)).sum::<f64>() / n as f64;
        let delta = (squared - 2.0 * mean * trace + d as f64 * mean * mean) / d as f64;
        let shrinkage = (((fourth - squared) / (d * n) as f64).min(delta) / delta).clamp(1e-3, 1.0);
        let (ridge, weight) = (shrinkage * mean, (1.0 - shrinkage) / n as f64);
        let scaled = Mat::from_fn(n, n, |i, j| weight.max(1e-12) * gram[(i, j)] + if i == j { ridge } else { 0.0 });
        let inner = scaled.llt(Side::Lower).map_err(|_| "a covariance can't be inverted")?;
        let residuals = Mat::from_fn(n, d, |i, k| weight.max(1e-12).sqrt() * residuals[(i, k)]);
        Ok(Self { residuals, means, ridge, inner })
    }

    /// `Σ⁻¹ x = (x − Rᵀ (ridge + R Rᵀ)⁻¹ R x) / ridge` (Woodbury).
    fn distances(&self, features: &Tensor) -> Fallible<Vec<f64>> {
        let rows: Vec<Vec<f32>> = features.to_vec2()?;
        let queries = Mat::from_fn(rows.len(), rows[0].len(), |i, k| f64::from(rows[i][k]));
        let product = |rows: &Mat<f64>| -> Mat<f64> {
            let along = &self.residuals * rows.transpose();
            let less = self.residuals.transpose() * self.inner.solve(&along);
            (rows - less.transpose()) * faer::Scale(1.0 / self.ridge)
        };
        let (solved, solved_means) = (product(&queries), product(&self.means));
        let cross = &queries * solved_means.transpose();
        let square = |a: &Mat<f64>, b: &Mat<f64>, i: usize| (0..a.ncols()).map(|k| a[(i, k)] * b[(i, k)]).sum::<f64>();
        let of_means: Vec<f64> = (0..self.means.nrows()).map(|c| square(&self.means, &solved_means, c)).collect();
        let nearest = |i: usize| {
            let least = (0..of_means.len()).map(|c| of_means[c] - 2.0 * cross[(i, c)]).fold(f64::INFINITY, f64::min);
            square(&queries, &solved, i) + least
        };
        Ok((0..queries.nrows()).map(nearest).collect())
    }
}

// ---- prediction sets

fn prediction_sets(all: &[Data], draws: u64) -> Fallible<()> {
    println!("| data, head | labels per class | draws | coverage | mean set | split: coverage | split: mean set |");
    println!("|---|---|---|---|---|---|---|");
    let heads: [(&str, &dyn Method); 2] = [("nearest mean", &NEAREST_MEAN), ("ridge", &RIDGE)];
    for data in all {
        for (name, method) in heads {
            for shots in [5, 20] {
                let learner = data.learner(method)?;
                let numbers: Vec<u64> = (0..draws).collect();
                let made = map_in_order(&numbers, |_, &draw| {
                    one_coverage(data, learner.as_ref(), shots, 1000 + draw).map_err(|error| error.to_string())
                });
                let made = made.into_iter().collect::<Result<Vec<_>, _>>()?;
                let mean = |place: usize| made.iter().map(|one| one[place]).sum::<f64>() / draws as f64;
                println!(
                    "| {}, {name} | {shots} | {draws} | {:.1} | {:.2} | {:.1} | {:.2} |",
                    data.name,
                    100.0 * mean(0),
                    mean(1),
                    100.0 * mean(2),
                    mean(3)
                );
            }
        }
    }
    println!();
    Ok(())
}

/// Coverage and mean size of the sets for 90%, from folds and from a split of the labels.
fn one_coverage(data: &Data, learner: &dyn Adapt, shots: usize, draw: u64) -> Fallible<[f64; 4]> {
    let classes: Vec<u32> = (0..data.ways() as u32).collect();
    // of all images, so that labels and queries are alike
    let all: Vec<usize> = data.train.iter().chain(&data.val).copied().collect();
    let [labeled, queries] = data.draw(&all, &classes, shots, draw);
    let features = data.features(&queries.images)?;
    let of = |fitted: Fitted| -> Fallible<[f64; 2]> {
        let sets = fitted.assessor()?.prediction_sets(&fitted.logits(&features)?, 0.9)?;
        let covered = sets.iter().zip(&queries.labels).filter(|(set, label)| set.contains(&(**label as usize))).count();
        let size = sets.iter().map(Vec::len).sum::<usize>();
        Ok([covered as f64 / sets.len() as f64, size as f64 / sets.len() as f64])
    };
    let [coverage, size] = of(Fitted::new(data, learner, &labeled)?)?;
    // every other image of a class is set apart
    let places = |odd: usize| (0..labeled.labels.len()).filter(|place| place % 2 == odd).collect::<Vec<_>>();
    let (fit, apart) = (labeled.select(&places(0)), labeled.select(&places(1)));
    let (network, state) = learner.adapt(&fit.batch(&data.rows)?, 0)?.network()?;
    let held_out = HeldOut::of_images(&network, &state, &data.features(&fit.images)?, &data.rows, &apart)?;
    let [split, split_size] = of(Fitted::keeping(data, &fit, network, state, held_out)?)?;
    Ok([coverage, size, split, split_size])
}

// ---- adding classes

/// Some of a data set's images.
struct Selection {
    whole: Arc<dyn Dataset>,
    images: Vec<usize>,
    labels: Vec<u32>,
    classes: Vec<Class>,
}

impl Dataset for Selection {
    fn name(&self) -> &str {
        self.whole.name()
    }
    fn classes(&self) -> &[Class] {
        &self.classes
    }
    fn labels(&self) -> &[u32] {
        &self.labels
    }
    fn image(&self, index: usize) -> taper_data::Result<Image> {
        self.whole.image(self.images[index])
    }
    fn content_hash(&self, index: usize) -> taper_data::Result<Hash> {
        self.whole.content_hash(self.images[index])
    }
    fn image_name(&self, index: usize) -> String {
        self.whole.image_name(self.images[index])
    }
}

fn adding(data: &Data, cache: &FeatureCache) -> Fallible<()> {
    const NEW: usize = 10;
    const SHOTS: usize = 5;
    println!("| head | {} classes at once: accuracy, time | after adding {NEW}: accuracy, time |", data.ways());
    println!("|---|---|---|");
    let whole = data.problem.dataset();
    let some = |classes: std::ops::Range<u32>| -> Arc<dyn Dataset> {
        let classes: Vec<u32> = classes.collect();
        let [Labeled { images, labels, .. }, _] = data.draw(&data.train, &classes, SHOTS, 7);
        let classes = classes.iter().map(|class| whole.classes()[*class as usize].clone()).collect();
        Arc::new(Selection { whole: whole.clone(), images, labels, classes })
    };
    let ways = data.ways() as u32;
    let (first, last, all) = (some(0..ways - NEW as u32), some(ways - NEW as u32..ways), some(0..ways));
    let queries = data.val_of(&(0..ways).collect::<Vec<_>>());
    let features = data.features(&queries.images)?;
    // the features of images to add are cached, so that the time is that after features
    let images: Vec<usize> = (0..last.labels().len()).collect();
    let view = View::new(last.clone(), data.problem.view().transform().clone())?;
    Features::compute(&view, &images, data.problem.network(), data.problem.state(), Some(cache), |_, _| Ok(()))?;
    for method in ["nearest-mean", "ridge", "lda", "rda", "linear-probe"] {
        let learner = Model {
            network: data.problem.network().with_head(Head::Identity),
            state: data.problem.state().clone(),
            labels: Vec::new(),
            transform: data.problem.view().transform().to_string(),
            origin: Origin {
                method: method.into(),
                on: "pretrained weights".into(),
                classes: Vec::new(),
                settings: SettingValues::new(),
                norm: TaskNorm::Stored.to_string(),
                revised: false,
            },
            provenance: Provenance::default(),
            support: None,
        };
        let score = |model: &Model| -> Fallible<Interval> {
            let given = model.network.logits(&model.state, &features)?.argmax(1)?.to_vec1::<u32>()?;
            let name = |class: &u32| whole.classes()[*class as usize].full_name();
            let pairs = given.iter().zip(&queries.labels);
            let right = pairs.filter(|(given, label)| model.labels[**given as usize] == name(label)).count();
            Ok(wilson_interval(right, given.len()))
        };
        let start = Instant::now();
        let at_once = adapt(&learner, &all, 1, 0)?;
        let whole_time = start.elapsed().as_secs_f64();
        let small = adapt(&learner, &first, 1, 0)?;
        let revised = revise(&small, &Revision { add: Some(last.clone()), ..Revision::default() }, Some(cache), 0)?;
        println!(
            "| {method} | {}, {whole_time:.1} s with features | {}, {:.2} s |",
            percent(score(&at_once)?),
            percent(score(&revised.model)?),
            revised.seconds
        );
    }
    Ok(())
}

/// `61.3 (59.0 to 63.5)`, of a share in percent.
fn percent(interval: Interval) -> String {
    format!("{:.1} ({:.1} to {:.1})", 100.0 * interval.mean, 100.0 * interval.low, 100.0 * interval.high)
}
