//! How much of an error the predicted class bears.

use super::ScoredTask;
use std::collections::BTreeMap;

/// Pairs of answers below which no share is estimated.
const LEAST_PAIRS: u64 = 100;

/// Returns the share of errors that would not happen if another class stood in for the one predicted:
/// of queries classified wrongly once, those classified correctly in tasks that lack the wrong class. If
/// images are queried too rarely for that, the accuracy takes its place, which is the share for choice
/// probabilities after Luce (1959) that are the same for all queries of a class.
pub(super) fn blame(tasks: &[ScoredTask]) -> f64 {
    let mut images: BTreeMap<usize, Vec<(usize, Option<u32>)>> = BTreeMap::new();
    let mut correct = 0.0;
    for (number, task) in tasks.iter().enumerate() {
        correct += task.accuracy();
        for decision in task.decisions.iter().filter(|decision| decision.predicted.is_some()) {
            let wrong = decision.predicted.filter(|&predicted| predicted != decision.class);
            images.entry(decision.image).or_default().push((number, wrong));
        }
    }
    let (mut pairs, mut mended) = (0_u64, 0_u64);
    for answers in images.values() {
        for wrong in answers.iter().filter_map(|&(_, wrong)| wrong) {
            let without = answers.iter().filter(|(task, _)| !tasks[*task].classes.contains(&wrong));
            for (_, other) in without {
                pairs += 1;
                mended += u64::from(other.is_none());
            }
        }
    }
    if pairs < LEAST_PAIRS { correct / tasks.len() as f64 } else { mended as f64 / pairs as f64 }
}
