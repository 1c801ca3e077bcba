//! What transforms work on.

use crate::Image;

/// An image for arithmetic: one plane of f32 samples per channel, 0 black and 1 white until it is
/// normalized.
#[derive(Debug, Clone, PartialEq)]
pub struct Planes {
    /// 1 or 3.
    pub channels: usize,
    /// Pixels down.
    pub height: usize,
    /// Pixels across.
    pub width: usize,
    /// Samples `(c, h, w)`.
    pub values: Vec<f32>,
}

impl Planes {
    /// The image's samples divided by 255.
    pub fn of(image: &Image) -> Self {
        let Image { width, height, channels, ref pixels } = *image;
        let mut values = Vec::with_capacity(pixels.len());
        for channel in 0..channels {
            values.extend(pixels.iter().skip(channel).step_by(channels).map(|&sample| f32::from(sample) / 255.0));
        }
        Self { channels, height, width, values }
    }

    /// `(c, h, w)`.
    pub fn shape(&self) -> (usize, usize, usize) {
        (self.channels, self.height, self.width)
    }

    /// The channels' planes, each `(h, w)`.
    pub(crate) fn each(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.height * self.width)
    }

    /// Every sample through `f`.
    pub(crate) fn map(mut self, f: impl Fn(f32) -> f32) -> Self {
        self.values.iter_mut().for_each(|value| *value = f(*value));
        self
    }

    /// Planes of `height` by `width` whose sample at (plane, row, column) is `f` of that.
    pub(crate) fn draw(&self, height: usize, width: usize, f: impl Fn(&[f32], usize, usize) -> f32) -> Self {
        let mut values = Vec::with_capacity(self.channels * height * width);
        for plane in self.each() {
            for row in 0..height {
                values.extend((0..width).map(|column| f(plane, row, column)));
            }
        }
        Self { channels: self.channels, height, width, values }
    }
}

/// Something with rows of samples from 0 to 1: planes, or a stored image before it takes up four
/// times its bytes as planes.
pub(crate) trait Raster {
    /// `(c, h, w)`.
    fn shape(&self) -> (usize, usize, usize);

    /// Copies the samples of a row from column `first` on.
    fn copy_row(&self, channel: usize, row: usize, first: usize, into: &mut [f32]);
}

impl Raster for Planes {
    fn shape(&self) -> (usize, usize, usize) {
        self.shape()
    }

    fn copy_row(&self, channel: usize, row: usize, first: usize, into: &mut [f32]) {
        let start = (channel * self.height + row) * self.width + first;
        into.copy_from_slice(&self.values[start..start + into.len()]);
    }
}

impl Raster for Image {
    fn shape(&self) -> (usize, usize, usize) {
        (self.channels, self.height, self.width)
    }

    fn copy_row(&self, channel: usize, row: usize, first: usize, into: &mut [f32]) {
        let start = (row * self.width + first) * self.channels + channel;
        let samples = self.pixels[start..].iter().step_by(self.channels);
        into.iter_mut().zip(samples).for_each(|(value, &sample)| *value = f32::from(sample) / 255.0);
    }
}

/// The part of `height` by `width` whose upper left corner is at (`top`, `left`); pixels outside
/// continue the edge.
pub(crate) fn window<R: Raster>(source: &R, top: isize, left: isize, height: usize, width: usize) -> Planes {
    let (channels, from_height, from_width) = source.shape();
    let columns: Vec<usize> = (0..width).map(|column| clamp(left + column as isize, from_width)).collect();
    let (first, last) = (columns.first().copied().unwrap_or(0), columns.last().copied().unwrap_or(0));
    let mut line = vec![0.0; last - first + 1];
    let mut values = Vec::with_capacity(channels * height * width);
    for channel in 0..channels {
        for row in 0..height {
            source.copy_row(channel, clamp(top + row as isize, from_height), first, &mut line);
            values.extend(columns.iter().map(|column| line[column - first]));
        }
    }
    Planes { channels, height, width, values }
}

/// The place nearest to `at` among `0..size`.
pub(crate) fn clamp(at: isize, size: usize) -> usize {
    at.clamp(0, size as isize - 1) as usize
}
