//! Rectifiers.

use crate::composed;
use crate::element::{Element, by_type, stored, values};
use crate::kernels::channels::in_chunks;
use crate::kernels::simd::{InstructionSet, vectorized};
use crate::tape::Apply;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};
use std::mem::MaybeUninit;

/// max(x, 0), elementwise; NaN stays NaN; the derivative at 0 is 0, as in PyTorch.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    if composed::needed(x) {
        return composed::relu(x);
    }
    x.contiguous()?.apply1(Relu)
}

/// max(a + b, 0), elementwise, of tensors of the same shape: how residual blocks end.
pub fn add_relu(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if a.dims() != b.dims() {
        bail!("sum and relu: {:?} does not fit {:?}", a.dims(), b.dims());
    }
    if composed::needed(a) {
        return composed::add_relu(a, b);
    }
    a.contiguous()?.apply2(&b.contiguous()?, AddRelu)
}

struct AddRelu;

impl CustomOp2 for AddRelu {
    fn name(&self) -> &'static str {
        "add-relu"
    }

    fn cpu_fwd(&self, a: &CpuStorage, la: &Layout, b: &CpuStorage, lb: &Layout) -> Result<(CpuStorage, Shape)> {
        by_type!(a, "add-relu", add_rectify(a, la, b, lb))
    }

    fn bwd(
        &self,
        _a: &Tensor,
        _b: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let gated = result.detach().apply2(&gradient.contiguous()?, Gate)?;
        Ok((Some(gated.clone()), Some(gated)))
    }
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
        Ok(Some(x.contiguous()?.apply2(&gradient.contiguous()?, Gate)?))
    }
}

/// 0 where `x` is at most 0, else `v`: linear in `v`, flat in `x`.
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
        Ok((None, Some(x.contiguous()?.apply2(&gradient.contiguous()?, Gate)?)))
    }
}

vectorized! {
    fn rectify_values<T: Element>(x: &[T], y: &mut [MaybeUninit<T>]) {
        for (&x, y) in x.iter().zip(y) {
            y.write(if x <= T::ZERO { T::ZERO } else { x });
        }
    }

    fn add_rectify_values<T: Element>(a: &[T], b: &[T], y: &mut [MaybeUninit<T>]) {
        for ((&a, &b), y) in a.iter().zip(b).zip(y) {
            let sum = a + b;
            y.write(if sum <= T::ZERO { T::ZERO } else { sum });
        }
    }

    fn gate_values<T: Element>(x: &[T], v: &[T], y: &mut [MaybeUninit<T>]) {
        for ((&x, &v), y) in x.iter().zip(v).zip(y) {
            y.write(if x <= T::ZERO { T::ZERO } else { v });
        }
    }
}

fn rectify<T: Element>(storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
    let x = values::<T>(storage, layout, "relu")?;
    let y = in_chunks(x.len(), 1, |at, y| rectify_values(InstructionSet::best(), &x[at..at + y.len()], y));
    Ok(stored::<T>(y, layout.shape().clone()))
}

fn add_rectify<T: Element>(a: &CpuStorage, la: &Layout, b: &CpuStorage, lb: &Layout) -> Result<(CpuStorage, Shape)> {
    let (a, b) = (values::<T>(a, la, "add-relu")?, values::<T>(b, lb, "add-relu")?);
    let y = in_chunks(a.len(), 1, |at, y| {
        let here = at..at + y.len();
        add_rectify_values(InstructionSet::best(), &a[here.clone()], &b[here], y);
    });
    Ok(stored::<T>(y, la.shape().clone()))
}

fn gate<T: Element>(x: &CpuStorage, lx: &Layout, v: &CpuStorage, lv: &Layout) -> Result<(CpuStorage, Shape)> {
    let (x, v) = (values::<T>(x, lx, "relu-gate")?, values::<T>(v, lv, "relu-gate")?);
    if x.len() != v.len() {
        bail!("relu-gate: {:?} does not fit {:?}", lx.dims(), lv.dims());
    }
    let y = in_chunks(x.len(), 1, |at, y| {
        let here = at..at + y.len();
        gate_values(InstructionSet::best(), &x[here.clone()], &v[here], y);
    });
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

    #[test]
    fn the_rectified_sum_has_right_first_and_second_derivatives() {
        let inputs = [random("a", (3, 4)), random("b", (3, 4))];
        check_gradients(&inputs, |v| add_relu(&v[0], &v[1])?.sqr()?.mul(&v[0]));
        let error = add_relu(&inputs[0], &random("c", (4, 3))).unwrap_err().to_string();
        assert!(error.contains("[3, 4]") && error.contains("[4, 3]"), "{error}");
    }

    #[test]
    fn nan_stays_and_its_gradient_passes_as_in_pytorch() {
        let x = candle_core::Var::new(&[f32::NAN, -1.0, 0.0, 2.0], &candle_core::Device::Cpu).unwrap();
        let y = relu(&x).unwrap();
        assert!(y.to_vec1::<f32>().unwrap()[0].is_nan());
        assert_eq!(y.to_vec1::<f32>().unwrap()[1..], [0.0, 0.0, 2.0]);
        let gradient = y.backward().unwrap().get(&x).unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(gradient, [1.0, 0.0, 0.0, 1.0]);
    }
}
