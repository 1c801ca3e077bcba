//! Temperature scaling (Guo et al. 2017, section 4.2): logits divided by one number, so that their softmax is as
//! often right as it says.

/// An image's logits and its label.
type Scored = (Vec<f64>, u32);

/// The temperature of a classifier that learns from all labeled images. It is known from like classifiers that each learn
/// from all of `folds` folds but one, and from those that learn from a half; each time `rows` are the logits of the
/// images that were left out. More images mean a lower temperature: it is a power of their number. `halves` is not needed
/// for two folds, which are halves: then the power is -1, which is typical of one and two images per class.
pub fn extrapolated_temperature(rows: &[Scored], folds: usize, halves: Option<&[Scored]>) -> f64 {
    /// Steeper falls are chance.
    const STEEPEST: f64 = 2.0;
    let on_folds = fitted_temperature(rows);
    let kept = 1.0 - 1.0 / folds as f64;
    let power = halves.map_or(1.0, |halves| {
        let fall = fitted_temperature(halves) / on_folds;
        (fall.ln() / (kept / 0.5).ln()).clamp(0.0, STEEPEST)
    });
    on_folds * kept.powf(power)
}

/// The temperature of a classifier that learned from these images themselves, where a class has a single one, so that
/// none can be left out: a share of the margin, the mean by which an image's own logit is above those of other classes. The
/// best share was 0.15 to 0.22 for waste and for hands and 0.07 for groceries (geometric means over draws from their
/// training parts, heads on frozen features), where the temperatures themselves differed a hundredfold.
pub fn temperature_of_singles(rows: &[Scored]) -> f64 {
    const SHARE: f64 = 0.14;
    let margin = |(logits, label): &Scored| {
        let own = logits[*label as usize];
        (logits.len() as f64 * own - logits.iter().sum::<f64>()) / (logits.len() - 1) as f64
    };
    let mean = rows.iter().map(margin).sum::<f64>() / rows.len() as f64;
    if mean > 0.0 { SHARE * mean } else { 1.0 }
}

/// The temperature with the least cross-entropy on logits with labels. One of the images counts as wrong to a tenth,
/// shared by all of them (as in Platt 1999, who lets a whole one be wrong), or logits that are always right would have no
/// limit.
pub fn fitted_temperature(rows: &[Scored]) -> f64 {
    /// The search goes from 1e-6 to 1e6, in the logarithm.
    const RANGE: f64 = 13.8;
    const STEPS: usize = 80;
    const WRONG: f64 = 0.1;
    let rest = WRONG / (rows.len() as f64 + 2.0);
    let loss = |temperature: f64| -> f64 {
        let of = |(logits, label): &(Vec<f64>, u32)| {
            let scaled: Vec<f64> = logits.iter().map(|logit| logit / temperature).collect();
            let most = scaled.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum = most + scaled.iter().map(|logit| (logit - most).exp()).sum::<f64>().ln();
            let others = (scaled.len().max(2) - 1) as f64;
            let target = |at: usize| if at == *label as usize { 1.0 - rest } else { rest / others };
            scaled.iter().enumerate().map(|(at, logit)| target(at) * (sum - logit)).sum::<f64>()
        };
        rows.iter().map(of).sum()
    };
    // the loss is convex in 1 / temperature, so it has one minimum in the logarithm too: golden section finds it
    let golden = (5f64.sqrt() - 1.0) / 2.0;
    let (mut low, mut high) = (-RANGE, RANGE);
    for _ in 0..STEPS {
        let (left, right) = (high - golden * (high - low), low + golden * (high - low));
        if loss(left.exp()) <= loss(right.exp()) { high = right } else { low = left }
    }
    (0.5 * (low + high)).exp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng as _;

    #[test]
    fn the_temperature_of_logits_scaled_by_it_is_found_again() {
        let rng = &mut taper_ops::rng(0, "calibration", 0);
        // labels are drawn from the probabilities of the logits, so the right temperature is 1
        let rows: Vec<(Vec<f64>, u32)> = (0..20_000)
            .map(|_| {
                let logits: Vec<f64> = (0..3).map(|_| rng.random_range(-2.0..2.0)).collect();
                let sum: f64 = logits.iter().map(|logit: &f64| logit.exp()).sum();
                let mut left = rng.random::<f64>() * sum;
                let label = logits.iter().position(|logit| {
                    left -= logit.exp();
                    left <= 0.0
                });
                (logits, label.unwrap_or(2) as u32)
            })
            .collect();
        for scale in [0.01, 1.0, 30.0] {
            let scaled: Vec<_> =
                rows.iter().map(|(row, label)| (row.iter().map(|v| v * scale).collect(), *label)).collect();
            let found = fitted_temperature(&scaled) / scale;
            assert!((found - 1.0).abs() < 0.05, "{scale}: {found}");
        }
        let always_right = fitted_temperature(&vec![(vec![1.0, 0.0], 0); 10]);
        // 119 / 120 = 1 / (1 + exp(-1 / T))
        assert!((always_right - 1.0 / 119f64.ln()).abs() < 1e-6, "{always_right}");
    }

    #[test]
    fn single_images_get_a_temperature_of_the_size_of_their_margin() {
        for scale in [1.0, 50.0] {
            let rows = [(vec![4.0 * scale, 0.0, 2.0 * scale], 0), (vec![0.0, 5.0 * scale, 0.0], 1)];
            assert!((temperature_of_singles(&rows) - 0.14 * 4.0 * scale).abs() < 1e-9);
        }
        assert_eq!(temperature_of_singles(&[(vec![1.0, 1.0], 0)]), 1.0);
    }

    #[test]
    fn a_temperature_that_falls_with_a_power_of_the_images_is_extrapolated_to_all_of_them() {
        let rows = |temperature: f64| -> Vec<Scored> {
            // right three times in four at a margin of T ln 3
            let margin = temperature * 3f64.ln();
            (0..4000).map(|row| (vec![margin, 0.0], u32::from(row % 4 == 0))).collect()
        };
        let fitted = fitted_temperature(&rows(0.7));
        assert!((fitted - 0.7).abs() < 1e-3, "{fitted}");
        // 1 / n: from 5 folds and halves of 100 images to all
        let found = extrapolated_temperature(&rows(1.0 / 80.0), 5, Some(&rows(1.0 / 50.0)));
        assert!((found * 100.0 - 1.0).abs() < 1e-3, "{found}");
        let rising = extrapolated_temperature(&rows(1.0), 5, Some(&rows(0.5)));
        assert!((rising - 1.0).abs() < 1e-3, "{rising}: more images don't make it less sure");
        assert!((extrapolated_temperature(&rows(1.0), 2, None) - 0.5).abs() < 1e-3);
    }
}
