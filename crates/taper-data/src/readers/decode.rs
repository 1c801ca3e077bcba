//! Decoding an image file.

use super::header::{Format, Header, jpeg_is_whole};
use super::jpeg;
use crate::Image;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};
use std::io::Cursor;

/// A decoder may take so much memory for one image.
const MEMORY: u64 = 512 << 20;

/// The image in a PNG, JPEG or GIF file (a GIF's first frame): upright by its EXIF orientation,
/// 8 bits a sample, over white where it is transparent. Gray files give one channel.
///
/// The error says what is wrong with the file and what to do.
pub(crate) fn decode(file: &[u8]) -> Result<Image, String> {
    let header = Header::read(&mut &file[..])?;
    let format = match header.format {
        Format::Png => ImageFormat::Png,
        Format::Jpeg if !jpeg_is_whole(file) => return Err("is cut short, copy it again or remove it".to_string()),
        Format::Jpeg => match jpeg::decode(file)? {
            Some(mut image) => {
                image.apply_orientation(header.orientation);
                return Ok(flatten(image));
            }
            None => ImageFormat::Jpeg,
        },
        Format::Gif => ImageFormat::Gif,
    };
    let mut reader = ImageReader::with_format(Cursor::new(file), format);
    let mut limits = Limits::default();
    limits.max_alloc = Some(MEMORY);
    reader.limits(limits);
    let decoded = reader.into_decoder().and_then(|mut decoder| {
        let orientation = decoder.orientation()?;
        let mut image = DynamicImage::from_decoder(decoder)?;
        image.apply_orientation(orientation);
        Ok(image)
    });
    decoded.map(flatten).map_err(|error| explain(&error))
}

fn explain(error: &ImageError) -> String {
    match error {
        ImageError::IoError(_) => "is cut short, copy it again or remove it".to_string(),
        error => format!("can't be decoded ({}), replace or remove it", error.to_string().replace('\n', " ")),
    }
}

/// To 8 bits, over white.
fn flatten(image: DynamicImage) -> Image {
    let (width, height, color) = (image.width() as usize, image.height() as usize, image.color());
    let (channels, pixels) = match (color.has_color(), color.has_alpha()) {
        (false, false) => (1, image.into_luma8().into_raw()),
        (false, true) => (1, over_white::<2>(&image.into_luma_alpha8())),
        (true, false) => (3, image.into_rgb8().into_raw()),
        (true, true) => (3, over_white::<4>(&image.into_rgba8())),
    };
    Image { width, height, channels, pixels }
}

/// Samples in pixels of `N`, the last of each its opacity, laid over white.
fn over_white<const N: usize>(samples: &[u8]) -> Vec<u8> {
    let mut flat = Vec::with_capacity(samples.len() / N * (N - 1));
    for pixel in samples.chunks_exact(N) {
        let alpha = u32::from(pixel[N - 1]);
        let blend = |&sample: &u8| ((u32::from(sample) * alpha + 255 * (255 - alpha) + 127) / 255) as u8;
        flat.extend(pixel[..N - 1].iter().map(blend));
    }
    flat
}

#[cfg(test)]
mod tests {
    use super::super::samples::{gif, jpeg, oriented, png, png_of};
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
    fn transparency_is_laid_over_white() {
        let rgba = png_of(&[10, 20, 30, 0, 10, 20, 30, 255, 0, 0, 0, 51], 3, 1, ExtendedColorType::Rgba8);
        assert_eq!(decode(&rgba).pixels, [255, 255, 255, 10, 20, 30, 204, 204, 204]);
        assert_eq!(decode(&png_of(&[10, 0, 10, 255], 2, 1, ExtendedColorType::La8)).pixels, [255, 10]);
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
    fn what_is_no_image_says_so() {
        for file in
            [&b"hello, this is text"[..], b"BM\0\0\0\0\0\0\0\0\0\0", b"\x89PNG but not really", b"\xff\xd8hello"]
        {
            assert!(super::decode(file).unwrap_err().starts_with("is no PNG, JPEG or GIF image"));
        }
    }
}
