//! The transforms of tiles, over the vectors of an instruction set: of weights, inputs and outputs
//! forward, and of outputs' gradients and weights back. Each is a [`Form`]'s along the columns,
//! then along the rows.

#![allow(unsafe_code)]
#![allow(clippy::needless_range_loop, reason = "tiles are indexed in two directions, as on paper")]

use super::form::Form;
use crate::kernels::lanes::{Baseline, Lanes};
use crate::kernels::tile::{Activation, activated, load, store};

/// Weights on a side of a kernel.
const SIDE: usize = 3;

/// Addresses of a tile's cells.
pub(super) type Places<T, const N: usize> = [[T; N]; N];

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

/// Vector by vector over `size` values: a tile of `FROM` by `FROM` cells, loaded from the address
/// `at` of cell (i, j), becomes one of `TO` by `TO` by the same change of its columns and its rows.
/// A macro, because closures are not compiled for the instructions of the function that they are in.
macro_rules! each_vector {
    (
        one [$from:ident, $to:ident], $line:expr,
        |$i:ident, $j:ident| $at:expr,
        |$value:ident, $first:ident, $count:ident| $put:expr
    ) => {
        let mut columns = [[L::splat(0.0); $to]; $from];
        for $j in 0..$from {
            let mut column = [L::splat(0.0); $from];
            for $i in 0..$from {
                column[$i] = load($at.add($first), $count);
            }
            columns[$j] = $line(column);
        }
        for $i in 0..$to {
            let mut row = [L::splat(0.0); $from];
            for j in 0..$from {
                row[j] = columns[j][$i];
            }
            let row = $line(row);
            for $j in 0..$to {
                let $value = row[$j];
                $put;
            }
        }
    };
    (
        $size:expr, [$from:ident, $to:ident], $line:expr,
        |$i:ident, $j:ident| $at:expr,
        |$value:ident, $first:ident, $count:ident| $put:expr
    ) => {
        let mut $first = 0;
        // a whole vector's count is a constant, so that its loads and stores have no branches
        while $first + L::WIDTH <= $size {
            let $count = L::WIDTH;
            each_vector!(
                one [$from, $to], $line,
                |$i, $j| $at, |$value, $first, $count| $put
            );
            $first += L::WIDTH;
        }
        if $first < $size {
            let $count = $size - $first;
            each_vector!(
                one [$from, $to], $line,
                |$i, $j| $at, |$value, $first, $count| $put
            );
        }
    };
}

/// Bᵀ d B.
///
/// # Safety
/// The addresses hold `channels` values, and there is room for as many from `to` on, cells
/// `stride` apart.
#[inline(always)]
unsafe fn inputs<L: Lanes, F: Form<T, M>, const T: usize, const M: usize>(
    _form: F,
    cells: &Places<*const f32, T>,
    channels: usize,
    to: *mut f32,
    stride: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        each_vector!(channels, [T, T], F::differences, |i, j| cells[i][j], |value, first, count| store(
            value,
            to.add((T * i + j) * stride + first),
            count
        ));
    }
}

/// What is added to an output tile before it is stored; addresses may be null.
#[derive(Clone, Copy)]
pub(super) struct Ending {
    pub(super) bias: *const f32,
    pub(super) activation: Activation,
}

/// Aᵀ m A.
///
/// # Safety
/// Cells of `channels` values from `from` on, `stride` apart; each place to write to that is
/// not null, and each residual and bias that is not, hold `channels` values.
#[inline(always)]
unsafe fn outputs<L: Lanes, F: Form<T, M>, const T: usize, const M: usize>(
    _form: F,
    (from, stride): (*const f32, usize),
    channels: usize,
    to: &Places<(*mut f32, *const f32), M>,
    ending: Ending,
) {
    // SAFETY: the caller's promise.
    unsafe {
        each_vector!(channels, [T, M], F::gathered, |i, j| from.add((T * i + j) * stride), |sum, first, count| {
            let (to, residual) = to[i][j];
            if to.is_null() {
                continue;
            }
            let mut sum = sum;
            if !ending.bias.is_null() {
                sum = sum.plus(load(ending.bias.add(first), count));
            }
            if !residual.is_null() {
                sum = sum.plus(load(residual.add(first), count));
            }
            store(activated(sum, ending.activation), to.add(first), count)
        });
    }
}

/// G g Gᵀ.
///
/// # Safety
/// Addresses to read `size` values from and to write as many to.
#[inline(always)]
unsafe fn weights<L: Lanes, F: Form<T, M>, const T: usize, const M: usize>(
    _form: F,
    from: &Places<*const f32, 3>,
    to: &Places<*mut f32, T>,
    size: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        each_vector!(size, [SIDE, T], F::spread, |i, j| from[i][j], |value, first, count| store(
            value,
            to[i][j].add(first),
            count
        ));
    }
}

/// A y Aᵀ.
///
/// # Safety
/// Addresses of `channels` values, and room for as many from `to` on, cells `stride` apart.
#[inline(always)]
unsafe fn gradients<L: Lanes, F: Form<T, M>, const T: usize, const M: usize>(
    _form: F,
    cells: &Places<*const f32, M>,
    channels: usize,
    to: *mut f32,
    stride: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        each_vector!(channels, [M, T], F::scattered, |i, j| cells[i][j], |value, first, count| store(
            value,
            to.add((T * i + j) * stride + first),
            count
        ));
    }
}

/// Gᵀ m G.
///
/// # Safety
/// Addresses to read `size` values from and to write as many to.
#[inline(always)]
unsafe fn weights_back<L: Lanes, F: Form<T, M>, const T: usize, const M: usize>(
    _form: F,
    from: &Places<*const f32, T>,
    to: &Places<*mut f32, 3>,
    size: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        each_vector!(size, [T, SIDE], F::collected, |i, j| from[i][j], |value, first, count| store(
            value,
            to[i][j].add(first),
            count
        ));
    }
}

/// Compiles the transforms for one instruction set.
macro_rules! compiled {
    ($module:ident, $lanes:ty, $features:tt) => {
        compiled!(
            $module, $lanes, $features,
            inputs(form: F, cells: &Places<*const f32, T>, channels: usize, to: *mut f32, stride: usize),
            outputs(
                form: F, from: (*const f32, usize), channels: usize, to: &Places<(*mut f32, *const f32), M>, ending: Ending
            ),
            weights(form: F, from: &Places<*const f32, 3>, to: &Places<*mut f32, T>, size: usize),
            gradients(form: F, cells: &Places<*const f32, M>, channels: usize, to: *mut f32, stride: usize),
            weights_back(form: F, from: &Places<*const f32, T>, to: &Places<*mut f32, 3>, size: usize)
        );
    };
    ($module:ident, $lanes:ty, [$($features:literal)?], $($function:ident($($argument:ident: $type:ty),*)),*) => {
        pub(super) mod $module {
            use super::{Ending, Form, Places};
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
        pub(in crate::kernels::winograd) unsafe fn $function<F: Form<T, M>, const T: usize, const M: usize>(
            $($argument: $type),*
        ) {
            // SAFETY: the caller's promise.
            unsafe { super::$function::<$lanes, F, T, M>($($argument),*) }
        }
    };
}
#[cfg(target_arch = "x86_64")]
compiled!(avx512, __m512, ["avx512f,avx512bw,avx512dq,avx512vl"]);
#[cfg(target_arch = "x86_64")]
compiled!(avx2, __m256, ["avx2,fma"]);
compiled!(baseline, super::Baseline, []);
