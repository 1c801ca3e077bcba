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

    /// Returns `true` if there is nothing to see: in every channel, all samples are within two levels
    /// of each other. A transparent picture without ink is blank.
    pub fn is_blank(&self) -> bool {
        (0..self.channels).all(|channel| {
            let samples = || self.pixels.iter().skip(channel).step_by(self.channels);
            samples().max().copied().unwrap_or(0) - samples().min().copied().unwrap_or(0) <= 2
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_of_one_color_is_blank_and_one_dot_is_not() {
        let mut image = Image { width: 3, height: 2, channels: 3, pixels: [9, 200, 90].repeat(6) };
        image.pixels[4] = 202;
        assert!(image.is_blank());
        image.pixels[3] = 12;
        assert!(!image.is_blank());
    }
}
