//! The shape of a classifier's head.

use std::fmt;
use std::str::FromStr;
use taper_models::Head;

/// The shape of a classifier's head, in text `linear` or `mlp:HIDDEN`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HeadShape {
    /// One linear layer.
    #[default]
    Linear,
    /// Two linear layers with ReLU between them.
    Mlp {
        /// Hidden units.
        hidden: usize,
    },
}

impl HeadShape {
    /// The head for this many classes.
    pub fn of(self, outputs: usize) -> Head {
        match self {
            Self::Linear => Head::Linear { outputs },
            Self::Mlp { hidden } => Head::Mlp { hidden, outputs },
        }
    }
}

impl fmt::Display for HeadShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Linear => f.write_str("linear"),
            Self::Mlp { hidden } => write!(f, "mlp:{hidden}"),
        }
    }
}

impl FromStr for HeadShape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "linear" => Ok(Self::Linear),
            Some(("mlp", hidden)) => match hidden.parse() {
                Ok(hidden) if hidden > 0 => Ok(Self::Mlp { hidden }),
                _ => Err(format!("`{hidden}` is not a number of hidden units: write mlp:1024")),
            },
            _ => Err(format!("unknown head `{text}`: use linear or mlp:1024")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_as_they_are_written() {
        for text in ["linear", "mlp:1024"] {
            assert_eq!(text.parse::<HeadShape>().unwrap().to_string(), text);
        }
        for text in ["", "mlp", "mlp:", "mlp:0", "mlp:-1", "linear:3"] {
            assert!(text.parse::<HeadShape>().is_err(), "{text}");
        }
    }
}
