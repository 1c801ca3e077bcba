//! Two-dimensional convolution with its two gradients, each the others' derivative.
//!
//! With C the convolution, I its input gradient and W its weight gradient:
//! C(x, w) has gradients I(g, w) and W(x, g); I(y, w) has C(g, w) and W(g, y); W(x, y) has
//! I(y, g) and C(x, g). So derivatives of every order are among the three.
//!
//! f32 runs on the kernels of [`crate::kernels`], f64 on a simple reference.

pub(crate) mod fast;
pub(crate) mod geometry;
mod reference;

use crate::composed;
use crate::element::{float, stored, values};
use crate::kernels::simd::InstructionSet;
use crate::packs::Packs;
use crate::tape::Apply;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Tensor, bail};
use geometry::{Geometry, LONGEST_SIDE};
use std::sync::Arc;

/// How a convolution moves over its input, the same in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Convolution {
    /// Cells between applications.
    pub stride: usize,
    /// Cells of zeros on each side.
    pub padding: usize,
    /// Groups that the channels are split into: outputs of a group depend only on its inputs.
    pub groups: usize,
}

impl Convolution {
    /// The number of outputs along a side of `size` cells; 0 if a kernel of `kernel` cells does not fit.
    ///
    /// ```
    /// let how = taper_ops::Convolution { stride: 2, padding: 1, groups: 1 };
    /// assert_eq!((how.output(5, 3), how.output(1, 4)), (3, 0));
    /// ```
    pub fn output(self, size: usize, kernel: usize) -> usize {
        self.side(size, kernel).map_or(0, |(_, outputs)| outputs)
    }

    /// Cells of a padded side, and its outputs; `None` if a kernel does not fit, or if the side is
    /// too long to count.
    pub(crate) fn side(self, size: usize, kernel: usize) -> Option<(usize, usize)> {
        let padded = self.padding.checked_mul(2)?.checked_add(size).filter(|&padded| padded <= LONGEST_SIDE)?;
        let free = padded.checked_sub(kernel).filter(|_| kernel > 0)?;
        Some((padded, free.checked_div(self.stride)? + 1))
    }
}

impl Default for Convolution {
    fn default() -> Self {
        Self { stride: 1, padding: 0, groups: 1 }
    }
}

/// Cross-correlation, as every network library calls convolution: `x (n, h, w, c)` with
/// `weight (o, c / groups, kh, kw)` gives `(n, oh, ow, o)`.
///
/// # Errors
/// Returns an error if the shapes do not fit, if the result would not fit in memory, or if the type
/// is neither f32 nor f64.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use taper_ops::{Convolution, conv2d};
/// let images = Tensor::ones((1, 5, 5, 3), DType::F32, &Device::Cpu)?;
/// let weight = Tensor::ones((8, 3, 3, 3), DType::F32, &Device::Cpu)?;
/// let y = conv2d(&images, &weight, Convolution { padding: 1, ..Convolution::default() })?;
/// assert_eq!(y.dims(), [1, 5, 5, 8]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn conv2d(x: &Tensor, weight: &Tensor, convolution: Convolution) -> Result<Tensor> {
    float(x.dtype(), "convolution")?;
    Geometry::new(x.dims(), weight.dims(), convolution)?;
    if composed::needed(x) {
        return composed::conv2d(x, weight, convolution);
    }
    let packs = Packs::of(weight);
    x.contiguous()?.apply2(&weight.contiguous()?, Forward { how: convolution, packs })
}

/// `x (n, d)` times `weight (o, d)`, plus `bias (o)`, in PyTorch's layout: `(n, o)`.
///
/// # Errors
/// Returns an error if the shapes do not fit, or if the type is neither f32 nor f64.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let (x, weight) = (Tensor::new(&[[1f32, 2.0]], &Device::Cpu)?, Tensor::new(&[[3f32, 4.0]], &Device::Cpu)?);
/// let y = taper_ops::linear(&x, &weight, &Tensor::new(&[0.5f32], &Device::Cpu)?)?;
/// assert_eq!(y.to_vec2::<f32>()?, [[11.5]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let ((n, d), (o, width)) = (x.dims2()?, weight.dims2()?);
    if d == 0 && d == width && bias.dims() == [o] {
        return bias.broadcast_as((n, o))?.contiguous();
    }
    if d != width || bias.dims() != [o] {
        bail!("linear: inputs {:?} do not fit weight {:?} and bias {:?}", x.dims(), weight.dims(), bias.dims());
    }
    // a convolution of images of one pixel, which for a few rows is faster than a matrix product
    let y = conv2d(&x.reshape((n, 1, 1, d))?, &weight.reshape((o, d, 1, 1))?, Convolution::default())?;
    crate::add_per_channel(&y.reshape((n, o))?, bias)
}

struct Forward {
    how: Convolution,
    packs: Option<Arc<Packs>>,
}

impl CustomOp2 for Forward {
    fn name(&self) -> &'static str {
        "convolution"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, w: &CpuStorage, lw: &Layout) -> Result<(CpuStorage, Shape)> {
        let g = Geometry::new(lx.dims(), lw.dims(), self.how)?;
        let fast = |set, g: &Geometry, x: &[f32], w: &[f32]| fast::forward(set, g, x, w, self.packs.as_deref());
        by_precision((x, lx), (w, lw), self.name(), g.outputs(), &g, fast, reference::forward)
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let dx = if x.track_op() { Some(input_gradient(gradient, weight, x.shape(), self.how)?) } else { None };
        let dw = if weight.track_op() { Some(weight_gradient(x, gradient, weight.shape(), self.how)?) } else { None };
        Ok((dx, dw))
    }
}

/// ∂⟨conv2d(x, weight), y⟩/∂x for `x` of the given shape; linear in both arguments.
pub(crate) fn input_gradient(y: &Tensor, weight: &Tensor, inputs: &Shape, how: Convolution) -> Result<Tensor> {
    let operation = InputGradient { inputs: inputs.clone(), how, packs: Packs::of(weight) };
    y.contiguous()?.apply2(&weight.contiguous()?, operation)
}

struct InputGradient {
    inputs: Shape,
    how: Convolution,
    packs: Option<Arc<Packs>>,
}

impl CustomOp2 for InputGradient {
    fn name(&self) -> &'static str {
        "convolution-input-gradient"
    }

    fn cpu_fwd(&self, y: &CpuStorage, ly: &Layout, w: &CpuStorage, lw: &Layout) -> Result<(CpuStorage, Shape)> {
        let g = Geometry::new(self.inputs.dims(), lw.dims(), self.how)?;
        g.check_outputs(ly.dims())?;
        let shape = self.inputs.clone();
        let fast = |set, g: &Geometry, y: &[f32], w: &[f32]| fast::input_gradient(set, g, y, w, self.packs.as_deref());
        by_precision((y, ly), (w, lw), self.name(), shape, &g, fast, reference::input_gradient)
    }

    fn bwd(
        &self,
        y: &Tensor,
        weight: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let dy = if y.track_op() { Some(conv2d(gradient, weight, self.how)?) } else { None };
        let dw = if weight.track_op() { Some(weight_gradient(gradient, y, weight.shape(), self.how)?) } else { None };
        Ok((dy, dw))
    }
}

/// ∂⟨conv2d(x, weight), y⟩/∂weight for weights of the given shape; linear in both arguments.
pub(crate) fn weight_gradient(x: &Tensor, y: &Tensor, weights: &Shape, how: Convolution) -> Result<Tensor> {
    x.contiguous()?.apply2(&y.contiguous()?, WeightGradient { weights: weights.clone(), how })
}

struct WeightGradient {
    weights: Shape,
    how: Convolution,
}

impl CustomOp2 for WeightGradient {
    fn name(&self) -> &'static str {
        "convolution-weight-gradient"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, y: &CpuStorage, ly: &Layout) -> Result<(CpuStorage, Shape)> {
        let g = Geometry::new(lx.dims(), self.weights.dims(), self.how)?;
        g.check_outputs(ly.dims())?;
        let shape = self.weights.clone();
        by_precision((x, lx), (y, ly), self.name(), shape, &g, fast::weight_gradient, reference::weight_gradient)
    }

    fn bwd(
        &self,
        x: &Tensor,
        y: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let dx = if x.track_op() { Some(input_gradient(y, gradient, x.shape(), self.how)?) } else { None };
        let dy = if y.track_op() { Some(conv2d(x, gradient, self.how)?) } else { None };
        Ok((dx, dy))
    }
}

/// Runs the fast kernel on f32 and the reference on f64.
fn by_precision(
    (a, la): (&CpuStorage, &Layout),
    (b, lb): (&CpuStorage, &Layout),
    name: &str,
    shape: Shape,
    g: &Geometry,
    fast: impl Fn(InstructionSet, &Geometry, &[f32], &[f32]) -> Vec<f32>,
    reference: impl Fn(&Geometry, &[f64], &[f64]) -> Vec<f64>,
) -> Result<(CpuStorage, Shape)> {
    match a.dtype() {
        DType::F32 => {
            let (a, b) = (values::<f32>(a, la, name)?, values::<f32>(b, lb, name)?);
            Ok(stored::<f32>(fast(InstructionSet::best(), g, a, b), shape))
        }
        DType::F64 => Ok(stored::<f64>(reference(g, values::<f64>(a, la, name)?, values::<f64>(b, lb, name)?), shape)),
        other => bail!("{name}: takes f32 or f64, not {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{check_gradients, random, surrounded};
    use candle_core::DType;
    use proptest::prelude::*;

    /// The definition, in f64.
    fn by_definition(x: &Tensor, weight: &Tensor, how: Convolution) -> Vec<f64> {
        let g = Geometry::new(x.dims(), weight.dims(), how).unwrap();
        let (x, weight) = (
            x.flatten_all().unwrap().to_vec1::<f64>().unwrap(),
            weight.flatten_all().unwrap().to_vec1::<f64>().unwrap(),
        );
        let (inputs, outputs) = (g.group_inputs(), g.group_outputs());
        let mut y = Vec::new();
        for n in 0..g.n {
            for pixel in 0..g.oh * g.ow {
                for o in 0..g.o {
                    let mut sum = 0.0;
                    g.for_each_cell(pixel / g.ow, pixel % g.ow, |cell, source| {
                        for i in 0..inputs {
                            sum += x[(n * g.h * g.w + source) * g.c + o / outputs * inputs + i]
                                * weight[(o * inputs + i) * g.kh * g.kw + cell];
                        }
                    });
                    y.push(sum);
                }
            }
        }
        y
    }

    fn how() -> impl Strategy<Value = (Convolution, usize, usize)> {
        (1usize..3, 0usize..3, 1usize..4, 1usize..3, 1usize..3).prop_map(|(stride, padding, groups, i, o)| {
            (Convolution { stride, padding, groups }, i * groups, o * groups)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(30))]
        #[test]
        fn convolution_equals_its_definition_and_has_right_derivatives(
            n in 0usize..3, h in 3usize..7, w in 3usize..7, k in 1usize..4, (how, c, o) in how()
        ) {
            let (x, weight) = (random("x", (n, h, w, c)), random("w", (o, c / how.groups, k, k)));
            let y = conv2d(&x, &weight, how).unwrap();
            let right = by_definition(&x, &weight, how);
            let y32 = conv2d(&x.to_dtype(DType::F32).unwrap(), &weight.to_dtype(DType::F32).unwrap(), how).unwrap();
            let ours = y.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            let ours32 = y32.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            for ((a, b), s) in right.iter().zip(&ours).zip(&ours32) {
                prop_assert!((a - b).abs() < 1e-12 && (a - f64::from(*s)).abs() < 1e-5);
            }
            if n > 0 {
                check_gradients(&[x, weight], |v| conv2d(&v[0], &v[1], how)?.powf(3.0));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(30))]
        #[test]
        fn its_gradients_are_its_adjoints(n in 1usize..4, h in 3usize..12, w in 3usize..12, k in 1usize..4, (how, c, o) in how()) {
            // ⟨C(x, w), y⟩ = ⟨x, I(y, w)⟩ = ⟨w, W(x, y)⟩
            let (x, weight) = (random("x", (n, h, w, c)), random("w", (o, c / how.groups, k, k)));
            let y = random("y", Geometry::new(x.dims(), weight.dims(), how).unwrap().outputs());
            let product = |a: &Tensor, b: &Tensor| crate::dot(a, b).unwrap().to_dtype(DType::F64).unwrap().to_scalar::<f64>().unwrap();
            for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 1e-4)] {
                let [x, weight, y] = [&x, &weight, &y].map(|t| t.to_dtype(dtype).unwrap());
                let forward = product(&conv2d(&x, &weight, how).unwrap(), &y);
                let by_inputs = product(&x, &input_gradient(&y, &weight, x.shape(), how).unwrap());
                let by_weights = product(&weight, &weight_gradient(&x, &y, weight.shape(), how).unwrap());
                let scale = 1.0 + product(&y, &y).sqrt() * product(&x, &x).sqrt();
                prop_assert!((forward - by_inputs).abs() < tolerance * scale && (forward - by_weights).abs() < tolerance * scale);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn its_kernels_read_nothing_beside_their_operands(
            n in 1usize..4, h in 3usize..14, w in 3usize..14, k in 1usize..4, (how, c, o) in how(), wide in 1usize..18
        ) {
            let (c, o) = (c * wide, o * wide);
            let narrow = |t: Tensor| t.to_dtype(DType::F32).unwrap();
            let (x, weight) = (narrow(random("x", (n, h, w, c))), narrow(random("w", (o, c / how.groups, k, k))));
            let y = narrow(random("y", Geometry::new(x.dims(), weight.dims(), how).unwrap().outputs()));
            let run = |[x, weight, y]: [&Tensor; 3]| {
                let all = [
                    conv2d(x, weight, how).unwrap(),
                    input_gradient(y, weight, x.shape(), how).unwrap(),
                    weight_gradient(x, y, weight.shape(), how).unwrap(),
                ];
                all.map(|t| t.flatten_all().unwrap().to_vec1::<f32>().unwrap())
            };
            let alone = run([&x, &weight, &y]);
            let [x, weight, y] = [&x, &weight, &y].map(surrounded);
            prop_assert!(x.is_contiguous() && x.layout().start_offset() > 0);
            prop_assert_eq!(alone, run([&x, &weight, &y]));
        }
    }

    #[test]
    fn the_weight_gradient_has_the_same_bits_on_one_and_two_threads() {
        let how = Convolution { padding: 1, ..Default::default() };
        for (images, side, inputs, outputs) in [(37, 9, 8, 16), (40, 15, 70, 20)] {
            let x = random("x", (images, side, side, inputs)).to_dtype(DType::F32).unwrap();
            let y = random("y", (images, side, side, outputs)).to_dtype(DType::F32).unwrap();
            let run = |threads| {
                let weights = (outputs, inputs, 3, 3).into();
                let dw = crate::in_pool(threads, || weight_gradient(&x, &y, &weights, how)).unwrap().unwrap();
                dw.flatten_all().unwrap().to_vec1::<f32>().unwrap()
            };
            assert_eq!(run(1), run(2));
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_an_error_that_names_both() {
        let error = conv2d(&random("x", (1, 4, 4, 3)), &random("w", (8, 4, 3, 3)), Convolution::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains("[1, 4, 4, 3]") && error.contains("[8, 4, 3, 3]"), "{error}");
    }
}
