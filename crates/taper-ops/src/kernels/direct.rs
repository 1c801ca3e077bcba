//! Direct convolution of channels-last images and its two gradients: sums over taps of rows of
//! pixels times panels of weights.

#![allow(unsafe_code)]

use super::buffer::{summed, written};
use super::pack::{Packed, Panel};
use super::simd::InstructionSet;
use super::tile::{self, Finish, List, Offsets, Outer, Product, Rows};
use crate::threads::{for_each_chunk, for_each_part};
use std::mem::MaybeUninit;
use std::ops::Range;

/// One axis of the walk over the output: at output `phase + step_out · m` a tap reads the source
/// at `step_in · m + shift`.
#[derive(Debug, Clone)]
pub(crate) struct Axis {
    pub(crate) output: usize,
    pub(crate) source: usize,
    kernel: usize,
    step_in: usize,
    step_out: usize,
    lines: Vec<Line>,
}

/// The outputs of one phase, which have the same taps: `(tap, shift)`.
#[derive(Debug, Clone)]
struct Line {
    phase: usize,
    taps: Vec<(usize, isize)>,
}

impl Axis {
    /// The axis of a convolution that takes `source` cells to `output`.
    pub(crate) fn forward(source: usize, output: usize, kernel: usize, stride: usize, padding: usize) -> Self {
        let taps = (0..kernel).map(|tap| (tap, tap as isize - padding as isize)).collect();
        Self { output, source, kernel, step_in: stride, step_out: 1, lines: vec![Line { phase: 0, taps }] }
    }

    /// The axis of that convolution's input gradient, which takes `source` cells back to `output`.
    pub(crate) fn adjoint(source: usize, output: usize, kernel: usize, stride: usize, padding: usize) -> Self {
        let line = |phase: usize| {
            let shift = |tap: usize| (phase + padding) as isize - tap as isize;
            let meets = |&tap: &usize| shift(tap).rem_euclid(stride as isize) == 0;
            let taps = (0..kernel).filter(meets).map(|tap| (tap, shift(tap).div_euclid(stride as isize))).collect();
            Line { phase, taps }
        };
        Self {
            output,
            source,
            kernel,
            step_in: 1,
            step_out: stride,
            lines: (0..stride.min(output)).map(line).collect(),
        }
    }

    /// Outputs of a line among `0..output`.
    fn count(&self, line: &Line) -> usize {
        self.output.saturating_sub(line.phase).div_ceil(self.step_out)
    }

    /// Of the first `count` outputs of a line, those whose source exists: all from the first to
    /// the second.
    fn valid(&self, shift: isize, count: usize) -> (usize, usize) {
        let (step, count) = (self.step_in as isize, count as isize);
        let first = (-shift).max(0).unsigned_abs().div_ceil(self.step_in) as isize;
        let end = (self.source as isize - shift + step - 1).div_euclid(step).clamp(0, count);
        (first.min(end) as usize, end as usize)
    }

    /// Where output `m` of a line reads the source.
    fn meets(&self, m: usize, shift: isize) -> Option<usize> {
        (m as isize * self.step_in as isize + shift).try_into().ok().filter(|&at| at < self.source)
    }
}

/// A walk over images: their number, both axes, and the distance between source pixels.
#[derive(Debug, Clone)]
pub(crate) struct Walk {
    pub(crate) images: usize,
    pub(crate) rows: Axis,
    pub(crate) columns: Axis,
    /// Values from one source pixel to the next.
    pub(crate) pitch: usize,
    /// Values that each tap reads from its pixel on, over all groups.
    pub(crate) width: usize,
}

/// Pixels that a tap brings from a source row to an output row.
pub(crate) struct Run {
    /// The first source pixel, counted through all images, and the distance to the next.
    pub(crate) from: usize,
    pub(crate) from_step: usize,
    /// The first pixel of the output row, and the distance to the next.
    pub(crate) to: usize,
    pub(crate) to_step: usize,
    pub(crate) pixels: usize,
}

/// Output pixels that one thread computes at a time.
const PIXELS: usize = 192;

/// Pixels that a weight gradient sums over at a time: their gradients stay in the first-level cache.
const GRADIENT_PIXELS: usize = 128;

/// Inputs whose weight gradients one thread sums at a time.
const INPUTS: usize = 64;

/// The approximate number of pixels of a separately summed range; the most such ranges, and their values in total.
const PIXELS_A_SUM: usize = 4096;
const SUMS: usize = 8;
const SUM_VALUES: usize = 4 << 20;

impl Walk {
    /// Returns `true` if each source pixel is the only source of the same output pixel.
    fn pointwise(&self) -> bool {
        let plain = |axis: &Axis| {
            axis.step_in == 1
                && axis.step_out == 1
                && axis.source == axis.output
                && matches!(&axis.lines[..], [Line { taps, .. }] if taps[..] == [(0, 0)])
        };
        plain(&self.rows) && plain(&self.columns)
    }

    /// Kernel cells.
    pub(crate) fn taps(&self) -> usize {
        self.rows.kernel * self.columns.kernel
    }

    /// Visits, for one output row counted through all images, each tap with the pixels it brings.
    pub(crate) fn for_each_run(&self, row: usize, mut visit: impl FnMut(usize, Run)) {
        let (image, row) = (row / self.rows.output, row % self.rows.output);
        let row_line = &self.rows.lines[row % self.rows.step_out];
        for &(down, row_shift) in &row_line.taps {
            let Some(source) = self.rows.meets(row / self.rows.step_out, row_shift) else { continue };
            for line in &self.columns.lines {
                for &(right, shift) in &line.taps {
                    let (first, end) = self.columns.valid(shift, self.columns.count(line));
                    if first == end {
                        continue;
                    }
                    let column = ((first * self.columns.step_in) as isize + shift) as usize;
                    let run = Run {
                        from: (image * self.rows.source + source) * self.columns.source + column,
                        from_step: self.columns.step_in,
                        to: line.phase + first * self.columns.step_out,
                        to_step: self.columns.step_out,
                        pixels: end - first,
                    };
                    visit(down * self.columns.kernel + right, run);
                }
            }
        }
    }

    /// Lists a tap's rows for each output pixel of a line, over image rows `first..last` counted
    /// through all images.
    fn list(&self, list: &mut List, rows: Range<usize>, lines: (&Line, &Line), shifts: (isize, isize)) {
        let (row_line, column_line) = lines;
        let count = self.columns.count(column_line);
        let (from, to) = self.columns.valid(shifts.1, count);
        for row in rows {
            let (image, row) = (row / self.rows.output, row % self.rows.output);
            if row % self.rows.step_out != row_line.phase {
                continue;
            }
            match self.rows.meets((row - row_line.phase) / self.rows.step_out, shifts.0) {
                Some(source) if from < to => {
                    let column = (from * self.columns.step_in) as isize + shifts.1;
                    let pixel = (image * self.rows.source + source) * self.columns.source + column as usize;
                    list.push_zeros(from);
                    list.push(pixel * self.pitch, self.columns.step_in * self.pitch, to - from);
                    list.push_zeros(count - to);
                }
                _ => list.push_zeros(count),
            }
        }
    }

    /// Offsets of a line's pixels in an output of `channels` that begins with the first row.
    fn offsets(&self, rows: Range<usize>, lines: (&Line, &Line), channels: usize) -> Offsets {
        let mut offsets = Vec::new();
        for row in rows.clone() {
            if (row % self.rows.output) % self.rows.step_out == lines.0.phase {
                let start = (row - rows.start) * self.columns.output;
                let columns = (lines.1.phase..self.columns.output).step_by(self.columns.step_out);
                offsets.extend(columns.map(|column| (start + column) * channels));
            }
        }
        offsets.into_iter().collect()
    }
}

/// What a walk reads.
#[derive(Clone, Copy)]
pub(crate) struct Operands<'a> {
    /// The source images.
    pub(crate) source: &'a [f32],
    pub(crate) weights: &'a Packed,
    pub(crate) finish: Finish<'a>,
}

/// Runs a walk: `(images, rows, columns, outputs of all groups)`.
pub(crate) fn run(walk: &Walk, operands: Operands) -> Vec<f32> {
    let weights = operands.weights;
    let row = walk.columns.output * weights.groups * weights.outputs;
    let rows = walk.images * walk.rows.output;
    let rows_a_chunk = (PIXELS / walk.columns.output.max(1)).min(rows.div_ceil(8)).max(1);
    let operations = 2 * rows * row * weights.taps * weights.inputs;
    let zeros = vec![0.0; walk.width];
    // SAFETY: every chunk writes all of its pixels: lines partition rows and columns, panels the
    // channels, and the first block of inputs writes without reading.
    unsafe {
        written(rows * row, |y| {
            for_each_chunk(y, rows_a_chunk * row, operations, |index, part| {
                let first = index * rows_a_chunk;
                chunk(walk, operands, &zeros, first..first + part.len() / row, part);
            });
        })
    }
}

/// Computes the image rows `here`, counted through all images.
fn chunk(walk: &Walk, operands: Operands, zeros: &[f32], here: Range<usize>, part: &mut [MaybeUninit<f32>]) {
    let outputs = operands.weights.groups * operands.weights.outputs;
    let base = here.start * walk.columns.output * outputs;
    for row_line in &walk.rows.lines {
        for column_line in &walk.columns.lines {
            let lines = (row_line, column_line);
            let offsets = walk.offsets(here.clone(), lines, outputs);
            let mut taps = Vec::new();
            let rows = if walk.pointwise() {
                taps.push(0);
                let values = &operands.source[here.start * walk.columns.source * walk.pitch..];
                Rows::Strided { values, stride: walk.pitch, width: walk.width }
            } else {
                let room = row_line.taps.len() * column_line.taps.len() * offsets.len();
                let mut list = List::new(operands.source, zeros, walk.width, room);
                for &(down, row_shift) in &row_line.taps {
                    for &(right, column_shift) in &column_line.taps {
                        taps.push(down * walk.columns.kernel + right);
                        walk.list(&mut list, here.clone(), lines, (row_shift, column_shift));
                    }
                }
                Rows::Listed(list)
            };
            for group in 0..operands.weights.groups {
                for panel in operands.weights.panels(group) {
                    block(&rows, &taps, &offsets, operands, &panel, group, base, part);
                }
            }
        }
    }
}

/// Computes one block of output channels, some inputs at a time: few enough that their weights stay
/// in the second-level cache.
#[allow(clippy::too_many_arguments, reason = "the innermost of four loops")]
fn block(
    rows: &Rows,
    taps: &[usize],
    offsets: &Offsets,
    operands: Operands,
    panel: &Panel,
    group: usize,
    base: usize,
    part: &mut [MaybeUninit<f32>],
) {
    let weights = operands.weights;
    let first_channel = group * weights.outputs + panel.channels.start;
    let inputs_a_block = (1152 / taps.len().max(1)).max(64);
    for first in (0..weights.inputs).step_by(inputs_a_block) {
        let last = weights.inputs.min(first + inputs_a_block);
        let product = Product {
            rows,
            inputs: group * weights.inputs + first..group * weights.inputs + last,
            taps,
            panel: &panel.values[first * panel.columns..],
            panel_inputs: weights.inputs,
            columns: panel.columns,
            offsets,
            channels: panel.channels.len(),
            add: first > 0,
            finish: (last == weights.inputs).then_some(operands.finish),
            first_channel,
        };
        // SAFETY: only blocks after the first add, to what the first has written.
        unsafe { product.run(operands.weights.set, &mut part[first_channel..], base + first_channel) };
    }
}

/// The weight gradient of a walk of a forward convolution: `(groups, taps, inputs, outputs)`, for
/// gradients `(images, rows, columns, outputs of all groups)`.
///
/// Pixels are summed in a few ranges, in order within each range, and the ranges in order: their number, and
/// thus the result's bits, depend only on the sizes. Within a range all taps sum a few pixels, whose
/// gradients stay in the nearer caches, before the next ones.
pub(crate) fn weight_gradient(
    set: InstructionSet,
    walk: &Walk,
    source: &[f32],
    gradient: &[f32],
    (groups, inputs, outputs): (usize, usize, usize),
) -> Vec<f32> {
    let (taps, rows) = (walk.taps(), walk.images * walk.rows.output);
    let size = groups * taps * inputs * outputs;
    let pixels = rows * walk.columns.output;
    let sums = (pixels / PIXELS_A_SUM).min(SUM_VALUES / size.max(1)).clamp(1, SUMS);
    let blocks: Vec<(usize, Range<usize>)> = (0..groups)
        .flat_map(|group| (0..inputs).step_by(INPUTS).map(move |first| (group, first..inputs.min(first + INPUTS))))
        .collect();
    let lengths: Vec<usize> =
        (0..sums).flat_map(|_| blocks.iter().map(|(_, block)| taps * block.len() * outputs)).collect();
    let zeros = vec![0.0; walk.width];
    // SAFETY: each part's first block writes all of it, or there is none and it is filled.
    let parts = unsafe {
        written(sums * size, |parts| {
            for_each_part(parts, &lengths, 2 * pixels * size, |index, part| {
                let (sum, (group, block)) = (index / blocks.len(), &blocks[index % blocks.len()]);
                let rows = sum * rows / sums..(sum + 1) * rows / sums;
                let inputs = group * inputs + block.start..group * inputs + block.end;
                let place = Place { group: *group, groups, inputs };
                sum_outer(set, walk, (source, &zeros), (gradient, outputs), place, rows, part);
            });
        })
    };
    let parts = summed(parts, size);
    if inputs <= INPUTS {
        return parts;
    }
    let mut ordered = vec![0.0; size];
    let mut rest = &parts[..];
    for (group, block) in blocks {
        for tap in 0..taps {
            let (rows, next) = rest.split_at(block.len() * outputs);
            ordered[((group * taps + tap) * inputs + block.start) * outputs..][..rows.len()].copy_from_slice(rows);
            rest = next;
        }
    }
    ordered
}

/// Some inputs of a group, counted through all groups.
struct Place {
    group: usize,
    groups: usize,
    inputs: Range<usize>,
}

/// Writes the sums of image rows `rows`, counted through all images: `(taps, some inputs, outputs)`.
fn sum_outer(
    set: InstructionSet,
    walk: &Walk,
    (source, zeros): (&[f32], &[f32]),
    (gradient, outputs): (&[f32], usize),
    Place { group, groups, inputs }: Place,
    rows: Range<usize>,
    sums: &mut [MaybeUninit<f32>],
) {
    if rows.is_empty() {
        sums.fill(MaybeUninit::new(0.0));
    }
    let rows_a_block = (GRADIENT_PIXELS / walk.columns.output.max(1)).max(1);
    let lines = (&walk.rows.lines[0], &walk.columns.lines[0]);
    let first = rows.start;
    for start in rows.clone().step_by(rows_a_block) {
        let here = start..rows.end.min(start + rows_a_block);
        let pixels = here.len() * walk.columns.output;
        let at = start * walk.columns.output;
        for (tap, sums) in sums.chunks_exact_mut(inputs.len() * outputs).enumerate() {
            let shifts = (lines.0.taps[tap / walk.columns.kernel].1, lines.1.taps[tap % walk.columns.kernel].1);
            let rows = if walk.pointwise() {
                Rows::Strided { values: &source[at * walk.pitch..], stride: walk.pitch, width: walk.width }
            } else {
                let mut list = List::new(source, zeros, walk.width, pixels);
                walk.list(&mut list, here.clone(), lines, shifts);
                Rows::Listed(list)
            };
            for channel in (0..outputs).step_by(tile::block(set)) {
                let outer = Outer {
                    rows: &rows,
                    inputs: inputs.clone(),
                    gradient: &gradient[at * groups * outputs + group * outputs + channel..],
                    gradient_stride: groups * outputs,
                    pixels,
                    channels: tile::block(set).min(outputs - channel),
                    add: start > first,
                };
                // SAFETY: the first block of rows has written all sums.
                unsafe { outer.run(set, &mut sums[channel..], outputs) };
            }
        }
    }
}
