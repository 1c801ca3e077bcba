//! A learner and a few labeled images become a classifier.

use crate::head_on_features::{head_of, learner_on_features};
use crate::{Result, learner};
use std::sync::Arc;
use taper_data::{Batch, Copies, Dataset, Inputs, View};
use taper_learn::{
    Adapt, Model, TaskNorm,
    classifiers::Averaged,
    evaluation::Labeled,
    heads::default_folds,
    methods::SettingValues,
    models::{CLASSIFIER, Origin},
    provenance::{Provenance, UsedData},
    support::{HeldOut, Rows, Similarity, Support, features},
};
use taper_models::{Network, State};
use taper_transfer::{LabeledSupport, calibrated_by};

/// Adapts a learner to the classes of `support`, with `views` views of each image (itself and copies
/// by the random steps of the model's transform), and returns the classifier.
///
/// # Errors
/// Returns an error if the model's method is unknown or keeps no network, its transform does not fit
/// the images, or `views` is more than 1 and the transform has no random step.
///
/// ```
/// use std::sync::Arc;
/// use taper_compare::{adapt, built_in, score_classifier};
/// use taper_data::{Dataset, Glyphs, GlyphsSize, View};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let drawings: Arc<dyn Dataset> = Arc::new(Glyphs::new(0, GlyphsSize { alphabets: 1, characters: 3, drawings: 2 })?);
/// let learner = built_in(drawings.as_ref())?.model; // or Model::load(path)?
/// let classifier = adapt(&learner, &drawings, 1, 0)?;
/// let view = View::new(drawings, classifier.transform.parse()?)?;
/// let score = score_classifier(&classifier, &view, &[0, 2, 4])?;
/// println!("{:.0} % of {} images", 100.0 * score.accuracy().mean, score.images());
/// # Ok(())
/// # }
/// ```
pub fn adapt(model: &Model, support: &Arc<dyn Dataset>, views: usize, seed: u64) -> Result<Model> {
    let method = learner(model)?;
    let view = Arc::new(View::new(support.clone(), model.transform.parse()?)?);
    let images: Vec<usize> = (0..support.labels().len()).collect();
    let copies = Copies::new(&view, views, seed)?;
    let batch = Batch::new(copies.inputs(&images, None)?, support.labels(), support.classes().len())?;
    let (network, state) = Averaged(method.as_ref()).adapt(&batch, seed)?.network()?;
    let labels: Vec<String> = support.classes().iter().map(|class| class.full_name()).collect();
    let origin = Origin {
        method: CLASSIFIER.into(),
        on: format!("{} by {}", support.name(), model.origin.method),
        classes: labels.clone(),
        settings: SettingValues::new(),
        norm: TaskNorm::Stored.to_string(),
        revised: false,
    };
    let trained_on = vec![UsedData::of_images(support.as_ref(), &images)?];
    let provenance = model.provenance.clone().and(Provenance { trained_on, ..Provenance::default() });
    let mut kept = kept(method.as_ref(), model, &copies, &view, &network, &state, seed)?;
    let mut state = state;
    if let Some(held_out) = kept.held_out.take() {
        let (held_out, calibrated) = calibrated_by(&network, state, held_out)?;
        (kept.held_out, state) = (Some(held_out), calibrated);
    }
    Ok(Model { network, state, labels, transform: model.transform.clone(), origin, provenance, support: Some(kept) })
}

/// What the classifier keeps of its labeled images.
fn kept(
    method: &dyn Adapt,
    learner: &Model,
    copies: &Copies,
    view: &View,
    network: &Network,
    state: &State,
    seed: u64,
) -> Result<Support> {
    let support = view.dataset();
    let images: Vec<usize> = (0..support.labels().len()).collect();
    let features = features(network, state, view, &images)?;
    let labeled = Labeled { images, labels: support.labels().to_vec(), ways: support.classes().len() };
    let head = head_of(&learner.origin.method);
    let held_out = match (default_folds(&labeled.labels, labeled.ways), head) {
        (None, _) => None,
        (Some(folds), Some(head)) => {
            let rows = Rows(features.clone());
            let on_features = learner_on_features(head, network, state)?;
            let learn = |kept: &[usize]| labeled.select(kept).batch(&rows);
            let similarity = Similarity::new(network, state, &features)?;
            let frozen = Some(&similarity);
            Some(HeldOut::out_of_fold(on_features.as_ref(), &learn, &rows, &labeled, frozen, folds, seed)?)
        }
        (Some(folds), None) => {
            let averaged = Averaged(method);
            let learn = |kept: &[usize]| labeled.select(kept).batch(copies);
            Some(HeldOut::out_of_fold(&averaged, &learn, view, &labeled, None, folds, seed)?)
        }
    };
    let kept = LabeledSupport { dataset: support.as_ref(), labeled: &labeled, seed };
    Ok(kept.support(&labeled, features, head, held_out)?)
}
