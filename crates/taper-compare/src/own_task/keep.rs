//! The chosen method as a classifier, trained on all images that may be labeled.

use super::answers::answers;
use super::draws::Draws;
use super::row::{Approach, LabelStart, LearningCost, Row};
use super::rows::Scratch;
use crate::Result;
use crate::from_weights::Frozen;
use taper_data::Dataset;
use taper_learn::{
    LearnError, Model, TaskNorm,
    evaluation::Answers,
    methods::SettingValues,
    models::{CLASSIFIER, Origin},
    provenance::{Provenance, UsedData},
};
use taper_models::State;
use taper_transfer::LabeledSupport;

/// The chosen method as a classifier.
pub(super) struct Kept {
    pub(super) model: Model,
    /// What it answered about images that it did not learn from, if it could be asked.
    pub(super) answers: Option<Answers>,
}

/// The classifier that `row` makes of all images that may be labeled; `None` if no network does what it does.
pub(super) fn trained_on_all(
    row: &Row,
    draws: &Draws,
    dataset: &dyn Dataset,
    frozen: Option<&Frozen>,
    scratch: Option<&Scratch>,
    before: Provenance,
) -> Result<Option<Kept>> {
    let pool = draws.pool();
    let images: Vec<usize> = pool.labeled.iter().flatten().copied().collect();
    let support = draws.labeled(images.clone());
    let network = row
        .learner
        .adapt(&support.batch(row.inputs.as_ref())?, draws.seed())
        .and_then(|classifier| classifier.network());
    let (network, state) = match network {
        Ok(made) => made,
        Err(LearnError::Invalid(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let (own_network, own_state) = (network.clone(), state.clone());
    let (network, state, transform) = match (row.approach, frozen, scratch) {
        (Approach::FromScratch, _, Some(scratch)) => (network, state, scratch.view.transform()),
        (_, Some(frozen), _) => {
            (frozen.network.with_head(network.head()), frozen.merged(&state), frozen.view.transform())
        }
        _ => return Ok(None),
    };
    // a head in closed form has no probabilities of its own; fine-tuning's loss has calibrated it
    let (state, kept) = match row.cost {
        LearningCost::Small => {
            let kept = LabeledSupport { dataset, labeled: &support, seed: draws.seed() };
            let inputs = [row.inputs.clone()];
            let (kept, state) = kept.of_head(row.head, row.learner.as_ref(), &inputs, &network, state)?;
            (state, Some(kept))
        }
        _ => (state, None),
    };
    let calibrated = State {
        params: own_state.params.merged(&state.params.filter(|name| network.in_head(name))),
        buffers: own_state.buffers,
    };
    let of_folds = LabeledSupport { dataset, labeled: &support, seed: draws.seed() }.kept();
    let answers = answers(row, draws, &of_folds, &own_network, &calibrated, kept.as_ref())?;
    let names = |class: &u32| dataset.classes()[*class as usize].full_name();
    let labels: Vec<String> = pool.classes.iter().map(names).collect();
    let weights = frozen.filter(|_| row.start != LabelStart::Nothing);
    let weights = weights.map(|frozen| UsedData::unrecorded(&frozen.name, &[]));
    let used = UsedData::of_images(dataset, &images)?;
    let model = Model {
        network,
        state,
        labels: labels.clone(),
        transform: transform.to_string(),
        origin: Origin {
            method: CLASSIFIER.into(),
            on: format!("{} ({} images)", dataset.name(), images.len()),
            classes: labels,
            settings: SettingValues::new(),
            norm: TaskNorm::Stored.to_string(),
            revised: false,
        },
        provenance: Provenance { trained_on: weights.into_iter().collect(), ..Provenance::default() }
            .and(before)
            .and(Provenance { trained_on: vec![used.clone()], chosen_on: vec![used], ..Provenance::default() }),
        support: kept,
    };
    Ok(Some(Kept { model, answers }))
}
