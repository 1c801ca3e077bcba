//! A heat map drawn over a picture.

use crate::{DataError, Planes, Result};
use image::{ImageFormat, Rgb, RgbImage};
use std::io::Cursor;

/// Side in pixels that a picture is enlarged to by whole numbers, at least.
const SIDE: usize = 224;

/// Values on a grid over a picture, such as how much each place speaks for a class.
#[derive(Debug, Clone, PartialEq)]
pub struct HeatMap {
    /// Places down.
    pub rows: usize,
    /// Places across.
    pub columns: usize,
    /// One value per place, row by row.
    pub values: Vec<f32>,
}

impl HeatMap {
    /// The picture, darkened and gray, with the map over it as a PNG: from nothing at the lowest value over red to yellow
    /// at the highest. Samples of the picture are from 0 to 1. A small picture is enlarged.
    ///
    /// # Errors
    /// Returns an error if the map or the picture is empty.
    ///
    /// ```
    /// use taper_data::{HeatMap, Planes};
    ///
    /// let picture = Planes { channels: 1, height: 2, width: 2, values: vec![0.5; 4] };
    /// let png = HeatMap { rows: 1, columns: 2, values: vec![0.0, 3.0] }.over(&picture)?;
    /// assert!(png.starts_with(b"\x89PNG"));
    /// # Ok::<(), taper_data::DataError>(())
    /// ```
    pub fn over(&self, picture: &Planes) -> Result<Vec<u8>> {
        let Planes { channels, height, width, ref values } = *picture;
        if self.values.is_empty() || self.values.len() != self.rows * self.columns || values.is_empty() {
            return Err(DataError::Invalid("a heat map needs a value per place and a picture: give both".into()));
        }
        let least = self.values.iter().copied().fold(f32::INFINITY, f32::min);
        let most = self.values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let scale = SIDE.div_ceil(width.max(height));
        let (tall, wide) = (height * scale, width * scale);
        let mut drawn = RgbImage::new(wide as u32, tall as u32);
        for (x, y, pixel) in drawn.enumerate_pixels_mut() {
            let (row, column) = (y as usize, x as usize);
            let sample =
                |channel: usize| values[(channel * height + row / scale) * width + column / scale].clamp(0.0, 1.0);
            let gray = (0..channels).map(sample).sum::<f32>() / channels as f32;
            let heat = (self.at(row as f32 / tall as f32, column as f32 / wide as f32, tall, wide) - least)
                / (most - least).max(1e-12);
            let color = [(2.0 * heat).min(1.0), (2.0 * heat - 1.0).max(0.0), 0.0];
            let share = 0.65 * heat;
            *pixel = Rgb(color.map(|color| (255.0 * (share * color + (1.0 - share) * 0.8 * gray)).round() as u8));
        }
        let mut png = Cursor::new(Vec::new());
        drawn
            .write_to(&mut png, ImageFormat::Png)
            .map_err(|error| DataError::Invalid(format!("a heat map can't be drawn: {error}")))?;
        Ok(png.into_inner())
    }

    /// The value at a share of the height and width, between the centers of places linearly.
    fn at(&self, down: f32, across: f32, height: usize, width: usize) -> f32 {
        let place = |share: f32, pixels: usize, places: usize| {
            let middle = share + 0.5 / pixels as f32;
            let position = (middle * places as f32 - 0.5).clamp(0.0, (places - 1) as f32);
            let first = position.floor() as usize;
            (first, (first + 1).min(places - 1), position - first as f32)
        };
        let (top, bottom, below) = place(down, height, self.rows);
        let (left, right, beside) = place(across, width, self.columns);
        let value = |row: usize, column: usize| self.values[row * self.columns + column];
        let line = |row: usize| (1.0 - beside) * value(row, left) + beside * value(row, right);
        (1.0 - below) * line(top) + below * line(bottom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hottest_place_is_yellow_and_the_coldest_shows_the_picture() {
        let picture = Planes { channels: 3, height: 8, width: 8, values: vec![0.5; 192] };
        let png = HeatMap { rows: 2, columns: 2, values: vec![-1.0, -1.0, -1.0, 4.0] }.over(&picture).unwrap();
        let drawn = image::load_from_memory(&png).unwrap().to_rgb8();
        let Rgb([red, green, blue]) = *drawn.get_pixel(223, 223);
        assert!(red > 200 && green > 200 && blue < 60, "{red} {green} {blue}");
        let Rgb([red, green, blue]) = *drawn.get_pixel(0, 0);
        assert!(red == green && green == blue && red == 102, "{red} {green} {blue}");
        assert!(HeatMap { rows: 2, columns: 2, values: vec![1.0] }.over(&picture).is_err());
    }
}
