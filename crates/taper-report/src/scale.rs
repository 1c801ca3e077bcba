//! Where values lie on an axis, in percent of a figure's width or height, so that figures fit any width without
//! their text becoming small.

/// An axis from one value to another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    /// The values at both ends, or their logarithms.
    ends: [f64; 2],
    /// Where both ends lie, in percent.
    places: [f64; 2],
    logarithmic: bool,
}

/// A mark on an axis.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tick {
    /// Where it lies, such as `12.50%`.
    pub(crate) at: String,
    pub(crate) label: String,
}

impl Scale {
    pub(crate) fn linear(ends: [f64; 2], places: [f64; 2]) -> Self {
        Self { ends, places, logarithmic: false }
    }

    /// Both ends must be above 0.
    pub(crate) fn logarithmic(ends: [f64; 2], places: [f64; 2]) -> Self {
        Self { ends: ends.map(f64::ln), places, logarithmic: true }
    }

    /// Shares from 0 to 1 around all of `values`: whole steps of five or ten points.
    pub(crate) fn shares(values: impl Iterator<Item = f64>, places: [f64; 2]) -> Self {
        let (low, high) = bounds(values).unwrap_or((0.0, 1.0));
        let step = if high - low > 0.35 { 0.1 } else { 0.05 };
        let down = ((low / step).floor() * step).max(0.0);
        let up = ((high / step).ceil() * step).min(1.0);
        let up = up.max((down + step).min(1.0));
        Self::linear([down.min(up - step).max(0.0), up], places)
    }

    /// A place in percent.
    pub(crate) fn place(&self, value: f64) -> f64 {
        let value = if self.logarithmic { value.max(f64::MIN_POSITIVE).ln() } else { value };
        let range = self.ends[1] - self.ends[0];
        let share = if range == 0.0 { 0.5 } else { ((value - self.ends[0]) / range).clamp(0.0, 1.0) };
        self.places[0] + share * (self.places[1] - self.places[0])
    }

    /// A place as an attribute of SVG.
    pub(crate) fn at(&self, value: f64) -> String {
        attribute(self.place(value))
    }

    /// At most `most` marks at round values, each with the label that `label` gives it.
    pub(crate) fn ticks(&self, most: usize, label: impl Fn(f64) -> String) -> Vec<Tick> {
        let values = if self.logarithmic { self.powers(most) } else { self.round(most) };
        values.into_iter().map(|value| Tick { at: self.at(value), label: label(value) }).collect()
    }

    fn round(&self, most: usize) -> Vec<f64> {
        let [low, high] = self.ends;
        let least = (high - low).max(f64::MIN_POSITIVE) / most.max(1) as f64;
        let power = 10f64.powf(least.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].iter().map(|times| times * power).find(|&step| step >= least * 0.999);
        let step = step.unwrap_or(10.0 * power);
        let (first, last) = ((low / step - 1e-9).ceil() as i64, (high / step + 1e-9).floor() as i64);
        (first..=last).map(|count| count as f64 * step).collect()
    }

    fn powers(&self, most: usize) -> Vec<f64> {
        let tens = self.ends.map(|end| end / std::f64::consts::LN_10);
        let (first, last) = (tens[0].ceil() as i32, tens[1].floor() as i32);
        let every = ((last - first).max(0) as usize / most.max(1) + 1) as i32;
        (first..=last).filter(|power| (power - first) % every == 0).map(|power| 10f64.powi(power)).collect()
    }
}

/// The least and the largest of the finite values; `None` without any.
pub(crate) fn bounds(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.filter(|value| value.is_finite()).fold(None, |found, value| match found {
        None => Some((value, value)),
        Some((low, high)) => Some((f64::min(low, value), f64::max(high, value))),
    })
}

/// `12.50%`.
pub(crate) fn attribute(percent: f64) -> String {
    format!("{percent:.2}%")
}

/// The points of a line in the unit of percent, for a coordinate system from 0 to 100.
pub(crate) fn points(points: impl Iterator<Item = (f64, f64)>) -> String {
    points.map(|(x, y)| format!("{x:.2},{y:.2}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_at_round_values_inside_the_axis() {
        let labels = |scale: Scale, most| {
            scale.ticks(most, |value| format!("{value}")).into_iter().map(|tick| tick.label).collect::<Vec<_>>()
        };
        assert_eq!(labels(Scale::linear([0.0, 100.0], [0.0, 100.0]), 5), ["0", "20", "40", "60", "80", "100"]);
        assert_eq!(labels(Scale::logarithmic([0.5, 2000.0], [0.0, 100.0]), 9), ["1", "10", "100", "1000"]);
    }

    #[test]
    fn a_scale_of_shares_holds_all_values_in_whole_steps_and_a_single_value_has_room() {
        let scale = Scale::shares([0.62, 0.71].into_iter(), [0.0, 100.0]);
        assert_eq!((scale.place(0.6), scale.place(0.75), scale.place(2.0)), (0.0, 100.0, 100.0));
        let single = Scale::shares([1.0].into_iter(), [0.0, 100.0]);
        assert!(single.place(1.0).is_finite());
        assert_eq!(Scale::shares([f64::NAN].into_iter(), [0.0, 100.0]).place(0.5), 50.0);
    }
}
