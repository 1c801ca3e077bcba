//! Rows of a depthwise convolution, several output pixels at a time in registers.
//!
//! The source is padded with columns of zeros, so that no pixel is at a border; rows outside of the image
//! are left out.

#![allow(unsafe_code)]
#![allow(clippy::needless_range_loop, reason = "strips are indexed in two directions, as on paper")]

use super::lanes::{Baseline, Lanes};
use super::simd::InstructionSet;
use super::tile::{Activation, activated, store};
use std::mem::MaybeUninit;

/// The place of a source row that lies outside of the image.
pub(crate) const OUTSIDE: usize = usize::MAX;

/// Output pixels whose sums are in registers together. Seven divides the sides of photographs' activations, and
/// two instructions per cycle that take four cycles each keep that many sums busy.
const PIXELS: usize = 7;

/// Several rows of output pixels, for some channels.
pub(crate) struct Strip<'a> {
    /// Source pixels of `columns` channels each, one after the other along a row.
    pub(crate) source: &'a [f32],
    /// Where the source rows of each output row begin, one per row of the kernel, or [`OUTSIDE`].
    pub(crate) rows: &'a [usize],
    /// Weights `(taps, columns)`.
    pub(crate) weights: &'a [f32],
    /// Added to each pixel: `columns` values.
    pub(crate) bias: Option<&'a [f32]>,
    /// Channels in whole vectors.
    pub(crate) columns: usize,
    /// Channels to write, less than a vector below `columns`.
    pub(crate) channels: usize,
    /// The side of the kernel.
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    /// Pixels in an output row.
    pub(crate) pixels: usize,
    /// Values from one output pixel to the next; rows follow each other.
    pub(crate) pitch: usize,
    pub(crate) activation: Activation,
}

impl Strip<'_> {
    /// Runs it: writes all channels of all pixels, beginning with the output's first value.
    pub(crate) fn run(&self, set: InstructionSet, output: &mut [MaybeUninit<f32>]) {
        let &Self { rows, columns, channels, kernel, stride, pixels, pitch, .. } = self;
        let width = match set {
            InstructionSet::Avx512 => 16,
            InstructionSet::Avx2 => 8,
            InstructionSet::Portable => Baseline::WIDTH,
        };
        assert!(set.is_available(), "instructions that this machine lacks");
        assert!(kernel > 0 && stride > 0 && rows.len().is_multiple_of(kernel), "a strip without its rows");
        assert!(columns > 0 && columns.is_multiple_of(width), "a strip of wrong width");
        assert!(channels <= columns && columns - channels < width && channels <= pitch, "a strip of wrong width");
        assert!(self.weights.len() >= kernel * kernel * columns, "weights too short");
        assert!(self.bias.is_none_or(|bias| bias.len() >= columns), "a bias too short");
        if rows.is_empty() || pixels == 0 {
            return;
        }
        let length = ((pixels - 1) * stride + kernel) * columns;
        let inside = |&row: &usize| row == OUTSIDE || row.checked_add(length).is_some_and(|e| e <= self.source.len());
        assert!(rows.iter().all(inside), "rows outside their slice");
        assert!((rows.len() / kernel * pixels - 1) * pitch + channels <= output.len(), "a strip outside its output");
        let job = Job {
            source: self.source.as_ptr(),
            rows,
            weights: self.weights.as_ptr(),
            bias: self.bias.map_or(std::ptr::null(), <[f32]>::as_ptr),
            columns,
            last: channels + width - columns,
            kernel,
            stride,
            pixels,
            pitch,
            activation: self.activation,
            output: output.as_mut_ptr().cast(),
        };
        // SAFETY: the machine has the instructions; rows, weights, bias and output were checked above, and
        // the last vector's tail is masked.
        unsafe {
            match set {
                #[cfg(target_arch = "x86_64")]
                InstructionSet::Avx512 => avx512::strip(&job),
                #[cfg(target_arch = "x86_64")]
                InstructionSet::Avx2 => avx2::strip(&job),
                _ => baseline::strip(&job),
            }
        }
    }
}

impl Strip<'_> {
    /// Runs it over an output that holds values already.
    pub(crate) fn run_over(&self, set: InstructionSet, output: &mut [f32]) {
        // SAFETY: a strip writes values only, and leaves no place without one.
        self.run(set, unsafe { &mut *(std::ptr::from_mut(output) as *mut [MaybeUninit<f32>]) });
    }
}

struct Job<'a> {
    source: *const f32,
    rows: &'a [usize],
    weights: *const f32,
    bias: *const f32,
    columns: usize,
    last: usize,
    kernel: usize,
    stride: usize,
    pixels: usize,
    pitch: usize,
    activation: Activation,
    output: *mut f32,
}

/// One vector of channels of one output row.
struct Line<'a> {
    /// Source rows of the kernel's rows, or [`OUTSIDE`].
    rows: &'a [usize],
    source: *const f32,
    weights: *const f32,
    bias: *const f32,
    output: *mut f32,
    /// Channels of the vector.
    count: usize,
}

/// `P` pixels from `first` on, by a kernel of `K` columns and the stride `S`; with `K` 0 by the job's.
///
/// # Safety
/// As [`Strip::run`] has checked.
#[inline(always)]
unsafe fn block<L: Lanes, const K: usize, const S: usize, const P: usize>(job: &Job, line: &Line, first: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let (kernel, stride) = if K > 0 { (K, S) } else { (job.kernel, job.stride) };
        let columns = job.columns;
        let start = if line.bias.is_null() { L::splat(0.0) } else { L::load(line.bias) };
        let mut sums = [start; P];
        for (i, &row) in line.rows.iter().enumerate() {
            if row == OUTSIDE {
                continue;
            }
            let from = line.source.add(row + first * stride * columns);
            let weights = line.weights.add(i * kernel * columns);
            for j in 0..kernel {
                let w = L::load(weights.add(j * columns));
                for p in 0..P {
                    sums[p] = sums[p].plus_product(L::load(from.add((p * stride + j) * columns)), w);
                }
            }
        }
        for p in 0..P {
            store(activated(sums[p], job.activation), line.output.add((first + p) * job.pitch), line.count);
        }
    }
}

/// # Safety
/// As [`Strip::run`] has checked.
#[inline(always)]
unsafe fn strip<L: Lanes, const K: usize, const S: usize>(job: &Job) {
    // SAFETY: the caller's promise. The last block may compute pixels of the one before it again.
    unsafe {
        for first in (0..job.columns).step_by(L::WIDTH) {
            let count = if first + L::WIDTH < job.columns { L::WIDTH } else { job.last };
            for (index, rows) in job.rows.chunks_exact(job.kernel).enumerate() {
                let line = Line {
                    rows,
                    source: job.source.add(first),
                    weights: job.weights.add(first),
                    bias: if job.bias.is_null() { job.bias } else { job.bias.add(first) },
                    output: job.output.add(index * job.pixels * job.pitch + first),
                    count,
                };
                if job.pixels < PIXELS {
                    for pixel in 0..job.pixels {
                        block::<L, K, S, 1>(job, &line, pixel);
                    }
                    continue;
                }
                for pixel in (0..job.pixels).step_by(PIXELS) {
                    block::<L, K, S, PIXELS>(job, &line, pixel.min(job.pixels - PIXELS));
                }
            }
        }
    }
}

/// Compiles strips for one instruction set: for the usual kernels and strides, and for any.
macro_rules! compiled {
    ($module:ident, $lanes:ty, [$($features:literal)?]) => {
        mod $module {
            use super::Job;
            #[cfg(target_arch = "x86_64")]
            #[allow(unused_imports)]
            use std::arch::x86_64::{__m256, __m512};

            /// # Safety
            /// As [`super::Strip::run`] has checked.
            $(#[target_feature(enable = $features)])?
            unsafe fn sized<const K: usize, const S: usize>(job: &Job) {
                // SAFETY: the caller's promise.
                unsafe { super::strip::<$lanes, K, S>(job) }
            }

            /// # Safety
            /// As [`super::Strip::run`] has checked.
            pub(super) unsafe fn strip(job: &Job) {
                // SAFETY: the caller's promise.
                unsafe {
                    match (job.kernel, job.stride) {
                        (3, 1) => sized::<3, 1>(job),
                        (3, 2) => sized::<3, 2>(job),
                        (5, 1) => sized::<5, 1>(job),
                        (5, 2) => sized::<5, 2>(job),
                        (7, 1) => sized::<7, 1>(job),
                        _ => sized::<0, 0>(job),
                    }
                }
            }
        }
    };
}
#[cfg(target_arch = "x86_64")]
compiled!(avx512, __m512, ["avx512f,avx512bw,avx512dq,avx512vl"]);
#[cfg(target_arch = "x86_64")]
compiled!(avx2, __m256, ["avx2,fma"]);
compiled!(baseline, super::Baseline, []);
