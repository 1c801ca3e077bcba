//! Convolution by 3x3 kernels with stride 1 in fewer multiplications: Winograd's F(2x2, 3x3) as
//! Lavin and Gray 2016 (arXiv:1509.09308, section 4.1) write it, Y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A.
//! A tile of 2x2 outputs takes 16 products a channel where the direct sum takes 36.

#![allow(unsafe_code)]

mod gradient;
mod transforms;

pub(crate) use gradient::weight_gradient;

use super::buffer::written;
use super::pack::Packed;
use super::simd::InstructionSet;
use super::tile::{Finish, Product, Rows};
use crate::threads::for_each_part;
use std::mem::MaybeUninit;
use std::ops::Range;
use transforms::{CELLS, with_lanes};

/// Tiles that one thread transforms at a time: with 64 channels both sides stay in the second cache.
const TILES: usize = 56;

/// Images and their outputs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tiling {
    pub(crate) images: usize,
    /// Height and width of the source.
    pub(crate) source: (usize, usize),
    /// Height and width of the output.
    pub(crate) output: (usize, usize),
    /// Cells of zeros on each side of the source.
    pub(crate) padding: usize,
}

impl Tiling {
    fn down(&self) -> usize {
        self.output.0.div_ceil(2)
    }

    fn across(&self) -> usize {
        self.output.1.div_ceil(2)
    }

    /// Is it worth the transforms, with that many channels in and out?
    pub(crate) fn pays(&self, inputs: usize, outputs: usize) -> bool {
        let tiles = self.down() * self.across();
        inputs >= 16 && outputs >= 16 && CELLS * tiles * 5 < 9 * self.output.0 * self.output.1 * 4
    }

    /// Are there so many tiles that summing over them outweighs transforming the sums back?
    pub(crate) fn pays_back(&self) -> bool {
        self.images * self.down() * self.across() >= 64
    }

    /// Image rows that the tile rows before `row`, counted through all images, cover.
    fn rows_before(&self, row: usize) -> usize {
        row / self.down() * self.output.0 + 2 * (row % self.down())
    }
}

/// `G g Gᵀ` of packed 3x3 weights: 16 groups of one tap. `flipped` turns each kernel by 180°.
pub(crate) fn transform_weights(packed: &Packed, flipped: bool) -> Packed {
    let transform = |panel: &[f32], size: usize, mut to: Vec<&mut [MaybeUninit<f32>]>| {
        let mut from = [std::ptr::null(); 9];
        for (tap, from) in from.iter_mut().enumerate() {
            let tap = if flipped { 8 - tap } else { tap };
            *from = panel[tap * size..(tap + 1) * size].as_ptr();
        }
        let mut cells = [std::ptr::null_mut(); CELLS];
        for (cell, to) in cells.iter_mut().zip(&mut to) {
            assert!(to.len() == size, "a transformed panel of wrong size");
            *cell = to.as_mut_ptr().cast();
        }
        // SAFETY: each of the 25 slices holds `size` values.
        unsafe { with_lanes!(packed.set, weights(&from, &cells, size)) };
    };
    // SAFETY: the transform writes `size` values to each of the 16 cells.
    unsafe { packed.with_taps_as_groups(CELLS, transform) }
}

/// The convolution of `source (images, h, w, inputs)`; `weights` are transformed.
pub(crate) fn run(tiling: &Tiling, source: &[f32], weights: &Packed, finish: Finish) -> Vec<f32> {
    let (inputs, outputs) = (weights.inputs, weights.outputs);
    let pixels = tiling.images * tiling.source.0 * tiling.source.1;
    assert!(source.len() == pixels * inputs, "images of wrong size");
    assert!(weights.groups == CELLS && weights.taps == 1, "weights that are not transformed");
    let (rows, row) = (tiling.images * tiling.down(), tiling.output.1 * outputs);
    let rows_a_part = (TILES / tiling.across().max(1)).clamp(1, rows.div_ceil(4).max(1));
    let part = |index: usize| index * rows_a_part..rows.min((index + 1) * rows_a_part);
    let length = |rows: Range<usize>| (tiling.rows_before(rows.end) - tiling.rows_before(rows.start)) * row;
    let lengths: Vec<usize> = (0..rows.div_ceil(rows_a_part)).map(|index| length(part(index))).collect();
    let operations = 2 * rows * tiling.across() * CELLS * inputs * outputs;
    let zeros = vec![0.0; inputs];
    // SAFETY: each part writes both rows and both columns of all its tiles, where they exist.
    unsafe {
        written(tiling.images * tiling.output.0 * row, |y| {
            for_each_part(y, &lengths, operations, |index, y| {
                one_part(tiling, (source, &zeros), weights, finish, part(index), y);
            });
        })
    }
}

/// Makes the tile rows `rows`, counted through all images.
fn one_part(
    tiling: &Tiling,
    (source, zeros): (&[f32], &[f32]),
    weights: &Packed,
    finish: Finish,
    rows: Range<usize>,
    y: &mut [MaybeUninit<f32>],
) {
    let (inputs, outputs, set) = (weights.inputs, weights.outputs, weights.set);
    let tiles = rows.len() * tiling.across();
    let transformed = transform_inputs(set, tiling, (source, zeros), inputs, 0..inputs, rows.clone());
    let offsets: Vec<usize> = (0..tiles).map(|tile| tile * outputs).collect();
    // SAFETY: the panels of each cell write every channel of every tile.
    let products = unsafe {
        written(CELLS * tiles * outputs, |products| {
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
    transform_outputs(set, tiling, &products, outputs, finish, rows, y);
}

/// `Bᵀ d B` of some channels of every tile of some tile rows: `(16, tiles, some channels)`.
fn transform_inputs(
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
    // SAFETY: every tile writes its 16 cells of those channels.
    unsafe {
        written(CELLS * tiles * width, |out: &mut [MaybeUninit<f32>]| {
            for (index, row) in rows.enumerate() {
                let (image, row) = (row / tiling.down(), row % tiling.down());
                let image = &source[image * h * w * channels..(image + 1) * h * w * channels];
                let lines: [Option<&[f32]>; 4] = std::array::from_fn(|i| {
                    let i = (2 * row + i).checked_sub(tiling.padding).filter(|&i| i < h)?;
                    Some(&image[i * w * channels..(i + 1) * w * channels])
                });
                for column in 0..across {
                    let mut cells = [zeros.as_ptr(); CELLS];
                    let left = (2 * column).checked_sub(tiling.padding).filter(|left| left + 4 <= w);
                    for (cells, line) in cells.chunks_exact_mut(4).zip(lines) {
                        let Some(line) = line else { continue };
                        if let Some(left) = left {
                            // all four pixels lie on the line: one check for them
                            let pixels = &line[left * channels..(left + 4) * channels];
                            for (cell, pixel) in cells.iter_mut().zip(pixels.chunks_exact(channels)) {
                                *cell = pixel[some.clone()].as_ptr();
                            }
                            continue;
                        }
                        for (j, cell) in cells.iter_mut().enumerate() {
                            if let Some(j) = (2 * column + j).checked_sub(tiling.padding).filter(|&j| j < w) {
                                *cell = line[j * channels..][some.clone()].as_ptr();
                            }
                        }
                    }
                    let to = out[(index * across + column) * width..].as_mut_ptr().cast();
                    with_lanes!(set, inputs(&cells, width, to, tiles * width));
                }
            }
        })
    }
}

/// `Aᵀ m A` of every tile of some tile rows, to the rows of `y`.
fn transform_outputs(
    set: InstructionSet,
    tiling: &Tiling,
    products: &[f32],
    channels: usize,
    finish: Finish,
    rows: Range<usize>,
    y: &mut [MaybeUninit<f32>],
) {
    let ((h, w), across) = (tiling.output, tiling.across());
    let tiles = rows.len() * across;
    let begin = tiling.rows_before(rows.start);
    assert!(products.len() == CELLS * tiles * channels, "products of wrong size");
    let bias = finish.bias.map_or(std::ptr::null(), |bias| bias[..channels].as_ptr());
    let residual = finish.residual.map(|residual| &residual[begin * w * channels..][..y.len()]);
    for (index, row) in rows.enumerate() {
        let (first, row) = (tiling.rows_before(row) - begin, row % tiling.down());
        for column in 0..across {
            let mut to = [(std::ptr::null_mut(), std::ptr::null()); 4];
            for (cell, to) in to.iter_mut().enumerate() {
                let (i, j) = (cell / 2, 2 * column + cell % 2);
                if 2 * row + i < h && j < w {
                    let at = ((first + i) * w + j) * channels;
                    let residual = residual.map_or(std::ptr::null(), |residual| residual[at..][..channels].as_ptr());
                    *to = (y[at..][..channels].as_mut_ptr().cast(), residual);
                }
            }
            let from = products[(index * across + column) * channels..].as_ptr();
            // SAFETY: the tile's 16 cells lie `tiles · channels` apart in the products, whose size
            // was checked; each place to write to and its residual hold `channels` values, as
            // does the bias.
            unsafe { with_lanes!(set, outputs(from, tiles * channels, channels, &to, bias, finish.relu)) };
        }
    }
}
