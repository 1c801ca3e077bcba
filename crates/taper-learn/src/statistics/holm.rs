//! Several claims at once (Holm 1979, "A simple sequentially rejective multiple test procedure").

/// Returns Holm's adjusted p-values, in the order of `p_values`. If every claim with an adjusted value
/// below 0.05 is made, the probability that any of them is wrong is at most 5%, however the claims
/// depend on each other.
///
/// ```
/// let adjusted = taper_learn::statistics::holm(&[0.01, 0.04, 0.03]);
/// assert!(adjusted[0] < 0.05 && adjusted[1] > 0.05 && adjusted[2] > 0.05); // one claim of three holds
/// ```
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut adjusted = vec![1.0; p_values.len()];
    let mut largest: f64 = 0.0;
    for (rank, &index) in order.iter().enumerate() {
        largest = largest.max((p_values.len() - rank) as f64 * p_values[index]).min(1.0);
        adjusted[index] = largest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adjusted_values_are_those_of_p_adjust_in_r() {
        // p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")
        let adjusted = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (value, wanted) in adjusted.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!((value - wanted).abs() < 1e-12, "{adjusted:?}");
        }
        assert_eq!(holm(&[]), Vec::<f64>::new());
        assert_eq!(holm(&[0.7, 0.8]), [1.0, 1.0]);
    }
}
