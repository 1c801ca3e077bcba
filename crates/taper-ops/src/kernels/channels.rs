//! Loops over rows of `c` channels: sums by channel, and sums of tensors weighted by channel.
//!
//! Sums run over chunks of fixed size, each summed separately, and the chunks added in order in
//! f64: accurate, and with the same bits on any number of threads.

#![allow(unsafe_code)]

use super::buffer::{Unwritten, Written, in_chunks, write_rows};
use super::simd::{InstructionSet, vectorized};
use crate::element::Element;
use crate::threads::for_each_chunk;

/// Values in a chunk: few enough to stay in the nearer caches.
const CHUNK: usize = 16_384;

/// How many rows are summed at a time, which the last bits of a sum depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowsPerChunk {
    /// As many as fit in the nearer caches.
    ByChannels,
    /// This many, for any number of channels: for channels that are images, whose bits must not
    /// depend on how many there are.
    Fixed(usize),
}

impl RowsPerChunk {
    fn of(self, c: usize) -> usize {
        match self {
            Self::ByChannels => (CHUNK / c).max(16),
            Self::Fixed(rows) => rows,
        }
    }
}

pub(crate) fn narrow<T: Element>(values: &[f64]) -> Vec<T> {
    values.iter().map(|&value| T::of(value)).collect()
}

/// Σ over chunks, in order, of the `width` sums that `add` makes of a range of rows.
pub(crate) fn sum_chunks<T: Element>(
    rows: usize,
    c: usize,
    width: usize,
    step: RowsPerChunk,
    add: impl Fn(std::ops::Range<usize>, &mut [T]) + Sync + Send,
) -> Vec<f64> {
    let step = step.of(c);
    let mut parts = vec![T::ZERO; rows.div_ceil(step) * width];
    for_each_chunk(&mut parts, width, rows * c * 4, |index, part| {
        add(index * step..rows.min((index + 1) * step), part);
    });
    let mut total = vec![0.0; width];
    for part in parts.chunks_exact(width) {
        for (total, &part) in total.iter_mut().zip(part) {
            *total += part.to_f64();
        }
    }
    total
}

vectorized! {
    fn scale_rows<T: Element>(x: &[T], scale: &[T], shift: &[T], y: Unwritten<'_, T>) -> Written {
        let c = scale.len();
        let shift = &shift[..c];
        write_rows!(y, c, [x], |k| x[k] * scale[k] + shift[k])
    }

    fn normalize_rows<T: Element>(x: &[T], mean: &[T], scale: &[T], shift: &[T], y: Unwritten<'_, T>) -> Written {
        let c = scale.len();
        let (mean, shift) = (&mean[..c], &shift[..c]);
        write_rows!(y, c, [x], |k| (x[k] - mean[k]) * scale[k] + shift[k])
    }

    fn normalize_rectified_rows<T: Element>(
        x: &[T], mean: &[T], scale: &[T], shift: &[T], y: &mut [T], positive: &mut [u8],
    ) {
        let c = scale.len();
        let (mean, shift) = (&mean[..c], &shift[..c]);
        for ((x, y), positive) in x.chunks_exact(c).zip(y.chunks_exact_mut(c)).zip(positive.chunks_exact_mut(c)) {
            for k in 0..c {
                let value = (x[k] - mean[k]) * scale[k] + shift[k];
                let nothing = value <= T::ZERO;
                y[k] = if nothing { T::ZERO } else { value };
                positive[k] = u8::from(!nothing);
            }
        }
    }

    /// Σ G, Σ G · (x − mean), where G is g under the mask.
    fn sum_masked_moments<T: Element>(x: &[T], mean: &[T], g: &[T], mask: &[u8], sums: &mut [T]) {
        let c = mean.len();
        assert!(x.len() == g.len() && x.len() == mask.len() && sums.len() == 2 * c, "rows of wrong length");
        let (plain, centered) = sums.split_at_mut(c);
        let centered = &mut centered[..c];
        for ((x, g), mask) in x.chunks_exact(c).zip(g.chunks_exact(c)).zip(mask.chunks_exact(c)) {
            for k in 0..c {
                let g = if mask[k] != 0 { g[k] } else { T::ZERO };
                plain[k] += g;
                centered[k] += g * (x[k] - mean[k]);
            }
        }
    }

    fn masked_mix_two_rows<T: Element>(
        x: &[T], mean: &[T], scale: &[T], g: &[T], mask: &[u8], g_scale: &[T], shift: &[T], y: Unwritten<'_, T>,
    ) -> Written {
        let c = scale.len();
        let (mean, g_scale, shift) = (&mean[..c], &g_scale[..c], &shift[..c]);
        write_rows!(y, c, [x, g, mask], |k| {
            let g = if mask[k] != 0 { g[k] } else { T::ZERO };
            (x[k] - mean[k]) * scale[k] + g * g_scale[k] + shift[k]
        })
    }

    fn mix_two_rows<T: Element>(
        x: &[T], mean: &[T], scale: &[T], other: &[T], other_scale: &[T], shift: &[T], y: Unwritten<'_, T>,
    ) -> Written {
        let c = scale.len();
        let (mean, other_scale, shift) = (&mean[..c], &other_scale[..c], &shift[..c]);
        write_rows!(y, c, [x, other], |k| (x[k] - mean[k]) * scale[k] + other[k] * other_scale[k] + shift[k])
    }

    fn mix_three_rows<T: Element>(
        x: &[T], mean: &[T], scale: &[T], a: &[T], a_scale: &[T], b: &[T], b_scale: &[T], shift: &[T],
        y: Unwritten<'_, T>,
    ) -> Written {
        let c = scale.len();
        let (mean, a_scale, b_scale, shift) = (&mean[..c], &a_scale[..c], &b_scale[..c], &shift[..c]);
        write_rows!(y, c, [x, a, b], |k| {
            (x[k] - mean[k]) * scale[k] + a[k] * a_scale[k] + b[k] * b_scale[k] + shift[k]
        })
    }

    fn sum_rows<T: Element>(x: &[T], sums: &mut [T]) {
        let c = sums.len();
        let fours = x.chunks_exact(4 * c);
        for row in fours.remainder().chunks_exact(c) {
            for k in 0..c {
                sums[k] += row[k];
            }
        }
        for rows in fours {
            let ((p, q), (r, s)) = halves(rows);
            for k in 0..c {
                sums[k] += (p[k] + q[k]) + (r[k] + s[k]);
            }
        }
    }

    /// Σ (x − mean)².
    fn sum_squares<T: Element>(x: &[T], mean: &[T], sums: &mut [T]) {
        let c = sums.len();
        let mean = &mean[..c];
        let fours = x.chunks_exact(4 * c);
        for row in fours.remainder().chunks_exact(c) {
            for k in 0..c {
                sums[k] += (row[k] - mean[k]) * (row[k] - mean[k]);
            }
        }
        for rows in fours {
            let ((p, q), (r, s)) = halves(rows);
            for k in 0..c {
                let (p, q, r, s) = (p[k] - mean[k], q[k] - mean[k], r[k] - mean[k], s[k] - mean[k]);
                sums[k] += (p * p + q * q) + (r * r + s * s);
            }
        }
    }

    /// Σ x · y.
    fn sum_products<T: Element>(x: &[T], y: &[T], sums: &mut [T]) {
        let c = sums.len();
        assert!(x.len() == y.len(), "rows of wrong length");
        let (xs, ys) = (x.chunks_exact(2 * c), y.chunks_exact(2 * c));
        for (x, y) in xs.remainder().chunks_exact(c).zip(ys.remainder().chunks_exact(c)) {
            for k in 0..c {
                sums[k] += x[k] * y[k];
            }
        }
        for (x, y) in xs.zip(ys) {
            let ((p, q), (r, s)) = (x.split_at(c), y.split_at(c));
            let (p, q, r, s) = (&p[..c], &q[..c], &r[..c], &s[..c]);
            for k in 0..c {
                sums[k] += p[k] * r[k] + q[k] * s[k];
            }
        }
    }

    /// Σ g, Σ g · (x − mean), one after the other in `sums`.
    fn sum_moments<T: Element>(x: &[T], mean: &[T], g: &[T], sums: &mut [T]) {
        let c = mean.len();
        assert!(x.len() == g.len() && sums.len() == 2 * c, "rows of wrong length");
        let (plain, centered) = sums.split_at_mut(c);
        let (xs, gs) = (x.chunks_exact(2 * c), g.chunks_exact(2 * c));
        for (x, g) in xs.remainder().chunks_exact(c).zip(gs.remainder().chunks_exact(c)) {
            for k in 0..c {
                plain[k] += g[k];
                centered[k] += g[k] * (x[k] - mean[k]);
            }
        }
        for (x, g) in xs.zip(gs) {
            let ((p, q), (r, s)) = (x.split_at(c), g.split_at(c));
            let (p, q, r, s) = (&p[..c], &q[..c], &r[..c], &s[..c]);
            for k in 0..c {
                plain[k] += r[k] + s[k];
                centered[k] += r[k] * (p[k] - mean[k]) + s[k] * (q[k] - mean[k]);
            }
        }
    }
}

type Pair<'a, T> = (&'a [T], &'a [T]);

/// Four rows of equal length.
#[inline(always)]
fn halves<T>(rows: &[T]) -> (Pair<'_, T>, Pair<'_, T>) {
    let (top, bottom) = rows.split_at(rows.len() / 2);
    (top.split_at(top.len() / 2), bottom.split_at(bottom.len() / 2))
}

/// `x · scale + shift`.
pub(crate) fn scale_shift<T: Element>(set: InstructionSet, x: &[T], scale: &[T], shift: &[T]) -> Vec<T> {
    in_chunks(x.len(), scale.len(), |at, y| scale_rows(set, &x[at..at + y.len()], scale, shift, y))
}

/// `(x − mean) · scale + shift`: subtracting first loses no precision if the mean is large.
pub(crate) fn normalize<T: Element>(set: InstructionSet, x: &[T], mean: &[f64], scale: &[f64], shift: &[T]) -> Vec<T> {
    let (mean, scale) = (narrow(mean), narrow(scale));
    in_chunks(x.len(), scale.len(), |at, y| normalize_rows(set, &x[at..at + y.len()], &mean, &scale, shift, y))
}

/// A tensor and its weights by channel.
pub(crate) type Weighted<'a, T> = (&'a [T], &'a [f64]);

/// `(x − mean) · scale + a · a_scale + shift`.
pub(crate) fn mix_two<T: Element>(
    set: InstructionSet,
    (x, scale): Weighted<T>,
    mean: &[f64],
    (a, a_scale): Weighted<T>,
    shift: &[f64],
) -> Vec<T> {
    let (mean, scale, a_scale, shift) = (narrow(mean), narrow(scale), narrow(a_scale), narrow(shift));
    in_chunks(x.len(), scale.len(), |at, y| {
        let here = at..at + y.len();
        mix_two_rows(set, &x[here.clone()], &mean, &scale, &a[here], &a_scale, &shift, y)
    })
}

/// `(x − mean) · scale + shift` rectified, and 1 where it was positive (or NaN).
pub(crate) fn normalize_rectified<T: Element>(
    set: InstructionSet,
    x: &[T],
    mean: &[f64],
    scale: &[f64],
    shift: &[T],
) -> (Vec<T>, Vec<u8>) {
    let (mean, scale) = (narrow(mean), narrow(scale));
    let chunk = scale.len() * (65_536 / scale.len()).max(16);
    let (mut y, mut positive) = (vec![T::ZERO; x.len()], vec![0; x.len()]);
    let mut parts: Vec<_> = y.chunks_mut(chunk).zip(positive.chunks_mut(chunk)).collect();
    for_each_chunk(&mut parts, 1, x.len() * 4, |index, part| {
        let (y, positive) = &mut part[0];
        let x = &x[index * chunk..index * chunk + y.len()];
        normalize_rectified_rows(set, x, &mean, &scale, shift, y, positive);
    });
    (y, positive)
}

/// `(x − mean) · scale + G · g_scale + shift`, where G is g under the mask.
pub(crate) fn masked_mix_two<T: Element>(
    set: InstructionSet,
    (x, scale): Weighted<T>,
    mean: &[f64],
    (g, g_scale): Weighted<T>,
    mask: &[u8],
    shift: &[f64],
) -> Vec<T> {
    let (mean, scale, g_scale, shift) = (narrow(mean), narrow(scale), narrow(g_scale), narrow(shift));
    in_chunks(x.len(), scale.len(), |at, y| {
        let here = at..at + y.len();
        let (x, g, mask) = (&x[here.clone()], &g[here.clone()], &mask[here]);
        masked_mix_two_rows(set, x, &mean, &scale, g, mask, &g_scale, &shift, y)
    })
}

/// Σ G and Σ G · (x − mean), by channel, one after the other, where G is g under the mask.
pub(crate) fn masked_moments<T: Element>(set: InstructionSet, x: &[T], mean: &[f64], g: &[T], mask: &[u8]) -> Vec<f64> {
    let c = mean.len();
    let mean = narrow(mean);
    sum_chunks(x.len() / c, c, 2 * c, RowsPerChunk::ByChannels, |rows, sums| {
        let here = rows.start * c..rows.end * c;
        sum_masked_moments(set, &x[here.clone()], &mean, &g[here.clone()], &mask[here], sums);
    })
}

/// `(x − mean) · scale + a · a_scale + b · b_scale + shift`.
pub(crate) fn mix_three<T: Element>(
    set: InstructionSet,
    (x, scale): Weighted<T>,
    mean: &[f64],
    (a, a_scale): Weighted<T>,
    (b, b_scale): Weighted<T>,
    shift: &[f64],
) -> Vec<T> {
    let (mean, scale, shift) = (narrow(mean), narrow(scale), narrow(shift));
    let (a_scale, b_scale) = (narrow(a_scale), narrow(b_scale));
    in_chunks(x.len(), scale.len(), |at, y| {
        let here = at..at + y.len();
        let (x, a, b) = (&x[here.clone()], &a[here.clone()], &b[here]);
        mix_three_rows(set, x, &mean, &scale, a, &a_scale, b, &b_scale, &shift, y)
    })
}

/// Σ x, by channel.
pub(crate) fn sum<T: Element>(set: InstructionSet, x: &[T], c: usize, step: RowsPerChunk) -> Vec<f64> {
    sum_chunks(x.len() / c, c, c, step, |rows, sums| sum_rows(set, &x[rows.start * c..rows.end * c], sums))
}

/// Σ x · y, by channel.
pub(crate) fn dot<T: Element>(set: InstructionSet, x: &[T], y: &[T], c: usize, step: RowsPerChunk) -> Vec<f64> {
    sum_chunks(x.len() / c, c, c, step, |rows, sums| {
        let here = rows.start * c..rows.end * c;
        sum_products(set, &x[here.clone()], &y[here], sums);
    })
}

/// Σ g and Σ g · (x − mean), by channel, one after the other.
pub(crate) fn moments<T: Element>(set: InstructionSet, x: &[T], mean: &[f64], g: &[T], step: RowsPerChunk) -> Vec<f64> {
    let c = mean.len();
    let mean = narrow(mean);
    sum_chunks(x.len() / c, c, 2 * c, step, |rows, sums| {
        let here = rows.start * c..rows.end * c;
        sum_moments(set, &x[here.clone()], &mean, &g[here], sums);
    })
}

/// Mean and biased variance by channel: each chunk's sum and squares about its own mean, with the
/// chunks merged (Chan, Golub and LeVeque 1983, equation 2.1).
pub(crate) fn mean_variance<T: Element>(
    set: InstructionSet,
    x: &[T],
    c: usize,
    step: RowsPerChunk,
) -> (Vec<f64>, Vec<f64>) {
    let (rows, step) = (x.len() / c, step.of(c));
    let mut parts = vec![T::ZERO; rows.div_ceil(step) * 2 * c];
    for_each_chunk(&mut parts, 2 * c, rows * c * 4, |index, part| {
        let x = &x[index * step * c..rows.min((index + 1) * step) * c];
        let (mean, squares) = part.split_at_mut(c);
        sum_rows(set, x, mean);
        let share = T::of(c as f64 / x.len() as f64);
        for mean in mean.iter_mut() {
            *mean *= share;
        }
        sum_squares(set, x, mean, squares);
    });
    let count = |index: usize| (rows.min((index + 1) * step) - index * step) as f64;
    let (mut mean, mut variance) = (vec![0.0; c], vec![0.0; c]);
    for (index, part) in parts.chunks_exact(2 * c).enumerate() {
        for (mean, &part) in mean.iter_mut().zip(part) {
            *mean += part.to_f64() * count(index) / rows as f64;
        }
    }
    for (index, part) in parts.chunks_exact(2 * c).enumerate() {
        for k in 0..c {
            let off = part[k].to_f64() - mean[k];
            variance[k] += (part[c + k].to_f64() + count(index) * off * off) / rows as f64;
        }
    }
    (mean, variance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{near, near_sums, numbers};
    use proptest::prelude::*;

    const BY: RowsPerChunk = RowsPerChunk::ByChannels;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn every_instruction_set_agrees_with_f64(rows in 1usize..700, c in 1usize..70) {
            let (x, g, v) = (numbers("x", rows * c), numbers("g", rows * c), numbers("v", rows * c));
            let wide = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
            let (wx, wg, wv) = (wide(&x), wide(&g), wide(&v));
            let scale = wide(&numbers("scale", c));
            let (mean, variance) = mean_variance(InstructionSet::Portable, &wx, c, BY);
            for k in 0..c {
                let column: Vec<f64> = wx[k..].iter().step_by(c).copied().collect();
                let right = column.iter().sum::<f64>() / rows as f64;
                let spread = column.iter().map(|x| (x - right) * (x - right)).sum::<f64>() / rows as f64;
                prop_assert!((right - mean[k]).abs() < 1e-12 && (spread - variance[k]).abs() < 1e-12);
            }
            let right = moments(InstructionSet::Portable, &wx, &mean, &wg, BY);
            let right_dot = dot(InstructionSet::Portable, &wg, &wv, c, BY);
            let mixed = mix_three(InstructionSet::Portable, (&wx, &scale), &mean, (&wg, &mean), (&wv, &scale), &scale);
            for (i, &ours) in mixed.iter().enumerate() {
                let k = i % c;
                let right = (wx[i] - mean[k]) * scale[k] + wg[i] * mean[k] + wv[i] * scale[k] + scale[k];
                prop_assert!((right - ours).abs() < 1e-12);
            }
            // the terms of all sums are about a quarter; those of means are divided by their number
            let sizes = |sums: &[f64], count: usize| vec![count as f64 / 4.0; sums.len()];
            let sums = |ours: &[f64], right: &[f64]| near_sums(ours, right, &sizes(right, rows), 2e-6);
            for set in InstructionSet::here() {
                let (m, s) = mean_variance(set, &x, c, BY);
                near_sums(&m, &mean, &sizes(&mean, 1), 2e-6);
                near_sums(&s, &variance, &sizes(&variance, 1), 2e-6);
                sums(&sum(set, &g, c, BY), &right[..c]);
                sums(&dot(set, &g, &v, c, BY), &right_dot);
                sums(&moments(set, &x, &mean, &g, BY), &right);
                near(&mix_three(set, (&x, &scale), &mean, (&g, &mean), (&v, &scale), &scale), &mixed, 1e-5);
                let two = mix_two(InstructionSet::Portable, (&wx, &scale), &mean, (&wg, &mean), &scale);
                near(&mix_two(set, (&x, &scale), &mean, (&g, &mean), &scale), &two, 1e-5);
                let f: Vec<f32> = narrow(&scale);
                near(&scale_shift(set, &x, &f, &f), &scale_shift(set, &wx, &scale, &scale), 1e-5);
            }
        }
    }

    #[test]
    fn sums_have_the_same_bits_on_any_number_of_threads() {
        let x = numbers("x", 40_000 * 24);
        let run = |threads| crate::in_pool(threads, || mean_variance(InstructionSet::best(), &x, 24, BY)).unwrap();
        let alone = run(1);
        for threads in [2, 3, 8] {
            assert_eq!(run(threads), alone);
        }
    }

    #[test]
    fn the_variance_survives_a_mean_far_from_zero() {
        let x: Vec<f32> = numbers("x", 5_000 * 3).iter().map(|x| x + 1_000.0).collect();
        let wide: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
        let (_, right) = mean_variance(InstructionSet::Portable, &wide, 3, BY);
        near(&mean_variance(InstructionSet::best(), &x, 3, BY).1, &right, 1e-4);
    }
}
