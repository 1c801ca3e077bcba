//! Two-dimensional convolution with its two gradients, each the others' derivative.
//!
//! With C the convolution, I its input gradient and W its weight gradient:
//! C(x, w) has gradients I(g, w) and W(x, g); I(y, w) has C(g, w) and W(g, y); W(x, y) has
//! I(y, g) and C(x, g). So every order of derivative is one of the three.
//!
//! The kernels gather patches (im2col) and multiply matrices with the `gemm` crate, one block of
//! images at a time.

use crate::element::{Element, by_type, float, stored, values};
use crate::threads::for_each_chunk;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

/// How a convolution moves over its input, the same in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Convolution {
    /// Cells between applications.
    pub stride: usize,
    /// Cells of zeros on each side.
    pub padding: usize,
    /// Channels are split into this many groups that don't see each other.
    pub groups: usize,
}

impl Default for Convolution {
    fn default() -> Self {
        Self { stride: 1, padding: 0, groups: 1 }
    }
}

/// Cross-correlation, as every network library calls convolution: `x (n, h, w, c)` with
/// `weight (o, c / groups, kh, kw)` gives `(n, oh, ow, o)`.
///
/// Errs, naming both shapes, when they don't fit.
pub fn conv2d(x: &Tensor, weight: &Tensor, convolution: Convolution) -> Result<Tensor> {
    float(x.dtype(), "convolution")?;
    Geometry::new(x.dims(), weight.dims(), convolution)?;
    x.contiguous()?.apply_op2(&weight.contiguous()?, Forward(convolution))
}

/// `x (n, d)` through `weight (o, d)` and `bias (o)`, torch's layout: `(n, o)`.
pub fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let ((_, d), (o, width)) = (x.dims2()?, weight.dims2()?);
    if d != width || bias.dims() != [o] {
        bail!("linear: inputs {:?} do not fit weight {:?} and bias {:?}", x.dims(), weight.dims(), bias.dims());
    }
    crate::add_per_channel(&x.matmul(&weight.t()?)?, bias)
}

/// The checked sizes of one convolution.
#[derive(Debug, Clone, Copy)]
struct Geometry {
    n: usize,
    h: usize,
    w: usize,
    c: usize,
    o: usize,
    kh: usize,
    kw: usize,
    oh: usize,
    ow: usize,
    how: Convolution,
}

impl Geometry {
    fn new(x: &[usize], weight: &[usize], how: Convolution) -> Result<Self> {
        let (&[n, h, w, c], &[o, i, kh, kw]) = (x, weight) else {
            bail!("convolution: takes inputs (n, h, w, c) and weights (o, i, kh, kw), not {x:?} and {weight:?}");
        };
        let side = |size: usize, kernel: usize| {
            (size + 2 * how.padding)
                .checked_sub(kernel)
                .filter(|_| how.stride > 0 && kernel > 0)
                .map(|free| free / how.stride + 1)
        };
        let (Some(oh), Some(ow)) = (side(h, kh), side(w, kw)) else {
            bail!("convolution: a kernel of {kh} by {kw} with {how:?} does not fit inputs {x:?}");
        };
        if how.groups == 0 || c != i * how.groups || o % how.groups != 0 || c == 0 || o == 0 {
            bail!("convolution: inputs {x:?} do not fit weights {weight:?} with {how:?}");
        }
        Ok(Self { n, h, w, c, o, kh, kw, oh, ow, how })
    }

    fn group_inputs(&self) -> usize {
        self.c / self.how.groups
    }

    fn group_outputs(&self) -> usize {
        self.o / self.how.groups
    }

    /// Length of a patch: one group's inputs under the kernel.
    fn patch(&self) -> usize {
        self.kh * self.kw * self.group_inputs()
    }

    fn operations(&self) -> usize {
        2 * self.n * self.oh * self.ow * self.o * self.patch()
    }

    /// Is a patch just a pixel, so that inputs need no gathering?
    fn pointwise(&self) -> bool {
        self.kh == 1 && self.kw == 1 && self.how.stride == 1 && self.how.padding == 0 && self.how.groups == 1
    }

    /// Visits, for output pixel `(row, column)`, each kernel cell that lies on the image:
    /// `(cell of the kernel, input pixel)`.
    fn for_each_cell(&self, row: usize, column: usize, mut f: impl FnMut(usize, usize)) {
        for a in 0..self.kh {
            let Some(i) = (row * self.how.stride + a).checked_sub(self.how.padding).filter(|&i| i < self.h) else {
                continue;
            };
            for b in 0..self.kw {
                let Some(j) = (column * self.how.stride + b).checked_sub(self.how.padding).filter(|&j| j < self.w)
                else {
                    continue;
                };
                f(a * self.kw + b, i * self.w + j);
            }
        }
    }
}

/// Weights `(o, i, kh, kw)` as one matrix a group, `(kh·kw·i, o/groups)` row-major, patches' order.
fn pack<T: Element>(weight: &[T], g: &Geometry) -> Vec<T> {
    let (inputs, outputs, cells) = (g.group_inputs(), g.group_outputs(), g.kh * g.kw);
    let mut packed = vec![T::ZERO; weight.len()];
    for o in 0..g.o {
        let (group, column) = (o / outputs, o % outputs);
        for i in 0..inputs {
            for cell in 0..cells {
                packed[(group * cells * inputs + cell * inputs + i) * outputs + column] =
                    weight[(o * inputs + i) * cells + cell];
            }
        }
    }
    packed
}

/// The inverse of [`pack`].
fn unpack<T: Element>(packed: &[T], g: &Geometry) -> Vec<T> {
    let (inputs, outputs, cells) = (g.group_inputs(), g.group_outputs(), g.kh * g.kw);
    let mut weight = vec![T::ZERO; packed.len()];
    for o in 0..g.o {
        let (group, column) = (o / outputs, o % outputs);
        for i in 0..inputs {
            for cell in 0..cells {
                weight[(o * inputs + i) * cells + cell] =
                    packed[(group * cells * inputs + cell * inputs + i) * outputs + column];
            }
        }
    }
    weight
}

/// A matrix view into a slice: rows, columns, and the distance between neighbours in each.
#[derive(Clone, Copy)]
struct View {
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl View {
    fn row_major(rows: usize, columns: usize, row_stride: usize) -> Self {
        Self { rows, columns, row_stride, column_stride: 1 }
    }

    fn transposed(self) -> Self {
        Self { rows: self.columns, columns: self.rows, row_stride: self.column_stride, column_stride: self.row_stride }
    }

    fn end(&self) -> usize {
        if self.rows == 0 || self.columns == 0 {
            return 0;
        }
        (self.rows - 1) * self.row_stride + (self.columns - 1) * self.column_stride + 1
    }
}

/// `out = a · b`, or `out += a · b`; each view is checked against its slice.
#[allow(unsafe_code)]
fn multiply<T: Element>(out: &mut [T], vo: View, a: &[T], va: View, b: &[T], vb: View, accumulate: bool) {
    assert!(va.columns == vb.rows && vo.rows == va.rows && vo.columns == vb.columns, "matrix product of wrong sizes");
    assert!(vo.end() <= out.len() && va.end() <= a.len() && vb.end() <= b.len(), "matrix view outside its slice");
    // SAFETY: the three views lie inside their slices (just checked), and `out` is borrowed
    // mutably, so it overlaps neither operand.
    unsafe {
        gemm::gemm(
            vo.rows,
            vo.columns,
            va.columns,
            out.as_mut_ptr(),
            vo.column_stride as isize,
            vo.row_stride as isize,
            accumulate,
            a.as_ptr(),
            va.column_stride as isize,
            va.row_stride as isize,
            b.as_ptr(),
            vb.column_stride as isize,
            vb.row_stride as isize,
            T::ONE,
            T::ONE,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// Fills `patches (oh·ow, patch)` from one image for one group.
fn gather<T: Element>(image: &[T], g: &Geometry, group: usize, patches: &mut [T]) {
    let inputs = g.group_inputs();
    let padded = g.how.padding > 0;
    for (pixel, patch) in patches.chunks_exact_mut(g.patch()).enumerate() {
        if padded {
            patch.fill(T::ZERO);
        }
        g.for_each_cell(pixel / g.ow, pixel % g.ow, |cell, source| {
            let from = source * g.c + group * inputs;
            patch[cell * inputs..(cell + 1) * inputs].copy_from_slice(&image[from..from + inputs]);
        });
    }
}

/// Adds `patches (oh·ow, patch)` of one group back onto one image: the adjoint of [`gather`].
fn scatter<T: Element>(patches: &[T], g: &Geometry, group: usize, image: &mut [T]) {
    let inputs = g.group_inputs();
    for (pixel, patch) in patches.chunks_exact(g.patch()).enumerate() {
        g.for_each_cell(pixel / g.ow, pixel % g.ow, |cell, target| {
            let to = target * g.c + group * inputs;
            for (sum, &value) in image[to..to + inputs].iter_mut().zip(&patch[cell * inputs..(cell + 1) * inputs]) {
                *sum += value;
            }
        });
    }
}

struct Forward(Convolution);

impl CustomOp2 for Forward {
    fn name(&self) -> &'static str {
        "convolution"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, w: &CpuStorage, lw: &Layout) -> Result<(CpuStorage, Shape)> {
        by_type!(x, "convolution", forward_kernel(x, lx, w, lw, self.0))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let dx = if x.track_op() { Some(input_gradient(gradient, weight, x.shape(), self.0)?) } else { None };
        let dw = if weight.track_op() { Some(weight_gradient(x, gradient, weight.shape(), self.0)?) } else { None };
        Ok((dx, dw))
    }
}

fn forward_kernel<T: Element>(
    x: &CpuStorage,
    lx: &Layout,
    w: &CpuStorage,
    lw: &Layout,
    how: Convolution,
) -> Result<(CpuStorage, Shape)> {
    let g = Geometry::new(lx.dims(), lw.dims(), how)?;
    let (x, weight) = (values::<T>(x, lx, "convolution")?, values::<T>(w, lw, "convolution")?);
    let packed = pack(weight, &g);
    let pixels = g.oh * g.ow;
    let mut y = vec![T::ZERO; g.n * pixels * g.o];
    for_each_chunk(&mut y, pixels * g.o, g.operations(), |index, y| {
        let image = &x[index * g.h * g.w * g.c..(index + 1) * g.h * g.w * g.c];
        if g.pointwise() {
            let (a, b) = (View::row_major(pixels, g.c, g.c), View::row_major(g.c, g.o, g.o));
            return multiply(y, View::row_major(pixels, g.o, g.o), image, a, &packed, b, false);
        }
        let mut patches = vec![T::ZERO; pixels * g.patch()];
        let (size, outputs) = (g.patch(), g.group_outputs());
        for group in 0..how.groups {
            gather(image, &g, group, &mut patches);
            let weights = &packed[group * size * outputs..(group + 1) * size * outputs];
            let (a, b) = (View::row_major(pixels, size, size), View::row_major(size, outputs, outputs));
            multiply(&mut y[group * outputs..], View::row_major(pixels, outputs, g.o), &patches, a, weights, b, false);
        }
    });
    Ok(stored::<T>(y, (g.n, g.oh, g.ow, g.o)))
}

/// ∂⟨conv2d(x, weight), y⟩/∂x for `x` of the given shape; linear in both arguments.
fn input_gradient(y: &Tensor, weight: &Tensor, inputs: &Shape, how: Convolution) -> Result<Tensor> {
    y.contiguous()?.apply_op2(&weight.contiguous()?, InputGradient { inputs: inputs.clone(), how })
}

struct InputGradient {
    inputs: Shape,
    how: Convolution,
}

impl CustomOp2 for InputGradient {
    fn name(&self) -> &'static str {
        "convolution-input-gradient"
    }

    fn cpu_fwd(&self, y: &CpuStorage, ly: &Layout, w: &CpuStorage, lw: &Layout) -> Result<(CpuStorage, Shape)> {
        by_type!(y, self.name(), input_gradient_kernel(y, ly, w, lw, self))
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

fn input_gradient_kernel<T: Element>(
    y: &CpuStorage,
    ly: &Layout,
    w: &CpuStorage,
    lw: &Layout,
    op: &InputGradient,
) -> Result<(CpuStorage, Shape)> {
    let g = Geometry::new(op.inputs.dims(), lw.dims(), op.how)?;
    let (y, weight) = (values::<T>(y, ly, op.name())?, values::<T>(w, lw, op.name())?);
    let packed = pack(weight, &g);
    let pixels = g.oh * g.ow;
    let mut x = vec![T::ZERO; g.n * g.h * g.w * g.c];
    for_each_chunk(&mut x, g.h * g.w * g.c, g.operations(), |index, x| {
        let y = &y[index * pixels * g.o..(index + 1) * pixels * g.o];
        if g.pointwise() {
            let (a, b) = (View::row_major(pixels, g.o, g.o), View::row_major(g.c, g.o, g.o).transposed());
            return multiply(x, View::row_major(pixels, g.c, g.c), y, a, &packed, b, false);
        }
        let mut patches = vec![T::ZERO; pixels * g.patch()];
        let (size, outputs) = (g.patch(), g.group_outputs());
        for group in 0..op.how.groups {
            let weights = &packed[group * size * outputs..(group + 1) * size * outputs];
            let (a, b) = (View::row_major(pixels, outputs, g.o), View::row_major(size, outputs, outputs).transposed());
            multiply(&mut patches, View::row_major(pixels, size, size), &y[group * outputs..], a, weights, b, false);
            scatter(&patches, &g, group, x);
        }
    });
    Ok(stored::<T>(x, op.inputs.clone()))
}

/// ∂⟨conv2d(x, weight), y⟩/∂weight for weights of the given shape; linear in both arguments.
fn weight_gradient(x: &Tensor, y: &Tensor, weights: &Shape, how: Convolution) -> Result<Tensor> {
    x.contiguous()?.apply_op2(&y.contiguous()?, WeightGradient { weights: weights.clone(), how })
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
        by_type!(x, self.name(), weight_gradient_kernel(x, lx, y, ly, self))
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

/// Images whose contributions one partial sum holds: fixed, so that sums have the same order on
/// any number of threads.
const IMAGES_A_SUM: usize = 8;

fn weight_gradient_kernel<T: Element>(
    x: &CpuStorage,
    lx: &Layout,
    y: &CpuStorage,
    ly: &Layout,
    op: &WeightGradient,
) -> Result<(CpuStorage, Shape)> {
    let g = Geometry::new(lx.dims(), op.weights.dims(), op.how)?;
    let (x, y) = (values::<T>(x, lx, op.name())?, values::<T>(y, ly, op.name())?);
    let pixels = g.oh * g.ow;
    let length = op.weights.elem_count();
    let mut sums = vec![T::ZERO; length * g.n.div_ceil(IMAGES_A_SUM).max(1)];
    for_each_chunk(&mut sums, length, g.operations(), |part, sum| {
        let mut patches = if g.pointwise() { Vec::new() } else { vec![T::ZERO; pixels * g.patch()] };
        let (size, outputs) = (g.patch(), g.group_outputs());
        for index in part * IMAGES_A_SUM..g.n.min((part + 1) * IMAGES_A_SUM) {
            let image = &x[index * g.h * g.w * g.c..(index + 1) * g.h * g.w * g.c];
            let y = &y[index * pixels * g.o..(index + 1) * pixels * g.o];
            for group in 0..op.how.groups {
                let rows: &[T] = if g.pointwise() {
                    image
                } else {
                    gather(image, &g, group, &mut patches);
                    &patches
                };
                let (a, b) = (View::row_major(pixels, size, size).transposed(), View::row_major(pixels, outputs, g.o));
                let out = &mut sum[group * size * outputs..(group + 1) * size * outputs];
                multiply(out, View::row_major(size, outputs, outputs), rows, a, &y[group * outputs..], b, true);
            }
        }
    });
    let (total, rest) = sums.split_at_mut(length);
    for part in rest.chunks_exact(length) {
        for (total, &part) in total.iter_mut().zip(part) {
            *total += part;
        }
    }
    Ok(stored::<T>(unpack(total, &g), op.weights.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{check_gradients, random};
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

    #[test]
    fn the_weight_gradient_has_the_same_bits_on_one_and_two_threads() {
        let x = random("x", (37, 9, 9, 8)).to_dtype(DType::F32).unwrap();
        let y = random("y", (37, 9, 9, 16)).to_dtype(DType::F32).unwrap();
        let how = Convolution { padding: 1, ..Default::default() };
        let run = |threads| {
            let dw = crate::in_pool(threads, || weight_gradient(&x, &y, &(16, 8, 3, 3).into(), how)).unwrap().unwrap();
            dw.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        assert_eq!(run(1), run(2));
    }

    #[test]
    fn shapes_that_do_not_fit_are_an_error_that_names_both() {
        let error = conv2d(&random("x", (1, 4, 4, 3)), &random("w", (8, 4, 3, 3)), Convolution::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains("[1, 4, 4, 3]") && error.contains("[8, 4, 3, 3]"), "{error}");
    }
}
