//! Soft matching of places inside a window, in one pass and without storing the comparisons: as
//! tensors, those of a 20-way task would take tens of megabytes, and each would be filled, added to and read
//! several times.

use crate::composed;
use crate::element::{Element, by_type, elements, stored, values};
use crate::kernels::product::{Matrix, product};
use crate::tape::Apply;
use crate::threads::for_each_chunk;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

/// For images i of `one (m, side², d)` and j of `other (n, side², d)`, and each place p: the
/// logarithm of Σₖ exp(⟨one\[i, p\], other\[j, p + k\]⟩ + `window`\[k\]) over the places p + k of a
/// square window around p, whose weights `window` lists row by row. Places outside of the image are
/// 0. The result is `(side², m, n)`.
///
/// The largest term is factored out of the sum first, so nothing overflows. On the CPU there are only first
/// derivatives; requesting a second one is an error.
///
/// # Errors
/// Returns an error if the shapes do not fit, or if the window's side is even.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// // one image against another of one place: log exp(2 · 3 + 0.5)
/// let one = Tensor::new(&[[[2f32]]], &Device::Cpu)?;
/// let other = Tensor::new(&[[[3f32]]], &Device::Cpu)?;
/// let window = Tensor::new(&[0.5f32], &Device::Cpu)?;
/// let y = taper_ops::window_match(&one, &other, &window, 1)?;
/// assert_eq!(y.to_vec3::<f32>()?, [[[6.5]]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn window_match(one: &Tensor, other: &Tensor, window: &Tensor, side: usize) -> Result<Tensor> {
    let ((_, places, d), (_, other_places, other_d)) = (one.dims3()?, other.dims3()?);
    let span = window.elem_count().isqrt();
    let square = span * span == window.elem_count() && span % 2 == 1;
    if !square || side.checked_mul(side) != Some(places) || other_places != places || other_d != d || places == 0 {
        bail!(
            "window match: {:?} and {:?} are not features of {side} by {side} places and equal width, or {:?} is not \
             a window of odd side",
            one.dims(),
            other.dims(),
            window.dims()
        );
    }
    elements("window match", &[places, one.dim(0)?, other.dim(0)?])?;
    if composed::needed(one) {
        return composed::window_match(one, other, window, side, span);
    }
    let how = Geometry { side, span };
    one.contiguous()?.apply3(&other.contiguous()?, &window.contiguous()?, Forward(how))
}

/// Places per side of the image and of the window.
#[derive(Debug, Clone, Copy)]
struct Geometry {
    side: usize,
    span: usize,
}

impl Geometry {
    fn places(self) -> usize {
        self.side * self.side
    }

    /// The places of the window around a place; `None` for those outside of the image.
    fn around(self, place: usize) -> impl Iterator<Item = Option<usize>> {
        let (row, column, reach) = (place / self.side, place % self.side, self.span / 2);
        let inside = move |at: usize, off: usize| (at + off).checked_sub(reach).filter(|&at| at < self.side);
        (0..self.span * self.span)
            .map(move |cell| Some(inside(row, cell / self.span)? * self.side + inside(column, cell % self.span)?))
    }
}

/// The values that one operation compares.
struct Operands<'a, T> {
    one: &'a [T],
    other: &'a [T],
    window: &'a [T],
    how: Geometry,
    m: usize,
    n: usize,
    d: usize,
}

impl<'a, T: Soft> Operands<'a, T> {
    fn new(tensors: [(&'a CpuStorage, &'a Layout); 3], how: Geometry) -> Result<Self> {
        let [one, other, window] = tensors;
        let (m, _, d) = one.1.shape().dims3()?;
        Ok(Self {
            one: values(one.0, one.1, "window match")?,
            other: values(other.0, other.1, "window match")?,
            window: values(window.0, window.1, "window match")?,
            how,
            m,
            n: other.1.dims()[0],
            d,
        })
    }

    /// Rows that a place is compared with: for each image of the other set, the window's cells.
    fn rows(&self) -> usize {
        self.n * self.window.len()
    }

    /// The places around a place, `(n · cells, d)`.
    fn gather(&self, place: usize, around: &mut [T]) {
        let (places, d) = (self.how.places(), self.d);
        if d == 0 {
            return;
        }
        for (image, rows) in around.chunks_exact_mut(self.window.len() * d).enumerate() {
            for (row, from) in rows.chunks_exact_mut(d).zip(self.how.around(place)) {
                match from {
                    Some(from) => row.copy_from_slice(&self.other[(image * places + from) * d..][..d]),
                    None => row.fill(T::ZERO),
                }
            }
        }
    }

    /// Every comparison of a place, `(m, n · cells)`: exp of its difference from the largest of its
    /// window, which is written to `largest (m, n)`.
    fn compare(&self, place: usize, around: &[T], alike: &mut [T], largest: &mut [T]) {
        let mine = Matrix::new(&self.one[place * self.d..], self.how.places() * self.d);
        let theirs = Matrix::new(around, self.d).transposed();
        product(alike, self.rows(), [self.m, self.rows(), self.d], mine, theirs, false);
        for (cells, largest) in alike.chunks_exact_mut(self.window.len()).zip(largest) {
            *largest = T::of(f64::NEG_INFINITY);
            for (alike, &weight) in cells.iter_mut().zip(self.window) {
                *alike += weight;
                *largest = if *alike > *largest { *alike } else { *largest };
            }
            cells.iter_mut().for_each(|alike| *alike = alike.minus(*largest));
        }
        T::exponentials(alike);
    }
}

struct Forward(Geometry);

impl CustomOp3 for Forward {
    fn name(&self) -> &'static str {
        "window-match"
    }

    fn cpu_fwd(
        &self,
        one: &CpuStorage,
        one_layout: &Layout,
        other: &CpuStorage,
        other_layout: &Layout,
        window: &CpuStorage,
        window_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let tensors = [(one, one_layout), (other, other_layout), (window, window_layout)];
        by_type!(one, "window match", forward(tensors, self.0))
    }

    fn bwd(
        &self,
        one: &Tensor,
        other: &Tensor,
        window: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let backward = Backward { how: self.0, gradient: gradient.contiguous()?.detach() };
        let packed = one.contiguous()?.apply3(&other.contiguous()?, &window.contiguous()?, backward)?;
        let mut start = 0;
        let mut part = |like: &Tensor| {
            let part = packed.narrow(0, start, like.elem_count())?.reshape(like.shape())?;
            start += like.elem_count();
            Ok::<_, candle_core::Error>(Some(part))
        };
        Ok((part(one)?, part(other)?, part(window)?))
    }
}

fn forward<T: Soft>(tensors: [(&CpuStorage, &Layout); 3], how: Geometry) -> Result<(CpuStorage, Shape)> {
    let operands = Operands::<T>::new(tensors, how)?;
    let (m, n, d) = (operands.m, operands.n, operands.d);
    let mut out = vec![T::ZERO; how.places() * m * n];
    let operations = 2 * how.places() * m * operands.rows() * d;
    for_each_chunk(&mut out, m * n, operations, |place, best| {
        let (mut around, mut alike) = (vec![T::ZERO; operands.rows() * d], vec![T::ZERO; m * operands.rows()]);
        operands.gather(place, &mut around);
        operands.compare(place, &around, &mut alike, best);
        for (best, cells) in best.iter_mut().zip(alike.chunks_exact(operands.window.len())) {
            *best += total(cells).logarithm();
        }
    });
    Ok(stored::<T>(out, (how.places(), m, n)))
}

/// The three gradients in one vector.
struct Backward {
    how: Geometry,
    gradient: Tensor,
}

impl CustomOp3 for Backward {
    fn name(&self) -> &'static str {
        "window-match-backward"
    }

    fn cpu_fwd(
        &self,
        one: &CpuStorage,
        one_layout: &Layout,
        other: &CpuStorage,
        other_layout: &Layout,
        window: &CpuStorage,
        window_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let tensors = [(one, one_layout), (other, other_layout), (window, window_layout)];
        by_type!(one, "window match", backward(tensors, self.how, &self.gradient))
    }
}

fn backward<T: Soft>(
    tensors: [(&CpuStorage, &Layout); 3],
    how: Geometry,
    gradient: &Tensor,
) -> Result<(CpuStorage, Shape)> {
    let operands = Operands::<T>::new(tensors, how)?;
    let (m, d, rows, cells) = (operands.m, operands.d, operands.rows(), operands.window.len());
    let gradient = gradient.flatten_all()?.to_vec1::<T>()?;
    let (first, second) = (operands.one.len(), operands.other.len());
    let mut packed = vec![T::ZERO; first + second + cells];
    let (of_one, rest) = packed.split_at_mut(first);
    let (of_other, of_window) = rest.split_at_mut(second);
    let (mut around, mut alike) = (vec![T::ZERO; rows * d], vec![T::ZERO; m * rows]);
    let (mut of_around, mut largest) = (vec![T::ZERO; rows * d], vec![T::ZERO; m * operands.n]);
    for (place, gradient) in gradient.chunks_exact((m * operands.n).max(1)).enumerate() {
        operands.gather(place, &mut around);
        operands.compare(place, &around, &mut alike, &mut largest);
        // ∂/∂comparison: its share of the sum, times the incoming gradient
        for (alike, &gradient) in alike.chunks_exact_mut(cells).zip(gradient) {
            let scale = gradient.over(total(alike));
            for (alike, sum) in alike.iter_mut().zip(of_window.iter_mut()) {
                let share = *alike * scale;
                *alike = share;
                *sum += share;
            }
        }
        if d == 0 {
            continue;
        }
        let (shares, theirs) = (Matrix::new(&alike, rows), Matrix::new(&around, d));
        product(&mut of_one[place * d..], how.places() * d, [m, d, rows], shares, theirs, false);
        let mine = Matrix::new(&operands.one[place * d..], how.places() * d);
        product(&mut of_around, d, [rows, d, m], shares.transposed(), mine, false);
        for (image, rows) in of_around.chunks_exact(cells * d).enumerate() {
            for (row, to) in rows.chunks_exact(d).zip(how.around(place)) {
                let Some(to) = to else { continue };
                let sums = &mut of_other[(image * how.places() + to) * d..][..d];
                sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += value);
            }
        }
    }
    let length = packed.len();
    Ok(stored::<T>(packed, length))
}

fn total<T: Soft>(values: &[T]) -> T {
    values.iter().fold(T::ZERO, |mut sum, &value| {
        sum += value;
        sum
    })
}

/// Exponentials and logarithms of an element.
trait Soft: Element {
    fn exponentials(values: &mut [Self]);
    fn logarithm(self) -> Self;
    fn over(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
}

impl Soft for f64 {
    fn exponentials(values: &mut [Self]) {
        values.iter_mut().for_each(|value| *value = value.exp());
    }

    fn logarithm(self) -> Self {
        self.ln()
    }

    fn over(self, other: Self) -> Self {
        self / other
    }

    fn minus(self, other: Self) -> Self {
        self - other
    }
}

impl Soft for f32 {
    fn exponentials(values: &mut [Self]) {
        values.iter_mut().for_each(|value| *value = exponential(*value));
    }

    fn logarithm(self) -> Self {
        self.ln()
    }

    fn over(self, other: Self) -> Self {
        self / other
    }

    fn minus(self, other: Self) -> Self {
        self - other
    }
}

/// eˣ within 2⁻²² of its value, made of operations that vectorize: 2ⁿ by its bits, times a
/// polynomial of the rest. x is clamped to ±87.
fn exponential(x: f32) -> f32 {
    /// 1.5 · 2²³: added, it leaves x rounded to a whole number in the lowest bits.
    const ROUNDING: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 87.0);
    let rounded = x * std::f32::consts::LOG2_E + ROUNDING;
    let n = rounded - ROUNDING;
    // ln 2 in two parts, so that the rest is exact
    let rest = (x - n * 0.693_359_4) + n * 2.121_944_4e-4;
    let series = [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];
    let sum = series.into_iter().fold(0.0f32, |sum, term| sum * rest + term);
    sum * f32::from_bits((rounded.to_bits() << 23).wrapping_add(127 << 23))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::random;
    use candle_core::{DType, Var};

    fn inputs() -> [Tensor; 3] {
        [random("one", (2, 9, 4)), random("other", (3, 9, 4)), random("window", 25)]
    }

    /// The same by definition.
    fn slowly(one: &Tensor, other: &Tensor, window: &Tensor, side: usize) -> Vec<f64> {
        let (one, other) = (one.to_vec3::<f64>().unwrap(), other.to_vec3::<f64>().unwrap());
        let window = window.to_vec1::<f64>().unwrap();
        let mut out = Vec::new();
        for place in 0..side * side {
            for a in &one {
                for b in &other {
                    let mut sum = 0.0;
                    for (cell, weight) in window.iter().enumerate() {
                        let at = |along: usize, off: usize| (along + off).checked_sub(2).filter(|&at| at < side);
                        let from = at(place / side, cell / 5).zip(at(place % side, cell % 5));
                        let alike = from.map_or(0.0, |(row, column)| {
                            a[place].iter().zip(&b[row * side + column]).map(|(a, b)| a * b).sum()
                        });
                        sum += (alike + weight).exp();
                    }
                    out.push(sum.ln());
                }
            }
        }
        out
    }

    #[test]
    fn it_is_what_its_definition_says_in_both_precisions() {
        let [one, other, window] = inputs();
        let right = slowly(&one, &other, &window, 3);
        let exact = window_match(&one, &other, &window, 3).unwrap();
        assert_eq!(exact.dims(), [9, 2, 3]);
        crate::test_support::near(&exact.flatten_all().unwrap().to_vec1::<f64>().unwrap(), &right, 1e-12);
        let single = [&one, &other, &window].map(|tensor| tensor.to_dtype(DType::F32).unwrap());
        let single = window_match(&single[0], &single[1], &single[2], 3).unwrap();
        crate::test_support::near(&single.flatten_all().unwrap().to_vec1::<f32>().unwrap(), &right, 1e-5);
    }

    #[test]
    fn its_gradients_equal_finite_differences_and_a_second_derivative_is_an_error() {
        let loss = |tensors: &[Tensor]| {
            let y = window_match(&tensors[0], &tensors[1], &tensors[2], 3)?;
            y.mul(&random("covector", y.shape().clone()))?.sum_all()
        };
        let inputs = inputs();
        let vars: Vec<Var> = inputs.iter().map(|input| Var::from_tensor(input).unwrap()).collect();
        let tensors: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
        let gradients = loss(&tensors).unwrap().backward().unwrap();
        for (place, var) in vars.iter().enumerate() {
            let direction = random("direction", var.shape().clone());
            let at = |h: f64| {
                let mut moved = inputs.to_vec();
                moved[place] = (&moved[place] + (&direction * h).unwrap()).unwrap();
                loss(&moved).unwrap().to_scalar::<f64>().unwrap()
            };
            let numeric = (at(1e-6) - at(-1e-6)) / 2e-6;
            let gradient = gradients.get(var).unwrap();
            let exact = gradient.mul(&direction).unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap();
            assert!((exact - numeric).abs() < 1e-7 * (1.0 + numeric.abs()), "{exact} for {numeric}");
            assert!(gradient.sum_all().unwrap().backward().is_err());
        }
    }

    #[test]
    fn exponentials_are_right_over_their_range() {
        for k in -8700..=8700 {
            let x = k as f32 / 100.0;
            assert!((f64::from(exponential(x)) / f64::from(x).exp() - 1.0).abs() < 1e-6, "{x}");
        }
    }

    #[test]
    fn large_products_neither_overflow_nor_lose_their_gradients() {
        for scale in [12.0, 100.0, 3000.0] {
            let [one, other, window] = inputs();
            let one = (one * scale).unwrap();
            let run = |dtype: DType| {
                let vars = [&one, &other, &window].map(|t| Var::from_tensor(&t.to_dtype(dtype).unwrap()).unwrap());
                let y = window_match(&vars[0], &vars[1], &vars[2], 3).unwrap();
                let gradients = y.sum_all().unwrap().backward().unwrap();
                let list =
                    |t: &Tensor| t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
                std::iter::once(list(&y))
                    .chain(vars.iter().map(|v| list(gradients.get(v).unwrap())))
                    .collect::<Vec<_>>()
            };
            let composed = crate::composed::without_kernels(|| run(DType::F64));
            for (dtype, tolerance) in [(DType::F32, 3e-4), (DType::F64, 1e-11)] {
                for (ours, right) in run(dtype).iter().zip(&composed) {
                    crate::test_support::near(ours, right, tolerance);
                }
            }
        }
    }

    #[test]
    fn empty_sizes_give_empty_results_or_the_windows_own_sum() {
        for (m, n, d) in [(0, 2, 3), (2, 0, 3), (0, 0, 0), (2, 3, 0)] {
            let make = |name, shape: (usize, usize, usize)| Var::from_tensor(&random(name, shape)).unwrap();
            let (one, other) = (make("one", (m, 4, d)), make("other", (n, 4, d)));
            let window = Var::from_tensor(&random("window", 9)).unwrap();
            let run = || {
                let y = window_match(&one, &other, &window, 2).unwrap();
                assert_eq!(y.dims(), [4, m, n]);
                y.flatten_all().unwrap().to_vec1::<f64>().unwrap()
            };
            crate::test_support::near(&run(), &crate::composed::without_kernels(run), 1e-12);
            let y = window_match(&one, &other, &window, 2).unwrap();
            let gradients = y.sum_all().unwrap().backward().unwrap();
            assert_eq!(gradients.get(&window).unwrap().dims(), [9]);
            let sum = gradients.get(&window).unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap();
            assert!((sum - (4 * m * n) as f64).abs() < 1e-9, "{sum}");
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_named() {
        let [one, other, _] = inputs();
        let error = window_match(&one, &other, &random("window", 16), 3).unwrap_err().to_string();
        assert!(error.contains("[16]"), "{error}");
    }
}
