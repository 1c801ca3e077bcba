//! A tile of sums of products: some pixels by some output channels.

use super::compiled;
use super::rows::{Offsets, Rows, Source};
use super::{Activation, activated, add_values, load, shape, store};
use crate::kernels::lanes::Lanes;
use crate::kernels::simd::InstructionSet;
use std::mem::MaybeUninit;
use std::ops::Range;

/// What is added to a sum before it is stored.
#[derive(Clone, Copy, Default)]
pub(crate) struct Finish<'a> {
    /// Added to each pixel: one value per channel of the whole output.
    pub(crate) bias: Option<&'a [f32]>,
    /// Added elementwise: another output of the same shape.
    pub(crate) residual: Option<&'a [f32]>,
    /// What is done with the sum.
    pub(crate) activation: Activation,
}

/// For each pixel, `Σ over taps t and inputs i of row(t, pixel)[i] · panel(t, i, ·)`.
pub(crate) struct Product<'a> {
    /// Rows, tap by tap.
    pub(crate) rows: &'a Rows<'a>,
    /// The part of each row that is summed over.
    pub(crate) inputs: Range<usize>,
    /// Taps.
    pub(crate) taps: &'a [usize],
    /// Weights `(every tap, all inputs, columns)`, zeros past the last channel; `taps` index them.
    pub(crate) panel: &'a [f32],
    /// Inputs of the panel, and the first of them that a row's first value meets.
    pub(crate) panel_inputs: usize,
    /// Columns of the panel: whole vectors, one block at most.
    pub(crate) columns: usize,
    /// Where each pixel's sums go; `channels` values there.
    pub(crate) offsets: &'a Offsets,
    /// Output channels, at most `columns` and less than a vector below it.
    pub(crate) channels: usize,
    /// Whether the sums are added to what is there.
    pub(crate) add: bool,
    /// What is added to the last sum.
    pub(crate) finish: Option<Finish<'a>>,
    /// The first channel, for the finish's bias.
    pub(crate) first_channel: usize,
}

impl Product<'_> {
    /// Runs it.
    ///
    /// # Safety
    /// With `add`, the output must hold values at the offsets.
    pub(crate) unsafe fn run(&self, set: InstructionSet, output: &mut [MaybeUninit<f32>], base: usize) {
        let (width, vectors) = shape(set);
        let (pixels, inputs) = (self.offsets.len(), self.inputs.len());
        assert!(set.is_available(), "instructions that this machine lacks");
        assert!(self.rows.cover(self.taps.len(), pixels), "a product without its rows");
        assert!(self.inputs.end <= self.rows.width() && inputs <= self.panel_inputs, "a product outside its rows");
        let tap_size = self.panel_inputs * self.columns;
        let reach = |&tap: &usize| tap * tap_size + inputs * self.columns <= self.panel.len();
        assert!(self.taps.iter().all(reach), "a product outside its panel");
        assert!(self.columns.is_multiple_of(width) && self.columns <= width * vectors, "a panel of wrong width");
        assert!(self.channels <= self.columns && self.columns - self.channels < width, "a panel of wrong width");
        let end = self.offsets.greatest.map_or(0, |greatest| greatest + self.channels);
        assert!(end <= output.len(), "a product outside its output");
        let finish = self.finish.unwrap_or_default();
        let bias = finish.bias.map_or(std::ptr::null(), |bias| bias[self.first_channel..][..self.channels].as_ptr());
        let residual = finish.residual.map_or(std::ptr::null(), |residual| residual[base..][..end].as_ptr());
        let job = Job {
            source: self.rows.source(),
            pixels,
            first_input: self.inputs.start,
            inputs,
            taps: self.taps,
            weights: self.panel.as_ptr(),
            tap_size,
            offsets: &self.offsets.values,
            output: output.as_mut_ptr().cast(),
            last: self.channels + width - self.columns,
            add: self.add,
            bias,
            residual,
            activation: finish.activation,
        };
        // SAFETY: the machine has the instructions; rows were checked when they were listed,
        // panel, output, bias and residual above, and the last vector's tail is masked.
        unsafe {
            match set {
                #[cfg(target_arch = "x86_64")]
                InstructionSet::Avx512 => compiled::avx512::product(&job, self.columns / width),
                #[cfg(target_arch = "x86_64")]
                InstructionSet::Avx2 => compiled::avx2::product(&job, self.columns / width),
                _ => compiled::baseline::product(&job, self.columns / width),
            }
        }
    }
}

impl Product<'_> {
    /// Runs it over an output that holds values already.
    pub(crate) fn run_over(&self, set: InstructionSet, output: &mut [f32], base: usize) {
        // SAFETY: a product writes values only, never leaves a place without one.
        let output = unsafe { &mut *(std::ptr::from_mut(output) as *mut [MaybeUninit<f32>]) };
        // SAFETY: the output holds values.
        unsafe { self.run(set, output, base) }
    }
}

pub(super) struct Job<'a> {
    pub(super) source: Source,
    pub(super) pixels: usize,
    pub(super) first_input: usize,
    pub(super) inputs: usize,
    pub(super) taps: &'a [usize],
    pub(super) weights: *const f32,
    pub(super) tap_size: usize,
    pub(super) offsets: &'a [usize],
    pub(super) output: *mut f32,
    pub(super) last: usize,
    pub(super) add: bool,
    pub(super) bias: *const f32,
    pub(super) residual: *const f32,
    pub(super) activation: Activation,
}

/// Inputs whose products are added in one turn of the loop of a small tile.
const STEPS: usize = 4;

/// Whether a tile has so few products per input that the cost of the loop itself matters. The addresses of its rows then fit in
/// registers.
const fn small(pixels: usize, vectors: usize) -> bool {
    pixels <= 8 && pixels * vectors <= 12
}

/// Adds the products of the rows' values number `input` with `V` vectors of weights.
///
/// # Safety
/// As [`Lanes`] asks; each row has more than `input` values, and `V * L::WIDTH` weights lie at `weights`.
#[inline(always)]
unsafe fn add_products<L: Lanes, const P: usize, const V: usize>(
    sums: &mut [[L; V]; P],
    rows: &[*const f32; P],
    input: usize,
    weights: *const f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut w = [L::splat(0.0); V];
        for v in 0..V {
            w[v] = L::load(weights.add(v * L::WIDTH));
        }
        for p in 0..P {
            let x = L::splat(*rows[p].add(input));
            for v in 0..V {
                sums[p][v] = sums[p][v].plus_product(x, w[v]);
            }
        }
    }
}

/// # Safety
/// As [`Product::run`] has checked, for the pixels `first..first + P` and a panel of `V * L::WIDTH` columns.
#[inline(always)]
pub(super) unsafe fn product_tile<L: Lanes, const P: usize, const V: usize>(job: &Job, first: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[L::splat(0.0); V]; P];
        for (index, &tap) in job.taps.iter().enumerate() {
            let mut rows = job.source.rows::<P>(index * job.pixels + first, job.first_input);
            let mut weights = job.weights.add(tap * job.tap_size);
            let mut i = 0;
            if small(P, V) {
                // the compiler would compute each row's address from the one before, for each input
                rows = std::hint::black_box(rows);
                while i + STEPS <= job.inputs {
                    for step in 0..STEPS {
                        add_products(&mut sums, &rows, i + step, weights.add(step * V * L::WIDTH));
                    }
                    weights = weights.add(STEPS * V * L::WIDTH);
                    i += STEPS;
                }
            }
            while i < job.inputs {
                add_products(&mut sums, &rows, i, weights);
                weights = weights.add(V * L::WIDTH);
                i += 1;
            }
        }
        if job.last == L::WIDTH {
            finish_tile::<L, P, V, true>(job, first, sums);
        } else {
            finish_tile::<L, P, V, false>(job, first, sums);
        }
    }
}

/// Adds to the sums what is added at the end, and stores them. Each step goes through all sums, so that they stay in
/// registers; `WHOLE` says that the last vector is stored whole.
///
/// # Safety
/// As [`product_tile`].
#[inline(always)]
unsafe fn finish_tile<L: Lanes, const P: usize, const V: usize, const WHOLE: bool>(
    job: &Job,
    first: usize,
    mut sums: [[L; V]; P],
) {
    let count = |v: usize| if WHOLE || v + 1 < V { L::WIDTH } else { job.last };
    // SAFETY: the caller's promise.
    unsafe {
        let mut offsets = [0; P];
        for p in 0..P {
            offsets[p] = *job.offsets.get_unchecked(first + p);
        }
        if job.add {
            add_values::<L, P, V>(&mut sums, job.output, &offsets, count(V - 1));
        }
        if !job.bias.is_null() {
            for v in 0..V {
                let bias = load::<L>(job.bias.add(v * L::WIDTH), count(v));
                for p in 0..P {
                    sums[p][v] = sums[p][v].plus(bias);
                }
            }
        }
        if !job.residual.is_null() {
            add_values::<L, P, V>(&mut sums, job.residual, &offsets, count(V - 1));
        }
        // constants, so that the choice is made once for all sums
        match job.activation {
            Activation::Identity => {}
            Activation::Relu => activate(&mut sums, Activation::Relu),
            Activation::Relu6 => activate(&mut sums, Activation::Relu6),
        }
        for p in 0..P {
            for v in 0..V {
                store(sums[p][v], job.output.add(offsets[p] + v * L::WIDTH), count(v));
            }
        }
    }
}

/// # Safety
/// As [`Lanes`] asks.
#[inline(always)]
unsafe fn activate<L: Lanes, const P: usize, const V: usize>(sums: &mut [[L; V]; P], activation: Activation) {
    for sum in sums.as_flattened_mut() {
        // SAFETY: the caller's promise.
        *sum = unsafe { activated(*sum, activation) };
    }
}
