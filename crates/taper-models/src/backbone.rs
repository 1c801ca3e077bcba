//! Feature extractors, and how a forward pass runs.

use crate::{
    BatchStatistics, Buffers, Layout, ModelError, PackedWeights, ParamSpec, Params, Result, State, Trace, param_spec,
};
use candle_core::Tensor;
use std::fmt;
use std::sync::Arc;
use taper_ops::Rng;

/// Which statistics batch normalization uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Norm {
    /// Those of the current batch: predictions depend on its other images.
    Batch,
    /// The stored ones.
    Stored,
}

/// How a forward pass runs: everything that differs between training and inference.
#[derive(Debug, Clone)]
pub struct Mode {
    /// Which statistics batch normalization uses.
    pub norm: Norm,
    /// The random numbers of dropout; `None` switches dropout off.
    pub dropout: Option<Rng>,
    /// The final weights of a [`crate::Frozen`], with norms folded in.
    pub packed: Option<Arc<PackedWeights>>,
    /// Records what the pass does.
    pub trace: Option<Arc<Trace>>,
}

impl Mode {
    /// For inference: stored statistics, no dropout.
    pub fn evaluate() -> Self {
        Self { norm: Norm::Stored, dropout: None, packed: None, trace: None }
    }

    /// For training: the batch's statistics, dropout drawn from `rng`.
    pub fn train(rng: Rng) -> Self {
        Self { norm: Norm::Batch, dropout: Some(rng), packed: None, trace: None }
    }

    /// The batch's statistics, no dropout: how few-shot learners run.
    pub fn batch_statistics() -> Self {
        Self { norm: Norm::Batch, dropout: None, packed: None, trace: None }
    }
}

/// The output of a backbone.
#[derive(Debug, Clone)]
pub struct Features {
    /// `(n, d)`.
    pub features: Tensor,
    /// With [`Norm::Batch`], the statistics of this batch, tracked; otherwise empty.
    pub statistics: BatchStatistics,
}

/// A feature extractor: images `(n, c, h, w)` to features `(n, d)`.
pub trait Backbone: Send + Sync + fmt::Debug {
    /// The architecture's name, as it is written and parsed (`"conv4-64"`).
    fn name(&self) -> String;

    /// Width d of the features.
    fn width(&self) -> usize;

    /// The layout of its features: one embedding, unless it has features of places too.
    fn layout(&self) -> Layout {
        Layout { views: 1, side: 0, local: 0, global: self.width() }
    }

    /// Channels, height and width of the images it takes.
    fn input(&self) -> (usize, usize, usize);

    /// Key prefix of the head in its published weights (`"fc"` in torchvision's ResNets).
    fn head_name(&self) -> &str {
        "fc"
    }

    /// Its parameters and statistics, without values.
    fn param_specs(&self) -> Vec<ParamSpec>;

    /// Fresh parameters and statistics from a seed, f32.
    fn init(&self, seed: u64) -> Result<State> {
        param_spec::draw(&self.param_specs(), seed)
    }

    /// The features of `inputs (n, c, h, w)`.
    ///
    /// # Errors
    ///
    /// Returns an error if the inputs' shape or the parameters don't fit.
    fn features(&self, params: &Params, buffers: &Buffers, inputs: &Tensor, mode: &mut Mode) -> Result<Features>;

    /// Activations `(n, h, w, d)` whose mean over the places is the features; `None` for a network whose features are
    /// made otherwise.
    ///
    /// # Errors
    ///
    /// Returns an error if the inputs' shape or the parameters don't fit.
    fn places(
        &self,
        _params: &Params,
        _buffers: &Buffers,
        _inputs: &Tensor,
        _mode: &mut Mode,
    ) -> Result<Option<Tensor>> {
        Ok(None)
    }

    /// A published tensor of this name in the shape that the backbone needs, if that depends on the
    /// image size: position embeddings are interpolated. Other tensors are returned unchanged.
    ///
    /// # Errors
    ///
    /// Returns an error if the tensor cannot be brought to that shape.
    fn resized(&self, _name: &str, tensor: Tensor) -> Result<Tensor> {
        Ok(tensor)
    }

    /// The names of parameters, from the input to the features, grouped in stages that can be
    /// frozen or trained as a whole (`"layer4"`).
    fn stages(&self) -> Vec<String>;

    /// The layers that normalize without running statistics, by name: layer norms. Those with statistics are known by
    /// their buffers.
    fn norms(&self) -> Vec<String> {
        Vec::new()
    }

    /// Whether the same parameters serve images of any size.
    fn takes_any_size(&self) -> bool {
        !self.split_points().is_empty()
    }

    /// The stages at which the network can be split in two (see [`crate::Upper`]); empty if it
    /// can't be split.
    fn split_points(&self) -> Vec<String> {
        Vec::new()
    }

    /// Channels of the activations that enter `stage`, one of the split points.
    ///
    /// # Errors
    ///
    /// Returns an error if the network cannot be split there.
    fn width_below(&self, stage: &str) -> Result<usize> {
        Err(ModelError::Invalid(format!("{} cannot be split at `{stage}`: train the whole network", self.name())))
    }

    /// For [`Backbone::places`] of one image, the slope of `weight (1, width) · features` in the mean of the places,
    /// `(1, d)`: the weight itself if the features are that mean.
    ///
    /// # Errors
    ///
    /// Returns an error if the shapes don't fit.
    fn slope(&self, _places: &Tensor, weight: &Tensor) -> Result<Tensor> {
        Ok(weight.clone())
    }

    /// The input of `stage`, one of the split points, for `inputs (n, c, h, w)` of the network:
    /// activations `(n, h, w, c)`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Backbone::features`], or an error if the network cannot be split there.
    fn forward_to(
        &self,
        _params: &Params,
        _buffers: &Buffers,
        _inputs: &Tensor,
        _mode: &mut Mode,
        stage: &str,
    ) -> Result<Tensor> {
        Err(ModelError::Invalid(format!("{} cannot be split at `{stage}`: train the whole network", self.name())))
    }

    /// The input of `to`, a split point above `from`, for `activations (n, h, w, c)` that enter `from`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Backbone::forward_to`].
    fn forward_between(
        &self,
        _params: &Params,
        _buffers: &Buffers,
        _activations: &Tensor,
        _mode: &mut Mode,
        [from, _to]: [&str; 2],
    ) -> Result<Tensor> {
        Err(ModelError::Invalid(format!("{} cannot be split at `{from}`: train the whole network", self.name())))
    }

    /// The features for activations that enter `stage`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Backbone::forward_to`].
    fn forward_from(
        &self,
        _params: &Params,
        _buffers: &Buffers,
        _activations: &Tensor,
        _mode: &mut Mode,
        stage: &str,
    ) -> Result<Features> {
        Err(ModelError::Invalid(format!("{} cannot be split at `{stage}`: train the whole network", self.name())))
    }
}
