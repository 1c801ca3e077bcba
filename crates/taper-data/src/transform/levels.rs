//! Images in 8-bit levels, changed as Pillow changes them, rounding included.

use super::Planes;

/// An image of 8-bit levels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Levels {
    /// 1 or 3.
    channels: usize,
    height: usize,
    width: usize,
    /// Levels `(c, h, w)`.
    values: Vec<u8>,
}

impl Levels {
    /// The levels nearest to samples of 0 to 1.
    pub(crate) fn of(planes: &Planes) -> Self {
        let values = planes.values.iter().map(|value| (value * 255.0).round() as u8).collect();
        Self { channels: planes.channels, height: planes.height, width: planes.width, values }
    }

    /// Samples of 0 to 1.
    pub(crate) fn planes(&self) -> Planes {
        let values = self.values.iter().map(|&level| f32::from(level) / 255.0).collect();
        Planes { channels: self.channels, height: self.height, width: self.width, values }
    }

    fn each(&self) -> impl Iterator<Item = &[u8]> {
        self.values.chunks_exact(self.height * self.width)
    }

    fn with(&self, values: Vec<u8>) -> Self {
        Self { values, ..*self }
    }

    /// Each place (x, y) has the pixel at (`a`·x + `b`·y + `c`, `d`·x + `e`·y + `f`); black where
    /// that is outside of the image. Places are in pixels from the upper left corner.
    pub(crate) fn moved(&self, [a, b, c, d, e, f]: [f64; 6]) -> Self {
        let inside = |at: f64, size: usize| (at >= 0.0 && at < size as f64).then_some(at as usize);
        let sources: Vec<Option<usize>> = (0..self.height * self.width)
            .map(|place| {
                let (x, y) = ((place % self.width) as f64 + 0.5, (place / self.width) as f64 + 0.5);
                let column = inside(a * x + b * y + c, self.width)?;
                Some(inside(d * x + e * y + f, self.height)? * self.width + column)
            })
            .collect();
        let drawn = |plane: &[u8]| sources.iter().map(|source| source.map_or(0, |at| plane[at])).collect::<Vec<_>>();
        self.with(self.each().flat_map(drawn).collect())
    }

    /// Rotated about the center by this many degrees, counterclockwise.
    pub(crate) fn turned(&self, degrees: f64) -> Self {
        let (sin, cos) = degrees.to_radians().sin_cos();
        let (x, y) = (self.width as f64 / 2.0, self.height as f64 / 2.0);
        self.moved([cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y])
    }

    /// From `other` toward this image by `factor`, or beyond it.
    pub(crate) fn from(&self, other: &Self, factor: f32) -> Self {
        let blend = |(&level, &other): (&u8, &u8)| {
            let (level, other) = (f32::from(level), f32::from(other));
            // the cast cuts off fractions, and stops at 0 and 255
            (other + factor * (level - other)) as u8
        };
        self.with(self.values.iter().zip(&other.values).map(blend).collect())
    }

    /// All of one level.
    pub(crate) fn even(&self, level: u8) -> Self {
        self.with(vec![level; self.values.len()])
    }

    /// In shades of gray (ITU-R 601 luma), with as many channels as before.
    pub(crate) fn gray(&self) -> Self {
        self.with(self.luma().repeat(self.channels))
    }

    fn luma(&self) -> Vec<u8> {
        if self.channels != 3 {
            return self.values.clone();
        }
        let size = self.height * self.width;
        let at = |place: usize, channel: usize| u32::from(self.values[channel * size + place]);
        // weights in parts of 2^16, rounded
        (0..size).map(|k| ((at(k, 0) * 19595 + at(k, 1) * 38470 + at(k, 2) * 7471 + 0x8000) >> 16) as u8).collect()
    }

    /// Its mean gray.
    pub(crate) fn mean(&self) -> u8 {
        let luma = self.luma();
        let total: u64 = luma.iter().map(|&level| u64::from(level)).sum();
        (total as f64 / luma.len() as f64 + 0.5) as u8
    }

    /// Each pixel that has eight neighbors averaged with them, itself five times.
    pub(crate) fn smooth(&self) -> Self {
        let (height, width) = (self.height, self.width);
        let pixel = |plane: &[u8], row: usize, column: usize| {
            let place = row * width + column;
            if row == 0 || column == 0 || row + 1 == height || column + 1 == width {
                return plane[place];
            }
            let around: u32 = [place - width, place, place + width]
                .iter()
                .map(|&middle| plane[middle - 1..=middle + 1].iter().map(|&level| u32::from(level)).sum::<u32>())
                .sum();
            ((around + 4 * u32::from(plane[place]) + 6) / 13) as u8
        };
        let places = || (0..height).flat_map(|row| (0..width).map(move |column| (row, column)));
        self.with(self.each().flat_map(|plane| places().map(move |(row, column)| pixel(plane, row, column))).collect())
    }

    /// Every level through `f`.
    pub(crate) fn map(&self, f: impl Fn(u8) -> u8) -> Self {
        self.with(self.values.iter().map(|&level| f(level)).collect())
    }

    /// Each channel stretched so that its levels reach from 0 to 255.
    pub(crate) fn stretched(&self) -> Self {
        self.by_channel(|counts| {
            let low = counts.iter().position(|&count| count > 0).unwrap_or(0);
            let high = counts.iter().rposition(|&count| count > 0).unwrap_or(0);
            let scale = 255.0 / high.saturating_sub(low).max(1) as f64;
            let offset = -(low as f64) * scale;
            std::array::from_fn(|level| if high > low { (level as f64 * scale + offset) as u8 } else { level as u8 })
        })
    }

    /// Each channel with its levels spread so that all are about equally frequent.
    pub(crate) fn equalized(&self) -> Self {
        self.by_channel(|counts| {
            let last = counts.iter().rfind(|&&count| count > 0).copied().unwrap_or(0);
            let step = (counts.iter().sum::<usize>() - last) / 255;
            let mut below = step / 2;
            std::array::from_fn(|level| {
                let at = below.checked_div(step).unwrap_or(level);
                below += counts[level];
                at.min(255) as u8
            })
        })
    }

    /// Each channel through the table that `of` makes of how often it has each level.
    fn by_channel(&self, of: impl Fn(&[usize; 256]) -> [u8; 256]) -> Self {
        let through = |plane: &[u8]| {
            let mut counts = [0; 256];
            plane.iter().for_each(|&level| counts[usize::from(level)] += 1);
            let table = of(&counts);
            plane.iter().map(|&level| table[usize::from(level)]).collect::<Vec<_>>()
        };
        self.with(self.each().flat_map(through).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_image_and_one_too_small_to_smooth_stay_as_they_are() {
        let even = Levels { channels: 1, height: 2, width: 3, values: vec![7; 6] };
        assert_eq!([even.stretched(), even.equalized(), even.smooth(), even.gray()], [0; 4].map(|_| even.clone()));
        assert_eq!(Levels::of(&even.planes()), even);
    }
}
