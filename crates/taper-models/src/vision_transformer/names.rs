//! What the published files call a transformer's parameters.

use super::kind::VisionTransformerKind;

/// The names of parameters outside of the blocks, and of a block's layers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names {
    /// `(1, 1, d)` or `(d)`.
    pub(crate) class_token: &'static str,
    /// `(1, tokens, d)` or `(tokens, d)`.
    pub(crate) positions: &'static str,
    /// The convolution of patches.
    pub(super) patches: &'static str,
    /// A layer norm before the first block.
    pub(super) first_norm: Option<&'static str>,
    /// What a block's number follows.
    pub(super) blocks: &'static str,
    pub(super) last_norm: &'static str,
    /// A linear layer without bias from the class token to the features.
    pub(super) projection: Option<&'static str>,
    pub(super) head: &'static str,
    pub(super) block: BlockNames,
}

/// A block's layers, below its own name.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockNames {
    pub(super) norms: [&'static str; 2],
    pub(super) attention: AttentionNames,
    /// The linear layer after attention.
    pub(super) output: &'static str,
    /// The two linear layers of the perceptron.
    pub(super) perceptron: [&'static str; 2],
    /// LayerScale's factors (Touvron et al. 2021) of attention and the perceptron.
    pub(super) scales: Option<[&'static str; 2]>,
}

/// The linear layers of queries, keys and values.
#[derive(Debug, Clone, Copy)]
pub(super) enum AttentionNames {
    /// One layer `(3 d, d)`: queries, then keys, then values.
    Together(&'static str),
    /// Three layers `(d, d)`.
    Apart([&'static str; 3]),
}

const TIMM: Names = Names {
    class_token: "cls_token",
    positions: "pos_embed",
    patches: "patch_embed.proj",
    first_norm: None,
    blocks: "blocks",
    last_norm: "norm",
    projection: None,
    head: "head",
    block: BlockNames {
        norms: ["norm1", "norm2"],
        attention: AttentionNames::Together("attn.qkv"),
        output: "attn.proj",
        perceptron: ["mlp.fc1", "mlp.fc2"],
        scales: Some(["ls1.gamma", "ls2.gamma"]),
    },
};

const TRANSFORMERS: Names = Names {
    class_token: "vit.embeddings.cls_token",
    positions: "vit.embeddings.position_embeddings",
    patches: "vit.embeddings.patch_embeddings.projection",
    first_norm: None,
    blocks: "vit.encoder.layer",
    last_norm: "vit.layernorm",
    projection: None,
    head: "classifier",
    block: BlockNames {
        norms: ["layernorm_before", "layernorm_after"],
        attention: AttentionNames::Apart([
            "attention.attention.query",
            "attention.attention.key",
            "attention.attention.value",
        ]),
        output: "attention.output.dense",
        perceptron: ["intermediate.dense", "output.dense"],
        scales: None,
    },
};

const CLIP: Names = Names {
    class_token: "vision_model.embeddings.class_embedding",
    positions: "vision_model.embeddings.position_embedding.weight",
    patches: "vision_model.embeddings.patch_embedding",
    first_norm: Some("vision_model.pre_layrnorm"), // the published spelling
    blocks: "vision_model.encoder.layers",
    last_norm: "vision_model.post_layernorm",
    projection: Some("visual_projection"),
    head: "classifier",
    block: BlockNames {
        norms: ["layer_norm1", "layer_norm2"],
        attention: AttentionNames::Apart(["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]),
        output: "self_attn.out_proj",
        perceptron: ["mlp.fc1", "mlp.fc2"],
        scales: None,
    },
};

impl VisionTransformerKind {
    /// What its published file calls its parameters.
    pub(crate) fn names(self) -> Names {
        match self {
            Self::DinoV2Small | Self::DinoV2Base => TIMM,
            Self::VitBase => TRANSFORMERS,
            Self::ClipVitB32 => CLIP,
        }
    }
}
