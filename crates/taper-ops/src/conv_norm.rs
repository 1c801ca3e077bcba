//! Convolution, batch norm by the batch's own statistics, and what follows, as one operation.
//!
//! Its backward pass calls the operations of its parts one after the other: between them no gradient
//! passes through candle's bookkeeping, which adds each gradient to zeros of its size.

use crate::batch_norm::{Derivatives, Known, derivatives};
use crate::composed;
use crate::convolution::{Convolution, conv2d, input_gradient, weight_gradient};
use crate::element::{Element, stored, values};
use crate::norm::Statistics;
use crate::select::{Epilogue, Select};
use crate::tape::Apply;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, DType, Layout, Result, Shape, Storage, Tensor, bail};
use std::sync::Arc;

/// `conv2d(x, weight)` normalized by its own statistics, with `scale (o)` and `shift (o)`, then
/// `epilogue`; also returns those statistics. Gradients of any order flow through both.
///
/// # Errors
/// Returns an error if the shapes do not fit, or if the batch is empty.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use taper_ops::{Convolution, Epilogue, Window, conv_norm, rng, uniform};
/// let images = uniform(&mut rng(0, "images", 0), (2, 8, 8, 1), 0.0, 1.0)?;
/// let weight = uniform(&mut rng(0, "weight", 0), (4, 1, 3, 3), -0.5, 0.5)?;
/// let (scale, shift) = (Tensor::ones(4, DType::F32, &Device::Cpu)?, Tensor::zeros(4, DType::F32, &Device::Cpu)?);
/// let how = Convolution { padding: 1, ..Convolution::default() };
/// let epilogue = Epilogue::ReluPool(Window::tiled(2));
/// let (y, _) = conv_norm(&images, &weight, how, (&scale, &shift), 1e-5, epilogue)?;
/// assert_eq!(y.dims(), [2, 4, 4, 4]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn conv_norm(
    x: &Tensor,
    weight: &Tensor,
    convolution: Convolution,
    (scale, shift): (&Tensor, &Tensor),
    eps: f64,
    epilogue: Epilogue,
) -> Result<(Tensor, Statistics)> {
    let (x, weight) = (x.contiguous()?, weight.contiguous()?);
    let hidden = conv2d(&x, &weight, convolution)?;
    if composed::needed(&hidden) {
        return composed::conv_norm(&hidden, (scale, shift), eps, epilogue);
    }
    let (known, statistics) = Known::of(&hidden, scale, shift, eps)?;
    let norm = shift.contiguous()?.apply2(&scale.contiguous()?, Stack)?;
    let select = Select::new(epilogue, hidden.shape())?;
    let y = x.apply3(&weight, &norm, ConvNorm { hidden, known, select, convolution })?;
    Ok((y, statistics))
}

struct ConvNorm {
    /// The convolution's result, with its own graph for derivatives of derivatives.
    hidden: Tensor,
    known: Arc<Known>,
    select: Select,
    convolution: Convolution,
}

impl ConvNorm {
    fn kernel<T: Element>(
        &self,
        hidden: &CpuStorage,
        norm: &CpuStorage,
        layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let x = values::<T>(hidden, self.hidden.layout(), self.name())?;
        let (shift, scale) = values::<T>(norm, layout, self.name())?.split_at(self.known.mean.len());
        let y = self.known.normalize(&self.select, x, scale, shift)?;
        Ok(stored::<T>(y, self.select.shape(self.hidden.shape())))
    }
}

impl CustomOp3 for ConvNorm {
    fn name(&self) -> &'static str {
        "convolution-norm"
    }

    fn cpu_fwd(
        &self,
        _x: &CpuStorage,
        _lx: &Layout,
        _weight: &CpuStorage,
        _lw: &Layout,
        norm: &CpuStorage,
        layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        match (&*self.hidden.storage_and_layout().0, norm.dtype()) {
            (Storage::Cpu(hidden), DType::F32) => self.kernel::<f32>(hidden, norm, layout),
            (Storage::Cpu(hidden), DType::F64) => self.kernel::<f64>(hidden, norm, layout),
            (_, other) => bail!("{}: takes f32 or f64, not {other:?}", self.name()),
        }
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        norm: &Tensor,
        _result: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let wanted = (x.track_op() || weight.track_op(), norm.track_op());
        let Derivatives { x: hidden, norm } =
            derivatives(&self.hidden, g, &norm.get(1)?, &self.known, &self.select, wanted)?;
        let (mut dx, mut dw) = (None, None);
        if let Some(hidden) = hidden {
            if x.track_op() {
                dx = Some(input_gradient(&hidden, weight, x.shape(), self.convolution)?);
            }
            if weight.track_op() {
                dw = Some(weight_gradient(x, &hidden, weight.shape(), self.convolution)?);
            }
        }
        Ok((dx, dw, norm))
    }
}

/// Two rows `(c)` as `(2, c)`.
struct Stack;

impl Stack {
    fn kernel<T: Element>(&self, [a, b]: [&CpuStorage; 2], [la, lb]: [&Layout; 2]) -> Result<(CpuStorage, Shape)> {
        let (a, b) = (values::<T>(a, la, self.name())?, values::<T>(b, lb, self.name())?);
        Ok(stored::<T>([a, b].concat(), (2, a.len())))
    }
}

impl CustomOp2 for Stack {
    fn name(&self) -> &'static str {
        "stack"
    }

    fn cpu_fwd(&self, a: &CpuStorage, la: &Layout, b: &CpuStorage, lb: &Layout) -> Result<(CpuStorage, Shape)> {
        match a.dtype() {
            DType::F32 => self.kernel::<f32>([a, b], [la, lb]),
            DType::F64 => self.kernel::<f64>([a, b], [la, lb]),
            other => bail!("{}: takes f32 or f64, not {other:?}", self.name()),
        }
    }

    fn bwd(&self, _a: &Tensor, _b: &Tensor, _result: &Tensor, g: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((Some(g.get(0)?), Some(g.get(1)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{check_gradients, near, random};
    use crate::{Window, batch_norm_by_batch, max_pool2d, relu};
    use proptest::prelude::*;

    fn epilogue() -> impl Strategy<Value = Epilogue> {
        let window = |kernel, stride, padding| Epilogue::ReluPool(Window { kernel, stride, padding });
        prop_oneof![
            Just(Epilogue::Nothing),
            Just(Epilogue::Relu),
            Just(window(2, 2, 0)),
            Just(window(3, 2, 1)),
            Just(window(3, 1, 0))
        ]
    }

    fn composed(x: &Tensor, weight: &Tensor, how: Convolution, norm: (&Tensor, &Tensor), epilogue: Epilogue) -> Tensor {
        let (y, _) = batch_norm_by_batch(&conv2d(x, weight, how).unwrap(), norm.0, norm.1, 1e-3).unwrap();
        match epilogue {
            Epilogue::Nothing => y,
            Epilogue::Relu => relu(&y).unwrap(),
            Epilogue::ReluPool(window) => max_pool2d(&relu(&y).unwrap(), window).unwrap(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn it_equals_its_parts_and_has_right_derivatives(
            n in 1usize..3, h in 5usize..8, w in 5usize..8, c in 1usize..3, o in 1usize..4, stride in 1usize..3, epilogue in epilogue()
        ) {
            let how = Convolution { stride, padding: 1, groups: 1 };
            let inputs = [random("x", (n, h, w, c)), random("w", (o, c, 3, 3)), random("scale", o), random("shift", o)];
            let [x, weight, scale, shift] = &inputs;
            let (y, _) = conv_norm(x, weight, how, (scale, shift), 1e-3, epilogue).unwrap();
            let list = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            near(&list(&y), &list(&composed(x, weight, how, (scale, shift), epilogue)), 1e-12);
            check_gradients(&inputs, |v| {
                let (y, statistics) = conv_norm(&v[0], &v[1], how, (&v[2], &v[3]), 1e-3, epilogue)?;
                y.powf(3.0)?.broadcast_mul(&statistics.mean)?.broadcast_add(&statistics.variance)
            });
        }

        #[test]
        fn f32_agrees_with_f64_at_any_number_of_channels(n in 1usize..4, side in 4usize..12, o in 1usize..70, epilogue in epilogue()) {
            let how = Convolution { padding: 1, ..Convolution::default() };
            let inputs = [random("x", (n, side, side, 3)), random("w", (o, 3, 3, 3)), random("scale", o), random("shift", o)];
            let gradients = |dtype: DType| -> Vec<Vec<f64>> {
                let vars = inputs.iter().map(|t| candle_core::Var::from_tensor(&t.to_dtype(dtype).unwrap()).unwrap());
                let vars: Vec<_> = vars.collect();
                let (y, _) = conv_norm(&vars[0], &vars[1], how, (&vars[2], &vars[3]), 1e-3, epilogue).unwrap();
                let covector = random("g", y.shape().clone()).to_dtype(dtype).unwrap();
                let grads = (&y * covector).unwrap().sum_all().unwrap().backward().unwrap();
                let list = |t: &Tensor| t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
                std::iter::once(list(&y)).chain(vars.iter().map(|v| list(grads.get(v).unwrap()))).collect()
            };
            for (ours, right) in gradients(DType::F32).iter().zip(gradients(DType::F64)) {
                near(ours, &right, 1e-4);
            }
        }
    }
}
