//! Features of several stages of a network, evened out.

use crate::trace::{Operation, record};
use crate::{Backbone, Buffers, Features, Mode, ParamSpec, Params, Result, StageMeans, Trace};
use candle_core::Tensor;
use std::sync::Arc;

/// The length of a lower stage's features beside the network's own, whose length is 1.
const LOWER: f64 = 0.3;

/// A backbone whose features are [`StageMeans`] with signed square roots, each stage's brought to unit length
/// (Perronnin et al. 2010), which evens out channels of unequal strength; lower stages weigh less. Of a network that
/// can't be split, they are its own features in this form. It is for inference.
#[derive(Debug, Clone)]
pub struct StageFeatures(StageMeans);

impl StageFeatures {
    /// The prefix of its name, before the backbone's own.
    pub(crate) const PREFIX: &str = "staged-";

    /// Those of a backbone.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`StageMeans::new`].
    pub fn new(backbone: Arc<dyn Backbone>) -> Result<Self> {
        Ok(Self(StageMeans::new(backbone)?))
    }

    /// The means that the features are made of.
    pub fn means(&self) -> &StageMeans {
        &self.0
    }

    /// The features of stages with these means, `(n, d)` to `(n, d)`.
    ///
    /// # Errors
    ///
    /// Returns an error if the width is another one.
    pub fn of_means(&self, means: &Tensor) -> Result<Tensor> {
        self.evened(means, &None)
    }

    fn evened(&self, means: &Tensor, trace: &Option<Arc<Trace>>) -> Result<Tensor> {
        let root = record(trace, Operation::SignedRoot, &[means], signed_root(means)?)?;
        let columns = self.0.columns();
        let own = columns.len() - 1;
        let part = |(stage, columns): (usize, &std::ops::Range<usize>)| {
            let part = root.narrow(1, columns.start, columns.len())?.contiguous()?;
            let part = record(trace, Operation::Columns(columns.clone()), &[&root], part)?;
            let length = if stage == own { 1.0 } else { LOWER };
            record(trace, Operation::Length(length), &[&part], of_length(&part, length)?)
        };
        let parts = columns.iter().enumerate().map(part).collect::<Result<Vec<_>>>()?;
        let parts: Vec<&Tensor> = parts.iter().collect();
        record(trace, Operation::Concatenate, &parts, Tensor::cat(&parts, 1)?)
    }
}

/// The square root of each value's size, with its sign.
fn signed_root(values: &Tensor) -> Result<Tensor> {
    Ok((values.sign()? * values.abs()?.sqrt()?)?)
}

/// Each row brought to a length; a row of zeros remains.
fn of_length(rows: &Tensor, length: f64) -> Result<Tensor> {
    let norms = rows.sqr()?.sum_keepdim(1)?.sqrt()?.maximum(1e-12)?;
    Ok((rows.broadcast_div(&norms)? * length)?)
}

impl Backbone for StageFeatures {
    fn name(&self) -> String {
        format!("{}{}", Self::PREFIX, self.0.backbone().name())
    }

    fn width(&self) -> usize {
        self.0.width()
    }

    fn input(&self) -> (usize, usize, usize) {
        self.0.input()
    }

    fn head_name(&self) -> &str {
        self.0.backbone().head_name()
    }

    fn param_specs(&self) -> Vec<ParamSpec> {
        self.0.param_specs()
    }

    fn features(&self, params: &Params, buffers: &Buffers, inputs: &Tensor, mode: &mut Mode) -> Result<Features> {
        let trace = mode.trace.clone();
        let Features { features, statistics } = self.0.features(params, buffers, inputs, mode)?;
        Ok(Features { features: self.evened(&features, &trace)?, statistics })
    }

    fn places(&self, params: &Params, buffers: &Buffers, inputs: &Tensor, mode: &mut Mode) -> Result<Option<Tensor>> {
        self.0.places(params, buffers, inputs, mode)
    }

    /// With f = √x / ‖√x‖ for the mean x ≥ 0 of the places, the slope of w · f is (w − (w · f) f) / 2f‖√x‖².
    fn slope(&self, places: &Tensor, weight: &Tensor) -> Result<Tensor> {
        let mean = places.mean((1, 2))?;
        let weight = self.0.own_features(weight)?;
        let norm = mean.abs()?.sum_keepdim(1)?.maximum(1e-12)?.sqrt()?;
        let unit = signed_root(&mean)?.broadcast_div(&norm)?;
        let along = (&weight * &unit)?.sum_keepdim(1)?;
        let across = (weight - unit.broadcast_mul(&along)?)?;
        // a channel without any activation adds nothing anywhere
        let steep = (mean.abs()?.sqrt()?.maximum(1e-6)? * 2.0)?.broadcast_mul(&norm)?;
        Ok((across / steep)?)
    }

    fn resized(&self, name: &str, tensor: Tensor) -> Result<Tensor> {
        self.0.resized(name, tensor)
    }

    fn stages(&self) -> Vec<String> {
        self.0.stages()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::named_backbone;
    use candle_core::DType;
    use taper_ops::{rng, uniform};

    #[test]
    fn each_stage_has_its_length_and_a_row_of_zeros_remains() {
        let staged = StageFeatures::new(named_backbone("resnet18", (3, 64, 64)).unwrap()).unwrap();
        let means = uniform(&mut rng(0, "means", 0), (2, staged.width()), 0.0, 1.0).unwrap();
        let made = staged.of_means(&means).unwrap();
        for (columns, length) in staged.0.columns().iter().zip([LOWER, LOWER, LOWER, LOWER, 1.0]) {
            let part = made.narrow(1, columns.start, columns.len()).unwrap();
            for norm in part.sqr().unwrap().sum(1).unwrap().sqrt().unwrap().to_vec1::<f32>().unwrap() {
                assert!((f64::from(norm) - length).abs() < 1e-5, "{norm} is not {length}");
            }
        }
        let nothing = staged.of_means(&means.zeros_like().unwrap()).unwrap();
        assert_eq!(nothing.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap(), 0.0);
    }

    #[test]
    fn the_slope_is_that_of_small_changes_of_the_places_mean() {
        let staged = StageFeatures::new(named_backbone("cifar-resnet20", (3, 16, 16)).unwrap()).unwrap();
        let double = |tensor: Tensor| tensor.to_dtype(DType::F64).unwrap();
        let own = staged.0.backbone().width();
        let places = double(uniform(&mut rng(0, "places", 0), (1, 2, 2, own), 0.1, 1.0).unwrap());
        let weight = double(uniform(&mut rng(1, "weight", 0), (1, staged.width()), -1.0, 1.0).unwrap());
        let slope = staged.slope(&places, &weight).unwrap().to_vec2::<f64>().unwrap().concat();
        let weight = staged.0.own_features(&weight).unwrap().to_vec2::<f64>().unwrap().concat();
        let mean = places.mean((1, 2)).unwrap().to_vec2::<f64>().unwrap().concat();
        let value = |mean: &[f64]| {
            let norm = mean.iter().sum::<f64>().sqrt();
            mean.iter().zip(&weight).map(|(x, w)| w * x.sqrt() / norm).sum::<f64>()
        };
        for (k, slope) in slope.iter().enumerate() {
            let moved = |by: f64| {
                let mut mean = mean.clone();
                mean[k] += by;
                value(&mean)
            };
            let expected = (moved(1e-6) - moved(-1e-6)) / 2e-6;
            assert!((slope - expected).abs() < 1e-6, "{k}: {slope}, {expected}");
        }
    }
}
