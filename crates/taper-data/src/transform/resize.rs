//! Resizing with a filter as wide as the pixels it merges, so that nothing aliases: Pillow's
//! `Image.resize` with BILINEAR or BICUBIC. As there, which is where published weights saw their
//! images, samples are brought to 8 bits after each of the two passes.

use super::Planes;
use super::planes::Raster;
use crate::{DataError, Result};
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// How pixels are weighted when an image is resized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// A triangle, one source pixel (or merged pixel) to either side.
    Bilinear,
    /// The cubic convolution kernel with a = -1/2 (Keys 1981, equation 15), two to either side.
    Bicubic,
}

impl Filter {
    fn reach(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
        }
    }

    fn weight(self, distance: f64) -> f64 {
        let x = distance.abs();
        match self {
            Self::Bilinear => (1.0 - x).max(0.0),
            Self::Bicubic if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
            Self::Bicubic => 0.0,
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Bilinear { "bilinear" } else { "bicubic" })
    }
}

impl FromStr for Filter {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "bilinear" => Ok(Self::Bilinear),
            "bicubic" => Ok(Self::Bicubic),
            _ => Err(DataError::Invalid(format!("`{name}` is not a filter: use bilinear or bicubic"))),
        }
    }
}

/// The source pixels that one target pixel is made of: the first, and a weight for each.
struct Taps {
    first: usize,
    weights: Vec<f32>,
}

/// `source` at another size.
pub(crate) fn resize<R: Raster>(source: &R, height: usize, width: usize, filter: Filter) -> Planes {
    resize_part(source, (height, width), filter, 0..height, 0..width)
}

/// The rows and columns of `source` at another size. Only they are computed, from the source pixels
/// that they are made of: memory grows with the part and not with the size.
pub(crate) fn resize_part<R: Raster>(
    source: &R,
    (height, width): (usize, usize),
    filter: Filter,
    rows: Range<usize>,
    columns: Range<usize>,
) -> Planes {
    let (channels, from_height, from_width) = source.shape();
    let down = (from_height != height).then(|| taps(from_height, height, filter, rows.clone()));
    let across = (from_width != width).then(|| taps(from_width, width, filter, columns.clone()));
    let from_rows = down.as_deref().map_or(rows.clone(), reach);
    let from_columns = across.as_deref().map_or(columns.clone(), reach);
    let mut values = Vec::with_capacity(channels * from_rows.len() * columns.len());
    let mut line = vec![0.0; from_columns.len()];
    for channel in 0..channels {
        for row in from_rows.clone() {
            source.copy_row(channel, row, from_columns.start, &mut line);
            match &across {
                None => values.extend_from_slice(&line),
                Some(taps) => values.extend(taps.iter().map(|tap| {
                    let first = tap.first - from_columns.start;
                    let pixels = &line[first..first + tap.weights.len()];
                    eight_bits(pixels.iter().zip(&tap.weights).map(|(value, weight)| value * weight).sum::<f32>())
                })),
            }
        }
    }
    let planes = Planes { channels, height: from_rows.len(), width: columns.len(), values };
    match down {
        None => planes,
        Some(taps) => resize_down(&planes, &taps, from_rows.start).map(eight_bits),
    }
}

/// The source pixels that taps are made of.
fn reach(taps: &[Taps]) -> Range<usize> {
    let first = taps.iter().map(|tap| tap.first).min().unwrap_or(0);
    first..taps.iter().map(|tap| tap.first + tap.weights.len()).max().unwrap_or(first)
}

/// The nearest of the 256 levels from 0 to 1.
fn eight_bits(value: f32) -> f32 {
    // `round`, which is a call on machines that have no instruction for it: adding this number leaves no places for
    // fractions, and rounds halves to even numbers
    const NO_FRACTIONS: f32 = (1 << 23) as f32;
    let level = value.clamp(0.0, 1.0) * 255.0;
    let nearest = (level + NO_FRACTIONS) - NO_FRACTIONS;
    let up = if level - nearest == 0.5 { 1.0 } else { 0.0 };
    (nearest + up) / 255.0
}

/// The taps of `targets`, of `to` pixels made of `from`.
fn taps(from: usize, to: usize, filter: Filter, targets: Range<usize>) -> Vec<Taps> {
    let scale = from as f64 / to as f64;
    let stretch = scale.max(1.0);
    let reach = filter.reach() * stretch;
    targets
        .map(|target| {
            let middle = (target as f64 + 0.5) * scale;
            let first = (middle - reach + 0.5).max(0.0) as usize;
            let end = ((middle + reach + 0.5) as usize).min(from);
            let weights: Vec<f64> =
                (first..end).map(|place| filter.weight((place as f64 + 0.5 - middle) / stretch)).collect();
            let sum: f64 = weights.iter().sum();
            Taps { first, weights: weights.iter().map(|weight| (weight / sum) as f32).collect() }
        })
        .collect()
}

/// `planes`, whose first row is row `first` of the source, resized vertically.
fn resize_down(planes: &Planes, taps: &[Taps], first: usize) -> Planes {
    let width = planes.width;
    let mut values = vec![0.0; planes.channels * taps.len() * width];
    for (plane, target) in planes.each().zip(values.chunks_exact_mut(taps.len() * width)) {
        for (tap, sums) in taps.iter().zip(target.chunks_exact_mut(width)) {
            for (row, weight) in plane.chunks_exact(width).skip(tap.first - first).zip(&tap.weights) {
                sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value * weight);
            }
        }
    }
    Planes { channels: planes.channels, height: taps.len(), width, values }
}

#[cfg(test)]
mod tests {
    use super::super::planes::window;
    use super::*;
    use crate::Image;

    /// The picture that `golden/resize.py` draws.
    fn picture(channels: usize) -> Planes {
        let (width, height) = (13, 10);
        let mut pixels = Vec::new();
        for y in 0..height {
            for x in 0..width {
                pixels.extend((0..channels).map(|c| ((x * x * 7 + y * 31 + x * y * (c + 3) + c * 50) % 256) as u8));
            }
        }
        Planes::of(&Image { width, height, channels, pixels })
    }

    #[test]
    fn sizes_and_filters_agree_with_pillow_within_a_gray_level() {
        let golden = include_str!("../../golden/resize.txt");
        let mut cases = 0;
        for line in golden.lines().filter(|line| !line.starts_with('#')) {
            let mut words = line.split_whitespace();
            let mut number = || words.next().unwrap().parse::<usize>().unwrap();
            let (channels, width, height, cubic) = (number(), number(), number(), number());
            let filter = if cubic == 1 { Filter::Bicubic } else { Filter::Bilinear };
            let ours = resize(&picture(channels), height, width, filter);
            let theirs: Vec<f32> = words.map(|word| word.parse().unwrap()).collect();
            assert_eq!(ours.values.len(), theirs.len());
            for (ours, theirs) in ours.values.iter().zip(theirs) {
                assert!((ours * 255.0 - theirs).abs() <= 1.0, "{width}x{height}: {} for {theirs}", ours * 255.0);
            }
            cases += 1;
        }
        assert!(cases >= 6);
    }

    #[test]
    fn a_part_has_the_pixels_of_the_whole() {
        let picture = picture(3);
        for (height, width) in [(10, 13), (5, 30), (40, 6), (10, 27), (3, 13)] {
            for filter in [Filter::Bilinear, Filter::Bicubic] {
                let whole = resize(&picture, height, width, filter);
                for (rows, columns) in [(0..1, 0..width), (1..height, 2..5), (height / 2..height, width - 1..width)] {
                    let part = resize_part(&picture, (height, width), filter, rows.clone(), columns.clone());
                    let (top, left) = (rows.start as isize, columns.start as isize);
                    assert_eq!(part, window(&whole, top, left, rows.len(), columns.len()));
                }
            }
        }
    }

    #[test]
    fn levels_are_rounded_halves_away_from_zero() {
        for half in 0..=510 {
            let at = half as f32 / 2.0 / 255.0;
            for value in [at.next_down(), at, at.next_up()] {
                assert_eq!(eight_bits(value), (value.clamp(0.0, 1.0) * 255.0).round() / 255.0, "{value}");
            }
        }
        assert_eq!([eight_bits(-3.0), eight_bits(7.0)], [0.0, 1.0]);
    }

    #[test]
    fn an_even_image_stays_even() {
        let gray = Planes { channels: 1, height: 9, width: 7, values: vec![0.4; 63] };
        for filter in [Filter::Bilinear, Filter::Bicubic] {
            assert!(resize(&gray, 4, 11, filter).values.iter().all(|value| (value - 0.4).abs() < 1e-6));
        }
    }
}
