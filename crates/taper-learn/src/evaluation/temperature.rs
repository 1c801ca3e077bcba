//! Temperature scaling (Guo et al. 2017, section 4.2): logits divided by one number, so that their softmax is as
//! often right as it says.

/// The temperature with the least cross-entropy on logits with labels. The target of the label is (n + 1) / (n + 2)
/// (Platt 1999), or logits that are always right would have no limit.
pub fn fitted_temperature(rows: &[(Vec<f64>, u32)]) -> f64 {
    /// The search goes from 1e-6 to 1e6, in the logarithm.
    const RANGE: f64 = 13.8;
    const STEPS: usize = 80;
    let rest = 1.0 / (rows.len() as f64 + 2.0);
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
        // 11 / 12 = 1 / (1 + exp(-1 / T))
        assert!((always_right - 1.0 / 11f64.ln()).abs() < 1e-6, "{always_right}");
    }
}
