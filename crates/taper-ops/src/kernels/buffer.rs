//! Memory for results, not zeroed first.

#![allow(unsafe_code)]

use crate::element::Element;
use std::mem::MaybeUninit;

/// A vector of `len` values that `fill` writes. With debug assertions the memory holds NaN before.
///
/// # Safety
/// `fill` must write every element.
pub(crate) unsafe fn written<T: Element>(len: usize, fill: impl FnOnce(&mut [MaybeUninit<T>])) -> Vec<T> {
    let mut values = Vec::with_capacity(len);
    let room = &mut values.spare_capacity_mut()[..len];
    if cfg!(debug_assertions) {
        room.fill(MaybeUninit::new(T::of(f64::NAN)));
    }
    fill(room);
    // SAFETY: the capacity is at least `len`, and the caller promises that `fill` wrote it all.
    unsafe { values.set_len(len) };
    values
}
