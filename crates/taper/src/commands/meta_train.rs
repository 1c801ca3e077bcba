//! `taper meta-train`: a learner from many small tasks.

mod multitask;
mod source;

use super::{method_json, percent, result_json, run_directory};
use crate::args::{MetaTrain, Usage};
use crate::course::Course;
use crate::data;
use crate::output::Output;
use crate::registry::learner;
use crate::stage;
use anyhow::Result;
use source::Source;
use std::sync::Arc;
use std::time::Instant;
use taper_data::{EpisodeSampler, Inputs, Scope};
use taper_learn::{Episodic, Evaluation, Method, Model, Plan, Schedule, Settings, Setup, Training, evaluate};
use taper_models::{Head, Network, State, SymmetryEnsemble};

/// Tasks of a run that says nothing of its length.
const DEFAULT_TASKS: u64 = 60_000;

pub(crate) fn run(options: &MetaTrain, config: &str, output: &Output) -> Result<()> {
    let start = Instant::now();
    let method = options.method.0;
    let settings = settings(options, method)?;
    let dataset = match (&options.data, options.glyphs) {
        (None, Some(alphabets)) => data::invented(alphabets)?,
        (data, _) => data::dataset(data.as_deref())?,
    };
    data::tell(dataset.as_ref(), output)?;
    let look = data::look(dataset.as_ref())?;
    let transform = data::transform(&options.image, options.backbone, look, look.channels)?;
    let own = Source::new(options, &options.tasks, dataset, transform.clone(), output)?;
    let (view, shape) = (&own.view, options.tasks.shape()?);
    if options.turned {
        let plain = Network::new(options.backbone.backbone(view.shape())?, Head::Identity);
        turned(method, &method.network(&plain, shape.ways().high()))?;
    }
    if let Training::SharedTasks = method.training {
        let run = run_directory(&options.run, config)?;
        return multitask::run(options, settings, output, run.as_ref(), view, start);
    }
    // what can't be filled is told before anything is written
    own.check()?;
    let also = source::also(options, &transform, output)?;
    let beside = source::beside(options, view, &also)?;
    let run = run_directory(&options.run, config)?;
    let course = Course {
        beside,
        run: run.as_ref(),
        output,
        view,
        classes: &own.split.train,
        scope: own.scope,
        shape,
        backbone: options.backbone,
    };
    let (network, trained) = match method.training {
        Training::Episodes(episodic) => {
            meta_train(options, method, &episodic, &settings, &course, own.validation().as_ref())?
        }
        _ => course.pretrain("pretrained", &pretraining(options, &course, options.steps), options.batch_size)?,
    };
    let network = if options.turned { turned(method, &network)? } else { network };
    let setup = setup(options, method, network.clone(), settings, 0);
    let seconds = trained.seconds;
    let mut trained_as = course.trained(method.name, &setup);
    if options.data.is_none() && options.glyphs.is_some() {
        // Alphabets invented for training meet nobody again: their names would only fill the file.
        trained_as.classes.clear();
    }
    let model = Model {
        network,
        state: trained.progress.into_best(),
        labels: Vec::new(),
        transform: view.transform().to_string(),
        trained: trained_as,
    };
    if let Some(run) = &run {
        model.save(&run.path().join("model"))?;
    }
    // the test classes are scored once, at the end
    let learner = learner(&model)?;
    let seed = options.run.common.seed;
    let mut scored: Vec<Evaluation> = Vec::new();
    for source in std::iter::once(&own).chain(also.iter().map(|(source, _)| source)) {
        let Some(test) = source.test() else { continue };
        let episode = |number| Ok(source.view.episode(&test.draw(seed ^ TEST_SEED, number), None)?);
        let evaluation = evaluate(learner.as_ref(), 200, seed, episode)?;
        output.line(format!(
            "{}: {} % on 200 tasks of {shape} from classes of {} not trained on{}",
            method.title,
            percent(evaluation.accuracy()),
            source.dataset().name(),
            if learner.transductive() { " (transductive)" } else { "" }
        ));
        scored.push(evaluation);
    }
    let several = scored.len() > 1;
    let methods = match Evaluation::together(scored) {
        Some(all) if several => {
            output.line(format!("{}: {} % on all of them", method.title, percent(all.accuracy())));
            vec![method_json(method.name, &method.kind.to_string(), &all, seconds)]
        }
        Some(all) => vec![method_json(method.name, &method.kind.to_string(), &all, seconds)],
        None => Vec::new(),
    };
    if let Some(run) = &run {
        output.line(format!("the learner is in {}", run.path().join("model").display()));
    }
    output.event(&result_json(
        "meta-train",
        start.elapsed().as_secs_f64(),
        methods,
        run.map(|run| run.path().to_path_buf()).as_ref(),
    ));
    Ok(())
}

/// Validation tasks are the same in every run.
const VALIDATION_SEED: u64 = 0x7661_6c69;
/// Tells test tasks from training tasks of the same seed.
pub(crate) const TEST_SEED: u64 = 0x7465_7374;

/// The method's settings; a usage error where it has no such setting.
fn settings(options: &MetaTrain, method: &Method) -> Result<Settings> {
    method.settings(&options.settings.told(method)).map_err(|error| Usage(error.to_string()).into())
}

fn setup(options: &MetaTrain, method: &Method, network: Network, settings: Settings, steps: u64) -> Setup {
    Setup { network, norm: options.settings.norm.unwrap_or(method.norm), settings, steps }
}

/// Passes over the training images, or `steps`.
fn pretraining(options: &MetaTrain, course: &Course<'_>, steps: Option<u64>) -> Plan {
    let images = course.view.dataset().labels().iter().filter(|label| course.classes.contains(label)).count();
    let an_epoch = (images as u64).div_ceil(options.batch_size as u64);
    Plan {
        steps: steps.unwrap_or(options.epochs * an_epoch),
        learning_rate: options.meta_lr,
        schedule: Schedule::Cosine { warmup: 0 },
        average: options.average,
        save_every: options.save_every,
        seed: options.run.common.seed,
        ..Plan::default()
    }
}

/// Meta-training, after pretraining where the method starts from it.
fn meta_train(
    options: &MetaTrain,
    method: &Method,
    episodic: &Episodic,
    settings: &Settings,
    course: &Course<'_>,
    validation: Option<&EpisodeSampler>,
) -> Result<(Network, stage::Trained)> {
    let pretrained = match episodic.pretrained {
        true => Some(course.pretrain("pretrained", &pretraining(options, course, None), options.batch_size)?.1),
        false => None,
    };
    let steps = options.steps.unwrap_or(DEFAULT_TASKS.div_ceil(options.meta_batch_size as u64));
    let plan = Plan {
        steps,
        items: options.meta_batch_size,
        learning_rate: options.meta_lr,
        schedule: Schedule::Cosine { warmup: 0 },
        clip: Some(10.0),
        average: options.average,
        validate_every: if validation.is_none() { 0 } else { options.validate_every.unwrap_or((steps / 20).max(1)) },
        save_every: options.save_every,
        seed: options.run.common.seed,
        ..Plan::default()
    };
    let network = method.network(&course.classifier(0)?, course.shape.ways().high());
    let setup = setup(options, method, network.clone(), settings.clone(), steps);
    let view = course.view;
    let validate = |state: &State| -> taper_learn::Result<f64> {
        let Some(sampler) = validation else { return Ok(0.0) };
        let learner = (method.learner)(&setup, state.clone())?;
        let episode = |number| Ok(view.episode(&sampler.draw(VALIDATION_SEED, number), None)?);
        Ok(evaluate(learner.as_ref(), options.validation_episodes, VALIDATION_SEED, episode)?.accuracy().mean)
    };
    let begin = pretrained.as_ref().map(|trained| trained.progress.learned());
    let mut trained = course.episodes(method.name, episodic, &setup, begin, &plan, validate)?;
    trained.seconds += pretrained.map_or(0.0, |trained| trained.seconds);
    Ok((network, trained))
}

/// The network that looks at each image in eight symmetries.
///
/// Errs where the method learns more of features than to compare them.
fn turned(method: &Method, network: &Network) -> Result<Network> {
    let turned = Network::new(Arc::new(SymmetryEnsemble::new(network.backbone().clone())?), network.head());
    if turned.param_specs() != network.param_specs() {
        let name = method.name;
        return Err(
            Usage(format!("--turned is for learners that compare features, such as protonet, not {name}")).into()
        );
    }
    Ok(turned)
}

/// Whether tasks stay within groups, in words.
pub(crate) fn within(scope: Scope) -> &'static str {
    match scope {
        Scope::Group => ", each task within a group",
        Scope::All => "",
    }
}
