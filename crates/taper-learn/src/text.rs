//! Serde for values that have a text form: `#[serde(with = "taper_learn::text")]`, and
//! `#[serde(with = "taper_learn::text::option")]` for optional ones.

use serde::{Deserialize, Deserializer, Serializer, de::Error};
use std::fmt::Display;
use std::str::FromStr;

/// Writes the value's text, or a number if the text is an integer that every format can hold.
///
/// # Errors
/// Returns an error if the format does.
pub fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    let text = value.to_string();
    match text.parse::<i64>() {
        Ok(number) if number.to_string() == text => serializer.serialize_i64(number),
        _ => serializer.serialize_str(&text),
    }
}

/// Parses the value's text; a number stands for its digits.
///
/// # Errors
/// Returns an error if the text can't be parsed.
pub fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    Text::deserialize(deserializer)?.to_string().parse().map_err(D::Error::custom)
}

/// A text, or a value that is written without quotes.
#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Whole(i64),
    Real(f64),
    Flag(bool),
    Plain(String),
}

impl Display for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(number) => number.fmt(f),
            Self::Real(number) => number.fmt(f),
            Self::Flag(flag) => flag.fmt(f),
            Self::Plain(text) => f.write_str(text),
        }
    }
}

/// The same for optional values; `None` is not written.
pub mod option {
    use super::{Deserialize, Deserializer, Display, Error as _, FromStr, Serializer, Text};

    /// Writes the value's text.
    ///
    /// # Errors
    /// Returns an error if the format does.
    pub fn serialize<T: Display, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => super::serialize(value, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Parses the value's text.
    ///
    /// # Errors
    /// Returns an error if the text can't be parsed.
    pub fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        let text = Option::<Text>::deserialize(deserializer)?;
        text.map(|text| text.to_string().parse().map_err(D::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Seeded {
        #[serde(with = "super")]
        seed: u64,
        #[serde(with = "super::option", default, skip_serializing_if = "Option::is_none")]
        other: Option<u64>,
    }

    #[test]
    fn seeds_beyond_an_i64_come_back_from_text() {
        for seed in [0, 7, i64::MAX as u64, 1 << 63, u64::MAX] {
            let value = Seeded { seed, other: None };
            let text = serde_json::to_string(&value).unwrap();
            assert_eq!(serde_json::from_str::<Seeded>(&text).unwrap(), value, "{text}");
        }
        assert_eq!(serde_json::to_string(&Seeded { seed: 7, other: Some(8) }).unwrap(), r#"{"seed":7,"other":8}"#);
    }
}
