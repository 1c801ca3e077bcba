//! Vision networks of candle-transformers as frozen backbones: used as published, never
//! trained. Parameters keep the names that candle-transformers reads.

use crate::trace::{Operation, record};
use crate::{Backbone, BatchStatistics, Buffers, Features, Mode, ModelError, Norm, ParamSpec, Params, Result, Start};
use candle_core::{DType, Device, Module, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};
use candle_transformers::models::efficientnet::{EfficientNet, MBConvConfig};
use candle_transformers::models::mobilenetv4;
use std::sync::{Arc, Mutex, PoisonError};

/// Which network of candle-transformers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VisionNetworkKind {
    /// `efficientnet-b0` (Tan and Le 2019), torchvision's keys.
    EfficientNetB0,
    /// `mobilenetv4-small` (Qin et al. 2024), timm's keys.
    MobileNetV4Small,
}

use VisionNetworkKind::*;

/// Computes features `(n, d)` of images `(n, 3, h, w)`.
type Forward = Box<dyn Fn(&Tensor) -> candle_core::Result<Tensor>>;

impl VisionNetworkKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [EfficientNetB0, MobileNetV4Small];

    /// The name, as it is written and parsed.
    pub fn name(self) -> &'static str {
        match self {
            EfficientNetB0 => "efficientnet-b0",
            MobileNetV4Small => "mobilenetv4-small",
        }
    }

    /// The image side it was made for.
    pub fn default_side(self) -> usize {
        224
    }

    fn width(self) -> usize {
        match self {
            EfficientNetB0 | MobileNetV4Small => 1280,
        }
    }

    fn head_name(self) -> &'static str {
        match self {
            EfficientNetB0 => "classifier.1",
            MobileNetV4Small => "classifier",
        }
    }

    /// candle's network, with its head for this many classes.
    fn build(self, vb: VarBuilder, classes: usize) -> candle_core::Result<Forward> {
        Ok(match self {
            EfficientNetB0 => module(EfficientNet::new(vb, MBConvConfig::b0(), classes)?),
            MobileNetV4Small => module(mobilenetv4::mobilenetv4(&mobilenetv4::Config::small(), classes, vb)?),
        })
    }
}

fn module(network: impl Module + 'static) -> Forward {
    Box::new(move |images| network.forward(images))
}

/// A frozen network for images of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VisionNetwork {
    kind: VisionNetworkKind,
    side: usize,
}

impl VisionNetwork {
    /// A network for images of `(channels, height, width)`.
    ///
    /// # Errors
    ///
    /// Returns an error for images that are not in color, not square, or of a size that it can't take.
    pub fn new(kind: VisionNetworkKind, input: (usize, usize, usize)) -> Result<Self> {
        let (channels, height, width) = input;
        if channels != 3 || height != width || height < 32 {
            let side = kind.default_side();
            return Err(ModelError::ImageSize {
                network: kind.name().into(),
                takes: format!("square color images of at least 32x32, best {side}x{side}"),
                side,
                given: input,
            });
        }
        Ok(Self { kind, side: height })
    }

    fn in_head(&self, name: &str) -> bool {
        name.strip_prefix(self.kind.head_name()).is_some_and(|rest| rest.starts_with('.'))
    }
}

impl Backbone for VisionNetwork {
    fn name(&self) -> String {
        self.kind.name().into()
    }

    fn width(&self) -> usize {
        self.kind.width()
    }

    fn input(&self) -> (usize, usize, usize) {
        (3, self.side, self.side)
    }

    fn head_name(&self) -> &str {
        self.kind.head_name()
    }

    /// The tensors that candle's network requests while it is built.
    fn param_specs(&self) -> Vec<ParamSpec> {
        let asked = Asked::default();
        let builder = VarBuilder::from_backend(Box::new(asked.clone()), DType::F32, Device::Cpu);
        // zeros of the requested shape never fail
        if self.kind.build(builder, self.width()).is_err() {
            return Vec::new();
        }
        let param_specs = std::mem::take(&mut *asked.0.lock().unwrap_or_else(PoisonError::into_inner));
        param_specs.into_iter().filter(|spec| !self.in_head(&spec.name)).collect()
    }

    fn features(&self, params: &Params, buffers: &Buffers, inputs: &Tensor, mode: &mut Mode) -> Result<Features> {
        if mode.norm == Norm::Batch {
            return Err(ModelError::never_trained(self.kind.name()));
        }
        let published = Published { network: *self, params: params.clone(), buffers: buffers.clone() };
        let builder = VarBuilder::from_backend(Box::new(published), inputs.dtype(), Device::Cpu);
        let features = self.kind.build(builder, self.width())?(inputs)?;
        let features = record(&mode.trace, Operation::Published(self.name()), &[inputs], features)?;
        Ok(Features { features, statistics: BatchStatistics::default() })
    }

    fn stages(&self) -> Vec<String> {
        let mut stages: Vec<String> = Vec::new();
        for slot in self.param_specs() {
            let stage = slot.name.split('.').next().unwrap_or_default();
            if stages.iter().all(|known| known != stage) {
                stages.push(stage.to_string());
            }
        }
        stages
    }
}

/// Writes down what tensors a network asks for, and gives zeros; refuses what MobileNetV4 asks for
/// and can do without: a convolution with a kernel of 0, with the norm after it, and the scale that
/// its attention alone has.
#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Vec<ParamSpec>>>);

impl SimpleBackend for Asked {
    fn get(&self, shape: Shape, name: &str, hint: Init, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        let dims = shape.dims();
        let mut param_specs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if shape.elem_count() == 0 || name.ends_with("layer_scale.gamma") {
            let part = name.strip_suffix("conv.weight");
            param_specs.retain(|slot: &ParamSpec| part.is_none_or(|part| !slot.name.starts_with(part)));
            candle_core::bail!("`{name}` is missing")
        }
        let scale = ["weight", "gamma", "running_var"].iter().any(|end| name.ends_with(end));
        let start = match (dims, hint) {
            ([_, _, ..], _) => Start::TorchDefault { inputs: dims[1..].iter().product() },
            _ if scale => Start::Ones,
            _ => Start::Zeros,
        };
        let buffer = name.ends_with("running_mean") || name.ends_with("running_var");
        let slot = ParamSpec { name: name.to_string(), shape: dims.to_vec(), start, buffer };
        param_specs.push(slot);
        Tensor::zeros(shape, dtype, device)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> candle_core::Result<Tensor> {
        candle_core::bail!("`{name}` is requested without a shape")
    }

    fn contains_tensor(&self, _: &str) -> bool {
        true
    }
}

/// The published tensors, and a head that hands features through: identity, no bias.
struct Published {
    network: VisionNetwork,
    params: Params,
    buffers: Buffers,
}

impl SimpleBackend for Published {
    fn get(&self, shape: Shape, name: &str, _: Init, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        if self.network.in_head(name) {
            return handing_through(&shape, dtype, device);
        }
        let tensor = self.get_unchecked(name, dtype, device)?;
        match tensor.shape() == &shape {
            true => Ok(tensor),
            false => candle_core::bail!("`{name}` is {:?} and should be {shape:?}", tensor.dims()),
        }
    }

    fn get_unchecked(&self, name: &str, dtype: DType, _: &Device) -> candle_core::Result<Tensor> {
        let found = self.params.get(name).or_else(|_| self.buffers.get(name));
        found.map_err(candle_core::Error::wrap)?.to_dtype(dtype)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.params.get(name).is_ok() || self.buffers.get(name).is_ok()
    }
}

/// Ones on the diagonal of a weight `(outputs, inputs)`, zeros elsewhere and for a bias.
fn handing_through(shape: &Shape, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
    let &[outputs, inputs] = shape.dims() else { return Tensor::zeros(shape, dtype, device) };
    let mut values = vec![0f32; outputs * inputs];
    (0..outputs.min(inputs)).for_each(|at| values[at * inputs + at] = 1.0);
    Tensor::from_vec(values, (outputs, inputs), device)?.to_dtype(dtype)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::State;
    use crate::test_support::largest;
    use std::collections::HashMap;
    use taper_ops::{rng, uniform};

    /// Numbers that keep activations alive: no zero tokens and scales.
    fn state(frozen: &VisionNetwork) -> State {
        let mut state = State::default();
        for slot in frozen.param_specs() {
            let noise = uniform(&mut rng(1, &slot.name, 0), slot.shape.clone(), 0.0, 0.1).unwrap();
            state.insert(&slot, (slot.draw(0).unwrap() + noise).unwrap());
        }
        state
    }

    /// Features through our interface and a random head, against candle's network with that head.
    fn assert_candles(kind: VisionNetworkKind, side: usize, classes: usize) {
        let network = VisionNetwork::new(kind, (3, side, side)).unwrap();
        let state = state(&network);
        let images = uniform(&mut rng(2, "images", 0), (2, 3, side, side), -1.0, 1.0).unwrap();
        let ours = network.features(&state.params, &state.buffers, &images, &mut Mode::evaluate()).unwrap().features;
        assert_eq!(ours.dims(), [2, network.width()]);

        let seen = uniform(&mut rng(3, "head", 0), (classes, network.width()), -0.1, 0.1).unwrap();
        let head = [("weight", seen.clone()), ("bias", Tensor::zeros(classes, DType::F32, &Device::Cpu).unwrap())];
        let head = head.map(|(end, tensor)| (format!("{}.{end}", kind.head_name()), tensor));
        let all = state.params.iter().chain(state.buffers.iter());
        let all: HashMap<String, Tensor> =
            all.map(|(name, tensor)| (name.to_string(), tensor.clone())).chain(head).collect();
        let builder = VarBuilder::from_tensors(all, DType::F32, &Device::Cpu);
        let theirs = kind.build(builder, classes).unwrap()(&images).unwrap();
        let ours = ours.matmul(&seen.t().unwrap()).unwrap();
        let error = largest(&(ours - &theirs).unwrap()) / largest(&theirs);
        assert!(largest(&theirs) > 1e-3 && error < 1e-5, "{}: relative error {error}", kind.name());
    }

    #[test]
    fn features_of_efficientnet_b0_equal_candles() {
        assert_candles(EfficientNetB0, 96, 9);
    }

    #[test]
    fn features_of_mobilenetv4_small_equal_candles() {
        assert_candles(MobileNetV4Small, 224, 9);
    }

    #[test]
    fn a_frozen_network_refuses_to_be_trained_and_sizes_it_cannot_take() {
        let frozen = VisionNetwork::new(EfficientNetB0, (3, 64, 64)).unwrap();
        let state = frozen.init(0).unwrap();
        let images = Tensor::zeros((1, 3, 64, 64), DType::F32, &Device::Cpu).unwrap();
        let mut mode = Mode::batch_statistics();
        let error = frozen.features(&state.params, &state.buffers, &images, &mut mode).unwrap_err().to_string();
        assert!(error.contains("can't be trained"), "{error}");
        for (kind, input) in
            [(EfficientNetB0, (3, 31, 31)), (MobileNetV4Small, (3, 224, 210)), (MobileNetV4Small, (1, 64, 64))]
        {
            let error = VisionNetwork::new(kind, input).unwrap_err();
            assert!(matches!(error, ModelError::ImageSize { side: 224, .. }), "{error}");
            assert!(error.to_string().contains(&format!("{}x{}", input.1, input.2)), "{error}");
        }
    }
}
