//! Synthetic alphabets by simulated drawers: a data set without a file.
//!
//! Made to look like Omniglot (Lake, Salakhutdinov & Tenenbaum 2015, "Human-level concept
//! learning through probabilistic program induction") and based on its model of a character: a
//! program of strokes with relations, drawn each time with new noise at every level. An
//! alphabet has a [`Style`](style::Style), a [`Drawer`] habits, a [`Character`](character::Character)
//! strokes; `draw` brings the three together.

mod alphabet;
mod character;
mod drawer;
mod drawing;
mod likeness;
mod name;
mod point;
mod quirks;
mod random;
mod raster;
mod shape;
mod stroke;
mod style;

use crate::{Class, DataError, Dataset, Hash, Image, Result};
use alphabet::Alphabet;
use drawer::Drawer;
use random::GlyphRng;
use rayon::prelude::*;

/// How many glyphs to draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GlyphsSize {
    /// Alphabets, each a group.
    pub alphabets: usize,
    /// Characters of an alphabet, each a class.
    pub characters: usize,
    /// Drawings of a character, each by another drawer.
    pub drawings: usize,
}

/// How drawers differ from each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hands {
    /// Only in size, slant, pen and care. `compare`'s data set uses this; it does not change, so that
    /// results on it stay comparable.
    Even,
    /// Also in habits, such as drawing curves as a few straight lines, ending strokes in a tail or
    /// joining two strokes: closer to real drawers, and better training data.
    Own,
}

/// Synthetic alphabets of characters made of strokes: 105 by 105 pixels, one channel, black (0) on
/// white (255), without grays.
///
/// Images are drawn on demand. Image `i` is by drawer `i % drawings` of its alphabet;
/// alphabets don't share drawers. Everything depends only on the seed, on every machine; an
/// alphabet, a character or a drawing does not depend on the size of the data set.
pub struct Glyphs {
    seed: u64,
    alphabets: Vec<Alphabet>,
    drawers: Vec<Drawer>,
    classes: Vec<Class>,
    labels: Vec<u32>,
    size: GlyphsSize,
}

impl Glyphs {
    /// The glyphs of a seed, by [`Hands::Even`].
    ///
    /// # Errors
    /// Returns an error if [`Glyphs::by`] does.
    pub fn new(seed: u64, size: GlyphsSize) -> Result<Self> {
        Self::by(Hands::Even, seed, size)
    }

    /// The glyphs of a seed, with this kind of drawer. The alphabets don't depend on their drawers.
    ///
    /// # Errors
    /// Returns an error if a number of the size is 0 or above a million, or if an alphabet has no room
    /// for that many different characters.
    pub fn by(hands: Hands, seed: u64, size: GlyphsSize) -> Result<Self> {
        let GlyphsSize { alphabets, characters, drawings } = size;
        for (what, number) in [("alphabets", alphabets), ("characters", characters), ("drawings", drawings)] {
            if !(1..=1_000_000).contains(&number) {
                return Err(DataError::Invalid(format!("{number} {what} of glyphs: ask for 1 to 1000000")));
            }
        }
        let images = alphabets.checked_mul(characters).and_then(|classes| classes.checked_mul(drawings));
        if images.is_none_or(|images| images > u32::MAX as usize) {
            return Err(DataError::Invalid(format!(
                "{alphabets} alphabets of {characters} characters drawn {drawings} times are more than {} images: \
                 ask for fewer",
                u32::MAX
            )));
        }
        let names = name::alphabet_names(seed, alphabets);
        let classes = names.iter().flat_map(|group| {
            (1..=characters).map(|number| Class { name: format!("character{number:02}"), group: group.clone() })
        });
        let classes: Vec<Class> = classes.collect();
        let labels = (0..classes.len() as u32).flat_map(|class| std::iter::repeat_n(class, drawings)).collect();
        let drawers = (0..alphabets).flat_map(|alphabet| (0..drawings).map(move |drawer| [alphabet, drawer]));
        let drawers =
            drawers.map(|place| Drawer::invent(hands, &mut GlyphRng::new(seed, "glyphs drawer", place))).collect();
        let alphabets = (0..alphabets).into_par_iter().map(|place| Alphabet::invent(seed, place, characters));
        let alphabets = alphabets.collect::<Result<_>>()?;
        Ok(Self { seed, alphabets, drawers, classes, labels, size })
    }

    /// The data set that comparisons use by default: 40 alphabets of 20 characters, 20
    /// drawings of each, always the same.
    ///
    /// # Errors
    /// Never in practice.
    pub fn standard() -> Result<Self> {
        Self::new(0, GlyphsSize { alphabets: 40, characters: 20, drawings: 20 })
    }

    /// Synthetic alphabets to train on, different from those of [`Self::standard`], by drawers
    /// with habits.
    ///
    /// # Errors
    /// Returns an error if there are 0 alphabets or more than a million.
    pub fn for_training(alphabets: usize) -> Result<Self> {
        Self::by(Hands::Own, 1, GlyphsSize { alphabets, characters: 20, drawings: 20 })
    }

    /// Alphabet, character and drawing of an image.
    fn place(&self, index: usize) -> [usize; 3] {
        let GlyphsSize { characters, drawings, .. } = self.size;
        [index / drawings / characters, index / drawings % characters, index % drawings]
    }
}

impl Dataset for Glyphs {
    fn name(&self) -> &str {
        "glyphs"
    }

    fn classes(&self) -> &[Class] {
        &self.classes
    }

    fn labels(&self) -> &[u32] {
        &self.labels
    }

    fn image(&self, index: usize) -> Result<Image> {
        if index >= self.labels.len() {
            return Err(DataError::Invalid(format!(
                "glyphs image {index} does not exist: there are {}, counted from 0",
                self.labels.len()
            )));
        }
        let place @ [alphabet, character, drawing] = self.place(index);
        let Alphabet { style, characters } = &self.alphabets[alphabet];
        let drawer = &self.drawers[alphabet * self.size.drawings + drawing];
        let rng = &mut GlyphRng::new(self.seed, "glyphs drawing", place);
        Ok(drawing::draw(&characters[character], style, drawer, rng))
    }

    fn size(&self, _: usize) -> Result<(usize, usize, usize)> {
        Ok((1, raster::SIDE, raster::SIDE))
    }

    fn content_hash(&self, index: usize) -> Result<Hash> {
        Ok(Hash::of(&self.image(index)?.pixels))
    }

    fn image_name(&self, index: usize) -> String {
        let drawing = index % self.size.drawings + 1;
        match self.labels.get(index) {
            Some(&label) => format!("{} drawing {drawing}", self.classes[label as usize].full_name()),
            None => format!("glyphs image {index}"),
        }
    }
}

#[cfg(test)]
mod tests;
