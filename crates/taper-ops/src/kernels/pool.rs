//! Max pooling of channels-last images, of their values or of values normalized on the way.

use super::buffer::{Unwritten, in_parts};
use super::channels::{self, RowsPerChunk, Weighted, mix_two_rows, normalize_rows};
use super::simd::{InstructionSet, vectorized};
use crate::element::Element;
use crate::pooling::Window;
use crate::threads::for_each_chunk;
use candle_core::{Result, bail};

/// The index of a window without a positive value, after ReLU.
pub(crate) const NOTHING: u32 = u32::MAX;

/// For each output cell of some images, the index of the largest input cell, or [`NOTHING`].
#[derive(Debug)]
pub(crate) struct Indices {
    indices: Vec<u32>,
    /// Values of those images: every index is below.
    inputs: usize,
    images: Images,
}

impl Indices {
    /// The indices, for images of that many values.
    ///
    /// Fails if they belong to other images.
    pub(crate) fn among(&self, inputs: usize) -> Result<&[u32]> {
        if inputs != self.inputs {
            bail!("max pooling: indices into {} values do not fit {inputs}", self.inputs);
        }
        Ok(&self.indices)
    }
}

/// Values are `(x − mean) · scale + shift` by channel, then rectified.
#[derive(Clone, Copy)]
pub(crate) struct Centered<'a, T> {
    pub(crate) mean: &'a [f64],
    pub(crate) scale: &'a [f64],
    pub(crate) shift: &'a [T],
}

/// A cell under a window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell {
    /// Offset of the window's pixel in the output of an image.
    to: usize,
    /// Offset of the cell in the image.
    from: usize,
    /// Whether it is the first of its window.
    first: bool,
}

/// Images of one size and their windows.
#[derive(Debug)]
struct Images {
    /// Values of an image, and of its output.
    inputs: usize,
    outputs: usize,
    cells: Vec<Cell>,
    /// Where each window's cells begin, and where the last one's end.
    windows: Vec<usize>,
}

impl Images {
    fn new((_, h, w, c): (usize, usize, usize, usize), window: Window) -> Result<Self> {
        let (oh, ow) = window.output(h, w, "max pooling")?;
        let (mut cells, mut windows) = (Vec::new(), Vec::with_capacity(oh * ow + 1));
        windows.push(0);
        for row in 0..oh {
            for column in 0..ow {
                let (rows, columns) = window.cells(row, column, h, w);
                let begin = (rows.start, columns.start);
                for i in rows {
                    for j in columns.clone() {
                        let to = (row * ow + column) * c;
                        cells.push(Cell { to, from: (i * w + j) * c, first: (i, j) == begin });
                    }
                }
                windows.push(cells.len());
            }
        }
        Ok(Self { inputs: h * w * c, outputs: oh * ow * c, cells, windows })
    }
}

/// The cells of windows one after the other, window by window.
#[inline(always)]
fn by_window(cells: &[Cell]) -> impl Iterator<Item = &[Cell]> {
    cells.chunk_by(|_, next| !next.first)
}

/// The four cells of a window in one pass, the most frequent case: their rows of `c` values, and their indices
/// without the channel.
#[inline(always)]
fn four<'a, T>(window: &[Cell], begin: usize, x: &'a [T], c: usize) -> Option<([&'a [T]; 4], [u32; 4])> {
    let &[p, q, r, s] = window else { return None };
    let row = |cell: Cell| &x[cell.from..cell.from + c];
    let index = |cell: Cell| (begin + cell.from) as u32;
    Some(([row(p), row(q), row(r), row(s)], [index(p), index(q), index(r), index(s)]))
}

vectorized! {
    /// The largest value under each window of one image and where it lies, the image's values
    /// counted from `begin` on; NaN counts as larger than any number.
    fn max_image<T: Element>(
        cells: &[Cell], begin: usize, x: &[T], mean: &[T], scale: &[T], shift: &[T], y: &mut [T], indices: &mut [u32],
    ) {
        let c = scale.len();
        let (mean, shift) = (&mean[..c], &shift[..c]);
        for window in by_window(cells) {
            let to = window[0].to;
            let (y, indices) = (&mut y[to..to + c], &mut indices[to..to + c]);
            if let Some((rows, at)) = four(window, begin, x, c) {
                for k in 0..c {
                    let (mut largest, mut place) = ((rows[0][k] - mean[k]) * scale[k] + shift[k], at[0]);
                    for cell in 1..4 {
                        let value = (rows[cell][k] - mean[k]) * scale[k] + shift[k];
                        let larger = (value > largest) | value.is_not_a_number();
                        largest = if larger { value } else { largest };
                        place = if larger { at[cell] } else { place };
                    }
                    y[k] = largest;
                    indices[k] = place + k as u32;
                }
                continue;
            }
            for &Cell { from, first, .. } in window {
                let (x, index) = (&x[from..from + c], (begin + from) as u32);
                for k in 0..c {
                    let value = (x[k] - mean[k]) * scale[k] + shift[k];
                    let largest = first | (value > y[k]) | value.is_not_a_number();
                    y[k] = if largest { value } else { y[k] };
                    indices[k] = if largest { index + k as u32 } else { indices[k] };
                }
            }
        }
    }

    /// Zeros for what is not positive, whose index becomes [`NOTHING`].
    fn rectify<T: Element>(y: &mut [T], indices: &mut [u32]) {
        for (y, index) in y.iter_mut().zip(indices) {
            let nothing = *y <= T::ZERO;
            *y = if nothing { T::ZERO } else { *y };
            *index = if nothing { NOTHING } else { *index };
        }
    }

    /// Adds Σ G and Σ G · (x − mean) by channel to `sums`, one after the other, over some windows
    /// of one image, its values counted from `begin` on.
    fn sum_chosen<T: Element>(
        cells: &[Cell], begin: usize, x: &[T], mean: &[T], g: &[T], indices: &[u32], sums: &mut [T],
    ) {
        let c = mean.len();
        let (plain, centered) = sums.split_at_mut(c);
        let centered = &mut centered[..c];
        for window in by_window(cells) {
            let to = window[0].to;
            let (g, indices) = (&g[to..to + c], &indices[to..to + c]);
            if let Some((rows, at)) = four(window, begin, x, c) {
                for k in 0..c {
                    let (mut sum, mut product) = (T::ZERO, T::ZERO);
                    for cell in 0..4 {
                        let g = if indices[k] == at[cell] + k as u32 { g[k] } else { T::ZERO };
                        sum += g;
                        product += g * (rows[cell][k] - mean[k]);
                    }
                    plain[k] += sum;
                    centered[k] += product;
                }
                continue;
            }
            for &Cell { from, .. } in window {
                let (x, index) = (&x[from..from + c], (begin + from) as u32);
                for k in 0..c {
                    let g = if indices[k] == index + k as u32 { g[k] } else { T::ZERO };
                    plain[k] += g;
                    centered[k] += g * (x[k] - mean[k]);
                }
            }
        }
    }

    /// `(x − mean) · scale + shift` at the largest cells of one image, its values counted from `begin` on.
    fn take_normalized<T: Element>(
        cells: &[Cell], begin: usize, x: &[T], mean: &[T], scale: &[T], shift: &[T], indices: &[u32], y: &mut [T],
    ) {
        let c = scale.len();
        let (mean, shift) = (&mean[..c], &shift[..c]);
        for &Cell { to, from, .. } in cells {
            let (x, y, indices) = (&x[from..from + c], &mut y[to..to + c], &indices[to..to + c]);
            let index = (begin + from) as u32;
            for k in 0..c {
                let value = (x[k] - mean[k]) * scale[k] + shift[k];
                y[k] = if indices[k] == index + k as u32 { value } else { y[k] };
            }
        }
    }

    /// `(x − mean) · scale + v · v_scale + shift` at the largest cells of one image.
    fn take_mixed<T: Element>(
        cells: &[Cell], begin: usize, x: &[T], mean: &[T], scale: &[T], v: &[T], v_scale: &[T], shift: &[T],
        indices: &[u32], y: &mut [T],
    ) {
        let c = scale.len();
        let (mean, v_scale, shift) = (&mean[..c], &v_scale[..c], &shift[..c]);
        for &Cell { to, from, .. } in cells {
            let (x, v) = (&x[from..from + c], &v[from..from + c]);
            let (y, indices) = (&mut y[to..to + c], &indices[to..to + c]);
            let index = (begin + from) as u32;
            for k in 0..c {
                let value = (x[k] - mean[k]) * scale[k] + v[k] * v_scale[k] + shift[k];
                y[k] = if indices[k] == index + k as u32 { value } else { y[k] };
            }
        }
    }

    /// `y += G · scale` for one image, its values counted from `begin` on.
    fn add_chosen<T: Element>(cells: &[Cell], begin: usize, y: &mut [T], g: &[T], indices: &[u32], scale: &[T]) {
        let c = scale.len();
        for &Cell { to: from, from: to, .. } in cells {
            let (g, indices, y) = (&g[from..from + c], &indices[from..from + c], &mut y[to..to + c]);
            let index = (begin + to) as u32;
            for k in 0..c {
                y[k] += if indices[k] == index + k as u32 { g[k] * scale[k] } else { T::ZERO };
            }
        }
    }
}

/// The largest value under each window of `x (n, h, w, c)`, and its index in `x`.
pub(crate) fn max<T: Element>(
    set: InstructionSet,
    x: &[T],
    sizes: (usize, usize, usize, usize),
    window: Window,
    centered: Option<Centered<T>>,
) -> Result<(Vec<T>, Indices)> {
    if u32::try_from(x.len()).is_err() {
        bail!("max pooling: a batch of {sizes:?} is too large: split it");
    }
    let images = Images::new(sizes, window)?;
    let (mean, scale, shift) = match &centered {
        Some(Centered { mean, scale, shift }) => (channels::narrow(mean), channels::narrow(scale), shift.to_vec()),
        None => (vec![T::ZERO; sizes.3], vec![T::of(1.0); sizes.3], vec![T::ZERO; sizes.3]),
    };
    let (mut y, mut indices) = (vec![T::ZERO; sizes.0 * images.outputs], vec![0; sizes.0 * images.outputs]);
    let size = images.outputs.max(1);
    let mut parts: Vec<_> = y.chunks_exact_mut(size).zip(indices.chunks_exact_mut(size)).collect();
    for_each_chunk(&mut parts, 1, x.len() * 8, |image, part| {
        let begin = image * images.inputs;
        let (y, indices) = &mut part[0];
        max_image(set, &images.cells, begin, &x[begin..begin + images.inputs], &mean, &scale, &shift, y, indices);
        if centered.is_some() {
            rectify(set, y, indices);
        }
    });
    Ok((y, Indices { indices, inputs: x.len(), images }))
}

/// Σ G and Σ G · (x − mean) by channel, where G is `g` at the largest cells.
pub(crate) fn moments<T: Element>(
    set: InstructionSet,
    x: &[T],
    mean: &[f64],
    g: &[T],
    indices: &Indices,
) -> Result<Vec<f64>> {
    let (c, images, indices) = (mean.len(), &indices.images, indices.among(x.len())?);
    let mean = channels::narrow::<T>(mean);
    let windows = images.outputs / c;
    Ok(channels::sum_chunks(g.len() / c, c, 2 * c, RowsPerChunk::ByChannels, |rows, sums| {
        let mut first = rows.start;
        while first < rows.end {
            let (image, end) = (first / windows, rows.end.min((first / windows + 1) * windows));
            let cells = &images.cells[images.windows[first % windows]..images.windows[(end - 1) % windows + 1]];
            let begin = image * images.inputs;
            let here = image * images.outputs..(image + 1) * images.outputs;
            let x = &x[begin..begin + images.inputs];
            sum_chosen(set, cells, begin, x, &mean, &g[here.clone()], &indices[here], sums);
            first = end;
        }
    }))
}

/// Adds `G · scale` to the values from `begin` on, which are those of one image.
fn add_chosen_to<T: Element>(
    set: InstructionSet,
    begin: usize,
    y: &mut [T],
    (images, indices): (&Images, &[u32]),
    g: &[T],
    scale: &[T],
) {
    let image = begin / images.inputs;
    let here = image * images.outputs..(image + 1) * images.outputs;
    add_chosen(set, &images.cells, begin, y, &g[here.clone()], &indices[here], scale);
}

/// `(x − mean) · scale + G · g_scale + shift`.
pub(crate) fn mix<T: Element>(
    set: InstructionSet,
    (x, scale): Weighted<T>,
    mean: &[f64],
    (g, g_scale): Weighted<T>,
    indices: &Indices,
    shift: &[f64],
) -> Result<Vec<T>> {
    let chosen = (&indices.images, indices.among(x.len())?);
    let rows = [mean, scale, g_scale, shift].map(channels::narrow::<T>);
    let [mean, scale, g_scale, shift] = &rows;
    let change = |begin: usize, y: &mut [T]| add_chosen_to(set, begin, y, chosen, g, g_scale);
    let fill = |at: usize, y: Unwritten<'_, T>| normalize_rows(set, &x[at..at + y.len()], mean, scale, shift, y);
    Ok(in_parts(x.len(), chosen.0.inputs, fill, change))
}

/// `(x − mean) · scale + G · g_scale + v · v_scale + shift`.
pub(crate) fn mix_three<T: Element>(
    set: InstructionSet,
    (x, scale): Weighted<T>,
    mean: &[f64],
    (g, g_scale): Weighted<T>,
    (v, v_scale): Weighted<T>,
    indices: &Indices,
    shift: &[f64],
) -> Result<Vec<T>> {
    let chosen = (&indices.images, indices.among(x.len())?);
    let rows = [mean, scale, g_scale, v_scale, shift].map(channels::narrow::<T>);
    let [mean, scale, g_scale, v_scale, shift] = &rows;
    let change = |begin: usize, y: &mut [T]| add_chosen_to(set, begin, y, chosen, g, g_scale);
    let fill = |at: usize, y: Unwritten<'_, T>| {
        let here = at..at + y.len();
        mix_two_rows(set, &x[here.clone()], mean, scale, &v[here], v_scale, shift, y)
    };
    Ok(in_parts(x.len(), chosen.0.inputs, fill, change))
}

/// A value for each window of all images, zeros where nothing was chosen; `take` gets the cells, the place of an
/// image, its indices and its output.
fn taken<T: Element>(indices: &Indices, take: impl Fn(&[Cell], usize, &[u32], &mut [T]) + Sync + Send) -> Vec<T> {
    let images = &indices.images;
    let mut y = vec![T::ZERO; indices.indices.len()];
    for_each_chunk(&mut y, images.outputs, indices.inputs * 4, |image, y| {
        let own = &indices.indices[image * images.outputs..(image + 1) * images.outputs];
        take(&images.cells, image * images.inputs, own, y);
    });
    y
}

/// `(x − mean) · scale + shift` at the largest cells.
pub(crate) fn normalize_chosen<T: Element>(
    set: InstructionSet,
    (x, scale): Weighted<T>,
    mean: &[f64],
    indices: &Indices,
    shift: &[T],
) -> Result<Vec<T>> {
    let inputs = indices.images.inputs;
    indices.among(x.len())?;
    let [mean, scale] = [mean, scale].map(channels::narrow::<T>);
    Ok(taken(indices, |cells, begin, own, y| {
        take_normalized(set, cells, begin, &x[begin..begin + inputs], &mean, &scale, shift, own, y);
    }))
}

/// `(x − mean) · scale + v · v_scale + shift` at the largest cells.
pub(crate) fn mix_chosen<T: Element>(
    set: InstructionSet,
    (x, scale): Weighted<T>,
    mean: &[f64],
    (v, v_scale): Weighted<T>,
    indices: &Indices,
    shift: &[f64],
) -> Result<Vec<T>> {
    let inputs = indices.images.inputs;
    indices.among(x.len())?;
    let rows = [mean, scale, v_scale, shift].map(channels::narrow::<T>);
    let [mean, scale, v_scale, shift] = &rows;
    Ok(taken(indices, |cells, begin, own, y| {
        let (x, v) = (&x[begin..begin + inputs], &v[begin..begin + inputs]);
        take_mixed(set, cells, begin, x, mean, scale, v, v_scale, shift, own, y);
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{near, near_sums, numbers};
    use proptest::prelude::*;

    fn wide(values: &[f32]) -> Vec<f64> {
        values.iter().map(|&value| f64::from(value)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn every_instruction_set_agrees_with_sums_over_all_cells_in_f64(
            n in 1usize..4, h in 3usize..9, w in 3usize..9, c in 1usize..70, kernel in 1usize..4, stride in 1usize..4
        ) {
            let window = Window { kernel, stride, padding: kernel / 2 };
            let (x, v) = (numbers("x", n * h * w * c), numbers("v", n * h * w * c));
            let [mean, scale, other, shift] = ["mean", "scale", "other", "shift"].map(|name| wide(&numbers(name, c)));
            let portable = InstructionSet::Portable;
            let narrow_shift = channels::narrow::<f32>(&shift);
            let centered = Centered { mean: &mean, scale: &scale, shift: &narrow_shift };
            let (y, indices) = max(portable, &x, (n, h, w, c), window, Some(centered)).unwrap();
            let g = numbers("g", y.len());

            // G over all cells, and each formula there in f64
            let (wx, wv, wg) = (wide(&x), wide(&v), wide(&g));
            let mut spread = vec![0.0; x.len()];
            for (&index, g) in indices.among(x.len()).unwrap().iter().zip(&wg) {
                if index != NOTHING {
                    spread[index as usize] += g;
                }
            }
            let at = |i: usize| ((wx[i] - mean[i % c]) * scale[i % c], wv[i] * other[i % c], shift[i % c]);
            let chosen = |value: &dyn Fn(usize) -> f64| -> Vec<f64> {
                let value = |&index: &u32| if index == NOTHING { 0.0 } else { value(index as usize) };
                indices.among(x.len()).unwrap().iter().map(value).collect()
            };
            let normalized = chosen(&|i| at(i).0 + at(i).2);
            let mixed = chosen(&|i| at(i).0 + at(i).1 + at(i).2);
            let mixed_all: Vec<f64> =
                (0..x.len()).map(|i| at(i).0 + spread[i] * shift[i % c] + at(i).1 + at(i).2).collect();
            let mut sums = vec![0.0; 2 * c];
            for (i, g) in spread.iter().enumerate() {
                sums[i % c] += g;
                sums[c + i % c] += g * (wx[i] - mean[i % c]);
            }
            near(&y, &normalized, 1e-5);
            for set in InstructionSet::here() {
                let (same, again) = max(set, &x, (n, h, w, c), window, Some(centered)).unwrap();
                near(&same, &normalized, 1e-5);
                prop_assert_eq!(same.len(), again.among(x.len()).unwrap().len());
                let ours = normalize_chosen(set, (&x, &scale), &mean, &indices, &narrow_shift).unwrap();
                near(&ours, &normalized, 1e-5);
                let ours = mix_chosen(set, (&x, &scale), &mean, (&v, &other), &indices, &shift).unwrap();
                near(&ours, &mixed, 1e-5);
                let ours = mix_three(set, (&x, &scale), &mean, (&g, &shift), (&v, &other), &indices, &shift).unwrap();
                near(&ours, &mixed_all, 1e-5);
                let ours = moments(set, &x, &mean, &g, &indices).unwrap();
                near_sums(&ours, &sums, &vec![g.len() as f64 / c as f64 / 4.0; 2 * c], 2e-6);
            }
        }
    }

    #[test]
    fn indices_into_other_images_are_an_error() {
        let x = [1.0f32, 4.0, 2.0, 3.0];
        let (_, indices) = max(InstructionSet::Portable, &x, (1, 2, 2, 1), Window::tiled(2), None).unwrap();
        let (other, one) = ([1.0f32; 9], [1.0]);
        for set in InstructionSet::here() {
            assert!(normalize_chosen(set, (&other, &one), &one, &indices, &[0.0]).is_err());
            assert!(mix_chosen(set, (&other, &one), &one, (&other, &one), &indices, &one).is_err());
            assert!(mix_three(set, (&other, &one), &one, (&x[..1], &one), (&other, &one), &indices, &one).is_err());
        }
    }
}
