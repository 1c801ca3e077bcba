//! The exponential function and what is made of it: both forms of GELU, and softmax.

#![allow(unsafe_code)]

use super::buffer::{Unwritten, Written};
use super::lanes::Lanes;
use super::simd::over_lanes;

/// The two forms of GELU (Hendrycks and Gimpel 2016).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gelu {
    /// x · Φ(x), with Φ the distribution function of the normal distribution.
    Exact,
    /// x · sigmoid(1.702 x), as in CLIP (Radford et al. 2021).
    Quick,
}

/// 1.5 · 2²³: added to a small number, its last bits become that number rounded to an integer.
const ROUND: f32 = 12_582_912.0;

/// ln 2 in two parts, the first with so few bits that small multiples of it are exact.
const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];

/// eˣ for x within half of ln 2 as a polynomial of x, to a relative 2e-9, constant term first: fitted as [`TAIL`] is.
const POWERS: [f32; 7] = [1.0, 1.0, 0.499_999_9, 0.166_664_2, 0.041_668_225, 8.374_824e-3, 1.383_683_5e-3];

/// eˣ, to a relative 2e-7, for x up to 88; below -87 it is e⁻⁸⁷. NaN stays NaN.
///
/// # Safety
/// As [`Lanes`] asks.
#[inline(always)]
unsafe fn exponential<L: Lanes>(x: L) -> L {
    // SAFETY: the caller's promise.
    unsafe {
        let x = x.at_least(L::splat(-87.0)).at_most(L::splat(88.0));
        let power = L::splat(ROUND).plus_product(x, L::splat(std::f32::consts::LOG2_E));
        let k = power.minus(L::splat(ROUND));
        let rest = x.plus_product(k, L::splat(-LN_2[0])).plus_product(k, L::splat(-LN_2[1]));
        let mut y = L::splat(POWERS[6]);
        for place in (0..6).rev() {
            y = L::splat(POWERS[place]).plus_product(y, rest);
        }
        y.times(power.power_of_two())
    }
}

/// Φ(-u) · e^(u²/2) for u from 0 to 14 as a polynomial of t = 1 / (1 + 0.26 u), to a relative 4e-7, constant term
/// first: fitted by weighted least squares at Chebyshev's nodes, with weights that even out the error (Lawson 1961).
const TAIL: [f32; 8] =
    [3.572_605e-5, 0.102_938_92, 0.110_970_57, 0.060_217_39, 0.192_206_19, -0.135_466, 0.246_337_12, -0.077_240_09];

/// u = |x| with NaN, φ(u) √2π, and Φ(-u).
///
/// # Safety
/// As [`Lanes`] asks.
#[inline(always)]
unsafe fn normal_tail<L: Lanes>(x: L) -> (L, L, L) {
    // SAFETY: the caller's promise.
    unsafe {
        let u = x.magnitude();
        let t = L::splat(1.0).over(L::splat(1.0).plus_product(u, L::splat(0.26)));
        let mut tail = L::splat(TAIL[7]);
        for place in (0..7).rev() {
            tail = L::splat(TAIL[place]).plus_product(tail, t);
        }
        let density = exponential(u.times(u).times(L::splat(-0.5)));
        (u, density, density.times(tail))
    }
}

/// # Safety
/// As [`Lanes`] asks.
#[inline(always)]
unsafe fn gelu<L: Lanes>(x: L, form: Gelu) -> L {
    // SAFETY: the caller's promise.
    unsafe {
        match form {
            // max(x, 0) - u Φ(-u): no difference of nearly equal numbers on either side of 0
            Gelu::Exact => {
                let (u, _, tail) = normal_tail(x);
                // at infinity it is 0, not infinity times a small number
                x.rectified().minus(u.at_most(L::splat(1e18)).times(tail))
            }
            // below -60 it is 0 to all digits; at minus infinity too
            Gelu::Quick => {
                let x = x.at_least(L::splat(-60.0));
                x.over(L::splat(1.0).plus(exponential(x.times(L::splat(-QUICK)))))
            }
        }
    }
}

/// What the quick form multiplies by.
const QUICK: f32 = 1.702;

/// The derivative of [`gelu`].
///
/// # Safety
/// As [`Lanes`] asks.
#[inline(always)]
unsafe fn gelu_slope<L: Lanes>(x: L, form: Gelu) -> L {
    // SAFETY: the caller's promise.
    unsafe {
        let one = L::splat(1.0);
        match form {
            Gelu::Exact => {
                let (u, density, tail) = normal_tail(x);
                // 1 for positive numbers, 0 for negative ones: Φ(x) is Φ(-u) or 1 - Φ(-u)
                let positive = x.times(L::splat(1e38)).at_least(L::splat(0.0)).at_most(one);
                let below = tail.plus_product(positive, one.minus(tail.plus(tail)));
                // the density is 0 long before u is 1e3
                let root = L::splat((1.0 / (2.0 * std::f64::consts::PI).sqrt()) as f32);
                let x = positive.plus(positive).minus(one).times(u.at_most(L::splat(1e3)));
                below.plus_product(x.times(root), density)
            }
            Gelu::Quick => {
                let share = one.over(one.plus(exponential(x.times(L::splat(-QUICK)))));
                let rest = one.minus(share).times(share);
                let x = x.at_least(L::splat(-1e3)).at_most(L::splat(1e3));
                share.plus_product(x.times(L::splat(QUICK)), rest)
            }
        }
    }
}

over_lanes! {
    /// GELU of each value, in place.
    fn gelu_over<L>(values: &mut [f32], form: Gelu) {
        let whole = values.len() / L::WIDTH * L::WIDTH;
        // SAFETY: the vectors lie in the slice; the last one's tail is masked.
        unsafe {
            let at = values.as_mut_ptr();
            for k in (0..whole).step_by(L::WIDTH) {
                gelu(L::load(at.add(k)), form).store(at.add(k));
            }
            if whole < values.len() {
                let tail = values.len() - whole;
                gelu(L::load_first(at.add(whole), tail), form).store_first(at.add(whole), tail);
            }
        }
    }

    /// GELU of each value.
    fn gelu_values<L>(x: &[f32], form: Gelu, y: Unwritten<'_, f32>) -> Written {
        let mut y = y;
        // SAFETY: every value is written.
        let (slots, proof) = unsafe { y.slots() };
        assert_eq!(x.len(), slots.len(), "values of another number");
        let whole = x.len() / L::WIDTH * L::WIDTH;
        // SAFETY: the vectors lie in both slices, which are as long; the last one's tail is masked.
        unsafe {
            let (from, to) = (x.as_ptr(), slots.as_mut_ptr().cast::<f32>());
            for k in (0..whole).step_by(L::WIDTH) {
                gelu(L::load(from.add(k)), form).store(to.add(k));
            }
            if whole < x.len() {
                let tail = x.len() - whole;
                gelu(L::load_first(from.add(whole), tail), form).store_first(to.add(whole), tail);
            }
        }
        proof
    }

    /// `v` times the slope of GELU at `x`, value by value.
    fn gelu_slopes<L>(x: &[f32], v: &[f32], form: Gelu, y: Unwritten<'_, f32>) -> Written {
        let mut y = y;
        // SAFETY: every value is written.
        let (slots, proof) = unsafe { y.slots() };
        assert!(x.len() == slots.len() && v.len() == slots.len(), "values of another number");
        let whole = x.len() / L::WIDTH * L::WIDTH;
        // SAFETY: the vectors lie in the three slices, which are as long; the last one's tail is masked.
        unsafe {
            let (x, v, to) = (x.as_ptr(), v.as_ptr(), slots.as_mut_ptr().cast::<f32>());
            for k in (0..whole).step_by(L::WIDTH) {
                gelu_slope(L::load(x.add(k)), form).times(L::load(v.add(k))).store(to.add(k));
            }
            if whole < slots.len() {
                let tail = slots.len() - whole;
                let slope = gelu_slope(L::load_first(x.add(whole), tail), form);
                slope.times(L::load_first(v.add(whole), tail)).store_first(to.add(whole), tail);
            }
        }
        proof
    }

    /// Each row's first `columns` values become e^(scale · (x - the largest)); returns the inverse of their sum in
    /// `inverse`, one per row. Rows lie `stride` apart; what lies between them is not changed.
    fn exponential_rows<L>(values: &mut [f32], stride: usize, columns: usize, scale: f32, inverse: &mut [f32]) {
        assert!(columns > 0 && columns <= stride, "rows overlap");
        assert!(values.len() >= (inverse.len().max(1) - 1) * stride + columns, "rows outside of their slice");
        let (whole, tail) = (columns / L::WIDTH * L::WIDTH, columns % L::WIDTH);
        for (row, inverse) in values.chunks_mut(stride).zip(inverse) {
            let row = &mut row[..columns];
            // SAFETY: the vectors lie in the row; the last one's tail is masked.
            unsafe {
                let at = row.as_mut_ptr();
                let mut largest = L::splat(f32::NEG_INFINITY);
                for k in (0..whole).step_by(L::WIDTH) {
                    largest = largest.at_least(L::load(at.add(k)));
                }
                let most = row[whole..].iter().fold(largest.largest(), |most, &value| most.max(value));
                let (most, scale) = (L::splat(most), L::splat(scale));
                let mut sum = L::splat(0.0);
                for k in (0..whole).step_by(L::WIDTH) {
                    let value = exponential(L::load(at.add(k)).minus(most).times(scale));
                    sum = sum.plus(value);
                    value.store(at.add(k));
                }
                let mut total = sum.sum();
                if tail > 0 {
                    let value = exponential(L::load_first(at.add(whole), tail).minus(most).times(scale));
                    value.store_first(at.add(whole), tail);
                    total += row[whole..].iter().sum::<f32>();
                }
                *inverse = 1.0 / total;
            }
        }
    }

    /// Each row's exponentials become softmax's shares p, by the inverse of their sum, and `slopes`, the gradient g of
    /// the shares, becomes the gradient of what was scaled: scale · p · (g - Σ p g). Rows lie `stride` apart.
    fn softmax_gradient_rows<L>(shares: &mut [f32], slopes: &mut [f32], stride: usize, columns: usize, scale: f32, inverse: &[f32]) {
        assert!(columns > 0 && columns <= stride, "rows overlap");
        let end = (inverse.len().max(1) - 1) * stride + columns;
        assert!(shares.len() >= end && slopes.len() >= end, "rows outside of their slice");
        let (whole, tail) = (columns / L::WIDTH * L::WIDTH, columns % L::WIDTH);
        for ((shares, slopes), &inverse) in shares.chunks_mut(stride).zip(slopes.chunks_mut(stride)).zip(inverse) {
            let (shares, slopes) = (&mut shares[..columns], &mut slopes[..columns]);
            // SAFETY: the vectors lie in both rows; the last one's tail is masked.
            unsafe {
                let (p, g) = (shares.as_mut_ptr(), slopes.as_mut_ptr());
                let inverse = L::splat(inverse);
                let mut sum = L::splat(0.0);
                for k in (0..whole).step_by(L::WIDTH) {
                    let share = L::load(p.add(k)).times(inverse);
                    share.store(p.add(k));
                    sum = sum.plus_product(share, L::load(g.add(k)));
                }
                if tail > 0 {
                    let share = L::load_first(p.add(whole), tail).times(inverse);
                    share.store_first(p.add(whole), tail);
                    sum = sum.plus(share.times(L::load_first(g.add(whole), tail)));
                }
                let (mean, scale) = (L::splat(sum.sum()), L::splat(scale));
                for k in (0..whole).step_by(L::WIDTH) {
                    let share = L::load(p.add(k)).times(scale);
                    L::load(g.add(k)).minus(mean).times(share).store(g.add(k));
                }
                if tail > 0 {
                    let share = L::load_first(p.add(whole), tail).times(scale);
                    L::load_first(g.add(whole), tail).minus(mean).times(share).store_first(g.add(whole), tail);
                }
            }
        }
    }

    /// `to = from · factor`, row by row of `columns` values, one factor per row; rows lie `strides` apart.
    fn scaled_rows<L>(from: &[f32], to: &mut [std::mem::MaybeUninit<f32>], strides: [usize; 2], columns: usize, factors: &[f32]) {
        let last = factors.len().max(1) - 1;
        assert!(from.len() >= last * strides[0] + columns && to.len() >= last * strides[1] + columns, "rows outside of their slice");
        for (row, &factor) in factors.iter().enumerate() {
            // SAFETY: both rows lie in their slices, as just checked; the last vector's tail is masked.
            unsafe {
                let (from, to) = (from.as_ptr().add(row * strides[0]), to.as_mut_ptr().add(row * strides[1]).cast::<f32>());
                let factor = L::splat(factor);
                let whole = columns / L::WIDTH * L::WIDTH;
                for k in (0..whole).step_by(L::WIDTH) {
                    L::load(from.add(k)).times(factor).store(to.add(k));
                }
                if whole < columns {
                    let count = columns - whole;
                    L::load_first(from.add(whole), count).times(factor).store_first(to.add(whole), count);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::buffer::in_chunks;
    use crate::kernels::simd::InstructionSet;
    use candle_core::cpu::erf::erf_f64;

    /// Values from -20 to 20, denser near 0, of a length with a tail.
    fn values() -> Vec<f32> {
        (0..4001).map(|k| ((k - 2000) as f32 / 2000.0).powi(3) * 20.0).collect()
    }

    #[test]
    fn gelu_equals_its_definition_in_f64_on_every_instruction_set() {
        for set in InstructionSet::here() {
            for form in [Gelu::Exact, Gelu::Quick] {
                let (x, ones) = (values(), vec![1.0; 4001]);
                let y = in_chunks(4001, 1, |at, y| gelu_values(set, &x[at..at + y.len()], form, y));
                let slopes =
                    in_chunks(4001, 1, |at, y| gelu_slopes(set, &x[at..at + y.len()], &ones[..y.len()], form, y));
                let mut over = x.clone();
                gelu_over(set, &mut over, form);
                assert!(over == y);
                for ((x, y), slope) in x.into_iter().zip(y).zip(slopes) {
                    let x = f64::from(x);
                    let (below, density) =
                        (0.5 * (1.0 - erf_f64(-x / 2f64.sqrt())), (-0.5 * x * x).exp() / 2.506_628_274_631);
                    let share = 1.0 / (1.0 + (-1.702 * x).exp());
                    let (right, right_slope) = match form {
                        Gelu::Exact => (x * below, below + x * density),
                        Gelu::Quick => (x * share, share + 1.702 * x * share * (1.0 - share)),
                    };
                    let (error, of_slope) = ((f64::from(y) - right).abs(), (f64::from(slope) - right_slope).abs());
                    assert!(error <= 6e-7 * x.abs().max(1e-3), "{set:?} {form:?} of {x}: {y} for {right}");
                    assert!(of_slope <= 1e-6, "{set:?} {form:?} slope at {x}: {slope} for {right_slope}");
                }
            }
        }
    }

    #[test]
    fn gelu_of_infinities_and_nan_is_a_limit_or_nan() {
        for set in InstructionSet::here() {
            for form in [Gelu::Exact, Gelu::Quick] {
                let mut y = [f32::NEG_INFINITY, f32::INFINITY, f32::NAN, 0.0, -1e30, 1e30];
                gelu_over(set, &mut y, form);
                let small = |y: f32| y.abs() < 1e-20;
                assert!(small(y[0]) && y[1] == f32::INFINITY && y[2].is_nan(), "{set:?} {form:?} {y:?}");
                assert!(y[3] == 0.0 && small(y[4]) && y[5] == 1e30, "{set:?} {form:?} {y:?}");
            }
        }
    }

    #[test]
    fn rows_of_exponentials_have_the_sum_that_is_returned_and_leave_the_gaps_alone() {
        for set in InstructionSet::here() {
            for (columns, stride) in [(1, 1), (3, 5), (16, 16), (37, 40), (257, 272)] {
                let x: Vec<f32> = (0..3 * stride).map(|k| ((k * 7919) % 1013) as f32 / 50.0 - 10.0).collect();
                let (mut y, mut inverse) = (x.clone(), [0.0; 3]);
                exponential_rows(set, &mut y, stride, columns, 0.5, &mut inverse);
                for row in 0..3 {
                    let (x, y) = (&x[row * stride..][..stride], &y[row * stride..][..stride]);
                    let most = x[..columns].iter().fold(f64::MIN, |most, &v| most.max(v.into()));
                    let right: Vec<f64> = x[..columns].iter().map(|&v| ((f64::from(v) - most) * 0.5).exp()).collect();
                    for (y, right) in y.iter().zip(&right) {
                        assert!((f64::from(*y) - right).abs() <= 1e-6 * right, "{set:?}: {y} for {right}");
                    }
                    let sum: f64 = right.iter().sum();
                    assert!((f64::from(inverse[row]) * sum - 1.0).abs() < 1e-6);
                    assert_eq!(x[columns..], y[columns..]);
                }
            }
        }
    }
}
