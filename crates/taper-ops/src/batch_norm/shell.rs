//! candle's interface for operations on three tensors, for operations that are functions of slices.

use crate::element::{Element, stored, values};
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

/// An operation on three tensors of f32 or f64.
pub(super) trait Ternary {
    const NAME: &'static str;

    /// The values of the result, and its shape.
    fn forward<T: Element>(&self, values: [&[T]; 3], shapes: [&Shape; 3]) -> Result<(Vec<T>, Shape)>;

    /// The gradient with respect to each input that needs one.
    fn backward(&self, inputs: [&Tensor; 3], gradient: &Tensor) -> Result<[Option<Tensor>; 3]>;
}

/// An operation in candle's form.
pub(super) struct Shell<O>(pub(super) O);

type Operand<'a> = (&'a CpuStorage, &'a Layout);

fn kernel<T: Element, O: Ternary>(operation: &O, operands: [Operand; 3]) -> Result<(CpuStorage, Shape)> {
    let [a, b, c] = operands.map(|(storage, layout)| values::<T>(storage, layout, O::NAME));
    let shapes = operands.map(|(_, layout)| layout.shape());
    let (made, shape) = operation.forward([a?, b?, c?], shapes)?;
    Ok(stored::<T>(made, shape))
}

impl<O: Ternary> CustomOp3 for Shell<O> {
    fn name(&self) -> &'static str {
        O::NAME
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        la: &Layout,
        b: &CpuStorage,
        lb: &Layout,
        c: &CpuStorage,
        lc: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        match a.dtype() {
            candle_core::DType::F32 => kernel::<f32, O>(&self.0, [(a, la), (b, lb), (c, lc)]),
            candle_core::DType::F64 => kernel::<f64, O>(&self.0, [(a, la), (b, lb), (c, lc)]),
            other => bail!("{}: takes f32 or f64, not {other:?}", O::NAME),
        }
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        c: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [da, db, dc] = self.0.backward([a, b, c], gradient)?;
        Ok((da, db, dc))
    }
}

/// Fails unless `other` has the shape `right`.
pub(super) fn check(name: &str, right: &Shape, other: &Shape) -> Result<()> {
    if right.dims() != other.dims() {
        bail!("{name}: {:?} does not fit {:?}", right.dims(), other.dims());
    }
    Ok(())
}
