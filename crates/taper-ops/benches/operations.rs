//! Speed of the operations: convolutions in GFLOP/s, counted as direct ones (criterion prints
//! them as Gelem/s), the rest and a whole Conv4 as times.
//!
//! `MIMALLOC_PURGE_DELAY=-1 cargo bench -p taper-ops`: the allocator keeps its pages, as the
//! program's does.

#![allow(missing_docs)] // criterion's macros write none
#![allow(clippy::expect_used, reason = "a benchmark has nobody to return an error to")]

use candle_core::{Device, Result, Tensor, Var};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::time::Duration;
use taper_ops::{
    Convolution, Follow, Window, batch_norm, batch_statistics, conv_norm, conv2d, cross_entropy, linear, max_pool2d,
    on_one_thread, relu, rng, uniform,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PADDED: Convolution = Convolution { stride: 1, padding: 1, groups: 1 };

fn random(shape: &[usize]) -> Tensor {
    uniform(&mut rng(1, "bench", 0), shape, -1.0, 1.0).expect("a shape of floats")
}

fn variable(shape: &[usize], scale: f64) -> Var {
    Var::from_tensor(&(random(shape) * scale).expect("floats")).expect("floats")
}

/// `images`x`channels`x`side`x`side` through as many channels, 3x3.
fn convolutions(bench: &mut Criterion) {
    for (images, channels, side) in [(32, 64, 14), (5, 64, 14), (16, 64, 56), (16, 512, 7)] {
        let mut group = bench.benchmark_group(format!("convolution {images}x{channels}x{side}x{side}"));
        group.throughput(Throughput::Elements((2 * images * side * side * channels * channels * 9) as u64));
        let (x, weight) = (variable(&[images, side, side, channels], 1.0), variable(&[channels, channels, 3, 3], 0.05));
        let (fixed_x, fixed_weight) = (x.as_detached_tensor(), weight.as_detached_tensor());
        group.bench_function("forward", |b| b.iter(|| conv2d(&fixed_x, &fixed_weight, PADDED).expect("fits")));
        let backward = |b: &mut criterion::Bencher, x: &Tensor, weight: &Tensor| {
            b.iter_batched(
                || conv2d(x, weight, PADDED).expect("fits"),
                |y| y.backward().expect("differentiable"),
                BatchSize::PerIteration,
            );
        };
        group.bench_function("input gradient", |b| backward(b, &x, &fixed_weight));
        group.bench_function("weight gradient", |b| backward(b, &fixed_x, &weight));
    }
}

/// The 64 channels of Conv4 on one thread, 5-way, 28x28.
struct Network {
    blocks: Vec<[Var; 3]>,
    head: [Var; 2],
}

impl Network {
    fn new() -> Self {
        let blocks = (0..4)
            .map(|block| {
                let weight = variable(&[64, if block == 0 { 1 } else { 64 }, 3, 3], 0.06);
                [weight, variable(&[64], 1.0), variable(&[64], 1.0)]
            })
            .collect();
        Self { blocks, head: [variable(&[5, 64], 0.1), variable(&[5], 1.0)] }
    }

    fn loss(&self, x: &Tensor, labels: &Tensor) -> Result<Tensor> {
        let mut x = x.clone();
        for [weight, scale, shift] in &self.blocks {
            x = conv_norm(&x, weight, PADDED, (scale, shift), 1e-5, Follow::ReluPool(Window::tiled(2)))?.0;
        }
        cross_entropy(&linear(&x.flatten_from(1)?, &self.head[0], &self.head[1])?, labels, 0.0)
    }
}

fn conv4(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("conv4 forward and backward, one thread");
    let network = Network::new();
    for images in [5u32, 25, 75] {
        let x = random(&[images as usize, 28, 28, 1]);
        let labels = Tensor::from_iter((0..images).map(|image| image % 5), &Device::Cpu).expect("labels");
        group.bench_function(format!("{images} images"), |b| {
            b.iter(|| on_one_thread(|| network.loss(&x, &labels).and_then(|loss| loss.backward()).expect("fits")));
        });
    }
}

fn layers(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("5x64x28x28, one thread");
    let x = variable(&[5, 28, 28, 64], 1.0);
    let (scale, shift) = (variable(&[64], 1.0), variable(&[64], 1.0));
    let mut layer = |name: &str, f: &dyn Fn(&Tensor) -> Result<Tensor>| {
        group.bench_function(format!("{name} forward"), |b| {
            b.iter(|| on_one_thread(|| black_box(f(&x).expect("fits"))));
        });
        group.bench_function(format!("{name} backward"), |b| {
            b.iter_batched(
                || f(&x).expect("fits"),
                |y| on_one_thread(|| y.backward().expect("differentiable")),
                BatchSize::PerIteration,
            );
        });
    };
    layer("batch norm", &|x| batch_norm(x, &batch_statistics(x)?, &scale, &shift, 1e-5));
    layer("relu", &relu);
    layer("max pool", &|x| max_pool2d(x, Window::tiled(2)));
    group.finish();
    let mut small = bench.benchmark_group("5 rows, one thread");
    let (features, weight, bias) = (random(&[5, 64]), variable(&[5, 64], 0.1), variable(&[5], 1.0));
    let labels = Tensor::from_iter(0u32..5, &Device::Cpu).expect("labels");
    let few = variable(&[8], 1.0);
    small.bench_function("an operation of ours on 8 numbers, both ways", |b| {
        b.iter(|| on_one_thread(|| black_box(relu(&few).and_then(|y| y.backward()).expect("differentiable"))));
    });
    let loss = || cross_entropy(&linear(&features, &weight, &bias)?, &labels, 0.0)?.backward();
    small.bench_function("linear and cross-entropy, both ways", |b| {
        b.iter(|| on_one_thread(|| black_box(loss().expect("fits"))));
    });
}

criterion_group! {
    name = operations;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1)).sample_size(20);
    targets = convolutions, layers, conv4
}
criterion_main!(operations);
