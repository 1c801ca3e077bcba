//! The weight gradient, the convolution's adjoint with respect to its weights: with U = Bᵀ d B and V = A y Aᵀ of
//! each tile it is Gᵀ (Σ U ⊗ V) G over all tiles, in as few multiplications as the convolution.

use super::form::{Form, Four, Two};
use super::transforms::with_lanes;
use super::{Algorithm, Tiling, transform_inputs, with_form};
use crate::kernels::buffer::{summed, written};
use crate::kernels::simd::InstructionSet;
use crate::kernels::tile::{self, Outer, Rows};
use crate::threads::for_each_part;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Inputs whose sums one thread computes at a time.
const INPUTS: usize = 64;

/// Cells that are transformed at a time: with 64 channels both sides stay in the second-level cache.
const CELLS_A_STEP: usize = 1792;

/// The approximate number of cells of a partial sum, and the most partial sums: their number, which the result's last
/// bits depend on, must not depend on the number of threads.
const CELLS_A_SUM: usize = 16_384;
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
    channels: (usize, usize),
) -> Vec<f32> {
    with_form!(tiling.algorithm, weight_gradient_by(set, tiling, source, y, channels))
}

fn weight_gradient_by<F: Form<T, M>, const T: usize, const M: usize>(
    form: F,
    set: InstructionSet,
    tiling: &Tiling,
    source: &[f32],
    y: &[f32],
    (inputs, outputs): (usize, usize),
) -> Vec<f32> {
    let cells = T * T;
    let Tiling { images, source: (h, w), output: (oh, ow), .. } = *tiling;
    assert!(source.len() == images * h * w * inputs && y.len() == images * oh * ow * outputs, "images of wrong size");
    let zeros = vec![0.0; INPUTS.max(outputs)];
    let operands = Operands { source, y, zeros: &zeros, inputs, outputs };
    let (rows, rows_a_step) = (images * tiling.down(), tiling.rows_of(CELLS_A_STEP));
    let sums = (rows * tiling.across() * cells / CELLS_A_SUM).clamp(1, SUMS);
    let blocks: Vec<Range<usize>> =
        (0..inputs).step_by(INPUTS).map(|first| first..inputs.min(first + INPUTS)).collect();
    let lengths: Vec<usize> =
        (0..sums).flat_map(|_| blocks.iter().map(|block| cells * block.len() * outputs)).collect();
    let operations = 2 * rows * tiling.across() * cells * inputs * outputs;
    // SAFETY: each part's first step writes all of it, or there is none and it is filled.
    let parts = unsafe {
        written(sums * cells * inputs * outputs, |parts| {
            for_each_part(parts, &lengths, operations, |index, part| {
                let (sum, block) = (index / blocks.len(), &blocks[index % blocks.len()]);
                let (first, end) = (sum * rows / sums, (sum + 1) * rows / sums);
                if first == end {
                    part.fill(MaybeUninit::new(0.0));
                }
                for start in (first..end).step_by(rows_a_step) {
                    let rows = start..end.min(start + rows_a_step);
                    sum_outer(form, set, tiling, operands, block.clone(), rows, part, start > first);
                }
            });
        })
    };
    transform_back(form, set, &summed(parts, cells * inputs * outputs), &blocks, (inputs, outputs))
}

/// `Σ U ⊗ V` over some tile rows, counted through all images, of some inputs: `(cells, some inputs, outputs)`.
///
/// # Safety
/// With `add`, which adds them to the existing values, there must be such values. All are written.
#[allow(clippy::too_many_arguments, reason = "what is summed, over what, and where to")]
unsafe fn sum_outer<F: Form<T, M>, const T: usize, const M: usize>(
    form: F,
    set: InstructionSet,
    tiling: &Tiling,
    operands: Operands,
    block: Range<usize>,
    rows: Range<usize>,
    sums: &mut [MaybeUninit<f32>],
    add: bool,
) {
    let Operands { source, y, zeros, inputs, outputs } = operands;
    let (tiles, width) = (rows.len() * tiling.across(), block.len());
    let u = transform_inputs(form, set, tiling, (source, zeros), inputs, block, rows.clone());
    let v = transform_gradients(form, set, tiling, (y, zeros), outputs, rows);
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
                add,
            };
            // SAFETY: the caller's promise.
            unsafe { outer.run(set, &mut sums[channel..], outputs) };
        }
    }
}

/// `A y Aᵀ` of every tile of some tile rows: `(cells, tiles, channels)`.
fn transform_gradients<F: Form<T, M>, const T: usize, const M: usize>(
    form: F,
    set: InstructionSet,
    tiling: &Tiling,
    (y, zeros): (&[f32], &[f32]),
    channels: usize,
    rows: Range<usize>,
) -> Vec<f32> {
    let ((h, w), across) = (tiling.output, tiling.across());
    let tiles = rows.len() * across;
    assert!(zeros.len() >= channels, "a row of zeros is too short");
    // SAFETY: every tile writes its cells of all channels; each address has as many values.
    unsafe {
        written(T * T * tiles * channels, |out: &mut [MaybeUninit<f32>]| {
            for (index, row) in rows.enumerate() {
                let (image, row) = (row / tiling.down(), row % tiling.down());
                let image = &y[image * h * w * channels..(image + 1) * h * w * channels];
                for column in 0..across {
                    let mut cells = [[zeros.as_ptr(); M]; M];
                    for (i, cells) in cells.iter_mut().enumerate().take(h - M * row) {
                        for (j, cell) in cells.iter_mut().enumerate().take(w - M * column) {
                            let at = ((M * row + i) * w + M * column + j) * channels;
                            *cell = image[at..][..channels].as_ptr();
                        }
                    }
                    let to = out[(index * across + column) * channels..].as_mut_ptr().cast();
                    with_lanes!(set, gradients(form, &cells, channels, to, tiles * channels));
                }
            }
        })
    }
}

/// `Gᵀ m G` of the sums, which lie block by block.
fn transform_back<F: Form<T, M>, const T: usize, const M: usize>(
    form: F,
    set: InstructionSet,
    total: &[f32],
    blocks: &[Range<usize>],
    (inputs, outputs): (usize, usize),
) -> Vec<f32> {
    let fill = |weights: &mut [MaybeUninit<f32>]| {
        for block in blocks {
            let size = block.len() * outputs;
            let sums = &total[T * T * block.start * outputs..][..T * T * size];
            let from = std::array::from_fn(|i| std::array::from_fn(|j| sums[(T * i + j) * size..][..size].as_ptr()));
            let mut to = [[std::ptr::null_mut(); 3]; 3];
            for (to, tap) in to.as_flattened_mut().iter_mut().zip(weights.chunks_exact_mut(inputs * outputs)) {
                *to = tap[block.start * outputs..][..size].as_mut_ptr().cast();
            }
            // SAFETY: each of the addresses has `size` values.
            unsafe { with_lanes!(set, weights_back(form, &from, &to, size)) };
        }
    };
    // SAFETY: the blocks cover the inputs, and each writes all of its taps.
    unsafe { written(9 * inputs * outputs, fill) }
}
