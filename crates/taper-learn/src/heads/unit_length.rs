//! Rows of unit length.

use crate::Result;
use candle_core::{D, Tensor};

/// Each row of `features (n, d)` divided by its length; a row shorter than 1e-12 is divided by
/// that, so that zero stays zero. Differentiable everywhere.
///
/// # Errors
/// Returns an error if the features are not a matrix.
pub fn unit_length(features: &Tensor) -> Result<Tensor> {
    // under the root, since the root has no derivative at 0
    let lengths = features.sqr()?.sum_keepdim(D::Minus1)?.maximum(1e-24)?.sqrt()?;
    Ok(features.broadcast_div(&lengths)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};
    use taper_models::{Leaves, Params};

    #[test]
    fn direction_counts_and_length_does_not_and_zero_stays_zero() {
        let features = Tensor::new(&[[3f32, 4.0], [0.3, 0.4], [3e-9, 4e-9], [0.0, 0.0]], &Device::Cpu).unwrap();
        let rows = unit_length(&features).unwrap().to_vec2::<f32>().unwrap();
        for row in &rows[..3] {
            assert!((row[0] - 0.6).abs() < 1e-6 && (row[1] - 0.8).abs() < 1e-6, "{row:?}");
        }
        assert_eq!(rows[3], [0.0, 0.0]);
    }

    #[test]
    fn a_feature_of_zeros_has_a_finite_gradient() {
        let zeros = Tensor::zeros((2, 3), DType::F64, &Device::Cpu).unwrap();
        let leaves = Leaves::new(&Params::from_iter([("x".to_string(), zeros)])).unwrap();
        let unit = unit_length(leaves.params().get("x").unwrap()).unwrap();
        let slope = leaves.gradient(&unit.sum_all().unwrap()).unwrap();
        assert!(slope.norm().unwrap().is_finite());
    }
}
