//! The report of a run as a page: what each command's results become, and the files `report.json` and `report.html`.

mod classifier;
mod differences;
mod evaluate;
mod meta_train;
mod own_task;
mod survey;
mod tasks;
mod train;

pub(crate) use classifier::Answered;
pub(crate) use evaluate::{Scored, evaluate};
pub(crate) use meta_train::meta_train;
pub(crate) use own_task::{best_of_each_approach, own_task};
pub(crate) use survey::survey;
pub(crate) use tasks::tasks;
pub(crate) use train::train;

use crate::hints::causes;
use crate::output::Output;
use crate::run_log::{StageLog, stages};
use crate::table::share;
use anyhow::Result;
use std::path::Path;
use taper_data::{Dataset, one_line};
use taper_learn::{RunDirectory, methods, runs::write_atomically};
use taper_report::{Again, Fact, Figure, Interval, Kind, Report, Section, StageCurve, Training, page};

/// The report as a value, and as a page.
pub(crate) const VALUE: &str = "report.json";
pub(crate) const PAGE: &str = "report.html";

/// Writes the report into the run and prints where it is. A report that can't be made or written is a warning: the
/// run's results are saved by then.
pub(crate) fn save(run: Option<&RunDirectory>, report: Result<Report>, output: &Output) {
    let Some(run) = run else { return };
    match report.and_then(|report| write(run, with_run(report, run.path(), run.config()))) {
        Ok(()) => output.line(format!("Report: {}", run.path().join(PAGE).display())),
        Err(error) => output.note(format!("warning: the report was not written: {}", causes(&error))),
    }
}

fn write(run: &RunDirectory, report: Report) -> Result<()> {
    write_atomically(&run.file(VALUE)?, &serde_json::to_vec(&report)?)?;
    write_atomically(&run.file(PAGE)?, page(&report)?.as_bytes())?;
    Ok(())
}

/// The report with the run's learning curves and with how to run it again.
pub(crate) fn with_run(report: Report, run: &Path, config: &str) -> Report {
    let mut sections = report.sections;
    sections.extend(training(&stages(run)));
    let command =
        config.parse::<toml::Table>().ok().and_then(|table| Some(table.get("command")?.as_str()?.to_string()));
    let again = Again {
        command: command.map_or(String::new(), |command| {
            format!("taper {command} --config {} --out AGAIN", quoted(&run.join("config.toml").display().to_string()))
        }),
        config: config.to_string(),
        version: env!("CARGO_PKG_VERSION").to_string(),
    };
    Report { sections, again, ..report }
}

/// A path as a shell takes it.
fn quoted(path: &str) -> String {
    let plain = |letter: char| letter.is_alphanumeric() || "/._-+=:@%,".contains(letter);
    if path.chars().all(plain) { path.to_string() } else { format!("'{}'", path.replace('\'', "'\\''")) }
}

/// The learning curves; `None` if nothing was trained in steps.
fn training(stages: &[StageLog]) -> Option<Section> {
    let curve = |stage: &StageLog| StageCurve {
        name: stage.name.clone(),
        steps: stage.step,
        seconds: stage.seconds,
        losses: stage.losses.clone(),
        scores: stage.scores.clone(),
    };
    let stages: Vec<StageCurve> = stages.iter().filter(|stage| stage.steps > 0).map(curve).collect();
    (!stages.is_empty()).then(|| Section {
        title: "Training".into(),
        text: "The loss on training data, and the score on validation data where there is one, over the steps of each \
               stage of training."
            .into(),
        figure: Figure::Training(Training { stages }),
    })
}

/// An interval of the library as one of a report.
pub(crate) fn interval(interval: taper_learn::Interval) -> Interval {
    let taper_learn::Interval { mean, low, high } = interval;
    Interval { mean, low, high }
}

/// A kind of the library as one of a report.
fn kind(kind: methods::Kind) -> Kind {
    match kind {
        methods::Kind::Floor => Kind::Floor,
        methods::Kind::Scratch => Kind::Scratch,
        methods::Kind::Transfer => Kind::Transfer,
        methods::Kind::Meta => Kind::Meta,
    }
}

/// Files of a data set that were not read, and what a reader should know about it.
fn not_read(dataset: &dyn Dataset) -> Vec<Fact> {
    let name = one_line(dataset.name()).into_owned();
    let skipped = dataset.skipped().first().map(|(path, reason)| {
        let others = match dataset.skipped().len() {
            1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        Fact::new(format!("Files of {name}"), format!("{path}{others} could not be read ({reason})"))
    });
    let notes = dataset.notes().iter().map(|note| Fact::new(name.clone(), note.clone()));
    skipped.into_iter().chain(notes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_a_space_is_quoted_for_a_shell() {
        assert_eq!(quoted("/runs/a-1/config.toml"), "/runs/a-1/config.toml");
        assert_eq!(quoted("my run's"), r"'my run'\''s'");
    }
}
