//! The strength of a penalty: given, or chosen inside the labeled images.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The inverse strength C of an L2 penalty: the larger, the weaker the penalty.
///
/// In files it is a number, or `"cross-validated"`; older files have 0 for that.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Penalty {
    /// Chosen by cross-validation inside the labeled images that a learner is given.
    CrossValidated,
    /// This C, above 0.
    Fixed(f64),
}

/// Its form in a file.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Number(f64),
    Word(String),
}

const CROSS_VALIDATED: &str = "cross-validated";

impl TryFrom<Written> for Penalty {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written::Number(0.0) => Ok(Self::CrossValidated),
            Written::Number(c) if c > 0.0 && c.is_finite() => Ok(Self::Fixed(c)),
            Written::Word(word) if word == CROSS_VALIDATED => Ok(Self::CrossValidated),
            Written::Number(c) => Err(format!("{c} is not above 0 and finite; nor is it `{CROSS_VALIDATED}`")),
            Written::Word(word) => Err(format!("`{word}` is neither a number above 0 nor `{CROSS_VALIDATED}`")),
        }
    }
}

impl From<Penalty> for Written {
    fn from(penalty: Penalty) -> Self {
        match penalty {
            Penalty::CrossValidated => Self::Word(CROSS_VALIDATED.into()),
            Penalty::Fixed(c) => Self::Number(c),
        }
    }
}

impl fmt::Display for Penalty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CrossValidated => f.write_str(CROSS_VALIDATED),
            Self::Fixed(c) => write!(f, "{c}"),
        }
    }
}
