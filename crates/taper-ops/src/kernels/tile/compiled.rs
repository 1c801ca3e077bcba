//! Both tiles, compiled for each instruction set.

use super::outer::{OuterJob, outer_tile};
use super::product::{Job, product_tile};
use crate::kernels::lanes::Baseline;

/// Compiles both tiles for one instruction set: for each number of vectors, the largest number of
/// pixels (or inputs) whose sums fit the registers, and every number below.
macro_rules! compiled {
    ($module:ident, $lanes:ty, [$($features:literal)?], $($vectors:literal: $most:literal [$($count:literal)*]),*) => {
        pub(super) mod $module {
            use super::{Job, OuterJob, outer_tile, product_tile};
            #[cfg(target_arch = "x86_64")]
            #[allow(unused_imports)]
            use std::arch::x86_64::{__m256, __m512};

            /// # Safety
            /// As [`product_tile`].
            $(#[target_feature(enable = $features)])?
            unsafe fn product_sized<const P: usize, const V: usize>(job: &Job, first: usize) {
                // SAFETY: the caller's promise.
                unsafe { product_tile::<$lanes, P, V>(job, first) }
            }

            /// # Safety
            /// As [`outer_tile`].
            $(#[target_feature(enable = $features)])?
            unsafe fn outer_sized<const I: usize, const V: usize>(job: &OuterJob, first: usize) {
                // SAFETY: the caller's promise.
                unsafe { outer_tile::<$lanes, I, V>(job, first) }
            }

            /// # Safety
            /// As [`Product::run`](super::super::Product::run) has checked.
            pub(in super::super) unsafe fn product(job: &Job, vectors: usize) {
                match vectors {
                    $($vectors => super::evenly(job.pixels, $most, |first, count| {
                        // SAFETY: the caller's promise.
                        match count { $($count => unsafe { product_sized::<$count, $vectors>(job, first) },)* _ => {} }
                    }),)*
                    _ => {}
                }
            }

            /// # Safety
            /// As [`Outer::run`](super::super::Outer::run) has checked.
            pub(in super::super) unsafe fn outer(job: &OuterJob, vectors: usize) {
                match vectors {
                    $($vectors => super::evenly(job.inputs, $most, |first, count| {
                        // SAFETY: the caller's promise.
                        match count { $($count => unsafe { outer_sized::<$count, $vectors>(job, first) },)* _ => {} }
                    }),)*
                    _ => {}
                }
            }
        }
    };
}
#[cfg(target_arch = "x86_64")]
compiled!(
    avx512, __m512, ["avx512f,avx512bw,avx512dq,avx512vl"],
    1: 12 [1 2 3 4 5 6 7 8 9 10 11 12], 2: 12 [1 2 3 4 5 6 7 8 9 10 11 12], 3: 8 [1 2 3 4 5 6 7 8], 4: 6 [1 2 3 4 5 6]
);
#[cfg(target_arch = "x86_64")]
compiled!(avx2, __m256, ["avx2,fma"], 1: 8 [1 2 3 4 5 6 7 8], 2: 6 [1 2 3 4 5 6]);
compiled!(baseline, super::Baseline, [], 1: 8 [1 2 3 4 5 6 7 8], 2: 6 [1 2 3 4 5 6]);

/// Splits `count` into as few parts of at most `most` as it can, of nearly equal size.
fn evenly(count: usize, most: usize, mut part: impl FnMut(usize, usize)) {
    let parts = count.div_ceil(most);
    let mut first = 0;
    for left in (1..=parts).rev() {
        let size = (count - first).div_ceil(left);
        part(first, size);
        first += size;
    }
}
