//! The operations of this crate on devices that its kernels don't run on, made of candle's own.
//!
//! Each public function asks [`needed`] once its arguments are checked, and then calls the function
//! of its name here. Derivatives are candle's, so only operations are used whose
//! gradients are correct to any order: arithmetic, matrix products, sums, narrow, cat, reshapes,
//! index selections, and choices on a detached condition. Correctness comes before speed; sums are
//! in the tensors' own type, and their order is the device's.

mod activation;
mod convolution;
mod matmul;
mod norm;
mod pooling;
mod transformer;
mod vector;
mod window_match;

pub(crate) use activation::{add_relu, leaky_relu, relu, relu6, sigmoid, softplus, swish};
pub(crate) use convolution::{conv2d, frozen_convolution};
pub(crate) use matmul::matmul;
pub(crate) use norm::{batch_norm_by_batch, batch_statistics, conv_norm, scale_shift};
pub(crate) use pooling::{avg_pool2d, max_pool2d};
pub(crate) use transformer::{attention, gelu, gelu_curvature, normalize};
pub(crate) use vector::{dot, over_root, weighted_square, weighted_sum};
pub(crate) use window_match::window_match;

use candle_core::{Device, Result, Tensor};

/// Returns `true` if operations have no kernels on the device of `x`.
pub(crate) fn needed(x: &Tensor) -> bool {
    !x.device().is_cpu() || forced()
}

/// A small computation on the CPU, on a copy of `x`; its result is moved back.
pub(crate) fn by_cpu(x: &Tensor, work: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let here = x.to_device(&Device::Cpu)?;
    #[cfg(test)]
    let result = with_force(false, || work(&here))?;
    #[cfg(not(test))]
    let result = work(&here)?;
    result.to_device(x.device())
}

/// Cells `(n, rows, columns, c)` of `x (n, h, w, c)`, any number of times each.
fn cells(x: &Tensor, rows: Vec<u32>, columns: Vec<u32>) -> Result<Tensor> {
    let list = |indices: Vec<u32>| Tensor::new(indices, x.device());
    x.index_select(&list(rows)?, 1)?.index_select(&list(columns)?, 2)
}

/// `x (n, h, w, c)` with `padding` zeros around each image.
fn padded(x: &Tensor, padding: usize) -> Result<Tensor> {
    x.pad_with_zeros(1, padding, padding)?.pad_with_zeros(2, padding, padding)
}

/// `count` indices from `start` on, `step` apart.
fn every(start: usize, step: usize, count: usize) -> Vec<u32> {
    (0..count).map(|place| (start + place * step) as u32).collect()
}

#[cfg(not(test))]
fn forced() -> bool {
    false
}

#[cfg(test)]
thread_local! {
    static FORCED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

#[cfg(test)]
fn forced() -> bool {
    FORCED.get()
}

#[cfg(test)]
fn with_force<T>(force: bool, work: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            FORCED.set(self.0);
        }
    }
    let _restore = Restore(FORCED.replace(force));
    work()
}

/// Runs `work` on this thread as on a device without kernels: reaching one is an error.
#[cfg(test)]
pub(crate) fn without_kernels<T>(work: impl FnOnce() -> T) -> T {
    with_force(true, work)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tape::Apply;
    use crate::test_support::random;
    use crate::{Convolution, Window};
    use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Var};

    /// Values and gradients of `f` at `x`, by kernels and without; NaN as a number of its own.
    fn both(x: &[f64], shape: &[usize], f: impl Fn(&Tensor) -> Result<Tensor>) -> [Vec<String>; 2] {
        let run = || {
            let x = Var::from_tensor(&Tensor::from_slice(x, shape, &Device::Cpu).unwrap()).unwrap();
            let y = f(&x).unwrap();
            let gradient = y.backward().unwrap().get(&x).unwrap().clone();
            let shown =
                |t: Tensor| t.flatten_all().unwrap().to_vec1::<f64>().unwrap().into_iter().map(|v| format!("{v:.9}"));
            shown(y).chain(shown(gradient)).map(|v| v.replace("-0.000000000", "0.000000000")).collect()
        };
        [run(), without_kernels(run)]
    }

    #[test]
    fn bends_infinities_and_nan_are_the_kernels() {
        let x = [f64::NEG_INFINITY, -1e4, -2.0, 0.0, 3.0, 6.0, 1e4, f64::INFINITY, f64::NAN];
        type Activation<'a> = &'a dyn Fn(&Tensor) -> Result<Tensor>;
        let all: [(&str, Activation); 5] = [
            ("relu", &crate::relu),
            ("relu6", &crate::relu6),
            ("leaky relu", &|x| crate::leaky_relu(x, 0.1)),
            ("flat leaky relu", &|x| crate::leaky_relu(x, 0.0)),
            ("sum and relu", &|x| crate::add_relu(x, &x.detach())),
        ];
        for (name, activation) in all {
            let [kernels, composed] = both(&x, &[x.len()], activation);
            assert_eq!(kernels, composed, "{name}");
        }
        let finite = &x[1..7];
        for (name, activation) in
            [("sigmoid", crate::sigmoid as fn(&Tensor) -> Result<Tensor>), ("swish", crate::swish)]
        {
            let [kernels, composed] = both(finite, &[finite.len()], activation);
            assert_eq!(kernels, composed, "{name}");
        }
    }

    #[test]
    fn the_same_cell_wins_a_pool_among_equals_infinities_and_nan() {
        let low = f64::NEG_INFINITY;
        let images = [
            [1.0, 1.0, 0.0, 1.0, 1.0, 2.0, 0.0, 2.0, 2.0],
            [low; 9],
            [0.0, f64::NAN, 5.0, f64::NAN, 1.0, 9.0, 3.0, f64::INFINITY, 3.0],
        ];
        for image in images {
            for (kernel, stride, padding) in [(2, 1, 1), (2, 1, 0), (3, 2, 1), (3, 1, 0)] {
                let pool = |x: &Tensor| crate::max_pool2d(x, Window { kernel, stride, padding });
                let [kernels, composed] = both(&image, &[1, 3, 3, 1], pool);
                assert_eq!(kernels, composed, "{kernel} {stride} {padding} of {image:?}");
            }
        }
    }

    #[test]
    fn empty_batches_keep_their_shapes() {
        let (x, weight) = (random("x", (0, 5, 5, 2)), random("w", (3, 2, 3, 3)));
        without_kernels(|| {
            assert_eq!(crate::conv2d(&x, &weight, Convolution::default()).unwrap().dims(), [0, 3, 3, 3]);
            assert_eq!(crate::max_pool2d(&x, Window::tiled(2)).unwrap().dims(), [0, 2, 2, 2]);
            assert_eq!(crate::avg_pool2d(&x, Window::tiled(2)).unwrap().dims(), [0, 2, 2, 2]);
            let row = random("row", 2);
            assert!(crate::batch_norm_by_batch(&x, &row, &row, 1e-5).unwrap_err().to_string().contains("empty"));
        });
    }

    struct Kernel;

    impl CustomOp1 for Kernel {
        fn name(&self) -> &'static str {
            "kernel"
        }

        fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
            crate::element::values::<f64>(x, layout, "kernel")
                .map(|values| crate::element::stored::<f64>(values.to_vec(), layout.shape().clone()))
        }
    }

    #[test]
    fn a_kernel_is_not_reached_where_it_does_not_run() {
        let x = random("x", 3);
        assert!(x.apply1(Kernel).is_ok());
        assert!(without_kernels(|| x.apply1(Kernel)).unwrap_err().to_string().contains("CPU"));
    }
}
