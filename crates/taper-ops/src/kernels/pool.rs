//! Max pooling of channels-last images, of their values or of values normalized on the way.

use super::buffer::{Unwritten, in_parts};
use super::channels::{self, RowsPerChunk, Weighted, normalize_rows};
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

vectorized! {
    /// The largest value under each window of one image and where it lies, the image's values
    /// counted from `begin` on; NaN counts as larger than any number.
    fn max_image<T: Element>(
        cells: &[Cell], begin: usize, x: &[T], mean: &[T], scale: &[T], shift: &[T], y: &mut [T], indices: &mut [u32],
    ) {
        let c = scale.len();
        let (mean, shift) = (&mean[..c], &shift[..c]);
        for &Cell { to, from, first } in cells {
            let (x, y, indices) = (&x[from..from + c], &mut y[to..to + c], &mut indices[to..to + c]);
            let index = (begin + from) as u32;
            for k in 0..c {
                let value = (x[k] - mean[k]) * scale[k] + shift[k];
                let largest = first | (value > y[k]) | value.is_not_a_number();
                y[k] = if largest { value } else { y[k] };
                indices[k] = if largest { index + k as u32 } else { indices[k] };
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
        for &Cell { to, from, .. } in cells {
            let (x, g, indices) = (&x[from..from + c], &g[to..to + c], &indices[to..to + c]);
            let index = (begin + from) as u32;
            for k in 0..c {
                let g = if indices[k] == index + k as u32 { g[k] } else { T::ZERO };
                plain[k] += g;
                centered[k] += g * (x[k] - mean[k]);
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

/// `(x − mean) · scale + G · g_scale + shift`.
pub(crate) fn mix<T: Element>(
    set: InstructionSet,
    (x, scale): Weighted<T>,
    mean: &[f64],
    (g, g_scale): Weighted<T>,
    indices: &Indices,
    shift: &[f64],
) -> Result<Vec<T>> {
    let (images, indices) = (&indices.images, indices.among(x.len())?);
    let rows = [mean, scale, g_scale, shift].map(channels::narrow::<T>);
    let [mean, scale, g_scale, shift] = &rows;
    let change = |begin: usize, y: &mut [T]| {
        let image = begin / images.inputs;
        let here = image * images.outputs..(image + 1) * images.outputs;
        add_chosen(set, &images.cells, begin, y, &g[here.clone()], &indices[here], g_scale);
    };
    let fill = |at: usize, y: Unwritten<'_, T>| normalize_rows(set, &x[at..at + y.len()], mean, scale, shift, y);
    Ok(in_parts(x.len(), images.inputs, fill, change))
}
