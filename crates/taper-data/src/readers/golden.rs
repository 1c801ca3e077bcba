//! Files of every format against Pillow's pixels. `golden/formats.py` wrote them.

use super::decode::decode_noted;
use crate::Image;

const FILES: &str = include_str!("../../golden/formats.txt");

/// Whether this build reads the golden file of this name.
fn is_read(name: &str) -> bool {
    let feature = |start: &str, read: bool| !name.starts_with(start) || read;
    // The `tiff` crate reads no palettes; the error says so
    feature("webp", cfg!(feature = "webp"))
        && feature("tiff", cfg!(feature = "tiff"))
        && feature("heic", cfg!(feature = "heic"))
        && name != "tiff-P"
}

/// Name, file and Pillow's image of all golden files that this build reads.
pub(super) fn files() -> impl Iterator<Item = (&'static str, Vec<u8>, Image)> {
    let lines = FILES.lines().filter(|line| !line.starts_with('#'));
    let case = |line: &'static str| {
        let words: Vec<&str> = line.split(' ').collect();
        let [name, width, height, channels, file, ref samples @ ..] = *words.as_slice() else { panic!("{line}") };
        let byte = |at: usize| u8::from_str_radix(&file[at..at + 2], 16).unwrap();
        let [width, height, channels] = [width, height, channels].map(|size| size.parse().unwrap());
        let pixels = samples.iter().map(|sample| sample.parse().unwrap()).collect();
        (name, (0..file.len()).step_by(2).map(byte).collect(), Image { width, height, channels, pixels })
    };
    lines.map(case).filter(|(name, ..)| is_read(name))
}

#[test]
fn every_format_is_decoded_as_by_pillow_within_a_gray_level() {
    let mut cases = 0;
    for (name, file, theirs) in files() {
        let read = decode_noted(&file).unwrap_or_else(|error| panic!("{name} {error}"));
        let ours = &read.image;
        let size = |image: &Image| (image.width, image.height, image.channels);
        assert_eq!(size(ours), size(&theirs), "{name}");
        let allowed = 1;
        let apart = ours.pixels.iter().zip(&theirs.pixels).map(|(ours, theirs)| ours.abs_diff(*theirs)).max();
        assert!(apart <= Some(allowed), "{name}: {apart:?} levels apart");
        let bits = if name == "png-twelve-bit" { Some(12) } else { None };
        assert_eq!(read.bits_used, bits, "{name}");
        cases += 1;
    }
    assert!(cases >= 35, "{cases}");
}
