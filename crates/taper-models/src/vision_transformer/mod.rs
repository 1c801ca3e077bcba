//! Vision transformers (Dosovitskiy et al. 2021): images as tokens, one per patch and one for the class.

mod block;
mod kind;
mod names;

use crate::token_layers::TokenPass;
use crate::trace::Operation;
use crate::upper::check;
use crate::{
    Backbone, BatchStatistics, Buffers, Features, Mode, ModelError, ParamSpec, Params, Result, Start, position,
};
use block::Block;
use candle_core::Tensor;
pub use kind::VisionTransformerKind;

/// A vision transformer for images of one size, with the names and shapes of the published weights. Features are the
/// class token after the last norm, and CLIP's projection of it.
///
/// Activations at its split points are tokens `(n, tokens, 1, d)`, the class token first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VisionTransformer {
    kind: VisionTransformerKind,
    side: usize,
}

impl VisionTransformer {
    /// A network for images of `(channels, height, width)`.
    ///
    /// # Errors
    ///
    /// Returns an error for images that are not in color, not square, or don't split into patches.
    pub fn new(kind: VisionTransformerKind, input: (usize, usize, usize)) -> Result<Self> {
        let ((channels, height, width), patch) = (input, kind.sizes().patch);
        if channels != 3 || height != width || height == 0 || !height.is_multiple_of(patch) {
            let (side, published) = (kind.default_side(), kind.published_side());
            let best = if side == published { String::new() } else { format!(" or {published}") };
            return Err(ModelError::ImageSize {
                network: kind.name().into(),
                takes: format!("square color images of a multiple of {patch} pixels, such as {side}{best}"),
                side,
                given: input,
            });
        }
        Ok(Self { kind, side: height })
    }

    /// The class token and one for each patch.
    fn tokens(&self) -> usize {
        1 + (self.side / self.kind.sizes().patch).pow(2)
    }

    fn blocks(&self) -> impl Iterator<Item = Block> {
        Block::all(self.kind)
    }

    fn pass<'a>(&self, params: &'a Params, mode: &Mode) -> TokenPass<'a> {
        TokenPass::new(params, mode, self.kind.sizes().eps)
    }

    /// The tokens `(n, t, 1, d)` that enter the first block.
    fn embed(&self, pass: &TokenPass, images: &Tensor) -> Result<Tensor> {
        let (names, sizes) = (self.kind.names(), self.kind.sizes());
        match *images.dims() {
            [_, 3, height, width] if (height, width) == (self.side, self.side) => {}
            _ => {
                let (name, side) = (self.kind.name(), self.side);
                return Err(ModelError::Invalid(format!(
                    "this {name} takes images (n, 3, {side}, {side}), not {:?}",
                    images.dims()
                )));
            }
        }
        let patches = pass.patches(names.patches, sizes.patch, images)?;
        let (n, _, _, d) = patches.dims4()?;
        let class = pass.get(names.class_token)?.reshape((1, 1, 1, d))?.broadcast_as((n, 1, 1, d))?.contiguous()?;
        let tokens = Tensor::cat(&[&class, &patches], 1)?;
        let tokens = tokens.broadcast_add(&pass.get(names.positions)?.reshape((1, self.tokens(), 1, d))?)?;
        let operation = Operation::Tokens { class: names.class_token.into(), positions: names.positions.into() };
        let tokens = pass.record(operation, &[&patches], tokens)?;
        names.first_norm.map_or_else(|| Ok(tokens.clone()), |norm| pass.norm(norm, &tokens))
    }

    /// The features for the tokens `x` that enter the first of `blocks`.
    fn rise(&self, pass: &TokenPass, x: Tensor, blocks: impl Iterator<Item = Block>) -> Result<Tensor> {
        let names = self.kind.names();
        let mut blocks = blocks.peekable();
        let mut x = x;
        while let Some(block) = blocks.next() {
            x = match blocks.peek() {
                Some(_) => block.forward(pass, &x)?,
                None => block.forward_class(pass, &x)?,
            };
        }
        let class = match names.projection {
            None => pass.norm(names.last_norm, &x)?,
            Some(name) => pass.linear_of_norm(name, || pass.layer_without_bias(name), names.last_norm, &x)?,
        };
        pass.record(Operation::Flatten, &[&class], class.flatten_from(1)?)
    }

    /// Activations that enter a block, if they have its sizes.
    fn checked(&self, activations: &Tensor) -> Result<Tensor> {
        match *activations.dims() {
            [_, tokens, 1, d] if (tokens, d) == (self.tokens(), self.kind.sizes().width) => Ok(activations.clone()),
            _ => Err(ModelError::Invalid(format!(
                "{} takes activations (n, {}, 1, {}), not {:?}",
                self.kind.name(),
                self.tokens(),
                self.kind.sizes().width,
                activations.dims()
            ))),
        }
    }
}

impl Backbone for VisionTransformer {
    fn name(&self) -> String {
        self.kind.name().into()
    }

    fn width(&self) -> usize {
        self.kind.features()
    }

    fn input(&self) -> (usize, usize, usize) {
        (3, self.side, self.side)
    }

    fn head_name(&self) -> &str {
        self.kind.names().head
    }

    fn param_specs(&self) -> Vec<ParamSpec> {
        let (names, sizes, d) = (self.kind.names(), self.kind.sizes(), self.kind.sizes().width);
        let clip = self.kind == VisionTransformerKind::ClipVitB32;
        let start = Start::TorchDefault { inputs: d };
        let class: &[usize] = if clip { &[d] } else { &[1, 1, d] };
        let positions: &[usize] = if clip { &[self.tokens(), d] } else { &[1, self.tokens(), d] };
        let mut specs = vec![
            ParamSpec::param(names.class_token.into(), class, start),
            ParamSpec::param(names.positions.into(), positions, start),
        ];
        let [weight, bias] = ParamSpec::torch_default(names.patches, &[d, 3, sizes.patch, sizes.patch]);
        specs.push(weight);
        specs.extend((!clip).then_some(bias));
        specs.extend(names.first_norm.iter().flat_map(|norm| ParamSpec::layer_norm(norm, d)));
        specs.extend(self.blocks().flat_map(|block| block.param_specs()));
        specs.extend(ParamSpec::layer_norm(names.last_norm, d));
        let projection = |name: &&str| ParamSpec::weight(name, &[self.width(), d], start);
        specs.extend(names.projection.iter().map(projection));
        specs
    }

    fn features(&self, params: &Params, _: &Buffers, inputs: &Tensor, mode: &mut Mode) -> Result<Features> {
        let pass = self.pass(params, mode);
        let tokens = self.embed(&pass, inputs)?;
        let features = self.rise(&pass, tokens, self.blocks())?;
        Ok(Features { features, statistics: BatchStatistics::default() })
    }

    fn resized(&self, name: &str, tensor: Tensor) -> Result<Tensor> {
        match self.kind.has_positions(name, tensor.dims()) {
            true => position::interpolate(&tensor, self.side / self.kind.sizes().patch, self.kind.grid_scale()),
            false => Ok(tensor),
        }
    }

    fn norms(&self) -> Vec<String> {
        let names = self.kind.names();
        let of_blocks = self.blocks().flat_map(|block| block.norms());
        let ends = |name: &str| name.to_string();
        names.first_norm.into_iter().map(ends).chain(of_blocks).chain([ends(names.last_norm)]).collect()
    }

    fn stages(&self) -> Vec<String> {
        let names = self.kind.names();
        let whole = |name: &str| name.to_string();
        let below = match self.kind {
            VisionTransformerKind::DinoV2Small | VisionTransformerKind::DinoV2Base => {
                ["patch_embed", names.class_token, names.positions].map(whole).to_vec()
            }
            VisionTransformerKind::VitBase => vec!["vit.embeddings".into()],
            VisionTransformerKind::ClipVitB32 => vec!["vision_model.embeddings".into()],
        };
        let first = names.first_norm.map(whole);
        let above = [Some(names.last_norm), names.projection].into_iter().flatten().map(whole);
        below.into_iter().chain(first).chain(self.split_points()).chain(above).collect()
    }

    /// Its blocks.
    fn split_points(&self) -> Vec<String> {
        self.blocks().map(|block| block.name).collect()
    }

    /// The position embeddings are those of one size.
    fn takes_any_size(&self) -> bool {
        false
    }

    fn width_below(&self, stage: &str) -> Result<usize> {
        check(self, stage)?;
        Ok(self.kind.sizes().width)
    }

    fn forward_to(
        &self,
        params: &Params,
        _: &Buffers,
        inputs: &Tensor,
        mode: &mut Mode,
        stage: &str,
    ) -> Result<Tensor> {
        check(self, stage)?;
        let pass = self.pass(params, mode);
        let mut blocks = self.blocks().take_while(|block| block.name != stage);
        blocks.try_fold(self.embed(&pass, inputs)?, |x, block| block.forward(&pass, &x))
    }

    fn forward_between(
        &self,
        params: &Params,
        _: &Buffers,
        activations: &Tensor,
        mode: &mut Mode,
        [from, to]: [&str; 2],
    ) -> Result<Tensor> {
        let pass = self.pass(params, mode);
        let blocks = self.blocks().skip_while(|block| block.name != from);
        let mut blocks = blocks.take_while(|block| block.name != to);
        blocks.try_fold(self.checked(activations)?, |x, block| block.forward(&pass, &x))
    }

    fn forward_from(
        &self,
        params: &Params,
        _: &Buffers,
        activations: &Tensor,
        mode: &mut Mode,
        stage: &str,
    ) -> Result<Features> {
        check(self, stage)?;
        let pass = self.pass(params, mode);
        let blocks = self.blocks().skip_while(|block| block.name != stage);
        let features = self.rise(&pass, self.checked(activations)?, blocks)?;
        Ok(Features { features, statistics: BatchStatistics::default() })
    }
}

#[cfg(test)]
mod tests;
