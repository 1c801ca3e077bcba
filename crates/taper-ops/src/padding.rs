//! Zeros around images, as many on each side as asked.

#![allow(unsafe_code)]

use crate::composed;
use crate::element::{Element, by_type, elements, stored, values};
use crate::kernels::buffer::in_parts;
use crate::tape::Apply;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use std::mem::MaybeUninit;

/// Images `(n, h, w, c)` with rows of zeros before the first and after the last, and columns likewise.
///
/// # Errors
/// Returns an error if `x` does not have four dimensions, if its type is neither f32 nor f64, or if the result would
/// not fit in memory.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// let images = Tensor::ones((2, 6, 7, 3), DType::F32, &Device::Cpu)?;
/// let padded = taper_ops::pad_images(&images, (0, 1), (1, 1))?;
/// assert_eq!(padded.dims(), [2, 7, 9, 3]);
/// assert_eq!(padded.sum_all()?.to_scalar::<f32>()?, 252.0);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn pad_images(x: &Tensor, rows: (usize, usize), columns: (usize, usize)) -> Result<Tensor> {
    let (n, h, w, c) = x.dims4()?;
    if (rows, columns) == ((0, 0), (0, 0)) {
        return Ok(x.clone());
    }
    let all = |size: usize, (before, after): (usize, usize)| size.checked_add(before)?.checked_add(after);
    let (Some(height), Some(width)) = (all(h, rows), all(w, columns)) else {
        bail!("padding: {rows:?} rows and {columns:?} columns around images of {h} by {w} cannot be counted");
    };
    elements("padding", &[n, height, width, c])?;
    if composed::needed(x) {
        return x.pad_with_zeros(1, rows.0, rows.1)?.pad_with_zeros(2, columns.0, columns.1);
    }
    let larger = (height, width);
    x.contiguous()?.apply1(Frame { larger, smaller: (h, w), corner: (rows.0, columns.0), crop: false })
}

/// Puts images into a frame of zeros, or cuts them out of it: each is the other's adjoint.
#[derive(Clone, Copy)]
struct Frame {
    /// Heights and widths.
    larger: (usize, usize),
    smaller: (usize, usize),
    /// The row and the column of the frame at which the smaller image begins.
    corner: (usize, usize),
    /// Whether the images are cut out.
    crop: bool,
}

impl CustomOp1 for Frame {
    fn name(&self) -> &'static str {
        "padding"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        by_type!(x, "padding", kernel(x, layout, *self))
    }

    fn bwd(&self, _x: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(gradient.contiguous()?.apply1(Self { crop: !self.crop, ..*self })?))
    }
}

fn kernel<T: Element>(x: &CpuStorage, layout: &Layout, frame: Frame) -> Result<(CpuStorage, Shape)> {
    let (n, _, _, c) = layout.shape().dims4()?;
    let x = values::<T>(x, layout, "padding")?;
    let Frame { larger, smaller, corner, crop } = frame;
    let (to, from) = if crop { (smaller, larger) } else { (larger, smaller) };
    let (row, source) = (to.1 * c, from.1 * c);
    // the part of a row that both have
    let (kept, left) = (smaller.1 * c, corner.1 * c);
    let y = in_parts(
        n * to.0 * row,
        row,
        |start, mut part| {
            let (image, line) = (start / row / to.0, start / row % to.0);
            let line = if crop { Some(line + corner.0) } else { line.checked_sub(corner.0).filter(|&r| r < from.0) };
            // SAFETY: every slot of the row is written: with zeros, or with as many values as there are slots.
            let (slots, proof) = unsafe { part.slots() };
            let Some(line) = line else {
                slots.fill(MaybeUninit::new(T::ZERO));
                return proof;
            };
            let values = &x[(image * from.0 + line) * source..][..source];
            if crop {
                copy(slots, &values[left..left + kept]);
            } else {
                let (before, rest) = slots.split_at_mut(left);
                let (inside, after) = rest.split_at_mut(kept);
                before.fill(MaybeUninit::new(T::ZERO));
                copy(inside, values);
                after.fill(MaybeUninit::new(T::ZERO));
            }
            proof
        },
        |_, _| {},
    );
    Ok(stored::<T>(y, (n, to.0, to.1, c)))
}

fn copy<T: Element>(to: &mut [MaybeUninit<T>], from: &[T]) {
    assert_eq!(to.len(), from.len(), "rows of different lengths");
    for (to, &from) in to.iter_mut().zip(from) {
        to.write(from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{check_gradients, random};

    #[test]
    fn padding_puts_zeros_where_asked_and_has_right_derivatives() {
        for (rows, columns) in [((0, 1), (2, 0)), ((1, 1), (0, 3)), ((2, 0), (0, 0))] {
            let x = random("padded", (2, 3, 4, 2));
            let right = x.pad_with_zeros(1, rows.0, rows.1).unwrap();
            let right = right.pad_with_zeros(2, columns.0, columns.1).unwrap();
            let list = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            let ours = pad_images(&x, rows, columns).unwrap();
            assert_eq!((ours.dims(), list(&ours)), (right.dims(), list(&right)));
            check_gradients(&[x], |v| pad_images(&v[0], rows, columns)?.powf(3.0));
        }
    }

    #[test]
    fn empty_images_keep_their_shapes_and_absurd_padding_is_an_error() {
        for (n, h, w, c) in [(0, 3, 4, 2), (2, 0, 4, 2), (2, 3, 0, 2), (2, 3, 4, 0)] {
            assert_eq!(pad_images(&random("x", (n, h, w, c)), (1, 2), (0, 1)).unwrap().dims(), [n, h + 3, w + 1, c]);
        }
        assert!(pad_images(&random("x", (1, 1, 1, 1)), (usize::MAX, 1), (0, 0)).is_err());
        assert!(pad_images(&random("x", (1, 1, 1, 1)), (1 << 40, 0), (1 << 20, 0)).is_err());
    }
}
