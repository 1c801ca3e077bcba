//! Vectors of f32, for kernels that hold their sums in registers.

#![allow(unsafe_code)]

/// A vector of f32.
///
/// # Safety
/// Every function needs the instructions that the type stands for, and must be inlined into a
/// function compiled for them. Loads and stores touch [`Lanes::WIDTH`] values at the address, or
/// only the first `count` of them.
pub(crate) trait Lanes: Copy {
    /// Values in a vector.
    const WIDTH: usize;

    unsafe fn splat(value: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn load_first(from: *const f32, count: usize) -> Self;
    unsafe fn store(self, to: *mut f32);
    unsafe fn store_first(self, to: *mut f32, count: usize);
    unsafe fn plus(self, other: Self) -> Self;
    unsafe fn minus(self, other: Self) -> Self;
    unsafe fn times(self, other: Self) -> Self;
    /// `self + a * b`.
    unsafe fn plus_product(self, a: Self, b: Self) -> Self;
    /// Negative values become 0; NaN stays NaN.
    unsafe fn rectified(self) -> Self;
    /// Values above `most` become `most`; NaN stays NaN.
    unsafe fn at_most(self, most: Self) -> Self;
    /// Values below `least` become `least`; NaN stays NaN.
    unsafe fn at_least(self, least: Self) -> Self;
    /// Values without their sign; NaN stays NaN.
    unsafe fn magnitude(self) -> Self;
    /// `self / other`.
    unsafe fn over(self, other: Self) -> Self;
    /// 2ᵏ, where `self` is the sum of 1.5 · 2²³ and an integer k from -126 to 127.
    unsafe fn power_of_two(self) -> Self;

    /// The sum of the values, by halves.
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        // SAFETY: the caller's promise.
        unsafe { self.reduced(|a, b| a + b) }
    }

    /// The largest value that is not NaN.
    #[inline(always)]
    unsafe fn largest(self) -> f32 {
        // SAFETY: the caller's promise.
        unsafe { self.reduced(f32::max) }
    }

    /// One value of all, by halves.
    #[inline(always)]
    unsafe fn reduced(self, both: impl Fn(f32, f32) -> f32) -> f32 {
        let mut values = [0.0; 16];
        // SAFETY: there is room for the widest vector.
        unsafe { self.store(values.as_mut_ptr()) };
        let mut half = Self::WIDTH / 2;
        while half > 0 {
            for k in 0..half {
                values[k] = both(values[k], values[k + half]);
            }
            half /= 2;
        }
        values[0]
    }
}

/// The vector that every machine of the target has: NEON on aarch64, four values in an array elsewhere.
#[cfg(target_arch = "aarch64")]
pub(crate) type Baseline = std::arch::aarch64::float32x4_t;
/// The vector that every machine of the target has: NEON on aarch64, four values in an array elsewhere.
#[cfg(not(target_arch = "aarch64"))]
pub(crate) type Baseline = portable::Four;

#[cfg(not(target_arch = "aarch64"))]
mod portable {
    use super::Lanes;

    /// Four values, which compilers turn into one vector if the machine has vectors.
    #[derive(Clone, Copy)]
    pub(crate) struct Four([f32; 4]);

    // SAFETY (of every block below): the trait's contract, the caller's to keep.
    impl Lanes for Four {
        const WIDTH: usize = 4;

        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            Self([value; 4])
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            Self(unsafe { from.cast::<[f32; 4]>().read_unaligned() })
        }
        #[inline(always)]
        unsafe fn load_first(from: *const f32, count: usize) -> Self {
            let mut values = [0.0; 4];
            unsafe { std::ptr::copy_nonoverlapping(from, values.as_mut_ptr(), count) };
            Self(values)
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { to.cast::<[f32; 4]>().write_unaligned(self.0) }
        }
        #[inline(always)]
        unsafe fn store_first(self, to: *mut f32, count: usize) {
            unsafe { std::ptr::copy_nonoverlapping(self.0.as_ptr(), to, count) }
        }
        #[inline(always)]
        unsafe fn plus(self, other: Self) -> Self {
            let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
            Self([a + e, b + f, c + g, d + h])
        }
        #[inline(always)]
        unsafe fn minus(self, other: Self) -> Self {
            let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
            Self([a - e, b - f, c - g, d - h])
        }
        #[inline(always)]
        unsafe fn times(self, other: Self) -> Self {
            let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
            Self([a * e, b * f, c * g, d * h])
        }
        #[inline(always)]
        unsafe fn plus_product(self, a: Self, b: Self) -> Self {
            unsafe { self.plus(a.times(b)) }
        }
        #[inline(always)]
        unsafe fn rectified(self) -> Self {
            let [a, b, c, d] = self.0;
            let rectify = |v: f32| if v < 0.0 { 0.0 } else { v };
            Self([rectify(a), rectify(b), rectify(c), rectify(d)])
        }
        #[inline(always)]
        unsafe fn at_most(self, most: Self) -> Self {
            let ([a, b, c, d], [e, f, g, h]) = (self.0, most.0);
            let smaller = |v: f32, most: f32| if v > most { most } else { v };
            Self([smaller(a, e), smaller(b, f), smaller(c, g), smaller(d, h)])
        }
        #[inline(always)]
        unsafe fn at_least(self, least: Self) -> Self {
            let ([a, b, c, d], [e, f, g, h]) = (self.0, least.0);
            let larger = |v: f32, least: f32| if v < least { least } else { v };
            Self([larger(a, e), larger(b, f), larger(c, g), larger(d, h)])
        }
        #[inline(always)]
        unsafe fn magnitude(self) -> Self {
            Self(self.0.map(f32::abs))
        }
        #[inline(always)]
        unsafe fn over(self, other: Self) -> Self {
            let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
            Self([a / e, b / f, c / g, d / h])
        }
        #[inline(always)]
        unsafe fn power_of_two(self) -> Self {
            Self(self.0.map(|k| f32::from_bits(1f32.to_bits().wrapping_add(k.to_bits() << 23))))
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod neon {
    use super::Lanes;
    use std::arch::aarch64::*;

    // SAFETY (of every block below): every aarch64 machine has NEON; the rest is the trait's
    // contract, the caller's to keep.
    impl Lanes for float32x4_t {
        const WIDTH: usize = 4;

        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            unsafe { vdupq_n_f32(value) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            unsafe { vld1q_f32(from) }
        }
        #[inline(always)]
        unsafe fn load_first(from: *const f32, count: usize) -> Self {
            let mut values = [0.0f32; 4];
            unsafe {
                std::ptr::copy_nonoverlapping(from, values.as_mut_ptr(), count);
                vld1q_f32(values.as_ptr())
            }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { vst1q_f32(to, self) }
        }
        #[inline(always)]
        unsafe fn store_first(self, to: *mut f32, count: usize) {
            let mut values = [0.0f32; 4];
            unsafe {
                vst1q_f32(values.as_mut_ptr(), self);
                std::ptr::copy_nonoverlapping(values.as_ptr(), to, count);
            }
        }
        #[inline(always)]
        unsafe fn plus(self, other: Self) -> Self {
            unsafe { vaddq_f32(self, other) }
        }
        #[inline(always)]
        unsafe fn minus(self, other: Self) -> Self {
            unsafe { vsubq_f32(self, other) }
        }
        #[inline(always)]
        unsafe fn times(self, other: Self) -> Self {
            unsafe { vmulq_f32(self, other) }
        }
        #[inline(always)]
        unsafe fn plus_product(self, a: Self, b: Self) -> Self {
            unsafe { vfmaq_f32(self, a, b) }
        }
        #[inline(always)]
        unsafe fn rectified(self) -> Self {
            unsafe { vmaxq_f32(self, vdupq_n_f32(0.0)) }
        }
        #[inline(always)]
        unsafe fn at_most(self, most: Self) -> Self {
            unsafe { vminq_f32(self, most) }
        }
        #[inline(always)]
        unsafe fn at_least(self, least: Self) -> Self {
            unsafe { vmaxq_f32(self, least) }
        }
        #[inline(always)]
        unsafe fn magnitude(self) -> Self {
            unsafe { vabsq_f32(self) }
        }
        #[inline(always)]
        unsafe fn over(self, other: Self) -> Self {
            unsafe { vdivq_f32(self, other) }
        }
        #[inline(always)]
        unsafe fn power_of_two(self) -> Self {
            unsafe {
                let shifted = vshlq_n_s32::<23>(vreinterpretq_s32_f32(self));
                vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(vdupq_n_f32(1.0)), shifted))
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Lanes;
    use std::arch::x86_64::*;

    /// The first `count` of 16 lanes.
    #[inline(always)]
    fn first(count: usize) -> __mmask16 {
        ((1u32 << count) - 1) as __mmask16
    }

    /// The first `count` of 8 lanes.
    #[inline(always)]
    unsafe fn mask(count: usize) -> __m256i {
        unsafe { _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)) }
    }

    // SAFETY (of every block below): the trait's contract, the caller's to keep. Lanes that are
    // masked out touch no memory. A maximum returns its second operand where one is NaN.
    impl Lanes for __m512 {
        const WIDTH: usize = 16;

        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            unsafe { _mm512_set1_ps(value) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            unsafe { _mm512_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn load_first(from: *const f32, count: usize) -> Self {
            unsafe { _mm512_maskz_loadu_ps(first(count), from) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm512_storeu_ps(to, self) }
        }
        #[inline(always)]
        unsafe fn store_first(self, to: *mut f32, count: usize) {
            unsafe { _mm512_mask_storeu_ps(to, first(count), self) }
        }
        #[inline(always)]
        unsafe fn plus(self, other: Self) -> Self {
            unsafe { _mm512_add_ps(self, other) }
        }
        #[inline(always)]
        unsafe fn minus(self, other: Self) -> Self {
            unsafe { _mm512_sub_ps(self, other) }
        }
        #[inline(always)]
        unsafe fn times(self, other: Self) -> Self {
            unsafe { _mm512_mul_ps(self, other) }
        }
        #[inline(always)]
        unsafe fn plus_product(self, a: Self, b: Self) -> Self {
            unsafe { _mm512_fmadd_ps(a, b, self) }
        }
        #[inline(always)]
        unsafe fn rectified(self) -> Self {
            unsafe { _mm512_max_ps(_mm512_setzero_ps(), self) }
        }
        #[inline(always)]
        unsafe fn at_most(self, most: Self) -> Self {
            unsafe { _mm512_min_ps(most, self) }
        }
        #[inline(always)]
        unsafe fn at_least(self, least: Self) -> Self {
            unsafe { _mm512_max_ps(least, self) }
        }
        #[inline(always)]
        unsafe fn magnitude(self) -> Self {
            unsafe { _mm512_abs_ps(self) }
        }
        #[inline(always)]
        unsafe fn over(self, other: Self) -> Self {
            unsafe { _mm512_div_ps(self, other) }
        }
        #[inline(always)]
        unsafe fn power_of_two(self) -> Self {
            unsafe {
                let shifted = _mm512_slli_epi32::<23>(_mm512_castps_si512(self));
                _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(_mm512_set1_ps(1.0)), shifted))
            }
        }
    }

    impl Lanes for __m256 {
        const WIDTH: usize = 8;

        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            unsafe { _mm256_set1_ps(value) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            unsafe { _mm256_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn load_first(from: *const f32, count: usize) -> Self {
            unsafe { _mm256_maskload_ps(from, mask(count)) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm256_storeu_ps(to, self) }
        }
        #[inline(always)]
        unsafe fn store_first(self, to: *mut f32, count: usize) {
            unsafe { _mm256_maskstore_ps(to, mask(count), self) }
        }
        #[inline(always)]
        unsafe fn plus(self, other: Self) -> Self {
            unsafe { _mm256_add_ps(self, other) }
        }
        #[inline(always)]
        unsafe fn minus(self, other: Self) -> Self {
            unsafe { _mm256_sub_ps(self, other) }
        }
        #[inline(always)]
        unsafe fn times(self, other: Self) -> Self {
            unsafe { _mm256_mul_ps(self, other) }
        }
        #[inline(always)]
        unsafe fn plus_product(self, a: Self, b: Self) -> Self {
            unsafe { _mm256_fmadd_ps(a, b, self) }
        }
        #[inline(always)]
        unsafe fn rectified(self) -> Self {
            unsafe { _mm256_max_ps(_mm256_setzero_ps(), self) }
        }
        #[inline(always)]
        unsafe fn at_most(self, most: Self) -> Self {
            unsafe { _mm256_min_ps(most, self) }
        }
        #[inline(always)]
        unsafe fn at_least(self, least: Self) -> Self {
            unsafe { _mm256_max_ps(least, self) }
        }
        #[inline(always)]
        unsafe fn magnitude(self) -> Self {
            unsafe { _mm256_andnot_ps(_mm256_set1_ps(-0.0), self) }
        }
        #[inline(always)]
        unsafe fn over(self, other: Self) -> Self {
            unsafe { _mm256_div_ps(self, other) }
        }
        #[inline(always)]
        unsafe fn power_of_two(self) -> Self {
            unsafe {
                let shifted = _mm256_slli_epi32::<23>(_mm256_castps_si256(self));
                _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(_mm256_set1_ps(1.0)), shifted))
            }
        }
    }
}
