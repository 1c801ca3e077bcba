//! Claims of a verdict as a figure.

use super::interval;
use taper_compare::{Claim, Outcome};
use taper_report::{Difference, Differences, Figure, Section};

/// The claims; `None` without any.
pub(super) fn differences(claims: &[Claim]) -> Option<Section> {
    let row = |claim: &Claim| Difference {
        first: claim.first.clone(),
        second: claim.second.clone(),
        difference: interval(claim.difference),
        shows: match claim.outcome {
            // p-values are adjusted less than intervals, so that the two may differ
            Outcome::Better if claim.difference.low <= 0.0 => "more accurate by its p-value, but the interval holds 0",
            Outcome::Worse if claim.difference.high >= 0.0 => "less accurate by its p-value, but the interval holds 0",
            Outcome::Better => "more accurate",
            Outcome::Worse => "less accurate",
            Outcome::AsGoodAsEqual => "as good as equal",
            Outcome::NotShown => "not shown to differ",
        }
        .to_string(),
    };
    (!claims.is_empty()).then(|| Section {
        title: "What the differences show".into(),
        text:
            "Differences in accuracy between two methods on the same tasks or images, in points. A filled dot marks an \
               interval that lies on one side of zero; intervals that answer the same question hold together at 95%."
                .into(),
        figure: Figure::Differences(Differences { rows: claims.iter().map(row).collect() }),
    })
}
