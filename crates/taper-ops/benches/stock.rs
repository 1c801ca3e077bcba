//! The same work by stock candle and by this crate, alternately, and their ratio: Conv4 with 64
//! channels on 28x28, forward and backward, and the exact meta-gradient of one MAML task.
//!
//! `MIMALLOC_PURGE_DELAY=-1 cargo bench -p taper-ops --bench stock`; both use one thread, or as
//! many as `RAYON_NUM_THREADS` and `CANDLE_NUM_THREADS` say. Before any timing the gradients
//! of both are compared: if they differ, there is an error instead of a ratio.
//!
//! Stock candle is its own convolution, arithmetic, max pool and `backward`, on `(n, c, h, w)`. The
//! gradient of its max pool is corrected, see [`stock_pool`].

#![allow(missing_docs)] // a program
#![allow(clippy::expect_used, reason = "a benchmark has nobody to return an error to")]
#![allow(clippy::print_stdout, reason = "a program")]

use candle_core::{Device, Result, Tensor, Var, bail};
use std::time::{Duration, Instant};
use taper_ops::{
    Convolution, Epilogue, Gradients, Tape, Window, channels_last, conv_norm, cross_entropy, linear, normal, rng,
    second_order_probe, uniform, weighted_sum,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CHANNELS: usize = 64;
const WAYS: usize = 5;
const EPS: f64 = 1e-5;
const INNER_RATE: f64 = 0.1;
const ROUNDS: usize = 7;

/// How far apart gradients in f32 may be, relative to their length.
const TOLERANCE: f64 = 1e-3;

/// Images `(n, 1, 28, 28)` and labels.
struct Batch {
    images: Tensor,
    labels: Tensor,
}

impl Batch {
    fn new(stream: &str, size: usize) -> Result<Self> {
        let images = uniform(&mut rng(1, stream, 0), (size, 1, 28, 28), 0.0, 1.0)?;
        Ok(Self { images, labels: Tensor::from_iter((0..size).map(|image| (image % WAYS) as u32), &Device::Cpu)? })
    }
}

/// Four blocks of convolution weights, scales and shifts, and a linear layer's weights and bias.
fn parameters() -> Result<Vec<Tensor>> {
    let mut rng = rng(1, "parameters", 0);
    let mut all = Vec::new();
    for block in 0..4 {
        let inputs = if block == 0 { 1 } else { CHANNELS };
        all.push(normal(&mut rng, (CHANNELS, inputs, 3, 3), (2.0 / (9.0 * inputs as f32)).sqrt())?);
        all.push(uniform(&mut rng, CHANNELS, 0.5, 1.5)?);
        all.push(uniform(&mut rng, CHANNELS, -0.5, 0.5)?);
    }
    all.push(normal(&mut rng, (WAYS, CHANNELS), 0.1)?);
    all.push(uniform(&mut rng, WAYS, -0.1, 0.1)?);
    Ok(all)
}

/// candle 0.11's max pooling of 2x2 windows, with correct gradients. candle's own are divided by 4
/// if one value is largest, and misplaced if windows don't fill the image: so the slope is made 4
/// times as steep without changing the value, and rows and columns that no window covers are dropped.
#[allow(clippy::disallowed_methods, reason = "what stock candle costs is the question; its gradient is mended")]
fn stock_pool(x: &Tensor) -> Result<Tensor> {
    let even = x.dim(2)? / 2 * 2;
    let y = x.narrow(2, 0, even)?.narrow(3, 0, even)?.max_pool2d(2)?;
    (&y * 4.0)? - (y.detach() * 3.0)?
}

fn stock_loss(parameters: &[Tensor], batch: &Batch) -> Result<Tensor> {
    let mut x = batch.images.clone();
    for block in parameters[..12].chunks_exact(3) {
        let per_channel = |t: &Tensor| t.reshape((1, CHANNELS, 1, 1));
        let hidden = x.conv2d(&block[0], 1, 1, 1, 1)?;
        let mean = hidden.mean_keepdim((0, 2, 3))?;
        let centered = hidden.broadcast_sub(&mean)?;
        let deviation = (centered.sqr()?.mean_keepdim((0, 2, 3))? + EPS)?.sqrt()?;
        let y = centered.broadcast_div(&deviation)?.broadcast_mul(&per_channel(&block[1])?)?;
        let y = y.broadcast_add(&per_channel(&block[2])?)?.relu()?;
        x = stock_pool(&y)?;
    }
    let logits = x.flatten_from(1)?.matmul(&parameters[12].t()?)?.broadcast_add(&parameters[13])?;
    cross_entropy(&logits, &batch.labels, 0.0)
}

fn own_loss(parameters: &[Tensor], batch: &Batch) -> Result<Tensor> {
    let padded = Convolution { padding: 1, ..Convolution::default() };
    let mut x = channels_last(&batch.images)?;
    for block in parameters[..12].chunks_exact(3) {
        let epilogue = Epilogue::ReluPool(Window::tiled(2));
        x = conv_norm(&x, &block[0], padded, (&block[1], &block[2]), EPS, epilogue)?.0;
    }
    cross_entropy(&linear(&x.flatten_from(1)?, &parameters[12], &parameters[13])?, &batch.labels, 0.0)
}

/// All gradients of the loss on `batch`, or, with a `query` set, of its loss after one inner step
/// on `batch`, exactly.
fn stock_gradients(parameters: &[Tensor], batch: &Batch, query: Option<&Batch>) -> Result<Vec<Tensor>> {
    let vars = parameters.iter().map(Var::from_tensor).collect::<Result<Vec<_>>>()?;
    let tensors: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let mut gradients = stock_loss(&tensors, batch)?.backward()?;
    if let Some(query) = query {
        let step = |tensor: &Tensor| tensor - (gradients.get(tensor).expect("a gradient") * INNER_RATE)?;
        let adapted = tensors.iter().map(step).collect::<Result<Vec<_>>>()?;
        gradients = stock_loss(&adapted, query)?.backward()?;
    }
    Ok(tensors.iter().map(|tensor| gradients.get(tensor).expect("a gradient").detach()).collect())
}

fn own_gradients(parameters: &[Tensor], batch: &Batch, query: Option<&Batch>) -> Result<Vec<Tensor>> {
    let tape = Tape::default();
    let leaves = parameters.iter().map(|tensor| tape.leaf(tensor)).collect::<Result<Vec<_>>>()?;
    let of = |gradients: &Gradients, leaf: &Tensor| gradients.get(leaf).expect("a gradient").clone();
    let loss = own_loss(&leaves, batch)?;
    let gradients = match query {
        None => tape.gradients(&loss)?,
        Some(query) => {
            let first = tape.tracked_gradients(&loss)?;
            let step = |leaf: &Tensor| weighted_sum(1.0, leaf, -INNER_RATE, &of(&first, leaf));
            let adapted = leaves.iter().map(step).collect::<Result<Vec<_>>>()?;
            tape.gradients(&own_loss(&adapted, query)?)?
        }
    };
    Ok(leaves.iter().map(|leaf| of(&gradients, leaf)).collect())
}

/// The length of the difference over that of `right`, over all tensors.
fn distance(ours: &[Tensor], right: &[Tensor]) -> Result<f64> {
    let square = |t: &Tensor| t.sqr()?.sum_all()?.to_scalar::<f32>();
    let (mut apart, mut length) = (0.0, 0.0);
    for (ours, right) in ours.iter().zip(right) {
        apart += square(&(ours - right)?)?;
        length += square(right)?;
    }
    Ok(f64::from(apart / length).sqrt())
}

fn timed(work: &dyn Fn() -> Result<Vec<Tensor>>) -> Result<Duration> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed())
}

/// One line of the table: the best of several alternating rounds.
fn compare(name: &str, batch: &Batch, query: Option<&Batch>) -> Result<()> {
    let parameters = parameters()?;
    let stock = || stock_gradients(&parameters, batch, query);
    let own = || own_gradients(&parameters, batch, query);
    let distance = distance(&own()?, &stock()?)?;
    if distance.is_nan() || distance > TOLERANCE {
        bail!("{name}: gradients differ by {distance:.1e}, so the work is not the same");
    }
    let mut best = [Duration::MAX; 2];
    for _ in 0..ROUNDS {
        best = [best[0].min(timed(&stock)?), best[1].min(timed(&own)?)];
    }
    let [stock, own] = best.map(|time| time.as_secs_f64() * 1e3);
    println!("{name:34} {stock:10.1} {own:10.1} {:8.1} {distance:12.1e}", stock / own);
    Ok(())
}

fn run() -> Result<()> {
    second_order_probe()?;
    println!("best of {ROUNDS} rounds, {} threads of our own; milliseconds", taper_ops::threads());
    println!("{:34} {:>10} {:>10} {:>8} {:>12}", "Conv4-64, 28x28", "candle", "taper-ops", "ratio", "apart by");
    for images in [5, 25, 75] {
        compare(&format!("forward and backward, {images} images"), &Batch::new("support", images)?, None)?;
    }
    compare("MAML task, exact, 5 + 75 images", &Batch::new("support", 5)?, Some(&Batch::new("query", 75)?))
}

fn main() {
    for name in ["RAYON_NUM_THREADS", "CANDLE_NUM_THREADS"] {
        if std::env::var_os(name).is_none() {
            // SAFETY: no other thread runs yet.
            #[allow(unsafe_code)]
            unsafe {
                std::env::set_var(name, "1");
            }
        }
    }
    run().expect("the benchmark's shapes fit");
}
