//! A model card: `README.md` with the front matter that the Hugging Face hub reads.

use serde_json::{Value, json};
use std::fmt::Write as _;
use taper_learn::Model;

/// The card's name in an exported folder.
pub const CARD: &str = "README.md";

/// The tag of models that Taper exported.
const TAG: &str = "- taper\n";

/// Whether a text is the card of a model that Taper exported.
pub fn is_card(text: &str) -> bool {
    let front = text.strip_prefix("---\n").and_then(|rest| rest.split_once("\n---\n"));
    front.is_some_and(|(front, _)| format!("{front}\n").contains(TAG))
}

/// What is known about a classifier besides the model itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CardFacts {
    /// Figures, each in a sentence with its interval.
    pub figures: Vec<String>,
    /// The options of the run that made it, as TOML, the seed among them.
    pub recipe: Option<String>,
    /// The license of the weights that it started from.
    pub license: Option<String>,
}

/// The card of a model for one of the hub's libraries, with lines of code that use it.
pub(crate) fn card(model: &Model, facts: &CardFacts, library: &str, code: &str) -> String {
    // JSON strings are YAML strings, whatever is in them
    let quoted = |text: &str| Value::String(text.to_string()).to_string();
    let license = facts.license.as_ref().map(|license| format!("license: {}\n", quoted(license))).unwrap_or_default();
    let mut text = format!(
        "---\nlibrary_name: {library}\npipeline_tag: image-classification\ntags:\n- image-classification\n- {library}\n\
         {TAG}{license}---\n\n# {} classes of images\n\n{}\n\n## Classes\n\n",
        model.labels.len(),
        crate::metadata::sentence(model)
    );
    for label in &model.labels {
        let _ = writeln!(text, "- {}", label.replace('\n', " "));
    }
    text.push_str("\n## Figures\n\n");
    if facts.figures.is_empty() {
        text.push_str("None were recorded.\n");
    }
    for figure in &facts.figures {
        let _ = writeln!(text, "- {figure}");
    }
    let names = |used: &[taper_learn::provenance::UsedData]| {
        let names: Vec<String> = used.iter().map(|used| used.name.clone()).collect();
        if names.is_empty() { "nothing".to_string() } else { names.join(", ") }
    };
    let (trained, chosen) = (names(&model.provenance.trained_on), names(&model.provenance.chosen_on));
    let _ = write!(text, "\n## How it was made\n\nTrained on: {trained}. Chosen on: {chosen}.\n");
    let _ = writeln!(text, "Images are prepared by `{}`.", model.transform);
    match &facts.license {
        Some(license) => {
            let _ = writeln!(text, "The weights that it started from are published under {license}.");
        }
        None => text.push_str("The license of the weights that it started from is not known to Taper.\n"),
    }
    if let Some(recipe) = &facts.recipe {
        let _ = write!(text, "\nThe run's options:\n\n```toml\n{}\n```\n", recipe.trim_end());
    }
    let _ = write!(text, "\n## Use\n\n```python\n{}\n```\n", code.trim_end());
    text
}

impl CardFacts {
    /// The figures of a run's result, as `taper train` writes it.
    pub fn figures_of(result: &Value) -> Vec<String> {
        let percent = |value: &Value| value.as_f64().map(|share| format!("{:.1}%", 100.0 * share));
        let figure = |method: &Value, part: &str, key: &str, interval: &str, name: &str| {
            let (mean, ends) = (percent(&method[key])?, &method[interval]);
            Some(format!("{name} on {part} images: {mean} (95% CI {} to {})", percent(&ends[0])?, percent(&ends[1])?))
        };
        let none = json!([]);
        let methods = result["methods"].as_array().or(none.as_array()).cloned().unwrap_or_default();
        let of = |method: &Value| {
            let parts = [("validation", method), ("test", &method["test"])];
            let figures = parts.into_iter().flat_map(|(part, figures)| {
                [
                    figure(figures, part, "accuracy", "ci95", "Accuracy"),
                    figure(figures, part, "macro_f1", "macro_f1_ci95", "Macro-F1"),
                ]
            });
            figures.flatten().collect::<Vec<_>>()
        };
        methods.iter().flat_map(of).collect()
    }
}
