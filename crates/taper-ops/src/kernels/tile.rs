//! The two inner products of convolutions, in registers: a tile of output pixels by output
//! channels, and a tile of weight gradients.
//!
//! Input pixels are reached through a list of addresses (an indirection list, Dukhan 2019,
//! arXiv:1907.02129), so that padding, strides and tails of rows cost nothing inside.

#![allow(unsafe_code)]

use super::lanes::Lanes;
use super::simd::InstructionSet;
use std::arch::x86_64::{__m256, __m512};

/// Pixels in a tile of outputs, and channels in a tile of weight gradients.
pub(crate) const PIXELS: usize = 6;

/// Values in a vector.
pub(crate) fn width(set: InstructionSet) -> usize {
    if set == InstructionSet::Avx512 { <__m512 as Lanes>::WIDTH } else { <__m256 as Lanes>::WIDTH }
}

/// Output channels that one tile covers.
pub(crate) fn block(set: InstructionSet) -> usize {
    let vectors = if set == InstructionSet::Avx512 { <__m512 as Lanes>::VECTORS } else { <__m256 as Lanes>::VECTORS };
    width(set) * vectors
}

/// Addresses of rows of `width` values, each checked against its slice when it is listed.
pub(crate) struct Rows<'a> {
    addresses: Vec<*const f32>,
    source: &'a [f32],
    zeros: &'a [f32],
    width: usize,
}

impl<'a> Rows<'a> {
    /// An empty list of rows of `source`, or of `zeros`, which holds one row.
    pub(crate) fn new(source: &'a [f32], zeros: &'a [f32], width: usize) -> Self {
        assert!(zeros.len() >= width, "a row of zeros is too short");
    }

    /// Lists the row that starts at `source[offset]`, or zeros.
    #[inline]
    pub(crate) fn push(&mut self, offset: Option<usize>) {
        let row = match offset {
            Some(offset) => &self.source[offset..offset + self.width],
            None => self.zeros,
        };
        self.addresses.push(row.as_ptr());
    }

    pub(crate) fn clear(&mut self) {
        self.addresses.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.addresses.len()
    }
}

/// Weights of one block of output channels, `(taps, inputs, columns)`; columns is a whole number
/// of vectors, zeros past the last channel.
#[derive(Clone, Copy)]
pub(crate) struct Panel<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) inputs: usize,
    pub(crate) columns: usize,
}

/// Where a tile's sums go: one offset a pixel, `channels` values there.
pub(crate) struct Target<'a> {
    pub(crate) offsets: &'a [usize],
    pub(crate) channels: usize,
    /// Add to what is there?
    pub(crate) add: bool,
}

/// Memory that tiles write: all of it is written once without `add` before it is read.
pub(crate) type Output = [std::mem::MaybeUninit<f32>];

/// For each pixel p of the target, `Σ over t and i of row(t, p)[i] · panel(taps[t], i, ·)`, i
/// running over `inputs`; the list holds the tile's rows from `first` on, tap by tap.
pub(crate) fn product(
    set: InstructionSet,
    (rows, first): (&Rows, usize),
    taps: &[u32],
    panel: Panel,
    inputs: std::ops::Range<usize>,
    output: &mut Output,
    target: &Target,
) {
    let (pixels, columns) = (target.offsets.len(), panel.columns);
    assert!((1..=PIXELS).contains(&pixels) && first + taps.len() * pixels <= rows.len(), "a tile outside its list");
    assert!(inputs.end <= rows.width && inputs.end <= panel.inputs, "a tile with more inputs than its rows");
    assert!(target.channels > 0 && target.channels <= columns && columns <= block(set), "a tile of wrong width");
    assert!(columns % width(set) == 0 && columns - target.channels < width(set), "a panel of wrong width");
    let size = panel.inputs * columns;
    assert!(taps.iter().all(|&tap| (tap as usize + 1) * size <= panel.values.len()), "a tap outside its panel");
    let mut to = [std::ptr::null_mut::<f32>(); PIXELS];
    for (to, &offset) in to.iter_mut().zip(target.offsets) {
        *to = output[offset..offset + target.channels].as_mut_ptr().cast();
    }
    assert!(set != InstructionSet::Portable && set.is_available(), "instructions that this machine lacks");
    let tile = Tile {
        rows: &rows.addresses[first..],
        first_input: inputs.start,
        inputs: inputs.len(),
        taps,
        weights: panel.values[inputs.start * columns..].as_ptr(),
        tap_size: size,
        columns,
        to,
        last: target.channels - (columns - width(set)),
        add: target.add,
    };
    // SAFETY: the machine has the instructions; every row has `rows.width` values, every panel
    // and output range was checked above, and the last vector's tail is masked.
    unsafe {
        match set {
            InstructionSet::Avx512 => avx512::product(&tile, pixels, columns / width(set)),
            _ => avx2::product(&tile, pixels, columns / width(set)),
        }
    }
}

/// `sums(i, ·) += Σ over p of rows(p)[first + i] · gradient(p, ·)`: `inputs` by `channels` sums,
/// `stride` apart, and gradients of `channels` values, `gradient_stride` apart.
pub(crate) fn outer(
    set: InstructionSet,
    rows: &Rows,
    (first, inputs): (usize, usize),
    (gradient, gradient_stride): (&[f32], usize),
    channels: usize,
    (sums, stride): (&mut [f32], usize),
) {
    let pixels = rows.len();
    if pixels == 0 {
        return;
    }
    assert!((1..=PIXELS).contains(&inputs) && first + inputs <= rows.width, "a tile with more inputs than its rows");
    assert!((1..=block(set)).contains(&channels), "a tile of wrong width");
    assert!((pixels - 1) * gradient_stride + channels <= gradient.len(), "a tile outside its gradients");
    assert!((inputs - 1) * stride + channels <= sums.len(), "a tile outside its sums");
    assert!(set != InstructionSet::Portable && set.is_available(), "instructions that this machine lacks");
    let vectors = channels.div_ceil(width(set));
    let tile = Outer {
        rows: &rows.addresses,
        first,
        gradient: gradient.as_ptr(),
        gradient_stride,
        sums: sums.as_mut_ptr(),
        stride,
        last: channels - (vectors - 1) * width(set),
    };
    // SAFETY: the machine has the instructions; rows, gradients and sums were checked above, and
    // the last vector's tail is masked.
    unsafe {
        match set {
            InstructionSet::Avx512 => avx512::outer(&tile, inputs, vectors),
            _ => avx2::outer(&tile, inputs, vectors),
        }
    }
}

struct Tile<'a> {
    rows: &'a [*const f32],
    first_input: usize,
    inputs: usize,
    taps: &'a [u32],
    weights: *const f32,
    tap_size: usize,
    columns: usize,
    to: [*mut f32; PIXELS],
    last: usize,
    add: bool,
}

struct Outer<'a> {
    rows: &'a [*const f32],
    first: usize,
    gradient: *const f32,
    gradient_stride: usize,
    sums: *mut f32,
    stride: usize,
    last: usize,
}

/// # Safety
/// As [`product`] has checked.
#[inline(always)]
unsafe fn product_tile<L: Lanes, const P: usize, const V: usize>(tile: &Tile) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[L::splat(0.0); V]; P];
        for (index, &tap) in tile.taps.iter().enumerate() {
            let list = tile.rows.as_ptr().add(index * P);
            let mut rows = [std::ptr::null::<f32>(); P];
            for (p, row) in rows.iter_mut().enumerate() {
                *row = (*list.add(p)).add(tile.first_input);
            }
            let mut weights = tile.weights.add(tap as usize * tile.tap_size);
            for i in 0..tile.inputs {
                let mut w = [L::splat(0.0); V];
                for (v, w) in w.iter_mut().enumerate() {
                    *w = L::load(weights.add(v * L::WIDTH));
                }
                for (sums, row) in sums.iter_mut().zip(&rows) {
                    let x = L::splat(*row.add(i));
                    for (sum, &w) in sums.iter_mut().zip(&w) {
                        *sum = sum.add_product(x, w);
                    }
                }
                weights = weights.add(tile.columns);
            }
        }
        for (sums, &to) in sums.iter().zip(&tile.to) {
            for (v, &sum) in sums.iter().enumerate() {
                let to = to.add(v * L::WIDTH);
                if v + 1 < V || tile.last == L::WIDTH {
                    let sum = if tile.add { sum.add(L::load(to)) } else { sum };
                    sum.store(to);
                } else {
                    let sum = if tile.add { sum.add(L::load_first(to, tile.last)) } else { sum };
                    sum.store_first(to, tile.last);
                }
            }
        }
    }
}

/// # Safety
/// As [`outer`] has checked.
#[inline(always)]
unsafe fn outer_tile<L: Lanes, const I: usize, const V: usize>(tile: &Outer) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[L::splat(0.0); V]; I];
        let mut gradient = tile.gradient;
        let whole = tile.last == L::WIDTH;
        for &row in tile.rows {
            let row = row.add(tile.first);
            let mut g = [L::splat(0.0); V];
            for (v, g) in g.iter_mut().enumerate() {
                let from = gradient.add(v * L::WIDTH);
                *g = if v + 1 < V || whole { L::load(from) } else { L::load_first(from, tile.last) };
            }
            for (i, sums) in sums.iter_mut().enumerate() {
                let x = L::splat(*row.add(i));
                for (sum, &g) in sums.iter_mut().zip(&g) {
                    *sum = sum.add_product(x, g);
                }
            }
            gradient = gradient.add(tile.gradient_stride);
        }
        for (i, sums) in sums.iter().enumerate() {
            for (v, &sum) in sums.iter().enumerate() {
                let to = tile.sums.add(i * tile.stride + v * L::WIDTH);
                if v + 1 < V || whole {
                    sum.add(L::load(to)).store(to);
                } else {
                    sum.add(L::load_first(to, tile.last)).store_first(to, tile.last);
                }
            }
        }
    }
}

/// Compiles both tiles for one instruction set, at every size.
macro_rules! compiled {
    ($module:ident, $lanes:ty, $features:literal, [$($vectors:literal),*]) => {
        mod $module {
            use super::*;

            /// # Safety
            /// As [`super::product`] has checked.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn product(tile: &Tile, pixels: usize, vectors: usize) {
                // SAFETY: the caller's promise.
                unsafe {
                    match (pixels, vectors) {
                        $((1, $vectors) => product_tile::<$lanes, 1, $vectors>(tile),
                        (2, $vectors) => product_tile::<$lanes, 2, $vectors>(tile),
                        (3, $vectors) => product_tile::<$lanes, 3, $vectors>(tile),
                        (4, $vectors) => product_tile::<$lanes, 4, $vectors>(tile),
                        (5, $vectors) => product_tile::<$lanes, 5, $vectors>(tile),
                        (6, $vectors) => product_tile::<$lanes, 6, $vectors>(tile),)*
                        _ => unreachable!("tiles have 1 to 6 pixels and at most the block's vectors"),
                    }
                }
            }

            /// # Safety
            /// As [`super::outer`] has checked.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn outer(tile: &Outer, inputs: usize, vectors: usize) {
                // SAFETY: the caller's promise.
                unsafe {
                    match (inputs, vectors) {
                        $((1, $vectors) => outer_tile::<$lanes, 1, $vectors>(tile),
                        (2, $vectors) => outer_tile::<$lanes, 2, $vectors>(tile),
                        (3, $vectors) => outer_tile::<$lanes, 3, $vectors>(tile),
                        (4, $vectors) => outer_tile::<$lanes, 4, $vectors>(tile),
                        (5, $vectors) => outer_tile::<$lanes, 5, $vectors>(tile),
                        (6, $vectors) => outer_tile::<$lanes, 6, $vectors>(tile),)*
                        _ => unreachable!("tiles have 1 to 6 inputs and at most the block's vectors"),
                    }
                }
            }
        }
    };
}
compiled!(avx512, __m512, "avx512f,avx512bw,avx512dq,avx512vl", [1, 2, 3, 4]);
compiled!(avx2, __m256, "avx2,fma", [1, 2]);
