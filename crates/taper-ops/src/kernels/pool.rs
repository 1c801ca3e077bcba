//! Max pooling of channels-last images, of their values or of values normalized on the way.

#![allow(unsafe_code)]

use super::buffer::written;
use super::channels::{self, Weighted};
use super::simd::{InstructionSet, vectorized};
use crate::element::Element;
use crate::pooling::Window;
use crate::threads::for_each_chunk;
use candle_core::{Result, bail};

/// The index of a window in which nothing won: all its values were rectified.
pub(crate) const NOTHING: u32 = u32::MAX;

/// For each output cell of some images, the index of the input cell that won, or [`NOTHING`].
#[derive(Debug)]
pub(crate) struct Winners {
    indices: Vec<u32>,
    /// Values of those images: every index is below.
    inputs: usize,
    images: Images,
}

impl Winners {
    /// The indices, for images of that many values.
    ///
    /// Errs when they are those of other images.
    pub(crate) fn among(&self, inputs: usize) -> Result<&[u32]> {
        if inputs != self.inputs {
            bail!("max pooling: a choice among {} values does not fit {inputs}", self.inputs);
        }
        Ok(&self.indices)
    }
}

/// Values are `(x − mean) · scale + shift` by channel, then rectified.
#[derive(Clone, Copy)]
pub(crate) struct Centerd<'a, T> {
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
    /// Is it the window's first?
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
        let mut cells = Vec::with_capacity(oh * ow * window.kernel * window.kernel);
        let mut windows = vec![0];
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
    /// counted from `begin` on; NaN wins.
    fn max_image<T: Element>(
        cells: &[Cell], begin: usize, x: &[T], mean: &[T], scale: &[T], shift: &[T], y: &mut [T], winners: &mut [u32],
    ) {
        let c = scale.len();
        let (mean, shift) = (&mean[..c], &shift[..c]);
        for &Cell { to, from, first } in cells {
            let (x, y, winners) = (&x[from..from + c], &mut y[to..to + c], &mut winners[to..to + c]);
            let index = (begin + from) as u32;
            for k in 0..c {
                let value = (x[k] - mean[k]) * scale[k] + shift[k];
                let wins = first | (value > y[k]) | value.is_no_number();
                y[k] = if wins { value } else { y[k] };
                winners[k] = if wins { index + k as u32 } else { winners[k] };
            }
        }
    }

    /// Zeros for what is not positive, which then has not won.
    fn rectify<T: Element>(y: &mut [T], winners: &mut [u32]) {
        for (y, winner) in y.iter_mut().zip(winners) {
            let nothing = *y <= T::ZERO;
            *y = if nothing { T::ZERO } else { *y };
            *winner = if nothing { NOTHING } else { *winner };
        }
    }

    /// Adds Σ G and Σ G · (x − mean) by channel to `sums`, one after the other, over some windows
    /// of one image, its values counted from `begin` on.
    fn sum_won<T: Element>(
        cells: &[Cell], begin: usize, x: &[T], mean: &[T], g: &[T], winners: &[u32], sums: &mut [T],
    ) {
        let c = mean.len();
        let (plain, centerd) = sums.split_at_mut(c);
        let centerd = &mut centerd[..c];
        for &Cell { to, from, .. } in cells {
            let (x, g, winners) = (&x[from..from + c], &g[to..to + c], &winners[to..to + c]);
            let index = (begin + from) as u32;
            for k in 0..c {
                let g = if winners[k] == index + k as u32 { g[k] } else { T::ZERO };
                plain[k] += g;
                centerd[k] += g * (x[k] - mean[k]);
            }
        }
    }

    /// `y += G · scale` for one image, its values counted from `begin` on.
    fn add_won<T: Element>(cells: &[Cell], begin: usize, y: &mut [T], g: &[T], winners: &[u32], scale: &[T]) {
        let c = scale.len();
        for &Cell { to: from, from: to, .. } in cells {
            let (g, winners, y) = (&g[from..from + c], &winners[from..from + c], &mut y[to..to + c]);
            let index = (begin + to) as u32;
            for k in 0..c {
                y[k] += if winners[k] == index + k as u32 { g[k] * scale[k] } else { T::ZERO };
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
    centerd: Option<Centerd<T>>,
) -> Result<(Vec<T>, Winners)> {
    if u32::try_from(x.len()).is_err() {
        bail!("max pooling: a batch of {sizes:?} is too large, split it");
    }
    let images = Images::new(sizes, window)?;
    let (mean, scale, shift) = match &centerd {
        Some(Centerd { mean, scale, shift }) => (channels::narrow(mean), channels::narrow(scale), shift.to_vec()),
        None => (vec![T::ZERO; sizes.3], vec![T::of(1.0); sizes.3], vec![T::ZERO; sizes.3]),
    };
    let (mut y, mut winners) = (vec![T::ZERO; sizes.0 * images.outputs], vec![0; sizes.0 * images.outputs]);
    let size = images.outputs.max(1);
    let mut parts: Vec<_> = y.chunks_exact_mut(size).zip(winners.chunks_exact_mut(size)).collect();
    for_each_chunk(&mut parts, 1, x.len() * 8, |image, part| {
        let begin = image * images.inputs;
        let (y, winners) = &mut part[0];
        max_image(set, &images.cells, begin, &x[begin..begin + images.inputs], &mean, &scale, &shift, y, winners);
        if centerd.is_some() {
            rectify(set, y, winners);
        }
    });
    Ok((y, Winners { indices: winners, inputs: x.len(), images }))
}

/// Σ G and Σ G · (x − mean) by channel, where G is `g` at the winners.
pub(crate) fn moments<T: Element>(
    set: InstructionSet,
    x: &[T],
    mean: &[f64],
    g: &[T],
    winners: &Winners,
) -> Result<Vec<f64>> {
    let (c, images, winners) = (mean.len(), &winners.images, winners.among(x.len())?);
    let mean = channels::narrow::<T>(mean);
    let windows = images.outputs / c;
    Ok(channels::sum_chunks(g.len() / c, c, 2 * c, |rows, sums| {
        let mut first = rows.start;
        while first < rows.end {
            let (image, end) = (first / windows, rows.end.min((first / windows + 1) * windows));
            let cells = &images.cells[images.windows[first % windows]..images.windows[(end - 1) % windows + 1]];
            let begin = image * images.inputs;
            let here = image * images.outputs..(image + 1) * images.outputs;
            let x = &x[begin..begin + images.inputs];
            sum_won(set, cells, begin, x, &mean, &g[here.clone()], &winners[here], sums);
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
    winners: &Winners,
    shift: &[f64],
) -> Result<Vec<T>> {
    let (images, winners) = (&winners.images, winners.among(x.len())?);
    let rows = [mean, scale, g_scale, shift].map(channels::narrow::<T>);
    let [mean, scale, g_scale, shift] = &rows;
    // SAFETY: the images cover the result, and the first of the two loops writes all of an image.
    Ok(unsafe {
        written(x.len(), |y| {
            for_each_chunk(y, images.inputs, x.len() * 8, |image, y| {
                let begin = image * images.inputs;
                let here = image * images.outputs..(image + 1) * images.outputs;
                channels::normalize_rows(set, &x[begin..begin + y.len()], mean, scale, shift, y);
                // SAFETY: just written.
                let y = &mut *(std::ptr::from_mut(y) as *mut [T]);
                add_won(set, &images.cells, begin, y, &g[here.clone()], &winners[here], g_scale);
            });
        })
    })
}
