//! A learner's scores on tasks.

use crate::output::Output;
use crate::page::Scored;
use crate::report::method_json;
use crate::results::in_turn;
use crate::table::{duration, percent};
use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use taper_compare::method;
use taper_learn::{Evaluation, Interval, evaluation::TaskScore};

/// A learner's scores on tasks.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TasksResult {
    /// The learner's method.
    pub(crate) method: String,
    /// Whether its predictions depend on the other queries.
    pub(crate) transductive: bool,
    /// All tasks in words.
    pub(crate) description: String,
    /// The scores, task by task.
    pub(crate) scores: Vec<TaskScore>,
}

impl TasksResult {
    /// The result of all parts.
    ///
    /// # Errors
    /// Returns an error if there is none, or one lacks tasks.
    pub(crate) fn merged(parts: Vec<Self>) -> Result<Self> {
        let (mut heads, mut scores) = (Vec::new(), Vec::new());
        for part in parts {
            scores.push(part.scores);
            heads.push(Self { scores: Vec::new(), ..part });
        }
        let scores = in_turn(scores)?;
        match heads.into_iter().next() {
            Some(head) => Ok(Self { scores, ..head }),
            None => anyhow::bail!("there are no parts: give some"),
        }
    }

    /// Prints the result, and returns the method's entry for programs and what a report shows.
    ///
    /// # Errors
    /// Returns an error if there is no task, or the method is unknown.
    pub(crate) fn show(self, output: &Output) -> Result<(Value, Scored)> {
        let Self { method: name, transductive, description, scores } = self;
        let scored = Evaluation::of(scores)?;
        output.line(&description);
        let by_source = scored.by_source();
        let row = |name: &str, interval| vec![name.to_string(), percent(interval)];
        let mut rows: Vec<Vec<String>> = by_source.iter().map(|(source, interval)| row(source, *interval)).collect();
        if rows.len() != 1 {
            rows.push(row("all", scored.accuracy()));
        }
        output.table(&["source", "accuracy %"], &rows);
        output.line(format!(
            "{name}{}: {} to adapt to a task, {} to classify its queries",
            if transductive { " (transductive)" } else { "" },
            duration(scored.cost.adapt_seconds),
            duration(scored.cost.predict_seconds)
        ));
        let kind = method(&name)?.info().kind.to_string();
        let mut entry = method_json(&name, &kind, &scored, 0.0);
        let source = |(source, accuracy): (&&str, &Interval)| json!({"name": source, "accuracy": accuracy.mean, "ci95": [accuracy.low, accuracy.high]});
        entry["transductive"] = json!(transductive);
        entry["sources"] = by_source.iter().map(source).collect();
        let part = |(source, accuracy): (&&str, &Interval)| (source.to_string(), None, *accuracy, String::new());
        let report = Scored {
            model: name.clone(),
            on: description,
            accuracy: scored.accuracy(),
            parts: by_source.iter().map(part).collect(),
            what: "source",
            sections: Ok(Vec::new()),
        };
        Ok((entry, report))
    }
}
