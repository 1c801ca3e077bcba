//! Rows brought to mean 0 and variance 1, and the derivative of that.

#![allow(unsafe_code)]

use super::buffer::{Unwritten, Written};
use super::simd::vectorized;
use crate::element::Element;

/// Partial sums of a row: several vectors, so that no sum waits for the one before it.
const SUMS: usize = 64;

/// The sum of `f` of each place below `c`, in an order that depends on `c` only.
#[inline(always)]
fn sum<T: Element>(c: usize, f: impl Fn(usize) -> T) -> T {
    let mut sums = [T::ZERO; SUMS];
    let whole = c / SUMS * SUMS;
    for start in (0..whole).step_by(SUMS) {
        for (k, sum) in sums.iter_mut().enumerate() {
            *sum += f(start + k);
        }
    }
    for k in whole..c {
        sums[k - whole] += f(k);
    }
    let mut half = SUMS / 2;
    while half > 0 {
        for k in 0..half {
            let other = sums[k + half];
            sums[k] += other;
        }
        half /= 2;
    }
    sums[0]
}

/// A row's mean, and the inverse of its deviation: 1 / √(variance + ε).
#[inline(always)]
fn statistics<T: Element>(x: &[T], eps: T) -> (T, T) {
    let (c, share) = (x.len(), T::of(1.0 / x.len() as f64));
    let mean = sum(c, |k| x[k]) * share;
    let variance = sum(c, |k| (x[k] - mean) * (x[k] - mean)) * share;
    (mean, T::of(1.0) / (variance + eps).root())
}

vectorized! {
    /// (x - mean) / √(variance + ε) of each row of `c` values.
    fn normalized_rows<T: Element>(x: &[T], c: usize, eps: T, y: Unwritten<'_, T>) -> Written {
        assert!(c > 0 && y.len().is_multiple_of(c) && x.len() == y.len(), "rows of wrong length");
        let mut y = y;
        // SAFETY: every value of every row is written, and the rows cover the slots.
        let (slots, proof) = unsafe { y.slots() };
        for (x, y) in x.chunks_exact(c).zip(slots.chunks_exact_mut(c)) {
            let (mean, inverse) = statistics(x, eps);
            for k in 0..c {
                y[k].write((x[k] - mean) * inverse);
            }
        }
        proof
    }

    /// The gradient with respect to the rows `x` for the gradient `g` of the normalized rows x̂:
    /// (g - mean(g) - x̂ mean(g x̂)) / √(variance + ε).
    fn normalized_rows_gradient<T: Element>(x: &[T], g: &[T], c: usize, eps: T, y: Unwritten<'_, T>) -> Written {
        assert!(c > 0 && y.len().is_multiple_of(c) && x.len() == y.len() && g.len() == y.len(), "rows of wrong length");
        let mut y = y;
        // SAFETY: every value of every row is written, and the rows cover the slots.
        let (slots, proof) = unsafe { y.slots() };
        let share = T::of(1.0 / c as f64);
        for ((x, g), y) in x.chunks_exact(c).zip(g.chunks_exact(c)).zip(slots.chunks_exact_mut(c)) {
            let (mean, inverse) = statistics(x, eps);
            let of_g = sum(c, |k| g[k]) * share;
            let both = sum(c, |k| g[k] * (x[k] - mean)) * share * inverse * inverse;
            for k in 0..c {
                y[k].write((g[k] - of_g - (x[k] - mean) * both) * inverse);
            }
        }
        proof
    }
}
