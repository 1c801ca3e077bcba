//! Look-alikes of the challenge's runs, from a data set of drawings.

use crate::{DataError, Dataset, Result, Transform, images_by_class};
use std::fmt;
use taper_ops::{Rng, permutation, rng};

/// Characters per run.
const CHARACTERS: usize = 20;

/// Whose drawings a run takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drawers {
    /// Two random drawers, different for each run.
    Random,
    /// The two drawers of the alphabet whose drawings are closest to the other drawers', by the mean
    /// over characters of the squared difference of centered drawings scaled down to 15 by 15
    /// pixels. This is closer to the published runs, whose drawers were selected.
    Typical,
}

/// A run: characters, one drawing of each to learn from, and the same by another drawer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookAlike {
    /// The alphabet.
    pub alphabet: String,
    /// The image to learn each character from.
    pub training: Vec<usize>,
    /// The images to classify.
    pub test: Vec<usize>,
    /// For each of them, its place in `training`.
    pub answers: Vec<usize>,
}

/// `runs` runs of 20 characters from each of the `alphabets`, alphabet by alphabet. The images of
/// a character, in the order of their names, are by the alphabet's drawers, in the same order
/// for every character, as in Omniglot.
///
/// # Errors
///
/// Returns an error if an alphabet is missing, has too few characters, or its characters were not all
/// drawn by the same number of people.
pub fn look_alikes(
    dataset: &dyn Dataset,
    alphabets: &[String],
    runs: usize,
    drawers: Drawers,
    seed: u64,
) -> Result<Vec<LookAlike>> {
    let images = images_by_class(dataset);
    let mut made = Vec::with_capacity(alphabets.len() * runs);
    for name in alphabets {
        let characters: Vec<&[usize]> = dataset
            .classes()
            .iter()
            .zip(&images)
            .filter(|(class, _)| class.group == *name)
            .map(|(_, images)| images.as_slice())
            .collect();
        let people = characters.first().map_or(0, |images| images.len());
        if characters.len() < CHARACTERS || people < 2 || characters.iter().any(|images| images.len() != people) {
            return Err(DataError::Invalid(format!(
                "alphabet `{name}` of {} has {} characters by {people} drawers, but a run takes {CHARACTERS} by 2: choose another",
                dataset.name(),
                characters.len()
            )));
        }
        let rng = &mut rng(seed, "look-alikes", made.len() as u64);
        let typical = match drawers {
            Drawers::Random => None,
            Drawers::Typical => Some(typical(dataset, &characters)?),
        };
        for _ in 0..runs {
            made.push(run(name, &characters, typical, rng));
        }
    }
    Ok(made)
}

fn run(alphabet: &str, characters: &[&[usize]], typical: Option<[usize; 2]>, rng: &mut Rng) -> LookAlike {
    let chosen = &permutation(rng, characters.len())[..CHARACTERS];
    let order = match typical {
        Some(pair) => permutation(rng, 2).iter().map(|&place| pair[place]).collect(),
        None => permutation(rng, characters[0].len()),
    };
    let answers = permutation(rng, CHARACTERS);
    LookAlike {
        alphabet: alphabet.to_string(),
        training: chosen.iter().map(|&character| characters[character][order[0]]).collect(),
        test: answers.iter().map(|&place| characters[chosen[place]][order[1]]).collect(),
        answers,
    }
}

/// The two drawers whose drawings are closest to the others'.
fn typical(dataset: &dyn Dataset, characters: &[&[usize]]) -> Result<[usize; 2]> {
    let small: Transform = "gray center(box) resize(15x15)".parse()?;
    let mut off = vec![0.0f64; characters[0].len()];
    for images in characters {
        let drawings: Vec<Vec<f32>> =
            images.iter().map(|&index| Ok(small.apply(&dataset.image(index)?, None)?.values)).collect::<Result<_>>()?;
        for (drawer, one) in drawings.iter().enumerate() {
            for other in &drawings {
                off[drawer] += one.iter().zip(other).map(|(a, b)| f64::from((a - b) * (a - b))).sum::<f64>();
            }
        }
    }
    let mut order: Vec<usize> = (0..off.len()).collect();
    order.sort_by(|&a, &b| off[a].total_cmp(&off[b]));
    Ok([order[0], order[1]])
}

impl fmt::Display for Drawers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Random { "random" } else { "typical" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Glyphs, GlyphsSize};

    fn glyphs() -> (Glyphs, Vec<String>) {
        let glyphs = Glyphs::new(1, GlyphsSize { alphabets: 2, characters: 22, drawings: 5 }).unwrap();
        let alphabets = glyphs.classes().iter().step_by(22).map(|class| class.group.clone()).collect();
        (glyphs, alphabets)
    }

    #[test]
    fn a_run_pairs_two_drawers_of_the_same_twenty_characters() {
        let (glyphs, alphabets) = glyphs();
        let runs = look_alikes(&glyphs, &alphabets, 3, Drawers::Random, 0).unwrap();
        assert_eq!(runs.len(), 6);
        for run in &runs {
            let drawer = |images: &[usize]| {
                assert!(images.iter().all(|image| image % 5 == images[0] % 5), "one drawer");
                images[0] % 5
            };
            assert_ne!(drawer(&run.training), drawer(&run.test));
            for (&test, &answer) in run.test.iter().zip(&run.answers) {
                assert_eq!(glyphs.labels()[test], glyphs.labels()[run.training[answer]]);
                assert_eq!(glyphs.classes()[glyphs.labels()[test] as usize].group, run.alphabet);
            }
        }
        assert_eq!(runs, look_alikes(&glyphs, &alphabets, 3, Drawers::Random, 0).unwrap());
        assert_ne!(runs, look_alikes(&glyphs, &alphabets, 3, Drawers::Random, 1).unwrap());
    }

    #[test]
    fn typical_drawers_are_the_same_two_in_all_runs_of_an_alphabet() {
        let (glyphs, alphabets) = glyphs();
        let runs = look_alikes(&glyphs, &alphabets[..1], 4, Drawers::Typical, 0).unwrap();
        let mut pairs: Vec<[usize; 2]> = runs.iter().map(|run| [run.training[0] % 5, run.test[0] % 5]).collect();
        pairs.iter_mut().for_each(|pair| pair.sort_unstable());
        assert!(pairs.iter().all(|pair| *pair == pairs[0]));
    }

    #[test]
    fn an_alphabet_that_is_not_there_is_named() {
        let error = look_alikes(&glyphs().0, &["Klingon".into()], 1, Drawers::Random, 0).unwrap_err().to_string();
        assert!(error.contains("`Klingon`") && error.ends_with("choose another"), "{error}");
    }
}
