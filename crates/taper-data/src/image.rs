//! A decoded image.

/// A decoded image of 8-bit samples: gray (1 channel) or red, green, blue (3 channels).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Pixels across.
    pub width: usize,
    /// Pixels down.
    pub height: usize,
    /// 1 or 3.
    pub channels: usize,
    /// Samples, row by row, the channels of a pixel together: `height · width · channels` of them.
    pub pixels: Vec<u8>,
}

impl Image {
    /// The sample at `(row, column, channel)`.
    pub fn sample(&self, row: usize, column: usize, channel: usize) -> u8 {
        self.pixels[(row * self.width + column) * self.channels + channel]
    }
}
