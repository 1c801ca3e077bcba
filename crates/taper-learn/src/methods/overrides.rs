//! Settings of methods in text form: `inner-lr=0.4,maml:inner-steps=5`.

use crate::LearnError;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;
use std::str::FromStr;

/// Settings that replace methods' defaults.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SettingOverrides(Vec<SettingOverride>);

#[derive(Debug, Clone, PartialEq)]
struct SettingOverride {
    /// The only method it is for; `None` for every method.
    method: Option<String>,
    name: String,
    value: Value,
}

impl SettingOverrides {
    /// The settings of one method: those for every method, then its own.
    pub fn of(&self, method: &str) -> Map<String, Value> {
        let own = |one: &&SettingOverride| one.method.as_deref().is_none_or(|name| name == method);
        self.0.iter().filter(own).map(|one| (one.name.clone(), one.value.clone())).collect()
    }

    /// Whether nothing is overridden.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for SettingOverrides {
    type Err = LearnError;

    fn from_str(text: &str) -> Result<Self, LearnError> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(SettingOverride::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl SettingOverride {
    fn parse(part: &str) -> Result<Self, LearnError> {
        let invalid =
            || LearnError::Invalid(format!("invalid setting `{part}`: use inner-lr=0.4 or maml:inner-lr=0.4"));
        let (name, value) = part.split_once('=').ok_or_else(invalid)?;
        let (method, name) = match name.split_once(':') {
            Some((method, name)) => (Some(method.trim().to_string()), name),
            None => (None, name),
        };
        let (name, value) = (name.trim(), value.trim());
        if name.is_empty() || value.is_empty() {
            return Err(invalid());
        }
        let value = match (value.parse::<i64>(), value.parse::<f64>(), value.parse::<bool>()) {
            (Ok(whole), _, _) => whole.into(),
            (_, Ok(real), _) if real.is_finite() => real.into(),
            (_, _, Ok(flag)) => flag.into(),
            _ => value.into(),
        };
        Ok(Self { method, name: name.to_string(), value })
    }
}

impl fmt::Display for SettingOverrides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, SettingOverride { method, name, value }) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            let method = method.as_ref().map(|method| format!("{method}:")).unwrap_or_default();
            let value = value.as_str().map_or_else(|| value.to_string(), String::from);
            write!(f, "{comma}{method}{name}={value}")?;
        }
        Ok(())
    }
}

impl TryFrom<String> for SettingOverrides {
    type Error = LearnError;

    fn try_from(text: String) -> Result<Self, LearnError> {
        text.parse()
    }
}

impl From<SettingOverrides> for String {
    fn from(overrides: SettingOverrides) -> Self {
        overrides.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_methods_own_setting_wins_over_everyones_and_text_comes_back() {
        let text = "inner-lr=0.4,maml:inner-lr=0.1,c=cross-validated";
        let overrides: SettingOverrides = text.parse().unwrap();
        assert_eq!(overrides.of("maml")["inner-lr"], 0.1);
        assert_eq!(overrides.of("anil")["inner-lr"], 0.4);
        assert_eq!(overrides.of("anil")["c"], "cross-validated");
        assert_eq!(overrides.to_string(), text);
    }

    #[test]
    fn a_setting_without_a_value_is_an_error_that_shows_one() {
        for text in ["inner-lr", "inner-lr=", "=3"] {
            let error = text.parse::<SettingOverrides>().unwrap_err().to_string();
            assert!(error.contains("use inner-lr=0.4"), "{error}");
        }
    }
}
