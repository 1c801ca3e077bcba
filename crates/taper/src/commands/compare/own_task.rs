//! A comparison on all classes of a data set, over the number of labels.

use crate::args::{Compare, InputPath, UsageError};
use crate::chart::{Line, chart};
use crate::data;
use crate::output::Output;
use crate::page;
use crate::report::{Sources, result_json, run_directory, stopped_or_failed, with};
use crate::table::{bar, duration, percent};
use anyhow::Result;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use taper_compare::{Curve, CurvePoint, OwnTaskData, OwnTaskReport, method};
use taper_data::{Dataset, Look, one_line};
use taper_learn::{Model, methods::Kind};
use taper_models::catalog::{Pretrained, WeightHints};

pub(super) fn run(options: &Compare, dataset: Arc<dyn Dataset>, output: &Output) -> Result<()> {
    let start = Instant::now();
    let own = options.own_task();
    own.check()?;
    if dataset.vector(0).is_some() {
        let problem = "these data are vectors, which are compared on tasks of random classes: use --ways";
        return Err(UsageError(problem.into()).into());
    }
    let weights = weights(options, dataset.as_ref(), output)?;
    let pretrained = weights.as_ref().map(|file| Pretrained::read(file.path(), &WeightHints::default())).transpose()?;
    pretrained.iter().flat_map(|pretrained| &pretrained.notes).for_each(|note| output.note(note));
    let meta_data = options.meta_data.as_ref().map(|meta| data::dataset(Some(meta.path()))).transpose()?;
    // a resumed run does what this one does, whatever the hub's cache holds by then
    let written = Compare { weights, ..options.clone() };
    let data: Vec<&dyn Dataset> = [&dataset].into_iter().chain(&meta_data).map(AsRef::as_ref).collect();
    let sources = Sources { data: &data, weights: written.weights.iter().chain(&options.learner).collect() };
    let run = run_directory("compare", &written, &options.run, &sources, output)?;
    let learners = options.learner.iter().map(learner).collect::<Result<_>>()?;
    let compared = OwnTaskData { dataset, pretrained: pretrained.as_ref(), meta_data, learners };
    let mut reporter = output.recorder(run.as_ref(), options.run.tensorboard);
    let report =
        own.run(&compared, run.as_ref(), &mut reporter).map_err(|error| stopped_or_failed(error, run.as_ref()))?;
    print(&report, output);
    let mut kept = None;
    if let Some(run) = &run
        && let (Some(model), Some(chosen)) = (&report.model, &report.chosen)
    {
        model.save(&run.model_path())?;
        kept = Some(run.path());
        output.line(format!("\nKept: {}, trained on all {} images.", chosen.name, report.data.images));
    }
    if let (Some(_), None, Some(chosen)) = (&run, kept, &report.chosen) {
        output.line(format!(
            "\n{} can't be kept as a classifier: compare with other --methods to keep one.",
            chosen.name
        ));
    }
    output.line(format!("\n{}", what_next(&report, run.as_ref().map(|run| run.path()), kept)));
    page::save(run.as_ref(), page::own_task(&report, compared.dataset.as_ref()), output);
    let seconds = start.elapsed().as_secs_f64();
    output.line(format!("\n{} in total.", duration(seconds)));
    let methods = report.methods.iter().flat_map(entries).collect();
    let result = result_json("compare", seconds, methods, run.as_ref().map(|run| run.path()));
    output.event(&with(
        result,
        json!({
            "data": report.data, "curve": report.methods, "crossings": report.crossings,
            "forecasts": report.forecasts, "left_out": report.left_out, "verdict": report.words,
            "claims": report.claims, "chosen": report.chosen, "warnings": report.warnings,
        }),
    ));
    Ok(())
}

/// A kept learner, with what tables call it.
fn learner(given: &InputPath) -> Result<(String, Model)> {
    let path = given.path();
    let model = Model::load(path)?;
    let folder = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let title = method(&model.origin.method).map_or(model.origin.method.as_str(), |method| method.info().title);
    Ok((format!("{title} ({folder})"), model))
}

/// The weights to start from: as given, or the default ones for photographs.
fn weights(options: &Compare, dataset: &dyn Dataset, output: &Output) -> Result<Option<InputPath>> {
    if let Some(given) = &options.weights {
        return Ok(Some(data::weights(given)?));
    }
    if options.run.resume.is_some() || Look::of(dataset)?.channels != 3 {
        return Ok(None);
    }
    data::default_weights("methods compare pixels or train from scratch", output)
}

/// The setting in a few lines, the table, the chart, the verdict.
fn print(report: &OwnTaskReport, output: &Output) {
    let data = &report.data;
    let scored = match data.held_out {
        0 => "others".to_string(),
        held_out => format!("{held_out} images set aside"),
    };
    output.line(format!(
        "{}: {} images of {} classes; methods learn from some of them and are scored on {scored}.",
        one_line(&data.name),
        data.images,
        data.classes
    ));
    if let Some(meta) = &data.meta_data {
        let shared = match meta.shared {
            0 => String::new(),
            shared => format!("; {shared} that {} holds too are left out", one_line(&data.name)),
        };
        let images = format!("{} images of {} classes of {}{shared}", meta.images, meta.classes, one_line(&meta.name));
        output.line(match report.methods.iter().any(|curve| curve.kind == Kind::Meta) {
            true => format!("Meta-learners learned from {images}."),
            false => format!("No meta-learner learned from {images}: the reasons are below."),
        });
    }
    let columns = columns(report);
    let names: Vec<String> = columns.iter().map(CurvePointColumn::name).collect();
    let is_trained = report.methods.iter().any(|curve| curve.train_seconds > 0.0);
    let header: Vec<&str> = ["method", "kind"]
        .into_iter()
        .chain(names.iter().map(String::as_str))
        .chain(output.is_terminal().then_some(""))
        .chain(is_trained.then_some("training"))
        .chain(["learning"])
        .collect();
    let cells = |curve: &Curve| {
        let points =
            columns.iter().map(|column| column.of(curve).map_or(String::new(), |point| percent(point.accuracy)));
        let learning = curve.points.last().map_or(0.0, |point| point.adapt_seconds);
        [curve.name.clone(), curve.kind.to_string()]
            .into_iter()
            .chain(points)
            .chain(
                output
                    .is_terminal()
                    .then(|| curve.points.last().map_or(String::new(), |point| bar(point.accuracy.mean))),
            )
            .chain(is_trained.then(|| duration(curve.train_seconds)))
            .chain([duration(learning)])
            .collect()
    };
    output.line("\nAccuracy in % by labels per class, with 95% intervals:\n");
    output.table(&header, &report.methods.iter().map(cells).collect::<Vec<_>>());
    let shortened =
        report.methods.iter().filter_map(|curve| Some(format!("{}: {}", curve.name, curve.left_out.as_ref()?)));
    let left_out = report.left_out.iter().map(|row| format!("{}: {}", row.name, row.reason));
    let missing: Vec<String> = left_out.chain(shortened).collect();
    if !missing.is_empty() {
        output.line(format!("\nLeft out within {}:", duration(data.budget)));
        missing.iter().for_each(|line| output.line(format!("  {line}")));
    }
    output.line(drawn(report, &columns, &names));
    output.line("");
    output.strong_line(&report.words);
    report.warnings.iter().for_each(|warning| output.warning_line(format!("{warning}.")));
}

/// A number of labels, as a column.
struct CurvePointColumn(CurvePoint);

impl CurvePointColumn {
    fn name(&self) -> String {
        match self.0.labels.to_string().as_str() {
            "all" => format!("all ({:.0})", self.0.per_class),
            count => count.to_string(),
        }
    }

    fn of<'a>(&self, curve: &'a Curve) -> Option<&'a CurvePoint> {
        curve.points.iter().find(|point| point.labels == self.0.labels)
    }
}

/// The numbers of labels that any method was scored with.
fn columns(report: &OwnTaskReport) -> Vec<CurvePointColumn> {
    let mut columns: Vec<CurvePoint> = Vec::new();
    for point in report.methods.iter().flat_map(|curve| &curve.points) {
        if columns.iter().all(|column| column.labels != point.labels) {
            columns.push(*point);
        }
    }
    columns.sort_by(|a, b| a.per_class.total_cmp(&b.per_class));
    columns.into_iter().map(CurvePointColumn).collect()
}

/// A chart of the best curve of each approach.
fn drawn(report: &OwnTaskReport, columns: &[CurvePointColumn], names: &[String]) -> String {
    let (mut lines, mut legend) = (Vec::new(), Vec::new());
    for (letter, curve) in ('a'..).zip(page::best_of_each_approach(&report.methods)) {
        let values = columns.iter().map(|column| column.of(curve).map(|point| point.accuracy.mean)).collect();
        lines.push(Line { letter, values });
        legend.push(format!("{letter} {}", curve.name));
    }
    format!("\n{}\n      labels per class; {}", chart(names, &lines), legend.join(", "))
}

/// What to type next.
fn what_next(report: &OwnTaskReport, run: Option<&Path>, kept: Option<&Path>) -> String {
    match (kept, &report.chosen) {
        (None, Some(_)) if run.is_some() => "Next: compare again with more labels, or a longer --budget.".into(),
        (Some(run), _) => {
            format!("Next: `taper predict {} PICTURES` names the classes of other pictures.", run.display())
        }
        (None, Some(chosen)) => format!("Next: add --out MINE to keep {} as a classifier.", chosen.name),
        (None, None) => "Next: fetch pretrained weights, and compare again.".into(),
    }
}

/// A method's entries in the result, one for each number of labels.
fn entries(curve: &Curve) -> Vec<Value> {
    let entry = |point: &CurvePoint| {
        json!({
            "name": curve.name, "kind": curve.kind.to_string(), "approach": curve.approach,
            "start": curve.start.name(), "labels": point.labels.to_string(), "labels_per_class": point.per_class,
            "accuracy": point.accuracy.mean, "ci95": [point.accuracy.low, point.accuracy.high],
            "draws": point.draws, "train_seconds": curve.train_seconds, "adapt_seconds": point.adapt_seconds,
            "predict_seconds": point.predict_seconds, "trained_on": curve.trained_on,
        })
    };
    curve.points.iter().map(entry).collect()
}
