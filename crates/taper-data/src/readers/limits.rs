//! Limits on what a data set's files may cost, in one place.
//!
//! | limit | value | reason |
//! |---|---|---|
//! | bytes of one picture file, loose or unpacked from a zip | 256 MiB | larger files are videos, archives or bombs |
//! | unpacked size of a zip entry above 16 MiB | 200 times its packed size | uncompressed formats with flat areas stay below |
//! | bytes of a zip's entries that share bytes with another entry | 0 | overlapping entries are how small zips unpack to terabytes |
//! | entries of a zip, files of a folder | 5 million | 21 times ImageNet-21k's classes, 5 times ImageNet-1k's images |
//! | depth of folders | 64 | |
//! | bytes of an IDX data set, unpacked | 4 GiB | |
//! | unpacked size of a gzipped IDX file above 16 MiB | 200 times its packed size | MNIST's files: 4 to 5 times |
//! | bytes of a CIFAR file | 1 GiB | six times all of CIFAR |
//! | bytes of a text file of names | 1 MiB | |
//! | bytes of a table of labels | 256 MiB | |
//! | bytes of a label in a tar | 64 KiB | |
//! | a page of a Parquet file, unpacked | 256 MiB, and above 16 MiB 200 times its packed size | pages hold about 1 MiB, or one image |
//! | bytes of a data set of vectors | 4 GiB | |
//! | rows of a Parquet data set | 5 million | |
//! | bytes of one file of a Lake run, of all runs together | 16 MiB, 256 MiB | the published runs: 2 MB |
//! | pixels of a picture | 67,108,864 ([`PIXELS`]) | checked against the header, before anything of the picture's size is allocated |
//! | memory to decode a picture | 512 MiB ([`MEMORY`]) | what the decoder holds and the 8-bit picture together; checked against the header |
//! | scans of a JPEG | 100 ([`SCANS`]) | each goes over the whole picture; checked before it is decoded |
//! | metadata of a picture, unpacked | 1 MiB ([`METADATA`]) | |
//!
//! Declared sizes are never trusted: memory grows with what was read, and reading stops one byte
//! past a limit. Zips inside zips are never opened. Only regular files are opened: pipes, sockets
//! and devices are listed as left out.
//!
//! A worker thread decodes one picture at a time, so `n` threads need `n` times [`MEMORY`] at most.
//! A transform that starts with a crop or a resize adds the size of its result, not of the picture.

/// The largest picture file.
pub const FILE: u64 = 256 << 20;
/// Files that unpack to less than this may have any ratio.
pub const RATIO_FROM: u64 = 16 << 20;
/// The largest ratio of unpacked to packed bytes.
pub const RATIO: u64 = 200;
/// The most files of a folder, or entries of a zip.
pub const FILES: usize = 5_000_000;
/// The deepest folder.
pub const DEPTH: usize = 64;
/// The largest IDX data set, unpacked.
pub const IDX: u64 = 4 << 30;
/// The largest CIFAR file.
pub const CIFAR: u64 = 1 << 30;
/// The largest text file of names.
pub const NAMES: u64 = 1 << 20;
/// The largest table of labels.
pub const TABLE: u64 = 256 << 20;
/// The largest file with a label in a tar.
pub const LABEL: u64 = 64 << 10;
/// The largest data set of vectors.
pub const VECTORS: u64 = 4 << 30;
/// The largest file of a Lake run.
pub const LAKE_FILE: u64 = 16 << 20;
/// All files of Lake's runs together.
pub const LAKE: u64 = 256 << 20;

/// Pixels of a picture: 64 million (2²⁶).
pub const PIXELS: u64 = 1 << 26;
/// Bytes of memory that decoding a picture may take, its result included.
pub const MEMORY: u64 = 512 << 20;
/// Scans of a JPEG: each goes over the whole picture, and a few bytes suffice to ask for one.
pub const SCANS: usize = 100;
/// Bytes of EXIF or XMP metadata, after unpacking.
pub const METADATA: u64 = 1 << 20;

/// The most bytes that `packed` bytes may unpack to, and never more than `most`.
pub(crate) fn unpacked(packed: u64, most: u64) -> u64 {
    packed.saturating_mul(RATIO).max(RATIO_FROM).min(most)
}

/// Checks that a picture of `pixels` pixels, decoded with `bytes_per_pixel` bytes of memory each,
/// stays within [`MEMORY`].
pub(super) fn check_memory(pixels: u64, bytes_per_pixel: f64) -> Result<(), String> {
    let needed = pixels as f64 * bytes_per_pixel;
    if needed <= MEMORY as f64 {
        return Ok(());
    }
    let mib = |bytes: f64| (bytes / f64::from(1 << 20)).ceil();
    Err(format!("needs {} MiB of memory to decode, more than {} MiB: scale it down", mib(needed), mib(MEMORY as f64)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_files_may_have_any_ratio_and_large_ones_have_a_limit() {
        assert_eq!(unpacked(10, FILE), RATIO_FROM);
        assert_eq!(unpacked(1 << 20, FILE), 200 << 20);
        assert_eq!(unpacked(u64::MAX, FILE), FILE);
    }
}
