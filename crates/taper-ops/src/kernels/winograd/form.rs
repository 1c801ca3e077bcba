//! Winograd's algorithms along one line of a tile. F(m, 3) makes m outputs of m + 2 inputs and the
//! 3 weights between them: Y = Aᵀ [(G g) ⊙ (Bᵀ d)], exact for every choice of points at which the
//! polynomials are multiplied (Lavin and Gray 2016, arXiv:1509.09308, section 4).

#![allow(unsafe_code)]

use crate::kernels::lanes::Lanes;
use std::f32::consts::{FRAC_1_SQRT_2, SQRT_2};

/// F(M, 3), whose tiles have `T = M + 2` cells per side; and its adjoint.
///
/// # Safety
/// Every function needs the instructions of its [`Lanes`].
pub(super) trait Form<const T: usize, const M: usize>: Copy + Send + Sync {
    /// Bᵀ d, of inputs.
    unsafe fn differences<L: Lanes>(inputs: [L; T]) -> [L; T];
    /// G g, of weights.
    unsafe fn spread<L: Lanes>(weights: [L; 3]) -> [L; T];
    /// Aᵀ m, of products.
    unsafe fn gathered<L: Lanes>(products: [L; T]) -> [L; M];
    /// A y, of outputs' gradients.
    unsafe fn scattered<L: Lanes>(gradients: [L; M]) -> [L; T];
    /// Gᵀ m, of products back to weights.
    unsafe fn collected<L: Lanes>(products: [L; T]) -> [L; 3];
}

/// F(2, 3) at the points 0, 1, −1 and ∞.
#[derive(Clone, Copy)]
pub(super) struct Two;

// SAFETY (of every block below): the caller runs the instructions.
impl Form<4, 2> for Two {
    #[inline(always)]
    unsafe fn differences<L: Lanes>([a, b, c, d]: [L; 4]) -> [L; 4] {
        unsafe { [a.minus(c), b.plus(c), c.minus(b), b.minus(d)] }
    }

    #[inline(always)]
    unsafe fn spread<L: Lanes>([a, b, c]: [L; 3]) -> [L; 4] {
        unsafe {
            let (half, ends) = (L::splat(0.5), a.plus(c));
            [a, half.times(ends.plus(b)), half.times(ends.minus(b)), c]
        }
    }

    #[inline(always)]
    unsafe fn gathered<L: Lanes>([a, b, c, d]: [L; 4]) -> [L; 2] {
        unsafe { [a.plus(b).plus(c), b.minus(c).minus(d)] }
    }

    #[inline(always)]
    unsafe fn scattered<L: Lanes>([a, b]: [L; 2]) -> [L; 4] {
        unsafe { [a, a.plus(b), a.minus(b), L::splat(0.0).minus(b)] }
    }

    #[inline(always)]
    unsafe fn collected<L: Lanes>([a, b, c, d]: [L; 4]) -> [L; 3] {
        unsafe {
            let half = L::splat(0.5);
            let middle = half.times(b.plus(c));
            [a.plus(middle), half.times(b.minus(c)), middle.plus(d)]
        }
    }
}

/// F(4, 3) at the points 0, ±√½, ±√2 and ∞. They are symmetric about 1 in their logarithms, so that no power of them is
/// large: the errors are about a third of those of the usual 0, ±1, ±2 and ∞.
#[derive(Clone, Copy)]
pub(super) struct Four;

const NEAR: f32 = FRAC_1_SQRT_2;
const FAR: f32 = SQRT_2;

/// `even + odd` and `even - odd`: values at a point and at its opposite.
#[inline(always)]
unsafe fn opposite<L: Lanes>(even: L, odd: L) -> (L, L) {
    unsafe { (even.plus(odd), even.minus(odd)) }
}

/// `factor · value`.
#[inline(always)]
unsafe fn times<L: Lanes>(factor: f32, value: L) -> L {
    unsafe { L::splat(factor).times(value) }
}

/// `sum + factor · value`.
#[inline(always)]
unsafe fn plus<L: Lanes>(sum: L, factor: f32, value: L) -> L {
    unsafe { sum.plus_product(L::splat(factor), value) }
}

impl Form<6, 4> for Four {
    #[inline(always)]
    unsafe fn differences<L: Lanes>([a, b, c, d, e, f]: [L; 6]) -> [L; 6] {
        unsafe {
            let (near, minus_near) = opposite(plus(e, -2.0, c), times(NEAR, plus(d, -2.0, b)));
            let (far, minus_far) = opposite(plus(e, -0.5, c), times(FAR, plus(d, -0.5, b)));
            [plus(a.plus(e), -2.5, c), near, minus_near, far, minus_far, plus(b.plus(f), -2.5, d)]
        }
    }

    #[inline(always)]
    unsafe fn spread<L: Lanes>([a, b, c]: [L; 3]) -> [L; 6] {
        unsafe {
            let (near, minus_near) = opposite(plus(times(-2.0 / 3.0, a), -1.0 / 3.0, c), times(-2.0 / 3.0 * NEAR, b));
            let (far, minus_far) = opposite(plus(times(1.0 / 6.0, a), 1.0 / 3.0, c), times(1.0 / 6.0 * FAR, b));
            [a, near, minus_near, far, minus_far, c]
        }
    }

    #[inline(always)]
    unsafe fn gathered<L: Lanes>([a, near, minus_near, far, minus_far, f]: [L; 6]) -> [L; 4] {
        unsafe {
            let (near, near_odd) = opposite(near, minus_near);
            let (far, far_odd) = opposite(far, minus_far);
            [
                a.plus(near).plus(far),
                plus(times(NEAR, near_odd), FAR, far_odd),
                plus(times(0.5, near), 2.0, far),
                plus(plus(f, 0.5 * NEAR, near_odd), 2.0 * FAR, far_odd),
            ]
        }
    }

    #[inline(always)]
    unsafe fn scattered<L: Lanes>([a, b, c, d]: [L; 4]) -> [L; 6] {
        unsafe {
            let (near, minus_near) = opposite(plus(a, 0.5, c), times(NEAR, plus(b, 0.5, d)));
            let (far, minus_far) = opposite(plus(a, 2.0, c), times(FAR, plus(b, 2.0, d)));
            [a, near, minus_near, far, minus_far, d]
        }
    }

    #[inline(always)]
    unsafe fn collected<L: Lanes>([a, near, minus_near, far, minus_far, f]: [L; 6]) -> [L; 3] {
        unsafe {
            let (near, near_odd) = opposite(near, minus_near);
            let (far, far_odd) = opposite(far, minus_far);
            [
                plus(plus(a, -2.0 / 3.0, near), 1.0 / 6.0, far),
                plus(times(-2.0 / 3.0 * NEAR, near_odd), 1.0 / 6.0 * FAR, far_odd),
                plus(plus(f, -1.0 / 3.0, near), 1.0 / 3.0, far),
            ]
        }
    }
}
