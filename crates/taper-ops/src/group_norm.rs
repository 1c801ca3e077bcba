//! Normalization of each image independently, over groups of its channels.
//!
//! It is batch norm of transposed rows, and uses its kernels and derivatives of every order.

use crate::batch_norm::by_chunks_of;
use crate::kernels::channels::RowsPerChunk;
use crate::scale_shift;
use candle_core::{Result, Tensor, bail};

/// Rows that are summed at a time. It does not depend on the number of columns, which are images here.
const ROWS: RowsPerChunk = RowsPerChunk::Fixed(32);

/// Group normalization (Wu and He 2018) of `x (n, h, w, c)`: each image's pixels over each of
/// `groups` runs of channels, then `weight (c)` and `bias (c)`. An image has the same bits in any
/// batch.
///
/// # Errors
/// Returns an error if the channels do not split into the groups, if the shapes do not fit, or if
/// there is nothing to normalize.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[1f32, 3.0, 10.0, 30.0], &Device::Cpu)?.reshape((1, 1, 1, 4))?;
/// let ones = Tensor::new(&[1f32; 4], &Device::Cpu)?;
/// let y = taper_ops::group_norm(&x, 2, &ones, &ones.zeros_like()?, 0.0)?;
/// assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, [-1.0, 1.0, -1.0, 1.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn group_norm(x: &Tensor, groups: usize, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let (n, h, w, c) = x.dims4()?;
    if groups == 0 || c % groups != 0 {
        bail!("group norm: {c} channels do not split into {groups} groups");
    }
    let (ones, pixels) = (Tensor::ones(n * groups, x.dtype(), x.device())?, h * w);
    let columns = x.reshape((n, pixels, groups, c / groups))?.permute((1, 3, 0, 2))?.contiguous()?;
    let columns = columns.reshape((pixels * (c / groups), n * groups))?;
    let (y, _) = by_chunks_of(ROWS, &columns, &ones, &ones.zeros_like()?, eps)?;
    let y = y.reshape((pixels, c / groups, n, groups))?.permute((2, 0, 3, 1))?.contiguous()?;
    scale_shift(&y.reshape((n, h, w, c))?, weight, bias)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{check_gradients, near, random};
    use proptest::prelude::*;

    fn list(t: &Tensor) -> Vec<f64> {
        t.flatten_all().unwrap().to_vec1().unwrap()
    }

    /// The definition: each value by the mean and variance of those whose `key` it shares.
    fn by_definition(x: &Tensor, key: impl Fn(usize) -> usize, weight: &[f64], bias: &[f64], eps: f64) -> Vec<f64> {
        let x = list(x);
        let value = |at: usize| {
            let alike: Vec<f64> = (0..x.len()).filter(|&other| key(other) == key(at)).map(|other| x[other]).collect();
            let mean = alike.iter().sum::<f64>() / alike.len() as f64;
            let variance = alike.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / alike.len() as f64;
            (x[at] - mean) / (variance + eps).sqrt() * weight[at % weight.len()] + bias[at % bias.len()]
        };
        (0..x.len()).map(value).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn group_norm_is_what_its_definition_says_and_has_right_derivatives(
            n in 1usize..4, h in 1usize..4, w in 2usize..4, groups in 1usize..4, each in 1usize..4
        ) {
            let c = groups * each;
            let inputs = [random("x", (n, h, w, c)), random("weight", c), random("bias", c)];
            let key = |at: usize| at / (h * w * c) * groups + at % c / each;
            let right = by_definition(&inputs[0], key, &list(&inputs[1]), &list(&inputs[2]), 1e-3);
            near(&list(&group_norm(&inputs[0], groups, &inputs[1], &inputs[2], 1e-3).unwrap()), &right, 1e-12);
            check_gradients(&inputs, |v| group_norm(&v[0], groups, &v[1], &v[2], 1e-1)?.powf(3.0));
        }
    }

    #[test]
    fn an_image_has_the_same_bits_in_any_batch_both_ways() {
        let narrow = |t: Tensor| t.to_dtype(candle_core::DType::F32).unwrap();
        let (n, c) = (9, 24);
        let x = narrow(random("x", (n, 13, 13, c)));
        let (weight, bias) = (narrow(random("weight", c)), narrow(random("bias", c)));
        let bits = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for groups in [1, 8] {
            let run = |x: &Tensor| {
                let x = candle_core::Var::from_tensor(x).unwrap();
                let y = group_norm(&x, groups, &weight, &bias, 1e-5).unwrap();
                let gradient = y.powf(2.0).unwrap().sum_all().unwrap().backward().unwrap().get(&x).unwrap().clone();
                (y, gradient)
            };
            let (y, gradient) = run(&x);
            for image in 0..n {
                let alone = run(&x.narrow(0, image, 1).unwrap());
                assert!(bits(&alone.0) == bits(&y.narrow(0, image, 1).unwrap()));
                assert!(bits(&alone.1) == bits(&gradient.narrow(0, image, 1).unwrap()));
            }
        }
    }

    #[test]
    fn channels_that_do_not_split_are_an_error_that_names_them() {
        let (x, row) = (random("x", (1, 2, 2, 5)), random("row", 5));
        let error = group_norm(&x, 2, &row, &row, 1e-5).unwrap_err().to_string();
        assert!(error.contains("5 channels") && error.contains("2 groups"), "{error}");
    }
}
