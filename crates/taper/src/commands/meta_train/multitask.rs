//! The seed recipe: joint training over tasks, with one shared head.

use super::{TEST_SEED, setup};
use crate::args::MetaTrain;
use crate::commands::{percent, result_json};
use crate::course::Course;
use crate::data;
use crate::output::Output;
use crate::stage::Stage;
use anyhow::Result;
use std::sync::Arc;
use std::time::Instant;
use taper_data::View;
use taper_learn::{Draw, Model, Plan, RunDirectory, Settings, Supervised, accuracy};
use taper_meta::SharedTasks;
use taper_models::{Norm, State};

/// Share of each class's images that `multitask` is tested on and not trained on.
const TEST_SHARE: f64 = 0.25;

/// The seed recipe: one shared head over tasks, an epoch a pass over them, each task's test
/// accuracy told as it goes.
pub(super) fn run(
    options: &MetaTrain,
    settings: Settings,
    output: &Output,
    run: Option<&RunDirectory>,
    view: &Arc<View>,
    start: Instant,
) -> Result<()> {
    let dataset = view.dataset().as_ref();
    let (seed, ways) = (options.run.common.seed, options.tasks.ways.high());
    let all: Vec<u32> = (0..dataset.classes().len() as u32).collect();
    let (tasks, test) = SharedTasks::new(dataset, &all, ways, seed)?.split(TEST_SHARE, seed);
    let names: Vec<String> = tasks.names().map(String::from).collect();
    let scope = data::scope(options.tasks.scope, dataset);
    let shape = options.tasks.shape()?;
    let course =
        Course { run, output, view, classes: &all, scope, shape, backbone: options.backbone, beside: Vec::new() };
    let network = course.classifier(ways)?;
    let objective = Supervised { network: network.clone(), head_only: false, norm: Norm::Batch, smoothing: 0.0 };
    let count = tasks.len() as u64;
    let steps = options.steps.unwrap_or(options.epochs * count);
    let plan = Plan {
        steps,
        learning_rate: options.meta_lr,
        validate_every: 1,
        save_every: options.save_every,
        seed,
        ..Plan::default()
    };
    let items = |at: Draw| tasks.batch(view.as_ref(), at.step as usize, options.batch_size, at);
    let mut step = run.map_or(Ok(None), |run| run.load("multitask"))?.map_or(0, |saved| saved.step);
    let queries = options.tasks.queries.high();
    let mut scores = Vec::new();
    let score = |state: &State| -> taper_learn::Result<f64> {
        let at = Draw { seed: seed ^ TEST_SEED, step, number: step };
        let batch = test.batch(view.as_ref(), step as usize, queries, at)?;
        let right = accuracy(&network.logits(state, &batch.inputs)?, &batch.labels)?;
        let name = &names[(step % count) as usize];
        output.line(format!("Epoch: {}, Task: {name}, Test Accuracy: {:.0} %", step / count, right * 100.0));
        if step / count == (steps - 1) / count {
            scores.push(right);
        }
        step += 1;
        Ok(right)
    };
    let trained =
        Stage { name: "multitask", run, output }.train(&plan, network.init(seed)?, &objective, items, score)?;
    let method = options.method.0;
    let setup = setup(options, method, network.clone(), settings, 0);
    let model = Model {
        network,
        state: trained.progress.state,
        labels: Vec::new(),
        transform: view.transform().to_string(),
        trained: course.trained(method.name, &setup),
    };
    if let Some(run) = run {
        model.save(&run.path().join("model"))?;
        output.line(format!("the learner is in {}", run.path().join("model").display()));
    }
    let mut methods = Vec::new();
    if !scores.is_empty() {
        let accuracy = taper_learn::mean_interval(&scores);
        output.line(format!("last epoch: {} % over {} tasks", percent(accuracy), scores.len()));
        methods
            .push(serde_json::json!({"name": method.name, "kind": method.kind.to_string(), "accuracy": accuracy.mean,
            "ci95": [accuracy.low, accuracy.high], "train_seconds": trained.seconds, "adapt_seconds": 0.0}));
    }
    let out = run.map(|run| run.path().to_path_buf());
    output.event(&result_json("meta-train", start.elapsed().as_secs_f64(), methods, out.as_ref()));
    Ok(())
}
