//! Decoding a GIF's first frame, as Pillow shows it: on a screen that grows with the frame.

use super::limits::{MEMORY, check_memory};
use gif::{ColorOutput, DecodeOptions, DecodingError, MemoryLimit};
use image::{DynamicImage, RgbaImage};
use std::num::NonZeroU64;

/// The first frame on its screen of `width` by `height`, clear where the frame is not.
///
/// The error says what is wrong with the file and what to do.
pub(super) fn decode(file: &[u8], height: usize, width: usize) -> Result<DynamicImage, String> {
    check_memory((width * height) as u64, 11.0)?;
    let samples = samples(file, height, width).map_err(|error| match error {
        DecodingError::Io(_) => cut(),
        error => format!("can't be decoded ({error}): replace or remove it"),
    })?;
    let image = samples.and_then(|samples| RgbaImage::from_raw(width as u32, height as u32, samples));
    image.map(DynamicImage::from).ok_or_else(cut)
}

fn cut() -> String {
    "is cut short: copy it again or remove it".to_string()
}

fn samples(file: &[u8], height: usize, width: usize) -> Result<Option<Vec<u8>>, DecodingError> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::RGBA);
    options.check_frame_consistency(false);
    options.set_memory_limit(NonZeroU64::new(MEMORY).map_or(MemoryLimit::Unlimited, MemoryLimit::Bytes));
    let mut decoder = options.read_info(file)?;
    let Some(frame) = decoder.read_next_frame()? else { return Ok(None) };
    let (left, top) = (usize::from(frame.left), usize::from(frame.top));
    let (across, down) = (usize::from(frame.width), usize::from(frame.height));
    if (left, top, across, down) == (0, 0, width, height) {
        return Ok(Some(frame.buffer.to_vec()));
    }
    if left + across > width || top + down > height || across == 0 {
        return Ok(None);
    }
    let mut screen = vec![0; 4 * width * height];
    for (row, samples) in frame.buffer.chunks_exact(4 * across).enumerate() {
        let start = 4 * ((top + row) * width + left);
        screen[start..start + samples.len()].copy_from_slice(samples);
    }
    Ok(Some(screen))
}
