//! Weights in the order in which products read them.

#![allow(unsafe_code)]

use super::buffer::written;
use super::simd::InstructionSet;
use super::tile;
use super::transpose::transpose;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Weights `(groups, blocks of outputs, taps, inputs, columns)`: for each block of output channels
/// one panel, its columns whole vectors, zeros past the last channel.
pub(crate) struct Packed {
    values: Vec<f32>,
    pub(crate) groups: usize,
    /// Kernel cells.
    pub(crate) taps: usize,
    /// Inputs of a group.
    pub(crate) inputs: usize,
    /// Outputs of a group.
    pub(crate) outputs: usize,
    pub(crate) set: InstructionSet,
}

/// One block of output channels.
pub(crate) struct Panel<'a> {
    /// `(taps, inputs, columns)`.
    pub(crate) values: &'a [f32],
    /// Channels of the group that it computes.
    pub(crate) channels: Range<usize>,
    /// Their number in whole vectors.
    pub(crate) columns: usize,
}

/// The layout of the weights of `(tap, input, output)`: the distances between neighbors.
#[derive(Clone, Copy)]
pub(crate) struct Strides {
    pub(crate) group: usize,
    pub(crate) input: usize,
    pub(crate) output: usize,
}

impl Packed {
    /// Packs weights whose taps are contiguous.
    pub(crate) fn new(
        set: InstructionSet,
        weight: &[f32],
        (groups, taps, inputs, outputs): (usize, usize, usize, usize),
        strides: Strides,
    ) -> Self {
        let block = tile::block(set);
        // SAFETY: the panels cover the values, and each is filled.
        let values = unsafe {
            written(groups * taps * inputs * padded_outputs(set, outputs), |mut rest| {
                for group in 0..groups {
                    for first in (0..outputs).step_by(block) {
                        let channels = block.min(outputs - first);
                        let columns = tile::padded(set, channels);
                        let (panel, next) = std::mem::take(&mut rest).split_at_mut(taps * inputs * columns);
                        rest = next;
                        let from = &weight[group * strides.group + first * strides.output..];
                        fill(set, panel, from, (taps, inputs), (channels, columns), strides);
                    }
                }
            })
        };
        Self { values, groups, taps, inputs, outputs, set }
    }

    /// The same weights, with `kw` consecutive taps treated as one with `kw` times the inputs.
    pub(crate) fn with_rows_of_taps(self, kw: usize) -> Self {
        Self { taps: self.taps / kw, inputs: self.inputs * kw, ..self }
    }

    /// Other weights in the same panels: `cells` groups of one tap, which `transform` fills from a
    /// panel `(taps, size)`, all groups at once.
    ///
    /// # Safety
    /// `transform` must write all of its groups.
    pub(crate) unsafe fn with_taps_as_groups(
        &self,
        cells: usize,
        transform: impl Fn(&[f32], usize, Vec<&mut [MaybeUninit<f32>]>),
    ) -> Self {
        let size = self.inputs * padded_outputs(self.set, self.outputs);
        // SAFETY: the panels cover each group, and `transform` writes them, as the caller promises.
        let values = unsafe {
            written(cells * size, |values: &mut [MaybeUninit<f32>]| {
                let mut start = 0;
                for panel in self.panels(0) {
                    let size_here = self.inputs * panel.columns;
                    let groups = values.chunks_exact_mut(size).map(|group| &mut group[start..start + size_here]);
                    transform(panel.values, size_here, groups.collect());
                    start += size_here;
                }
            })
        };
        Self { values, groups: cells, taps: 1, ..*self }
    }

    /// The panel of the first group that begins with an output channel.
    pub(crate) fn panel(&self, first_channel: usize) -> &[f32] {
        let (size, block) = (self.taps * self.inputs, tile::block(self.set));
        assert!(first_channel.is_multiple_of(block) && first_channel < self.outputs, "no panel begins there");
        let columns = tile::padded(self.set, block.min(self.outputs - first_channel));
        &self.values[first_channel * size..(first_channel + columns) * size]
    }

    /// A group's panels.
    pub(crate) fn panels(&self, group: usize) -> impl Iterator<Item = Panel<'_>> {
        let (size, block) = (self.taps * self.inputs, tile::block(self.set));
        let mut rest = &self.values[group * size * padded_outputs(self.set, self.outputs)..];
        (0..self.outputs).step_by(block).map(move |first| {
            let channels = first..self.outputs.min(first + block);
            let columns = tile::padded(self.set, channels.len());
            let (values, next) = rest.split_at(size * columns);
            rest = next;
            Panel { values, channels, columns }
        })
    }
}

fn padded_outputs(set: InstructionSet, outputs: usize) -> usize {
    let whole = outputs / tile::block(set) * tile::block(set);
    whole + tile::padded(set, outputs - whole)
}

/// Fills one panel `(taps, inputs, columns)`: the contiguous weights of an output become a
/// column.
fn fill(
    set: InstructionSet,
    panel: &mut [MaybeUninit<f32>],
    from: &[f32],
    (taps, inputs): (usize, usize),
    (channels, columns): (usize, usize),
    strides: Strides,
) {
    let starts: Vec<usize> = (0..channels).map(|channel| channel * strides.output).collect();
    if strides.input == taps {
        let row = |weight: usize| (weight % taps * inputs + weight / taps) * columns;
        transpose(set, (from, &starts), inputs * taps, panel, row);
    } else {
        for i in 0..inputs {
            let from = &from[i * strides.input..];
            if (taps, strides.output) == (1, 1) {
                for (to, &value) in panel[i * columns..][..channels].iter_mut().zip(from) {
                    to.write(value);
                }
                continue;
            }
            transpose(set, (from, &starts), taps, panel, |tap| (tap * inputs + i) * columns);
        }
    }
    for row in panel.chunks_exact_mut(columns) {
        row[channels..].fill(MaybeUninit::new(0.0));
    }
}
