//! Splitting a data set's classes for training, validation and test.

use crate::readers::{composed, part_of_word};
use crate::{DataError, Dataset, Part, Result};
use std::collections::BTreeMap;
use std::path::Path;
use taper_ops::{permutation, rng};

/// Classes for training, validation and test; no class is in two of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// Classes that learners are trained on.
    pub train: Vec<u32>,
    /// Classes that choices are made on.
    pub validation: Vec<u32>,
    /// Classes for the final score.
    pub test: Vec<u32>,
}

impl Split {
    /// Reads a published split from a file, see [`Self::parse`].
    ///
    /// # Errors
    /// Returns an error if the file can't be read or [`Self::parse`] does.
    pub fn read(path: &Path, dataset: &dyn Dataset) -> Result<Self> {
        let bad = |problem: String| DataError::BadFile { path: path.to_path_buf(), problem };
        let text = std::fs::read_to_string(path)
            .map_err(|error| bad(format!("can't be read ({error}): give a text file of lines such as class,train")))?;
        Self::parse(&text, dataset).map_err(|error| bad(error.to_string()))
    }

    /// Whether every part has at least `ways` classes.
    pub fn fills(&self, ways: usize) -> bool {
        [&self.train, &self.validation, &self.test].iter().all(|part| part.len() >= ways)
    }

    /// A published split, as CSV: a class and its part (`train`, `validation`, `test`, in any usual
    /// spelling) per line, such as `Greek/alpha,train`. A group's name stands for all its classes.
    /// Accented names match in either Unicode form. Classes that are not named are in no part; a
    /// header line and lines that begin with `#` are skipped.
    ///
    /// # Errors
    ///
    /// Returns an error, naming the line, for a class that the data set lacks, one in two parts and
    /// an unknown part; and if nothing is left to train on.
    pub fn parse(text: &str, dataset: &dyn Dataset) -> Result<Self> {
        let mut split = Self { train: Vec::new(), validation: Vec::new(), test: Vec::new() };
        let mut lines_of: BTreeMap<u32, usize> = BTreeMap::new();
        let names = Names::of(dataset);
        let lines =
            text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        for (place, (number, line)) in lines.enumerate() {
            let wrong = |problem: String| DataError::Invalid(format!("line {}: {problem}", number + 1));
            let (name, part) = line
                .rsplit_once(',')
                .map(|(name, part)| (name.trim().trim_matches('"'), part.trim().trim_matches('"')))
                .ok_or_else(|| wrong(format!("`{line}` names no part: write class,train")))?;
            let classes = names.find(name);
            let to = match part_of_word(part) {
                Some(Part::Train) => &mut split.train,
                Some(Part::Validation) => &mut split.validation,
                Some(Part::Test) => &mut split.test,
                None if place == 0 && classes.is_empty() => continue,
                None => return Err(wrong(format!("`{part}` is not a part: use train, validation or test"))),
            };
            if classes.is_empty() {
                return Err(wrong(format!("{} has no class or group `{name}`: correct it", dataset.name())));
            }
            for &class in classes {
                if let Some(before) = lines_of.insert(class, number + 1) {
                    return Err(wrong(format!("`{name}` is already in line {before}: name each class once")));
                }
                to.push(class);
            }
        }
        if split.train.is_empty() {
            return Err(DataError::Invalid("names no class to train on: add lines such as class,train".into()));
        }
        [&mut split.train, &mut split.validation, &mut split.test].into_iter().for_each(|part| part.sort_unstable());
        Ok(split)
    }
}

/// The names of classes in a published split.
struct Names {
    full: BTreeMap<String, Vec<u32>>,
    own: BTreeMap<String, Vec<u32>>,
    groups: BTreeMap<String, Vec<u32>>,
}

impl Names {
    fn of(dataset: &dyn Dataset) -> Self {
        let mut names = Self { full: BTreeMap::new(), own: BTreeMap::new(), groups: BTreeMap::new() };
        for (place, class) in (0..).zip(dataset.classes()) {
            let form = |name: &str| composed(name).into_owned();
            names.full.entry(form(&class.full_name())).or_default().push(place);
            names.own.entry(form(&class.name)).or_default().push(place);
            names.groups.entry(form(&class.group)).or_default().push(place);
        }
        names
    }

    /// Classes of that full name, of that name if it is unique, or of that group.
    fn find(&self, name: &str) -> &[u32] {
        let name = composed(name);
        let name = name.as_ref();
        let own = || self.own.get(name).filter(|classes| classes.len() == 1);
        let found = self.full.get(name).or_else(own).or_else(|| self.groups.get(name));
        found.map_or(&[], Vec::as_slice)
    }
}

/// Splits the classes by `seed`: in whole groups if there are at least three, so that test groups
/// are unseen too, otherwise by class. About a fifth of them goes to validation and three
/// tenths to test, at least one each.
pub fn split_classes(dataset: &dyn Dataset, seed: u64) -> Split {
    let mut groups: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for (class, named) in dataset.classes().iter().enumerate() {
        groups.entry(named.group.clone()).or_default().push(class as u32);
    }
    let units: Vec<Vec<u32>> = if groups.len() >= 3 {
        groups.into_values().collect()
    } else {
        (0..dataset.classes().len() as u32).map(|class| vec![class]).collect()
    };
    let order = permutation(&mut rng(seed, "split", 0), units.len());
    let share = |part: f64| (units.len() as f64 * part).round().max(1.0) as usize;
    let test = share(0.3).min(units.len());
    let validation = share(0.2).min(units.len() - test);
    let part = |places: &[usize]| {
        let mut classes: Vec<u32> = places.iter().flat_map(|&place| units[place].iter().copied()).collect();
        classes.sort_unstable();
        classes
    };
    Split {
        test: part(&order[..test]),
        validation: part(&order[test..test + validation]),
        train: part(&order[test + validation..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Glyphs, GlyphsSize};

    fn glyphs() -> Glyphs {
        Glyphs::new(0, GlyphsSize { alphabets: 3, characters: 3, drawings: 2 }).unwrap()
    }

    #[test]
    fn a_published_split_names_classes_or_whole_groups() {
        let glyphs = glyphs();
        let (one, two) = (glyphs.classes()[0].full_name(), glyphs.classes()[1].full_name());
        let [second, third] = [3, 6].map(|class| glyphs.classes()[class].group.clone());
        let text = format!("class,part\n# mine\n{one},train\n\n\"{two}\", val\n{second},train\n{third},test\n");
        let split = Split::parse(&text, &glyphs).unwrap();
        let expected = Split { train: vec![0, 3, 4, 5], validation: vec![1], test: vec![6, 7, 8] };
        assert_eq!(split, expected);
    }

    #[test]
    fn mistakes_name_their_line() {
        let glyphs = glyphs();
        let one = glyphs.classes()[0].full_name();
        for (text, problem) in [
            (format!("{one},train\n{one}"), "line 2: "),
            (format!("{one},train\nnobody,test"), "no class or group `nobody`"),
            (format!("{one},train\n{one},test"), "already in line 1"),
            (format!("{one},train\n{one},exam"), "`exam` is not a part"),
            (format!("{one},test"), "no class to train on"),
        ] {
            let error = Split::parse(&text, &glyphs).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }
}
