//! The transforms of F(2x2, 3x3), over the vectors of an instruction set: of weights, inputs and
//! outputs forward, and of outputs' gradients and weights back.

#![allow(unsafe_code)]
#![allow(clippy::needless_range_loop, reason = "tiles are indexed in two directions, as on paper")]

use crate::kernels::lanes::{Baseline, Lanes};
use crate::kernels::tile::{load, store};

/// Cells of a transformed tile.
pub(super) const CELLS: usize = 16;

/// Runs one of the transforms below over the vectors of an instruction set.
macro_rules! with_lanes {
    ($set:expr, $function:ident($($argument:expr),*)) => {{
        assert!($set.is_available(), "instructions that this machine lacks");
        match $set {
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 => $crate::kernels::winograd::transforms::avx512::$function($($argument),*),
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => $crate::kernels::winograd::transforms::avx2::$function($($argument),*),
            _ => $crate::kernels::winograd::transforms::baseline::$function($($argument),*),
        }
    }};
}
pub(super) use with_lanes;

/// One row of Bᵀ d.
#[inline(always)]
unsafe fn difference<L: Lanes>([a, b, c, d]: [L; 4]) -> [L; 4] {
    // SAFETY: the caller runs the instructions.
    unsafe { [a.minus(c), b.plus(c), c.minus(b), b.minus(d)] }
}

/// # Safety
/// 16 addresses of `channels` values, and room for as many from `to` on, cells `stride` apart.
#[inline(always)]
unsafe fn inputs<L: Lanes>(cells: &[*const f32; CELLS], channels: usize, to: *mut f32, stride: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut first = 0;
        while first < channels {
            let count = L::WIDTH.min(channels - first);
            let mut columns = [[L::splat(0.0); 4]; 4];
            for j in 0..4 {
                let mut column = [L::splat(0.0); 4];
                for i in 0..4 {
                    column[i] = load(cells[4 * i + j].add(first), count);
                }
                columns[j] = difference(column);
            }
            for i in 0..4 {
                let row = difference([columns[0][i], columns[1][i], columns[2][i], columns[3][i]]);
                for j in 0..4 {
                    store(row[j], to.add((4 * i + j) * stride + first), count);
                }
            }
            first += L::WIDTH;
        }
    }
}

/// One row of Aᵀ m.
#[inline(always)]
unsafe fn gathered<L: Lanes>([a, b, c, d]: [L; 4]) -> [L; 2] {
    // SAFETY: the caller runs the instructions.
    unsafe { [a.plus(b).plus(c), b.minus(c).minus(d)] }
}

/// # Safety
/// 16 cells of `channels` values from `from` on, `stride` apart; each place to write to that is
/// not null, and each residual and bias that is not, hold `channels` values.
#[inline(always)]
unsafe fn outputs<L: Lanes>(
    from: *const f32,
    stride: usize,
    channels: usize,
    to: &[(*mut f32, *const f32); 4],
    bias: *const f32,
    relu: bool,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut first = 0;
        while first < channels {
            let count = L::WIDTH.min(channels - first);
            let mut columns = [[L::splat(0.0); 2]; 4];
            for j in 0..4 {
                let mut column = [L::splat(0.0); 4];
                for i in 0..4 {
                    column[i] = load(from.add((4 * i + j) * stride + first), count);
                }
                columns[j] = gathered(column);
            }
            let bias = if bias.is_null() { L::splat(0.0) } else { load(bias.add(first), count) };
            for i in 0..2 {
                let row = gathered([columns[0][i], columns[1][i], columns[2][i], columns[3][i]]);
                for j in 0..2 {
                    let (to, residual) = to[2 * i + j];
                    if to.is_null() {
                        continue;
                    }
                    let mut sum = row[j].plus(bias);
                    if !residual.is_null() {
                        sum = sum.plus(load(residual.add(first), count));
                    }
                    if relu {
                        sum = sum.rectified();
                    }
                    store(sum, to.add(first), count);
                }
            }
            first += L::WIDTH;
        }
    }
}

/// One row of G g.
#[inline(always)]
unsafe fn spread<L: Lanes>([a, b, c]: [L; 3]) -> [L; 4] {
    // SAFETY: the caller runs the instructions.
    unsafe {
        let (half, ends) = (L::splat(0.5), a.plus(c));
        [a, half.times(ends.plus(b)), half.times(ends.minus(b)), c]
    }
}

/// # Safety
/// 9 addresses to read `size` values from and 16 to write as many to.
#[inline(always)]
unsafe fn weights<L: Lanes>(from: &[*const f32; 9], to: &[*mut f32; CELLS], size: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut first = 0;
        while first < size {
            let count = L::WIDTH.min(size - first);
            let mut columns = [[L::splat(0.0); 4]; 3];
            for j in 0..3 {
                let mut column = [L::splat(0.0); 3];
                for i in 0..3 {
                    column[i] = load(from[3 * i + j].add(first), count);
                }
                columns[j] = spread(column);
            }
            for i in 0..4 {
                let row = spread([columns[0][i], columns[1][i], columns[2][i]]);
                for j in 0..4 {
                    store(row[j], to[4 * i + j].add(first), count);
                }
            }
            first += L::WIDTH;
        }
    }
}

/// One row of A y.
#[inline(always)]
unsafe fn scattered<L: Lanes>([a, b]: [L; 2]) -> [L; 4] {
    // SAFETY: the caller runs the instructions.
    unsafe { [a, a.plus(b), a.minus(b), L::splat(0.0).minus(b)] }
}

/// # Safety
/// 4 addresses of `channels` values, and room for as many from `to` on, 16 cells `stride` apart.
#[inline(always)]
unsafe fn gradients<L: Lanes>(cells: &[*const f32; 4], channels: usize, to: *mut f32, stride: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut first = 0;
        while first < channels {
            let count = L::WIDTH.min(channels - first);
            let mut columns = [[L::splat(0.0); 4]; 2];
            for j in 0..2 {
                columns[j] = scattered([load(cells[j].add(first), count), load(cells[2 + j].add(first), count)]);
            }
            for i in 0..4 {
                let row = scattered([columns[0][i], columns[1][i]]);
                for j in 0..4 {
                    store(row[j], to.add((4 * i + j) * stride + first), count);
                }
            }
            first += L::WIDTH;
        }
    }
}

/// One row of Gᵀ m.
#[inline(always)]
unsafe fn collected<L: Lanes>([a, b, c, d]: [L; 4]) -> [L; 3] {
    // SAFETY: the caller runs the instructions.
    unsafe {
        let half = L::splat(0.5);
        let middle = half.times(b.plus(c));
        [a.plus(middle), half.times(b.minus(c)), middle.plus(d)]
    }
}

/// # Safety
/// 16 addresses to read `size` values from and 9 to write as many to.
#[inline(always)]
unsafe fn weights_back<L: Lanes>(from: &[*const f32; CELLS], to: &[*mut f32; 9], size: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut first = 0;
        while first < size {
            let count = L::WIDTH.min(size - first);
            let mut columns = [[L::splat(0.0); 3]; 4];
            for j in 0..4 {
                let mut column = [L::splat(0.0); 4];
                for i in 0..4 {
                    column[i] = load(from[4 * i + j].add(first), count);
                }
                columns[j] = collected(column);
            }
            for i in 0..3 {
                let row = collected([columns[0][i], columns[1][i], columns[2][i], columns[3][i]]);
                for j in 0..3 {
                    store(row[j], to[3 * i + j].add(first), count);
                }
            }
            first += L::WIDTH;
        }
    }
}

/// Compiles the transforms for one instruction set.
macro_rules! compiled {
    ($module:ident, $lanes:ty, $features:tt) => {
        compiled!(
            $module, $lanes, $features,
            inputs(cells: &[*const f32; CELLS], channels: usize, to: *mut f32, stride: usize),
            outputs(
                from: *const f32, stride: usize, channels: usize, to: &[(*mut f32, *const f32); 4], bias: *const f32, relu: bool
            ),
            weights(from: &[*const f32; 9], to: &[*mut f32; CELLS], size: usize),
            gradients(cells: &[*const f32; 4], channels: usize, to: *mut f32, stride: usize),
            weights_back(from: &[*const f32; CELLS], to: &[*mut f32; 9], size: usize)
        );
    };
    ($module:ident, $lanes:ty, [$($features:literal)?], $($function:ident($($argument:ident: $type:ty),*)),*) => {
        pub(super) mod $module {
            use super::CELLS;
            #[cfg(target_arch = "x86_64")]
            #[allow(unused_imports)]
            use std::arch::x86_64::{__m256, __m512};

            compiled!(each $lanes, [$($features)?], $($function($($argument: $type),*)),*);
        }
    };
    (each $lanes:ty, $features:tt, $($function:ident($($argument:ident: $type:ty),*)),*) => {
        $(compiled!(one $lanes, $features, $function($($argument: $type),*));)*
    };
    (one $lanes:ty, [$($features:literal)?], $function:ident($($argument:ident: $type:ty),*)) => {
        /// # Safety
        /// As the function of that name above, on a machine that has the instructions.
        $(#[target_feature(enable = $features)])?
        pub(in crate::kernels::winograd) unsafe fn $function($($argument: $type),*) {
            // SAFETY: the caller's promise.
            unsafe { super::$function::<$lanes>($($argument),*) }
        }
    };
}
#[cfg(target_arch = "x86_64")]
compiled!(avx512, __m512, ["avx512f,avx512bw,avx512dq,avx512vl"]);
#[cfg(target_arch = "x86_64")]
compiled!(avx2, __m256, ["avx2,fma"]);
compiled!(baseline, super::Baseline, []);
