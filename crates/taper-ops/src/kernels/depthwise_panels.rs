//! Depthwise convolutions by panels of channels: each panel of a band of rows is copied between columns of zeros,
//! and convolved strip by strip while it is in the cache.

#![allow(unsafe_code)]

use super::buffer::written;
use super::depthwise::{finish_rows, most};
use super::depthwise_strip::{OUTSIDE, Strip};
use super::simd::{InstructionSet, over_lanes};
use super::tile::{self, Activation, Finish};
use crate::threads::{for_each_part, may_split, threads};
use std::mem::MaybeUninit;
use std::ops::Range;

/// The depthwise weights of a panel of channels.
pub(crate) struct Panel {
    pub(crate) channels: Range<usize>,
    /// Their number in whole vectors.
    pub(crate) columns: usize,
    /// `(taps, columns)`.
    pub(crate) weights: Vec<f32>,
}

impl Panel {
    /// The panels of `weight (channels, taps)`, each of up to `most` channels.
    pub(crate) fn all(set: InstructionSet, weight: &[f32], all: usize, most: usize) -> Vec<Self> {
        let taps = weight.len() / all;
        let panel = |first: usize| {
            let channels = first..all.min(first + most);
            let columns = tile::padded(set, channels.len());
            let mut weights = vec![0.0; taps * columns];
            for (place, channel) in channels.clone().enumerate() {
                for tap in 0..taps {
                    weights[tap * columns + place] = weight[channel * taps + tap];
                }
            }
            Self { channels, columns, weights }
        };
        (0..all).step_by(most).map(panel).collect()
    }
}

/// One axis of the images: `source` cells become `output`, and `before` zeros lie before the first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Side {
    pub(crate) source: usize,
    pub(crate) output: usize,
    pub(crate) before: usize,
}

/// Images `(count, rows, columns, channels)`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Images {
    pub(crate) count: usize,
    pub(crate) rows: Side,
    pub(crate) columns: Side,
}

/// The source rows of the kernel's rows, for each of the output rows `rows`: one after the other, `None` outside of the
/// image.
pub(crate) fn taps(rows: Range<usize>, side: Side, kernel: usize, stride: usize) -> Vec<Option<usize>> {
    rows.flat_map(|row| (0..kernel).map(move |tap| (row * stride + tap).checked_sub(side.before)))
        .map(|row| row.filter(|&row| row < side.source))
        .collect()
}

/// The source rows that the output rows `rows` need.
pub(crate) fn needed(rows: &Range<usize>, side: Side, kernel: usize, stride: usize) -> Range<usize> {
    let start = (rows.start * stride).saturating_sub(side.before).min(side.source);
    start..((rows.end - 1) * stride + kernel).saturating_sub(side.before).clamp(start, side.source)
}

/// A depthwise convolution of channels-last images with a square kernel.
pub(crate) struct Depthwise {
    /// One vector of channels each: a row under the kernel stays in the first-level cache.
    panels: Vec<Panel>,
    set: InstructionSet,
    channels: usize,
    kernel: usize,
    stride: usize,
}

/// Values of a panel's rows that are convolved at a time, about: they stay in the second-level cache.
const VALUES: usize = 1 << 16;

impl Depthwise {
    /// Packs `weight (channels, kernel · kernel)`.
    pub(crate) fn new(set: InstructionSet, weight: &[f32], kernel: usize, stride: usize) -> Self {
        let channels = weight.len() / (kernel * kernel).max(1);
        assert!(channels > 0 && weight.len() == channels * kernel * kernel, "weights of wrong size");
        let panels = Panel::all(set, weight, channels, tile::padded(set, 1));
        Self { panels, set, channels, kernel, stride }
    }

    /// The convolution of `x` with its finish: `(images, output rows, output columns, channels)`.
    pub(crate) fn run(&self, images: Images, x: &[f32], finish: Finish) -> Vec<f32> {
        let Images { count, rows, columns } = images;
        let c = self.channels;
        let (size, row) = (rows.source * columns.source * c, columns.output * c);
        assert!(x.len() == count * size, "images of wrong size");
        assert!(finish.bias.is_none_or(|bias| bias.len() == c), "a bias of wrong size");
        assert!(finish.residual.is_none_or(|residual| residual.len() == count * rows.output * row));
        if count * rows.output * row == 0 {
            return Vec::new();
        }
        // whole vectors
        let bias = finish.bias.map(|bias| {
            let mut bias = bias.to_vec();
            bias.resize(tile::padded(self.set, c), 0.0);
            bias
        });
        // a residual comes after the bias and before the activation
        let activation = finish.residual.map_or(finish.activation, |_| Activation::Identity);
        let parts = self.parts(images);
        let lengths: Vec<usize> = parts.iter().map(|(_, rows)| rows.len() * row).collect();
        let operations = (2 * count * rows.output * row).saturating_mul(self.kernel * self.kernel);
        // SAFETY: parts cover the output, and each writes all of its rows.
        unsafe {
            written(count * rows.output * row, |y| {
                for_each_part(y, &lengths, operations, |index, y| {
                    let (image, here) = &parts[index];
                    let x = &x[image * size..(image + 1) * size];
                    self.part(images, x, here.clone(), (bias.as_deref(), activation), y);
                    if let Some(residual) = finish.residual {
                        let residual = &residual[(image * rows.output + here.start) * row..][..y.len()];
                        // SAFETY: the strips have written all channels of all pixels.
                        let y = &mut *(std::ptr::from_mut(y) as *mut [f32]);
                        finish_rows(self.set, y, None, Some(residual), most(finish.activation));
                    }
                });
            })
        }
    }

    /// Rows of images that are convolved at a time. How many they are changes no bits.
    fn parts(&self, images: Images) -> Vec<(usize, Range<usize>)> {
        let Images { count, rows, .. } = images;
        let row = self.width(images.columns) * tile::padded(self.set, 1);
        let band = ((VALUES / row).saturating_sub(self.kernel) / self.stride).max(self.kernel);
        let shared = if may_split() { (4 * threads()).div_ceil(count) } else { 1 };
        let pieces = rows.output.div_ceil(band).max(shared).min(rows.output);
        let part = |piece: usize| rows.output * piece / pieces..rows.output * (piece + 1) / pieces;
        (0..count).flat_map(|image| (0..pieces).map(move |piece| (image, part(piece)))).collect()
    }

    /// Cells of a row with its zeros.
    fn width(&self, columns: Side) -> usize {
        (columns.before + columns.source).max((columns.output - 1) * self.stride + self.kernel)
    }

    /// The output rows `here` of one image.
    fn part(
        &self,
        images: Images,
        x: &[f32],
        here: Range<usize>,
        (bias, activation): (Option<&[f32]>, Activation),
        y: &mut [MaybeUninit<f32>],
    ) {
        let Images { rows, columns, .. } = images;
        let (c, width) = (self.channels, self.width(columns));
        let needed = needed(&here, rows, self.kernel, self.stride);
        let x = &x[needed.start * columns.source * c..needed.end * columns.source * c];
        let taps = taps(here, rows, self.kernel, self.stride);
        let place =
            |row: Option<usize>| row.map_or(OUTSIDE, |row| (row - needed.start) * width * self.panels[0].columns);
        let places: Vec<usize> = taps.into_iter().map(place).collect();
        // zeros beside the rows are never written: all panels have the same columns
        let mut padded = vec![0.0; needed.len() * width * self.panels[0].columns];
        for panel in &self.panels {
            let first = panel.channels.start;
            copy_channels(self.set, x, (first, c), &mut padded, (columns.source, columns.before, width));
            let strip = Strip {
                source: &padded,
                rows: &places,
                weights: &panel.weights,
                bias: bias.map(|bias| &bias[first..]),
                columns: panel.columns,
                channels: panel.channels.len(),
                kernel: self.kernel,
                stride: self.stride,
                pixels: columns.output,
                pitch: c,
                activation,
            };
            strip.run(self.set, &mut y[first..]);
        }
    }
}

over_lanes! {
    /// Copies a vector of channels from `first` on, of pixels of `c` channels, between the zeros of rows of `width` cells:
    /// `pixels` per row, from the cell `before` on. Channels that there are not become 0.
    fn copy_channels<L>(x: &[f32], at: (usize, usize), padded: &mut [f32], row: (usize, usize, usize)) {
        let ((first, c), (pixels, before, width)) = (at, row);
        if pixels == 0 {
            return;
        }
        let rows = x.len() / (pixels * c);
        assert!(first < c && x.len() == rows * pixels * c, "images of wrong size");
        assert!(before + pixels <= width && padded.len() == rows * width * L::WIDTH, "a buffer of wrong size");
        let count = L::WIDTH.min(c - first);
        for row in 0..rows {
            for pixel in 0..pixels {
                // SAFETY: the row has that many pixels, each with `count` channels from `first` on; the buffer has one
                // vector for each cell.
                unsafe {
                    let from = x.as_ptr().add((row * pixels + pixel) * c + first);
                    let to = padded.as_mut_ptr().add((row * width + before + pixel) * L::WIDTH);
                    if count == L::WIDTH { L::load(from) } else { L::load_first(from, count) }.store(to);
                }
            }
        }
    }
}
