//! Memory for results, not zeroed first.

#![allow(unsafe_code)]

use crate::element::Element;
use crate::threads::for_each_chunk;
use std::mem::MaybeUninit;

/// Values before and after a buffer, with debug assertions: more than a row of a tile.
const GUARD: usize = if cfg!(debug_assertions) { 256 } else { 0 };

/// A byte of NaN that no arithmetic makes: all bits are set.
const CANARY: u8 = 0xff;

/// A vector of `len` values that `fill` writes.
///
/// With debug assertions the memory is filled with NaN first, and lies between guards of NaN: reads
/// of them show in the result, and writes to them are a panic when `fill` returns.
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

/// A part of a result that has not been written yet.
pub(crate) struct Unwritten<'a, T>(&'a mut [MaybeUninit<T>]);

/// The proof that a part was written: its address and length.
#[must_use]
pub(crate) struct Written(usize, usize);

impl<'a, T: Element> Unwritten<'a, T> {
    pub(crate) fn new(slots: &'a mut [MaybeUninit<T>]) -> Self {
        Self(slots)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    fn proof(&self) -> Written {
        Written(self.0.as_ptr().addr(), self.0.len())
    }

    /// Writes `value` of each place.
    #[inline(always)]
    pub(crate) fn fill(self, mut value: impl FnMut(usize) -> T) -> Written {
        for (place, slot) in self.0.iter_mut().enumerate() {
            slot.write(value(place));
        }
        self.proof()
    }

    /// The slots, and the proof for the caller who writes them.
    ///
    /// # Safety
    /// The caller must write every slot before it gives the proof away.
    #[inline(always)]
    pub(crate) unsafe fn slots(&mut self) -> (&mut [MaybeUninit<T>], Written) {
        let proof = self.proof();
        (self.0, proof)
    }
}

/// Writes an [`Unwritten`] part row by row of `c` channels: the value of channel `k` for the row
/// whose operands are the rows of the given slices.
///
/// A macro, because a loop inside a closure may be compiled without the vector instructions of the
/// function around it.
macro_rules! write_rows {
    ($y:ident, $c:expr, [$($x:ident),+], |$k:ident| $value:expr) => {{
        let (c, mut y) = ($c, $y);
        assert!(c > 0 && y.len().is_multiple_of(c) $(&& $x.len() == y.len())+, "rows of wrong length");
        // SAFETY: every channel of every row is written, and the rows cover the slots.
        let (slots, proof) = unsafe { y.slots() };
        for (index, row) in slots.chunks_exact_mut(c).enumerate() {
            let start = index * c;
            $(let $x = &$x[start..start + c];)+
            for $k in 0..c {
                row[$k].write($value);
            }
        }
        proof
    }};
}
pub(crate) use write_rows;

/// A vector of `len` values in chunks of whole rows of `c`; `fill` gets a chunk's place and writes it.
pub(crate) fn in_chunks<T: Element>(
    len: usize,
    c: usize,
    fill: impl Fn(usize, Unwritten<'_, T>) -> Written + Sync + Send,
) -> Vec<T> {
    in_parts(len, c * (65_536 / c).max(16), fill, |_, _| {})
}

/// A vector of `len` values in chunks of `chunk`; `fill` gets a chunk's place and writes it, then
/// `change` gets what was written.
pub(crate) fn in_parts<T: Element>(
    len: usize,
    chunk: usize,
    fill: impl Fn(usize, Unwritten<'_, T>) -> Written + Sync + Send,
    change: impl Fn(usize, &mut [T]) + Sync + Send,
) -> Vec<T> {
    // SAFETY: the chunks cover the output, and each comes with the proof that it was written.
    unsafe {
        written(len, |y| {
            for_each_chunk(y, chunk, len.saturating_mul(4), |index, part: &mut [MaybeUninit<T>]| {
                let right = (part.as_ptr().addr(), part.len());
                let Written(at, length) = fill(index * chunk, Unwritten(part));
                assert!((at, length) == right, "a kernel wrote another part than its own");
                // SAFETY: the proof says that every value was written.
                change(index * chunk, &mut *(std::ptr::from_mut(part) as *mut [T]));
            });
        })
    }
}

/// The sum of vectors of `size` values that lie one after the other, added in their order.
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

/// The values between the guards. Panics if the guards have changed.
fn without_guards<T: Element>(mut values: Vec<T>) -> Vec<T> {
    let behind = values.split_off(values.len() - GUARD);
    let guards = values[..GUARD].iter().chain(&behind);
    assert!(guards.into_iter().all(untouched), "a kernel wrote outside of its {} values", values.len() - GUARD);
    values.drain(..GUARD);
    values
}

/// Returns `true` if a guard's value still has all its bits.
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
    fn a_write_inside_does_not_touch_the_guards() {
        let values = stray(4);
        assert_eq!(values[..4], [0.0; 4]);
        assert!(values.len() == 5 && values[4].is_nan());
    }

    #[test]
    #[cfg_attr(miri, ignore = "writes outside on purpose, which Miri reports itself")]
    #[should_panic(expected = "outside of its 5 values")]
    fn a_write_past_the_end_is_caught() {
        stray(5);
    }

    #[test]
    #[cfg_attr(miri, ignore = "writes outside on purpose, which Miri reports itself")]
    #[should_panic(expected = "outside of its 5 values")]
    fn a_write_before_the_start_is_caught() {
        stray(-1);
    }
}
