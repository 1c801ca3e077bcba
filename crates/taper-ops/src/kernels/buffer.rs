//! Memory for results, not zeroed first.

#![allow(unsafe_code)]

use crate::element::Element;
use std::mem::MaybeUninit;

/// Values before and behind a buffer, with debug assertions: the row of a tile and more.
const GUARD: usize = if cfg!(debug_assertions) { 256 } else { 0 };

/// A byte of NaN that no arithmetic makes: all bits are set.
const CANARY: u8 = 0xff;

/// A vector of `len` values that `fill` writes.
///
/// With debug assertions the memory holds NaN before, and so do guards before and behind it: what
/// reads them shows, and what writes them is a panic once `fill` is through.
///
/// # Safety
/// `fill` must write every element.
pub(crate) unsafe fn written<T: Element>(len: usize, fill: impl FnOnce(&mut [MaybeUninit<T>])) -> Vec<T> {
    let mut values = Vec::with_capacity(GUARD + len + GUARD);
    let room = &mut values.spare_capacity_mut()[..GUARD + len + GUARD];
    if cfg!(debug_assertions) {
        // SAFETY: as many elements as there is room for.
        unsafe { room.as_mut_ptr().write_bytes(CANARY, room.len()) };
    }
    fill(&mut room[GUARD..GUARD + len]);
    // SAFETY: the capacity is enough, the guards are filled here, and the caller promises that
    // `fill` wrote the rest.
    unsafe { values.set_len(GUARD + len + GUARD) };
    if cfg!(debug_assertions) { without_guards(values) } else { values }
}

/// The first of some vectors of `size` values that lie one behind the other, the others added to it
/// in their order.
pub(crate) fn summed<T: Element>(mut parts: Vec<T>, size: usize) -> Vec<T> {
    let (total, others) = parts.split_at_mut(size);
    for other in others.chunks_exact(size.max(1)) {
        for (total, &part) in total.iter_mut().zip(other) {
            *total += part;
        }
    }
    parts.truncate(size);
    parts
}

/// What lies between the guards. Panics when they are not as they were.
fn without_guards<T: Element>(mut values: Vec<T>) -> Vec<T> {
    let behind = values.split_off(values.len() - GUARD);
    let guards = values[..GUARD].iter().chain(&behind);
    assert!(guards.into_iter().all(untouched), "a kernel wrote outside of its {} values", values.len() - GUARD);
    values.drain(..GUARD);
    values
}

/// Does a guard's value still have all its bits?
fn untouched<T: Element>(value: &T) -> bool {
    // SAFETY: f32 and f64 are nothing but their bytes.
    let bytes = unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast::<u8>(), size_of::<T>()) };
    bytes.iter().all(|&byte| byte == CANARY)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Zeros, and one more value `at` that many from the start.
    fn stray(at: isize) -> Vec<f32> {
        // SAFETY: every element is written; the stray one lies inside the guards.
        unsafe {
            written(5, |room| {
                room.fill(MaybeUninit::new(0.0));
                room.as_mut_ptr().offset(at).cast::<f32>().write(f32::NAN);
            })
        }
    }

    #[test]
    fn a_write_inside_is_none_of_the_guards_business() {
        let values = stray(4);
        assert_eq!(values[..4], [0.0; 4]);
        assert!(values.len() == 5 && values[4].is_nan());
    }

    #[test]
    #[should_panic(expected = "outside of its 5 values")]
    fn a_write_past_the_end_is_caught() {
        stray(5);
    }

    #[test]
    #[should_panic(expected = "outside of its 5 values")]
    fn a_write_before_the_start_is_caught() {
        stray(-1);
    }
}
