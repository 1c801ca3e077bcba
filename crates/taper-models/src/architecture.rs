//! Architectures by name.

use crate::{
    Adapter, Backbone, Conv4, ConvNextTiny, EfficientNetLite0, ModelError, ResNet, ResNet12, ResNetDepth, Result,
    SmallCnn, StrokeNet, VisionTransformer, VisionTransformerKind,
};
#[cfg(feature = "vision-networks")]
use crate::{VisionNetwork, VisionNetworkKind};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A network's name, before the image size is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// `small-cnn`: the seed recipe's network.
    SmallCnn,
    /// `conv4-64`, `conv4-32`: the few-shot standard, by its width.
    Conv4(usize),
    /// `stroke-net-96`: for line drawings, by its width.
    StrokeNet(usize),
    /// `resnet12`: the deeper few-shot standard.
    ResNet12,
    /// `resnet18` to `resnet152`, `cifar-resnet20` to `cifar-resnet56`.
    ResNet(ResNetDepth),
    /// `adapter-64`: for vectors instead of images, by its hidden units.
    Adapter(usize),
    /// `efficientnet-lite0`: the default for photographs on a CPU.
    EfficientNetLite0,
    /// `dinov2-small`, `dinov2-base`, `vit-base`, `clip-vit-b32`.
    VisionTransformer(VisionTransformerKind),
    /// `convnext-tiny`: never trained.
    ConvNextTiny,
    /// `efficientnet-b0`, `mobilenetv4-small`: from candle-transformers, never trained.
    #[cfg(feature = "vision-networks")]
    VisionNetwork(VisionNetworkKind),
}

impl Architecture {
    /// The backbone for images of `(channels, height, width)`.
    ///
    /// # Errors
    ///
    /// Returns an error if the images are too small for it.
    pub fn backbone(&self, input: (usize, usize, usize)) -> Result<Arc<dyn Backbone>> {
        Ok(match *self {
            Self::SmallCnn => Arc::new(SmallCnn::new(input)?),
            Self::Conv4(width) => Arc::new(Conv4::new(width, input)?),
            Self::StrokeNet(width) => Arc::new(StrokeNet::new(width, input)?),
            Self::Adapter(hidden) => Arc::new(Adapter::new(hidden, input)?),
            Self::ResNet12 => Arc::new(ResNet12::new(input)?),
            Self::ResNet(depth) => Arc::new(ResNet::new(depth, input)?),
            Self::EfficientNetLite0 => Arc::new(EfficientNetLite0::new(input)?),
            Self::VisionTransformer(kind) => Arc::new(VisionTransformer::new(kind, input)?),
            Self::ConvNextTiny => Arc::new(ConvNextTiny::new(input)?),
            #[cfg(feature = "vision-networks")]
            Self::VisionNetwork(kind) => Arc::new(VisionNetwork::new(kind, input)?),
        })
    }

    /// The default side of its images.
    pub fn default_side(&self) -> usize {
        match self {
            Self::Adapter(_) => 1,
            Self::SmallCnn => 14,
            Self::Conv4(_) => 28,
            Self::StrokeNet(_) => 35,
            Self::ResNet12 => 84,
            Self::ResNet(depth) if depth.is_cifar() => 32,
            Self::ResNet(_) | Self::EfficientNetLite0 | Self::ConvNextTiny => 224,
            Self::VisionTransformer(kind) => kind.default_side(),
            #[cfg(feature = "vision-networks")]
            Self::VisionNetwork(kind) => kind.default_side(),
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SmallCnn => write!(f, "small-cnn"),
            Self::Conv4(width) => write!(f, "conv4-{width}"),
            Self::StrokeNet(width) => write!(f, "stroke-net-{width}"),
            Self::Adapter(hidden) => write!(f, "adapter-{hidden}"),
            Self::ResNet12 => write!(f, "resnet12"),
            Self::ResNet(depth) => write!(f, "{}", depth.name()),
            Self::EfficientNetLite0 => write!(f, "efficientnet-lite0"),
            Self::ConvNextTiny => write!(f, "convnext-tiny"),
            Self::VisionTransformer(kind) => write!(f, "{}", kind.name()),
            #[cfg(feature = "vision-networks")]
            Self::VisionNetwork(kind) => write!(f, "{}", kind.name()),
        }
    }
}

impl FromStr for Architecture {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self> {
        if name == "small-cnn" {
            return Ok(Self::SmallCnn);
        }
        if name == "resnet12" {
            return Ok(Self::ResNet12);
        }
        if name == "efficientnet-lite0" {
            return Ok(Self::EfficientNetLite0);
        }
        if name == "convnext-tiny" {
            return Ok(Self::ConvNextTiny);
        }
        if let Some(depth) = ResNetDepth::ALL.into_iter().find(|depth| depth.name() == name) {
            return Ok(Self::ResNet(depth));
        }
        if let Some(kind) = VisionTransformerKind::ALL.into_iter().find(|kind| kind.name() == name) {
            return Ok(Self::VisionTransformer(kind));
        }
        #[cfg(feature = "vision-networks")]
        if let Some(kind) = VisionNetworkKind::ALL.into_iter().find(|kind| kind.name() == name) {
            return Ok(Self::VisionNetwork(kind));
        }
        let width = |prefix: &str| {
            name.strip_prefix(prefix).and_then(|width| width.parse::<usize>().ok()).filter(|&width| width > 0)
        };
        if let Some(hidden) = width("adapter-") {
            return Ok(Self::Adapter(hidden));
        }
        match (width("conv4-"), width("stroke-net-")) {
            (Some(width), _) => Ok(Self::Conv4(width)),
            (None, Some(width)) => Ok(Self::StrokeNet(width)),
            (None, None) => Err(ModelError::Invalid(format!(
                "unknown architecture `{name}`: use small-cnn, conv4-64 (or another width), stroke-net-96 (or another \
                 width), resnet12, 18, 34, 50, 101 or 152, cifar-resnet20, 32, 44 or 56, efficientnet-lite0, {}, \
                 for vectors adapter-64 (or another number), or (never trained) convnext-tiny{}",
                VisionTransformerKind::ALL.map(VisionTransformerKind::name).join(", "),
                vision_networks()
            ))),
        }
    }
}

/// The names of candle's networks, as the end of a list.
#[cfg(feature = "vision-networks")]
fn vision_networks() -> String {
    VisionNetworkKind::ALL.map(|kind| format!(", {}", kind.name())).concat()
}

/// There are none without the feature `vision-networks`.
#[cfg(not(feature = "vision-networks"))]
fn vision_networks() -> &'static str {
    ""
}
