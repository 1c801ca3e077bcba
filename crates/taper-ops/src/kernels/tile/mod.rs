//! The two inner products of convolutions, held in registers: a tile of output pixels by output
//! channels, and a tile of weight gradients.
//!
//! Input pixels are reached through a list of addresses (an indirection list, Dukhan 2019,
//! arXiv:1907.02129), so that padding, strides and the ends of image rows cost nothing inside.

#![allow(unsafe_code)]
#![allow(clippy::needless_range_loop, reason = "tiles are indexed in two directions, as on paper")]

mod compiled;
mod outer;
mod product;
mod rows;

pub(crate) use outer::Outer;
pub(crate) use product::{Finish, Product};
pub(crate) use rows::{List, Offsets, Rows};

use super::lanes::{Baseline, Lanes};
use super::simd::InstructionSet;

/// Values in a vector, and vectors side by side in a tile.
const fn shape(set: InstructionSet) -> (usize, usize) {
    match set {
        InstructionSet::Avx512 => (16, 4),
        InstructionSet::Avx2 => (8, 2),
        InstructionSet::Portable => (Baseline::WIDTH, 2),
    }
}

/// Output channels that one tile covers.
pub(crate) fn block(set: InstructionSet) -> usize {
    let (width, vectors) = shape(set);
    width * vectors
}

/// `channels` rounded up to whole vectors.
pub(crate) fn padded(set: InstructionSet, channels: usize) -> usize {
    channels.next_multiple_of(shape(set).0)
}

/// The function that is applied to a sum before it is stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Activation {
    /// The sum itself.
    #[default]
    Identity,
    /// ReLU: negative values become 0.
    Relu,
    /// ReLU6: negative values become 0, values above 6 become 6.
    Relu6,
}

/// # Safety
/// As [`Lanes`] asks; `count` values lie at the address.
#[inline(always)]
pub(super) unsafe fn load<L: Lanes>(from: *const f32, count: usize) -> L {
    // SAFETY: the caller's promise.
    unsafe { if count == L::WIDTH { L::load(from) } else { L::load_first(from, count) } }
}

/// # Safety
/// As [`Lanes`] asks; there is room for `count` values at the address.
#[inline(always)]
pub(super) unsafe fn store<L: Lanes>(values: L, to: *mut f32, count: usize) {
    // SAFETY: the caller's promise.
    unsafe { if count == L::WIDTH { values.store(to) } else { values.store_first(to, count) } }
}

/// # Safety
/// As [`Lanes`] asks.
#[inline(always)]
pub(super) unsafe fn activated<L: Lanes>(sum: L, activation: Activation) -> L {
    // SAFETY: the caller's promise.
    unsafe {
        match activation {
            Activation::Identity => sum,
            Activation::Relu => sum.rectified(),
            Activation::Relu6 => sum.rectified().at_most(L::splat(6.0)),
        }
    }
}

/// Adds the values that lie at some offsets from an address, `last` of them in the last vector of each.
///
/// # Safety
/// As [`Lanes`] asks; those values exist.
#[inline(always)]
unsafe fn add_values<L: Lanes, const P: usize, const V: usize>(
    sums: &mut [[L; V]; P],
    from: *const f32,
    offsets: &[usize; P],
    last: usize,
) {
    for p in 0..P {
        for v in 0..V {
            let count = if v + 1 < V { L::WIDTH } else { last };
            // SAFETY: the caller's promise.
            sums[p][v] = unsafe { sums[p][v].plus(load::<L>(from.add(offsets[p] + v * L::WIDTH), count)) };
        }
    }
}
