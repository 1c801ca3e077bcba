//! Convolution by 3x3 kernels with stride 1 in fewer multiplications: Winograd's algorithms as
//! Lavin and Gray 2016 (arXiv:1509.09308, section 4) write them, Y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A.
//! A tile of 2x2 outputs takes 16 products per channel where the direct sum takes 36; one of 4x4
//! takes 36 instead of 144.

#![allow(unsafe_code)]

mod form;
mod gradient;
mod tiling;
mod transforms;

pub(crate) use gradient::weight_gradient;
pub(crate) use tiling::{Algorithm, Tiling};

use super::buffer::written;
use super::pack::Packed;
use super::simd::InstructionSet;
use super::tile::{Finish, Offsets, Product, Rows};
use crate::threads::{for_each_part, may_split, threads};
use form::{Form, Four, Two};
use std::mem::MaybeUninit;
use std::ops::Range;
use transforms::{Ending, Places, with_lanes};

/// Cells that one thread transforms at a time: with 64 channels both sides stay in the second-level cache.
const CELLS_A_PART: usize = 896;

/// Cells that one thread transforms at a time if there are more than [`NARROW`] transformed weights: each weight is then
/// read less often.
const WIDE_CELLS_A_PART: usize = 4 * CELLS_A_PART;

/// The most transformed weights that stay in the nearer caches, about.
const NARROW: usize = 1 << 20;

/// `$function(form, …)`, with the algorithm as a type.
macro_rules! with_form {
    ($algorithm:expr, $function:ident($($argument:expr),*)) => {
        match $algorithm {
            Algorithm::Two => $function(Two, $($argument),*),
            Algorithm::Four => $function(Four, $($argument),*),
        }
    };
}
use with_form;

/// `G g Gᵀ` of packed 3x3 weights: a group of one tap for each cell of a tile. `flipped` rotates
/// each kernel by 180°.
pub(crate) fn transform_weights(algorithm: Algorithm, packed: &Packed, flipped: bool) -> Packed {
    with_form!(algorithm, transformed_weights(packed, flipped))
}

fn transformed_weights<F: Form<T, M>, const T: usize, const M: usize>(
    form: F,
    packed: &Packed,
    flipped: bool,
) -> Packed {
    let transform = |panel: &[f32], size: usize, mut to: Vec<&mut [MaybeUninit<f32>]>| {
        let from = std::array::from_fn(|i| {
            std::array::from_fn(|j| {
                let tap = if flipped { 8 - (3 * i + j) } else { 3 * i + j };
                panel[tap * size..(tap + 1) * size].as_ptr()
            })
        });
        let mut cells = [[std::ptr::null_mut(); T]; T];
        assert!(to.len() == T * T, "a transformed panel of wrong size");
        for (cell, to) in cells.as_flattened_mut().iter_mut().zip(&mut to) {
            assert!(to.len() == size, "a transformed panel of wrong size");
            *cell = to.as_mut_ptr().cast();
        }
        // SAFETY: each of the slices holds `size` values.
        unsafe { with_lanes!(packed.set, weights(form, &from, &cells, size)) };
    };
    // SAFETY: the transform writes `size` values to each of the cells.
    unsafe { packed.with_taps_as_groups(T * T, transform) }
}

/// The convolution of `source (images, h, w, inputs)`; `weights` are transformed.
pub(crate) fn run(tiling: &Tiling, source: &[f32], weights: &Packed, finish: Finish) -> Vec<f32> {
    let (inputs, outputs) = (weights.inputs, weights.outputs);
    let pixels = tiling.images * tiling.source.0 * tiling.source.1;
    assert!(source.len() == pixels * inputs, "images of wrong size");
    assert!(weights.groups == tiling.algorithm.cells() && weights.taps == 1, "weights that are not transformed");
    let (rows, row) = (tiling.images * tiling.down(), tiling.output.1 * outputs);
    let wide = weights.groups * inputs * outputs > NARROW;
    let cells = if wide { WIDE_CELLS_A_PART } else { CELLS_A_PART };
    // the same number of parts for each thread
    let threads = if may_split() { threads() } else { 1 };
    let parts = rows.div_ceil(tiling.rows_of(cells)).next_multiple_of(threads).min(rows);
    let part = |index: usize| rows * index / parts..rows * (index + 1) / parts;
    let length = |rows: Range<usize>| (tiling.rows_before(rows.end) - tiling.rows_before(rows.start)) * row;
    let lengths: Vec<usize> = (0..parts).map(|index| length(part(index))).collect();
    let operations = 2 * rows * tiling.across() * weights.groups * inputs * outputs;
    let zeros = vec![0.0; inputs];
    // SAFETY: each part writes both rows and both columns of all its tiles, where they exist.
    unsafe {
        written(tiling.images * tiling.output.0 * row, |y| {
            for_each_part(y, &lengths, operations, |index, y| {
                with_form!(tiling.algorithm, one_part(tiling, (source, &zeros), weights, finish, part(index), y));
            });
        })
    }
}

/// Computes the tile rows `rows`, counted through all images.
fn one_part<F: Form<T, M>, const T: usize, const M: usize>(
    form: F,
    tiling: &Tiling,
    (source, zeros): (&[f32], &[f32]),
    weights: &Packed,
    finish: Finish,
    rows: Range<usize>,
    y: &mut [MaybeUninit<f32>],
) {
    let (inputs, outputs, set) = (weights.inputs, weights.outputs, weights.set);
    let tiles = rows.len() * tiling.across();
    let transformed = transform_inputs(form, set, tiling, (source, zeros), inputs, 0..inputs, rows.clone());
    let offsets: Offsets = (0..tiles).map(|tile| tile * outputs).collect();
    // SAFETY: the panels of each cell write every channel of every tile.
    let products = unsafe {
        written(T * T * tiles * outputs, |products| {
            for (cell, products) in products.chunks_exact_mut(tiles * outputs).enumerate() {
                let values = &transformed[cell * tiles * inputs..(cell + 1) * tiles * inputs];
                for panel in weights.panels(cell) {
                    let first_channel = panel.channels.start;
                    let product = Product {
                        rows: &Rows::Strided { values, stride: inputs, width: inputs },
                        inputs: 0..inputs,
                        taps: &[0],
                        panel: panel.values,
                        panel_inputs: inputs,
                        columns: panel.columns,
                        offsets: &offsets,
                        channels: panel.channels.len(),
                        add: false,
                        finish: None,
                        first_channel,
                    };
                    product.run(set, &mut products[first_channel..], 0);
                }
            }
        })
    };
    transform_outputs(form, set, tiling, (&products, outputs), finish, rows, y);
}

/// `Bᵀ d B` of some channels of every tile of some tile rows: `(cells, tiles, some channels)`.
fn transform_inputs<F: Form<T, M>, const T: usize, const M: usize>(
    form: F,
    set: InstructionSet,
    tiling: &Tiling,
    (source, zeros): (&[f32], &[f32]),
    channels: usize,
    some: Range<usize>,
    rows: Range<usize>,
) -> Vec<f32> {
    let ((h, w), across) = (tiling.source, tiling.across());
    let (tiles, width) = (rows.len() * across, some.len());
    assert!(zeros.len() >= width, "a row of zeros is too short");
    // SAFETY: every tile writes its cells of those channels.
    unsafe {
        written(T * T * tiles * width, |out: &mut [MaybeUninit<f32>]| {
            for (index, row) in rows.enumerate() {
                let (image, row) = (row / tiling.down(), row % tiling.down());
                let image = &source[image * h * w * channels..(image + 1) * h * w * channels];
                let lines: [Option<&[f32]>; T] = std::array::from_fn(|i| {
                    let i = (M * row + i).checked_sub(tiling.padding).filter(|&i| i < h)?;
                    Some(&image[i * w * channels..(i + 1) * w * channels])
                });
                for column in 0..across {
                    let mut cells = [[zeros.as_ptr(); T]; T];
                    let left = (M * column).checked_sub(tiling.padding).filter(|left| left + T <= w);
                    for (cells, line) in cells.iter_mut().zip(lines) {
                        let Some(line) = line else { continue };
                        if let Some(left) = left {
                            // all pixels are on the line: one check for them
                            let pixels = &line[left * channels..(left + T) * channels];
                            for (cell, pixel) in cells.iter_mut().zip(pixels.chunks_exact(channels)) {
                                *cell = pixel[some.clone()].as_ptr();
                            }
                            continue;
                        }
                        for (j, cell) in cells.iter_mut().enumerate() {
                            if let Some(j) = (M * column + j).checked_sub(tiling.padding).filter(|&j| j < w) {
                                *cell = line[j * channels..][some.clone()].as_ptr();
                            }
                        }
                    }
                    let to = out[(index * across + column) * width..].as_mut_ptr().cast();
                    with_lanes!(set, inputs(form, &cells, width, to, tiles * width));
                }
            }
        })
    }
}

/// `Aᵀ m A` of every tile of some tile rows, to the rows of `y`.
fn transform_outputs<F: Form<T, M>, const T: usize, const M: usize>(
    form: F,
    set: InstructionSet,
    tiling: &Tiling,
    (products, channels): (&[f32], usize),
    finish: Finish,
    rows: Range<usize>,
    y: &mut [MaybeUninit<f32>],
) {
    let ((h, w), across) = (tiling.output, tiling.across());
    let tiles = rows.len() * across;
    let begin = tiling.rows_before(rows.start);
    assert!(products.len() == T * T * tiles * channels, "products of wrong size");
    let bias = finish.bias.map_or(std::ptr::null(), |bias| bias[..channels].as_ptr());
    let ending = Ending { bias, activation: finish.activation };
    let residual = finish.residual.map(|residual| &residual[begin * w * channels..][..y.len()]);
    // one borrow for all addresses: another one of `y` would invalidate the earlier ones
    let (room, base) = (y.len(), y.as_mut_ptr().cast::<f32>());
    for (index, row) in rows.enumerate() {
        let (first, row) = (tiling.rows_before(row) - begin, row % tiling.down());
        for column in 0..across {
            let mut to: Places<_, M> = [[(std::ptr::null_mut(), std::ptr::null()); M]; M];
            for (i, to) in to.iter_mut().enumerate().take(h - M * row) {
                for (j, to) in to.iter_mut().enumerate().take(w - M * column) {
                    let at = ((first + i) * w + M * column + j) * channels;
                    let residual = residual.map_or(std::ptr::null(), |residual| residual[at..][..channels].as_ptr());
                    assert!(at + channels <= room, "a tile outside of its output");
                    // SAFETY: `channels` values from there on lie inside `y`, as just checked.
                    *to = (unsafe { base.add(at) }, residual);
                }
            }
            let from = products[(index * across + column) * channels..].as_ptr();
            // SAFETY: the tile's cells lie `tiles · channels` apart in the products, whose size was
            // checked; each place to write to and its residual hold `channels` values, as does the
            // bias.
            unsafe { with_lanes!(set, outputs(form, (from, tiles * channels), channels, &to, ending)) };
        }
    }
}
