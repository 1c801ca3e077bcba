//! Random draws and the few functions that glyphs need, the same on every machine.
//!
//! The standard library's `sin`, `exp` and `ln` differ between platforms in the last bit, and a
//! pixel on the edge of a stroke would show it. Everything here is made of `+ - * /`, `sqrt` and
//! `floor`, which IEEE 754 defines exactly.

use rand::RngCore as _;
use std::f64::consts::TAU;
use taper_ops::Rng;

/// A generator for one purpose.
pub(super) struct GlyphRng(Rng);

impl GlyphRng {
    /// A generator for one purpose (`stream`) and one place: `[alphabet]`, `[alphabet, character]` or
    /// `[alphabet, character, drawing]`, each below 2²⁰.
    pub(super) fn new<const N: usize>(seed: u64, stream: &str, place: [usize; N]) -> Self {
        const { assert!(N <= 3, "three numbers of 20 bits fit into an index") };
        let index = place.iter().fold(0, |index, &part| (index << 20) | part as u64);
        Self(taper_ops::rng(seed, stream, index))
    }

    /// Uniform in `0..1`.
    pub(super) fn unit(&mut self) -> f64 {
        f64::from(self.0.next_u32()) / 4_294_967_296.0
    }

    /// Uniform in `low..high`.
    pub(super) fn within(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// A whole number below `n`, which is not 0.
    pub(super) fn below(&mut self, n: usize) -> usize {
        ((self.unit() * n as f64) as usize).min(n - 1)
    }

    /// True with this probability.
    pub(super) fn coin(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// −1 or 1.
    pub(super) fn sign(&mut self) -> f64 {
        if self.coin(0.5) { 1.0 } else { -1.0 }
    }

    /// Nearly normal, mean 0, this standard deviation: four uniform draws summed (Irwin and
    /// Hall), so never beyond 3.5 deviations.
    pub(super) fn normal(&mut self, deviation: f64) -> f64 {
        let bits = self.0.next_u64();
        let sum: u64 = (0..4).map(|part| (bits >> (16 * part)) & 0xffff).sum();
        // Sum of 4 uniforms: mean 2, variance 4/12.
        let centered = (sum as f64 + 2.0) / 65_536.0 - 2.0;
        deviation * centered * 3f64.sqrt()
    }

    /// e to the power of a normal draw: a factor around 1.
    pub(super) fn factor(&mut self, deviation: f64) -> f64 {
        exponential(self.normal(deviation))
    }

    /// A place in `weights`, drawn in proportion to them.
    pub(super) fn pick(&mut self, weights: &[f64]) -> usize {
        let mut left = self.unit() * weights.iter().sum::<f64>();
        for (place, weight) in weights.iter().enumerate() {
            left -= weight;
            if left < 0.0 {
                return place;
            }
        }
        weights.len() - 1
    }

    /// One of `values`, which must not be empty.
    pub(super) fn choose<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }
}

/// Sine: the argument folded into a quarter turn, then Taylor's series.
pub(super) fn sine(angle: f64) -> f64 {
    let turns = angle / TAU;
    let folded = turns - (turns + 0.5).floor();
    let x = TAU
        * if folded > 0.25 {
            0.5 - folded
        } else if folded < -0.25 {
            -0.5 - folded
        } else {
            folded
        };
    let square = x * x;
    let mut term = x;
    let mut sum = x;
    for k in [6.0, 20.0, 42.0, 72.0, 110.0, 156.0, 210.0] {
        term *= -square / k;
        sum += term;
    }
    sum
}

/// Cosine.
pub(super) fn cosine(angle: f64) -> f64 {
    sine(angle + TAU / 4.0)
}

/// e to the power of x, for x of a few units: Taylor's series of an eighth, raised to the 8th.
pub(super) fn exponential(x: f64) -> f64 {
    let eighth = x / 8.0;
    let mut term = 1.0;
    let mut sum = 1.0;
    for k in 1..=16 {
        term *= eighth / f64::from(k);
        sum += term;
    }
    let square = sum * sum;
    let fourth = square * square;
    fourth * fourth
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sine_and_exponential_agree_with_the_standard_library() {
        for k in -200..=200 {
            let x = f64::from(k) / 20.0;
            assert!((sine(x) - x.sin()).abs() < 1e-10, "sine of {x}");
            assert!((cosine(x) - x.cos()).abs() < 1e-10, "cosine of {x}");
            assert!((exponential(x / 4.0) / (x / 4.0).exp() - 1.0).abs() < 1e-12, "exponential of {x}");
        }
    }

    #[test]
    fn normal_draws_have_the_asked_deviation() {
        let mut rng = GlyphRng::new(1, "test", [0]);
        let draws: Vec<f64> = (0..20_000).map(|_| rng.normal(2.0)).collect();
        let mean = draws.iter().sum::<f64>() / 20_000.0;
        let variance = draws.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / 20_000.0;
        assert!(mean.abs() < 0.05 && (variance - 4.0).abs() < 0.15, "mean {mean}, variance {variance}");
    }
}
