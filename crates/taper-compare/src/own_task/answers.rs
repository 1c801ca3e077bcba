//! What the chosen method answered about images that it did not learn from: those that the data set's owner set
//! aside, or else the images of each fold after learning from the others.

use super::draws::{Count, Draws};
use super::row::Row;
use super::scores::Scores;
use crate::Result;
use taper_learn::evaluation::{Answers, Labeled};
use taper_learn::support::Support;
use taper_models::{Mode, Network, State};

/// Images classified at once.
const BATCH: usize = 64;

/// What `network`, which `row` made of `support`, answers about images that it did not learn from. Without images that
/// were set aside, these are the answers that it `kept` of folds; `None` if it keeps none, because learning from folds
/// takes too long.
///
/// # Errors
/// Returns an error if an image can't be read.
pub(super) fn answers(
    row: &Row,
    draws: &Draws,
    support: &Labeled,
    network: &Network,
    state: &State,
    kept: Option<&Support>,
) -> Result<Option<Answers>> {
    let mut answers = Answers::default();
    let asked = draws.labeled(draws.pool().held_out.iter().flatten().copied().collect());
    if asked.images.is_empty() {
        let Some((kept, held_out)) = kept.and_then(|kept| Some((kept, kept.held_out.as_ref()?))) else {
            return Ok(None);
        };
        let total = support.images.len();
        answers.extend(&support.images, &support.labels, &held_out.logits()?, Some(&kept.features), total)?;
        return Ok(Some(answers));
    }
    for (images, labels) in asked.images.chunks(BATCH).zip(asked.labels.chunks(BATCH)) {
        let inputs = row.inputs.inputs(images, None)?;
        let made = network.forward(&state.params, &state.buffers, &inputs, Mode::evaluate())?;
        answers.extend(images, labels, &made.output, Some(&made.features), asked.images.len())?;
    }
    Ok(Some(answers))
}

/// The answers that a row gave when it was scored with the most labels, each image once, without probabilities.
pub(super) fn scored(draws: &Draws, counts: &[Count], scores: &Scores) -> Answers {
    let mut answers = Answers::default();
    let Some(count) = counts.iter().rev().find(|count| !scores.of(count.labels).is_empty()) else { return answers };
    for cell in scores.of(count.labels) {
        let queries = draws.labeled(draws.queries(&draws.draw(cell.draw), count.labels));
        for ((image, label), predicted) in queries.images.into_iter().zip(queries.labels).zip(&cell.predicted) {
            if let (Some(predicted), false) = (predicted, answers.images.contains(&image)) {
                answers.images.push(image);
                answers.labels.push(label);
                answers.predicted.push(*predicted);
            }
        }
    }
    answers
}
