//! Decoding an image file.

use super::format::Format;
use super::ground::{Ground, ground, lay_over};
use super::header::{Header, decoder, turned};
use super::limits::{MEMORY, check_memory};
use super::{depth, gif, heic, jpeg, webp};
use crate::Image;
use image::{DynamicImage, ImageDecoder, ImageError, Limits};
use std::io::Cursor;

/// A decoded image, and what was done to its file's pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// The image: upright, 8 bits per sample.
    pub image: Image,
    /// The file's format, by its contents.
    pub format: Format,
    /// What the image was laid over; `None` if it is opaque.
    pub ground: Option<Ground>,
    /// The bits that its 16-bit samples use, if fewer than 16: they were scaled to the whole range.
    pub bits_used: Option<u32>,
}

/// The image in a file of any format that can be read: upright by its EXIF or XMP orientation, 8
/// bits per sample, laid over a ground where it is transparent. Gray files give one channel.
///
/// The error says what is wrong with the file and what to do.
pub(crate) fn decode(file: &[u8]) -> Result<Image, String> {
    Ok(decode_noted(file)?.image)
}

/// [`decode`], with what was done to the pixels.
pub(crate) fn decode_noted(file: &[u8]) -> Result<Decoded, String> {
    let header = Header::read(&mut &file[..])?;
    let pixels = header.pixels();
    let mut stored = match header.format {
        Format::Jpeg => jpeg::decode(file, pixels)?,
        Format::Gif => gif::decode(file, header.size.1, header.size.2)?,
        Format::Heic => heic::decode(file, pixels)?,
        _ => by_decoder(file, &header)?,
    };
    if header.size.0 == 1 && matches!(stored, DynamicImage::ImageRgb8(_)) {
        // A palette of grays
        stored = stored.into_luma8().into();
    }
    stored.apply_orientation(header.orientation);
    let (image, ground, bits_used) = flatten(stored);
    Ok(Decoded { image, format: header.format, ground, bits_used })
}

/// The bound on a decoder of the `image` crate.
pub(super) fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_alloc = Some(MEMORY);
    limits
}

fn by_decoder(file: &[u8], header: &Header) -> Result<DynamicImage, String> {
    let (format, pixels) = (header.format, header.pixels());
    let decoder = decoder(format, Cursor::new(file)).map_err(|error| explain(&error))?;
    let stored = decoder.total_bytes();
    let per_pixel = stored as f64 / pixels as f64;
    // What is held beside the stored image: while it is decoded, and while it is brought upright and to 8 bits
    let decoding = match format {
        Format::WebP => webp::work(file),
        // a copy of its own, in four inks where the image has three colors
        Format::Tiff => per_pixel * 4.0 / 3.0,
        _ => 0.0,
    };
    let upright = if turned(header.orientation) { per_pixel } else { 0.0 };
    check_memory(pixels, per_pixel + decoding.max(upright).max(4.0))?;
    // Deflate packs at most 1032 to 1, and a bit may become two samples of 8
    if format == Format::Png && stored / 16 > 1032 * file.len() as u64 {
        return Err("is cut short: copy it again or remove it".to_string());
    }
    DynamicImage::from_decoder(decoder).map_err(|error| explain(&error))
}

pub(super) fn explain(error: &ImageError) -> String {
    match error {
        ImageError::IoError(_) => "is cut short: copy it again or remove it".to_string(),
        error => format!("can't be decoded ({}): replace or remove it", error.to_string().replace('\n', " ")),
    }
}

/// To 8 bits, over a ground.
fn flatten(image: DynamicImage) -> (Image, Option<Ground>, Option<u32>) {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let color = image.color();
    let (samples, bits) = match image {
        DynamicImage::ImageLuma8(image) => (image.into_raw(), None),
        DynamicImage::ImageLumaA8(image) => (image.into_raw(), None),
        DynamicImage::ImageRgb8(image) => (image.into_raw(), None),
        DynamicImage::ImageRgba8(image) => (image.into_raw(), None),
        DynamicImage::ImageLuma16(image) => eight_bits::<1>(&image.into_raw(), false),
        DynamicImage::ImageLumaA16(image) => eight_bits::<2>(&image.into_raw(), true),
        DynamicImage::ImageRgb16(image) => eight_bits::<3>(&image.into_raw(), false),
        DynamicImage::ImageRgba16(image) => eight_bits::<4>(&image.into_raw(), true),
        image if color.has_alpha() => (image.into_rgba8().into_raw(), None),
        image => (image.into_rgb8().into_raw(), None),
    };
    let (channels, pixels, ground) = match (color.has_color(), color.has_alpha()) {
        (false, false) => (1, samples, None),
        (true, false) => (3, samples, None),
        (false, true) => {
            let ground = ground::<2>(&samples);
            (1, lay_over::<2>(&samples, ground.unwrap_or(Ground::White)), ground)
        }
        (true, true) => {
            let ground = ground::<4>(&samples);
            (3, lay_over::<4>(&samples, ground.unwrap_or(Ground::White)), ground)
        }
    };
    (Image { width, height, channels, pixels }, ground, bits)
}

/// Pixels of `N` 16-bit samples in 8 bits, and the bits that their colors use, if fewer than 16.
/// Opacity, the last sample of a pixel that has it, uses all.
fn eight_bits<const N: usize>(samples: &[u16], opacity: bool) -> (Vec<u8>, Option<u32>) {
    let colors = N - usize::from(opacity);
    let largest = samples.chunks_exact(N).flat_map(|pixel| &pixel[..colors]).copied().max().unwrap_or(0);
    let bits = depth::bits_used(largest);
    let place = |place: usize| if place < colors { bits } else { None };
    let pixels = samples.chunks_exact(N).flat_map(|pixel| pixel.iter().enumerate());
    (pixels.map(|(at, &sample)| depth::to_eight(sample, place(at))).collect(), bits)
}

#[cfg(test)]
mod tests {
    use super::super::samples::{gif, jpeg, oriented, png, png_of, raw_png_with};
    use super::*;
    use image::{ExtendedColorType, GrayImage, RgbImage};

    /// Decodes, and checks that the header alone foretold the size.
    fn decode(file: &[u8]) -> Image {
        let image = super::decode(file).unwrap();
        let foretold = Header::read(&mut &file[..]).unwrap().size;
        assert_eq!((image.channels, image.height, image.width), foretold);
        assert_eq!(image.pixels.len(), image.channels * image.height * image.width);
        image
    }

    #[test]
    fn gray_and_color_pngs_keep_their_samples() {
        let gray = GrayImage::from_fn(3, 2, |x, y| image::Luma([(10 * y + x) as u8]));
        assert_eq!(decode(&png(gray)).pixels, [0, 1, 2, 10, 11, 12]);
        let color = RgbImage::from_fn(2, 1, |x, _| image::Rgb([x as u8, 7, 9]));
        assert_eq!(decode(&png(color)), Image { width: 2, height: 1, channels: 3, pixels: vec![0, 7, 9, 1, 7, 9] });
    }

    #[test]
    fn sixteen_bits_one_bit_and_palettes_become_eight_bits() {
        let deep: Vec<u8> = [0u16, 0x8080, 0xffff].iter().flat_map(|sample| sample.to_ne_bytes()).collect();
        assert_eq!(decode(&png_of(&deep, 3, 1, ExtendedColorType::L16)).pixels, [0, 128, 255]);
        // A 1-bit PNG of 3x1 and a palette PNG of 2x1 by hand: the encoder writes neither.
        let bits = [0b1010_0000];
        assert_eq!(decode(&super::super::samples::raw_png(3, 1, 1, 0, None, &bits)).pixels, [255, 0, 255]);
        let palette = decode(&super::super::samples::raw_png(2, 1, 8, 3, Some(&[1, 2, 3, 200, 100, 50]), &[1, 0]));
        assert_eq!(palette, Image { width: 2, height: 1, channels: 3, pixels: vec![200, 100, 50, 1, 2, 3] });
    }

    #[test]
    fn colors_are_laid_over_white_and_white_ink_over_black() {
        let rgba = png_of(&[10, 20, 30, 0, 10, 20, 30, 255, 0, 0, 0, 51], 3, 1, ExtendedColorType::Rgba8);
        assert_eq!(decode(&rgba).pixels, [255, 255, 255, 10, 20, 30, 204, 204, 204]);
        assert_eq!(decode(&png_of(&[10, 0, 10, 255], 2, 1, ExtendedColorType::La8)).pixels, [255, 10]);
        assert_eq!(decode(&png_of(&[255, 0, 255, 255], 2, 1, ExtendedColorType::La8)).pixels, [0, 255]);
        let deep: Vec<u8> = [[0u16; 4], [0xffff; 4]].concat().iter().flat_map(|sample| sample.to_ne_bytes()).collect();
        let deep = decode_noted(&png_of(&deep, 2, 1, ExtendedColorType::Rgba16)).unwrap();
        assert_eq!((&deep.image.pixels[..], deep.ground), (&[0, 0, 0, 255, 255, 255][..], Some(Ground::Black)));
        // A palette whose first color is clear, by tRNS
        let clear = raw_png_with(2, 1, 8, 3, &[(b"PLTE", &[0, 0, 0, 255, 255, 255]), (b"tRNS", &[0])], &[0, 1]);
        assert_eq!(decode(&clear).pixels, [0, 0, 0, 255, 255, 255]);
        let empty = decode(&png_of(&[9, 0, 200, 0], 2, 1, ExtendedColorType::La8));
        assert!(empty.is_blank() && empty.pixels == [255, 255]);
    }

    #[test]
    fn sixteen_bits_that_use_a_part_of_their_range_are_scaled_and_it_is_noted() {
        let file = |samples: &[u16]| {
            let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_ne_bytes()).collect();
            png_of(&bytes, samples.len() as u32, 1, ExtendedColorType::L16)
        };
        let twelve = decode_noted(&file(&[0, 2048, 4095])).unwrap();
        assert_eq!((&twelve.image.pixels[..], twelve.bits_used), (&[0, 128, 255][..], Some(12)));
        let whole = decode_noted(&file(&[0, 20_000])).unwrap();
        assert_eq!((&whole.image.pixels[..], whole.bits_used), (&[0, 78][..], None));
    }

    #[test]
    fn jpegs_are_read_gray_and_in_color() {
        let gray = decode(&jpeg(GrayImage::from_pixel(16, 8, image::Luma([90]))));
        assert!(gray.channels == 1 && gray.pixels.iter().all(|sample| sample.abs_diff(90) <= 1));
        let color = decode(&jpeg(RgbImage::from_pixel(8, 16, image::Rgb([200, 30, 60]))));
        assert_eq!((color.width, color.height), (8, 16));
        assert!(color.pixels.chunks(3).all(|p| p[0].abs_diff(200) < 5 && p[1].abs_diff(30) < 5));
    }

    #[test]
    fn a_gif_gives_its_first_frame() {
        let frames = [[255, 0, 0], [0, 0, 255]].map(|color| RgbImage::from_pixel(4, 3, image::Rgb(color)));
        let first = decode(&gif(&frames));
        assert!(first.channels == 3 && first.pixels.chunks(3).all(|pixel| pixel[0] > 200 && pixel[2] < 50));
    }

    #[test]
    fn exif_orientation_is_applied() {
        // Dark above, light below; "rotate 90° clockwise to view" puts the dark half right.
        let stored = jpeg(GrayImage::from_fn(16, 32, |_, y| image::Luma([if y < 16 { 20 } else { 220 }])));
        let upright = decode(&oriented(&stored, 6));
        assert_eq!((upright.width, upright.height), (32, 16));
        assert!(upright.sample(8, 28, 0) < 60 && upright.sample(8, 3, 0) > 180);
        assert_eq!(decode(&oriented(&stored, 1)), decode(&stored));
    }

    #[test]
    fn a_file_cut_short_is_an_error_and_no_half_image() {
        let noisy = RgbImage::from_fn(40, 40, |x, y| image::Rgb([(x * 91 + y * 57) as u8, (x * y) as u8, 9]));
        let files = [png(noisy.clone()), jpeg(noisy.clone()), gif(&[noisy])];
        for file in files {
            for keep in [0, 1, 5, 30, file.len() / 2, file.len() * 9 / 10] {
                let error = super::decode(&file[..keep]).unwrap_err();
                assert!(error.ends_with("remove it"), "{error}");
            }
        }
    }

    #[test]
    fn an_image_that_claims_to_be_huge_is_refused_before_decoding() {
        let mut bomb = png(GrayImage::new(1, 1));
        bomb[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
        assert!(super::decode(&bomb).unwrap_err().contains("65536x65536 pixels"));
    }

    #[test]
    fn what_is_not_an_image_says_so() {
        assert!(super::decode(b"hello, this is text").unwrap_err().starts_with("is text, not an image"));
        for file in [&b"BM\0\0\0\0\0\0\0\0\0\0"[..], b"\x89PNG but not really", b"\xff\xd8hello"] {
            assert!(super::decode(file).unwrap_err().starts_with("is not a PNG, JPEG"));
        }
    }

    #[test]
    fn memory_is_bounded_in_bytes_before_any_is_taken() {
        let mut deep = png_of(&[0; 8], 1, 1, ExtendedColorType::Rgba16);
        deep[16..24].copy_from_slice(&[0, 0, 0x1f, 0x40, 0, 0, 0x1f, 0x40]); // 8000 by 8000
        let mut sum = flate2::Crc::new();
        sum.update(&deep[12..29]);
        deep[29..33].copy_from_slice(&sum.sum().to_be_bytes());
        let error = super::decode(&deep).unwrap_err();
        assert!(error.contains("needs 733 MiB") && error.ends_with("scale it down"), "{error}");
    }
}
