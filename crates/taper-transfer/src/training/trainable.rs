//! Which part of a network is trained, as text.

use crate::Part;
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

/// Which part of a network is trained besides its head, all at once or unfrozen gradually.
///
/// In text: `all`, `head`, `norms`, `biases`, or stages and name prefixes such as `layer4,layer3.2`; after
/// `gradual:`, or as `gradual` for all of it, unfrozen from the top, one stage per epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainedPart {
    /// The part.
    pub part: Part,
    /// Whether it is unfrozen from the top, one stage per epoch.
    pub gradual: bool,
}

impl FromStr for TrainedPart {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let gradual = if text == "gradual" { Some("all") } else { text.strip_prefix("gradual:") };
        let part = match gradual.unwrap_or(text) {
            "all" => Part::All,
            "head" => Part::Head,
            "norms" => Part::Norms,
            "biases" => Part::Biases,
            names => Part::Named(names.split(',').map(|name| name.trim().to_string()).collect()),
        };
        Ok(Self { part, gradual: gradual.is_some() })
    }
}

impl fmt::Display for TrainedPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.gradual { "gradual:" } else { "" })?;
        match &self.part {
            Part::All => f.write_str("all"),
            Part::Head => f.write_str("head"),
            Part::Norms => f.write_str("norms"),
            Part::Biases => f.write_str("biases"),
            Part::Named(names) => f.write_str(&names.join(",")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_as_they_are_written() {
        for text in ["all", "head", "norms", "biases", "layer4,layer3.2", "gradual:all", "gradual:layer4,layer3"] {
            assert_eq!(text.parse::<TrainedPart>().unwrap().to_string(), text);
        }
        assert_eq!("gradual".parse::<TrainedPart>().unwrap(), TrainedPart { part: Part::All, gradual: true });
    }
}
