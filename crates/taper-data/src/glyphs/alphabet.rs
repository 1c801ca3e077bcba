//! A synthetic alphabet.

use super::character::Character;
use super::likeness::Likeness;
use super::random::GlyphRng;
use super::style::Style;
use crate::{DataError, Result};

/// Attempts at one character before the alphabet counts as full.
const ATTEMPTS: usize = 2000;

/// A synthetic alphabet: a style, and characters that all differ clearly.
#[derive(Debug)]
pub(super) struct Alphabet {
    pub(super) style: Style,
    pub(super) characters: Vec<Character>,
}

impl Alphabet {
    /// The alphabet at this place. Its first characters don't depend on how many are requested.
    ///
    /// Fails if the style has no room for that many different characters.
    pub(super) fn invent(seed: u64, place: usize, characters: usize) -> Result<Self> {
        Self::within(ATTEMPTS, seed, place, characters)
    }

    fn within(attempts: usize, seed: u64, place: usize, characters: usize) -> Result<Self> {
        let style = Style::invent(&mut GlyphRng::new(seed, "glyphs alphabet", [place]));
        let mut alphabet = Self { style, characters: Vec::with_capacity(characters) };
        let mut known: Vec<Likeness> = Vec::with_capacity(characters);
        for number in 0..characters {
            let rng = &mut GlyphRng::new(seed, "glyphs character", [place, number]);
            let found = (0..attempts).find_map(|_| {
                let character = alphabet.attempt(rng);
                let likeness = character.is_writable().then(|| Likeness::of(&character))?;
                (!known.iter().any(|known| known.is_alike(&likeness))).then_some((character, likeness))
            });
            let Some((character, likeness)) = found else {
                return Err(DataError::Invalid(format!(
                    "a synthetic alphabet has room for {number} different characters, not for {characters}: \
                     ask for fewer characters and more alphabets"
                )));
            };
            alphabet.characters.push(character);
            known.push(likeness);
        }
        Ok(alphabet)
    }

    /// A new character, or an earlier one with one or two edits.
    fn attempt(&self, rng: &mut GlyphRng) -> Character {
        if self.characters.is_empty() || !rng.coin(self.style.varied) {
            return Character::invent(&self.style, rng);
        }
        let model = &self.characters[rng.below(self.characters.len())];
        let varied = model.varied(&self.style, rng);
        if rng.coin(0.25) { varied.varied(&self.style, rng) } else { varied }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_characters_of_an_alphabet_are_alike() {
        for place in 0..5 {
            let alphabet = Alphabet::invent(3, place, 40).unwrap();
            let known: Vec<Likeness> = alphabet.characters.iter().map(Likeness::of).collect();
            for (number, one) in known.iter().enumerate() {
                assert!(one.is_alike(one));
                assert!(known[..number].iter().all(|other| !one.is_alike(other)), "character {number} of {place}");
            }
        }
    }

    #[test]
    fn an_alphabet_that_is_full_says_how_many_characters_it_has_room_for() {
        let error = Alphabet::within(3, 3, 0, 1000).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("has room for") && error.ends_with("more alphabets"), "{error}");
    }
}
