//! What a WebP file says about its picture. Its chunks are walked here, since the decoder takes
//! memory by the sizes that a chunk declares.

use super::header::{Found, bytes, damaged, read, skip};
use super::limits::METADATA;
use super::orientation::Metadata;
use image::metadata::Orientation;
use std::io::{self, Read};

/// The header: of a simple file its first chunk, of an extended one the canvas and the metadata
/// wherever they are.
pub(super) fn header(source: &mut impl Read) -> io::Result<Found> {
    let _: [u8; 12] = bytes(source)?;
    let found = |(width, height), orientation| Found { channels: 3, height, width, orientation };
    let (name, length) = chunk(source)?;
    match (&name, length) {
        (b"VP8 ", _) => Ok(found(lossy_size(source)?, Orientation::NoTransforms)),
        (b"VP8L", _) => Ok(found(lossless_size(source)?, Orientation::NoTransforms)),
        (b"VP8X", length) if length >= 10 => {
            let [_, _, _, _, w0, w1, w2, h0, h1, h2]: [u8; 10] = bytes(source)?;
            let side = |low, middle, high| 1 + u32::from_le_bytes([low, middle, high, 0]);
            let canvas = (side(w0, w1, w2), side(h0, h1, h2));
            skip(source, length - 10)?;
            let mut metadata = Metadata::default();
            // Whether the picture is whole is for the decoder to say
            match parts(source, canvas, &mut metadata) {
                Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
                _ => Ok(found(canvas, metadata.orientation())),
            }
        }
        _ => Err(damaged("a WebP without a picture")),
    }
}

/// The chunks behind an extended header.
fn parts(source: &mut impl Read, canvas: (u32, u32), metadata: &mut Metadata) -> io::Result<()> {
    loop {
        let (name, length) = chunk(source)?;
        match (&name, length) {
            (b"EXIF", length) if length <= METADATA && metadata.exif.is_none() => {
                metadata.exif = Some(read(source, length as usize)?);
                skip(source, length % 2)?;
            }
            (b"XMP ", length) if length <= METADATA && metadata.xmp.is_none() => {
                metadata.xmp = Some(read(source, length as usize)?);
                skip(source, length % 2)?;
            }
            // The decoder takes memory by the frame's own size
            (b"VP8 ", length) if length >= 10 => {
                if lossy_size(source)? != canvas {
                    return Err(damaged("a WebP whose frame and canvas differ in size"));
                }
                skip(source, length + length % 2 - 10)?;
            }
            (_, length) => skip(source, length + length % 2)?,
        }
    }
}

fn chunk(source: &mut impl Read) -> io::Result<([u8; 4], u64)> {
    Ok((bytes(source)?, u32::from_le_bytes(bytes(source)?).into()))
}

/// The size in a lossy frame's first ten bytes.
fn lossy_size(source: &mut impl Read) -> io::Result<(u32, u32)> {
    let [_, _, _, _, _, _, w0, w1, h0, h1]: [u8; 10] = bytes(source)?;
    let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
    Ok((side(w0, w1), side(h0, h1)))
}

/// The size in a lossless frame's first five bytes. The decoder takes a side of 16,384 for 0.
fn lossless_size(source: &mut impl Read) -> io::Result<(u32, u32)> {
    let [_, b0, b1, b2, b3]: [u8; 5] = bytes(source)?;
    let header = u32::from_le_bytes([b0, b1, b2, b3]);
    Ok((header.wrapping_add(1) & 0x3fff, (header >> 14).wrapping_add(1) & 0x3fff))
}

/// Bytes per pixel that the decoder holds beside its result: of a still picture the samples, the
/// transforms and the opacity; of an animation also a frame and the canvas.
pub(super) fn work(file: &[u8]) -> f64 {
    let animated = file.get(12..16) == Some(b"VP8X") && file.get(20).is_some_and(|flags| flags & 2 != 0);
    if animated { 15.0 } else { 8.0 }
}

#[cfg(test)]
mod tests {
    use super::super::golden;
    use super::super::header::Header;

    fn golden(name: &str) -> Vec<u8> {
        golden::files().find(|(known, ..)| *known == name).map(|(_, file, _)| file).unwrap()
    }

    fn place(file: &[u8], name: &[u8]) -> usize {
        file.windows(4).position(|window| window == name).unwrap()
    }

    /// The decoder would take 4 GB for it, whatever the file has.
    #[test]
    fn metadata_that_claim_gigabytes_are_not_read() {
        let mut file = golden("webp-exif");
        assert_eq!(Header::read(&mut &file[..]).unwrap().size, (3, 21, 13));
        let at = place(&file, b"EXIF");
        file[at + 4..at + 8].copy_from_slice(&0xffff_fff0u32.to_le_bytes());
        let header = Header::read(&mut &file[..]).unwrap();
        assert_eq!(header.size, (3, 13, 21), "upright as stored");
    }

    #[test]
    fn a_frame_larger_than_its_canvas_is_refused_before_it_is_decoded() {
        let mut file = golden("webp-lossy");
        let frame = place(&file, b"VP8 ");
        let canvas = [b"VP8X", &10u32.to_le_bytes()[..], &[0; 4], &[20, 0, 0, 12, 0, 0]].concat();
        file.splice(frame..frame, canvas);
        assert_eq!(Header::read(&mut &file[..]).unwrap().size, (3, 13, 21));
        let at = place(&file, b"VP8 ") + 14;
        file[at..at + 4].copy_from_slice(&[0xff, 0x3f, 0xff, 0x3f]);
        let error = Header::read(&mut &file[..]).unwrap_err();
        assert!(error.contains("frame and canvas differ in size"), "{error}");
    }
}
