//! Draws a sheet of glyphs, or of another data set with groups: one row per character, one column per drawer.
//!
//! `cargo run --release -p taper-data --example contact_sheet -- SHEET.png [DATA]`; DATA `own` means glyphs by
//! drawers with habits.
#![allow(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use taper_data::{Dataset, Glyphs, GlyphsSize, Hands, Transform, images_by_class, open};

const SIDE: usize = 105;
const CELL: usize = SIDE + 2;
const GROUPS: usize = 4;
const CHARACTERS: usize = 8;
const DRAWINGS: usize = 3;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("say where to write the sheet: contact_sheet SHEET.png [DATA]")?;
    let size = GlyphsSize { alphabets: GROUPS, characters: CHARACTERS, drawings: DRAWINGS };
    let dataset: Arc<dyn Dataset> = match arguments.next().as_deref() {
        None => Arc::new(Glyphs::new(0, size)?),
        Some("own") => Arc::new(Glyphs::by(Hands::Own, 0, size)?),
        Some(data) => open(Path::new(data))?,
    };
    let images = images_by_class(dataset.as_ref());
    let mut groups: BTreeMap<&str, Vec<&[usize]>> = BTreeMap::new();
    for (class, images) in dataset.classes().iter().zip(&images) {
        groups.entry(&class.group).or_default().push(images);
    }
    let transform: Transform = format!("gray resize({SIDE}x{SIDE})").parse()?;
    let (width, height) = (GROUPS * DRAWINGS * CELL, CHARACTERS * CELL);
    let mut sheet = image::GrayImage::from_pixel(width as u32, height as u32, image::Luma([128]));
    for (group, characters) in groups.values().take(GROUPS).enumerate() {
        for (character, images) in characters.iter().take(CHARACTERS).enumerate() {
            for (drawing, &index) in images.iter().take(DRAWINGS).enumerate() {
                let drawn = transform.apply(&dataset.image(index)?, None)?;
                let (left, top) = ((group * DRAWINGS + drawing) * CELL, character * CELL);
                for (place, value) in drawn.values.iter().enumerate() {
                    let (row, column) = (place / SIDE, place % SIDE);
                    let ink = image::Luma([(value * 255.0).round() as u8]);
                    sheet.put_pixel((left + column) as u32, (top + row) as u32, ink);
                }
            }
        }
    }
    sheet.save(&path)?;
    let shown: Vec<&str> = groups.keys().take(GROUPS).copied().collect();
    println!("{path}: {} from left to right, {DRAWINGS} drawings each", shown.join(", "));
    Ok(())
}
