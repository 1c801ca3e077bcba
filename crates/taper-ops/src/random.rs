//! Random numbers, from generators that are functions of (seed, stream, index).
//!
//! Step 700 draws the same numbers whether or not steps 0 to 699 ran in this process, on any number
//! of threads.

use candle_core::{Device, Result, Shape, Tensor};
use rand::{Rng as _, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

/// The random number generator of Taper.
pub type Rng = ChaCha8Rng;

/// A generator for one purpose (`stream`, such as `"episode"`) and one occasion (`index`, such as
/// the step). Different streams and indices are independent.
///
/// ```
/// use taper_ops::{permutation, rng};
/// assert_eq!(permutation(&mut rng(1, "episode", 700), 9), permutation(&mut rng(1, "episode", 700), 9));
/// ```
pub fn rng(seed: u64, stream: &str, index: u64) -> Rng {
    let mut key = [0u8; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&fnv1a(stream).to_le_bytes());
    key[16..24].copy_from_slice(&(stream.len() as u64).to_le_bytes());
    key[24..].copy_from_slice(&index.to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

/// FNV-1a, 64 bits: stable across builds and machines, unlike `std`'s hashers.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A tensor of independent uniform values in `low..high`, f32 on the CPU.
///
/// # Errors
/// Returns an error if candle cannot make a tensor of that shape.
///
/// ```
/// let x = taper_ops::uniform(&mut taper_ops::rng(0, "noise", 0), (2, 3), -1.0, 1.0)?;
/// assert!(x.flatten_all()?.to_vec1::<f32>()?.iter().all(|value| (-1.0..1.0).contains(value)));
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn uniform(rng: &mut Rng, shape: impl Into<Shape>, low: f32, high: f32) -> Result<Tensor> {
    let shape = shape.into();
    let values: Vec<f32> = (0..shape.elem_count()).map(|_| low + (high - low) * rng.random::<f32>()).collect();
    Tensor::from_vec(values, shape, &Device::Cpu)
}

/// A tensor of independent normal values (mean 0, the given standard deviation), f32 on the CPU;
/// Box and Muller's transform in f64.
///
/// # Errors
/// Returns an error if candle cannot make a tensor of that shape.
///
/// ```
/// let x = taper_ops::normal(&mut taper_ops::rng(0, "noise", 0), (2, 3), 0.1)?;
/// assert_eq!(x.dims(), [2, 3]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn normal(rng: &mut Rng, shape: impl Into<Shape>, deviation: f32) -> Result<Tensor> {
    let shape = shape.into();
    let mut values = Vec::with_capacity(shape.elem_count() + 1);
    while values.len() < shape.elem_count() {
        let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
        let angle = std::f64::consts::TAU * rng.random::<f64>();
        values.push((radius * angle.cos()) as f32 * deviation);
        values.push((radius * angle.sin()) as f32 * deviation);
    }
    values.truncate(shape.elem_count());
    Tensor::from_vec(values, shape, &Device::Cpu)
}

/// A random order of `0..n`.
///
/// ```
/// let mut order = taper_ops::permutation(&mut taper_ops::rng(0, "order", 0), 4);
/// order.sort();
/// assert_eq!(order, [0, 1, 2, 3]);
/// ```
pub fn permutation(rng: &mut Rng, n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    order.shuffle(rng);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_depend_on_seed_stream_and_index_only() {
        let draw = |seed, stream, index| rng(seed, stream, index).random::<u64>();
        assert_eq!(draw(1, "episode", 700), draw(1, "episode", 700));
        let others = [draw(2, "episode", 700), draw(1, "episodes", 700), draw(1, "episode", 701)];
        assert!(others.iter().all(|&other| other != draw(1, "episode", 700)));
    }

    #[test]
    fn normal_values_have_the_asked_deviation() {
        let values = normal(&mut rng(0, "test", 0), 20_000, 2.0).unwrap().to_vec1::<f32>().unwrap();
        let mean = values.iter().sum::<f32>() / 20_000.0;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / 20_000.0;
        assert!(mean.abs() < 0.05 && (variance - 4.0).abs() < 0.15, "mean {mean}, variance {variance}");
    }
}
