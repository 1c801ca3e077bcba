//! The upper part of a network: what is trained while the part below is frozen.

use crate::{Backbone, Buffers, Features, Mode, ModelError, ParamSpec, Params, Result};
use candle_core::Tensor;
use std::sync::Arc;

/// A backbone from one of its stages on. Its inputs are the outputs of [`Backbone::forward_to`],
/// `(n, h, w, c)`, so the frozen part below runs once per image, not once per step.
#[derive(Debug, Clone)]
pub struct Upper {
    whole: Arc<dyn Backbone>,
    stage: String,
}

impl Upper {
    /// `whole` from `stage` on.
    ///
    /// # Errors
    ///
    /// Returns an error that lists the split points if it can't be split there.
    pub fn new(whole: Arc<dyn Backbone>, stage: &str) -> Result<Self> {
        check(whole.as_ref(), stage)?;
        Ok(Self { whole, stage: stage.to_string() })
    }

    /// The stage it starts with.
    pub fn stage(&self) -> &str {
        &self.stage
    }

    /// Whether the tensor of this name belongs to it.
    pub fn holds(&self, name: &str) -> bool {
        let stages = self.stages();
        stages.iter().any(|stage| name.strip_prefix(stage.as_str()).is_some_and(|rest| rest.starts_with('.')))
    }
}

/// # Errors
///
/// Returns an error if it can't be split at `stage`.
pub(crate) fn check(backbone: &dyn Backbone, stage: &str) -> Result<()> {
    let cuts = backbone.split_points();
    if cuts.iter().any(|cut| cut == stage) {
        return Ok(());
    }
    let hint = if cuts.is_empty() { "train the whole network".into() } else { format!("use {}", cuts.join(", ")) };
    Err(ModelError::Invalid(format!("{} can't be split at `{stage}`: {hint}", backbone.name())))
}

impl Backbone for Upper {
    fn name(&self) -> String {
        format!("{} from {}", self.whole.name(), self.stage)
    }

    fn width(&self) -> usize {
        self.whole.width()
    }

    fn input(&self) -> (usize, usize, usize) {
        self.whole.input()
    }

    fn head_name(&self) -> &str {
        self.whole.head_name()
    }

    fn param_specs(&self) -> Vec<ParamSpec> {
        self.whole.param_specs().into_iter().filter(|slot| self.holds(&slot.name)).collect()
    }

    fn features(&self, params: &Params, buffers: &Buffers, inputs: &Tensor, mode: &mut Mode) -> Result<Features> {
        self.whole.forward_from(params, buffers, inputs, mode, &self.stage)
    }

    fn norms(&self) -> Vec<String> {
        self.whole.norms().into_iter().filter(|norm| self.holds(&format!("{norm}.weight"))).collect()
    }

    fn takes_any_size(&self) -> bool {
        self.whole.takes_any_size()
    }

    fn stages(&self) -> Vec<String> {
        self.whole.stages().into_iter().skip_while(|stage| *stage != self.stage).collect()
    }

    /// The whole network's split points above its own.
    fn split_points(&self) -> Vec<String> {
        self.whole.split_points().into_iter().skip_while(|cut| *cut != self.stage).skip(1).collect()
    }

    fn forward_to(
        &self,
        params: &Params,
        buffers: &Buffers,
        inputs: &Tensor,
        mode: &mut Mode,
        stage: &str,
    ) -> Result<Tensor> {
        check(self, stage)?;
        self.whole.forward_between(params, buffers, inputs, mode, [&self.stage, stage])
    }

    fn forward_from(
        &self,
        params: &Params,
        buffers: &Buffers,
        activations: &Tensor,
        mode: &mut Mode,
        stage: &str,
    ) -> Result<Features> {
        self.whole.forward_from(params, buffers, activations, mode, stage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Architecture;
    use taper_ops::{rng, uniform};

    #[test]
    fn a_network_in_parts_makes_the_features_of_the_whole() {
        for name in ["cifar-resnet20", "resnet18", "resnet50", "efficientnet-lite0"] {
            let whole = name.parse::<Architecture>().unwrap().backbone((3, 40, 40)).unwrap();
            let state = whole.init(1).unwrap();
            let images = uniform(&mut rng(2, "images", 0), (2, 3, 40, 40), -1.0, 1.0).unwrap();
            let rows = |made: Features| made.features.to_vec2::<f32>().unwrap();
            let expected = rows(whole.features(&state.params, &state.buffers, &images, &mut Mode::evaluate()).unwrap());
            assert!(!whole.split_points().is_empty(), "{name}");
            for stage in whole.split_points() {
                let upper = Upper::new(whole.clone(), &stage).unwrap();
                let (params, buffers) = (&state.params, &state.buffers);
                let below = whole.forward_to(params, buffers, &images, &mut Mode::evaluate(), &stage).unwrap();
                let (params, buffers) =
                    (params.filter(|name| upper.holds(name)), buffers.filter(|name| upper.holds(name)));
                let made = upper.features(&params, &buffers, &below, &mut Mode::evaluate()).unwrap();
                assert_eq!(rows(made), expected, "{name} cut at {stage}");
                assert_eq!(upper.param_specs().len(), params.len() + buffers.len());
                let bits = |made: Tensor| made.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                for higher in upper.split_points() {
                    let cut = |backbone: &dyn Backbone, inputs: &Tensor| {
                        let (params, buffers) = (&state.params, &state.buffers);
                        bits(backbone.forward_to(params, buffers, inputs, &mut Mode::evaluate(), &higher).unwrap())
                    };
                    assert_eq!(cut(&upper, &below), cut(whole.as_ref(), &images), "{name}: {stage} to {higher}");
                }
            }
            assert!(Upper::new(whole, "layer9").err().unwrap().to_string().contains("can't be split at `layer9`"));
        }
    }
}
