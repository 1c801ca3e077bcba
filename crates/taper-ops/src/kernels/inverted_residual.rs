//! An inverted residual, band by band: some rows of the expanded channels, the depthwise convolution of those,
//! and their projection, while all of them are in the second-level cache.
//!
//! Expanded rows lie in a ring: those that the next band needs too are not computed twice. The ring has one
//! part per panel of channels, so that a panel goes through the depthwise convolution as soon as it is
//! expanded.

#![allow(unsafe_code)]

use super::buffer::written;
use super::depthwise_panels::{Images, Panel, needed, taps};
use super::depthwise_strip::{OUTSIDE, Strip};
use super::pointwise::Pointwise;
use super::simd::InstructionSet;
use super::tile::{self, Activation, Finish, Offsets, Product, Rows};
use crate::element::elements;
use crate::threads::{for_each_part, may_split, threads};
use candle_core::Result;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Output pixels of a band, about: enough to read each weight seldom, few enough for the cache.
const BAND_PIXELS: usize = 112;

/// The weights of a block.
pub(crate) struct Block {
    expand: Option<Pointwise>,
    depthwise: Vec<Panel>,
    /// Of the depthwise convolution, in whole vectors.
    bias: Vec<f32>,
    project: Pointwise,
    /// Inputs, and expanded channels.
    inputs: usize,
    expanded: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    residual: bool,
    set: InstructionSet,
}

/// Output rows of one image that one thread computes.
struct Part {
    image: usize,
    rows: Range<usize>,
}

impl Block {
    /// A block of `kernel` by `kernel` depthwise weights `(channels, taps)`.
    pub(crate) fn new(
        set: InstructionSet,
        expand: Option<Pointwise>,
        (depthwise, bias): (&[f32], &[f32]),
        project: Pointwise,
        (kernel, stride, residual): (usize, usize, bool),
    ) -> Self {
        let expanded = bias.len();
        let inputs = expand.as_ref().map_or(expanded, |expand| expand.weights.inputs);
        assert!(expanded > 0 && kernel > 0 && stride > 0 && depthwise.len() == expanded * kernel * kernel);
        assert!(expand.as_ref().is_none_or(|expand| expand.weights.outputs == expanded));
        assert!(project.weights.inputs == expanded);
        let depthwise = Panel::all(set, depthwise, expanded, tile::block(set));
        let mut bias = bias.to_vec();
        bias.resize(tile::padded(set, expanded), 0.0);
        Self { expand, depthwise, bias, project, inputs, expanded, kernel, stride, residual, set }
    }

    /// Channels of the input.
    pub(crate) fn inputs(&self) -> usize {
        self.inputs
    }

    /// Channels of the output.
    pub(crate) fn outputs(&self) -> usize {
        self.project.weights.outputs
    }

    /// Fails if a band of the expanded channels would not fit in memory.
    pub(crate) fn check_band(&self, images: Images) -> Result<()> {
        let rows = images.rows.source.min((BAND_PIXELS * self.stride).saturating_add(self.kernel));
        let width = images.columns.source.saturating_add(self.kernel).saturating_add(self.stride);
        elements("inverted residual", &[rows, width, self.expanded + tile::block(self.set)])?;
        Ok(())
    }

    /// The block's output for `x`: `(images, output rows, output columns, outputs)`.
    pub(crate) fn run(&self, images: Images, x: &[f32]) -> Vec<f32> {
        let Images { count, rows, columns } = images;
        let size = rows.source * columns.source * self.inputs;
        assert_eq!(x.len(), count * size, "images of wrong size");
        assert!(
            !self.residual
                || (self.inputs, rows.source, columns.source) == (self.outputs(), rows.output, columns.output)
        );
        let row = columns.output * self.outputs();
        assert!(rows.output * columns.output > 0, "images without pixels");
        let parts = parts(count, rows.output);
        let lengths: Vec<usize> = parts.iter().map(|part| part.rows.len() * row).collect();
        let weights = 2 * (self.expand.as_ref().map_or(0, |_| self.inputs) + self.outputs()) * self.expanded;
        // SAFETY: parts cover the output, and each writes all of its pixels: bands cover its rows, the
        // projection's panels the channels.
        unsafe {
            written(count * rows.output * row, |y| {
                for_each_part(y, &lengths, count * rows.output * columns.output * weights, |index, y| {
                    let Part { image, rows } = &parts[index];
                    self.part(images, &x[image * size..(image + 1) * size], rows.clone(), y);
                });
            })
        }
    }

    /// The output rows `here` of one image.
    fn part(&self, images: Images, x: &[f32], here: Range<usize>, y: &mut [MaybeUninit<f32>]) {
        let Images { rows, columns, .. } = images;
        let (k, s) = (self.kernel, self.stride);
        let pitch = tile::padded(self.set, self.expanded);
        let band = (BAND_PIXELS / columns.output.max(1)).clamp(1, here.len().max(1));
        let slots = ((band - 1) * s + k).min(rows.source);
        let width = (columns.before + columns.source).max((columns.output - 1) * s + k);
        let ring = Ring { slots, width, before: columns.before, columns: columns.source };
        // zeros: padding is never written
        let mut expanded = vec![0.0; slots * width * pitch];
        let mut filtered = vec![0.0; band * columns.output * pitch];
        let mut made = 0;
        for first in here.clone().step_by(band) {
            let band = first..here.end.min(first + band);
            let needed = needed(&band, rows, k, s);
            let new = made.max(needed.start)..needed.end;
            made = made.max(needed.end);
            let taps = taps(band.clone(), rows, k, s);
            // where a panel's new pixels go: the same for all panels of a width
            let mut places: (usize, Offsets) = (0, std::iter::empty().collect());
            for panel in &self.depthwise {
                if places.0 != panel.columns {
                    places = (panel.columns, ring.offsets(new.clone(), panel.columns));
                }
                let place = panel.channels.start * slots * width;
                let expanded = &mut expanded[place..place + slots * width * panel.columns];
                self.expand(&x[ring.values(&new, self.inputs)], panel, &places.1, expanded);
                let start = |row: &Option<usize>| row.map_or(OUTSIDE, |row| ring.place(row) * panel.columns);
                let strip = Strip {
                    source: expanded,
                    rows: &taps.iter().map(start).collect::<Vec<_>>(),
                    weights: &panel.weights,
                    bias: Some(&self.bias[panel.channels.start..]),
                    columns: panel.columns,
                    channels: panel.columns,
                    kernel: k,
                    stride: s,
                    pixels: columns.output,
                    pitch,
                    activation: Activation::Relu6,
                };
                strip.run_over(self.set, &mut filtered[panel.channels.start..]);
            }
            self.project(x, (&filtered, pitch), &band, here.start, columns.output, y);
        }
    }

    /// Writes the expanded pixels of a panel for `values`, those of the block's input.
    fn expand(&self, values: &[f32], panel: &Panel, offsets: &Offsets, expanded: &mut [f32]) {
        let inputs = self.inputs;
        let Some(Pointwise { weights, bias }) = &self.expand else {
            for (to, from) in offsets.iter().zip(values.chunks_exact(inputs)) {
                expanded[to..to + panel.channels.len()].copy_from_slice(&from[panel.channels.clone()]);
            }
            return;
        };
        let product = Product {
            rows: &Rows::Strided { values, stride: inputs, width: inputs },
            inputs: 0..inputs,
            taps: &[0],
            panel: weights.panel(panel.channels.start),
            panel_inputs: inputs,
            columns: panel.columns,
            offsets,
            channels: panel.channels.len(),
            add: false,
            finish: Some(Finish { bias: Some(bias), residual: None, activation: Activation::Relu6 }),
            first_channel: panel.channels.start,
        };
        product.run_over(self.set, expanded, 0);
    }

    /// Projects a band, and adds the images to it in a residual block; `y` begins with the row `start`.
    fn project(
        &self,
        x: &[f32],
        (filtered, pitch): (&[f32], usize),
        band: &Range<usize>,
        start: usize,
        columns: usize,
        y: &mut [MaybeUninit<f32>],
    ) {
        let Pointwise { weights, bias } = &self.project;
        let outputs = self.outputs();
        let offsets: Offsets = (0..band.len() * columns).map(|pixel| pixel * outputs).collect();
        let finish =
            Finish { bias: Some(bias), residual: self.residual.then_some(x), activation: Activation::Identity };
        for panel in weights.panels(0) {
            let first = panel.channels.start;
            let product = Product {
                rows: &Rows::Strided { values: filtered, stride: pitch, width: self.expanded },
                inputs: 0..self.expanded,
                taps: &[0],
                panel: panel.values,
                panel_inputs: self.expanded,
                columns: panel.columns,
                offsets: &offsets,
                channels: panel.channels.len(),
                add: false,
                finish: Some(finish),
                first_channel: first,
            };
            let place = (band.start - start) * columns * outputs + first;
            // SAFETY: nothing is added to what is there.
            unsafe { product.run(self.set, &mut y[place..], band.start * columns * outputs + first) };
        }
    }
}

/// Where expanded rows lie: row `r` in slot `r % slots`, `width` pixels long, of which `columns` from `before` on
/// are the image's.
struct Ring {
    slots: usize,
    width: usize,
    before: usize,
    columns: usize,
}

impl Ring {
    /// The first pixel of a row's slot.
    fn place(&self, row: usize) -> usize {
        row % self.slots * self.width
    }

    /// Where the pixels of some of the image's rows lie in a panel of `columns`.
    fn offsets(&self, rows: Range<usize>, columns: usize) -> Offsets {
        let pixels = |row| {
            let first = self.place(row) + self.before;
            first..first + self.columns
        };
        rows.flat_map(pixels).map(|pixel| pixel * columns).collect()
    }

    /// Where the values of those rows lie in an image of `channels`.
    fn values(&self, rows: &Range<usize>, channels: usize) -> Range<usize> {
        let row = self.columns * channels;
        rows.start.min(rows.end) * row..rows.end * row
    }
}

/// How the output is divided among threads: by images, and by rows if there are too few images. That changes no
/// bits, because each pixel is computed in the same way wherever a part begins; only the rows that two parts need
/// are expanded twice.
fn parts(images: usize, rows: usize) -> Vec<Part> {
    let threads = if may_split() { threads() } else { 1 };
    let pieces = if images.is_multiple_of(threads) || images >= 4 * threads { 1 } else { threads.min(rows).max(1) };
    let part = |piece: usize| rows * piece / pieces..rows * (piece + 1) / pieces;
    let of = |image| (0..pieces).map(move |piece| Part { image, rows: part(piece) });
    (0..images).flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::super::depthwise_panels::Side;
    use super::*;
    use crate::test_support::{near, numbers};
    use crate::threads::in_pool;

    /// The output for one square image by the definition, in f64.
    fn by_definition(
        side: Side,
        [c, e, o, k, stride]: [usize; 5],
        x: &[f32],
        weights: &Weights,
        adds: bool,
    ) -> Vec<f64> {
        let six = |value: f64| value.clamp(0.0, 6.0);
        let wide = |value: f32| f64::from(value);
        let expanded = |pixel: usize, channel: usize| match &weights.expand {
            None => wide(x[pixel * c + channel]),
            Some(w) => {
                let sum: f64 = (0..c).map(|i| wide(x[pixel * c + i]) * wide(w[channel * c + i])).sum();
                six(sum + wide(weights.expand_bias[channel]))
            }
        };
        let mut y = Vec::new();
        for (row, column) in (0..side.output).flat_map(|row| (0..side.output).map(move |column| (row, column))) {
            let filtered: Vec<f64> = (0..e)
                .map(|channel| {
                    let mut sum = wide(weights.depthwise_bias[channel]);
                    for (i, j) in (0..k).flat_map(|i| (0..k).map(move |j| (i, j))) {
                        let at = |place: usize, tap: usize| {
                            (place * stride + tap).checked_sub(side.before).filter(|&at| at < side.source)
                        };
                        if let (Some(r), Some(q)) = (at(row, i), at(column, j)) {
                            let w = weights.depthwise[(channel * k + i) * k + j];
                            sum += expanded(r * side.source + q, channel) * wide(w);
                        }
                    }
                    six(sum)
                })
                .collect();
            for output in 0..o {
                let sum: f64 = (0..e).map(|i| filtered[i] * wide(weights.project[output * e + i])).sum();
                let input = if adds { wide(x[(row * side.source + column) * c + output]) } else { 0.0 };
                y.push(sum + wide(weights.project_bias[output]) + input);
            }
        }
        y
    }

    struct Weights {
        expand: Option<Vec<f32>>,
        expand_bias: Vec<f32>,
        depthwise: Vec<f32>,
        depthwise_bias: Vec<f32>,
        project: Vec<f32>,
        project_bias: Vec<f32>,
    }

    #[test]
    fn every_instruction_set_agrees_with_the_definition_in_f64() {
        // channels in, expanded and out, kernel, stride, side, zeros before: whole and partial vectors and panels
        for ([c, e, o, k, stride], side, before) in [
            ([5, 70, 5, 3, 1], 9, 1),
            ([4, 64, 33, 5, 2], 15, 2),
            ([3, 9, 7, 5, 1], 7, 2),
            ([2, 18, 3, 3, 2], 16, 0),
            ([2, 5, 3, 2, 3], 8, 0),
            // more than one band, and panels of two widths except with AVX-512
            ([3, 18, 5, 3, 1], 14, 1),
        ] {
            let side = Side { source: side, output: side.div_ceil(stride), before };
            for (expands, adds) in [(true, (c, stride) == (o, 1)), (false, false)] {
                let c = if expands { c } else { e };
                let weights = Weights {
                    expand: expands.then(|| numbers("expand", e * c)),
                    expand_bias: numbers("expand bias", e),
                    depthwise: numbers("depthwise", e * k * k),
                    depthwise_bias: numbers("depthwise bias", e),
                    project: numbers("project", o * e),
                    project_bias: numbers("project bias", o),
                };
                let x = numbers("x", side.source * side.source * c);
                let right = by_definition(side, [c, e, o, k, stride], &x, &weights, adds);
                for set in InstructionSet::here() {
                    let expand = weights.expand.as_ref();
                    let expand = expand.map(|w| Pointwise::new(set, w, weights.expand_bias.clone(), c));
                    let depthwise = (&weights.depthwise[..], &weights.depthwise_bias[..]);
                    let project = Pointwise::new(set, &weights.project, weights.project_bias.clone(), e);
                    let block = Block::new(set, expand, depthwise, project, (k, stride, adds));
                    let run = || block.run(Images { count: 1, rows: side, columns: side }, &x);
                    near(&in_pool(1, run).unwrap(), &right, 1e-5);
                    near(&run(), &right, 1e-5);
                }
            }
        }
    }
}
