//! A tile of sums over pixels: some inputs by some output channels.

use super::compiled;
use super::rows::{Rows, Source};
use super::{add_values, block, load, shape, store};
use crate::kernels::lanes::Lanes;
use crate::kernels::simd::InstructionSet;
use std::mem::MaybeUninit;
use std::ops::Range;

/// `sums(i, ·) = Σ over p of row(p)[first + i] · gradient(p, ·)`.
pub(crate) struct Outer<'a> {
    /// One row per pixel.
    pub(crate) rows: &'a Rows<'a>,
    /// The part of each row that has sums.
    pub(crate) inputs: Range<usize>,
    /// Gradients of `channels` values, `gradient_stride` apart.
    pub(crate) gradient: &'a [f32],
    /// Distance between pixels' gradients.
    pub(crate) gradient_stride: usize,
    /// Pixels.
    pub(crate) pixels: usize,
    /// Output channels, one block at most.
    pub(crate) channels: usize,
    /// Whether the sums are added to what is there.
    pub(crate) add: bool,
}

impl Outer<'_> {
    /// Runs it; rows of sums lie `stride` apart.
    ///
    /// # Safety
    /// With `add`, the rows of sums must hold values.
    pub(crate) unsafe fn run(&self, set: InstructionSet, sums: &mut [MaybeUninit<f32>], stride: usize) {
        let (pixels, inputs, width) = (self.pixels, self.inputs.len(), shape(set).0);
        if inputs == 0 {
            return;
        }
        assert!(set.is_available(), "instructions that this machine lacks");
        assert!(self.rows.cover(1, pixels) && self.inputs.end <= self.rows.width(), "a product outside its rows");
        assert!((1..=block(set)).contains(&self.channels), "a tile of wrong width");
        let gradients = if pixels == 0 { 0 } else { (pixels - 1) * self.gradient_stride + self.channels };
        assert!(gradients <= self.gradient.len(), "gradients too short");
        assert!((inputs - 1) * stride + self.channels <= sums.len(), "sums too short");
        let vectors = self.channels.div_ceil(width);
        let job = OuterJob {
            source: self.rows.source(),
            pixels,
            first: self.inputs.start,
            inputs,
            gradient: self.gradient.as_ptr(),
            gradient_stride: self.gradient_stride,
            sums: sums.as_mut_ptr().cast(),
            stride,
            last: self.channels - (vectors - 1) * width,
            add: self.add,
        };
        // SAFETY: the machine has the instructions; rows, gradients and sums were checked above,
        // the sums hold values if they are read, and the last vector's tail is masked.
        unsafe {
            match set {
                #[cfg(target_arch = "x86_64")]
                InstructionSet::Avx512 => compiled::avx512::outer(&job, vectors),
                #[cfg(target_arch = "x86_64")]
                InstructionSet::Avx2 => compiled::avx2::outer(&job, vectors),
                _ => compiled::baseline::outer(&job, vectors),
            }
        }
    }
}

impl Outer<'_> {
    /// Runs it over sums that hold values already.
    pub(crate) fn run_over(&self, set: InstructionSet, sums: &mut [f32], stride: usize) {
        // SAFETY: a product writes values only, never leaves a place without one.
        let sums = unsafe { &mut *(std::ptr::from_mut(sums) as *mut [MaybeUninit<f32>]) };
        // SAFETY: the sums hold values.
        unsafe { self.run(set, sums, stride) }
    }
}

pub(super) struct OuterJob {
    pub(super) source: Source,
    pub(super) pixels: usize,
    pub(super) first: usize,
    pub(super) inputs: usize,
    pub(super) gradient: *const f32,
    pub(super) gradient_stride: usize,
    pub(super) sums: *mut f32,
    pub(super) stride: usize,
    pub(super) last: usize,
    pub(super) add: bool,
}

/// # Safety
/// As [`Outer::run`] has checked, for the inputs `first..first + I`.
#[inline(always)]
pub(super) unsafe fn outer_tile<L: Lanes, const I: usize, const V: usize>(job: &OuterJob, first: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        if job.last == L::WIDTH {
            sum_outer_tile::<L, I, V, true>(job, first);
        } else {
            sum_outer_tile::<L, I, V, false>(job, first);
        }
    }
}

/// `WHOLE` says that the last vector is whole.
///
/// # Safety
/// As [`outer_tile`].
#[inline(always)]
unsafe fn sum_outer_tile<L: Lanes, const I: usize, const V: usize, const WHOLE: bool>(job: &OuterJob, first: usize) {
    let count = |v: usize| if WHOLE || v + 1 < V { L::WIDTH } else { job.last };
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[L::splat(0.0); V]; I];
        for pixel in 0..job.pixels {
            let row = job.source.row(pixel).add(job.first + first);
            let gradient = job.gradient.add(pixel * job.gradient_stride);
            let mut g = [L::splat(0.0); V];
            for v in 0..V {
                g[v] = load(gradient.add(v * L::WIDTH), count(v));
            }
            for i in 0..I {
                let x = L::splat(*row.add(i));
                for v in 0..V {
                    sums[i][v] = sums[i][v].plus_product(x, g[v]);
                }
            }
        }
        let to = job.sums.add(first * job.stride);
        if job.add {
            let rows = std::array::from_fn(|i| i * job.stride);
            add_values::<L, I, V>(&mut sums, to, &rows, count(V - 1));
        }
        for i in 0..I {
            for v in 0..V {
                store(sums[i][v], to.add(i * job.stride + v * L::WIDTH), count(v));
            }
        }
    }
}
