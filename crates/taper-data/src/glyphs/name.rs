//! Names for synthetic alphabets.

use super::random::GlyphRng;
use std::collections::HashSet;

const ONSETS: [&str; 24] = [
    "b", "d", "f", "g", "h", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z", "ch", "sh", "th", "br", "dr", "kr",
    "st", "tr", "y",
];
const VOWELS: [&str; 10] = ["a", "a", "e", "e", "i", "i", "o", "o", "u", "au"];
const ENDINGS: [&str; 10] = ["ni", "ri", "ra", "la", "n", "sh", "th", "mi", "ki", "sa"];

/// Pronounceable names, all different; a name depends only on the seed and its number.
pub(super) fn alphabet_names(seed: u64, number: usize) -> Vec<String> {
    let mut known = HashSet::new();
    (0..number)
        .map(|place| {
            let mut rng = GlyphRng::new(seed, "glyphs alphabet name", [place]);
            let mut syllables = 2;
            loop {
                let name = pronounceable(syllables, &mut rng);
                if known.insert(name.clone()) {
                    return name;
                }
                // repeated collisions mean that short names have run out
                syllables = if rng.coin(0.2) { syllables + 1 } else { syllables };
            }
        })
        .collect()
}

/// Syllables and an ending: `Velani`.
fn pronounceable(syllables: usize, rng: &mut GlyphRng) -> String {
    let mut name: String = (0..syllables).flat_map(|_| [rng.choose(&ONSETS), rng.choose(&VOWELS)]).collect();
    name.push_str(rng.choose(&ENDINGS));
    name[..1].to_uppercase() + &name[1..]
}
