//! Options of a survey.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Options of a survey.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct SurveyOptions {
    /// Labeled images per class.
    pub labels: Vec<LabelCount>,
    /// How many draws of that many labels are scored, each with the same validation images.
    pub draws: usize,
    /// Heads on frozen features, by name.
    pub heads: Vec<String>,
    /// What to fine-tune or train in addition to heads.
    pub fine_tune: Vec<FineTuneFrom>,
}

/// The heads that a survey scores by default.
const DEFAULT_HEADS: [&str; 8] =
    ["nearest-mean", "simple-shot", "neighbours", "ridge", "lda", "linear-probe", "linear-head", "mlp-head"];

impl Default for SurveyOptions {
    fn default() -> Self {
        Self {
            labels: vec![LabelCount::Of(1), LabelCount::Of(5), LabelCount::Of(20), LabelCount::All],
            draws: 1,
            heads: DEFAULT_HEADS.map(String::from).to_vec(),
            fine_tune: Vec::new(),
        }
    }
}

/// What is trained in addition to a network's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Text", into = "String")]
pub enum FineTuneFrom {
    /// From a stage on, by its place counted from the uppermost, which is 1.
    Stage(usize),
    /// The whole network.
    All,
    /// The whole network, from fresh weights.
    Scratch,
}

impl FromStr for FineTuneFrom {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("all", _) => Ok(Self::All),
            ("scratch", _) => Ok(Self::Scratch),
            (_, Ok(place)) if place > 0 => Ok(Self::Stage(place)),
            _ => Err("give numbers of at least 1, all or scratch".into()),
        }
    }
}

impl fmt::Display for FineTuneFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stage(place) => write!(f, "{place}"),
            Self::All => f.write_str("all"),
            Self::Scratch => f.write_str("scratch"),
        }
    }
}

/// How many labeled images per class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Text", into = "String")]
pub enum LabelCount {
    /// This many.
    Of(usize),
    /// Every training image.
    All,
}

impl FromStr for LabelCount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("all", _) => Ok(Self::All),
            (_, Ok(count)) if count > 0 => Ok(Self::Of(count)),
            _ => Err("give numbers of at least 1, or all".into()),
        }
    }
}

impl fmt::Display for LabelCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Of(count) => write!(f, "{count}"),
            Self::All => f.write_str("all"),
        }
    }
}

/// A number or a word, as in files.
#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Number(u64),
    Word(String),
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Word(word) => f.write_str(word),
        }
    }
}

impl TryFrom<Text> for FineTuneFrom {
    type Error = String;

    fn try_from(text: Text) -> Result<Self, String> {
        text.to_string().parse()
    }
}

impl From<FineTuneFrom> for String {
    fn from(from: FineTuneFrom) -> Self {
        from.to_string()
    }
}

impl TryFrom<Text> for LabelCount {
    type Error = String;

    fn try_from(text: Text) -> Result<Self, String> {
        text.to_string().parse()
    }
}

impl From<LabelCount> for String {
    fn from(count: LabelCount) -> Self {
        count.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_back_from_what_is_written_down() {
        let options = SurveyOptions {
            fine_tune: vec![FineTuneFrom::Stage(2), FineTuneFrom::All, FineTuneFrom::Scratch],
            ..SurveyOptions::default()
        };
        let text = serde_json::to_string(&options).unwrap();
        assert_eq!(serde_json::from_str::<SurveyOptions>(&text).unwrap(), options);
        let short: SurveyOptions = serde_json::from_str(r#"{"labels": [1, "all"], "fine-tune": [1]}"#).unwrap();
        assert_eq!(short.labels, [LabelCount::Of(1), LabelCount::All]);
        assert_eq!((short.fine_tune, short.heads.len()), (vec![FineTuneFrom::Stage(1)], 8));
        assert!(serde_json::from_str::<SurveyOptions>(r#"{"labels": [0]}"#).is_err());
    }
}
