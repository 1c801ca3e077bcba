//! The sizes of a convolution, checked once.

use super::Convolution;
use crate::element::elements;
use candle_core::{Result, Shape, bail};

/// Cells on a side of a padded image, and addresses that a kernel lists at a time, at most.
pub(crate) const LONGEST_SIDE: usize = u32::MAX as usize;
const MOST_ADDRESSES: usize = 1 << 28;

/// Output pixels whose addresses are listed at a time, unless a row of the output is longer.
const PIXELS: usize = 192;

/// The checked sizes of one convolution.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Geometry {
    pub(crate) n: usize,
    pub(crate) h: usize,
    pub(crate) w: usize,
    pub(crate) c: usize,
    pub(crate) o: usize,
    pub(crate) kh: usize,
    pub(crate) kw: usize,
    pub(crate) oh: usize,
    pub(crate) ow: usize,
    pub(crate) how: Convolution,
}

impl Geometry {
    pub(crate) fn new(x: &[usize], weight: &[usize], how: Convolution) -> Result<Self> {
        let (&[n, h, w, c], &[o, i, kh, kw]) = (x, weight) else {
            bail!("convolution: takes inputs (n, h, w, c) and weights (o, i, kh, kw), not {x:?} and {weight:?}");
        };
        let (Some((padded_h, oh)), Some((padded_w, ow))) = (how.side(h, kh), how.side(w, kw)) else {
            bail!("convolution: a kernel of {kh} by {kw} with {how:?} does not fit inputs {x:?}");
        };
        if how.groups == 0 || i.checked_mul(how.groups) != Some(c) || o % how.groups != 0 || c == 0 || o == 0 {
            bail!("convolution: inputs {x:?} do not fit weights {weight:?} with {how:?}");
        }
        elements("convolution", &[n, padded_h, padded_w, c])?;
        elements("convolution", &[n, oh, ow, o])?;
        let addresses = [kh, kw, ow.max(PIXELS)].into_iter().try_fold(1usize, |all, size| all.checked_mul(size));
        if addresses.is_none_or(|addresses| addresses > MOST_ADDRESSES) {
            bail!("convolution: a kernel of {kh} by {kw} is too large for outputs of {oh} by {ow}: use a smaller one");
        }
        // a stride beyond the image gives one output, like the longest side
        let how = Convolution { stride: how.stride.min(padded_h.max(padded_w).max(1)), ..how };
        Ok(Self { n, h, w, c, o, kh, kw, oh, ow, how })
    }

    pub(crate) fn group_inputs(&self) -> usize {
        self.c / self.how.groups
    }

    pub(crate) fn group_outputs(&self) -> usize {
        self.o / self.how.groups
    }

    /// Length of a patch: one group's inputs under the kernel.
    pub(crate) fn patch(&self) -> usize {
        self.kh * self.kw * self.group_inputs()
    }

    pub(crate) fn operations(&self) -> usize {
        (2 * self.n * self.oh * self.ow * self.o).saturating_mul(self.patch())
    }

    /// The output's shape.
    pub(crate) fn outputs(&self) -> Shape {
        (self.n, self.oh, self.ow, self.o).into()
    }

    /// Fails unless these are the output's sizes.
    pub(crate) fn check_outputs(&self, dims: &[usize]) -> Result<()> {
        if dims != [self.n, self.oh, self.ow, self.o] {
            bail!("convolution: gradients {dims:?} do not fit outputs {:?}", self.outputs().dims());
        }
        Ok(())
    }

    /// Kernel cells.
    pub(crate) fn taps(&self) -> usize {
        self.kh * self.kw
    }

    /// Visits, for output pixel `(row, column)`, each kernel cell that lies on the image:
    /// `(cell of the kernel, input pixel)`.
    pub(crate) fn for_each_cell(&self, row: usize, column: usize, mut f: impl FnMut(usize, usize)) {
        for a in 0..self.kh {
            let Some(i) = (row * self.how.stride + a).checked_sub(self.how.padding).filter(|&i| i < self.h) else {
                continue;
            };
            for b in 0..self.kw {
                let Some(j) = (column * self.how.stride + b).checked_sub(self.how.padding).filter(|&j| j < self.w)
                else {
                    continue;
                };
                f(a * self.kw + b, i * self.w + j);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_cannot_be_counted_are_errors_that_name_them() {
        let plain = Convolution::default();
        for (x, weight, how) in [
            ([1, 1, 1, 1], [1, 1, 1, 1], Convolution { padding: 1 << 62, ..plain }),
            ([1, 1, 1, 1], [1, 1, 1, 1], Convolution { padding: 1 << 31, ..plain }),
            ([1, 1, 1, 1], [1, 1, 1, 1], Convolution { padding: usize::MAX / 2, ..plain }),
            ([1, 1, 1, 1], [1, 1, 2_000_000, 1], Convolution { padding: 1_000_000, ..plain }),
            ([1 << 20, 1 << 20, 1 << 20, 1 << 20], [1, 1 << 20, 1, 1], plain),
            ([1, 4, 4, 4], [4, 2, 1, 1], Convolution { groups: usize::MAX, ..plain }),
            ([1, 4, 4, 4], [4, 4, 1, 1], Convolution { stride: 0, ..plain }),
            ([1, 4, 4, 4], [4, 4, 5, 1], plain),
            ([1, 4, 4, 0], [4, 0, 1, 1], plain),
        ] {
            let error = Geometry::new(&x, &weight, how).map(|g| g.outputs()).unwrap_err().to_string();
            assert!(error.starts_with("convolution: "), "{error}");
        }
        let far = Convolution { stride: usize::MAX, ..plain };
        assert_eq!(Geometry::new(&[1, 5, 3, 1], &[1, 1, 2, 2], far).unwrap().outputs().dims(), [1, 1, 1, 1]);
    }
}
