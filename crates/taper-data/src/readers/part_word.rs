//! Folder names that say train, validation or test, in their usual spellings.

use crate::Part;

/// Words that say nothing beside a part's word.
const FILLERS: [&str; 16] = [
    "set", "sets", "data", "dataset", "datasets", "images", "image", "imgs", "img", "pictures", "photos", "samples",
    "split", "part", "folder", "dir",
];

/// What a part's word says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Says {
    /// A part.
    Part(Part),
    /// Images without labels, to predict.
    Unlabeled,
}

/// A folder's name that says a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PartWord {
    pub(super) says: Says,
    /// The other words of the name: `seg` of `seg_train`. Parts of one data set share them.
    pub(super) beside: String,
}

impl PartWord {
    /// What the name says; `None` if it says no part, or two.
    pub(super) fn of(name: &str) -> Option<Self> {
        let mut says = None;
        let mut beside = Vec::new();
        for word in words(name) {
            match word_says(&word) {
                Some(Says::Part(Part::Validation)) if says == Some(Says::Part(Part::Train)) => {}
                Some(_) if says.is_some() => return None,
                Some(found) => says = Some(found),
                None if FILLERS.contains(&word.as_str()) || word.bytes().all(|byte| byte.is_ascii_digit()) => {}
                None => beside.push(word),
            }
        }
        Some(Self { says: says?, beside: beside.join("_") })
    }
}

/// The words of a name in lower case, parted by what is neither letter nor digit and before a
/// capital behind a small letter.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut small = false;
    for c in name.chars() {
        if !c.is_alphanumeric() || (small && c.is_uppercase()) {
            words.push(String::new());
        }
        small = c.is_lowercase();
        if c.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn word_says(word: &str) -> Option<Says> {
    let word = word.trim_end_matches(|c: char| c.is_ascii_digit());
    let known = |word: &str| {
        Some(match word {
            "train" | "training" | "trn" | "trainval" => Says::Part(Part::Train),
            "val" | "valid" | "validate" | "validating" | "validation" | "dev" | "devel" | "development" | "eval"
            | "evaluation" => Says::Part(Part::Validation),
            "test" | "testing" | "tests" | "tst" | "holdout" => Says::Part(Part::Test),
            "pred" | "predict" | "prediction" | "predictions" | "unlabeled" | "unlabelled" | "inference" => {
                Says::Unlabeled
            }
            _ => return None,
        })
    };
    known(word)
        .or_else(|| ["set", "data", "dataset", "images", "imgs"].iter().find_map(|end| known(word.strip_suffix(end)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_spellings_say_their_part() {
        let says = |name: &str| PartWord::of(name).map(|word| word.says);
        for name in [
            "train",
            "Train",
            "TRAINING",
            "trainset",
            "train_set",
            "TrainingData",
            "train2017",
            "train-images",
            "1_train",
            "trainval",
            "train_val",
        ] {
            assert_eq!(says(name), Some(Says::Part(Part::Train)), "{name}");
        }
        for name in ["val", "Valid", "validation", "dev", "val2017", "validation_set", "DEV"] {
            assert_eq!(says(name), Some(Says::Part(Part::Validation)), "{name}");
        }
        for name in ["test", "Testing", "TEST", "testset", "Test-Data"] {
            assert_eq!(says(name), Some(Says::Part(Part::Test)), "{name}");
        }
        assert_eq!(says("pred"), Some(Says::Unlabeled));
        for name in ["red", "trains", "contest", "latest", "device", "values", "test_dev", "strain", "attest"] {
            assert_eq!(says(name), None, "{name}");
        }
        assert_eq!(PartWord::of("seg_train").unwrap().beside, "seg");
    }
}
