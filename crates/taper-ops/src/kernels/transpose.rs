//! Transposition: what weights need on their way into panels and back.

#![allow(unsafe_code)]
#![allow(clippy::needless_range_loop, reason = "blocks are indexed in two directions, as on paper")]

use super::simd::InstructionSet;
use std::mem::MaybeUninit;

/// Rows and columns that are transposed at a time.
const SIDE: usize = 16;

/// `to[at(column) + row] = from[rows[row] + column]` for all rows, which begin at the given places, and `columns` columns.
pub(crate) fn transpose(
    set: InstructionSet,
    (from, rows): (&[f32], &[usize]),
    columns: usize,
    to: &mut [MaybeUninit<f32>],
    at: impl Fn(usize) -> usize,
) {
    let Some(&last) = rows.iter().max() else { return };
    if columns == 0 {
        return;
    }
    assert!(last.checked_add(columns).is_some_and(|end| end <= from.len()), "rows outside of what is transposed");
    assert!(set.is_available(), "instructions that this machine lacks");
    for column in (0..columns).step_by(SIDE) {
        let wide = SIDE.min(columns - column);
        let mut places = [0; SIDE];
        for (k, place) in places.iter_mut().enumerate().take(wide) {
            *place = at(column + k);
            assert!(*place + rows.len() <= to.len(), "columns outside of where they go");
        }
        for (index, starts) in rows.chunks(SIDE).enumerate() {
            let row = index * SIDE;
            #[cfg(target_arch = "x86_64")]
            if set == InstructionSet::Avx512 {
                // SAFETY: the machine has the instructions; the rows lie in `from` and the columns
                // in `to`, as checked above.
                unsafe {
                    let from = from.as_ptr().add(column);
                    avx512::block((from, starts), wide, to.as_mut_ptr().cast::<f32>().add(row), &places);
                }
                continue;
            }
            for k in 0..wide {
                let to = &mut to[places[k] + row..][..starts.len()];
                for (start, to) in starts.iter().zip(to) {
                    to.write(from[start + column + k]);
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use super::SIDE;
    use std::arch::x86_64::*;

    /// The first `count` lanes.
    fn first(count: usize) -> __mmask16 {
        ((1u32 << count) - 1) as __mmask16
    }

    /// # Safety
    /// `wide` values lie at each of the starts from `from` on, and there is room for as many values as there are
    /// starts at each of the first `wide` places from `to` on; both numbers are from 1 to 16.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    pub(super) unsafe fn block(
        (from, starts): (*const f32, &[usize]),
        wide: usize,
        to: *mut f32,
        places: &[usize; SIDE],
    ) {
        let high = starts.len();
        let mut rows = [_mm512_setzero_ps(); SIDE];
        // loops of fixed length stay in registers
        for row in 0..SIDE {
            if row < high {
                // SAFETY: the caller's promise; lanes that are masked out touch no memory.
                rows[row] = unsafe { _mm512_maskz_loadu_ps(first(wide), from.add(*starts.get_unchecked(row))) };
            }
        }
        let columns = transposed(rows);
        for column in 0..SIDE {
            if column < wide {
                // SAFETY: the caller's promise; lanes that are masked out touch no memory.
                unsafe { _mm512_mask_storeu_ps(to.add(places[column]), first(high), columns[column]) };
            }
        }
    }

    /// Pairs of rows, then fours, interleave inside quarters of vectors; then the quarters change
    /// places.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn transposed(rows: [__m512; SIDE]) -> [__m512; SIDE] {
        let mut fours = rows;
        for four in fours.chunks_exact_mut(4) {
            let (a, b) = (_mm512_unpacklo_ps(four[0], four[1]), _mm512_unpackhi_ps(four[0], four[1]));
            let (c, d) = (_mm512_unpacklo_ps(four[2], four[3]), _mm512_unpackhi_ps(four[2], four[3]));
            let [a, b, c, d] = [a, b, c, d].map(|values| _mm512_castps_pd(values));
            four[0] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
            four[1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
            four[2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
            four[3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
        }
        let mut columns = rows;
        for j in 0..4 {
            const EVEN: i32 = 0b10_00_10_00;
            const ODD: i32 = 0b11_01_11_01;
            let (a, b) = (fours[j], fours[4 + j]);
            let (c, d) = (fours[8 + j], fours[12 + j]);
            let (even, odd) = (_mm512_shuffle_f32x4::<EVEN>(a, b), _mm512_shuffle_f32x4::<ODD>(a, b));
            let (more_even, more_odd) = (_mm512_shuffle_f32x4::<EVEN>(c, d), _mm512_shuffle_f32x4::<ODD>(c, d));
            columns[j] = _mm512_shuffle_f32x4::<EVEN>(even, more_even);
            columns[4 + j] = _mm512_shuffle_f32x4::<EVEN>(odd, more_odd);
            columns[8 + j] = _mm512_shuffle_f32x4::<ODD>(even, more_even);
            columns[12 + j] = _mm512_shuffle_f32x4::<ODD>(odd, more_odd);
        }
        columns
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_column_becomes_a_row(rows in 0usize..40, columns in 0usize..40, beside in 0usize..3, apart in 0usize..3) {
            let (stride, pitch) = (columns + beside, rows + apart);
            // from the last to the first
            let starts: Vec<usize> = (0..rows).rev().map(|row| row * stride).collect();
            let from: Vec<f32> = (0..rows * stride + columns).map(|value| value as f32).collect();
            for set in InstructionSet::here() {
                let mut to = vec![MaybeUninit::new(-1.0); columns * pitch + rows];
                transpose(set, (&from, &starts), columns, &mut to, |column| column * pitch);
                for (place, value) in to.iter().enumerate() {
                    // SAFETY: all were made with values.
                    let value = unsafe { value.assume_init() };
                    let (column, row) = (place.checked_div(pitch).unwrap_or(0), place % pitch.max(1));
                    let right = if column < columns && row < rows { from[starts[row] + column] } else { -1.0 };
                    prop_assert_eq!(value, right, "{:?}: column {} row {}", set, column, row);
                }
            }
        }
    }
}
