#![doc = include_str!("../README.md")]
//!
//! Images come in as `(n, c, h, w)`; inside, activations are channels-last (see `taper-ops`).

mod adapter;
mod architecture;
mod backbone;
pub mod catalog;
mod conv4;
mod convnext;
mod efficientnet_lite;
mod error;
mod frozen;
mod head;
mod init;
mod layers;
mod leaves;
mod matching;
mod named_backbone;
mod names;
mod network;
mod param_spec;
mod params;
mod position;
mod pretrained;
mod resnet;
mod resnet12;
mod small_cnn;
mod stage_features;
mod stage_means;
mod stroke_net;
mod symmetry_ensemble;
#[cfg(test)]
mod test_support;
mod token_layers;
mod trace;
mod upper;
mod view_mean;
#[cfg(feature = "vision-networks")]
mod vision_network;
mod vision_transformer;
mod weights;

pub use adapter::Adapter;
pub use architecture::Architecture;
pub use backbone::{Backbone, Features, Mode, Norm};
pub use conv4::Conv4;
pub use convnext::ConvNextTiny;
pub use efficientnet_lite::EfficientNetLite0;
pub use error::{ModelError, Result};
pub use frozen::{Frozen, PackedWeights};
pub use head::Head;
pub use leaves::Leaves;
pub use matching::{Layout, Likeness, Matching};
pub use named_backbone::named_backbone;
pub use network::{Forward, Network};
pub use param_spec::{ParamSpec, Start};
pub use params::{BatchStatistics, Buffers, Params, State};
pub use pretrained::{HeadPolicy, Nearest, identify, nearest};
pub use resnet::{ResNet, ResNetDepth};
pub use resnet12::ResNet12;
pub use small_cnn::SmallCnn;
pub use stage_features::StageFeatures;
pub use stage_means::StageMeans;
pub use stroke_net::StrokeNet;
pub use symmetry_ensemble::SymmetryEnsemble;
pub use trace::{LinearRows, Operation, Shift, Then, Trace, TracedPass, TracedStep};
pub use upper::Upper;
pub use view_mean::{ViewMean, center_side};
#[cfg(feature = "vision-networks")]
pub use vision_network::{VisionNetwork, VisionNetworkKind};
pub use vision_transformer::{VisionTransformer, VisionTransformerKind};
pub use weights::{
    LeftOut, WeightFile, WeightFormat, WeightReport, limits, read_stored_weights, read_weights, recognize_weights,
    write_weights,
};
