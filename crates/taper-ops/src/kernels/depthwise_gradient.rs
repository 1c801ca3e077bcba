//! Weight gradients of depthwise convolutions with small square kernels: for one vector of channels, the sums of all taps
//! stay in registers while an image passes by.

#![allow(unsafe_code)]

use super::depthwise_panels::{Images, copy_channels};
use super::lanes::Lanes;
use super::simd::{InstructionSet, over_lanes};
use super::tile;
use crate::threads::for_each_chunk;

/// Whether there are registers for the sums of a kernel.
pub(crate) fn fits(kernel: usize) -> bool {
    matches!(kernel, 3 | 5)
}

/// Weight gradient `(taps, c)` for images `x` of `c` channels and gradients `g (images, rows, columns, c)`.
pub(crate) fn weight_gradient(
    set: InstructionSet,
    images: Images,
    (kernel, stride, c): (usize, usize, usize),
    x: &[f32],
    g: &[f32],
) -> Vec<f32> {
    let Images { count, rows, columns } = images;
    let (size, outputs) = (rows.source * columns.source * c, rows.output * columns.output * c);
    assert!(fits(kernel) && stride > 0 && c > 0, "a kernel that does not fit");
    assert!(x.len() == count * size && g.len() == count * outputs, "images or gradients of wrong size");
    let taps = kernel * kernel;
    // one sum for each image, added in their order
    let mut parts = vec![0.0; count * taps * c];
    if outputs > 0 {
        let lanes = tile::padded(set, 1);
        let height = (rows.before + rows.source).max((rows.output - 1) * stride + kernel);
        let width = (columns.before + columns.source).max((columns.output - 1) * stride + kernel);
        for_each_chunk(&mut parts, taps * c, 2 * g.len() * taps, |image, sums| {
            let (x, g) = (&x[image * size..(image + 1) * size], &g[image * outputs..(image + 1) * outputs]);
            // zeros around the image are never written
            let mut padded = vec![0.0; height * width * lanes];
            for first in (0..c).step_by(lanes) {
                let row = (columns.source, columns.before, width);
                let inside = rows.before * width * lanes..(rows.before + rows.source) * width * lanes;
                copy_channels(set, x, (first, c), &mut padded[inside], row);
                let sizes = Sizes { kernel, stride, width, rows: rows.output, pixels: columns.output, first, c };
                add_products(set, &padded, g, sizes, sums);
            }
        });
    }
    let mut total = vec![0.0; taps * c];
    for part in parts.chunks_exact(taps * c) {
        total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
    }
    total
}

/// The sizes of one image's sums.
#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    kernel: usize,
    stride: usize,
    /// Cells of a padded row.
    width: usize,
    /// Output rows, and pixels in each.
    rows: usize,
    pixels: usize,
    /// The first channel of the vector, among `c`.
    first: usize,
    c: usize,
}

over_lanes! {
    /// Writes the sums of one vector of channels: Σ over output pixels of the padded image's pixel under each tap times the
    /// gradient.
    fn add_products<L>(padded: &[f32], g: &[f32], sizes: Sizes, sums: &mut [f32]) {
        let Sizes { kernel, stride, width, rows, pixels, first, c } = sizes;
        assert!(rows > 0 && pixels > 0 && first < c, "nothing to sum");
        assert!(g.len() == rows * pixels * c && sums.len() == kernel * kernel * c, "gradients or sums of wrong size");
        assert!((pixels - 1) * stride + kernel <= width, "a row that is too short");
        assert!(((rows - 1) * stride + kernel) * width * L::WIDTH <= padded.len(), "too few rows");
        // SAFETY: the sizes were checked; the caller has the instructions.
        unsafe {
            match (kernel, L::WIDTH) {
                (3, _) => taps::<L, 3, 3>(padded, g, sizes, sums),
                // 25 sums need more registers than other vectors have
                (5, 16) => taps::<L, 5, 5>(padded, g, sizes, sums),
                _ => taps::<L, 5, 1>(padded, g, sizes, sums),
            }
        }
    }
}

/// The sums of a kernel of `K` by `K`, `R` rows of it at a time.
///
/// # Safety
/// As `add_products` has checked.
#[inline(always)]
unsafe fn taps<L: Lanes, const K: usize, const R: usize>(padded: &[f32], g: &[f32], sizes: Sizes, sums: &mut [f32]) {
    let Sizes { stride, width, rows, pixels, first, c, .. } = sizes;
    let count = L::WIDTH.min(c - first);
    for i in (0..K).step_by(R) {
        // SAFETY: the caller's promise.
        unsafe {
            let mut all = [[L::splat(0.0); K]; R];
            for row in 0..rows {
                let from = padded.as_ptr().add((row * stride + i) * width * L::WIDTH);
                let g = g.as_ptr().add(row * pixels * c + first);
                for pixel in 0..pixels {
                    let g = g.add(pixel * c);
                    let g = if count == L::WIDTH { L::load(g) } else { L::load_first(g, count) };
                    for (i, sums) in all.iter_mut().enumerate() {
                        let from = from.add((i * width + pixel * stride) * L::WIDTH);
                        for (j, sum) in sums.iter_mut().enumerate() {
                            *sum = sum.plus_product(L::load(from.add(j * L::WIDTH)), g);
                        }
                    }
                }
            }
            for (row, row_sums) in all.iter().enumerate() {
                for (j, sum) in row_sums.iter().enumerate() {
                    sum.store_first(sums.as_mut_ptr().add(((i + row) * K + j) * c + first), count);
                }
            }
        }
    }
}
