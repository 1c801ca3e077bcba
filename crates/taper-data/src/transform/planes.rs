//! What transforms work on.

use crate::Image;

/// An image in arithmetic: a plane of f32 samples a channel, 0 black and 1 white until it is
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

    /// The part of `height` by `width` whose upper left corner is at (`top`, `left`); what lies
    /// outside continues the edge.
    pub(crate) fn window(&self, top: isize, left: isize, height: usize, width: usize) -> Self {
        self.draw(height, width, |plane, row, column| {
            let row = clamp(top + row as isize, self.height);
            plane[row * self.width + clamp(left + column as isize, self.width)]
        })
    }
}

/// The place nearest to `at` among `0..size`.
pub(crate) fn clamp(at: isize, size: usize) -> usize {
    at.clamp(0, size as isize - 1) as usize
}
