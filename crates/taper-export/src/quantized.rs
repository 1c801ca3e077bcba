//! Weights in 8 bits.

use crate::{ExportError, Result};
use candle_core::{DType, Tensor};

/// Weights as whole multiples, from -127 to 127, of one scale for each output channel (Krishnamoorthi 2018, section 2.1).
pub(crate) struct Quantized {
    /// In the tensor's order.
    pub(crate) levels: Vec<i8>,
    /// One for each place of the first dimension.
    pub(crate) scales: Vec<f32>,
}

impl Quantized {
    /// Each scale is the one that brings the largest weight of its channel to ±127.
    ///
    /// # Errors
    /// Returns an error if a weight is infinite or not a number.
    pub(crate) fn new(name: &str, tensor: &Tensor) -> Result<Self> {
        const LARGEST: f32 = 127.0;
        let channels = tensor.to_dtype(DType::F32)?.flatten_from(1)?.to_vec2::<f32>()?;
        if !channels.iter().flatten().all(|weight| weight.is_finite()) {
            return Err(ExportError::NotFinite { weight: name.to_string(), bits: 8 });
        }
        let scale = |weights: &Vec<f32>| {
            let largest = weights.iter().fold(0.0f32, |largest, weight| largest.max(weight.abs()));
            if largest > 0.0 { largest / LARGEST } else { 1.0 }
        };
        let scales: Vec<f32> = channels.iter().map(scale).collect();
        let level = |weight: &f32, scale: f32| (weight / scale).round() as i8;
        let levels = channels.iter().zip(&scales).flat_map(|(own, scale)| own.iter().map(|w| level(w, *scale)));
        Ok(Self { levels: levels.collect(), scales })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn each_channel_has_a_scale_of_its_own_and_errors_below_half_of_it() {
        let weights = [[0.5f32, -1.27, 0.004], [0.0, 0.0, 0.0], [1e-3, 2e-3, -1e-3]];
        let Quantized { levels, scales } =
            Quantized::new("weight", &Tensor::new(&weights, &Device::Cpu).unwrap()).unwrap();
        assert_eq!(levels[..6], [50, -127, 0, 0, 0, 0]);
        for (row, (weights, scale)) in weights.iter().zip(&scales).enumerate() {
            for (place, weight) in weights.iter().enumerate() {
                assert!((f32::from(levels[3 * row + place]) * scale - weight).abs() <= 0.5001 * scale);
            }
        }
    }
}
