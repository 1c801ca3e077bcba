//! Means over the places of several stages of a network, side by side.

use crate::trace::{Operation, record};
use crate::{Backbone, BatchStatistics, Buffers, Features, Mode, ModelError, ParamSpec, Params, Result};
use candle_core::Tensor;
use std::ops::Range;
use std::sync::Arc;
use taper_ops::global_avg_pool;

/// The uppermost cuts of a network whose activations count.
const CUTS: usize = 4;

/// A backbone whose features are the means over the places of its last few stages, from the lowest up, and its own
/// features at the end. Intermediate stages tell what a network has not learned to put into its features (Head2Toe,
/// Evci et al. 2022). One pass makes them all. It is for inference.
#[derive(Debug, Clone)]
pub struct StageMeans {
    backbone: Arc<dyn Backbone>,
    cuts: Vec<String>,
    /// Of the lower stages, then of the own features.
    widths: Vec<usize>,
}

impl StageMeans {
    /// The prefix of its name, before the backbone's own.
    pub(crate) const PREFIX: &str = "stage-means-";

    /// Those of a backbone; of one that can't be split, and of a transformer, whose tokens no mean was tried of, its own
    /// features alone.
    ///
    /// # Errors
    ///
    /// Returns an error if the network does not know its own widths.
    pub fn new(backbone: Arc<dyn Backbone>) -> Result<Self> {
        let all = if backbone.takes_any_size() { backbone.split_points() } else { Vec::new() };
        let cuts = all[all.len().saturating_sub(CUTS)..].to_vec();
        let mut widths = cuts.iter().map(|cut| backbone.width_below(cut)).collect::<Result<Vec<_>>>()?;
        widths.push(backbone.width());
        Ok(Self { backbone, cuts, widths })
    }

    /// The backbone itself.
    pub fn backbone(&self) -> &Arc<dyn Backbone> {
        &self.backbone
    }

    /// The columns of each stage, the own features last.
    pub(crate) fn columns(&self) -> Vec<Range<usize>> {
        let mut start = 0;
        let next = |&width: &usize| {
            start += width;
            start - width..start
        };
        self.widths.iter().map(next).collect()
    }

    /// The part of `means (n, d)` that is the backbone's own features.
    ///
    /// # Errors
    ///
    /// Returns an error if they have another width.
    pub fn own_features(&self, means: &Tensor) -> Result<Tensor> {
        let own = self.backbone.width();
        match means.dims2()? {
            (_, width) if width == self.width() => Ok(means.narrow(1, width - own, own)?.contiguous()?),
            (_, width) => Err(ModelError::Invalid(format!("{width} features are not those of {}", self.name()))),
        }
    }
}

impl Backbone for StageMeans {
    fn name(&self) -> String {
        format!("{}{}", Self::PREFIX, self.backbone.name())
    }

    fn width(&self) -> usize {
        self.widths.iter().sum()
    }

    fn input(&self) -> (usize, usize, usize) {
        self.backbone.input()
    }

    fn head_name(&self) -> &str {
        self.backbone.head_name()
    }

    fn param_specs(&self) -> Vec<ParamSpec> {
        self.backbone.param_specs()
    }

    fn features(&self, params: &Params, buffers: &Buffers, inputs: &Tensor, mode: &mut Mode) -> Result<Features> {
        let Self { backbone, cuts, .. } = self;
        let (Some(first), Some(last)) = (cuts.first(), cuts.last()) else {
            return backbone.features(params, buffers, inputs, mode);
        };
        let trace = mode.trace.clone();
        let mean = |x: &Tensor| record(&trace, Operation::GlobalAveragePool, &[x], global_avg_pool(x)?);
        let mut x = backbone.forward_to(params, buffers, inputs, mode, first)?;
        let mut parts = vec![mean(&x)?];
        for pair in cuts.windows(2) {
            x = backbone.forward_between(params, buffers, &x, mode, [&pair[0], &pair[1]])?;
            parts.push(mean(&x)?);
        }
        parts.push(backbone.forward_from(params, buffers, &x, mode, last)?.features);
        let parts: Vec<&Tensor> = parts.iter().collect();
        let features = record(&trace, Operation::Concatenate, &parts, Tensor::cat(&parts, 1)?)?;
        Ok(Features { features, statistics: BatchStatistics::default() })
    }

    fn places(&self, params: &Params, buffers: &Buffers, inputs: &Tensor, mode: &mut Mode) -> Result<Option<Tensor>> {
        self.backbone.places(params, buffers, inputs, mode)
    }

    fn resized(&self, name: &str, tensor: Tensor) -> Result<Tensor> {
        self.backbone.resized(name, tensor)
    }

    fn stages(&self) -> Vec<String> {
        self.backbone.stages()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Architecture, Frozen};
    use taper_ops::{rng, uniform};

    #[test]
    fn means_are_those_of_the_activations_at_the_cuts_and_the_features() {
        for (name, side, widths) in [
            ("efficientnet-lite0", 64, vec![40, 80, 112, 192, 1280]),
            ("resnet18", 64, vec![64, 64, 128, 256, 512]),
            ("cifar-resnet20", 16, vec![16, 16, 32, 64]),
        ] {
            let backbone = name.parse::<Architecture>().unwrap().backbone((3, side, side)).unwrap();
            let state = backbone.init(1).unwrap();
            let images = uniform(&mut rng(0, "images", 0), (2, 3, side, side), -1.0, 1.0).unwrap();
            let means = StageMeans::new(backbone.clone()).unwrap();
            assert_eq!(means.widths, widths, "{name}");
            let frozen = |backbone: Arc<dyn Backbone>| Frozen::new(backbone, state.clone()).features(&images).unwrap();
            let all = frozen(Arc::new(means.clone()));
            assert_eq!(all.dims(), [2, widths.iter().sum()]);
            let own = means.own_features(&all).unwrap().to_vec2::<f32>().unwrap();
            assert_eq!(own, frozen(backbone.clone()).to_vec2::<f32>().unwrap(), "{name}: the same bits");
            let State { params, buffers } = &state;
            let mut mode = Mode { packed: Some(Arc::default()), ..Mode::evaluate() };
            let below = backbone.forward_to(params, buffers, &images, &mut mode, &means.cuts[1]).unwrap();
            let mean = global_avg_pool(&below).unwrap().to_vec2::<f32>().unwrap();
            let column = means.columns()[1].clone();
            let ours = all.narrow(1, column.start, column.len()).unwrap().to_vec2::<f32>().unwrap();
            assert_eq!(ours, mean, "{name}");
        }
    }

    use crate::State;
}
