//! Settings of a method: a struct with serde, declared once for Rust code, plans, help and errors.

use crate::{LearnError, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt::Debug;

/// Settings by name, as plans and model directories hold them.
pub type SettingValues = serde_json::Map<String, Value>;

/// A setting, for help and errors.
#[derive(Debug, Clone, PartialEq)]
pub struct SettingInfo {
    /// Its name, in kebab case (`"inner-lr"`).
    pub name: String,
    /// Its value unless it is overridden.
    pub default: Value,
    /// What it does, in a few words.
    pub about: String,
}

/// A method's settings: a struct declared with [`method_settings!`](crate::method_settings).
pub trait MethodSettings: Default + Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Each field's name and documentation, in order.
    const FIELDS: &'static [(&'static str, &'static str)];
}

/// Declares the settings of a method: a public struct with serde (kebab-case names, defaults,
/// unknown names rejected), its `Default`, and its documentation as values.
///
/// Each field has its documentation, type and default, and may have an alias, a name that older
/// files use.
///
/// ```
/// taper_learn::method_settings! {
///     /// Settings of an example.
///     pub struct Example {
///         /// Learning rate inside a task.
///         pub inner_lr: f64 = 0.1;
///         /// Neighbors that vote.
///         pub neighbors: usize = 3, also "neighbours";
///     }
/// }
/// let example: Example = serde_json::from_str(r#"{"inner-lr": 0.4}"#)?;
/// assert_eq!(example, Example { inner_lr: 0.4, ..Example::default() });
/// # Ok::<(), serde_json::Error>(())
/// ```
#[macro_export]
macro_rules! method_settings {
    (
        $(#[doc = $doc:literal])*
        $visible:vis struct $name:ident {
            $(
                $(#[doc = $about:literal])*
                $field_visible:vis $field:ident: $type:ty = $default:expr $(, also $alias:literal)?;
            )*
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq, ::serde::Serialize, ::serde::Deserialize)]
        #[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
        $visible struct $name {
            $(
                $(#[doc = $about])*
                $(#[serde(alias = $alias)])?
                $field_visible $field: $type,
            )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default),* }
            }
        }

        impl $crate::methods::MethodSettings for $name {
            const FIELDS: &'static [(&'static str, &'static str)] =
                &[$((stringify!($field), concat!($($about),*))),*];
        }
    };
}

/// Each setting of `M` with its default.
pub(super) fn described<M: MethodSettings>() -> Result<Vec<SettingInfo>> {
    let defaults = values(&M::default())?;
    let info = |&(field, about): &(&str, &str)| {
        let name = field.replace('_', "-");
        let default = defaults.get(&name).cloned().unwrap_or_default();
        SettingInfo { name, default, about: about.trim().to_string() }
    };
    Ok(M::FIELDS.iter().map(info).collect())
}

/// All settings by name.
pub(super) fn values<M: MethodSettings>(settings: &M) -> Result<SettingValues> {
    match serde_json::to_value(settings) {
        Ok(Value::Object(values)) => Ok(values),
        Ok(other) => {
            Err(LearnError::Invalid(format!("settings must be named values, not {other}: make them a struct")))
        }
        Err(error) => Err(LearnError::Invalid(format!("settings can't be saved ({error}): use finite numbers"))),
    }
}

/// The defaults of the method `method` with these overrides.
///
/// # Errors
/// Returns an error, naming the setting, if the method has no setting of a name, or a value is not
/// one of its type.
pub(super) fn resolved<M: MethodSettings>(method: &str, overrides: &SettingValues) -> Result<M> {
    let settings = described::<M>()?;
    let mut all = SettingValues::new();
    for (name, value) in overrides {
        let known = settings.iter().find(|setting| setting.name == *name);
        let value = converted(value, known.map(|setting| &setting.default));
        let single = SettingValues::from_iter([(name.clone(), value.clone())]);
        if let Err(error) = serde_json::from_value::<M>(Value::Object(single)) {
            return Err(LearnError::Invalid(match known {
                Some(SettingInfo { default, .. }) => {
                    let wrong = error.to_string();
                    format!("{method}'s setting {name} can't be {value} ({wrong}): use a value such as {default}")
                }
                None if settings.is_empty() => format!("{method} has no setting `{name}`: it has none"),
                None => {
                    let names: Vec<&str> = settings.iter().map(|setting| setting.name.as_str()).collect();
                    format!("{method} has no setting `{name}`: use {}", names.join(", "))
                }
            }));
        }
        all.insert(name.clone(), value);
    }
    serde_json::from_value(Value::Object(all)).map_err(|error| {
        LearnError::Invalid(format!("{method}'s settings contradict each other ({error}): give each once"))
    })
}

/// A value as intended in files that hold only floating-point numbers, like older model
/// directories: `3.0` also means the count 3, and 0 and 1 also mean no and yes.
fn converted(value: &Value, default: Option<&Value>) -> Value {
    const EXACT: f64 = 9e15;
    match value.as_f64() {
        Some(0.0) if matches!(default, Some(Value::Bool(_))) => Value::Bool(false),
        Some(1.0) if matches!(default, Some(Value::Bool(_))) => Value::Bool(true),
        Some(number) if value.is_f64() && number.fract() == 0.0 && (0.0..EXACT).contains(&number) => {
            Value::from(number as u64)
        }
        _ => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heads::Penalty;
    use serde_json::json;

    method_settings! {
        /// For the tests.
        struct Example {
            /// Learning rate inside
            /// a task.
            inner_lr: f64 = 0.1;
            /// Steps.
            inner_steps: usize = 3, also "steps";
            /// On or off.
            full_context: bool = false;
            /// A penalty.
            c: Penalty = Penalty::Fixed(10.0);
        }
    }

    fn resolve(overrides: Value) -> Result<Example> {
        let Value::Object(overrides) = overrides else { panic!("overrides are named") };
        resolved("example", &overrides)
    }

    #[test]
    fn settings_are_described_in_order_with_their_defaults() {
        let all = described::<Example>().unwrap();
        assert_eq!(all.len(), 4);
        let first =
            SettingInfo { name: "inner-lr".into(), default: json!(0.1), about: "Learning rate inside a task.".into() };
        assert_eq!(all[0], first);
        assert_eq!((all[3].name.as_str(), &all[3].default), ("c", &json!(10.0)));
    }

    #[test]
    fn settings_written_as_floating_point_numbers_are_read_and_0_for_c_means_cross_validated() {
        let old = json!({"inner-lr": 1.0, "inner-steps": 5.0, "full-context": 1.0, "c": 0.0});
        let expected = Example { inner_lr: 1.0, inner_steps: 5, full_context: true, c: Penalty::CrossValidated };
        assert_eq!(resolve(old).unwrap(), expected);
        assert_eq!(resolve(json!({"steps": 7})).unwrap(), Example { inner_steps: 7, ..Example::default() });
        let again = values(&expected).unwrap();
        assert_eq!(resolve(Value::Object(again)).unwrap(), expected);
    }

    #[test]
    fn an_unknown_setting_lists_the_known_ones_and_a_wrong_value_is_named() {
        let text = |overrides| resolve(overrides).unwrap_err().to_string();
        assert_eq!(text(json!({"x": 1})), "example has no setting `x`: use inner-lr, inner-steps, full-context, c");
        for wrong in [json!(2.5), json!(-1), json!("many")] {
            let text = text(json!({"inner-steps": wrong}));
            assert!(text.starts_with("example's setting inner-steps can't be"), "{text}");
            assert!(text.ends_with("use a value such as 3"), "{text}");
        }
        assert!(text(json!({"c": -1})).contains("above 0"));
        assert!(text(json!({"steps": 3, "inner-steps": 3})).contains("give each once"));
    }
}
