//! Convolutions whose weights are final: packed once, with what follows them folded in.

use crate::composed;
use crate::convolution::{Convolution, fast::Kernels, geometry::Geometry};
use crate::element::{stored, values};
use crate::kernels::simd::InstructionSet;
use crate::kernels::tile::{Activation, Finish};
use crate::norm::Statistics;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, DType, Layout, Result, Shape, Tensor, bail};

/// A convolution whose weights and bias are final: `conv2d` without a gradient, but faster.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use taper_ops::{Activation, Convolution, FrozenConvolution};
/// let images = Tensor::ones((2, 4, 4, 1), DType::F32, &Device::Cpu)?;
/// let weight = Tensor::ones((1, 1, 1, 1), DType::F32, &Device::Cpu)?;
/// let bias = Tensor::new(&[-3f32], &Device::Cpu)?;
/// let frozen = FrozenConvolution::new(&images, &weight, &bias, Convolution::default())?;
/// let y = frozen.forward(&images, None, Activation::Relu)?;
/// assert_eq!(y.sum_all()?.to_scalar::<f32>()?, 0.0);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub struct FrozenConvolution(Frozen);

enum Frozen {
    /// Packed for the CPU's kernels.
    Packed(Box<Packed>),
    /// Unchanged, on another device.
    Composed { weight: Tensor, bias: Tensor, how: Convolution },
}

struct Packed {
    kernels: Kernels,
    bias: Vec<f32>,
    weights: Vec<usize>,
    how: Convolution,
}

impl FrozenConvolution {
    /// Packs `weight (o, c / groups, kh, kw)` for inputs such as `x (n, h, w, c)`; `bias (o)` is added
    /// to each pixel. Other sizes and numbers of images work too, and results do not depend on which came
    /// first.
    ///
    /// # Errors
    /// Returns an error if the shapes do not fit, or if the type is not f32.
    pub fn new(x: &Tensor, weight: &Tensor, bias: &Tensor, how: Convolution) -> Result<Self> {
        let g = Geometry::new(x.dims(), weight.dims(), how)?;
        if weight.dtype() != DType::F32 || bias.dims() != [g.o] {
            bail!(
                "frozen convolution: takes f32 weights with a bias for each output, not {:?} {:?} with {:?}",
                weight.dtype(),
                weight.dims(),
                bias.dims()
            );
        }
        if composed::needed(weight) {
            return Ok(Self(Frozen::Composed { weight: weight.detach(), bias: bias.detach(), how }));
        }
        let kernels = Kernels::new(InstructionSet::best(), &g, &weight.flatten_all()?.to_vec1::<f32>()?);
        kernels.of(&g);
        Ok(Self(Frozen::Packed(Box::new(Packed {
            kernels,
            bias: bias.to_vec1()?,
            weights: weight.dims().to_vec(),
            how,
        }))))
    }

    /// The convolution of `x (n, h, w, c)`, plus `residual (n, oh, ow, o)` if there is one, then the
    /// activation: a value without a gradient.
    ///
    /// # Errors
    /// Returns an error if the shapes do not fit, or if the type is not f32.
    pub fn forward(&self, x: &Tensor, residual: Option<&Tensor>, activation: Activation) -> Result<Tensor> {
        let x = x.contiguous()?;
        let packed = match &self.0 {
            Frozen::Packed(packed) => packed,
            Frozen::Composed { weight, bias, how } => {
                return composed::frozen_convolution(&x, (weight, bias), *how, residual, activation);
            }
        };
        let run = Run { convolution: packed, activation };
        match residual {
            Some(residual) => x.apply_op2_no_bwd(&residual.contiguous()?, &run),
            None => x.apply_op1_no_bwd(&run),
        }
    }
}

/// A convolution's weights with the batch norm after it folded in, and the bias that then follows:
/// `norm(conv2d(x, weight)) = conv2d(x, folded) + bias` (Jacob et al. 2018, section 3.2).
///
/// # Errors
/// Returns an error if the shapes do not fit.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use taper_ops::{Statistics, fold_batch_norm};
/// let one = |value: f32| Tensor::new(&[value], &Device::Cpu);
/// let statistics = Statistics { mean: one(3.0)?, variance: one(4.0)? };
/// let weight = one(8.0)?.reshape((1, 1, 1, 1))?;
/// let (folded, bias) = fold_batch_norm(&weight, &statistics, &one(1.0)?, &one(0.0)?, 0.0)?;
/// assert_eq!(folded.flatten_all()?.to_vec1::<f32>()?, [4.0]);
/// assert_eq!(bias.to_vec1::<f32>()?, [-1.5]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn fold_batch_norm(
    weight: &Tensor,
    statistics: &Statistics,
    scale: &Tensor,
    shift: &Tensor,
    eps: f64,
) -> Result<(Tensor, Tensor)> {
    let by = (scale / (&statistics.variance + eps)?.sqrt()?)?;
    let folded = weight.broadcast_mul(&by.reshape(((), 1, 1, 1))?)?;
    Ok((folded, (shift - (&statistics.mean * by)?)?))
}

struct Run<'a> {
    convolution: &'a Packed,
    activation: Activation,
}

const NAME: &str = "frozen convolution";

impl Run<'_> {
    fn run(
        &self,
        (x, lx): (&CpuStorage, &Layout),
        residual: Option<(&CpuStorage, &Layout)>,
    ) -> Result<(CpuStorage, Shape)> {
        let Packed { kernels, bias, weights, how } = self.convolution;
        let g = Geometry::new(lx.dims(), weights, *how)?;
        if x.dtype() != DType::F32 {
            bail!("{NAME}: takes f32, not {:?}", x.dtype());
        }
        let residual = match residual {
            Some((residual, layout)) => {
                g.check_outputs(layout.dims())?;
                Some(values::<f32>(residual, layout, NAME)?)
            }
            None => None,
        };
        let finish = Finish { bias: Some(bias), residual, activation: self.activation };
        Ok(stored::<f32>(kernels.of(&g).run(&g, values::<f32>(x, lx, NAME)?, finish), g.outputs()))
    }
}

impl CustomOp1 for Run<'_> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        self.run((x, layout), None)
    }
}

impl CustomOp2 for Run<'_> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, r: &CpuStorage, lr: &Layout) -> Result<(CpuStorage, Shape)> {
        self.run((x, lx), Some((r, lr)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{near, random};
    use crate::{batch_norm, conv2d, relu};

    #[test]
    fn a_folded_convolution_equals_norm_after_convolution() {
        for (c, o, groups, side) in [(3, 20, 1, 9), (20, 20, 1, 12), (12, 12, 12, 7)] {
            let how = Convolution { padding: 1, groups, ..Convolution::default() };
            let (x, weight) = (random("x", (2, side, side, c)), random("w", (o, c / groups, 3, 3)));
            let variance = random("v", o).abs().unwrap();
            let statistics = Statistics { mean: random("m", o), variance };
            let (scale, shift, residual) = (random("s", o), random("b", o), random("r", (2, side, side, o)));
            let y = batch_norm(&conv2d(&x, &weight, how).unwrap(), &statistics, &scale, &shift, 1e-5).unwrap();
            let right = relu(&(&y + &residual).unwrap()).unwrap();

            let (folded, bias) = fold_batch_norm(&weight, &statistics, &scale, &shift, 1e-5).unwrap();
            let narrow = |t: &Tensor| t.to_dtype(DType::F32).unwrap();
            let frozen = FrozenConvolution::new(&x, &narrow(&folded), &narrow(&bias), how).unwrap();
            let list = |t: Tensor| t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
            let rectified = frozen.forward(&narrow(&x), Some(&narrow(&residual)), Activation::Relu).unwrap();
            near(&list(rectified.clone()), &list(right), 1e-5);
            near(&list(frozen.forward(&narrow(&x), None, Activation::Identity).unwrap()), &list(y), 1e-5);

            let elsewhere = composed::without_kernels(|| {
                let frozen = FrozenConvolution::new(&x, &narrow(&folded), &narrow(&bias), how).unwrap();
                frozen.forward(&narrow(&x), Some(&narrow(&residual)), Activation::Relu).unwrap()
            });
            near(&list(elsewhere), &list(rectified), 1e-5);
        }
    }

    #[test]
    fn an_image_has_the_same_bits_whichever_size_came_first() {
        let narrow = |name, shape: &[usize]| random(name, shape).to_dtype(DType::F32).unwrap();
        let (weight, bias) = (narrow("w", &[20, 18, 3, 3]), narrow("b", &[20]));
        let how = Convolution { padding: 1, ..Convolution::default() };
        // sizes for which direct sums, smaller and larger tiles are fastest
        let images = [2, 5, 14].map(|side| narrow("x", &[1, side, side, 18]));
        let run = |first: &Tensor| {
            let frozen = FrozenConvolution::new(first, &weight, &bias, how).unwrap();
            let _ = frozen.forward(first, None, Activation::Identity).unwrap();
            images.each_ref().map(|x| {
                frozen.forward(x, None, Activation::Identity).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
            })
        };
        let right = run(&images[0]);
        for first in &images[1..] {
            assert!(run(first) == right, "the first size was {:?}", first.dims());
        }
    }

    #[test]
    fn a_residual_that_does_not_fit_is_an_error_that_names_both() {
        let narrow = |name, shape: &[usize]| random(name, shape).to_dtype(DType::F32).unwrap();
        let x = narrow("x", &[1, 4, 4, 2]);
        let frozen =
            FrozenConvolution::new(&x, &narrow("w", &[3, 2, 1, 1]), &narrow("b", &[3]), Convolution::default())
                .unwrap();
        let error =
            frozen.forward(&x, Some(&narrow("r", &[1, 4, 4, 2])), Activation::Identity).unwrap_err().to_string();
        assert!(error.contains("[1, 4, 4, 2]") && error.contains("[1, 4, 4, 3]"), "{error}");
    }
}
