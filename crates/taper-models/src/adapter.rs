//! Adapter: a small network for vectors that others have made (Houlsby et al. 2019, fig. 2).

use crate::layers::Pass;
use crate::{Backbone, Buffers, Features, Mode, ModelError, ParamSpec, Params, Result, Start};
use candle_core::Tensor;

/// Features x + W₂ ReLU(W₁ x): the vectors themselves, plus what `hidden` units add. W₂ begins as zeros, so an
/// untrained adapter changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Adapter {
    hidden: usize,
    width: usize,
}

impl Adapter {
    /// An adapter for vectors of `(d, 1, 1)`.
    ///
    /// # Errors
    ///
    /// Returns an error for images.
    pub fn new(hidden: usize, input: (usize, usize, usize)) -> Result<Self> {
        match input {
            (width, 1, 1) if width > 0 && hidden > 0 => Ok(Self { hidden, width }),
            (channels, height, width) => Err(ModelError::Invalid(format!(
                "adapter-{hidden} takes vectors, not images of {height}x{width} with {channels} channels: use a network \
                 for images, such as conv4-64"
            ))),
        }
    }
}

impl Backbone for Adapter {
    fn name(&self) -> String {
        format!("adapter-{}", self.hidden)
    }

    fn width(&self) -> usize {
        self.width
    }

    fn input(&self) -> (usize, usize, usize) {
        (self.width, 1, 1)
    }

    fn param_specs(&self) -> Vec<ParamSpec> {
        let mut specs = ParamSpec::torch_default("down", &[self.hidden, self.width]).to_vec();
        specs.push(ParamSpec::weight("up", &[self.width, self.hidden], Start::Zeros));
        specs.push(ParamSpec::param("up.bias".into(), &[self.width], Start::Zeros));
        specs
    }

    fn features(&self, params: &Params, buffers: &Buffers, inputs: &Tensor, mode: &mut Mode) -> Result<Features> {
        let pass = Pass::new(params, buffers, mode);
        let x = pass.flatten_by_pixel(inputs)?;
        let hidden = pass.relu(&pass.linear("down", &x)?)?;
        let features = pass.add(&x, &pass.linear("up", &hidden)?)?;
        Ok(pass.into_features(features))
    }

    fn stages(&self) -> Vec<String> {
        ["down", "up"].map(String::from).to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn an_untrained_adapter_changes_nothing_and_a_trained_one_adds_what_its_layers_say() {
        let adapter = Adapter::new(1, (2, 1, 1)).unwrap();
        let x = Tensor::new(&[[[[1f32]], [[2.0]]], [[[-3.0]], [[0.5]]]], &Device::Cpu).unwrap();
        let of = |params: &Params| {
            let made = adapter.features(params, &Buffers::default(), &x, &mut Mode::evaluate()).unwrap();
            made.features.to_vec2::<f32>().unwrap()
        };
        assert_eq!(of(&adapter.init(3).unwrap().params), [[1.0, 2.0], [-3.0, 0.5]]);
        let tensor = |name: &str, values: &[f32], shape: &[usize]| {
            (name.to_string(), Tensor::from_slice(values, shape, &Device::Cpu).unwrap())
        };
        let params = [
            tensor("down.weight", &[1.0, 1.0], &[1, 2]),
            tensor("down.bias", &[1.0], &[1]),
            tensor("up.weight", &[2.0, -1.0], &[2, 1]),
            tensor("up.bias", &[0.5, 0.0], &[2]),
        ];
        // ReLU(1 + 2 + 1) = 4 and ReLU(-3 + 0.5 + 1) = 0
        assert_eq!(of(&params.into_iter().collect()), [[9.5, -2.0], [-2.5, 0.5]]);
        assert!(Adapter::new(1, (3, 9, 9)).unwrap_err().to_string().contains("takes vectors"));
    }
}
