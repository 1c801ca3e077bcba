//! Rectifiers.

use crate::element::{Element, by_type, stored, values};
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};

/// max(x, 0), elementwise; NaN stays NaN; the derivative at 0 is 0, as in PyTorch.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Relu)
}

struct Relu;

impl CustomOp1 for Relu {
    fn name(&self) -> &'static str {
        "relu"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        by_type!(storage, "relu", rectify(storage, layout))
    }

    fn bwd(&self, x: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(x.contiguous()?.apply_op2(&gradient.contiguous()?, Gate)?))
    }
}

/// `v` where `x > 0`, else 0: linear in `v`, flat in `x`.
struct Gate;

impl CustomOp2 for Gate {
    fn name(&self) -> &'static str {
        "relu-gate"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, v: &CpuStorage, lv: &Layout) -> Result<(CpuStorage, Shape)> {
        by_type!(x, "relu-gate", gate(x, lx, v, lv))
    }

    fn bwd(
        &self,
        x: &Tensor,
        _v: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((None, Some(x.contiguous()?.apply_op2(&gradient.contiguous()?, Gate)?)))
    }
}

fn rectify<T: Element>(storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
    let x = values::<T>(storage, layout, "relu")?;
    let y = x.iter().map(|&v| if v < T::ZERO { T::ZERO } else { v }).collect();
    Ok(stored::<T>(y, layout.shape().clone()))
}

fn gate<T: Element>(x: &CpuStorage, lx: &Layout, v: &CpuStorage, lv: &Layout) -> Result<(CpuStorage, Shape)> {
    let (x, v) = (values::<T>(x, lx, "relu-gate")?, values::<T>(v, lv, "relu-gate")?);
    let y = x.iter().zip(v).map(|(&x, &v)| if x > T::ZERO { v } else { T::ZERO }).collect();
    Ok(stored::<T>(y, lx.shape().clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{check_gradients, random};

    #[test]
    fn relu_has_right_first_and_second_derivatives() {
        let x = random("relu", (3, 4));
        check_gradients(&[x], |v| relu(&v[0])?.sqr()?.mul(&v[0]));
    }
}
