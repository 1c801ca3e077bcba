//! What a model says about itself, in words that any program can read.

use crate::Result;
use serde_json::json;
use taper_learn::Model;

/// Keys and values for a file's metadata: class names, preprocessing, calibration and where the model comes from.
///
/// # Errors
/// Returns an error if a value can't be written as JSON.
pub(crate) fn metadata(model: &Model) -> Result<Vec<(String, String)>> {
    let backbone = model.network.backbone();
    let names =
        |used: &[taper_learn::provenance::UsedData]| used.iter().map(|used| used.name.clone()).collect::<Vec<_>>();
    let provenance = json!({
        "trained_on": names(&model.provenance.trained_on),
        "validated_on": names(&model.provenance.validated_on),
        "chosen_on": names(&model.provenance.chosen_on),
    });
    let entries = [
        ("labels", serde_json::to_string(&model.labels)?),
        ("transform", model.transform.clone()),
        ("architecture", backbone.name()),
        ("input", serde_json::to_string(&backbone.input())?),
        ("made_by", sentence(model)),
        ("provenance", provenance.to_string()),
        ("taper_version", env!("CARGO_PKG_VERSION").into()),
    ];
    // the number that `familiarity` and `p_values` are shares of, less 1
    let held_out = model.support.as_ref().and_then(|support| support.held_out.as_ref());
    let held_out = held_out.map(|held_out| ("held_out", held_out.len().to_string()));
    Ok(entries.into_iter().chain(held_out).map(|(key, value)| (key.to_string(), value)).collect())
}

/// What the model is, in a sentence.
pub(crate) fn sentence(model: &Model) -> String {
    format!(
        "A classifier of {} classes ({}), made by Taper from {}.",
        model.labels.len(),
        model.network.backbone().name(),
        model.origin.on
    )
}
