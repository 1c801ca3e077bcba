//! Tiny image files for the tests.

use image::codecs::{gif::GifEncoder, jpeg::JpegEncoder, png::PngEncoder};
use image::{DynamicImage, ExtendedColorType, Frame, ImageEncoder, RgbImage};
use std::io::Write;

/// The image as PNG.
pub(super) fn png(image: impl Into<DynamicImage>) -> Vec<u8> {
    let mut file = Vec::new();
    image.into().write_with_encoder(PngEncoder::new(&mut file)).unwrap();
    file
}

/// Samples as PNG.
pub(super) fn png_of(samples: &[u8], width: u32, height: u32, color: ExtendedColorType) -> Vec<u8> {
    let mut file = Vec::new();
    PngEncoder::new(&mut file).write_image(samples, width, height, color).unwrap();
    file
}

/// A PNG of one packed row, of any bit depth and color type.
pub(super) fn raw_png(width: u32, height: u32, depth: u8, color: u8, palette: Option<&[u8]>, row: &[u8]) -> Vec<u8> {
    let palette: Vec<(&[u8; 4], &[u8])> = palette.into_iter().map(|colors| (b"PLTE", colors)).collect();
    raw_png_with(width, height, depth, color, &palette, row)
}

/// The same, with chunks before the pixels.
pub(super) fn raw_png_with(
    width: u32,
    height: u32,
    depth: u8,
    color: u8,
    chunks: &[(&[u8; 4], &[u8])],
    row: &[u8],
) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |name: &[u8; 4], data: &[u8]| {
        file.extend((data.len() as u32).to_be_bytes());
        let body = [name, data].concat();
        let mut sum = flate2::Crc::new();
        sum.update(&body);
        file.extend(&body);
        file.extend(sum.sum().to_be_bytes());
    };
    let sizes = [width.to_be_bytes(), height.to_be_bytes()].concat();
    chunk(b"IHDR", &[&sizes[..], &[depth, color, 0, 0, 0]].concat());
    chunks.iter().for_each(|(name, data)| chunk(name, data));
    let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&[&[0], row].concat()).unwrap();
    chunk(b"IDAT", &packed.finish().unwrap());
    chunk(b"IEND", &[]);
    file
}

/// The image as JPEG.
pub(super) fn jpeg(image: impl Into<DynamicImage>) -> Vec<u8> {
    let mut file = Vec::new();
    image.into().write_with_encoder(JpegEncoder::new_with_quality(&mut file, 95)).unwrap();
    file
}

/// Frames as GIF.
pub(super) fn gif(frames: &[RgbImage]) -> Vec<u8> {
    let mut file = Vec::new();
    let frames = frames.iter().map(|frame| Frame::new(DynamicImage::from(frame.clone()).into_rgba8()));
    GifEncoder::new(&mut file).encode_frames(frames).unwrap();
    file
}

/// A JPEG with an EXIF segment that gives this orientation (1 to 8).
pub(super) fn oriented(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let tiff = [
        &b"MM\0\x2a\0\0\0\x08"[..],                            // big-endian, the first directory at 8
        &[0, 1],                                               // of one entry:
        &[0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0], // orientation, one short
        &[0, 0, 0, 0],                                         // no other directory
    ]
    .concat();
    let segment = [b"Exif\0\0", &tiff[..]].concat();
    let length = (segment.len() as u16 + 2).to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, &segment, &jpeg[2..]].concat()
}
