//! Scaled dot-product attention of several heads (Vaswani et al. 2017, section 3.2).

use crate::composed;
use crate::element::{elements, float, stored, values};
use crate::kernels::attention::Heads;
use crate::kernels::simd::InstructionSet;
use crate::tape::Apply;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, DType, Layout, Result, Shape, Tensor, bail};

/// Attention of queries `q (n, …, d)` to `kv (n, …, 2 d)`, the keys of all heads and then their values, each at any
/// places: for each of `heads` runs of d / heads columns, softmax(q kᵀ / √(d / heads)) v, in the shape of `q`. A query's bits do not depend on the
/// others, nor on the other images. The scores of all queries never exist together (Rabe and Staats 2021).
///
/// First derivatives only, in f32.
///
/// # Errors
/// Returns an error if the shapes do not fit, if there are no keys, or if the type is neither f32 nor f64.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// let q = Tensor::zeros((1, 1, 2), DType::F32, &Device::Cpu)?;
/// let kv = Tensor::new(&[[[1f32, 1.0, 4.0, 6.0], [1.0, 1.0, 8.0, 0.0]]], &Device::Cpu)?;
/// // equal scores: the mean of the values
/// assert_eq!(taper_ops::attention(&q, &kv, 2)?.flatten_all()?.to_vec1::<f32>()?, [6.0, 3.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn attention(q: &Tensor, kv: &Tensor, heads: usize) -> Result<Tensor> {
    float(q.dtype(), NAME)?;
    let sizes = sizes(q.dims(), kv.dims(), heads)?;
    // f64 is the tests' reference
    if composed::needed(q) || q.dtype() == DType::F64 {
        let (d, shape) = (sizes.heads * sizes.width, q.shape());
        let (q, kv) = (q.reshape((sizes.images, sizes.queries, d))?, kv.reshape((sizes.images, sizes.keys, 2 * d))?);
        return composed::attention(&q, &kv, heads)?.reshape(shape);
    }
    q.contiguous()?.apply2(&kv.contiguous()?, Attention(sizes))
}

const NAME: &str = "attention";

fn sizes(q: &[usize], kv: &[usize], heads: usize) -> Result<Heads> {
    let (&[n, ref places @ .., d], &[images, ref key_places @ .., both]) = (q, kv) else {
        bail!("{NAME}: takes queries (n, …, d) and keys with values (n, …, 2 d), not {q:?} and {kv:?}");
    };
    let (m, t) = (elements(NAME, places)?, elements(NAME, key_places)?);
    if images != n || Some(both) != d.checked_mul(2) || heads == 0 || d == 0 || d % heads != 0 || t == 0 {
        bail!("{NAME}: queries {q:?} do not fit keys with values {kv:?} in {heads} heads");
    }
    elements(NAME, &[m.min(64), t, d])?;
    elements(NAME, q)?;
    Ok(Heads { images: n, queries: m, keys: t, heads, width: d / heads })
}

struct Attention(Heads);

impl CustomOp2 for Attention {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(&self, q: &CpuStorage, lq: &Layout, kv: &CpuStorage, lkv: &Layout) -> Result<(CpuStorage, Shape)> {
        let Self(sizes) = self;
        let (q, kv) = (values::<f32>(q, lq, NAME)?, values::<f32>(kv, lkv, NAME)?);
        Ok(stored::<f32>(sizes.forward(InstructionSet::best(), q, kv), lq.shape().clone()))
    }

    fn bwd(
        &self,
        q: &Tensor,
        kv: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let both = q.contiguous()?.apply3(&kv.contiguous()?, &gradient.contiguous()?, Slopes(self.0))?;
        let of_q = both.narrow(0, 0, q.elem_count())?.reshape(q.shape())?;
        let of_kv = both.narrow(0, q.elem_count(), kv.elem_count())?.reshape(kv.shape())?;
        Ok((Some(of_q), Some(of_kv)))
    }
}

/// The gradients with respect to the queries and to keys and values, one after the other.
struct Slopes(Heads);

impl CustomOp3 for Slopes {
    fn name(&self) -> &'static str {
        "attention-gradients"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        lq: &Layout,
        kv: &CpuStorage,
        lkv: &Layout,
        g: &CpuStorage,
        lg: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let Self(sizes) = self;
        if lq.dims() != lg.dims() {
            bail!("{}: {:?} does not fit {:?}", self.name(), lq.dims(), lg.dims());
        }
        let (q, kv, g) = (values::<f32>(q, lq, NAME)?, values::<f32>(kv, lkv, NAME)?, values::<f32>(g, lg, NAME)?);
        let both = sizes.backward(InstructionSet::best(), q, kv, g);
        let count = both.len();
        Ok(stored::<f32>(both, count))
    }

    fn bwd(
        &self,
        _q: &Tensor,
        _kv: &Tensor,
        _g: &Tensor,
        _result: &Tensor,
        _gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        bail!("{NAME} in f32 has first derivatives only: use a first-order method")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::in_pool;
    use crate::test_support::{check_gradients, near, random, surrounded};
    use candle_core::Var;
    use proptest::prelude::*;

    fn list(t: &Tensor) -> Vec<f64> {
        t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    fn narrow(t: &Tensor) -> Tensor {
        t.to_dtype(DType::F32).unwrap()
    }

    /// Attention by its definition, number by number.
    fn by_definition(q: &[f64], kv: &[f64], s: Heads) -> Vec<f64> {
        let d = s.heads * s.width;
        let mut y = vec![0.0; q.len()];
        for (image, query, head) in
            (0..s.images).flat_map(|i| (0..s.queries).flat_map(move |m| (0..s.heads).map(move |h| (i, m, h))))
        {
            let at = (image * s.queries + query) * d + head * s.width;
            let key = |t: usize| (image * s.keys + t) * 2 * d + head * s.width;
            let score = |t: usize| {
                let sum: f64 = (0..s.width).map(|k| q[at + k] * kv[key(t) + k]).sum();
                (sum / (s.width as f64).sqrt()).exp()
            };
            let total: f64 = (0..s.keys).map(score).sum();
            for k in 0..s.width {
                y[at + k] = (0..s.keys).map(|t| score(t) / total * kv[key(t) + d + k]).sum();
            }
        }
        y
    }

    /// Values, and gradients of a weighted sum.
    fn both_ways(q: &Tensor, kv: &Tensor, heads: usize) -> [Vec<f64>; 3] {
        let (q, kv) = (Var::from_tensor(q).unwrap(), Var::from_tensor(kv).unwrap());
        let y = attention(&q, &kv, heads).unwrap();
        let weights = random("weights", y.shape().clone()).to_dtype(y.dtype()).unwrap();
        let slopes = y.mul(&weights).unwrap().sum_all().unwrap().backward().unwrap();
        [&y, slopes.get(&q).unwrap(), slopes.get(&kv).unwrap()].map(list)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 40 }))]
        #[test]
        fn values_and_gradients_equal_the_definition_in_f64(
            (n, m, t) in (1usize..4, 1usize..60, 1usize..70), (heads, width) in (1usize..4, 1usize..20)
        ) {
            let d = heads * width;
            let (q, kv) = ((random("q", (n, m, d)) * 3.0).unwrap(), random("kv", (n, t, 2 * d)));
            let wide = both_ways(&q, &kv, heads);
            let s = Heads { images: n, queries: m, keys: t, heads, width };
            let places = |x: &Tensor| narrow(x).unsqueeze(2).unwrap();
            let places = attention(&places(&q), &places(&kv), heads).unwrap();
            prop_assert_eq!(places.dims(), [n, m, 1, d]);
            prop_assert!(list(&places) == list(&attention(&narrow(&q), &narrow(&kv), heads).unwrap()));
            near(&wide[0], &by_definition(&list(&q), &list(&kv), s), 1e-12);
            // values and weights are within (-1, 1): the sums of the magnitudes of terms are of the order of 1 to m
            let ours = both_ways(&narrow(&q), &narrow(&kv), heads);
            let around = both_ways(&surrounded(&narrow(&q)), &surrounded(&narrow(&kv)), heads);
            for (part, (ours, right)) in ours.iter().zip(&wide).enumerate() {
                let scale = if part == 2 { 1.0 + (m as f64) } else { 1.0 + width as f64 };
                for (ours, right) in ours.iter().zip(right) {
                    prop_assert!((ours - right).abs() <= 1e-5 * scale, "part {}: {} for {}", part, ours, right);
                }
            }
            prop_assert!(ours == around);
        }
    }

    #[test]
    fn the_reference_has_right_derivatives() {
        check_gradients(&[random("q", (2, 3, 6)), random("kv", (2, 5, 12))], |v| attention(&v[0], &v[1], 2)?.powf(2.0));
    }

    #[test]
    fn every_instruction_set_agrees_with_the_definition_in_f64() {
        for (m, t, heads, width) in [(1, 1, 1, 1), (50, 50, 2, 64), (97, 33, 1, 20)] {
            let s = Heads { images: 2, queries: m, keys: t, heads, width };
            let d = heads * width;
            let (q, kv, g) = (random("q", (2, m, d)), random("kv", (2, t, 2 * d)), random("weights", (2, m, d)));
            let wide = both_ways(&q, &kv, heads);
            let floats = |t: &Tensor| narrow(t).flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let (q, kv, g) = (floats(&q), floats(&kv), floats(&g));
            for set in InstructionSet::here() {
                near(&s.forward(set, &q, &kv), &wide[0], 1e-5);
                let slopes = s.backward(set, &q, &kv, &g);
                near(&slopes[q.len()..], &wide[2], 1e-5);
                let largest = wide[1].iter().fold(1.0, |most: f64, v| most.max(v.abs()));
                for (ours, right) in slopes.iter().zip(&wide[1]) {
                    assert!((f64::from(*ours) - right).abs() <= 1e-5 * largest, "{set:?}: {ours} for {right}");
                }
            }
        }
    }

    #[test]
    fn an_image_has_the_same_bits_in_any_batch_and_on_any_number_of_threads() {
        let (q, kv) = (narrow(&random("q", (5, 70, 24))), narrow(&random("kv", (5, 65, 48))));
        let alone = in_pool(1, || both_ways(&q, &kv, 3)).unwrap();
        for threads in [2, 3, 8] {
            assert!(in_pool(threads, || both_ways(&q, &kv, 3)).unwrap() == alone, "{threads} threads");
            for image in [0, 4] {
                let part = |t: &Tensor| t.narrow(0, image, 1).unwrap();
                let y = in_pool(threads, || attention(&part(&q), &part(&kv), 3)).unwrap().unwrap();
                assert!(list(&y) == alone[0][image * 70 * 24..][..70 * 24], "image {image}, {threads} threads");
            }
        }
    }

    #[test]
    fn large_scores_do_not_overflow_and_nan_stays() {
        let q = Tensor::full(1e4f32, (1, 2, 4), &candle_core::Device::Cpu).unwrap();
        let kv = Tensor::cat(&[&q, &q], 2).unwrap();
        assert!(list(&attention(&q, &kv, 1).unwrap()).iter().all(|&value| value == 1e4));
        let nan = (&kv * f64::NAN).unwrap();
        assert!(list(&attention(&q, &nan, 1).unwrap()).iter().all(|value| value.is_nan()));
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors_that_name_them() {
        let fails = |q: &[usize], kv: &[usize], heads| {
            let (q, kv) = (narrow(&random("q", q)), narrow(&random("kv", kv)));
            attention(&q, &kv, heads).unwrap_err().to_string()
        };
        assert!(fails(&[1, 2, 6], &[1, 3, 6], 2).contains("[1, 3, 6]"));
        assert!(fails(&[1, 2, 6], &[1, 3, 12], 4).contains("4 heads"));
        assert!(fails(&[2, 2, 6], &[1, 3, 12], 2).contains("[2, 2, 6]"));
        assert!(fails(&[1, 2, 6], &[1, 0, 12], 2).contains("[1, 0, 12]"));
        assert!(fails(&[6], &[1, 3, 12], 2).contains("(n, …, d)"));
    }

    #[test]
    fn second_derivatives_in_f32_are_refused() {
        let (q, kv) = (narrow(&random("q", (1, 2, 4))), narrow(&random("kv", (1, 3, 8))));
        let q = Var::from_tensor(&q).unwrap();
        let slope = attention(&q, &kv, 1).unwrap().sqr().unwrap().sum_all().unwrap().backward().unwrap();
        let error = slope.get(&q).unwrap().sqr().unwrap().sum_all().unwrap().backward().unwrap_err().to_string();
        assert!(error.contains("first derivatives only"), "{error}");
    }
}
