//! Small files that ask for much memory or time. Each is refused, or costs no more than the bound.

use crate::archives::{gzip, idx, png, zip};
use crate::{Kind, Seed};
use zip::CompressionMethod::{Deflated, Stored};

const CENTRAL: &[u8] = b"PK\x01\x02";
const LOCAL: &[u8] = b"PK\x03\x04";

/// A little more than may have any ratio of packing.
const MUCH: usize = 17 << 20;

/// Every bomb.
pub(crate) fn bombs() -> Vec<Seed> {
    let picture = ("a/1.png", png(1));
    let zeros = vec![0; MUCH];
    let bomb = zip(&[picture.clone(), ("b/1.png", zeros.clone())], Deflated);
    let nested =
        zip(&[picture.clone(), ("b/1.png", zip(&[("0", bomb.clone())], Stored)), ("b/2.png", png(2))], Deflated);
    let stored = zip(&[picture, ("b/1.png", png(2)), ("b/2.png", png(3))], Stored);
    let idx_bomb = gzip(&idx(&[MUCH as u32, 1, 1], &zeros));
    let labels = vec![("train-labels-idx1-ubyte", idx(&[3], &[0, 1, 0]))];
    let bomb_of = |kind, content| Seed { kind, content, beside: Vec::new(), ordinary: false };
    vec![
        // The picture that unpacks to much is left out, and its class with it
        bomb_of(Kind::Zip, bomb),
        bomb_of(Kind::Zip, nested),
        bomb_of(Kind::Zip, overlapping(stored.clone())),
        // The declared sizes of stored entries are unequal
        bomb_of(Kind::Zip, unequal(stored)),
        Seed { beside: labels, ..bomb_of(Kind::Idx, idx_bomb) },
        bomb_of(Kind::Image, png_header(65_535, 65_535, 6)),
        bomb_of(Kind::Image, png_header(8_000, 8_000, 6)),
        bomb_of(Kind::Image, gif_header(0xffff, 0xffff)),
        bomb_of(Kind::Image, bmp_header(0x7fff_ffff, 1)),
        bomb_of(Kind::Image, bmp_header(8_000, 8_000)),
        bomb_of(Kind::Image, b"P6\n8000 8000\n255\n".to_vec()),
        bomb_of(Kind::Image, [b"qoif", &8_000u32.to_be_bytes()[..], &8_000u32.to_be_bytes(), &[4, 0]].concat()),
        bomb_of(Kind::Image, webp_lossless_header(16_384, 4_000)),
        bomb_of(Kind::Image, webp_canvas_of_another_size()),
        bomb_of(Kind::Image, tiff_header(8_000, 8_000, 4)),
        bomb_of(Kind::Image, tiff_header(u32::MAX, u32::MAX, 4)),
    ]
}

/// The second entry's data are those of the first.
fn overlapping(mut file: Vec<u8>) -> Vec<u8> {
    let at = places(&file, CENTRAL)[1];
    file[at + 42..at + 46].copy_from_slice(&[0; 4]);
    file
}

/// The second entry says that it unpacks to 4 GiB.
fn unequal(mut file: Vec<u8>) -> Vec<u8> {
    let (central, local) = (places(&file, CENTRAL)[1], places(&file, LOCAL)[1]);
    file[central + 24..central + 28].copy_from_slice(&[0xf0; 4]);
    file[local + 22..local + 26].copy_from_slice(&[0xf0; 4]);
    file
}

fn places(file: &[u8], signature: &[u8]) -> Vec<usize> {
    file.windows(4).enumerate().filter(|(_, window)| *window == signature).map(|(at, _)| at).collect()
}

/// A PNG of one chunk of pixels that says it is this large.
fn png_header(width: u32, height: u32, color: u8) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, color, 0, 0, 0]].concat();
    let pixels = {
        let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut packed, &vec![0; 1 << 20]).unwrap();
        packed.finish().unwrap()
    };
    for (name, content) in [(b"IHDR", &header[..]), (b"IDAT", &pixels), (b"IEND", &[])] {
        file.extend((content.len() as u32).to_be_bytes());
        let named = [&name[..], content].concat();
        let mut sum = flate2::Crc::new();
        sum.update(&named);
        file.extend(&named);
        file.extend(sum.sum().to_be_bytes());
    }
    file
}

fn gif_header(width: u16, height: u16) -> Vec<u8> {
    let (width, height) = (width.to_le_bytes(), height.to_le_bytes());
    let palette = [0u8; 6];
    [
        b"GIF89a",
        &width[..],
        &height,
        &[0x80, 0, 0],
        &palette,
        &[0x2c, 0, 0, 0, 0],
        &width,
        &height,
        &[0, 2, 2, 0x4c, 1, 0, 0x3b],
    ]
    .concat()
}

/// A bitmap in run-length encoding without runs.
fn bmp_header(width: u32, height: u32) -> Vec<u8> {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let colors = [0u8; 1024];
    let info = [&words(&[40, width, height])[..], &[1, 0, 8, 0], &words(&[1, 0, 0, 0, 256, 0])].concat();
    [b"BM", &words(&[2048, 0, 54 + 1024])[..], &info, &colors, &[0, 1]].concat()
}

/// A lossless WebP whose one code, of one symbol, fills the whole picture.
fn webp_lossless_header(width: u32, height: u32) -> Vec<u8> {
    let size = (width - 1) | (height - 1) << 14;
    let data = [&[0x2f][..], &size.to_le_bytes(), &[0x88, 0x88, 0x08, 0, 0, 0, 0, 0]].concat();
    riff(&[(b"VP8L", data)])
}

/// A WebP whose canvas is small and whose lossy frame is large.
fn webp_canvas_of_another_size() -> Vec<u8> {
    let canvas = [&[0u8; 4][..], &[15, 0, 0, 15, 0, 0]].concat();
    let side = 16_383u16.to_le_bytes();
    let frame = [&[0x10, 0x40, 0x00, 0x9d, 0x01, 0x2a][..], &side, &side, &[0; 4096]].concat();
    riff(&[(b"VP8X", canvas), (b"VP8 ", frame)])
}

fn riff(chunks: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
    let mut body = b"WEBP".to_vec();
    for (name, content) in chunks {
        body.extend([&name[..], &(content.len() as u32).to_le_bytes(), content].concat());
        body.extend(vec![0; content.len() % 2]);
    }
    [b"RIFF", &(body.len() as u32).to_le_bytes()[..], &body].concat()
}

/// A TIFF of one strip that says it is this large, 16 bits per sample.
fn tiff_header(width: u32, height: u32, samples: u32) -> Vec<u8> {
    let entries: [(u16, u16, u32); 9] = [
        (256, 4, width),
        (257, 4, height),
        (258, 3, 16),
        (259, 3, 1),
        (262, 3, 2),
        (273, 4, 8),
        (277, 3, samples),
        (278, 4, height),
        (279, 4, 64),
    ];
    let mut file = b"II*\0\x08\0\0\0".to_vec();
    file.extend((entries.len() as u16).to_le_bytes());
    for (tag, kind, value) in entries {
        file.extend([&tag.to_le_bytes()[..], &kind.to_le_bytes(), &1u32.to_le_bytes(), &value.to_le_bytes()].concat());
    }
    file.extend([0; 68]);
    file
}
