//! The vision transformers by name, and their sizes.

use crate::position::{self, GridScale};
use taper_ops::Gelu;

/// Which vision transformer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VisionTransformerKind {
    /// `dinov2-small`: ViT-S/14 (Oquab et al. 2023), timm's keys; features are its class token. Published for images of
    /// 518 pixels; position embeddings are interpolated for others.
    DinoV2Small,
    /// `dinov2-base`: ViT-B/14, likewise.
    DinoV2Base,
    /// `vit-base`: ViT-B/16 for images of 224 (Dosovitskiy et al. 2021), transformers' keys.
    VitBase,
    /// `clip-vit-b32`: the image tower of CLIP (Radford et al. 2021) with its projection, transformers' keys.
    ClipVitB32,
}

use VisionTransformerKind::*;

/// The sizes of a transformer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// Values of a token.
    pub(super) width: usize,
    pub(super) blocks: usize,
    pub(super) heads: usize,
    /// The side of a patch, in pixels.
    pub(super) patch: usize,
    /// Is added to the variance in layer norms.
    pub(super) eps: f64,
    pub(super) gelu: Gelu,
}

impl VisionTransformerKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [DinoV2Small, DinoV2Base, VitBase, ClipVitB32];

    /// The name, as it is written and parsed.
    pub fn name(self) -> &'static str {
        match self {
            DinoV2Small => "dinov2-small",
            DinoV2Base => "dinov2-base",
            VitBase => "vit-base",
            ClipVitB32 => "clip-vit-b32",
        }
    }

    /// The default side of its images, in pixels.
    pub fn default_side(self) -> usize {
        224
    }

    /// The side of the images that it was published for.
    pub fn published_side(self) -> usize {
        if matches!(self, DinoV2Small | DinoV2Base) { 518 } else { 224 }
    }

    /// Width of the features.
    pub(super) fn features(self) -> usize {
        if self == ClipVitB32 { 512 } else { self.sizes().width }
    }

    pub(super) fn sizes(self) -> Sizes {
        let base = Sizes { width: 768, blocks: 12, heads: 12, patch: 16, eps: 1e-5, gelu: Gelu::Exact };
        match self {
            DinoV2Small => Sizes { width: 384, heads: 6, patch: 14, eps: 1e-6, ..base },
            DinoV2Base => Sizes { patch: 14, eps: 1e-6, ..base },
            VitBase => Sizes { eps: 1e-12, ..base },
            ClipVitB32 => Sizes { patch: 32, gelu: Gelu::Quick, ..base },
        }
    }

    /// How position embeddings are interpolated.
    pub(super) fn grid_scale(self) -> GridScale {
        if matches!(self, DinoV2Small | DinoV2Base) { GridScale::Offset } else { GridScale::Sizes }
    }

    /// Whether a tensor of this name and shape holds position embeddings for images of some size.
    pub(crate) fn has_positions(self, name: &str, dims: &[usize]) -> bool {
        let width = self.sizes().width;
        let fits = |tokens: usize, d: usize| d == width && position::grid(tokens).is_some();
        name == self.names().positions
            && match *dims {
                [1, tokens, d] if self != ClipVitB32 => fits(tokens, d),
                [tokens, d] if self == ClipVitB32 => fits(tokens, d),
                _ => false,
            }
    }
}
