//! Ink on a sheet of pixels.

use super::point::{Path, Point};
use crate::Image;

/// Pixels per side, as in Omniglot.
pub(super) const SIDE: usize = 105;

const INK: u8 = 0;
const PAPER: u8 = 255;

/// Each path drawn by a pen of this radius in pixels, as Omniglot's: a square with blunt corners.
/// Pixels are black or white; the pixel in row r and column c has its middle at `(c, r)`.
pub(super) fn raster(paths: &[Path], radius: f64) -> Image {
    let mut pixels = vec![PAPER; SIDE * SIDE];
    for path in paths {
        stamp(&mut pixels, path[0], radius);
        for pair in path.windows(2) {
            // stamps less than a pixel apart leave no gaps
            let run = pair[1] - pair[0];
            let steps = (run.length() / 0.8) as usize + 1;
            for step in 1..=steps {
                stamp(&mut pixels, pair[0] + run * (step as f64 / steps as f64), radius);
            }
        }
    }
    Image { width: SIDE, height: SIDE, channels: 1, pixels }
}

/// Inks the pixels whose middle is under the pen.
fn stamp(pixels: &mut [u8], pen: Point, radius: f64) {
    let corner = radius * 1.18;
    for row in span(pen.y, radius) {
        for column in span(pen.x, radius) {
            let off = Point::new(column as f64, row as f64) - pen;
            if off.dot(off) <= corner * corner {
                pixels[row * SIDE + column] = INK;
            }
        }
    }
}

/// The pixels of the sheet no farther than the radius from the middle.
fn span(middle: f64, radius: f64) -> std::ops::Range<usize> {
    let (low, high) = ((middle - radius).ceil(), (middle + radius).floor() + 1.0);
    (low.max(0.0) as usize)..(high.clamp(0.0, SIDE as f64) as usize)
}
