//! Variances that are sums of estimated parts.

/// An estimated variance with its degrees of freedom.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Variance {
    pub(super) value: f64,
    pub(super) freedom: f64,
}

impl Variance {
    /// The sum of `parts`, each multiplied by its factor, with the degrees of freedom of Satterthwaite
    /// (1946, "An approximate distribution of estimates of variance components"): those of the χ² whose
    /// variance is the sum's.
    pub(super) fn sum(parts: &[(f64, Self)]) -> Self {
        let value: f64 = parts.iter().map(|(factor, part)| factor * part.value).sum();
        let spread: f64 = parts.iter().map(|(factor, part)| (factor * part.value).powi(2) / part.freedom).sum();
        Self { value, freedom: if spread > 0.0 { value * value / spread } else { f64::INFINITY } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_parts_add_their_degrees_of_freedom() {
        let part = Variance { value: 2.0, freedom: 5.0 };
        let sum = Variance::sum(&[(1.0, part), (1.0, part)]);
        assert!((sum.value - 4.0).abs() < 1e-12 && (sum.freedom - 10.0).abs() < 1e-12);
    }

    #[test]
    fn a_part_subtracted_costs_degrees_of_freedom() {
        let (large, small) = (Variance { value: 4.0, freedom: 5.0 }, Variance { value: 2.0, freedom: 5.0 });
        assert!(Variance::sum(&[(1.0, large), (-1.0, small)]).freedom < 1.1);
    }
}
