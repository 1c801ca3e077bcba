//! What every training ends with: its report told, its classifier kept, its result said.

use super::report::Report;
use super::setting::Setting;
use crate::commands::{result_json, with};
use crate::output::Output;
use anyhow::Result;
use serde_json::{Value, json};
use std::time::Instant;
use taper_learn::{Model, RunDirectory};

/// A training that is done, but for telling it.
pub(super) struct Ending<'a> {
    pub(super) setting: &'a Setting,
    pub(super) report: Report,
    pub(super) model: Model,
    pub(super) train_seconds: f64,
    pub(super) run: Option<&'a RunDirectory>,
    /// When the command began.
    pub(super) start: Instant,
}

impl Ending<'_> {
    /// Tells and keeps it; `facts` (name and kind among them) are its entry in the result.
    pub(super) fn tell(self, facts: Value, output: &Output) -> Result<()> {
        self.report.tell(self.setting, output);
        if let Some(run) = self.run {
            let path = run.path().join("model");
            self.model.save(&path)?;
            output.line(format!("the classifier is in {}", path.display()));
        }
        let costs = json!({"train_seconds": self.train_seconds, "adapt_seconds": 0.0});
        let method = with(with(self.report.json(), costs), facts);
        let out = self.run.map(|run| run.path().to_path_buf());
        output.event(&result_json("train", self.start.elapsed().as_secs_f64(), vec![method], out.as_ref()));
        Ok(())
    }
}
