//! Scores of a single model: a learner on tasks, a classifier on labeled images.

use crate::{CompareError, Result, learner};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;
use taper_data::{Copies, Dataset, EpisodeIndices, Inputs, View};
use taper_learn::{
    Interval, Model,
    classifiers::Averaged,
    evaluation::{Answers, TaskScore, score_tasks},
    provenance::Overlap,
    ranks::Ranks,
    statistics::wilson_interval,
};

/// The scores of a learner on the tasks with these numbers, in their order, with `views` views of each image, divided
/// among the processes that share the job.
///
/// # Errors
/// Returns an error if the model's method is unknown, an image can't be read, or adapting fails.
///
/// ```
/// use std::sync::Arc;
/// use taper_compare::{built_in, score_learner_tasks};
/// use taper_data::{Dataset, EpisodeSampler, Glyphs, GlyphsSize, Scope, TaskShape, View};
/// use taper_learn::{Evaluation, ranks::OneProcess};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let drawings: Arc<dyn Dataset> = Arc::new(Glyphs::new(0, GlyphsSize { alphabets: 1, characters: 3, drawings: 2 })?);
/// let model = built_in(drawings.as_ref())?.model; // or Model::load(path)?
/// let sampler = EpisodeSampler::new(drawings.as_ref(), &[0, 1, 2], TaskShape::fixed(3, 1, 1)?, Scope::Group)?;
/// let tasks = [sampler.draw(0, 0), sampler.draw(0, 1)];
/// let view = Arc::new(View::new(drawings, model.transform.parse()?)?);
/// let scores = score_learner_tasks(&model, &view, &tasks, &[0, 1], (1, 0), &OneProcess)?;
/// assert_eq!(Evaluation::of(scores)?.accuracies.len(), 2);
/// # Ok(())
/// # }
/// ```
pub fn score_learner_tasks(
    model: &Model,
    view: &Arc<View>,
    tasks: &[EpisodeIndices],
    numbers: &[u64],
    (views, seed): (usize, u64),
    ranks: &dyn Ranks,
) -> Result<Vec<TaskScore>> {
    let method = learner(model)?;
    let task = |number: u64| &tasks[number as usize];
    Ok(if views == 1 {
        score_tasks(ranks, method.as_ref(), numbers, seed, |n| Ok(view.episode(task(n), None)?))?
    } else {
        let copies = Copies::new(view, views, seed)?;
        score_tasks(ranks, &Averaged(method.as_ref()), numbers, seed, |n| Ok(copies.episode(task(n), None)?))?
    })
}

/// The classes of a data set that a model was trained, validated or chosen on: by their images, under
/// whatever names; by name only if the model's images were not recorded.
///
/// # Errors
/// Returns an error if an image can't be read.
pub fn seen_classes(model: &Model, dataset: &dyn Dataset) -> Result<BTreeSet<u32>> {
    let mut seen: BTreeSet<u32> = model.provenance.seen_classes(dataset, Overlap::Any)?.into_iter().collect();
    if !model.provenance.is_complete() {
        let names: BTreeSet<&str> = model.origin.classes.iter().map(String::as_str).collect();
        let named = (0..).zip(dataset.classes()).filter(|(_, class)| names.contains(class.full_name().as_str()));
        seen.extend(named.map(|(class, _)| class));
    }
    Ok(seen)
}

/// How a classifier does on labeled images.
#[derive(Debug, Clone)]
pub struct ClassifierScore {
    /// For each class of the data set that has images: its name, correct answers and images.
    pub by_class: Vec<(String, usize, usize)>,
    /// Seconds per image.
    pub seconds_per_image: f64,
    /// What it answered about each image. Labels and predictions are places in the model's list of labels.
    pub answers: Answers,
}

impl ClassifierScore {
    /// Number of images.
    pub fn images(&self) -> usize {
        self.by_class.iter().map(|(_, _, images)| images).sum()
    }

    /// Share of correct answers, with Wilson's interval.
    pub fn accuracy(&self) -> Interval {
        wilson_interval(self.by_class.iter().map(|(_, correct, _)| correct).sum(), self.images())
    }
}

/// Scores a classifier on `images` of `view`, whose classes are matched by name.
///
/// # Errors
/// Returns an error if an image's class is not one of the model's, or an image can't be read.
pub fn score_classifier(model: &Model, view: &View, images: &[usize]) -> Result<ClassifierScore> {
    let dataset = view.dataset().as_ref();
    let output_of: Vec<Option<usize>> = dataset
        .classes()
        .iter()
        .map(|class| model.labels.iter().position(|label| *label == class.full_name() || *label == class.name))
        .collect();
    check_classes(model, dataset, images, &output_of)?;
    let start = Instant::now();
    let class_of = |image: &usize| dataset.labels()[*image] as usize;
    let labels: Vec<u32> =
        images.iter().filter_map(|image| output_of[class_of(image)]).map(|output| output as u32).collect();
    let answers = Answers::of_network(&model.network, &model.state, view, images, &labels)?;
    let mut counts = vec![(0, 0); dataset.classes().len()];
    for (place, image) in images.iter().enumerate() {
        let count = &mut counts[class_of(image)];
        count.0 += usize::from(answers.predicted[place] == answers.labels[place]);
        count.1 += 1;
    }
    let seconds_per_image = start.elapsed().as_secs_f64() / images.len().max(1) as f64;
    let named = dataset.classes().iter().zip(counts);
    let by_class = named
        .filter(|(_, (_, images))| *images > 0)
        .map(|(class, (correct, images))| (class.full_name(), correct, images))
        .collect();
    Ok(ClassifierScore { by_class, seconds_per_image, answers })
}

/// Checks that the model has a class for each image.
fn check_classes(model: &Model, dataset: &dyn Dataset, images: &[usize], output_of: &[Option<usize>]) -> Result<()> {
    let needed: BTreeSet<u32> = images.iter().map(|&image| dataset.labels()[image]).collect();
    let unknown: Vec<String> = needed
        .into_iter()
        .filter(|&class| output_of[class as usize].is_none())
        .map(|class| dataset.classes()[class as usize].full_name())
        .collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(CompareError::UnknownClasses {
        dataset: dataset.name().to_string(),
        unknown: few(&unknown),
        known: few(&model.labels),
    })
}

/// The first few names.
pub(crate) fn few(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let more = if names.len() > SHOWN { format!(" and {} more", names.len() - SHOWN) } else { String::new() };
    format!("{}{more}", names[..names.len().min(SHOWN)].join(", "))
}
