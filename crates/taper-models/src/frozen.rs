//! Backbones whose weights are final: feature extraction without the overhead of training.

use crate::{Backbone, Mode, Result, State};
use candle_core::Tensor;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use taper_ops::{FrozenConvolution, FrozenLinear, InvertedResidual};

/// A backbone whose weights no longer change. Norms are folded into convolutions, whose
/// weights are packed once, for the first images.
#[derive(Debug, Clone)]
pub struct Frozen {
    backbone: Arc<dyn Backbone>,
    state: State,
    packed: Arc<PackedWeights>,
}

impl Frozen {
    /// A backbone with its final state.
    pub fn new(backbone: Arc<dyn Backbone>, state: State) -> Self {
        Self { backbone, state, packed: Arc::default() }
    }

    /// The features `(n, d)` of `inputs (n, c, h, w)`, f32, normalized by the stored statistics.
    ///
    /// # Errors
    ///
    /// Returns an error if the inputs' shape or the state don't fit.
    pub fn features(&self, inputs: &Tensor) -> Result<Tensor> {
        let mut mode = Mode { packed: Some(self.packed.clone()), ..Mode::evaluate() };
        Ok(self.backbone.features(&self.state.params, &self.state.buffers, inputs, &mut mode)?.features)
    }
}

/// Folded and packed convolutions, linear layers and blocks of one state, by name: filled on first use, then constant.
#[derive(Default)]
pub struct PackedWeights {
    convolutions: ByName<FrozenConvolution>,
    linears: ByName<FrozenLinear>,
    blocks: ByName<InvertedResidual>,
}

impl PackedWeights {
    /// The convolution of that name, packed on first use.
    pub(crate) fn convolution(
        &self,
        name: &str,
        pack: impl FnOnce() -> Result<FrozenConvolution>,
    ) -> Result<Arc<FrozenConvolution>> {
        self.convolutions.get_or_pack(name, pack)
    }

    /// The linear layer of that name, packed on first use.
    pub(crate) fn linear(&self, name: &str, pack: impl FnOnce() -> Result<FrozenLinear>) -> Result<Arc<FrozenLinear>> {
        self.linears.get_or_pack(name, pack)
    }

    /// The block of that name, packed on first use.
    pub(crate) fn block(
        &self,
        name: &str,
        pack: impl FnOnce() -> Result<InvertedResidual>,
    ) -> Result<Arc<InvertedResidual>> {
        self.blocks.get_or_pack(name, pack)
    }
}

/// Values that are made when they are first asked for.
struct ByName<T>(Mutex<BTreeMap<String, Arc<T>>>);

impl<T> Default for ByName<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> ByName<T> {
    fn get_or_pack(&self, name: &str, pack: impl FnOnce() -> Result<T>) -> Result<Arc<T>> {
        // a panic elsewhere leaves only complete entries
        let mut packed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = packed.get(name) {
            return Ok(found.clone());
        }
        let made = Arc::new(pack()?);
        packed.insert(name.to_string(), made.clone());
        Ok(made)
    }
}

impl fmt::Debug for PackedWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PackedWeights")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Architecture;
    use crate::test_support::largest;
    use taper_ops::{rng, uniform};

    #[test]
    fn frozen_features_equal_those_of_evaluation() {
        for (name, side) in
            [("conv4-20", 28), ("cifar-resnet20", 32), ("resnet18", 64), ("resnet50", 64), ("efficientnet-lite0", 64)]
        {
            let backbone = name.parse::<Architecture>().unwrap().backbone((3, side, side)).unwrap();
            let state = backbone.init(1).unwrap();
            let off = |(name, tensor): (&str, &Tensor)| {
                let noise = uniform(&mut rng(2, name, 0), tensor.shape().clone(), -0.1, 0.1).unwrap();
                (name.to_string(), (tensor + noise).unwrap())
            };
            let state = State { buffers: state.buffers.iter().map(off).collect(), ..state };
            let frozen = Frozen::new(backbone.clone(), state.clone());
            for images in [3, 1] {
                let inputs = uniform(&mut rng(3, "images", images as u64), (images, 3, side, side), -1.0, 1.0).unwrap();
                let right = backbone.features(&state.params, &state.buffers, &inputs, &mut Mode::evaluate()).unwrap();
                let ours = frozen.features(&inputs).unwrap();
                let error = largest(&(ours - &right.features).unwrap()) / largest(&right.features);
                assert!(error < 1e-5, "{name}: relative error {error}");
            }
        }
    }

    #[test]
    fn an_image_has_the_same_features_to_the_last_bit_in_a_batch_of_any_size() {
        for (name, side) in [("conv4-20", 28), ("cifar-resnet20", 32), ("resnet18", 64), ("efficientnet-lite0", 64)] {
            let backbone = name.parse::<Architecture>().unwrap().backbone((3, side, side)).unwrap();
            let frozen = Frozen::new(backbone.clone(), backbone.init(1).unwrap());
            let inputs = uniform(&mut rng(3, "images", 0), (17, 3, side, side), -1.0, 1.0).unwrap();
            let together = frozen.features(&inputs).unwrap().to_vec2::<f32>().unwrap();
            for (first, count) in [(0, 1), (16, 1), (3, 5)] {
                let part = frozen.features(&inputs.narrow(0, first, count).unwrap()).unwrap().to_vec2::<f32>().unwrap();
                assert!(part == together[first..first + count], "{name}: {count} from image {first}");
            }
        }
    }
}
