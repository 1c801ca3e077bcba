//! Speed of the operations: convolutions in GFLOP/s, counted as direct ones (criterion prints
//! them as Gelem/s), other operations and a whole Conv4 as times.
//!
//! `MIMALLOC_PURGE_DELAY=-1 cargo bench -p taper-ops`: the allocator keeps its pages, as the
//! program's does.

#![allow(missing_docs)] // criterion's macros write none
#![allow(clippy::expect_used, reason = "a benchmark has nobody to return an error to")]

use candle_core::{Device, Result, Tensor};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::time::Duration;
use taper_ops::{
    Convolution, Epilogue, Gradients, Tape, Window, batch_norm, batch_statistics, conv_norm, conv2d, cross_entropy,
    linear, max_pool2d, on_one_thread, relu, rng, uniform,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PADDED: Convolution = Convolution { stride: 1, padding: 1, groups: 1 };

fn random(shape: &[usize]) -> Tensor {
    uniform(&mut rng(1, "bench", 0), shape, -1.0, 1.0).expect("a shape of floats")
}

fn scaled(shape: &[usize], scale: f64) -> Tensor {
    (random(shape) * scale).expect("floats")
}

/// A function of leaves, and the tape that differentiates it.
struct Taped {
    tape: Tape,
    y: Tensor,
}

impl Taped {
    fn new(leaves: &[&Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) -> Result<Self> {
        let tape = Tape::default();
        let leaves = leaves.iter().map(|leaf| tape.leaf(leaf)).collect::<Result<Vec<_>>>()?;
        Ok(Self { y: f(&leaves)?, tape })
    }

    /// The backward pass from ones.
    fn back(self) -> Result<Gradients> {
        self.tape.vector_products(&[(self.y.clone(), self.y.ones_like()?)])
    }
}

/// `images`x`channels`x`side`x`side` to equally many channels, 3x3.
fn convolutions(bench: &mut Criterion) {
    for (images, channels, side) in [(32, 64, 14), (5, 64, 14), (16, 64, 56), (16, 512, 7)] {
        let mut group = bench.benchmark_group(format!("convolution {images}x{channels}x{side}x{side}"));
        group.throughput(Throughput::Elements((2 * images * side * side * channels * channels * 9) as u64));
        let (x, weight) = (random(&[images, side, side, channels]), scaled(&[channels, channels, 3, 3], 0.05));
        group.bench_function("forward", |b| b.iter(|| conv2d(&x, &weight, PADDED).expect("fits")));
        let backward = |b: &mut criterion::Bencher, leaf: &Tensor, f: &dyn Fn(&Tensor) -> Result<Tensor>| {
            let forward = || Taped::new(&[leaf], |leaves| f(&leaves[0])).expect("fits");
            b.iter_batched(forward, |taped| taped.back().expect("differentiable"), BatchSize::PerIteration);
        };
        group.bench_function("input gradient", |b| backward(b, &x, &|x| conv2d(x, &weight, PADDED)));
        group.bench_function("weight gradient", |b| backward(b, &weight, &|weight| conv2d(&x, weight, PADDED)));
    }
}

/// The 64 channels of Conv4 on one thread, 5-way, 28x28.
struct Network(Vec<Tensor>);

impl Network {
    fn new() -> Self {
        let blocks = (0..4).flat_map(|block| {
            let weight = scaled(&[64, if block == 0 { 1 } else { 64 }, 3, 3], 0.06);
            [weight, random(&[64]), random(&[64])]
        });
        Self(blocks.chain([scaled(&[5, 64], 0.1), random(&[5])]).collect())
    }

    fn gradients(&self, x: &Tensor, labels: &Tensor) -> Result<Gradients> {
        let leaves: Vec<&Tensor> = self.0.iter().collect();
        let loss = |leaves: &[Tensor]| {
            let mut x = x.clone();
            for block in leaves[..12].chunks_exact(3) {
                let norm = (&block[1], &block[2]);
                x = conv_norm(&x, &block[0], PADDED, norm, 1e-5, Epilogue::ReluPool(Window::tiled(2)))?.0;
            }
            cross_entropy(&linear(&x.flatten_from(1)?, &leaves[12], &leaves[13])?, labels, 0.0)
        };
        Taped::new(&leaves, loss)?.back()
    }
}

fn conv4(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("conv4 forward and backward, one thread");
    let network = Network::new();
    for images in [5u32, 25, 75] {
        let x = random(&[images as usize, 28, 28, 1]);
        let labels = Tensor::from_iter((0..images).map(|image| image % 5), &Device::Cpu).expect("labels");
        group.bench_function(format!("{images} images"), |b| {
            b.iter(|| on_one_thread(|| network.gradients(&x, &labels).expect("fits")));
        });
    }
}

fn layers(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("5x64x28x28, one thread");
    let x = random(&[5, 28, 28, 64]);
    let (scale, shift) = (random(&[64]), random(&[64]));
    let mut layer = |name: &str, f: &dyn Fn(&Tensor) -> Result<Tensor>| {
        group.bench_function(format!("{name} forward"), |b| {
            b.iter(|| on_one_thread(|| black_box(f(&x).expect("fits"))));
        });
        group.bench_function(format!("{name} backward"), |b| {
            b.iter_batched(
                || Taped::new(&[&x], |leaves| f(&leaves[0])).expect("fits"),
                |taped| on_one_thread(|| taped.back().expect("differentiable")),
                BatchSize::PerIteration,
            );
        });
    };
    layer("batch norm", &|x| batch_norm(x, &batch_statistics(x)?, &scale, &shift, 1e-5));
    layer("relu", &relu);
    layer("max pool", &|x| max_pool2d(x, Window::tiled(2)));
    group.finish();
    let mut small = bench.benchmark_group("5 rows, one thread");
    let (features, weight, bias) = (random(&[5, 64]), scaled(&[5, 64], 0.1), random(&[5]));
    let labels = Tensor::from_iter(0u32..5, &Device::Cpu).expect("labels");
    let few = random(&[8]);
    small.bench_function("an operation of ours on 8 numbers, both ways", |b| {
        let both = || Taped::new(&[&few], |leaves| relu(&leaves[0]))?.back();
        b.iter(|| on_one_thread(|| black_box(both().expect("differentiable"))));
    });
    let loss = |leaves: &[Tensor]| cross_entropy(&linear(&features, &leaves[0], &leaves[1])?, &labels, 0.0);
    small.bench_function("linear and cross-entropy, both ways", |b| {
        b.iter(|| {
            on_one_thread(|| black_box(Taped::new(&[&weight, &bias], loss).and_then(Taped::back).expect("fits")))
        });
    });
}

criterion_group! {
    name = operations;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1)).sample_size(20);
    targets = convolutions, layers, conv4
}
criterion_main!(operations);
