//! Soft matching inside a window, as tensors of every comparison.

use super::padded;
use candle_core::{D, Result, Tensor};

/// `window_match` with a window of `span` by `span` places.
pub(crate) fn window_match(one: &Tensor, other: &Tensor, window: &Tensor, side: usize, span: usize) -> Result<Tensor> {
    let ((m, places, d), n) = (one.dims3()?, other.dim(0)?);
    if m * n == 0 {
        return Tensor::zeros((places, m, n), one.dtype(), one.device());
    }
    let mine = one.transpose(0, 1)?.contiguous()?;
    let around = padded(&other.reshape((n, side, side, d))?, span / 2)?;
    let alike = (0..span * span).map(|cell| {
        let theirs = around.narrow(1, cell / span, side)?.narrow(2, cell % span, side)?;
        let theirs = theirs.contiguous()?.reshape((n, places, d))?.permute((1, 2, 0))?.contiguous()?;
        crate::matmul(&mine, &theirs)?.broadcast_add(&window.get(cell)?)
    });
    let alike = Tensor::stack(&alike.collect::<Result<Vec<_>>>()?, 3)?;
    let most = alike.max_keepdim(D::Minus1)?.detach();
    alike.broadcast_sub(&most)?.exp()?.sum(D::Minus1)?.log()? + most.squeeze(D::Minus1)?
}

#[cfg(test)]
mod tests {
    use crate::composed::without_kernels;
    use crate::test_support::{check_derivatives, near, random};
    use crate::window_match;
    use candle_core::{Result, Tensor, Var};
    use proptest::prelude::*;

    /// Values and first derivatives.
    fn to_first_order(inputs: &[Tensor], side: usize) -> Result<Vec<Vec<f64>>> {
        let vars = inputs.iter().map(Var::from_tensor).collect::<Result<Vec<_>>>()?;
        let y = window_match(&vars[0], &vars[1], &vars[2], side)?;
        let gradients = y.mul(&random("covector", y.shape().clone()))?.sum_all()?.backward()?;
        let list = |t: &Tensor| t.flatten_all()?.to_vec1::<f64>();
        std::iter::once(list(&y)).chain(vars.iter().filter_map(|var| gradients.get(var)).map(list)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn it_equals_the_kernel_and_has_a_second_derivative(
            m in 1usize..4, n in 1usize..4, side in 1usize..5, d in 1usize..5, reach in 0usize..3
        ) {
            let (places, span) = (side * side, 2 * reach + 1);
            let inputs = [random("one", (m, places, d)), random("other", (n, places, d)), random("window", span * span)];
            let kernel = to_first_order(&inputs, side).unwrap();
            let composed = without_kernels(|| to_first_order(&inputs, side)).unwrap();
            prop_assert_eq!(kernel.len(), 4);
            prop_assert_eq!(composed.len(), 4);
            for (composed, kernel) in composed.iter().zip(&kernel) {
                near(composed, kernel, 1e-10);
            }
            without_kernels(|| check_derivatives(&inputs, |v| window_match(&v[0], &v[1], &v[2], side)));
        }
    }
}
