//! What more labels would give: the learning curve beyond the labels there are.

use super::draws::Count;
use serde::{Deserialize, Serialize};
use taper_learn::Interval;
use taper_learn::statistics::{Estimate, student_quantile};

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

/// How much the exponent of a learning curve differs beyond the labels there are from what it is within them,
/// as a standard deviation relative to its size, and at the least. Both were found on curves of other data sets.
const EXPONENT_CHANGES: f64 = 0.35;
const EXPONENT_VARIES: f64 = 0.08;
/// Numbers of labels that the exponent is taken from, the largest ones.
const POINTS: usize = 3;

/// The accuracy to expect of `labels` labels per class, from the accuracies at fewer: the error falls as a power
/// of the labels (Hestness et al. 2017, "Deep Learning Scaling is Predictable, Empirically"). `None` without two
/// numbers of labels.
pub(super) fn forecast(method: &str, curve: &[(Count, Estimate)], labels: f64) -> Option<Forecast> {
    let last = curve.last()?;
    let known = &curve[curve.len().saturating_sub(POINTS)..];
    if known.len() < 2 {
        return None;
    }
    // log error and its standard error; an error of 0 or 1 has no logarithm
    let point = |(count, estimate): &(Count, Estimate)| {
        let error = (1.0 - estimate.mean).clamp(0.002, 0.998);
        (count.per_class.ln(), error.ln(), estimate.standard_error.unwrap_or(0.1).max(1e-3) / error)
    };
    let points: Vec<(f64, f64, f64)> = known.iter().map(point).collect();
    let weight = |deviation: f64| 1.0 / (deviation * deviation);
    let total: f64 = points.iter().map(|point| weight(point.2)).sum();
    let mean = |value: fn(&(f64, f64, f64)) -> f64| points.iter().map(|p| weight(p.2) * value(p)).sum::<f64>() / total;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let spread: f64 = points.iter().map(|p| weight(p.2) * (p.0 - x).powi(2)).sum();
    let slope = points.iter().map(|p| weight(p.2) * (p.0 - x) * (p.1 - y)).sum::<f64>() / spread;
    // more labels do no harm, and no curve falls faster than labels grow
    let exponent = slope.clamp(-1.0, 0.0);
    let (_, end, end_deviation) = *points.last()?;
    let ratio = labels.ln() - last.0.per_class.ln();
    let expected = end + exponent * ratio;
    let exponent_deviation = (1.0 / spread + (EXPONENT_CHANGES * exponent).powi(2) + EXPONENT_VARIES.powi(2)).sqrt();
    // the last point is one of those that the exponent is taken from
    let (end_place, ..) = *points.last()?;
    let covariance = (end_place - x) / spread;
    let variance = end_deviation.powi(2) + (exponent_deviation * ratio).powi(2) + 2.0 * ratio * covariance.max(0.0);
    let deviation = variance.sqrt();
    let freedom = last.1.degrees_of_freedom;
    let margin = student_quantile(0.95, freedom) * deviation;
    let accuracy = |log_error: f64| 1.0 - log_error.exp().min(1.0);
    let accuracy =
        Interval { mean: accuracy(expected), low: accuracy(expected + margin), high: accuracy(expected - margin) };
    Some(Forecast { method: method.to_string(), labels, accuracy })
}

#[cfg(test)]
mod tests {
    use super::*;
    use taper_learn::statistics::Population;
    use taper_transfer::LabelCount;

    fn curve(errors: [f64; 3]) -> Vec<(Count, Estimate)> {
        let labels = [1, 2, 4];
        let point = |(labels, error): (usize, f64)| {
            let estimate = Estimate {
                mean: 1.0 - error,
                standard_error: Some(0.01),
                degrees_of_freedom: 100.0,
                population: Population::TheseClasses,
                runs: 1,
                least: 0.0,
            };
            (Count { labels: LabelCount::Of(labels), per_class: labels as f64, images: labels }, estimate)
        };
        labels.into_iter().zip(errors).map(point).collect()
    }

    #[test]
    fn an_error_that_halves_with_four_times_the_labels_is_forecast_to_do_so_again() {
        let forecast = forecast("m", &curve([0.4, 0.4 / 2f64.sqrt(), 0.2]), 16.0).unwrap();
        assert!((forecast.accuracy.mean - 0.9).abs() < 1e-3, "{forecast:?}");
        assert!(forecast.accuracy.low > 0.75 && forecast.accuracy.high < 0.97, "{forecast:?}");
    }

    #[test]
    fn more_labels_are_never_forecast_to_harm_and_one_number_of_labels_forecasts_nothing() {
        let worse = curve([0.2, 0.22, 0.24]);
        let forecast_of = |curve: &[(Count, Estimate)]| forecast("m", curve, 8.0);
        assert!((forecast_of(&worse).unwrap().accuracy.mean - 0.76).abs() < 1e-9);
        assert_eq!(forecast_of(&worse[..1]), None);
    }
}
