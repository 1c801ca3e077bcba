//! Values that are NaN or infinite.

use candle_core::{DType, Result, Tensor};

/// The number of values that are NaN or infinite.
pub(crate) fn exceptions(tensor: &Tensor) -> Result<usize> {
    let flat = tensor.flatten_all()?;
    Ok(match tensor.dtype() {
        DType::F64 => flat.to_vec1::<f64>()?.iter().filter(|value| !value.is_finite()).count(),
        DType::F32 => flat.to_vec1::<f32>()?.iter().filter(|value| !value.is_finite()).count(),
        DType::F16 | DType::BF16 => exceptions(&flat.to_dtype(DType::F32)?)?,
        _ => 0,
    })
}
