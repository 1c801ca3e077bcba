//! A seeded mutator of files: what a damaged disk, a cut transfer or an attacker makes of a
//! file. For tests and fuzzing only.

use super::decode::decode;
use crate::Image;
use rand::Rng as _;
use taper_ops::rng;

/// Numbers that readers get wrong.
const EDGES: [u32; 8] = [0, 1, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff];

/// Variant `index` of a file, by a seed: one to four changes, half of them in the first 256 bytes,
/// where the headers are. A change flips a bit, sets a byte, sets a number of two or four bytes to an
/// extreme value, cuts the end off, removes a part, repeats a part, overwrites a part with another, or
/// sets a size or a place in a zip's records. Half of the PNGs get right checksums again, without which
/// their decoder reads no further.
pub fn mutate(file: &[u8], seed: u64, index: u64) -> Vec<u8> {
    let mut rng = rng(seed, "mutation", index);
    let mut made = file.to_vec();
    for _ in 0..rng.random_range(1..=4) {
        if made.is_empty() {
            break;
        }
        let reach = if rng.random() { made.len().min(256) } else { made.len() };
        let at = rng.random_range(0..reach);
        let length = rng.random_range(1..=(made.len() - at).min(64));
        match rng.random_range(0..9) {
            0 => made[at] ^= 1 << rng.random_range(0..8),
            1 => made[at] = rng.random(),
            2 | 3 => {
                let edge = EDGES[rng.random_range(0..EDGES.len())];
                let bytes = if rng.random() { edge.to_be_bytes() } else { edge.to_le_bytes() };
                let width = if rng.random() { 2 } else { 4 };
                made.iter_mut().skip(at).zip(&bytes[..width]).for_each(|(byte, &edge)| *byte = edge);
            }
            4 => made.truncate(at),
            5 => drop(made.drain(at..at + length)),
            6 => {
                let part = made[at..at + length].to_vec();
                let copies = rng.random_range(1..=8);
                made.splice(at..at, part.repeat(copies));
            }
            7 => {
                let from = rng.random_range(0..=made.len() - length);
                made.copy_within(from..from + length, at);
            }
            _ => change_zip_record(&mut made, &mut rng),
        }
    }
    if made.starts_with(PNG) && rng.random() {
        mend_sums(&mut made);
    }
    made
}

/// The signatures of a zip's records, and where each has its method, its sizes, its length and its place.
const RECORDS: [(&[u8], [usize; 5]); 3] =
    [(b"PK\x01\x02", [10, 20, 24, 28, 42]), (b"PK\x03\x04", [8, 18, 22, 26, 28]), (b"PK\x05\x06", [8, 10, 12, 16, 20])];

/// Gives a number of a record the value of another one, so that entries overlap and sizes contradict
/// each other, or any value. Leaves a file without records as it is.
fn change_zip_record(file: &mut [u8], rng: &mut taper_ops::Rng) {
    let (signature, fields) = RECORDS[rng.random_range(0..RECORDS.len())];
    let records: Vec<usize> =
        file.windows(4).enumerate().filter(|(_, window)| *window == signature).map(|(at, _)| at).collect();
    if records.is_empty() {
        return;
    }
    let mut field = || records[rng.random_range(0..records.len())] + fields[rng.random_range(0..fields.len())];
    let (to, from) = (field(), field());
    if to.max(from) + 4 > file.len() {
        return;
    }
    match rng.random_range(0..3) {
        0 => file.copy_within(from..from + 4, to),
        1 => file[to..to + 4].copy_from_slice(&rng.random::<u32>().to_le_bytes()),
        _ => file[to..to + 4].copy_from_slice(&rng.random_range(0..100_000u32).to_le_bytes()),
    }
}

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Sets the checksum of each chunk of a PNG, as far as their lengths hold.
fn mend_sums(file: &mut [u8]) {
    let mut at = PNG.len();
    while let Some(length) = file.get(at..at + 4) {
        let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize;
        let Some(end) = at.checked_add(8 + length).filter(|end| end + 4 <= file.len()) else { return };
        let mut sum = flate2::Crc::new();
        sum.update(&file[at + 4..end]);
        file[end..end + 4].copy_from_slice(&sum.sum().to_be_bytes());
        at = end + 4;
    }
}

/// Decodes a file as a data set's reader does.
///
/// # Errors
/// Returns an error, one line that ends with what to do, if the file can't be decoded.
pub fn decode_file(file: &[u8]) -> Result<Image, String> {
    decode(file)
}

#[cfg(test)]
mod tests {
    use super::super::{golden, samples};
    use super::*;

    /// Variants of each file.
    const VARIANTS: u64 = 80;

    /// The most memory that this process has held, in bytes; 0 where the system does not say.
    fn peak() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) << 10
    }

    #[test]
    fn mutated_files_of_every_format_decode_or_say_why_within_the_bounds() {
        let mut files: Vec<Vec<u8>> = golden::files().map(|(_, file, _)| file).collect();
        files.push(samples::jpeg(image::GrayImage::new(40, 40)));
        let (mut decoded, before) = (0, peak());
        for file in &files {
            for index in 0..VARIANTS {
                match decode_file(&mutate(file, 1, index)) {
                    Ok(image) => {
                        assert_eq!(image.pixels.len(), image.width * image.height * image.channels);
                        decoded += 1;
                    }
                    Err(error) => assert!(!error.is_empty() && !error.contains('\n'), "{error}"),
                }
            }
        }
        assert!(decoded > files.len(), "{decoded} of {} decoded", VARIANTS * files.len() as u64);
        // the system's count is not exact, and may even fall a little
        let grown = peak().saturating_sub(before);
        assert!(grown < super::super::limits::MEMORY + (64 << 20), "{grown} bytes");
    }

    #[test]
    fn mended_pngs_are_read_and_zip_records_change() {
        let mut file = samples::png(image::GrayImage::new(9, 9));
        file[29] ^= 0xff; // the sum of the header
        assert!(decode_file(&file).is_err());
        mend_sums(&mut file);
        assert!(decode_file(&file).is_ok());
        let mut zip = [&b"PK\x03\x04"[..], &[7; 40]].concat();
        let before = zip.clone();
        (0..20).for_each(|index| change_zip_record(&mut zip, &mut rng(0, "zip", index)));
        assert_ne!(zip, before);
    }

    #[test]
    fn a_variant_depends_on_seed_and_index_alone() {
        let file = samples::png(image::GrayImage::new(9, 9));
        assert_eq!(mutate(&file, 3, 5), mutate(&file, 3, 5));
        assert!((0..20).all(|index| mutate(&file, 3, index) != mutate(&file, 4, index)));
    }
}
