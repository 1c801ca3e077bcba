//! Attention of several heads, some queries at a time: the scores of those with all keys are all that is ever written.

#![allow(unsafe_code)]

use super::buffer::written;
use super::pack::{Packed, Strides};
use super::simd::InstructionSet;
use super::smooth::{exponential_rows, scaled_rows, softmax_gradient_rows};
use super::tile::{self, Offsets, Outer, Product, Rows};
use crate::threads::{for_each_chunk, for_each_part, may_split, threads};
use std::mem::MaybeUninit;
use std::ops::Range;

/// Queries whose scores are computed together.
const QUERIES: usize = 48;

/// Queries `(images, queries, heads · width)` of keys and values `(images, keys, 2 · heads · width)`, the keys of all
/// heads before the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heads {
    pub(crate) images: usize,
    pub(crate) queries: usize,
    pub(crate) keys: usize,
    pub(crate) heads: usize,
    pub(crate) width: usize,
}

/// One head of one image: where its rows begin, and how far they lie apart.
struct Head<'a> {
    keys: &'a [f32],
    values: &'a [f32],
    stride: usize,
}

/// Some queries of an image.
struct Part {
    image: usize,
    queries: Range<usize>,
}

impl Heads {
    /// The width of all heads.
    pub(crate) fn row(&self) -> usize {
        self.heads * self.width
    }

    /// What scores are multiplied by before the softmax: 1 / √width.
    fn scale(&self) -> f32 {
        (1.0 / (self.width as f64).sqrt()) as f32
    }

    /// Multiplications and additions of one product of all heads.
    fn operations(&self) -> usize {
        let each = 2usize.saturating_mul(self.queries).saturating_mul(self.keys).saturating_mul(self.row());
        each.saturating_mul(self.images)
    }

    fn check(&self, q: &[f32], kv: &[f32]) {
        assert!(self.heads > 0 && self.width > 0 && self.keys > 0, "attention to nothing");
        assert_eq!(q.len(), self.images * self.queries * self.row(), "queries of wrong size");
        assert_eq!(kv.len(), self.images * self.keys * 2 * self.row(), "keys and values of wrong size");
    }

    fn head<'a>(&self, kv: &'a [f32], image: usize, head: usize) -> Head<'a> {
        let (row, stride) = (self.row(), 2 * self.row());
        let of_image = &kv[image * self.keys * stride..][..self.keys * stride];
        Head { keys: &of_image[head * self.width..], values: &of_image[row + head * self.width..], stride }
    }

    /// softmax(q kᵀ / √width) v of each head: `(images, queries, heads · width)`. A query's bits do not depend on the
    /// others.
    pub(crate) fn forward(&self, set: InstructionSet, q: &[f32], kv: &[f32]) -> Vec<f32> {
        self.check(q, kv);
        let row = self.row();
        let parts = parts(self.images, self.queries);
        let lengths: Vec<usize> = parts.iter().map(|part| part.queries.len() * row).collect();
        // SAFETY: parts cover the output, and each writes all of its queries, head by head.
        unsafe {
            written(q.len(), |y| {
                for_each_part(y, &lengths, 2 * self.operations(), |index, y| {
                    let Part { image, queries } = &parts[index];
                    let first = image * self.queries + queries.start;
                    let q = &q[first * row..(first + queries.len()) * row];
                    for head in 0..self.heads {
                        self.forward_head(set, (q, head * self.width), self.head(kv, *image, head), y);
                    }
                });
            })
        }
    }

    /// Writes one head's columns, from `column` on, of the outputs of some queries.
    fn forward_head(&self, set: InstructionSet, (q, column): (&[f32], usize), head: Head, y: &mut [MaybeUninit<f32>]) {
        let &Self { keys, width, .. } = self;
        let (row, pitch) = (self.row(), tile::padded(set, keys));
        let packed_keys =
            Packed::new(set, head.keys, (1, 1, width, keys), Strides { group: 0, input: 1, output: head.stride });
        let values =
            Packed::new(set, head.values, (1, 1, keys, width), Strides { group: 0, input: head.stride, output: 1 });
        let mut scores = vec![0.0; QUERIES.min(q.len() / row) * pitch];
        let mut sums = vec![0.0; QUERIES * width];
        let mut inverse = [0.0; QUERIES];
        for (q, y) in q.chunks(QUERIES * row).zip(y.chunks_mut(QUERIES * row)) {
            let queries = q.len() / row;
            let (scores, inverse) = (&mut scores[..queries * pitch], &mut inverse[..queries]);
            product(set, (&q[column..], row), &packed_keys, (scores, pitch));
            exponential_rows(set, scores, pitch, keys, self.scale(), inverse);
            product(set, (scores, pitch), &values, (&mut sums, width));
            scaled_rows(set, &sums, &mut y[column..], [width, row], width, inverse);
        }
    }

    /// The gradients with respect to `q` and `kv` for the gradient `g` of the result, one after the other. Scores are
    /// computed again (Dao et al. 2022, algorithm 4).
    pub(crate) fn backward(&self, set: InstructionSet, q: &[f32], kv: &[f32], g: &[f32]) -> Vec<f32> {
        self.check(q, kv);
        assert_eq!(q.len(), g.len(), "a gradient of wrong size");
        let (of_q, of_kv) = (self.queries * self.row(), self.keys * 2 * self.row());
        if of_q == 0 {
            return vec![0.0; kv.len()];
        }
        // SAFETY: each image's head writes its columns of the queries' gradients, and of the keys' and values'.
        unsafe {
            written(q.len() + kv.len(), |all| {
                let (dq, dkv) = all.split_at_mut(q.len());
                let mut images: Vec<_> = dq.chunks_mut(of_q).zip(dkv.chunks_mut(of_kv)).collect();
                for_each_chunk(&mut images, 1, 5 * self.operations(), |image, each| {
                    let (dq, dkv) = &mut each[0];
                    let (q, g) = (&q[image * of_q..][..of_q], &g[image * of_q..][..of_q]);
                    for head in 0..self.heads {
                        let column = head * self.width;
                        let keys = self.head(kv, image, head);
                        self.backward_head(
                            set,
                            (&q[column..], &g[column..]),
                            &keys,
                            (&mut dq[column..], &mut dkv[..], column),
                        );
                    }
                });
            })
        }
    }

    /// Writes one head's columns of both gradients of an image.
    fn backward_head(
        &self,
        set: InstructionSet,
        (q, g): (&[f32], &[f32]),
        head: &Head,
        (dq, dkv, column): (&mut [MaybeUninit<f32>], &mut [MaybeUninit<f32>], usize),
    ) {
        let &Self { keys, width, queries: all, .. } = self;
        let (row, pitch) = (self.row(), tile::padded(set, keys));
        let by_key = Strides { group: 0, input: 1, output: head.stride };
        let by_width = Strides { group: 0, input: head.stride, output: 1 };
        let k_columns = Packed::new(set, head.keys, (1, 1, width, keys), by_key);
        let v_columns = Packed::new(set, head.values, (1, 1, width, keys), by_key);
        let k_rows = Packed::new(set, head.keys, (1, 1, keys, width), by_width);
        let most = QUERIES.min(all);
        let (mut shares, mut slopes) = (vec![0.0; most * pitch], vec![0.0; most * pitch]);
        let mut sums = vec![0.0; most * width];
        let mut inverse = [0.0; QUERIES];
        let scale = self.scale();
        // gradients of keys and of values, added up over the queries
        let (mut dk, mut dv) = (vec![0.0; keys * width], vec![0.0; keys * width]);
        for first in (0..all).step_by(QUERIES) {
            let count = QUERIES.min(all - first);
            let (shares, slopes, inverse) =
                (&mut shares[..count * pitch], &mut slopes[..count * pitch], &mut inverse[..count]);
            let here = first * row..(first + count - 1) * row + width;
            let (q, g) = (&q[here.clone()], &g[here]);
            product(set, (q, row), &k_columns, (shares, pitch));
            exponential_rows(set, shares, pitch, keys, scale, inverse);
            product(set, (g, row), &v_columns, (slopes, pitch));
            softmax_gradient_rows(set, shares, slopes, pitch, keys, scale, inverse);
            product(set, (slopes, pitch), &k_rows, (&mut sums, width));
            let ones = [1.0; QUERIES];
            scaled_rows(set, &sums, &mut dq[first * row..], [width, row], width, &ones[..count]);
            for (rows, gradient, sums) in [(&*shares, g, &mut dv), (&*slopes, q, &mut dk)] {
                outer(set, (rows, pitch, keys), (gradient, row, count), (sums, width));
            }
        }
        let ones = vec![1.0; keys];
        scaled_rows(set, &dk, &mut dkv[column..], [width, head.stride], width, &ones);
        scaled_rows(set, &dv, &mut dkv[row + column..], [width, head.stride], width, &ones);
    }
}

/// `out` becomes rows times packed weights. Rows and those of `out` lie apart as given.
fn product(set: InstructionSet, (rows, stride): (&[f32], usize), weights: &Packed, (out, pitch): (&mut [f32], usize)) {
    let inputs = weights.inputs;
    let count = (rows.len() + stride - inputs) / stride;
    let offsets: Offsets = (0..count).map(|row| row * pitch).collect();
    let rows = Rows::Strided { values: rows, stride, width: inputs };
    for panel in weights.panels(0) {
        let product = Product {
            rows: &rows,
            inputs: 0..inputs,
            taps: &[0],
            panel: panel.values,
            panel_inputs: inputs,
            columns: panel.columns,
            offsets: &offsets,
            channels: panel.channels.len(),
            add: false,
            finish: None,
            first_channel: panel.channels.start,
        };
        product.run_over(set, &mut out[panel.channels.start..], 0);
    }
}

/// Adds rowsᵀ · gradient to `sums (columns of rows, width)`.
fn outer(
    set: InstructionSet,
    (rows, pitch, columns): (&[f32], usize, usize),
    (gradient, stride, count): (&[f32], usize, usize),
    (sums, width): (&mut [f32], usize),
) {
    let rows = Rows::Strided { values: rows, stride: pitch, width: columns };
    for channel in (0..width).step_by(tile::block(set)) {
        let outer = Outer {
            rows: &rows,
            inputs: 0..columns,
            gradient: &gradient[channel..],
            gradient_stride: stride,
            pixels: count,
            channels: tile::block(set).min(width - channel),
            add: true,
        };
        outer.run_over(set, &mut sums[channel..], width);
    }
}

/// How the queries are divided among threads: by images, and by queries if there are too few images.
fn parts(images: usize, queries: usize) -> Vec<Part> {
    let threads = if may_split() { threads() } else { 1 };
    let pieces = if images.is_multiple_of(threads) || images >= 4 * threads { 1 } else { threads.min(queries).max(1) };
    let part = |piece: usize| queries * piece / pieces..queries * (piece + 1) / pieces;
    (0..images).flat_map(|image| (0..pieces).map(move |piece| Part { image, queries: part(piece) })).collect()
}
