//! Convolutions in f32: which kernel runs, on which instructions.

#![allow(unsafe_code)]

use super::geometry::Geometry;
use crate::kernels::buffer::written;
use crate::kernels::depthwise;
use crate::kernels::depthwise_gradient;
use crate::kernels::depthwise_panels::{Depthwise, Images, Side};
use crate::kernels::direct::{self, Axis, Operands, Walk};
use crate::kernels::pack::{Packed, Strides};
use crate::kernels::simd::InstructionSet;
use crate::kernels::tile::Finish;
use crate::kernels::transpose::transpose;
use crate::kernels::winograd::{self, Algorithm, Tiling};
use crate::packs::{Packs, Use};
use std::borrow::Cow;
use std::mem::MaybeUninit;
use std::sync::{Arc, OnceLock};

/// Weights in the order in which one kernel reads them.
pub(crate) enum Kernel {
    /// Each channel separately, by a square kernel.
    Depthwise(Depthwise),
    /// Each channel separately, by any kernel, and input gradients for strides.
    DepthwiseRows(InstructionSet, Vec<f32>),
    /// 3x3, stride 1, on transformed tiles.
    Winograd(Algorithm, Packed),
    /// Anything else.
    Direct(Packed),
}

/// `(n, oh, ow, o)`.
pub(crate) fn forward(set: InstructionSet, g: &Geometry, x: &[f32], weight: &[f32], packs: Option<&Packs>) -> Vec<f32> {
    let of = Use { back: false, algorithm: algorithm(g), groups: g.how.groups };
    packed(packs, of, || Kernel::forward(set, g, weight)).run(g, x, Finish::default())
}

/// `(n, h, w, c)`, for `y (n, oh, ow, o)`.
pub(crate) fn input_gradient(
    set: InstructionSet,
    g: &Geometry,
    y: &[f32],
    weight: &[f32],
    packs: Option<&Packs>,
) -> Vec<f32> {
    let of = Use { back: true, algorithm: algorithm_back(g), groups: g.how.groups };
    packed(packs, of, || Kernel::back(set, g, weight)).run_back(g, y)
}

/// The kernel of a use, stored if its weights are shared.
fn packed(packs: Option<&Packs>, of: Use, pack: impl FnOnce() -> Kernel) -> Arc<Kernel> {
    match packs {
        Some(packs) => packs.kernel(of, pack),
        None => Arc::new(pack()),
    }
}

/// Weights that do not change, with a kernel for each size of images: which one runs
/// depends only on the size of the current images.
pub(crate) struct Kernels {
    /// For sizes for which Winograd's algorithms don't pay; the others are made from it.
    plain: Kernel,
    /// Made for the first images that need them.
    two: OnceLock<Kernel>,
    four: OnceLock<Kernel>,
}

impl Kernels {
    pub(crate) fn new(set: InstructionSet, g: &Geometry, weight: &[f32]) -> Self {
        Self { plain: Kernel::plain(set, g, weight), two: OnceLock::new(), four: OnceLock::new() }
    }

    /// The kernel that convolves images of that size fastest.
    pub(crate) fn of(&self, g: &Geometry) -> &Kernel {
        let (Some(algorithm), Kernel::Direct(packed)) = (kept_algorithm(g), &self.plain) else { return &self.plain };
        let kernel = match algorithm {
            Algorithm::Two => &self.two,
            Algorithm::Four => &self.four,
        };
        kernel.get_or_init(|| Kernel::Winograd(algorithm, winograd::transform_weights(algorithm, packed, false)))
    }
}

impl Kernel {
    /// The kernel that convolves such images fastest, with its weights.
    pub(crate) fn forward(set: InstructionSet, g: &Geometry, weight: &[f32]) -> Self {
        match (algorithm(g), Self::plain(set, g, weight)) {
            (Some(algorithm), Self::Direct(packed)) => {
                Self::Winograd(algorithm, winograd::transform_weights(algorithm, &packed, false))
            }
            (_, plain) => plain,
        }
    }

    /// The kernel that convolves images of any size.
    fn plain(set: InstructionSet, g: &Geometry, weight: &[f32]) -> Self {
        if depthwise(g) {
            return match g.kh == g.kw {
                true => Self::Depthwise(Depthwise::new(set, weight, g.kh, g.how.stride)),
                false => Self::DepthwiseRows(set, depthwise::transposed(weight, g.c)),
            };
        }
        let (inputs, outputs, taps) = (g.group_inputs(), g.group_outputs(), g.taps());
        let strides = Strides { group: outputs * inputs * taps, input: taps, output: inputs * taps };
        let packed = Packed::new(set, weight, (g.how.groups, taps, inputs, outputs), strides);
        Self::Direct(if merges(g) { packed.with_rows_of_taps(g.kw) } else { packed })
    }

    /// The convolution of `x (n, h, w, c)`.
    pub(crate) fn run(&self, g: &Geometry, x: &[f32], finish: Finish) -> Vec<f32> {
        match self {
            Self::Depthwise(depthwise) => depthwise.run(images(g), x, finish),
            Self::DepthwiseRows(set, weights) => depthwise::run(*set, &walk(g), x, weights, finish),
            Self::Winograd(algorithm, weights) => winograd::run(&tiling(g, *algorithm), x, weights, finish),
            Self::Direct(weights) if merges(g) => {
                let (walk, source) = merged(g, x);
                direct::run(&walk, Operands { source: &source, weights, finish })
            }
            Self::Direct(weights) => direct::run(&walk(g), Operands { source: x, weights, finish }),
        }
    }

    /// The kernel of the input gradient, with its weights.
    fn back(set: InstructionSet, g: &Geometry, weight: &[f32]) -> Self {
        if depthwise(g) {
            if g.kh != g.kw || g.how.stride != 1 || g.how.padding >= g.kh {
                return Self::DepthwiseRows(set, depthwise::transposed(weight, g.c));
            }
            // the adjoint without strides is the convolution with the taps in reverse order
            let reversed: Vec<f32> =
                weight.chunks_exact(g.taps()).flat_map(|taps| taps.iter().rev()).copied().collect();
            return Self::Depthwise(Depthwise::new(set, &reversed, g.kh, 1));
        }
        let (inputs, outputs, taps) = (g.group_inputs(), g.group_outputs(), g.taps());
        let strides = Strides { group: outputs * inputs * taps, input: inputs * taps, output: taps };
        let packed = Packed::new(set, weight, (g.how.groups, taps, outputs, inputs), strides);
        match algorithm_back(g) {
            Some(algorithm) => Self::Winograd(algorithm, winograd::transform_weights(algorithm, &packed, true)),
            None => Self::Direct(packed),
        }
    }

    /// The input gradient for `y (n, oh, ow, o)`, by a kernel for it.
    fn run_back(&self, g: &Geometry, y: &[f32]) -> Vec<f32> {
        let walk = || {
            let rows = Axis::adjoint(g.oh, g.h, g.kh, g.how.stride, g.how.padding);
            let columns = Axis::adjoint(g.ow, g.w, g.kw, g.how.stride, g.how.padding);
            Walk { images: g.n, rows, columns, pitch: g.o, width: g.o }
        };
        let finish = Finish::default();
        match self {
            Self::Depthwise(depthwise) => {
                let side = |source, output| Side { source, output, before: g.kh - 1 - g.how.padding };
                let images = Images { count: g.n, rows: side(g.oh, g.h), columns: side(g.ow, g.w) };
                depthwise.run(images, y, finish)
            }
            Self::DepthwiseRows(set, weights) => depthwise::run(*set, &walk(), y, weights, finish),
            Self::Winograd(algorithm, weights) => winograd::run(&tiling_back(g, *algorithm), y, weights, finish),
            Self::Direct(weights) => direct::run(&walk(), Operands { source: y, weights, finish }),
        }
    }
}

/// `(o, i, kh, kw)`, for `x (n, h, w, c)` and `y (n, oh, ow, o)`.
pub(crate) fn weight_gradient(set: InstructionSet, g: &Geometry, x: &[f32], y: &[f32]) -> Vec<f32> {
    if depthwise(g) {
        let sums = if g.kh == g.kw && g.how.padding < g.kh && depthwise_gradient::fits(g.kh) {
            depthwise_gradient::weight_gradient(set, images(g), (g.kh, g.how.stride, g.c), x, y)
        } else {
            depthwise::weight_gradient(set, &walk(g), x, y)
        };
        return depthwise::transposed(&sums, g.taps());
    }
    let (inputs, outputs, groups) = (g.group_inputs(), g.group_outputs(), g.how.groups);
    let sums = if let Some(tiling) = algorithm(g).map(|algorithm| tiling(g, algorithm)).filter(Tiling::pays_back) {
        winograd::weight_gradient(set, &tiling, x, y, (inputs, outputs))
    } else if merges(g) {
        let (walk, source) = merged(g, x);
        direct::weight_gradient(set, &walk, &source, y, (groups, g.kw * inputs, outputs))
    } else {
        direct::weight_gradient(set, &walk(g), x, y, (groups, inputs, outputs))
    };
    unpack(set, &sums, g)
}

fn walk(g: &Geometry) -> Walk {
    let rows = Axis::forward(g.h, g.oh, g.kh, g.how.stride, g.how.padding);
    let columns = Axis::forward(g.w, g.ow, g.kw, g.how.stride, g.how.padding);
    Walk { images: g.n, rows, columns, pitch: g.c, width: g.c }
}

/// The images that a depthwise convolution takes and makes.
fn images(g: &Geometry) -> Images {
    let side = |source, output| Side { source, output, before: g.how.padding };
    Images { count: g.n, rows: side(g.h, g.oh), columns: side(g.w, g.ow) }
}

fn depthwise(g: &Geometry) -> bool {
    g.how.groups == g.c && g.c == g.o && g.c > 1
}

/// Winograd's algorithm for the output, if one pays.
fn algorithm(g: &Geometry) -> Option<Algorithm> {
    Tiling::choose((g.oh, g.ow), g.c, g.o, false).filter(|_| takes_winograd(g))
}

/// The same for weights that do not change.
fn kept_algorithm(g: &Geometry) -> Option<Algorithm> {
    Tiling::choose((g.oh, g.ow), g.c, g.o, true).filter(|_| takes_winograd(g))
}

/// Its tiling of the output.
fn tiling(g: &Geometry, algorithm: Algorithm) -> Tiling {
    let (source, output) = ((g.h, g.w), (g.oh, g.ow));
    Tiling { algorithm, images: g.n, source, output, padding: g.how.padding }
}

/// The same for the input gradient, itself a convolution of the outputs.
fn algorithm_back(g: &Geometry) -> Option<Algorithm> {
    Tiling::choose((g.h, g.w), g.o, g.c, false).filter(|_| takes_winograd(g) && g.how.padding <= 2)
}

/// Its tiling of the inputs.
fn tiling_back(g: &Geometry, algorithm: Algorithm) -> Tiling {
    let (source, output) = ((g.oh, g.ow), (g.h, g.w));
    Tiling { algorithm, images: g.n, source, output, padding: 2 - g.how.padding }
}

fn takes_winograd(g: &Geometry) -> bool {
    (g.kh, g.kw, g.how.stride, g.how.groups) == (3, 3, 1, 1)
}

/// Returns `true` if there are few enough input channels to treat a row of the kernel's taps as one tap.
fn merges(g: &Geometry) -> bool {
    g.how.groups == 1 && g.c <= 4 && g.kw > 1
}

/// The walk over images whose padding is written out, so that the values under a row of the
/// kernel are contiguous; and those images.
fn merged<'a>(g: &Geometry, x: &'a [f32]) -> (Walk, Cow<'a, [f32]>) {
    let padding = g.how.padding;
    let (h, w) = (g.h + 2 * padding, g.w + 2 * padding);
    let rows = Axis::forward(h, g.oh, g.kh, g.how.stride, 0);
    let columns = Axis::forward(w, g.ow, 1, g.how.stride, 0);
    let walk = Walk { images: g.n, rows, columns, pitch: g.c, width: g.kw * g.c };
    if padding == 0 {
        return (walk, Cow::Borrowed(x));
    }
    let mut source = vec![0.0; g.n * h * w * g.c];
    if g.w == 0 {
        return (walk, Cow::Owned(source));
    }
    for (index, row) in x.chunks_exact(g.w * g.c).enumerate() {
        let start = ((index / g.h * h + index % g.h + padding) * w + padding) * g.c;
        source[start..start + row.len()].copy_from_slice(row);
    }
    (walk, Cow::Owned(source))
}

/// Sums `(groups, taps, inputs, outputs)` as weights `(o, i, kh, kw)`.
fn unpack(set: InstructionSet, sums: &[f32], g: &Geometry) -> Vec<f32> {
    let (inputs, outputs, taps) = (g.group_inputs(), g.group_outputs(), g.taps());
    let size = taps * inputs * outputs;
    // the sums of one output become its weights: taps side by side
    let rows: Vec<usize> = (0..inputs).flat_map(|i| (0..taps).map(move |tap| (tap * inputs + i) * outputs)).collect();
    // SAFETY: each weight is the sum of one tap, one input and one output.
    unsafe {
        written(sums.len(), |weight: &mut [MaybeUninit<f32>]| {
            for (sums, weight) in sums.chunks_exact(size).zip(weight.chunks_exact_mut(size)) {
                transpose(set, (sums, &rows), outputs, weight, |o| o * inputs * taps);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Convolution, reference};
    use super::*;
    use crate::kernels::tile::Activation;
    use crate::test_support::{near, near_sums, numbers};
    use crate::threads::in_pool;
    use proptest::prelude::*;

    fn wide(values: &[f32]) -> Vec<f64> {
        values.iter().map(|&value| f64::from(value)).collect()
    }

    /// All three kernels in each instruction set against f64.
    fn check(x: [usize; 4], [o, kh, kw]: [usize; 3], how: Convolution) {
        let weight = [o, x[3] / how.groups, kh, kw];
        let g = Geometry::new(&x, &weight, how).unwrap();
        let x = numbers("x", x.iter().product());
        let weight = numbers("weight", weight.iter().product());
        let y = numbers("y", g.outputs().elem_count());
        let tolerance = if takes_winograd(&g) { 2e-5 } else { 2e-6 };
        let (wx, ww, wy) = (wide(&x), wide(&weight), wide(&y));
        let sizes = |values: &[f64]| values.iter().map(|value| value.abs()).collect::<Vec<_>>();
        let (sx, sw, sy) = (sizes(&wx), sizes(&ww), sizes(&wy));
        let right = reference::forward(&g, &wx, &ww);
        let right_inputs = reference::input_gradient(&g, &wy, &ww);
        let right_weights = reference::weight_gradient(&g, &wx, &wy);
        let size = reference::forward(&g, &sx, &sw);
        let size_inputs = reference::input_gradient(&g, &sy, &sw);
        let size_weights = reference::weight_gradient(&g, &sx, &sy);
        for set in InstructionSet::here() {
            near_sums(&forward(set, &g, &x, &weight, None), &right, &size, tolerance);
            near_sums(&input_gradient(set, &g, &y, &weight, None), &right_inputs, &size_inputs, tolerance);
            near_sums(&weight_gradient(set, &g, &x, &y), &right_weights, &size_weights, tolerance);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn every_instruction_set_agrees_with_f64(
            n in 0usize..4, h in 1usize..11, w in 1usize..11, kh in 1usize..6, kw in 1usize..6,
            stride in 1usize..4, padding in 0usize..3, groups in 1usize..4, i in 1usize..36, o in 1usize..70
        ) {
            let how = Convolution { stride, padding, groups };
            check([n, h.max(kh), w.max(kw), i * groups], [o * groups, kh, kw], how);
        }

        #[test]
        fn winograd_agrees_with_f64(
            n in 0usize..4, h in 3usize..18, w in 3usize..18, padding in 0usize..3, i in 16usize..36, o in 16usize..70
        ) {
            check([n, h, w, i], [o, 3, 3], Convolution { padding, ..Convolution::default() });
        }

        #[test]
        fn depthwise_agrees_with_f64(
            n in 0usize..4, h in 1usize..17, w in 1usize..17, k in 1usize..8, stride in 1usize..4, padding in 0usize..5,
            c in 2usize..70
        ) {
            check([n, h.max(k), w.max(k), c], [c, k, k], Convolution { stride, padding, groups: c });
        }
    }

    #[test]
    fn winograd_sums_many_tiles_and_many_channels_in_parts() {
        check([40, 15, 15, 70], [20, 3, 3], Convolution { padding: 1, ..Convolution::default() });
    }

    #[test]
    fn larger_tiles_stay_within_what_is_asked_of_direct_sums() {
        let g =
            Geometry::new(&[2, 14, 14, 64], &[64, 64, 3, 3], Convolution { padding: 1, ..Default::default() }).unwrap();
        assert_eq!(algorithm(&g), Some(Algorithm::Four));
        let (x, y) = (numbers("x", 2 * 196 * 64), numbers("y", 2 * 196 * 64));
        let weight = numbers("w", 64 * 64 * 9);
        let (wx, wy, ww) = (wide(&x), wide(&y), wide(&weight));
        for set in InstructionSet::here() {
            near(&forward(set, &g, &x, &weight, None), &reference::forward(&g, &wx, &ww), 1e-5);
            near(&input_gradient(set, &g, &y, &weight, None), &reference::input_gradient(&g, &wy, &ww), 1e-5);
            near(&weight_gradient(set, &g, &x, &y), &reference::weight_gradient(&g, &wx, &wy), 1e-5);
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "too many products")]
    fn kept_weights_of_many_channels_take_larger_tiles_with_the_same_bits_on_any_number_of_threads() {
        let (images, side, c, o) = (3, 7, 272, 256);
        let how = Convolution { padding: 1, ..Convolution::default() };
        let geometry = |n| Geometry::new(&[n, side, side, c], &[o, c, 3, 3], how).unwrap();
        let (size, weight) = (side * side * c, numbers("w", o * c * 9));
        let x = numbers("x", images * size);
        assert_eq!(algorithm(&geometry(images)), Some(Algorithm::Two));
        let right = reference::forward(&geometry(images), &wide(&x), &wide(&weight));
        for set in InstructionSet::here() {
            let kernels = Kernels::new(set, &geometry(images), &weight);
            let kernel = kernels.of(&geometry(images));
            assert!(matches!(kernel, Kernel::Winograd(Algorithm::Four, _)));
            let together = kernel.run(&geometry(images), &x, Finish::default());
            near(&together, &right, 1e-5);
            let run = |threads| in_pool(threads, || kernel.run(&geometry(images), &x, Finish::default())).unwrap();
            assert!([1, 2, 3, 8].into_iter().all(|threads| run(threads) == together));
            let alone = kernel.run(&geometry(1), &x[2 * size..], Finish::default());
            assert!(together.ends_with(&alone));
        }
    }

    #[test]
    fn an_image_has_the_same_bits_in_any_company() {
        for (side, c) in [(14, 20), (9, 20), (3, 20), (14, 3)] {
            let (o, how) = (18, Convolution { padding: 1, ..Convolution::default() });
            let geometry = |n| Geometry::new(&[n, side, side, c], &[o, c, 3, 3], how).unwrap();
            let (x, weight) = (numbers("x", 5 * side * side * c), numbers("w", o * c * 9));
            let together = forward(InstructionSet::best(), &geometry(5), &x, &weight, None);
            for (image, together) in x.chunks_exact(side * side * c).zip(together.chunks_exact(side * side * o)) {
                assert_eq!(forward(InstructionSet::best(), &geometry(1), image, &weight, None), together);
            }
        }
    }

    #[test]
    fn many_input_channels_are_summed_block_by_block() {
        check([2, 3, 3, 300], [20, 3, 3], Convolution { padding: 1, ..Convolution::default() });
        check([2, 3, 3, 1300], [20, 1, 1], Convolution::default());
    }

    #[test]
    fn the_finish_adds_bias_and_residual_and_rectifies_in_every_kernel() {
        let plain = Convolution { padding: 1, ..Convolution::default() };
        let strided = Convolution { stride: 2, ..plain };
        // the last is summed in blocks of inputs
        for (c, o, how) in
            [(3, 21, plain), (18, 21, plain), (21, 21, Convolution { groups: 21, ..plain }), (600, 21, strided)]
        {
            let g = Geometry::new(&[2, 9, 9, c], &[o, c / how.groups, 3, 3], how).unwrap();
            let (x, weight) = (numbers("x", 2 * 81 * c), numbers("w", o * c / how.groups * 9));
            let (bias, residual) = (numbers("bias", o), numbers("residual", g.outputs().elem_count()));
            let right = reference::forward(&g, &wide(&x), &wide(&weight));
            for (activation, most) in [(Activation::Relu, f64::INFINITY), (Activation::Relu6, 6.0)] {
                let finished =
                    |(at, y): (usize, &f64)| (y + f64::from(bias[at % o]) + f64::from(residual[at])).max(0.0).min(most);
                let right: Vec<f64> = right.iter().enumerate().map(finished).collect();
                let finish = Finish { bias: Some(&bias), residual: Some(&residual), activation };
                for set in InstructionSet::here() {
                    near(&Kernel::forward(set, &g, &weight).run(&g, &x, finish), &right, 1e-4);
                }
            }
        }
    }
}
