//! The weight gradient, the convolution's adjoint by its weights: with U = Bᵀ d B and V = A y Aᵀ of
//! each tile it is Gᵀ (Σ U ⊗ V) G over all tiles, in as few multiplications as the convolution.

use super::transforms::{CELLS, with_lanes};
use super::{Tiling, transform_inputs};
use crate::kernels::buffer::written;
use crate::kernels::simd::InstructionSet;
use crate::kernels::tile::{self, Outer, Rows};
use crate::threads::for_each_part;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Inputs whose sums one thread makes at a time.
const INPUTS: usize = 64;

/// Tiles that are transformed at a time: with 64 channels both sides stay in the second cache.
const TILES: usize = 112;

/// Tiles of a partial sum, about, and the most partial sums: their number, which the result's last
/// bits depend on, must not depend on the number of threads.
const TILES_A_SUM: usize = 1024;
const SUMS: usize = 8;

/// What the sums are made of.
#[derive(Clone, Copy)]
struct Operands<'a> {
    /// `(images, h, w, inputs)`.
    source: &'a [f32],
    /// `(images, oh, ow, outputs)`.
    y: &'a [f32],
    zeros: &'a [f32],
    inputs: usize,
    outputs: usize,
}

/// `(9 taps, inputs, outputs)`, for `source (images, h, w, inputs)` and `y (images, oh, ow, outputs)`.
pub(crate) fn weight_gradient(
    set: InstructionSet,
    tiling: &Tiling,
    source: &[f32],
    y: &[f32],
    (inputs, outputs): (usize, usize),
) -> Vec<f32> {
    let Tiling { images, source: (h, w), output: (oh, ow), .. } = *tiling;
    assert!(source.len() == images * h * w * inputs && y.len() == images * oh * ow * outputs, "images of wrong size");
    let zeros = vec![0.0; INPUTS.max(outputs)];
    let operands = Operands { source, y, zeros: &zeros, inputs, outputs };
    let (rows, rows_a_step) = (images * tiling.down(), (TILES / tiling.across().max(1)).max(1));
    let sums = (rows * tiling.across() / TILES_A_SUM).clamp(1, SUMS);
    let blocks: Vec<Range<usize>> =
        (0..inputs).step_by(INPUTS).map(|first| first..inputs.min(first + INPUTS)).collect();
    let lengths: Vec<usize> =
        (0..sums).flat_map(|_| blocks.iter().map(|block| CELLS * block.len() * outputs)).collect();
    let operations = 2 * rows * tiling.across() * CELLS * inputs * outputs;
    let mut parts = vec![0.0; sums * CELLS * inputs * outputs];
    for_each_part(&mut parts, &lengths, operations, |index, part| {
        let (sum, block) = (index / blocks.len(), &blocks[index % blocks.len()]);
        let (first, end) = (sum * rows / sums, (sum + 1) * rows / sums);
        for start in (first..end).step_by(rows_a_step) {
            add(set, tiling, operands, block.clone(), start..end.min(start + rows_a_step), part);
        }
    });
    let (total, others) = parts.split_at_mut(CELLS * inputs * outputs);
    for other in others.chunks_exact(total.len()) {
        for (total, &part) in total.iter_mut().zip(other) {
            *total += part;
        }
    }
    transform_back(set, total, &blocks, (inputs, outputs))
}

/// Adds `Σ U ⊗ V` over some tile rows, counted through all images, of some inputs: `(16, some inputs, outputs)`.
fn add(
    set: InstructionSet,
    tiling: &Tiling,
    operands: Operands,
    block: Range<usize>,
    rows: Range<usize>,
    sums: &mut [f32],
) {
    let Operands { source, y, zeros, inputs, outputs } = operands;
    let (tiles, width) = (rows.len() * tiling.across(), block.len());
    let u = transform_inputs(set, tiling, (source, zeros), inputs, block, rows.clone());
    let v = transform_gradients(set, tiling, (y, zeros), outputs, rows);
    for (cell, sums) in sums.chunks_exact_mut(width * outputs).enumerate() {
        let values = &u[cell * tiles * width..(cell + 1) * tiles * width];
        for channel in (0..outputs).step_by(tile::block(set)) {
            let outer = Outer {
                rows: &Rows::Strided { values, stride: width, width },
                inputs: 0..width,
                gradient: &v[cell * tiles * outputs + channel..],
                gradient_stride: outputs,
                pixels: tiles,
                channels: tile::block(set).min(outputs - channel),
            };
            outer.run(set, &mut sums[channel..], outputs);
        }
    }
}

/// `A y Aᵀ` of every tile of some tile rows: `(16, tiles, channels)`.
fn transform_gradients(
    set: InstructionSet,
    tiling: &Tiling,
    (y, zeros): (&[f32], &[f32]),
    channels: usize,
    rows: Range<usize>,
) -> Vec<f32> {
    let ((h, w), across) = (tiling.output, tiling.across());
    let tiles = rows.len() * across;
    assert!(zeros.len() >= channels, "a row of zeros is too short");
    // SAFETY: every tile writes its 16 cells of all channels; each address has as many values.
    unsafe {
        written(CELLS * tiles * channels, |out: &mut [MaybeUninit<f32>]| {
            for (index, row) in rows.enumerate() {
                let (image, row) = (row / tiling.down(), row % tiling.down());
                let image = &y[image * h * w * channels..(image + 1) * h * w * channels];
                for column in 0..across {
                    let mut cells = [zeros.as_ptr(); 4];
                    for (cell, address) in cells.iter_mut().enumerate() {
                        let (i, j) = (2 * row + cell / 2, 2 * column + cell % 2);
                        if i < h && j < w {
                            *address = image[(i * w + j) * channels..][..channels].as_ptr();
                        }
                    }
                    let to = out[(index * across + column) * channels..].as_mut_ptr().cast();
                    with_lanes!(set, gradients(&cells, channels, to, tiles * channels));
                }
            }
        })
    }
}

/// `Gᵀ m G` of the sums, which lie block by block.
fn transform_back(
    set: InstructionSet,
    total: &[f32],
    blocks: &[Range<usize>],
    (inputs, outputs): (usize, usize),
) -> Vec<f32> {
    let fill = |weights: &mut [MaybeUninit<f32>]| {
        for block in blocks {
            let size = block.len() * outputs;
            let mut from = [std::ptr::null(); CELLS];
            for (from, cell) in from.iter_mut().zip(total[CELLS * block.start * outputs..].chunks_exact(size)) {
                *from = cell.as_ptr();
            }
            let mut to = [std::ptr::null_mut(); 9];
            for (to, tap) in to.iter_mut().zip(weights.chunks_exact_mut(inputs * outputs)) {
                *to = tap[block.start * outputs..][..size].as_mut_ptr().cast();
            }
            assert!(from.iter().all(|from| !from.is_null()), "sums of wrong size");
            // SAFETY: each of the 25 addresses has `size` values.
            unsafe { with_lanes!(set, weights_back(&from, &to, size)) };
        }
    };
    // SAFETY: the blocks cover the inputs, and each writes all of its taps.
    unsafe { written(9 * inputs * outputs, fill) }
}
