//! HEIC photographs, as phones write them; with the feature `heic`.

use super::header::Found;
use image::DynamicImage;
use std::io::Read;

#[cfg(feature = "heic")]
mod reader {
    use super::super::limits::{PIXELS, check_memory};
    use super::{DynamicImage, Found, Read};
    use heic_rs::{ChromaFormat, DecodeOptions, ImageInfo, PixelLayout};
    use image::metadata::Orientation;
    use image::{GrayImage, RgbImage, RgbaImage};

    fn explain(error: &heic_rs::Error) -> String {
        format!("is a HEIC image that can't be decoded ({error}): convert it with `heif-convert FILE out.jpg`")
    }

    /// The size after the file's own turns, which its reader carries out.
    pub(crate) fn header(source: &mut dyn Read) -> Result<Found, String> {
        let mut file = Vec::new();
        source
            .read_to_end(&mut file)
            .map_err(|error| format!("can't be read ({error}): copy it again or remove it"))?;
        let info = heic_rs::probe(&file).map_err(|error| explain(&error))?;
        let (channels, orientation) = (if is_gray(&info) { 1 } else { 3 }, Orientation::NoTransforms);
        Ok(Found { channels, height: info.height, width: info.width, orientation })
    }

    fn is_gray(info: &ImageInfo) -> bool {
        info.chroma == ChromaFormat::Monochrome && !info.has_alpha
    }

    pub(crate) fn decode(file: &[u8], pixels: u64) -> Result<DynamicImage, String> {
        // Luma, chroma and alpha in 16 bits, the tiles and the picture, RGBA and RGB
        check_memory(pixels, 19.0)?;
        let info = heic_rs::probe(file).map_err(|error| explain(&error))?;
        let layout = match (is_gray(&info), info.has_alpha) {
            (true, _) => PixelLayout::Gray8,
            (false, true) => PixelLayout::Rgba8,
            (false, false) => PixelLayout::Rgb8,
        };
        let options = DecodeOptions::default().with_layout(layout).with_max_pixels(Some(PIXELS));
        let heic_rs::Image { width, height, data, .. } =
            heic_rs::decode(file, &options.with_threads(Some(1))).map_err(|error| explain(&error))?;
        let made = match layout {
            PixelLayout::Gray8 => GrayImage::from_raw(width, height, data).map(DynamicImage::from),
            PixelLayout::Rgba8 => RgbaImage::from_raw(width, height, data).map(DynamicImage::from),
            _ => RgbImage::from_raw(width, height, data).map(DynamicImage::from),
        };
        made.ok_or_else(|| "is cut short: copy it again or remove it".to_string())
    }
}

#[cfg(not(feature = "heic"))]
mod reader {
    use super::{DynamicImage, Found, Read};

    const MISSING: &str = "is a HEIC image: convert it with `heif-convert FILE out.jpg`";

    pub(crate) fn header(_: &mut dyn Read) -> Result<Found, String> {
        Err(MISSING.to_string())
    }

    pub(crate) fn decode(_: &[u8], _: u64) -> Result<DynamicImage, String> {
        Err(MISSING.to_string())
    }
}

pub(super) use reader::{decode, header};
