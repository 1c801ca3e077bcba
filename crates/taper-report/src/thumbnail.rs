//! Small copies of images, which travel inside the page.

use crate::{ReportError, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, GrayImage, RgbImage};
use serde::{Deserialize, Serialize};

/// The longer side of a thumbnail, in pixels.
const SIDE: u32 = 64;
/// Quality of the JPEG, of 100.
const QUALITY: u8 = 78;
/// What its text begins with: nothing else is ever loaded.
const PREFIX: &str = "data:image/jpeg;base64,";

/// A small JPEG as a data URI.
///
/// ```
/// let thumbnail = taper_report::Thumbnail::of(2, 1, 3, vec![255, 0, 0, 0, 0, 255])?;
/// assert!(thumbnail.uri().starts_with("data:image/jpeg;base64,"));
/// # Ok::<(), taper_report::ReportError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Thumbnail(String);

impl Thumbnail {
    /// A thumbnail of an image with 1 (gray) or 3 (color) 8-bit channels, row by row, the channels of a pixel together.
    ///
    /// # Errors
    /// Returns an error if `pixels` are not `width · height · channels` samples, or can't be encoded.
    pub fn of(width: usize, height: usize, channels: usize, pixels: Vec<u8>) -> Result<Self> {
        let samples = pixels.len();
        let bad = || ReportError::Image { width, height, channels, samples };
        let (w, h) = (u32::try_from(width).map_err(|_| bad())?, u32::try_from(height).map_err(|_| bad())?);
        let whole = match channels {
            1 => GrayImage::from_raw(w, h, pixels).map(DynamicImage::ImageLuma8),
            3 => RgbImage::from_raw(w, h, pixels).map(DynamicImage::ImageRgb8),
            _ => None,
        };
        let whole = whole.filter(|_| w > 0 && h > 0).ok_or_else(bad)?;
        let small = if w.max(h) > SIDE { whole.thumbnail(SIDE, SIDE) } else { whole };
        let mut bytes = Vec::new();
        small.write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, QUALITY))?;
        Ok(Self(format!("{PREFIX}{}", STANDARD.encode(bytes))))
    }

    /// The data URI.
    pub fn uri(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Thumbnail {
    type Error = &'static str;

    fn try_from(text: String) -> std::result::Result<Self, Self::Error> {
        let is_base64 = |code: &str| code.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
        match text.strip_prefix(PREFIX) {
            Some(code) if is_base64(code) => Ok(Self(text)),
            _ => Err("a thumbnail is not a JPEG inside the report"),
        }
    }
}

impl From<Thumbnail> for String {
    fn from(thumbnail: Thumbnail) -> Self {
        thumbnail.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_photograph_becomes_a_few_kilobytes_and_keeps_its_shape() {
        let pixels = (0..512u64 * 384 * 3).map(|place| (place * place / 7 % 251) as u8).collect();
        let thumbnail = Thumbnail::of(512, 384, 3, pixels).unwrap();
        let bytes = STANDARD.decode(&thumbnail.uri()[PREFIX.len()..]).unwrap();
        let back = image::load_from_memory(&bytes).unwrap();
        assert_eq!((back.width(), back.height()), (64, 48));
        assert!(bytes.len() < 8_000, "{} bytes", bytes.len());
    }

    #[test]
    fn wrong_sizes_and_foreign_addresses_are_refused() {
        assert!(Thumbnail::of(2, 2, 3, vec![0; 5]).is_err());
        assert!(Thumbnail::of(0, 0, 1, Vec::new()).is_err());
        for text in ["https://example.org/pixel.gif", "data:image/jpeg;base64,\"onload=", "data:text/html;base64,AA=="]
        {
            assert!(Thumbnail::try_from(text.to_string()).is_err(), "{text}");
        }
    }
}
