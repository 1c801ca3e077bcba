//! Decoded and resized images against Pillow's. `golden/photographs.py` and `golden/jpegs.py`
//! wrote the numbers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test may fail, and say why it was skipped"
)]

use std::path::Path;
use taper_data::{Image, Transform, read_image};

/// Every nth sample of (row, column, channel), as in `golden/photographs.py`.
fn samples(values: &[u8], count: usize) -> Vec<u8> {
    (0..count).map(|index| values[(index * 7919 * 13) % values.len()]).collect()
}

/// The image through a transform, as bytes.
fn bytes(text: &str, image: &Image) -> Vec<u8> {
    let planes = text.parse::<Transform>().unwrap().apply(image, None).unwrap();
    let size = planes.height * planes.width;
    let level = |place: usize, channel: usize| (planes.values[channel * size + place] * 255.0).round() as u8;
    (0..size).flat_map(|place| (0..3).map(move |channel| (place, channel))).map(|(p, c)| level(p, c)).collect()
}

#[test]
fn photographs_are_decoded_and_resized_as_by_pillow() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    if !shared.exists() {
        println!("skipped, no {}", shared.display());
        return;
    }
    let mut compared = 0;
    for line in include_str!("../golden/photographs.txt").lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        let [name, filter, width, height, ref theirs @ ..] = *words.as_slice() else { panic!("{line}") };
        let image = read_image(&shared.join(name)).unwrap();
        let (ours, allowed) = match width {
            "0" => (image.pixels, 0),
            _ => (bytes(&format!("resize({width}x{height},{filter})"), &image), 1),
        };
        for (ours, theirs) in samples(&ours, theirs.len()).into_iter().zip(theirs) {
            let difference = ours.abs_diff(theirs.parse().unwrap());
            assert!(difference <= allowed, "{name} {filter} {width}x{height}: {ours}, Pillow's {theirs}");
            compared += 1;
        }
    }
    assert!(compared > 4000);
}

#[test]
fn jpegs_of_every_kind_and_orientation_are_decoded_as_by_pillow() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.jpg");
    let mut cases = 0;
    for line in include_str!("../golden/jpegs.txt").lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        let [name, width, height, channels, file, ref theirs @ ..] = *words.as_slice() else { panic!("{line}") };
        let byte = |at: usize| u8::from_str_radix(&file[at..at + 2], 16).unwrap();
        std::fs::write(&path, (0..file.len()).step_by(2).map(byte).collect::<Vec<u8>>()).unwrap();
        let image = read_image(&path).unwrap();
        let size = [image.width, image.height, image.channels].map(|size| size.to_string());
        assert_eq!(size, [width, height, channels], "{name}");
        assert_eq!(image.pixels.len(), theirs.len(), "{name}");
        for (place, (ours, theirs)) in image.pixels.iter().zip(theirs).enumerate() {
            assert_eq!(*ours, theirs.parse::<u8>().unwrap(), "{name}: sample {place}, ours and Pillow's");
        }
        cases += 1;
    }
    assert_eq!(cases, 14);
}
