//! Linear layers whose weights are final: packed once, with the layer norm before them and what follows folded in.

use crate::composed;
use crate::element::{elements, stored, values};
use crate::kernels::pointwise::{Around, Pointwise};
use crate::kernels::simd::InstructionSet;
use crate::kernels::smooth::Gelu;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, D, DType, Layout, Result, Shape, Tensor, bail};

/// A linear layer whose weights are final, after a layer norm if there is one: `linear` without a gradient, but faster.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use taper_ops::FrozenLinear;
/// let weight = Tensor::new(&[[1f32, 2.0]], &Device::Cpu)?;
/// let layer = FrozenLinear::new(&weight, Some(&Tensor::new(&[0.5f32], &Device::Cpu)?), None)?;
/// let x = Tensor::new(&[[[3f32, 4.0]]], &Device::Cpu)?;
/// assert_eq!(layer.forward(&x)?.flatten_all()?.to_vec1::<f32>()?, [11.5]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub struct FrozenLinear {
    inputs: usize,
    outputs: usize,
    eps: Option<f64>,
    layer: Layer,
}

/// The layer norm whose weight and bias are folded into a linear layer after it.
#[derive(Debug, Clone, Copy)]
pub struct FoldedNorm<'a> {
    /// `(d)`.
    pub weight: &'a Tensor,
    /// `(d)`.
    pub bias: &'a Tensor,
    /// Is added to the variance.
    pub eps: f64,
}

enum Layer {
    /// Packed for the CPU's kernels.
    Packed(Box<Pointwise>),
    /// Unchanged, on another device.
    Composed { weight: Tensor, bias: Tensor },
}

const NAME: &str = "frozen linear layer";

impl FrozenLinear {
    /// Packs `weight (o, d)`; `bias (o)`, if there is one, is added to each row. With a norm, rows are normalized first:
    /// norm(x) Wᵀ + b = x̂ (W diag(w))ᵀ + (b + W v), for the norm's weight w and bias v.
    ///
    /// # Errors
    /// Returns an error if the shapes do not fit, or if the type is not f32.
    pub fn new(weight: &Tensor, bias: Option<&Tensor>, norm: Option<FoldedNorm>) -> Result<Self> {
        let (outputs, inputs) = weight.dims2()?;
        let norms = norm.iter().flat_map(|norm| [(norm.weight, inputs), (norm.bias, inputs)]);
        let others = norms.chain(bias.map(|bias| (bias, outputs)));
        if inputs * outputs == 0 || weight.dtype() != DType::F32 {
            bail!("{NAME}: takes f32 weights (outputs, inputs), not {:?} {:?}", weight.dtype(), weight.dims());
        }
        for (other, size) in others {
            if other.dims() != [size] || other.dtype() != DType::F32 {
                bail!("{NAME}: {:?} {:?} does not fit weight {:?}", other.dtype(), other.dims(), weight.dims());
            }
        }
        let mut sums = match bias {
            Some(bias) => bias.detach(),
            None => Tensor::zeros(outputs, DType::F32, weight.device())?,
        };
        let mut weight = weight.detach();
        if let Some(norm) = norm {
            sums = (sums + weight.broadcast_mul(&norm.bias.detach())?.sum(D::Minus1)?)?;
            weight = weight.broadcast_mul(&norm.weight.detach())?;
        }
        let layer = if composed::needed(&weight) {
            Layer::Composed { weight, bias: sums }
        } else {
            let values = weight.flatten_all()?.to_vec1::<f32>()?;
            Layer::Packed(Box::new(Pointwise::new(InstructionSet::best(), &values, sums.to_vec1()?, inputs)))
        };
        Ok(Self { inputs, outputs, eps: norm.map(|norm| norm.eps), layer })
    }

    /// The layer of each row of `x (…, d)`: `(…, o)`, a value without a gradient. A row's bits do not depend on the others.
    ///
    /// # Errors
    /// Returns an error if the shapes do not fit, or if the type is not f32.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.run(x, None, None)
    }

    /// The same, then GELU.
    ///
    /// # Errors
    /// Returns the errors of [`FrozenLinear::forward`].
    pub fn forward_gelu(&self, x: &Tensor, form: Gelu) -> Result<Tensor> {
        self.run(x, None, Some(form))
    }

    /// The same plus `residual (…, o)`.
    ///
    /// # Errors
    /// Returns the errors of [`FrozenLinear::forward`].
    pub fn forward_add(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        self.run(x, Some(residual), None)
    }

    /// `residual + second(gelu(self(x)))` of each row of `x (…, d)` and `residual (…, d)`, for a layer with a norm and a
    /// `second` without: a transformer's perceptron, whose hidden rows never exist as a whole. A row's bits do not depend on
    /// the others.
    ///
    /// # Errors
    /// Returns an error if the layers or shapes do not fit, or if the type is not f32.
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use taper_ops::{FoldedNorm, FrozenLinear, Gelu};
    /// let ones = |shape: &[usize]| Tensor::ones(shape, DType::F32, &Device::Cpu);
    /// let norm = FoldedNorm { weight: &ones(&[2])?, bias: &ones(&[2])?, eps: 1e-6 };
    /// let first = FrozenLinear::new(&ones(&[8, 2])?, None, Some(norm))?;
    /// let second = FrozenLinear::new(&ones(&[2, 8])?, None, None)?;
    /// let x = ones(&[5, 2])?;
    /// let y = first.perceptron(&second, Gelu::Quick, &x, &x)?;
    /// assert_eq!(y.dims(), [5, 2]);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn perceptron(&self, second: &Self, form: Gelu, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        let (Some(eps), None) = (self.eps, second.eps) else {
            bail!("{NAME}: a perceptron has a norm before its first layer, and none before its second");
        };
        if (second.inputs, second.outputs) != (self.outputs, self.inputs) {
            bail!(
                "{NAME}: a perceptron of {} to {} values does not end with {} to {}",
                self.inputs,
                self.outputs,
                second.inputs,
                second.outputs
            );
        }
        self.output(x.dims())?;
        if x.dtype() != DType::F32 {
            bail!("{NAME}: takes f32, not {:?}", x.dtype());
        }
        check_residual(residual, x.dims())?;
        match (&self.layer, &second.layer) {
            (Layer::Packed(first), Layer::Packed(second)) => {
                let run = Perceptron { first, second, eps: eps as f32, form };
                x.contiguous()?.apply_op2_no_bwd(&residual.contiguous()?, &run)
            }
            _ => second.forward_add(&self.forward_gelu(x, form)?, residual),
        }
    }

    fn run(&self, x: &Tensor, residual: Option<&Tensor>, gelu: Option<Gelu>) -> Result<Tensor> {
        let shape = self.output(x.dims())?;
        if x.dtype() != DType::F32 {
            bail!("{NAME}: takes f32, not {:?}", x.dtype());
        }
        if let Some(residual) = residual {
            check_residual(residual, shape.dims())?;
        }
        match &self.layer {
            Layer::Packed(layer) => {
                let run = Run { of: self, layer, gelu };
                match residual {
                    Some(residual) => x.contiguous()?.apply_op2_no_bwd(&residual.contiguous()?, &run),
                    None => x.contiguous()?.apply_op1_no_bwd(&run),
                }
            }
            Layer::Composed { weight, bias } => {
                let rows = x.detach().reshape(((), self.inputs))?;
                let rows = self.eps.map_or_else(|| Ok(rows.clone()), |eps| composed::normalize(&rows, eps))?;
                let mut y = rows.matmul(&weight.t()?)?.broadcast_add(bias)?.reshape(shape)?;
                if let Some(form) = gelu {
                    y = composed::gelu(&y, form)?;
                }
                residual.map_or_else(|| Ok(y.clone()), |residual| &y + residual.detach())
            }
        }
    }

    /// The shape of the result for inputs of that shape.
    fn output(&self, x: &[usize]) -> Result<Shape> {
        match x {
            [leading @ .., d] if *d == self.inputs => {
                let dims = [leading, &[self.outputs]].concat();
                elements(NAME, &dims)?;
                Ok(dims.into())
            }
            _ => bail!("{NAME}: takes rows of {} values, not {x:?}", self.inputs),
        }
    }
}

/// Fails unless a residual has the shape of the outputs.
fn check_residual(residual: &Tensor, outputs: &[usize]) -> Result<()> {
    if residual.dims() != outputs || residual.dtype() != DType::F32 {
        bail!("{NAME}: residual {:?} {:?} does not fit outputs {outputs:?}", residual.dtype(), residual.dims());
    }
    Ok(())
}

struct Run<'a> {
    of: &'a FrozenLinear,
    layer: &'a Pointwise,
    gelu: Option<Gelu>,
}

impl Run<'_> {
    fn run(
        &self,
        (x, lx): (&CpuStorage, &Layout),
        residual: Option<(&CpuStorage, &Layout)>,
    ) -> Result<(CpuStorage, Shape)> {
        let residual = residual.map(|(residual, layout)| values::<f32>(residual, layout, NAME)).transpose()?;
        let around = Around { normalized: self.of.eps.map(|eps| eps as f32), residual, gelu: self.gelu };
        let y = self.layer.run(values::<f32>(x, lx, NAME)?, around);
        Ok(stored::<f32>(y, self.of.output(lx.dims())?))
    }
}

impl CustomOp1 for Run<'_> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        self.run((x, layout), None)
    }
}

impl CustomOp2 for Run<'_> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, r: &CpuStorage, lr: &Layout) -> Result<(CpuStorage, Shape)> {
        self.run((x, lx), Some((r, lr)))
    }
}

/// Two layers with GELU between them.
struct Perceptron<'a> {
    first: &'a Pointwise,
    second: &'a Pointwise,
    eps: f32,
    form: Gelu,
}

impl CustomOp2 for Perceptron<'_> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, r: &CpuStorage, lr: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, residual) = (values::<f32>(x, lx, NAME)?, values::<f32>(r, lr, NAME)?);
        let y = self.first.perceptron(self.second, rows, residual, self.eps, self.form);
        Ok(stored::<f32>(y, lx.shape().clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{random, surrounded};
    use crate::{gelu, in_pool, layer_norm, linear};
    use proptest::prelude::*;

    fn narrow(t: &Tensor) -> Tensor {
        t.to_dtype(DType::F32).unwrap()
    }

    fn list(t: &Tensor) -> Vec<f64> {
        t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 40 }))]
        #[test]
        fn a_layer_equals_norm_linear_and_gelu_in_f64(
            (n, d, o) in (0usize..30, 2usize..150, 1usize..150), (normed, biased) in (any::<bool>(), any::<bool>())
        ) {
            let (x, weight, bias) = (random("x", (n, 2, d)), random("w", (o, d)), random("b", o));
            let (scale, shift, residual) = (random("scale", d), random("shift", d), random("r", (n, 2, o)));
            let bias = if biased { bias } else { bias.zeros_like().unwrap() };
            let before = if normed && n > 0 { layer_norm(&x, &scale, &shift, 1e-1).unwrap() } else { x.clone() };
            let y = linear(&before.reshape((2 * n, d)).unwrap(), &weight, &bias).unwrap().reshape((n, 2, o)).unwrap();
            let parts = [&weight, &bias, &scale, &shift, &x, &residual].map(narrow);
            let [weight, bias, scale, shift, x, narrow_residual] = &parts;
            let run = |x: &Tensor, residual: &Tensor| {
                let norm = FoldedNorm { weight: scale, bias: shift, eps: 1e-1 };
                let layer = FrozenLinear::new(weight, biased.then_some(bias), normed.then_some(norm)).unwrap();
                let all = [
                    layer.forward(x),
                    layer.forward_add(x, residual),
                    layer.forward_gelu(x, Gelu::Exact),
                    layer.forward_gelu(x, Gelu::Quick),
                ];
                all.map(Result::unwrap)
            };
            let ours = run(x, narrow_residual);
            let elsewhere = composed::without_kernels(|| run(x, narrow_residual));
            let around = run(&surrounded(x), &surrounded(narrow_residual));
            let right = [y.clone(), (&y + &residual).unwrap(), gelu(&y, Gelu::Exact).unwrap(), gelu(&y, Gelu::Quick).unwrap()];
            for (((ours, right), elsewhere), around) in ours.iter().zip(&right).zip(&elsewhere).zip(&around) {
                prop_assert_eq!(ours.dims(), right.dims());
                prop_assert!(list(ours) == list(around));
                // terms are of magnitude 4 at most: normalized values below 4, weights within (-1, 1)
                for other in [ours, elsewhere] {
                    for (ours, right) in list(other).iter().zip(list(right)) {
                        prop_assert!((ours - right).abs() < 1e-6 * (4 * d) as f64, "{} for {}", ours, right);
                    }
                }
            }
        }
    }

    #[test]
    fn a_row_has_the_same_bits_among_any_others_and_on_any_number_of_threads() {
        let [x, w, b] = [random("x", (500, 200)), random("w", (130, 200)), random("b", 200)].map(|t| narrow(&t));
        let norm = FoldedNorm { weight: &b, bias: &b, eps: 1e-5 };
        let layer = FrozenLinear::new(&w, None, Some(norm)).unwrap();
        let bits = |x: &Tensor| list(&layer.forward_gelu(x, Gelu::Exact).unwrap());
        let alone = in_pool(1, || bits(&x)).unwrap();
        for threads in [2, 3, 8] {
            assert!(in_pool(threads, || bits(&x)).unwrap() == alone, "{threads} threads");
        }
        for row in [0, 1, 119, 120, 499] {
            assert!(bits(&x.narrow(0, row, 1).unwrap()) == alone[row * 130..][..130], "row {row}");
        }
    }

    #[test]
    fn a_perceptron_has_the_bits_of_its_two_layers_on_any_number_of_threads() {
        let [x, r] = ["x", "r"].map(|name| narrow(&random(name, (3, 67, 40))));
        let [w, v, b] = [random("w", (130, 40)), random("v", (40, 130)), random("b", 40)].map(|t| narrow(&t));
        let norm = FoldedNorm { weight: &b, bias: &b, eps: 1e-5 };
        let first = FrozenLinear::new(&w, None, Some(norm)).unwrap();
        let second = FrozenLinear::new(&v, Some(&b), None).unwrap();
        for form in [Gelu::Exact, Gelu::Quick] {
            let apart = second.forward_add(&first.forward_gelu(&x, form).unwrap(), &r).unwrap();
            for threads in [1, 2, 3, 8] {
                let together = in_pool(threads, || first.perceptron(&second, form, &x, &r)).unwrap().unwrap();
                assert!(list(&together) == list(&apart), "{threads} threads");
            }
            let around = first.perceptron(&second, form, &surrounded(&x), &surrounded(&r)).unwrap();
            assert!(list(&around) == list(&apart));
        }
        let error = first.perceptron(&first, Gelu::Exact, &x, &x).unwrap_err().to_string();
        assert!(error.contains("none before its second"), "{error}");
        let third = FrozenLinear::new(&narrow(&random("u", (40, 131))), None, None).unwrap();
        let error = first.perceptron(&third, Gelu::Exact, &x, &x).unwrap_err().to_string();
        assert!(error.contains("40 to 130") && error.contains("131 to 40"), "{error}");
        let error = first.perceptron(&second, Gelu::Exact, &x, &w).unwrap_err().to_string();
        assert!(error.contains("residual") && error.contains("[130, 40]"), "{error}");
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors_that_name_them() {
        let [x, w, b] = [random("x", (5, 3)), random("w", (2, 4)), random("b", 3)].map(|t| narrow(&t));
        let layer = FrozenLinear::new(&w, None, None).unwrap();
        assert!(layer.forward(&x).unwrap_err().to_string().contains("rows of 4 values, not [5, 3]"));
        let x = narrow(&random("x", (5, 4)));
        assert!(layer.forward_add(&x, &x).unwrap_err().to_string().contains("[5, 4]"));
        assert!(FrozenLinear::new(&w, Some(&b), None).err().unwrap().to_string().contains("[3]"));
        let wide = random("w", (2, 4));
        assert!(FrozenLinear::new(&wide, None, None).err().unwrap().to_string().contains("F64"));
    }
}
