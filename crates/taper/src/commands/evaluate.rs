//! `taper evaluate`: a learner on tasks, a classifier on labeled images.

use crate::args::{Episodes, Evaluate, InputPath, Protocol, UsageError};
use crate::cluster::{data_fingerprint, enough, model_fingerprint};
use crate::config;
use crate::data;
use crate::output::Output;
use crate::page::{self, Answered, Scored};
use crate::report::{existing, result_json, with};
use crate::results::{Facts, ImagesResult, Part, TasksResult, check_free};
use crate::table::duration;
use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use taper_compare::{LakeScore, lake_floors, learner, score_classifier, score_learner_tasks, seen_classes};
use taper_data::{
    Copies, Dataset, EpisodeIndices, EpisodeSampler, Hash, LakeRuns, Scope, View, read_manifest, write_manifest,
};
use taper_learn::{
    Interval, Model, RunDirectory, classifiers::Averaged, evaluation::Answers, models::CLASSIFIER, ranks::agree,
    runs::write_atomically,
};
use taper_report::Kind;

pub(crate) fn run(options: &Evaluate, output: &Output) -> Result<()> {
    let start = Instant::now();
    if let (Some(_), Some(path)) = (options.shard, &options.out) {
        check_free(path)?;
    }
    let model = Model::open(options.model.path(), &options.weights.hints()?)?;
    if output.ranks().count() > 1 {
        agree(output.ranks(), "model", &model_fingerprint(&model)?)?;
    }
    let job = Job { options, output, start };
    let create = |out: &PathBuf| -> Result<RunDirectory> {
        Ok(RunDirectory::create(out, &config::written("evaluate", options)?, existing(options.force))?)
    };
    let out = options.out.as_ref().filter(|_| options.shard.is_none() && output.ranks().writes());
    if let Some(out) = out {
        check_not_inside(options.model.path(), out)?;
        RunDirectory::check(out, existing(options.force))?;
    }
    let (methods, scored) = match options.protocol {
        Some(Protocol::Lake) => lake(&model, options, output)?,
        None => {
            let dataset = data::given_labeled(options.data.as_ref(), &options.labels, output)?;
            let knows = |class: &taper_data::Class| model.labels.contains(&class.full_name());
            if options.data.is_none() && model.origin.method == CLASSIFIER && !dataset.classes().iter().any(knows) {
                let problem = "the classifier knows none of the built-in drawings: give a folder of labeled images of its classes";
                return Err(UsageError(problem.into()).into());
            }
            let view = Arc::new(View::new(dataset, model.transform.parse()?)?);
            let shown = match model.origin.method == CLASSIFIER {
                true => classifier(&model, &view, options, &job)?,
                false => tasks(&model, &view, options, &job)?,
            };
            match shown {
                Some((entry, scored)) => (vec![entry], scored),
                None => return Ok(()),
            }
        }
    };
    // only now: a directory that an evaluation failed to fill would be in the way of the next one
    let run = out.map(create).transpose()?;
    page::save(run.as_ref(), page::evaluate(scored), output);
    let out = run.as_ref().map(RunDirectory::path);
    output.event(&result_json("evaluate", start.elapsed().as_secs_f64(), methods, out));
    Ok(())
}

/// Fails if the model lies in the directory, which would be replaced.
fn check_not_inside(model: &Path, out: &Path) -> Result<(), UsageError> {
    let (Ok(model), Ok(whole)) = (model.canonicalize(), out.canonicalize()) else { return Ok(()) };
    match model.starts_with(whole) {
        true => Err(UsageError(format!("--out {} holds the model: choose another directory", out.display()))),
        false => Ok(()),
    }
}

/// A learner on tasks of classes that it was not trained on; `None` if the options ask for a part.
fn tasks(model: &Model, view: &Arc<View>, options: &Evaluate, job: &Job) -> Result<Option<(Value, Scored)>> {
    let output = job.output;
    let dataset = view.dataset().as_ref();
    let (episodes, description) = episodes(model, dataset, options, output)?;
    if let Some(path) = options.save_episodes.as_ref().filter(|_| output.ranks().writes()) {
        write_atomically(path, write_manifest(dataset, &episodes)?.as_bytes())?;
        output.note(format!("saved the {} tasks to {}", episodes.len(), path.display()));
    }
    let mut numbers: Vec<u64> = (0..episodes.len() as u64).collect();
    if let Some(shard) = options.shard {
        numbers = shard.of(numbers, "tasks")?;
    }
    enough(output.ranks(), numbers.len(), "tasks", "--episodes")?;
    let how = (options.views.views, options.common.seed);
    let scores = score_learner_tasks(model, view, &episodes, &numbers, how, output.ranks())?;
    let method = model.origin.method.clone();
    let transductive = learner(model)?.transductive();
    let result = TasksResult { method, transductive, description, scores };
    job.show_or_keep(
        result,
        &format!("{} of {} tasks", numbers.len(), episodes.len()),
        |result| result.show(output),
        || facts(model, view, &format!("{episodes:?}"), options),
    )
}

/// What the scores depend on.
fn facts(model: &Model, view: &View, asked: &str, options: &Evaluate) -> Result<Facts> {
    let facts = [
        ("model", model_fingerprint(model)?),
        ("data", data_fingerprint(view.dataset().as_ref())?),
        ("tasks or images", Hash::of(asked.as_bytes()).to_string()),
        ("views", options.views.views.to_string()),
        ("seed", options.common.seed.to_string()),
    ];
    Ok(facts.into_iter().map(|(name, value)| (name.to_string(), value)).collect())
}

/// One run of the command.
struct Job<'a> {
    options: &'a Evaluate,
    output: &'a Output,
    start: Instant,
}

impl Job<'_> {
    /// Shows the result; or writes it as a part, if the options ask for one.
    fn show_or_keep<T: Serialize>(
        &self,
        result: T,
        extent: &str,
        show: impl FnOnce(T) -> Result<(Value, Scored)>,
        facts: impl FnOnce() -> Result<Facts>,
    ) -> Result<Option<(Value, Scored)>> {
        let (Some(shard), Some(path)) = (self.options.shard, &self.options.out) else { return show(result).map(Some) };
        let seconds = self.start.elapsed().as_secs_f64();
        Part::new("evaluate", shard, facts()?, seconds, &result)?.write(path)?;
        self.output.line(format!("part {shard} ({extent}) is in {}", path.display()));
        let result = result_json("evaluate", seconds, Vec::new(), Some(path));
        self.output.event(&with(result, json!({"shard": shard.to_string()})));
        Ok(None)
    }
}

/// The tasks to score on, with a description.
///
/// Fails if they contain classes that the learner was trained on, unless the options include them.
fn episodes(
    model: &Model,
    dataset: &dyn Dataset,
    options: &Evaluate,
    output: &Output,
) -> Result<(Vec<EpisodeIndices>, String)> {
    let seen = match options.trained_classes {
        true => BTreeSet::new(),
        false => seen_classes(model, dataset)?,
    };
    let path = match &options.episodes {
        Episodes::Written(path) => path,
        Episodes::Drawn(count) => {
            let shape = options.tasks.shape()?;
            shape.check(dataset)?;
            let scope = options.tasks.scope().unwrap_or_else(|| Scope::default_for(dataset));
            let all: Vec<u32> = match data::split(options.tasks.split.as_ref(), dataset)? {
                Some(split) => split.test,
                None => (0..dataset.classes().len() as u32).collect(),
            };
            let total = all.len();
            let unseen: Vec<u32> = all.into_iter().filter(|class| !seen.contains(class)).collect();
            if unseen.is_empty() {
                bail!(
                    "{}: the learner was trained or chosen on all of its classes: give other data or --trained-classes",
                    dataset.name()
                );
            }
            if unseen.len() < total {
                output.note(format!(
                    "skipping {} of {total} classes, which the learner was trained or chosen on",
                    total - unseen.len()
                ));
            }
            let sampler =
                EpisodeSampler::new(dataset, &unseen, shape, scope).with_context(|| dataset.name().to_string())?;
            let drawn = (0..*count).map(|number| sampler.draw(options.common.seed, number)).collect();
            let within = if scope == Scope::Group { ", each task within a group" } else { "" };
            return Ok((drawn, format!("{count} tasks of {shape}{within}")));
        }
    };
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let episodes = read_manifest(&text, dataset).with_context(|| path.display().to_string())?;
    let met: BTreeSet<u32> = episodes.iter().flat_map(|episode| &episode.classes).copied().collect();
    let known = met.intersection(&seen).count();
    if known > 0 {
        bail!(
            "{}: the learner was trained or chosen on {known} of {} classes in it: score another learner or add --trained-classes",
            path.display(),
            met.len()
        );
    }
    let count = episodes.len();
    Ok((episodes, format!("{count} tasks of {}", path.display())))
}

/// A classifier on images whose classes have its classes' names; `None` if the options ask for a part.
fn classifier(model: &Model, view: &View, options: &Evaluate, job: &Job) -> Result<Option<(Value, Scored)>> {
    let output = job.output;
    one_process(output, "a classifier's images are")?;
    let dataset = view.dataset();
    let held_out = dataset.held_out();
    let all: Vec<usize> = if held_out.is_empty() { (0..dataset.labels().len()).collect() } else { held_out.to_vec() };
    let trained: BTreeSet<usize> = match options.trained_images {
        true => BTreeSet::new(),
        false => model.provenance.trained_images(dataset.as_ref(), &all)?.into_iter().collect(),
    };
    let images: Vec<usize> = all.iter().copied().filter(|image| !trained.contains(image)).collect();
    if images.is_empty() {
        bail!(
            "{}: the classifier was trained on all of its images: give other images or --trained-images",
            dataset.name()
        );
    }
    if !trained.is_empty() {
        output.note(format!("skipping {} of {} images, which the classifier was trained on", trained.len(), all.len()));
    }
    let asked = format!("{images:?}");
    let total = images.len();
    let images: Vec<usize> = match options.shard {
        Some(shard) => shard.of(images, "images")?,
        None => images,
    };
    let score = score_classifier(model, view, &images)?;
    let result = ImagesResult::new(&model.origin.on, dataset.as_ref(), &score);
    let extent = format!("{} of {total} images", images.len());
    let show = |result: ImagesResult| -> Result<(Value, Scored)> {
        let (entry, scored) = result.show(output);
        if options.out.is_none() {
            return Ok((entry, scored));
        }
        let (answers, classes) = of_used_classes(&score.answers, &model.labels);
        let answered = Answered {
            answers: &answers,
            classes: &classes,
            dataset: dataset.as_ref(),
            images: "images",
            how: "by the classifier",
        };
        Ok((entry, Scored { sections: answered.sections(), ..scored }))
    };
    job.show_or_keep(result, &extent, show, || facts(model, view, &asked, options))
}

/// The answers, and the names of the classes that images have or are taken for: a network may know a thousand.
fn of_used_classes(answers: &Answers, names: &[String]) -> (Answers, Vec<String>) {
    let used: Vec<u32> =
        answers.labels.iter().chain(&answers.predicted).copied().collect::<BTreeSet<u32>>().into_iter().collect();
    let renumbered = |classes: &[u32]| -> Vec<u32> {
        classes.iter().filter_map(|class| used.binary_search(class).ok()).map(|place| place as u32).collect()
    };
    let (labels, predicted) = (renumbered(&answers.labels), renumbered(&answers.predicted));
    let names = used.iter().filter_map(|&class| names.get(class as usize).cloned()).collect();
    (Answers { labels, predicted, ..answers.clone() }, names)
}

/// Fails if several processes would each do the same.
fn one_process(output: &Output, what: &str) -> Result<()> {
    match output.ranks().count() {
        1 => Ok(()),
        count => Err(UsageError(format!("{what} scored in one process, and {count} were started: start one")).into()),
    }
}

/// Lake's challenge; the learner comes first in the result, then the methods that need no learning.
fn lake(model: &Model, options: &Evaluate, output: &Output) -> Result<(Vec<Value>, Scored)> {
    one_process(output, "Lake's runs are")?;
    if options.shard.is_some() {
        return Err(UsageError("--protocol lake is too small to divide: remove --shard".into()).into());
    }
    let Some(path) = options.data.as_ref().map(InputPath::path) else {
        return Err(UsageError("--protocol lake needs runs: give their folder or zip after the model".into()).into());
    };
    let runs = Arc::new(LakeRuns::open(path)?);
    let method = learner(model)?;
    let view = Arc::new(View::new(runs.clone(), model.transform.parse()?)?);
    let (seed, views) = (options.common.seed, options.views.views);
    let scored = match views {
        1 => LakeScore::of(method.as_ref(), &runs, view.as_ref(), seed)?,
        _ => LakeScore::of(&Averaged(method.as_ref()), &runs, &Copies::new(&view, views, seed)?, seed)?,
    };
    let error = |score: &LakeScore| {
        let Interval { mean, low, high } = score.accuracy();
        format!("{:.2} ({:.1} to {:.1})", 100.0 * (1.0 - mean), 100.0 * (1.0 - high), 100.0 * (1.0 - low))
    };
    let row = |(run, &(correct, items)): (&String, &(usize, usize))| {
        vec![run.clone(), items.to_string(), format!("{:.1}", 100.0 * (items - correct) as f64 / items as f64)]
    };
    let mut rows: Vec<Vec<String>> = scored.by_run.iter().map(row).collect();
    rows.push(vec!["all".into(), scored.items().to_string(), error(&scored)]);
    output.table(&["run", "decisions", "error %"], &rows);
    let floors = lake_floors(&runs, seed)?;
    let all = || {
        let floors = floors.iter().map(|(name, score)| (*name, "floor", score));
        std::iter::once((model.origin.method.as_str(), "meta", &scored)).chain(floors)
    };
    let rows: Vec<Vec<String>> = all()
        .map(|(name, _, score)| vec![name.to_string(), error(score), duration(score.evaluation.cost.predict_seconds)])
        .collect();
    output.line("");
    output.table(&["method", "error %", "time per task"], &rows);
    output.line(format!(
        "error over {} decisions, each item classified independently, with its 95% CI (Wilson){}",
        scored.items(),
        if views == 1 { String::new() } else { format!("; {views} views per image") }
    ));
    let part = |(name, kind, score): (&str, &str, &LakeScore)| {
        let kind = if kind == "meta" { Kind::Meta } else { Kind::Floor };
        (name.to_string(), Some(kind), score.accuracy(), format!("{} decisions", score.items()))
    };
    let report = Scored {
        model: model.origin.method.clone(),
        on: "Lake's 20-way one-shot challenge".into(),
        accuracy: scored.accuracy(),
        parts: all().map(part).collect(),
        what: "method",
        sections: Ok(Vec::new()),
    };
    Ok((all().map(|(name, kind, score)| lake_json(name, kind, score)).collect(), report))
}

fn lake_json(name: &str, kind: &str, score: &LakeScore) -> Value {
    let (accuracy, cost) = (score.accuracy(), score.evaluation.cost);
    let errors: BTreeMap<&String, f64> =
        score.by_run.iter().map(|(run, &(correct, items))| (run, 1.0 - correct as f64 / items as f64)).collect();
    json!({
        "name": name, "kind": kind, "accuracy": accuracy.mean, "ci95": [accuracy.low, accuracy.high],
        "train_seconds": 0.0, "adapt_seconds": cost.adapt_seconds, "predict_seconds": cost.predict_seconds,
        "decisions": score.items(), "error_by_run": errors,
    })
}
