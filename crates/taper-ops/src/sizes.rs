//! Every operation at sizes 0, 1, odd and absurdly large, with strides beyond kernels, and any number of threads.

use crate::test_support::random;
use crate::*;
use candle_core::{DType, Result, Tensor, Var};
use proptest::prelude::*;

/// Bits of the values and of the gradients with respect to all inputs, on some number of threads.
fn bits(threads: usize, inputs: &[Tensor], f: &(dyn Fn(&[Tensor]) -> Result<Tensor> + Sync)) -> Option<Vec<Vec<u32>>> {
    in_pool(threads, || {
        let vars: Vec<Var> = inputs.iter().map(|x| Var::from_tensor(x).unwrap()).collect();
        let tensors: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
        let list = |t: &Tensor| -> Vec<u32> {
            t.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
        };
        let y = f(&tensors).ok()?;
        let mut all = vec![list(&y)];
        if y.elem_count() > 0 {
            let gradients = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
            all.extend(vars.iter().map(|var| gradients.get(var).map_or_else(Vec::new, &list)));
        }
        Some(all)
    })
    .unwrap()
}

/// The same bits, or an error, on 1, 2, 3 and 8 threads.
fn same(inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor> + Sync) {
    let inputs: Vec<Tensor> = inputs.iter().map(|x| x.to_dtype(DType::F32).unwrap()).collect();
    let alone = bits(1, &inputs, &f);
    for threads in [2, 3, 8] {
        assert_eq!(bits(threads, &inputs, &f), alone, "{threads} threads");
    }
}

/// 0, 1, small odd numbers, and sometimes a larger one.
fn size() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0usize), Just(1), Just(3), 2usize..12, Just(33)]
}

fn absurd() -> impl Strategy<Value = usize> {
    prop_oneof![0usize..4, Just(1 << 20), Just(1 << 40), Just(usize::MAX / 2), Just(usize::MAX)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn convolutions(
        (n, h, w) in (0usize..4, size(), size()), (i, o, groups) in (0usize..20, 0usize..20, 1usize..3),
        (kh, kw) in (0usize..4, 0usize..4), (stride, padding) in (0usize..6, 0usize..3)
    ) {
        let how = Convolution { stride, padding, groups };
        let inputs = [random("x", (n, h, w, i * groups)), random("w", (o * groups, i, kh, kw))];
        same(&inputs, |v| conv2d(&v[0], &v[1], how));
    }

    #[test]
    fn layers((n, side, c, o) in (0usize..4, 0usize..9, 0usize..5, 0usize..20), (kernel, stride) in (1usize..3, 1usize..4)) {
        let inputs = [random("x", (n, side, side, c)), random("w", (o, c, 3, 3)), random("s", o), random("b", o)];
        let how = Convolution { padding: 1, ..Convolution::default() };
        let epilogue = Epilogue::ReluPool(Window { kernel, stride, padding: 0 });
        same(&inputs, |v| Ok(conv_norm(&v[0], &v[1], how, (&v[2], &v[3]), 1e-3, epilogue)?.0));
    }

    #[test]
    fn pools((n, h, w, c) in (0usize..4, size(), size(), size()), (kernel, stride) in (0usize..5, 0usize..7), padding in 0usize..3) {
        let x = [random("x", (n, h, w, c))];
        let window = Window { kernel, stride, padding };
        same(&x, |v| max_pool2d(&v[0], window));
        same(&x, |v| avg_pool2d(&v[0], window));
        same(&x, |v| global_avg_pool(&v[0]));
    }

    #[test]
    fn norms((n, h, c, groups) in (0usize..4, size(), size(), 0usize..4)) {
        let inputs = [random("x", (n, h, h, c)), random("w", c), random("b", c)];
        same(&inputs, |v| Ok(batch_norm_by_batch(&v[0], &v[1], &v[2], 1e-3)?.0));
        same(&inputs, |v| batch_norm(&v[0], &batch_statistics(&v[0])?, &v[1], &v[2], 1e-3));
        same(&inputs, |v| group_norm(&v[0], groups, &v[1], &v[2], 1e-3));
        same(&inputs, |v| layer_norm(&v[0], &v[1], &v[2], 1e-3));
        same(&inputs, |v| scale_shift(&v[0], &v[1], &v[2]));
    }

    #[test]
    fn matrices((m, k, n) in (size(), size(), size())) {
        same(&[random("a", (m, k)), random("b", (k, n))], |v| matmul(&v[0], &v[1]));
        same(&[random("a", (m, k)), random("w", (n, k)), random("b", n)], |v| linear(&v[0], &v[1], &v[2]));
        let logits = [random("l", (m, n))];
        same(&logits, |v| log_softmax(&v[0]));
        let labels = Tensor::zeros(m, DType::U32, &candle_core::Device::Cpu).unwrap();
        same(&logits, |v| cross_entropy(&v[0], &labels, 0.1));
        same(&[random("a", (k, k))], |v| inverse(&(matmul_nt(&v[0], &v[0])? + Tensor::eye(k, DType::F32, v[0].device())?)?));
    }

    #[test]
    fn transformers((n, m, t) in (0usize..3, size(), size()), (heads, width) in (0usize..4, 0usize..9)) {
        let d = heads * width;
        same(&[random("q", (n, m, d)), random("kv", (n, t, 2 * d))], |v| attention(&v[0], &v[1], heads));
        same(&[random("x", (n, t, d)), random("w", d), random("b", d)], |v| layer_norm(&v[0], &v[1], &v[2], 1e-3));
        let weights = [random("x", (n * m, d)), random("w", (t, d))];
        same(&weights, |v| FrozenLinear::new(&v[1], None, None)?.forward_gelu(&v[0], Gelu::Exact));
    }

    #[test]
    fn matches((m, n, d, side, reach) in (0usize..4, 0usize..4, size(), 0usize..4, 0usize..3)) {
        let span = 2 * reach + 1;
        let inputs = [random("a", (m, side * side, d)), random("b", (n, side * side, d)), random("w", span * span)];
        same(&inputs, |v| window_match(&v[0], &v[1], &v[2], side));
    }

    #[test]
    fn elementwise(n in prop_oneof![size(), Just(70_001)]) {
        let inputs = [random("x", n), random("y", n)];
        for f in [relu, relu6, sigmoid, swish, softplus] {
            same(&inputs[..1], |v| f(&v[0]));
        }
        for form in [Gelu::Exact, Gelu::Quick] {
            same(&inputs[..1], |v| gelu(&v[0], form));
        }
        same(&inputs[..1], |v| leaky_relu(&v[0], 0.2));
        same(&inputs, |v| add_relu(&v[0], &v[1]));
        same(&inputs, |v| weighted_sum(0.5, &v[0], 2.0, &v[1]));
        same(&inputs, |v| dot(&v[0], &v[1]));
    }

    #[test]
    fn absurd_sizes_are_errors_or_results_and_never_panics(stride in absurd(), padding in absurd(), kernel in absurd(), groups in absurd()) {
        let (x, weight) = (random("x", (1, 2, 3, 4)), random("w", (4, 4, 1, 1)));
        let _ = conv2d(&x, &weight, Convolution { stride, padding, groups });
        let _ = Convolution { stride, padding, groups }.output(3, kernel);
        let _ = max_pool2d(&x, Window { kernel, stride, padding });
        let _ = avg_pool2d(&x, Window { kernel, stride, padding });
        let _ = group_norm(&x, groups, &random("w", 4), &random("b", 4), 1e-5);
    }
}
