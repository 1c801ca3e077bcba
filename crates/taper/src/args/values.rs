//! Values of options, checked when they are parsed.

use serde::{Serialize, Serializer};
use std::fmt::{self, Display};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A whole number of at least 1.
pub(crate) fn positive<N: FromStr + PartialOrd + From<u8>>(text: &str) -> Result<N, String> {
    match text.parse::<N>() {
        Ok(number) if number >= N::from(1) => Ok(number),
        _ => Err("give a whole number of at least 1".into()),
    }
}

/// A learning rate: above 0, and finite.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    real(text, |rate| rate > 0.0, "give a number above 0, such as 0.001")
}

/// A decay or another amount: 0 or more, and finite.
pub(crate) fn amount(text: &str) -> Result<f64, String> {
    real(text, |amount| amount >= 0.0, "give a number of at least 0, such as 0.01")
}

/// A share: above 0 and below 1.
pub(crate) fn share(text: &str) -> Result<f64, String> {
    real(text, |share| share > 0.0 && share < 1.0, "give a number between 0 and 1, such as 0.2")
}

/// A share, written `5%` or `0.05`: above 0 and below 1.
pub(crate) fn percentage(text: &str) -> Result<f64, String> {
    let (number, of) = text.strip_suffix('%').map_or((text, 1.0), |number| (number.trim_end(), 100.0));
    real(number, |value| value > 0.0 && value < of, "give a share such as 5% or 0.05").map(|value| value / of)
}

/// A class and its new name, written `OLD=NEW`.
pub(crate) fn renaming(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((_, new)) if new.contains(char::is_control) => {
            Err("a new name can't hold line breaks or other control characters: leave them out".into())
        }
        Some((old, new)) if !old.is_empty() && !new.is_empty() => Ok((old.to_string(), new.to_string())),
        _ => Err("give the old and the new name, such as cat=kitten".into()),
    }
}

/// The parameter of a Beta distribution of shares: above 0, at most 1.
pub(crate) fn concentration(text: &str) -> Result<f64, String> {
    real(text, |alpha| alpha > 0.0 && alpha <= 1.0, "give a number above 0 and at most 1, such as 0.2")
}

/// A path to read from, made absolute when the command starts, so that a run can be resumed from
/// any folder. A bare name such as `glyphs` stays a name unless there is such a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InputPath(PathBuf);

impl InputPath {
    /// A path that a program found.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl FromStr for InputPath {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = Path::new(text);
        let is_name = path.components().count() == 1 && !path.exists();
        let absolute = if is_name { None } else { std::path::absolute(path).ok() };
        Ok(Self(absolute.unwrap_or_else(|| path.to_path_buf())))
    }
}

impl Serialize for InputPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_string_lossy())
    }
}

/// A time in seconds, written `90s`, `5m` or `1h`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Seconds(pub(crate) f64);

impl FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let units = [("s", 1.0), ("m", 60.0), ("h", 3600.0)];
        let parsed = units.into_iter().find_map(|(unit, seconds)| {
            let number = text.strip_suffix(unit)?.parse::<f64>().ok()?;
            (number.is_finite() && number > 0.0).then_some(Self(number * seconds))
        });
        parsed.ok_or_else(|| "give a time such as 90s, 5m or 1h".into())
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            s if s % 3600.0 == 0.0 => write!(f, "{}h", s / 3600.0),
            s if s % 60.0 == 0.0 => write!(f, "{}m", s / 60.0),
            s => write!(f, "{s}s"),
        }
    }
}

fn real(text: &str, fits: impl Fn(f64) -> bool, otherwise: impl Display) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && fits(number) => Ok(number),
        _ => Err(otherwise.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_teach_nothing_are_refused() {
        assert_eq!(positive::<usize>("3"), Ok(3));
        assert!(["0", "-1", "1.5", "x", ""].iter().all(|text| positive::<usize>(text).is_err()));
        assert_eq!(rate("1e-3"), Ok(1e-3));
        assert!(["0", "-1", "nan", "inf", "x"].iter().all(|text| rate(text).is_err()));
        assert!(amount("0").is_ok() && amount("-0.1").is_err());
        assert_eq!("5m".parse(), Ok(Seconds(300.0)));
        assert_eq!(Seconds(5400.0).to_string(), "90m");
        assert!(["5", "-1m", "0s", "m", "infs"].iter().all(|text| text.parse::<Seconds>().is_err()));
        assert_eq!((percentage("5%"), percentage("0.05")), (Ok(0.05), Ok(0.05)));
        assert!(["0%", "100%", "1.5", "-5%", "x%", "%"].iter().all(|text| percentage(text).is_err()));
        assert_eq!(renaming("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(["a", "=b", "a=", "a=b\nc", "a=\x1b[2J"].iter().all(|text| renaming(text).is_err()));
        assert_eq!(renaming("a\nb=c"), Ok(("a\nb".into(), "c".into())), "an old name may need to be mended");
        assert!(share("0.2").is_ok() && share("1").is_err() && share("0").is_err());
    }

    #[test]
    fn paths_become_absolute_and_names_stay_names() {
        let Ok(path) = "src/main.rs".parse::<InputPath>();
        assert!(path.path().is_absolute());
        let Ok(name) = "glyphs".parse::<InputPath>();
        assert_eq!(name.path(), Path::new("glyphs"));
    }
}
