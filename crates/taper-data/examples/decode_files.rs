//! Decodes image files and prints what was read, or why not: `decode_files FILE...`.
#![allow(clippy::print_stdout, reason = "an example prints")]

use std::path::Path;

fn main() {
    for name in std::env::args().skip(1) {
        match taper_data::read_image_noted(Path::new(&name)) {
            Ok(read) => {
                let image = read.image;
                let mean =
                    image.pixels.iter().map(|&sample| f64::from(sample)).sum::<f64>() / image.pixels.len() as f64;
                let (format, ground, bits) = (read.format, read.ground, read.bits_used);
                println!(
                    "{name}: {format} {}x{}x{}, mean {mean:.2}, ground {ground:?}, bits {bits:?}, blank {}",
                    image.width,
                    image.height,
                    image.channels,
                    image.is_blank()
                );
            }
            Err(error) => println!("{error}"),
        }
    }
}
