//! Which vector instructions a kernel is compiled for, and the choice at run time.
//!
//! This is the only place that queries the machine. A kernel is either a plain loop that
//! [`vectorized!`] compiles once for each instruction set, or written over `Lanes`. On
//! aarch64 the portable version is compiled for NEON, which that architecture always has.

#![allow(unsafe_code)]

/// The instruction sets that kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InstructionSet {
    /// Whatever the target always has: SSE2 on x86-64, NEON on aarch64.
    Portable,
    /// AVX2 and FMA: Haswell, Zen and later.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    Avx2,
    /// AVX-512 F, BW, DQ and VL: Skylake servers, Ice Lake, Zen 4 and later.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    Avx512,
}

impl InstructionSet {
    /// The best one that this machine supports.
    pub(crate) fn best() -> Self {
        if Self::Avx512.is_available() {
            Self::Avx512
        } else if Self::Avx2.is_available() {
            Self::Avx2
        } else {
            Self::Portable
        }
    }

    /// Returns `true` if this machine can run it. (The standard library caches the answer.)
    pub(crate) fn is_available(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return match self {
            Self::Portable => true,
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            Self::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
        };
        #[cfg(not(target_arch = "x86_64"))]
        return self == Self::Portable;
    }

    /// All that this machine supports; tests compare each with the reference.
    #[cfg(test)]
    pub(crate) fn here() -> Vec<Self> {
        [Self::Portable, Self::Avx2, Self::Avx512].into_iter().filter(|set| set.is_available()).collect()
    }
}

/// Defines functions whose plain loops are compiled once for each instruction set; callers name
/// the set as the first argument. One that the machine lacks falls back to the portable version.
macro_rules! vectorized {
    ($($(#[$meta:meta])* fn $name:ident<T: Element>($($argument:ident: $type:ty),* $(,)?) $(-> $output:ty)? $body:block)*) => {$(
        $(#[$meta])*
        #[allow(unsafe_code, clippy::too_many_arguments)]
        pub(crate) fn $name<T: Element>(
            set: $crate::kernels::simd::InstructionSet, $($argument: $type),*
        ) $(-> $output)? {
            #[inline(always)]
            fn plain<T: Element>($($argument: $type),*) $(-> $output)? $body
            #[cfg(target_arch = "x86_64")]
            {
                use $crate::kernels::simd::InstructionSet::{Avx2, Avx512};
                #[target_feature(enable = "avx2,fma")]
                fn avx2<T: Element>($($argument: $type),*) $(-> $output)? {
                    plain::<T>($($argument),*)
                }
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
                fn avx512<T: Element>($($argument: $type),*) $(-> $output)? {
                    plain::<T>($($argument),*)
                }
                if set == Avx512 && set.is_available() {
                    // SAFETY: the machine has these instructions (just asked).
                    return unsafe { avx512::<T>($($argument),*) };
                }
                if set == Avx2 && set.is_available() {
                    // SAFETY: the machine has these instructions (just asked).
                    return unsafe { avx2::<T>($($argument),*) };
                }
            }
            let _ = set;
            plain::<T>($($argument),*)
        }
    )*};
}
pub(crate) use vectorized;

/// Defines functions over [`Lanes`](super::lanes::Lanes), compiled once for each instruction set; callers name the set as
/// the first argument. One that the machine lacks falls back to the portable version. The body must check what it
/// reads and writes through addresses.
macro_rules! over_lanes {
    ($($(#[$meta:meta])* fn $name:ident<$lanes:ident>($($argument:ident: $type:ty),* $(,)?) $(-> $output:ty)? $body:block)*) => {$(
        $(#[$meta])*
        pub(crate) fn $name(set: $crate::kernels::simd::InstructionSet, $($argument: $type),*) $(-> $output)? {
            /// # Safety
            /// The machine has the instructions of the vector.
            #[inline(always)]
            unsafe fn plain<$lanes: $crate::kernels::lanes::Lanes>($($argument: $type),*) $(-> $output)? $body
            #[cfg(target_arch = "x86_64")]
            {
                use $crate::kernels::simd::InstructionSet::{Avx2, Avx512};
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($argument: $type),*) $(-> $output)? {
                    // SAFETY: this function is compiled for them.
                    unsafe { plain::<std::arch::x86_64::__m256>($($argument),*) }
                }
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
                fn avx512($($argument: $type),*) $(-> $output)? {
                    // SAFETY: this function is compiled for them.
                    unsafe { plain::<std::arch::x86_64::__m512>($($argument),*) }
                }
                if set == Avx512 && set.is_available() {
                    // SAFETY: the machine has these instructions (just asked).
                    return unsafe { avx512($($argument),*) };
                }
                if set == Avx2 && set.is_available() {
                    // SAFETY: the machine has these instructions (just asked).
                    return unsafe { avx2($($argument),*) };
                }
            }
            let _ = set;
            // SAFETY: every machine of the target has these.
            unsafe { plain::<$crate::kernels::lanes::Baseline>($($argument),*) }
        }
    )*};
}
pub(crate) use over_lanes;
