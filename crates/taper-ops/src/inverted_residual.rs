//! Inverted residual blocks whose weights are final, as one operation.

use crate::composed;
use crate::convolution::{Convolution, conv2d};
use crate::element::{elements, stored, values};
use crate::kernels::depthwise_panels::{Images, Side};
use crate::kernels::inverted_residual::Block;
use crate::kernels::pointwise::Pointwise;
use crate::kernels::simd::InstructionSet;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, bail};

/// An inverted residual block (Sandler et al. 2018, figure 3b) with final weights: a 1x1 convolution that expands
/// the channels, ReLU6, a depthwise convolution padded like TensorFlow's `SAME`, ReLU6, a 1x1 convolution that
/// projects to the outputs, and the sum with the block's input. The expanded channels never exist as a whole.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use taper_ops::InvertedResidual;
/// let ones = |shape: &[usize]| Tensor::ones(shape, DType::F32, &Device::Cpu);
/// let block = InvertedResidual::new(
///     Some((&ones(&[12, 2, 1, 1])?, &ones(&[12])?)),
///     (&ones(&[12, 1, 3, 3])?, &ones(&[12])?),
///     (&ones(&[2, 12, 1, 1])?, &ones(&[2])?),
///     1,
///     true,
/// )?;
/// let y = block.forward(&ones(&[5, 8, 8, 2])?)?;
/// assert_eq!(y.dims(), [5, 8, 8, 2]);
/// // twelve channels of 6, a bias of 1, and the input
/// assert_eq!(y.max_all()?.to_scalar::<f32>()?, 74.0);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub struct InvertedResidual(Inner);

enum Inner {
    /// Packed for the CPU's kernels.
    Packed(Box<Block>),
    /// Unchanged, on another device.
    Composed(Parts),
}

/// A convolution's weight and bias.
type Part<'a> = (&'a Tensor, &'a Tensor);

/// The three convolutions, and how they are used.
struct Parts {
    expand: Option<[Tensor; 2]>,
    depthwise: [Tensor; 2],
    project: [Tensor; 2],
    stride: usize,
    residual: bool,
}

const NAME: &str = "inverted residual";

impl InvertedResidual {
    /// A block of `expand (e, c, 1, 1)`, `depthwise (e, 1, k, k)` and `project (o, e, 1, 1)`, each with its bias;
    /// without `expand` the depthwise convolution is the first. With `residual` the input is added to the output.
    ///
    /// # Errors
    /// Returns an error if the shapes do not fit each other, if the type is not f32, or if a residual block changes
    /// the size of its input.
    pub fn new(
        expand: Option<Part<'_>>,
        depthwise: Part<'_>,
        project: Part<'_>,
        stride: usize,
        residual: bool,
    ) -> Result<Self> {
        let (e, one, k, wide) = depthwise.0.dims4()?;
        let (o, _, _, _) = project.0.dims4()?;
        let c = expand.map_or(Ok(e), |(weight, _)| weight.dim(1))?;
        let fits = |(weight, bias): Part<'_>, dims: [usize; 4]| weight.dims() == dims && bias.dims() == [dims[0]];
        let all = expand.is_none_or(|expand| fits(expand, [e, c, 1, 1]))
            && fits(depthwise, [e, 1, k, k])
            && fits(project, [o, e, 1, 1]);
        if !all || one != 1 || k != wide || [c, e, o, k, stride].contains(&0) {
            bail!(
                "{NAME}: weights {:?}, {:?} and {:?} with stride {stride} do not fit each other and their biases",
                expand.map(|(weight, _)| weight.dims()),
                depthwise.0.dims(),
                project.0.dims()
            );
        }
        if residual && (stride, c) != (1, o) {
            bail!("{NAME}: a stride of {stride} from {c} channels to {o} leaves nothing to add the input to");
        }
        let tensors = expand.into_iter().chain([depthwise, project]).flat_map(|(weight, bias)| [weight, bias]);
        if let Some(other) = tensors.into_iter().find(|tensor| tensor.dtype() != DType::F32) {
            bail!("{NAME}: takes f32 weights, not {:?}", other.dtype());
        }
        if composed::needed(depthwise.0) {
            let owned = |(weight, bias): Part<'_>| [weight.detach(), bias.detach()];
            let (expand, depthwise, project) = (expand.map(owned), owned(depthwise), owned(project));
            return Ok(Self(Inner::Composed(Parts { expand, depthwise, project, stride, residual })));
        }
        let set = InstructionSet::best();
        let list = |tensor: &Tensor| tensor.flatten_all()?.to_vec1::<f32>();
        let pointwise = |(weight, bias): Part<'_>, inputs| -> Result<Pointwise> {
            Ok(Pointwise::new(set, &list(weight)?, list(bias)?, inputs))
        };
        let expand = expand.map(|expand| pointwise(expand, c)).transpose()?;
        let (weight, bias) = (list(depthwise.0)?, list(depthwise.1)?);
        let project = pointwise(project, e)?;
        let block = Block::new(set, expand, (&weight, &bias), project, (k, stride, residual));
        Ok(Self(Inner::Packed(Box::new(block))))
    }

    /// The block's output for `x (n, h, w, c)`: `(n, ⌈h / stride⌉, ⌈w / stride⌉, o)`, a value without a gradient.
    ///
    /// # Errors
    /// Returns an error if the shapes do not fit, if the images have no pixels, or if the type is not f32.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (_, h, w, _) = x.dims4()?;
        if h * w == 0 {
            bail!("{NAME}: an image of {h} by {w} has no pixels");
        }
        match &self.0 {
            Inner::Packed(block) => x.contiguous()?.apply_op1_no_bwd(&Run(block)),
            Inner::Composed(parts) => parts.forward(x),
        }
    }
}

impl Parts {
    /// The convolutions one after the other.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let plain = Convolution::default();
        let convolved = |x: &Tensor, [weight, bias]: &[Tensor; 2], how| conv2d(x, weight, how)?.broadcast_add(bias);
        let mut y = x.detach();
        if let Some(expand) = &self.expand {
            y = crate::relu6(&convolved(&y, expand, plain)?)?;
        }
        let (e, _, k, _) = self.depthwise[0].dims4()?;
        for dimension in [1, 2] {
            let (before, after) = same_padding(y.dim(dimension)?, k, self.stride);
            y = y.pad_with_zeros(dimension, before, after)?;
        }
        let by_channel = Convolution { stride: self.stride, groups: e, ..plain };
        y = crate::relu6(&convolved(&y, &self.depthwise, by_channel)?)?;
        y = convolved(&y, &self.project, plain)?;
        if self.residual { y + x.detach() } else { Ok(y) }
    }
}

/// TensorFlow's padding `SAME` of a side of `size` cells: the zeros before the first cell and after the last, with
/// which ⌈size / stride⌉ outputs fit. An odd zero is after the last.
///
/// ```
/// use taper_ops::same_padding;
/// assert_eq!(same_padding(224, 3, 2), (0, 1));
/// assert_eq!(same_padding(7, 5, 1), (2, 2));
/// ```
pub fn same_padding(size: usize, kernel: usize, stride: usize) -> (usize, usize) {
    let last = size.div_ceil(stride.max(1)).saturating_sub(1).saturating_mul(stride);
    let zeros = last.saturating_add(kernel).saturating_sub(size);
    (zeros / 2, zeros - zeros / 2)
}

struct Run<'a>(&'a Block);

impl CustomOp1 for Run<'_> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let Self(block) = self;
        let &[n, h, w, c] = layout.dims() else { bail!("{NAME}: takes (n, h, w, c), not {:?}", layout.dims()) };
        if c != block.inputs() {
            bail!("{NAME}: takes {} channels, not {:?}", block.inputs(), layout.dims());
        }
        if x.dtype() != DType::F32 {
            bail!("{NAME}: takes f32, not {:?}", x.dtype());
        }
        let side = |source: usize| Side {
            source,
            output: source.div_ceil(block.stride),
            before: same_padding(source, block.kernel, block.stride).0,
        };
        let images = Images { count: n, rows: side(h), columns: side(w) };
        let shape = (n, images.rows.output, images.columns.output, block.outputs());
        elements(NAME, &[shape.0, shape.1, shape.2, shape.3])?;
        block.check_band(images)?;
        Ok(stored::<f32>(block.run(images, values::<f32>(x, layout, NAME)?), shape))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::in_pool;
    use crate::test_support::{near, numbers};
    use candle_core::Device;
    use proptest::prelude::*;

    fn tensor(name: &str, shape: &[usize]) -> Tensor {
        Tensor::from_vec(numbers(name, shape.iter().product()), shape, &Device::Cpu).unwrap()
    }

    fn list(t: &Tensor) -> Vec<f64> {
        t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    /// The parts of a block of `c` to `e` to `o` channels, large enough for both ends of ReLU6.
    fn parts(expands: bool, [c, e, o, k]: [usize; 4], stride: usize, residual: bool) -> Parts {
        let part = |name: &str, shape: &[usize]| {
            [(tensor(name, shape) * 3.0).unwrap(), tensor(&format!("{name} bias"), &shape[..1])]
        };
        Parts {
            expand: expands.then(|| part("expand", &[e, c, 1, 1])),
            depthwise: part("depthwise", &[e, 1, k, k]),
            project: part("project", &[o, e, 1, 1]),
            stride,
            residual,
        }
    }

    fn block(parts: &Parts) -> InvertedResidual {
        let pair = |[weight, bias]: &[Tensor; 2]| (weight.clone(), bias.clone());
        let (expand, depthwise, project) =
            (parts.expand.as_ref().map(pair), pair(&parts.depthwise), pair(&parts.project));
        let expand = expand.as_ref().map(|(weight, bias)| (weight, bias));
        InvertedResidual::new(
            expand,
            (&depthwise.0, &depthwise.1),
            (&project.0, &project.1),
            parts.stride,
            parts.residual,
        )
        .unwrap()
    }

    fn wide(parts: &Parts) -> Parts {
        let wide = |tensors: &[Tensor; 2]| tensors.each_ref().map(|t| t.to_dtype(DType::F64).unwrap());
        Parts {
            expand: parts.expand.as_ref().map(wide),
            depthwise: wide(&parts.depthwise),
            project: wide(&parts.project),
            ..*parts
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 60 }))]
        #[test]
        fn a_block_equals_its_convolutions_in_f64(
            (n, h, w) in (0usize..3, 1usize..17, 1usize..17), (c, e, o) in (1usize..20, 1usize..90, 1usize..70),
            (k, stride) in (1usize..6, 1usize..4), (expands, residual) in (any::<bool>(), any::<bool>())
        ) {
            let (c, residual) = (if expands { c } else { e }, residual && stride == 1);
            let parts = parts(expands, [c, e, if residual { c } else { o }, k], stride, residual);
            let x = tensor("x", &[n, h, w, c]);
            let right = wide(&parts).forward(&x.to_dtype(DType::F64).unwrap()).unwrap();
            let ours = block(&parts).forward(&x).unwrap();
            prop_assert_eq!(ours.dims(), right.dims());
            near(&list(&ours), &list(&right), 1e-5);
            let elsewhere = composed::without_kernels(|| block(&parts).forward(&x)).unwrap();
            near(&list(&elsewhere), &list(&right), 1e-5);
        }
    }

    #[test]
    fn an_image_has_the_same_bits_in_any_batch_and_on_any_number_of_threads() {
        for (k, stride, side) in [(3, 1, 30), (5, 2, 23), (5, 1, 7)] {
            let block = block(&parts(true, [9, 70, 9, k], stride, stride == 1));
            let x = tensor("x", &[5, side, side, 9]);
            let bits = |x: &Tensor| block.forward(x).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let alone = in_pool(1, || bits(&x)).unwrap();
            for threads in [2, 3, 8] {
                assert!(in_pool(threads, || bits(&x)).unwrap() == alone, "{threads} threads");
            }
            let size = alone.len() / 5;
            for image in 0..5 {
                for threads in [1, 3] {
                    let single = in_pool(threads, || bits(&x.narrow(0, image, 1).unwrap())).unwrap();
                    assert!(single == alone[image * size..(image + 1) * size], "image {image}, {threads} threads");
                }
            }
        }
    }

    #[test]
    fn nan_around_the_images_does_not_change_a_bit_and_nan_inside_stays() {
        let block = block(&parts(true, [9, 70, 9, 3], 1, true));
        let x = tensor("x", &[2, 9, 8, 9]);
        let bits = |x: &Tensor| block.forward(x).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(bits(&crate::test_support::surrounded(&x)) == bits(&x));
        let poisoned = Tensor::full(f32::NAN, (1, 9, 8, 9), &Device::Cpu).unwrap();
        assert!(bits(&poisoned).iter().all(|value| value.is_nan()));
    }

    #[test]
    fn weights_and_images_that_do_not_fit_are_errors_that_name_the_sizes() {
        let (w, b) = (|shape: &[usize]| tensor("w", shape), |o: usize| tensor("b", &[o]));
        let fails = |expand: [usize; 4], depthwise: [usize; 4], project: [usize; 4], bias, stride, residual| {
            let [expand, depthwise, project] = [expand, depthwise, project].map(|shape| w(&shape));
            let biases = [b(expand.dims()[0]), b(bias), b(project.dims()[0])];
            let made = InvertedResidual::new(
                Some((&expand, &biases[0])),
                (&depthwise, &biases[1]),
                (&project, &biases[2]),
                stride,
                residual,
            );
            made.err().map(|error| error.to_string()).unwrap_or_default()
        };
        let (expand, depthwise, project) = ([8, 2, 1, 1], [8, 1, 3, 3], [2, 8, 1, 1]);
        assert_eq!(fails(expand, depthwise, project, 8, 1, true), "");
        assert!(fails(expand, [9, 1, 3, 3], project, 9, 1, false).contains("[9, 1, 3, 3]"));
        assert!(fails(expand, [8, 1, 3, 5], project, 8, 1, false).contains("[8, 1, 3, 5]"));
        assert!(fails(expand, depthwise, [2, 7, 1, 1], 8, 1, false).contains("[2, 7, 1, 1]"));
        assert!(fails(expand, depthwise, project, 7, 1, false).contains("biases"));
        assert!(fails(expand, depthwise, project, 8, 0, false).contains("stride 0"));
        assert!(fails(expand, depthwise, project, 8, 2, true).contains("stride of 2"));
        let block = block(&parts(true, [9, 20, 9, 3], 1, true));
        let error = block.forward(&tensor("x", &[1, 4, 4, 8])).unwrap_err().to_string();
        assert!(error.contains("9 channels") && error.contains("[1, 4, 4, 8]"), "{error}");
        let error = block.forward(&tensor("x", &[1, 0, 4, 9])).unwrap_err().to_string();
        assert!(error.contains("0 by 4"), "{error}");
    }
}
