//! The sizes of a convolution, checked once.

use super::Convolution;
use candle_core::{Result, Shape, bail};

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
        let side = |size: usize, kernel: usize| {
            (size + 2 * how.padding)
                .checked_sub(kernel)
                .filter(|_| how.stride > 0 && kernel > 0)
                .map(|free| free / how.stride + 1)
        };
        let (Some(oh), Some(ow)) = (side(h, kh), side(w, kw)) else {
            bail!("convolution: a kernel of {kh} by {kw} with {how:?} does not fit inputs {x:?}");
        };
        if how.groups == 0 || c != i * how.groups || o % how.groups != 0 || c == 0 || o == 0 {
            bail!("convolution: inputs {x:?} do not fit weights {weight:?} with {how:?}");
        }
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
        2 * self.n * self.oh * self.ow * self.o * self.patch()
    }

    /// The output's shape.
    pub(crate) fn outputs(&self) -> Shape {
        (self.n, self.oh, self.ow, self.o).into()
    }

    /// Errs unless these are the output's sizes.
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
