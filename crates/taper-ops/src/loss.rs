//! Log-softmax and cross-entropy, made of operations with derivatives of any order.

use candle_core::{D, DType, Device, Result, Tensor, bail};

/// Logarithm of the softmax over the last dimension of `logits (n, ways)`; the largest logit is
/// subtracted first, so nothing overflows.
///
/// # Errors
/// Returns an error if there are no classes.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let y = taper_ops::log_softmax(&Tensor::new(&[[0f32, 0.0]], &Device::Cpu)?)?;
/// assert_eq!(y.to_vec2::<f32>()?, [[-std::f32::consts::LN_2; 2]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn log_softmax(logits: &Tensor) -> Result<Tensor> {
    let shifted = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?.detach())?;
    let normalizer = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
    shifted.broadcast_sub(&normalizer)
}

/// `(n, ways)` of the given type on the labels' device: 1 at each label `(n)` and 0 elsewhere.
///
/// # Errors
/// Returns an error if a label is not below `ways`.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// let rows = taper_ops::one_hot(&Tensor::new(&[1u32, 0], &Device::Cpu)?, 2, DType::F32)?;
/// assert_eq!(rows.to_vec2::<f32>()?, [[0.0, 1.0], [1.0, 0.0]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn one_hot(labels: &Tensor, ways: usize, dtype: DType) -> Result<Tensor> {
    let count = labels.dim(0)?;
    let mut rows = vec![0f32; count * ways];
    for (row, label) in labels.to_vec1::<u32>()?.into_iter().enumerate() {
        if label as usize >= ways {
            bail!("label {label} of item {row} does not exist: there are {ways} classes, counted from 0");
        }
        rows[row * ways + label as usize] = 1.0;
    }
    Tensor::from_vec(rows, (count, ways), labels.device())?.to_dtype(dtype)
}

/// Mean cross-entropy of `logits (n, ways)` against `labels (n)` u32, a scalar, in nats.
///
/// With `smoothing` ε the target is 1 − ε on the label plus ε / ways everywhere (Szegedy et al.
/// 2016, section 7), as in PyTorch.
///
/// # Errors
/// Returns an error if the shapes do not fit, if the batch is empty, or if a label is not below `ways`.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let logits = Tensor::new(&[[0f32, 0.0]], &Device::Cpu)?;
/// let loss = taper_ops::cross_entropy(&logits, &Tensor::new(&[1u32], &Device::Cpu)?, 0.0)?;
/// assert_eq!(loss.to_scalar::<f32>()?, std::f32::consts::LN_2);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn cross_entropy(logits: &Tensor, labels: &Tensor, smoothing: f64) -> Result<Tensor> {
    let (n, ways) = logits.dims2()?;
    if labels.dims() != [n] {
        bail!("cross-entropy: {n} rows of logits do not fit labels of shape {:?}", labels.dims());
    }
    if n == 0 {
        bail!("cross-entropy: an empty batch has no mean loss");
    }
    let hard = one_hot(labels, ways, logits.dtype())?.to_device(logits.device())?;
    cross_entropy_part(logits, &smoothed(&hard, smoothing)?, n as f64)
}

/// Targets `(n, ways)` with `smoothing` ε: each row times 1 − ε, plus ε / ways.
///
/// # Errors
/// Returns an error if `targets` does not have two dimensions.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let targets = Tensor::new(&[[1f64, 0.0]], &Device::Cpu)?;
/// assert_eq!(taper_ops::smoothed(&targets, 0.5)?.to_vec2::<f64>()?, [[0.75, 0.25]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn smoothed(targets: &Tensor, smoothing: f64) -> Result<Tensor> {
    let (_, ways) = targets.dims2()?;
    if smoothing == 0.0 { Ok(targets.clone()) } else { targets.affine(1.0 - smoothing, smoothing / ways as f64) }
}

/// Weighted mean cross-entropy of `logits (n, ways)` against `targets (n, ways)`, a scalar, in nats:
/// each row of the targets is a distribution times the row's weight. It equals PyTorch's loss with
/// probabilities or with class weights.
///
/// # Errors
/// Returns an error if the shapes differ, or if the weights do not sum to more than 0.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let logits = Tensor::new(&[[0f32, 0.0]], &Device::Cpu)?;
/// let loss = taper_ops::cross_entropy_to(&logits, &Tensor::new(&[[0.5f32, 0.5]], &Device::Cpu)?)?;
/// assert_eq!(loss.to_scalar::<f32>()?, std::f32::consts::LN_2);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn cross_entropy_to(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    cross_entropy_part(logits, targets, target_weight(targets)?)
}

/// What some rows of a batch, with logits and targets `(rows, ways)`, add to the batch's [`cross_entropy_to`], a scalar, in
/// nats: `weight` is that of all its targets, by [`target_weight`].
///
/// # Errors
/// Returns an error if the shapes differ, or if `weight` is not more than 0.
pub fn cross_entropy_part(logits: &Tensor, targets: &Tensor, weight: f64) -> Result<Tensor> {
    if logits.dims() != targets.dims() {
        bail!("cross-entropy: logits of shape {:?} do not fit targets of shape {:?}", logits.dims(), targets.dims());
    }
    if weight.is_nan() || weight <= 0.0 {
        bail!("cross-entropy: a batch without weight has no mean loss");
    }
    log_softmax(logits)?.mul(targets)?.sum_all()?.affine(-1.0 / weight, 0.0)
}

/// The sum of targets `(n, ways)`: what [`cross_entropy_to`] divides by.
///
/// # Errors
/// Returns an error if they can't be read.
pub fn target_weight(targets: &Tensor) -> Result<f64> {
    // on the CPU, because not every device has f64
    targets.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.sum_all()?.to_scalar()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{check_gradients, random};

    #[test]
    fn cross_entropy_has_right_derivatives() {
        let labels = Tensor::new(&[2u32, 0, 1], &Device::Cpu).unwrap();
        check_gradients(&[random("logits", (3, 4))], |v| cross_entropy(&v[0], &labels, 0.1));
    }

    #[test]
    fn targets_of_several_classes_and_weights_have_right_derivatives_and_the_known_value() {
        let targets = Tensor::new(&[[0.7f64, 0.3, 0.0], [0.0, 0.0, 4.0]], &Device::Cpu).unwrap();
        check_gradients(&[random("logits", (2, 3))], |v| cross_entropy_to(&v[0], &targets));
        // torch.nn.functional.cross_entropy([[1, 2, 3], [0, 0, 1]], [1, 2], weight=[1, 0.5, 4])
        let logits = Tensor::new(&[[1f64, 2.0, 3.0], [0.0, 0.0, 1.0]], &Device::Cpu).unwrap();
        let targets = Tensor::new(&[[0f64, 0.5, 0.0], [0.0, 0.0, 4.0]], &Device::Cpu).unwrap();
        let loss = cross_entropy_to(&logits, &targets).unwrap().to_scalar::<f64>().unwrap();
        assert!((loss - 0.646573742).abs() < 1e-6, "{loss}");
    }

    #[test]
    fn large_logits_do_not_overflow() {
        let logits = Tensor::new(&[[1e4f32, 0.0], [0.0, 1e4]], &Device::Cpu).unwrap();
        let labels = Tensor::new(&[0u32, 1], &Device::Cpu).unwrap();
        assert_eq!(cross_entropy(&logits, &labels, 0.0).unwrap().to_scalar::<f32>().unwrap(), 0.0);
    }

    #[test]
    fn a_label_that_no_class_has_is_an_error() {
        let labels = Tensor::new(&[3u32], &Device::Cpu).unwrap();
        assert!(one_hot(&labels, 3, DType::F32).unwrap_err().to_string().contains("label 3"));
    }
}
