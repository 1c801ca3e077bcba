//! Names for invented alphabets.

use super::chance::Chance;
use std::collections::HashSet;

const ONSETS: [&str; 24] = [
    "b", "d", "f", "g", "h", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z", "ch", "sh", "th", "br", "dr", "kr",
    "st", "tr", "y",
];
const VOWELS: [&str; 10] = ["a", "a", "e", "e", "i", "i", "o", "o", "u", "au"];
const ENDINGS: [&str; 10] = ["ni", "ri", "ra", "la", "n", "sh", "th", "mi", "ki", "sa"];

/// Pronounceable names, all different; a name depends on the seed and its number alone.
pub(super) fn alphabet_names(seed: u64, number: usize) -> Vec<String> {
    let mut known = HashSet::new();
    (0..number)
        .map(|place| {
            let mut chance = Chance::new(seed, "glyphs alphabet name", [place]);
            let mut syllables = 2;
            loop {
                let name = pronounceable(syllables, &mut chance);
                if known.insert(name.clone()) {
                    return name;
                }
                // Short names have run out when chance hits a known one again and again.
                syllables = if chance.coin(0.2) { syllables + 1 } else { syllables };
            }
        })
        .collect()
}

/// Syllables and an ending: `Velani`.
fn pronounceable(syllables: usize, chance: &mut Chance) -> String {
    let mut name: String = (0..syllables).flat_map(|_| [chance.choose(&ONSETS), chance.choose(&VOWELS)]).collect();
    name.push_str(chance.choose(&ENDINGS));
    name[..1].to_uppercase() + &name[1..]
}
