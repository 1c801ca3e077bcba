//! Decoding JPEG files as libjpeg does, bit for bit: so did the programs that published weights
//! were trained with, and a network's answers turn on less than a gray level.

use image::{DynamicImage, GrayImage, RgbImage};
use mozjpeg::{ColorSpace, Decompress};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What libjpeg makes of the file, as stored; none for the colors of print (CMYK and YCCK),
/// which it leaves to others.
///
/// The error says what is wrong with the file and what to do.
pub(super) fn decode(file: &[u8]) -> Result<Option<DynamicImage>, String> {
    let broken = |problem: &str| format!("can't be decoded ({problem}), replace or remove it");
    // libjpeg's errors unwind; outside its wrapper they are words
    match catch_unwind(AssertUnwindSafe(|| samples(file))) {
        Ok(Ok(image)) => Ok(image),
        Ok(Err(error)) => Err(broken(&error.to_string())),
        Err(thrown) => Err(broken(thrown.downcast_ref::<String>().map_or("it is damaged", String::as_str))),
    }
}

fn samples(file: &[u8]) -> std::io::Result<Option<DynamicImage>> {
    let decompress = Decompress::new_mem(file)?;
    let gray = match decompress.color_space() {
        ColorSpace::JCS_CMYK | ColorSpace::JCS_YCCK => return Ok(None),
        space => space == ColorSpace::JCS_GRAYSCALE,
    };
    let mut started = if gray { decompress.grayscale()? } else { decompress.rgb()? };
    let (width, height) = (started.width() as u32, started.height() as u32);
    let samples: Vec<u8> = started.read_scanlines::<u8>()?;
    started.finish()?;
    Ok(match gray {
        true => GrayImage::from_raw(width, height, samples).map(DynamicImage::from),
        false => RgbImage::from_raw(width, height, samples).map(DynamicImage::from),
    })
}
