//! The variance over new images of the same classes, from tasks that draw from the same images.

use super::variance::Variance;
use std::collections::BTreeMap;

/// A query of a task.
#[derive(Debug, Clone, Copy)]
pub(super) struct Query {
    pub(super) task: usize,
    pub(super) class: u32,
    pub(super) image: usize,
}

/// The variance of a sum of queries over new images and new draws, from the queries' residuals.
///
/// Query images: clusters within each class (all decisions on an image), with the correction n/(n−1)
/// for a class of n images.
///
/// Support images: a task's draw of them moves all its queries. Its variance σ²/T over T tasks is the
/// sum of products of residuals, less each image's mean, of different images within a task, times T/(T−1). Images that
/// are asked seldom have no mean of their own: then less the class's mean. Drawn from
/// n images, m at a time, the draws share images, and what they have in common does not average out
/// over tasks: it is σ² m/(n−m), as in Nadeau and Bengio's (2003) correction for overlapping training
/// sets. `support_share` is m/n.
///
/// `None` with fewer than two images.
pub(super) fn variance(queries: &[Query], residuals: &[f64], support_share: f64) -> Option<Variance> {
    let mut classes: BTreeMap<u32, BTreeMap<usize, (f64, f64)>> = BTreeMap::new();
    for (query, residual) in queries.iter().zip(residuals) {
        let image = classes.entry(query.class).or_default().entry(query.image).or_default();
        image.0 += residual;
        image.1 += 1.0;
    }
    if classes.values().map(BTreeMap::len).sum::<usize>() < 2 {
        return None;
    }
    if classes.values().any(|images| images.len() < 2) {
        // no variation within some class: images of all classes together, which are at least as far apart
        let all = classes.values().flatten().map(|(&image, &sums)| (image, sums)).collect();
        classes = BTreeMap::from([(0, all)]);
    }
    let mut parts: Vec<(f64, Variance)> = Vec::new();
    for images in classes.values() {
        let n = images.len() as f64;
        let (sum, count) = images.values().fold((0.0, 0.0), |all, image| (all.0 + image.0, all.1 + image.1));
        let squares: f64 = images.values().map(|image| (image.0 - sum * image.1 / count).powi(2)).sum();
        parts.push((1.0, Variance { value: squares * n / (n - 1.0), freedom: n - 1.0 }));
    }
    let center = Centers::new(queries, &classes);
    let mut draws = 0.0;
    let mut tasks = 0;
    for task in queries.iter().zip(residuals).collect::<Vec<_>>().chunk_by(|a, b| a.0.task == b.0.task) {
        let rest: Vec<f64> = task.iter().map(|(query, residual)| *residual - center.of(query)).collect();
        draws += rest.iter().sum::<f64>().powi(2) - rest.iter().map(|value| value * value).sum::<f64>();
        tasks += 1;
    }
    let share = support_share.clamp(0.0, 0.9);
    if tasks < 2 {
        return Some(Variance::sum(&parts));
    }
    let tasks = f64::from(tasks);
    if support_share > MOST {
        return Some(of_means(queries, residuals, tasks, support_share));
    }
    let factor = 1.0 + tasks * share / (1.0 - share);
    // the residuals are about the tasks' own mean
    let value = draws.max(0.0) * tasks / (tasks - 1.0);
    parts.push((factor, Variance { value, freedom: tasks - 1.0 }));
    let all = Variance::sum(&parts);
    // few draws may look alike by chance, and then seem to vary by nothing
    Some(if tasks < FEW { Variance { freedom: all.freedom.min(2.0 * (tasks - 1.0)), ..all } } else { all })
}

/// The variance from the spread of the tasks' means alone, with Nadeau and Bengio's (2003, eq. 9) correction: if most
/// images are labeled in every draw, what draws have in common can't be told from a few of them, and is bounded by the
/// ratio of images asked to images labeled.
fn of_means(queries: &[Query], residuals: &[f64], tasks: f64, support_share: f64) -> Variance {
    let mut sums: BTreeMap<usize, f64> = BTreeMap::new();
    for (query, residual) in queries.iter().zip(residuals) {
        *sums.entry(query.task).or_default() += residual * tasks;
    }
    let spread = sums.values().map(|sum| sum * sum).sum::<f64>() / (tasks - 1.0);
    let asked = (1.0 - support_share).max(0.0) / support_share;
    Variance { value: spread * (1.0 / tasks + asked), freedom: tasks - 1.0 }
}

/// If more of the images than this are labeled in a task, the tasks' means alone are used.
const MOST: f64 = 0.5;
/// With fewer tasks, their variance may be estimated as 0 by chance.
const FEW: f64 = 8.0;
/// Images that are asked less often hardly tell their own difficulty from the luck of a draw.
const ASKED: usize = 4;

/// What residuals are centered on: the mean of their image, or of their class if images are asked too seldom for that.
enum Centers<'a> {
    Images(&'a BTreeMap<u32, BTreeMap<usize, (f64, f64)>>),
    Classes(BTreeMap<u32, f64>),
}

impl<'a> Centers<'a> {
    fn new(queries: &[Query], classes: &'a BTreeMap<u32, BTreeMap<usize, (f64, f64)>>) -> Self {
        if queries.len() >= ASKED * classes.values().map(BTreeMap::len).sum::<usize>() {
            return Self::Images(classes);
        }
        let mean = |images: &BTreeMap<usize, (f64, f64)>| {
            let (sum, count) = images.values().fold((0.0, 0.0), |all, image| (all.0 + image.0, all.1 + image.1));
            sum / count
        };
        Self::Classes(classes.iter().map(|(&class, images)| (class, mean(images))).collect())
    }

    fn of(&self, query: &Query) -> f64 {
        match self {
            Self::Images(classes) => {
                let class = classes.get(&query.class).or_else(|| classes.get(&0));
                class.and_then(|images| images.get(&query.image)).map_or(0.0, |image| image.0 / image.1)
            }
            Self::Classes(means) => means.get(&query.class).or_else(|| means.get(&0)).copied().unwrap_or(0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four tasks of ten queries each: of the same images in every task, or of others in each.
    fn queries(same_images: bool) -> Vec<Query> {
        let query = |place: usize| {
            let (task, number) = (place / 10, place % 10);
            Query { task, class: (number % 2) as u32, image: if same_images { number } else { place } }
        };
        (0..40).map(query).collect()
    }

    #[test]
    fn draws_that_differ_vary_even_if_every_image_is_asked_once() {
        // two lucky draws and two unlucky ones: their mean has the variance 4 · (1/40)² · 10² / (4 · 3) of draws alone
        let lucky = |query: &Query| if query.task < 2 { 0.025 } else { -0.025 };
        let of_draws = 4.0 * 0.25f64.powi(2) / 12.0 * 4.0;
        for same_images in [true, false] {
            let queries = queries(same_images);
            let residuals: Vec<f64> = queries.iter().map(lucky).collect();
            let found = variance(&queries, &residuals, 0.0).unwrap();
            assert!(found.value > 0.8 * of_draws, "{found:?} {of_draws}");
            assert!(found.freedom <= 6.0, "few draws are few degrees of freedom: {found:?}");
        }
    }

    #[test]
    fn if_most_images_are_labeled_the_means_of_the_tasks_alone_count() {
        let queries = queries(false);
        let residuals: Vec<f64> = queries.iter().map(|query| if query.task % 2 == 0 { 0.01 } else { -0.01 }).collect();
        // the means are 0.4 and -0.4, their variance 0.64 / 3; Nadeau and Bengio's factor is 1/4 + 0.2/0.8
        let found = variance(&queries, &residuals, 0.8).unwrap();
        assert!((found.value - 0.64 / 3.0 * 0.5).abs() < 1e-12 && found.freedom == 3.0, "{found:?}");
    }
}
