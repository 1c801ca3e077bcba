//! Draws a sheet of glyphs: a row a character, a column a drawer.
//!
//! `cargo run --release -p taper-data --example contact_sheet -- glyphs.png [seed]`
#![allow(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use std::error::Error;
use taper_data::{Dataset, Glyphs, GlyphsSize};

const SIDE: usize = 105;
const CELL: usize = SIDE + 2;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("say where to write the sheet: contact_sheet glyphs.png [seed]")?;
    let seed = arguments.next().map_or(Ok(0), |seed| seed.parse())?;
    let size = GlyphsSize { alphabets: 4, characters: 8, drawings: 3 };
    let glyphs = Glyphs::new(seed, size)?;
    let (width, height) = (size.alphabets * size.drawings * CELL, size.characters * CELL);
    let mut sheet = image::GrayImage::from_pixel(width as u32, height as u32, image::Luma([128]));
    for index in 0..glyphs.labels().len() {
        let (class, drawing) = (index / size.drawings, index % size.drawings);
        let (alphabet, character) = (class / size.characters, class % size.characters);
        let left = (alphabet * size.drawings + drawing) * CELL;
        let drawn = glyphs.image(index)?;
        for row in 0..SIDE {
            for column in 0..SIDE {
                let ink = image::Luma([drawn.sample(row, column, 0)]);
                sheet.put_pixel((left + column) as u32, (character * CELL + row) as u32, ink);
            }
        }
    }
    sheet.save(&path)?;
    let groups: Vec<&str> =
        glyphs.classes().iter().step_by(size.characters).map(|class| class.group.as_str()).collect();
    println!("{path}: {} from left to right, {} drawers each", groups.join(", "), size.drawings);
    Ok(())
}
