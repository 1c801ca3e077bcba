//! The two inner products of convolutions, held in registers: a tile of output pixels by output
//! channels, and a tile of weight gradients.
//!
//! Input pixels are reached through a list of addresses (an indirection list, Dukhan 2019,
//! arXiv:1907.02129), so that padding, strides and the ends of image rows cost nothing inside.

#![allow(unsafe_code)]
#![allow(clippy::needless_range_loop, reason = "tiles are indexed in two directions, as on paper")]

use super::lanes::{Baseline, Lanes};
use super::simd::InstructionSet;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Values in a vector, and vectors side by side in a tile.
const fn shape(set: InstructionSet) -> (usize, usize) {
    match set {
        InstructionSet::Avx512 => (16, 4),
        InstructionSet::Avx2 => (8, 2),
        InstructionSet::Portable => (Baseline::WIDTH, 2),
    }
}

/// Output channels that one tile covers.
pub(crate) fn block(set: InstructionSet) -> usize {
    let (width, vectors) = shape(set);
    width * vectors
}

/// `channels` rounded up to whole vectors.
pub(crate) fn padded(set: InstructionSet, channels: usize) -> usize {
    channels.next_multiple_of(shape(set).0)
}

/// Where the rows of a product's left side lie, each of `width` values.
pub(crate) enum Rows<'a> {
    /// `taps` lists of `pixels` addresses, each checked against its slice when it was listed.
    Listed(List<'a>),
    /// One row per pixel, `stride` apart.
    Strided { values: &'a [f32], stride: usize, width: usize },
}

/// Addresses of rows of `width` values.
pub(crate) struct List<'a> {
    addresses: Vec<*const f32>,
    source: &'a [f32],
    zeros: &'a [f32],
    width: usize,
}

impl<'a> List<'a> {
    /// An empty list, with room for some rows of `source`, or of `zeros`, which holds one row.
    pub(crate) fn new(source: &'a [f32], zeros: &'a [f32], width: usize, room: usize) -> Self {
        assert!(zeros.len() >= width, "a row of zeros is too short");
        Self { addresses: Vec::with_capacity(room), source, zeros, width }
    }

    /// Lists `count` rows, the first at `source[offset]`, the others `step` further on each.
    pub(crate) fn push(&mut self, offset: usize, step: usize, count: usize) {
        if count == 0 {
            return;
        }
        assert!(offset + (count - 1) * step + self.width <= self.source.len(), "rows outside their slice");
        let first = self.source[offset..].as_ptr();
        // SAFETY: the last row ends inside the slice, as just checked.
        self.addresses.extend((0..count).map(|index| unsafe { first.add(index * step) }));
    }

    /// Lists zeros `count` times.
    pub(crate) fn push_zeros(&mut self, count: usize) {
        self.addresses.extend(std::iter::repeat_n(self.zeros.as_ptr(), count));
    }
}

impl Rows<'_> {
    fn width(&self) -> usize {
        match self {
            Self::Listed(list) => list.width,
            Self::Strided { width, .. } => *width,
        }
    }

    /// Returns `true` if there are `taps` rows for each of `pixels` pixels.
    fn cover(&self, taps: usize, pixels: usize) -> bool {
        match self {
            Self::Listed(list) => list.addresses.len() == taps * pixels,
            Self::Strided { values, stride, width } => {
                taps == 1 && (pixels == 0 || (pixels - 1) * stride + width <= values.len())
            }
        }
    }

    fn source(&self) -> Source {
        match self {
            Self::Listed(list) => Source::Listed(list.addresses.as_ptr()),
            Self::Strided { values, stride, .. } => Source::Strided(values.as_ptr(), *stride),
        }
    }
}

#[derive(Clone, Copy)]
enum Source {
    Listed(*const *const f32),
    Strided(*const f32, usize),
}

impl Source {
    /// # Safety
    /// `index` counts the row within what [`Rows::cover`] has checked.
    #[inline(always)]
    unsafe fn row(self, index: usize) -> *const f32 {
        // SAFETY: the caller's promise.
        unsafe {
            match self {
                Self::Listed(list) => *list.add(index),
                Self::Strided(first, stride) => first.add(index * stride),
            }
        }
    }

    /// The addresses of value number `input` in each of `P` rows, from the row `index` on.
    ///
    /// # Safety
    /// As [`Source::row`], for all of them; `input` is at most the rows' width.
    #[inline(always)]
    unsafe fn rows<const P: usize>(self, index: usize, input: usize) -> [*const f32; P] {
        let mut rows = [std::ptr::null::<f32>(); P];
        // SAFETY: the caller's promise.
        unsafe {
            match self {
                Self::Listed(list) => {
                    for p in 0..P {
                        rows[p] = (*list.add(index + p)).add(input);
                    }
                }
                Self::Strided(first, stride) => {
                    for p in 0..P {
                        rows[p] = first.add((index + p) * stride + input);
                    }
                }
            }
        }
        rows
    }
}

/// Where the pixels of an output begin; they do not overlap.
pub(crate) struct Offsets {
    values: Vec<usize>,
    /// The greatest of them, which [`Product::run`] checks against the output.
    greatest: Option<usize>,
}

impl FromIterator<usize> for Offsets {
    fn from_iter<I: IntoIterator<Item = usize>>(offsets: I) -> Self {
        let values: Vec<usize> = offsets.into_iter().collect();
        let greatest = values.iter().max().copied();
        Self { values, greatest }
    }
}

impl Offsets {
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.values.iter().copied()
    }

    /// Pixels.
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }
}

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

/// The function that is applied to a sum before it is stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Activation {
    /// The sum itself.
    #[default]
    Identity,
    /// ReLU: negative values become 0.
    Relu,
    /// ReLU6: negative values become 0, values above 6 become 6.
    Relu6,
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
                InstructionSet::Avx512 => avx512::product(&job, self.columns / width),
                #[cfg(target_arch = "x86_64")]
                InstructionSet::Avx2 => avx2::product(&job, self.columns / width),
                _ => baseline::product(&job, self.columns / width),
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

struct Job<'a> {
    source: Source,
    pixels: usize,
    first_input: usize,
    inputs: usize,
    taps: &'a [usize],
    weights: *const f32,
    tap_size: usize,
    offsets: &'a [usize],
    output: *mut f32,
    last: usize,
    add: bool,
    bias: *const f32,
    residual: *const f32,
    activation: Activation,
}

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
                InstructionSet::Avx512 => avx512::outer(&job, vectors),
                #[cfg(target_arch = "x86_64")]
                InstructionSet::Avx2 => avx2::outer(&job, vectors),
                _ => baseline::outer(&job, vectors),
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

struct OuterJob {
    source: Source,
    pixels: usize,
    first: usize,
    inputs: usize,
    gradient: *const f32,
    gradient_stride: usize,
    sums: *mut f32,
    stride: usize,
    last: usize,
    add: bool,
}

/// # Safety
/// As [`Lanes`] asks; `count` values lie at the address.
#[inline(always)]
pub(super) unsafe fn load<L: Lanes>(from: *const f32, count: usize) -> L {
    // SAFETY: the caller's promise.
    unsafe { if count == L::WIDTH { L::load(from) } else { L::load_first(from, count) } }
}

/// # Safety
/// As [`Lanes`] asks; there is room for `count` values at the address.
#[inline(always)]
pub(super) unsafe fn store<L: Lanes>(values: L, to: *mut f32, count: usize) {
    // SAFETY: the caller's promise.
    unsafe { if count == L::WIDTH { values.store(to) } else { values.store_first(to, count) } }
}

/// # Safety
/// As [`Lanes`] asks.
#[inline(always)]
pub(super) unsafe fn activated<L: Lanes>(sum: L, activation: Activation) -> L {
    // SAFETY: the caller's promise.
    unsafe {
        match activation {
            Activation::Identity => sum,
            Activation::Relu => sum.rectified(),
            Activation::Relu6 => sum.rectified().at_most(L::splat(6.0)),
        }
    }
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
unsafe fn product_tile<L: Lanes, const P: usize, const V: usize>(job: &Job, first: usize) {
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

/// Adds the values that lie at some offsets from an address, `last` of them in the last vector of each.
///
/// # Safety
/// As [`Lanes`] asks; those values exist.
#[inline(always)]
unsafe fn add_values<L: Lanes, const P: usize, const V: usize>(
    sums: &mut [[L; V]; P],
    from: *const f32,
    offsets: &[usize; P],
    last: usize,
) {
    for p in 0..P {
        for v in 0..V {
            let count = if v + 1 < V { L::WIDTH } else { last };
            // SAFETY: the caller's promise.
            sums[p][v] = unsafe { sums[p][v].plus(load::<L>(from.add(offsets[p] + v * L::WIDTH), count)) };
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

/// # Safety
/// As [`Outer::run`] has checked, for the inputs `first..first + I`.
#[inline(always)]
unsafe fn outer_tile<L: Lanes, const I: usize, const V: usize>(job: &OuterJob, first: usize) {
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

/// Compiles both tiles for one instruction set: for each number of vectors, the largest number of
/// pixels (or inputs) whose sums fit the registers, and every number below.
macro_rules! compiled {
    ($module:ident, $lanes:ty, [$($features:literal)?], $($vectors:literal: $most:literal [$($count:literal)*]),*) => {
        mod $module {
            use super::{Job, OuterJob, outer_tile, product_tile};
            #[cfg(target_arch = "x86_64")]
            #[allow(unused_imports)]
            use std::arch::x86_64::{__m256, __m512};

            /// # Safety
            /// As [`super::product_tile`].
            $(#[target_feature(enable = $features)])?
            unsafe fn product_sized<const P: usize, const V: usize>(job: &Job, first: usize) {
                // SAFETY: the caller's promise.
                unsafe { product_tile::<$lanes, P, V>(job, first) }
            }

            /// # Safety
            /// As [`super::outer_tile`].
            $(#[target_feature(enable = $features)])?
            unsafe fn outer_sized<const I: usize, const V: usize>(job: &OuterJob, first: usize) {
                // SAFETY: the caller's promise.
                unsafe { outer_tile::<$lanes, I, V>(job, first) }
            }

            /// # Safety
            /// As [`super::Product::run`] has checked.
            pub(super) unsafe fn product(job: &Job, vectors: usize) {
                match vectors {
                    $($vectors => super::evenly(job.pixels, $most, |first, count| {
                        // SAFETY: the caller's promise.
                        match count { $($count => unsafe { product_sized::<$count, $vectors>(job, first) },)* _ => {} }
                    }),)*
                    _ => {}
                }
            }

            /// # Safety
            /// As [`super::Outer::run`] has checked.
            pub(super) unsafe fn outer(job: &OuterJob, vectors: usize) {
                match vectors {
                    $($vectors => super::evenly(job.inputs, $most, |first, count| {
                        // SAFETY: the caller's promise.
                        match count { $($count => unsafe { outer_sized::<$count, $vectors>(job, first) },)* _ => {} }
                    }),)*
                    _ => {}
                }
            }
        }
    };
}
#[cfg(target_arch = "x86_64")]
compiled!(
    avx512, __m512, ["avx512f,avx512bw,avx512dq,avx512vl"],
    1: 12 [1 2 3 4 5 6 7 8 9 10 11 12], 2: 12 [1 2 3 4 5 6 7 8 9 10 11 12], 3: 8 [1 2 3 4 5 6 7 8], 4: 6 [1 2 3 4 5 6]
);
#[cfg(target_arch = "x86_64")]
compiled!(avx2, __m256, ["avx2,fma"], 1: 8 [1 2 3 4 5 6 7 8], 2: 6 [1 2 3 4 5 6]);
compiled!(baseline, super::Baseline, [], 1: 8 [1 2 3 4 5 6 7 8], 2: 6 [1 2 3 4 5 6]);

/// Splits `count` into as few parts of at most `most` as it can, of nearly equal size.
fn evenly(count: usize, most: usize, mut part: impl FnMut(usize, usize)) {
    let parts = count.div_ceil(most);
    let mut first = 0;
    for left in (1..=parts).rev() {
        let size = (count - first).div_ceil(left);
        part(first, size);
        first += size;
    }
}
