//! `taper report`: a run's report as a page.

use crate::args::Report as Options;
use crate::output::Output;
use crate::page::{self, PAGE, VALUE};
use crate::replaceable::head_of_file;
use crate::report::{is_revised, result_json};
use crate::results::PART_FILE;
use anyhow::{Context, Result, anyhow, bail};
use std::path::Path;
use std::time::Instant;
use taper_learn::runs::{RunRecord, write_atomically};
use taper_learn::{LearnError, RunDirectory};
use taper_report::{Fact, GENERATOR, Report};

pub(crate) fn run(options: &Options, output: &Output) -> Result<()> {
    let start = Instant::now();
    let record = RunRecord::open(&options.run)?;
    let mut report = report(&record)?;
    if is_revised(&options.run) {
        let since = "by `taper adapt`: the figures are those of the classifier as it was trained";
        report.facts.insert(0, Fact::new("Classes or labeled images were changed since", since));
    }
    let html = taper_report::page(&report)?;
    let path = match &options.out {
        Some(path) => {
            check_target(path)?;
            path.clone()
        }
        // listed among the run's files, so that another run in its place removes it
        None => RunDirectory::open(&options.run).map_err(in_words)?.file(PAGE)?,
    };
    write_atomically(&path, html.as_bytes())?;
    output.line(format!("Report: {}", path.display()));
    output.event(&result_json("report", start.elapsed().as_secs_f64(), Vec::new(), Some(&path)));
    Ok(())
}

/// A run that still trains keeps its directory to itself, but its report can be written elsewhere.
fn in_words(error: LearnError) -> anyhow::Error {
    match error {
        LearnError::InUse { path, holder } => {
            let path = path.display();
            anyhow!("{path}: is in use by {holder}: give --out FILE to write its report so far elsewhere")
        }
        other => other.into(),
    }
}

/// The report that the run saved; of a run that has not finished, its training so far.
fn report(record: &RunRecord) -> Result<Report> {
    let path = record.path().join(VALUE);
    let run = record.path().display();
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| {
            format!("{}: is damaged: resume the run with --resume {run} to write it again", path.display())
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && record.path().join(PART_FILE).exists() => {
            bail!("{run}: is a part of a job: put all parts together with `taper merge`")
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let report = Report {
                title: "A run that has not finished".into(),
                context: vec![run.to_string()],
                verdict: format!("There is no result yet. If the run was stopped, --resume {run} finishes it."),
                ..Report::default()
            };
            let report = page::with_run(report, record.path(), record.config());
            if report.sections.is_empty() {
                bail!(
                    "{run}: has no report and no training yet: wait for its first steps, or resume it with --resume {run}"
                );
            }
            Ok(report)
        }
        Err(source) => Err(LearnError::File { path, source }.into()),
    }
}

/// Fails if there is anything but a report.
fn check_target(path: &Path) -> Result<()> {
    if path.is_dir() {
        bail!("{}: is a folder: give --out a file such as {}", path.display(), path.join(PAGE).display());
    }
    // a report names what made it in its head
    let is_report = |head: &[u8]| {
        let head = String::from_utf8_lossy(head);
        head.trim_start().to_ascii_lowercase().starts_with("<!doctype html") && head.contains(GENERATOR)
    };
    match head_of_file(path)? {
        Some(head) if !is_report(&head) => bail!("{}: exists but is not a report: choose another file", path.display()),
        _ => Ok(()),
    }
}
