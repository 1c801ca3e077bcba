//! Batch norm and its gradient at selected values only: what a gradient with respect to selected values is.

use super::first::{Factors, Gradient, Moments, moments};
use super::shell::{Ternary, check};
use super::{Known, Normalize};
use crate::element::Element;
use crate::select::Select;
use candle_core::{Result, Shape, Tensor};
use std::sync::Arc;

/// x̂ · w + b at the selected values.
pub(super) struct NormalizeSelected(pub(super) Arc<Known>, pub(super) Select);

impl Ternary for NormalizeSelected {
    const NAME: &'static str = "batch-norm-selected";

    fn forward<T: Element>(&self, [x, w, b]: [&[T]; 3], [sx, ..]: [&Shape; 3]) -> Result<(Vec<T>, Shape)> {
        let Self(known, select) = self;
        let scale: Vec<f64> = w.iter().zip(&known.inverse).map(|(w, inverse)| w.to_f64() * inverse).collect();
        Ok((select.normalize_selected(x, &known.mean, &scale, b)?, select.shape(sx)))
    }

    fn backward(&self, inputs: [&Tensor; 3], u: &Tensor) -> Result<[Option<Tensor>; 3]> {
        Normalize(self.0.clone(), Select::All).backward(inputs, &self.1.spread(u)?)
    }
}

/// w/σ · P v at the selected values, where v is of the shape of x.
pub(super) struct GradientSelected(pub(super) Arc<Known>, pub(super) Select, pub(super) Moments);

impl Ternary for GradientSelected {
    const NAME: &'static str = "batch-norm-gradient-selected";

    fn forward<T: Element>(&self, [x, v, w]: [&[T]; 3], [sx, sv, _]: [&Shape; 3]) -> Result<(Vec<T>, Shape)> {
        check(Self::NAME, sx, sv)?;
        let Self(known, select, shared) = self;
        let sums = moments(shared, &Select::All, x, known, v)?;
        let Factors { x: by_x, g: by_v, shift } = Factors::of(known, w, x.len() / w.len(), &sums);
        Ok((select.mix_selected((x, &by_x), &known.mean, (v, &by_v), &shift)?, select.shape(sx)))
    }

    fn backward(&self, inputs: [&Tensor; 3], u: &Tensor) -> Result<[Option<Tensor>; 3]> {
        Gradient(self.0.clone(), Select::All, self.2.clone()).backward(inputs, &self.1.spread(u)?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::second::{Pairs, Projected, SecondGradient};
    use super::super::shell::Shell;
    use super::*;
    use crate::Window;
    use crate::select::Epilogue;
    use crate::tape::Apply;
    use crate::test_support::{check_derivatives, random};

    fn known(x: &Tensor) -> Arc<Known> {
        let (weight, bias) = (Tensor::ones(3, x.dtype(), x.device()).unwrap(), random("bias", 3));
        Known::of(x, &weight, &bias, 1e-5).unwrap().0
    }

    /// Selections among values that are normalized by their own statistics.
    fn selections(x: &Tensor) -> Vec<Select> {
        let overlapping = Window { kernel: 3, stride: 2, padding: 1 };
        let epilogues =
            [Epilogue::Nothing, Epilogue::Relu, Epilogue::ReluPool(Window::tiled(2)), Epilogue::ReluPool(overlapping)];
        let select = |epilogue| {
            let select = Select::new(epilogue, x.shape()).unwrap();
            let values = x.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            known(x).normalize(&select, &values, &[1.0; 3], &[0.1; 3]).unwrap();
            select
        };
        epilogues.map(select).into()
    }

    #[test]
    fn gradients_at_selected_values_are_differentiable_twice_more() {
        let (x, v, w, b) = (random("x", (2, 5, 4, 3)), random("v", (2, 5, 4, 3)), random("w", 3), random("b", 3));
        for select in selections(&x) {
            check_derivatives(&[x.clone(), w.clone(), b.clone()], |t| {
                let op = NormalizeSelected(known(&t[0]), select.clone());
                t[0].apply3(&t[1], &t[2], Shell(op))?.powf(2.0)
            });
            check_derivatives(&[x.clone(), v.clone(), w.clone()], |t| {
                let op = GradientSelected(known(&t[0]), select.clone(), Moments::default());
                t[0].apply3(&t[1], &t[2], Shell(op))?.powf(2.0)
            });
            let inputs = [x.clone(), random("g", select.shape(x.shape())), v.clone()];
            let pairs = |t: &[Tensor]| Pairs::of(&t[0], &t[1], &t[2], (&known(&t[0]), &select), &Moments::default());
            check_derivatives(&inputs, |t| t[0].apply3(&t[1], &t[2], Shell(Projected(pairs(t)?)))?.powf(2.0));
            check_derivatives(&inputs, |t| t[0].apply3(&t[1], &t[2], Shell(SecondGradient(pairs(t)?)))?.powf(2.0));
        }
    }

    #[test]
    fn sums_of_shapes_that_do_not_fit_are_an_error_that_names_both() {
        let (x, other) = (random("x", (2, 4, 4, 3)), random("x", (2, 4, 5, 3)));
        let sums = |g, v| Pairs::of(&x, g, v, (&known(&x), &Select::All), &Moments::default());
        for failed in [sums(&other, &x), sums(&x, &other)] {
            let text = failed.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(text.contains("[2, 4, 4, 3]") && text.contains("[2, 4, 5, 3]"), "{text}");
        }
    }
}
