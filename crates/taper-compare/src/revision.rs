//! Classes that come and go: a kept classifier with other classes or more images of its own, without training anew.

use crate::head_on_features::learner_on_features;
use crate::{CompareError, Result};
use candle_core::{Device, Tensor};
use std::collections::BTreeMap;
use std::sync::Arc;
use taper_data::{Dataset, Hash, Inputs, View, duplicates, one_line};
use taper_learn::{
    LearnError, Model,
    evaluation::{Labeled, Right},
    models::CLASSIFIER,
    provenance::{Provenance, UsedData},
    support::{Rows, Support, SupportImage, features},
};
use taper_models::{Network, Params, State};
use taper_transfer::{FeatureCache, Features, calibrated};

/// Changes to a classifier's classes, made in this order.
#[derive(Clone, Default)]
pub struct Revision {
    /// Names of classes to remove.
    pub remove: Vec<String>,
    /// Names of classes with their new names.
    pub rename: Vec<(String, String)>,
    /// Labeled images to add, of new classes or of those that it has.
    pub add: Option<Arc<dyn Dataset>>,
}

/// A classifier after a revision.
#[derive(Debug, Clone)]
pub struct Revised {
    /// The classifier.
    pub model: Model,
    /// The number of images added.
    pub added: usize,
    /// Classes that it did not have.
    pub new_classes: Vec<String>,
    /// Images that were left out because it had them already.
    pub already_there: Vec<String>,
    /// How many of its labeled images it classifies correctly while they are held out: an estimate for new images.
    /// `None` if a class has a single image.
    pub right: Option<Right>,
    /// Seconds after the features of new images were computed.
    pub seconds: f64,
}

/// The classifier with these changes. A head on frozen features is made anew from the features that the classifier
/// keeps (the mean over its views, if it sees several), so it is the one that these features of all images together would
/// have given. A network that was fitted to its classes, such as a
/// fine-tuned one, can lose classes but not get new images. Features of new images are cached in `cache`.
///
/// # Errors
/// Returns an error if the model is not a classifier, a class to remove or to rename is not there, a name is taken, fewer
/// than two classes are left, the classifier keeps no labeled images or can't learn from more, or all images are there
/// already.
///
/// ```
/// use std::sync::Arc;
/// use taper_compare::{Revision, adapt, built_in, revise};
/// use taper_data::{Dataset, Glyphs, GlyphsSize};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let size = GlyphsSize { alphabets: 1, characters: 3, drawings: 2 };
/// let drawings: Arc<dyn Dataset> = Arc::new(Glyphs::new(0, size)?);
/// let classifier = adapt(&built_in(drawings.as_ref())?.model, &drawings, 1, 0)?;
/// let remove = vec![classifier.labels[0].clone()];
/// let revised = revise(&classifier, &Revision { remove, ..Revision::default() }, None, 0)?;
/// assert_eq!(revised.model.labels, classifier.labels[1..]);
/// # Ok(())
/// # }
/// ```
pub fn revise(model: &Model, revision: &Revision, cache: Option<&FeatureCache>, seed: u64) -> Result<Revised> {
    let invalid = |problem: String| CompareError::Invalid(problem);
    if model.origin.method != CLASSIFIER {
        return Err(invalid(format!("it is a learner ({}), not a classifier: adapt it first", model.origin.method)));
    }
    let (mut labels, renumbered) = without(&model.labels, &revision.remove)?;
    for (old, new) in &revision.rename {
        let place = labels.iter().position(|name| name == old).ok_or_else(|| unknown(old, &labels))?;
        if labels.contains(new) {
            return Err(invalid(format!("there is a class `{new}` already: choose another name for `{old}`")));
        }
        labels[place].clone_from(new);
    }
    let is_plain = revision.remove.is_empty() && revision.add.is_none();
    let kept = match &model.support {
        Some(support) => Some(support.renumbered(&renumbered)?),
        None if is_plain => None,
        None => {
            return Err(invalid(
                "it keeps no labeled images (a comparison fine-tuned it, an earlier version of Taper made it, or it comes from \
                 elsewhere), so it can't learn further ones or forget classes: train a classifier on all images"
                    .into(),
            ));
        }
    };
    let refits = kept.as_ref().is_some_and(|kept| kept.head.is_some());
    let mut new = match &revision.add {
        Some(_) if !refits => {
            return Err(invalid(
                "its network was fitted to its classes, or it was made from more images than it keeps, so images can't be \
                 added without training: train on all images, or add to a classifier with a head on frozen features"
                    .into(),
            ));
        }
        Some(dataset) => New::of(dataset, model, kept.as_ref(), &mut labels, cache)?,
        None => New::default(),
    };
    if labels.len() < 2 {
        let left = if labels.is_empty() { "no class" } else { "one class" };
        return Err(invalid(format!("{left} would be left, but a classifier needs two: keep more")));
    }
    let start = std::time::Instant::now();
    let support = match (kept, new.features.take()) {
        (Some(kept), Some(features)) => Some(joined(kept, &features, &new)?),
        (kept, _) => kept,
    };
    let (network, state, support) = match support {
        Some(support) if refits && !is_plain => {
            let (network, state, support) = refitted(model, support, labels.len(), seed)?;
            (network, state, Some(support))
        }
        support if revision.remove.is_empty() => (model.network.clone(), model.state.clone(), support),
        support => {
            let (network, state) = without_outputs(&model.network, &model.state, &renumbered)?;
            (network, state, support)
        }
    };
    let mut origin = model.origin.clone();
    origin.classes.clone_from(&labels);
    origin.revised = true;
    if let (Some(dataset), Some(support)) = (&revision.add, &support) {
        let before = origin.on.rsplit_once(" (").or_else(|| origin.on.rsplit_once(" by "));
        let before = before.map_or(origin.on.as_str(), |(name, _)| name);
        origin.on = format!("{before} and {} ({} images)", dataset.name(), support.images.len());
    }
    let trained_on = new.used.into_iter().collect();
    let provenance = model.provenance.clone().and(Provenance { trained_on, ..Provenance::default() });
    let right = support.as_ref().and_then(|support| support.held_out.as_ref()).map(|held_out| held_out.right());
    let transform = model.transform.clone();
    let model = Model { network, state, labels, transform, origin, provenance, support };
    let seconds = start.elapsed().as_secs_f64();
    let (added, new_classes, already_there) = (new.images.len(), new.classes, new.already_there);
    Ok(Revised { model, added, new_classes, already_there, right, seconds })
}

/// The names that are left, and the new number of each class.
fn without(labels: &[String], remove: &[String]) -> Result<(Vec<String>, Vec<Option<u32>>)> {
    if let Some(name) = remove.iter().find(|name| !labels.contains(name)) {
        return Err(unknown(name, labels));
    }
    let (mut left, mut renumbered) = (Vec::new(), Vec::new());
    for label in labels {
        let stays = !remove.contains(label);
        renumbered.push(stays.then_some(left.len() as u32));
        if stays {
            left.push(label.clone());
        }
    }
    Ok((left, renumbered))
}

/// The error of a class that is not there.
fn unknown(name: &str, labels: &[String]) -> CompareError {
    CompareError::Invalid(format!("there is no class `{name}`: the classes are {}", labels.join(", ")))
}

/// Images to add.
#[derive(Default)]
struct New {
    /// Their features `(n, d)`.
    features: Option<Tensor>,
    labels: Vec<u32>,
    images: Vec<SupportImage>,
    classes: Vec<String>,
    already_there: Vec<String>,
    used: Option<UsedData>,
}

impl New {
    /// Those of `dataset` that `kept` does not have; new classes join `labels`.
    fn of(
        dataset: &Arc<dyn Dataset>,
        model: &Model,
        kept: Option<&Support>,
        labels: &mut Vec<String>,
        cache: Option<&FeatureCache>,
    ) -> Result<Self> {
        let labeled = kept.iter().flat_map(|kept| kept.images.iter().zip(&kept.labels));
        let mut there: BTreeMap<Hash, u32> = labeled.map(|(image, &label)| (image.content, label)).collect();
        let (mut new, mut indices) = (Self::default(), Vec::new());
        // an image that is held out would be told by its copy
        let originals: BTreeMap<usize, usize> =
            duplicates(dataset.as_ref())?.into_iter().map(|found| (found.copy, found.original)).collect();
        let mut places: BTreeMap<usize, u32> = BTreeMap::new();
        for (index, &label) in dataset.labels().iter().enumerate() {
            let (name, content) = (dataset.image_name(index), dataset.content_hash(index)?);
            let class = dataset.classes()[label as usize].full_name();
            let of_original = || places.get(originals.get(&index)?);
            if let Some(&before) = there.get(&content).or_else(of_original) {
                let before_class = &labels[before as usize];
                if *before_class != class {
                    return Err(CompareError::Invalid(format!(
                        "{}: is labeled `{class}` here, but the same picture is labeled `{before_class}` already: correct one of \
                         them",
                        one_line(&name)
                    )));
                }
                places.insert(index, before);
                new.already_there.push(name);
                continue;
            }
            let place = labels.iter().position(|label| *label == class).unwrap_or_else(|| {
                labels.push(class.clone());
                new.classes.push(class);
                labels.len() - 1
            });
            there.insert(content, place as u32);
            places.insert(index, place as u32);
            indices.push(index);
            new.labels.push(place as u32);
            new.images.push(SupportImage { name, content });
        }
        if indices.is_empty() {
            return Err(CompareError::Invalid(format!(
                "{}: the classifier has all {} images already: give others",
                dataset.name(),
                new.already_there.len()
            )));
        }
        let view = View::new(dataset.clone(), model.transform.parse()?)?;
        // without random steps, which the cache would have to draw
        new.features = Some(match view.transform().is_random() {
            true => features(&model.network, &model.state, &view, &indices)?,
            false => Features::compute(&view, &indices, &model.network, &model.state, cache, |_, _| Ok(()))?
                .inputs(&indices, None)?,
        });
        new.used = Some(UsedData::of_images(dataset.as_ref(), &indices)?);
        Ok(new)
    }
}

fn joined(kept: Support, features: &Tensor, new: &New) -> Result<Support> {
    Ok(Support {
        features: Tensor::cat(&[&kept.features, features], 0).map_err(LearnError::from)?,
        labels: [kept.labels, new.labels.clone()].concat(),
        images: [kept.images, new.images.clone()].concat(),
        ..kept
    })
}

/// The head made anew from all labeled images, and calibrated on folds of them.
fn refitted(model: &Model, support: Support, ways: usize, seed: u64) -> Result<(Network, State, Support)> {
    let name = support.head.clone().unwrap_or_default();
    let learner = learner_on_features(&name, &model.network, &model.state)?;
    let rows: Arc<dyn Inputs> = Arc::new(Rows(support.features.clone()));
    let labeled = Labeled { images: (0..support.len()).collect(), labels: support.labels.clone(), ways };
    let (network, state) = learner.adapt(&labeled.batch(rows.as_ref())?, seed)?.network()?;
    let (held_out, state) = calibrated(learner.as_ref(), &[rows], &labeled, &network, state, seed)?;
    Ok((network, state, Support { held_out, ..support }))
}

/// A network without the outputs of the classes whose place in `renumbered` is `None`: the others' probabilities share
/// theirs.
fn without_outputs(network: &Network, state: &State, renumbered: &[Option<u32>]) -> Result<(Network, State)> {
    let kept: Vec<u32> = (0..).zip(renumbered).filter(|(_, place)| place.is_some()).map(|(class, _)| class).collect();
    let layer = network.output_layer().unwrap_or_else(|| network.backbone().head_name().to_string());
    let rows = Tensor::from_slice(&kept, kept.len(), &Device::Cpu).map_err(LearnError::from)?;
    let mut smaller = Vec::new();
    for part in ["weight", "bias"] {
        let name = format!("{layer}.{part}");
        let part = state.params.get(&name)?.index_select(&rows, 0).map_err(LearnError::from)?;
        smaller.push((name, part));
    }
    let params = state.params.merged(&smaller.into_iter().collect::<Params>());
    let network = network.with_head(network.head().with_outputs(kept.len()));
    Ok((network, State { params, buffers: state.buffers.clone() }))
}
