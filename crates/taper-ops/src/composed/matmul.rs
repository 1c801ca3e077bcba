//! Products of matrices.

use candle_core::{Result, Tensor};

/// The product of `a` and `b`, each transposed if its flag says so.
pub(crate) fn matmul(a: &Tensor, b: &Tensor, transposed: (bool, bool)) -> Result<Tensor> {
    let turned = |t: &Tensor, transposed| {
        if transposed { t.transpose(t.rank() - 2, t.rank() - 1)?.contiguous() } else { t.contiguous() }
    };
    let (a, b) = (turned(a, transposed.0)?, turned(b, transposed.1)?);
    if a.elem_count() * b.elem_count() == 0 {
        let (rows, columns) = (a.dim(a.rank() - 2)?, b.dim(b.rank() - 1)?);
        let shape: Vec<usize> = a.dims()[..a.rank() - 2].iter().copied().chain([rows, columns]).collect();
        return Tensor::zeros(shape, a.dtype(), a.device());
    }
    a.matmul(&b)
}
