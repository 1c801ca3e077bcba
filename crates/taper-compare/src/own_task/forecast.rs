//! What more labels would give: the learning curve beyond the labels there are.

use super::draws::Count;
use serde::{Deserialize, Serialize};
use taper_learn::Interval;
use taper_learn::statistics::{Estimate, learning_curve};

/// The accuracy to expect of more labels than there are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// The method.
    pub method: String,
    /// Labels per class.
    pub labels: f64,
    /// The accuracy to expect, with its 95% interval.
    pub accuracy: Interval,
}

/// The accuracy to expect of `labels` labels per class. `None` without two numbers of labels.
pub(super) fn forecast(method: &str, curve: &[(Count, Estimate)], labels: f64) -> Option<Forecast> {
    let points: Vec<(f64, Estimate)> = curve.iter().map(|(count, estimate)| (count.per_class, *estimate)).collect();
    let accuracy = learning_curve(&points, labels)?;
    Some(Forecast { method: method.to_string(), labels, accuracy })
}
