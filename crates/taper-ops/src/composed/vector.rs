//! Sums of whole tensors.

use candle_core::{Result, Tensor};

pub(crate) fn weighted_sum(a: f64, x: &Tensor, b: f64, y: &Tensor) -> Result<Tensor> {
    x.affine(a, 0.0)? + y.affine(b, 0.0)?
}

pub(crate) fn dot(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    x.mul(y)?.sum_all()
}

pub(crate) fn weighted_square(a: f64, x: &Tensor, b: f64, y: &Tensor) -> Result<Tensor> {
    x.detach().affine(a, 0.0)? + y.detach().sqr()?.affine(b, 0.0)?
}

pub(crate) fn over_root(a: f64, x: &Tensor, b: f64, y: &Tensor, eps: f64) -> Result<Tensor> {
    x.detach().affine(a, 0.0)? / y.detach().affine(b, 0.0)?.sqrt()?.affine(1.0, eps)?
}

#[cfg(test)]
mod tests {
    use crate::composed::without_kernels;
    use crate::test_support::{near, random};
    use crate::{over_root, weighted_square};
    use candle_core::{Tensor, Var};

    #[test]
    fn what_optimizers_take_has_the_kernels_values_and_no_past() {
        let (x, y) = (Var::from_tensor(&random("x", (3, 7))).unwrap(), random("y", (3, 7)).abs().unwrap());
        let run = || [weighted_square(0.9, &x, 0.1, &y).unwrap(), over_root(2.0, &x, 3.0, &y, 1e-3).unwrap()];
        let list = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        for (composed, kernel) in without_kernels(run).iter().zip(&run()) {
            near(&list(composed), &list(kernel), 1e-14);
            assert!(!composed.track_op());
        }
    }
}
