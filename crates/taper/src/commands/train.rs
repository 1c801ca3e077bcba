//! `taper train`: a classifier from a folder of labelled images.

use super::{result_json, run_directory};
use crate::args::{Freeze, Train, Usage};
use crate::data;
use crate::output::Output;
use crate::registry::CLASSIFIER;
use crate::stage::Stage;
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use taper_data::{Batch, Dataset, Inputs, View, images_by_class};
use taper_learn::{Draw, Model, Optimizer, Plan, Supervised, TaskNorm, Trained, accuracy, share_interval};
use taper_models::{Head, HeadPolicy, Mode, Network, Norm, State, read_weights};
use taper_ops::{permutation, rng};
use taper_transfer::{FeatureCache, Features};

pub(crate) fn run(options: &Train, config: &str, output: &Output) -> Result<()> {
    let start = Instant::now();
    let seed = options.run.common.seed;
    let dataset = data::dataset(options.data.as_deref())?;
    data::tell(dataset.as_ref(), output)?;
    let (training, validation) = parts(dataset.as_ref(), options.validation, seed)?;
    let look = data::look(dataset.as_ref())?;
    let channels = if options.weights.is_some() { 3 } else { look.channels };
    let transform = data::transform(&options.image, options.backbone, look, channels)?;
    let view = data::view(dataset.clone(), transform)?;
    let (network, state) = start_from(options, &view)?;
    let frozen = match options.freeze {
        Some(freeze) => freeze == Freeze::Backbone,
        None => options.weights.is_some() || options.as_published,
    };
    let run = run_directory(&options.run, config)?;
    let cached = frozen && !options.as_published;
    let inputs: Arc<dyn Inputs> =
        if cached { features(options, &view, &network, &state, output)? } else { view.clone() };
    let norm = if cached { Norm::Stored } else { Norm::Batch };
    let objective = Supervised { network: network.clone(), head_only: frozen, norm, smoothing: 0.0 };
    let steps_an_epoch = (training.len() as u64).div_ceil(options.batch_size as u64);
    let plan = Plan {
        steps: options.epochs * steps_an_epoch,
        learning_rate: options.lr,
        optimizer: match options.weight_decay {
            0.0 => Optimizer::adam(),
            weight_decay => Optimizer::AdamW { weight_decay },
        },
        validate_every: steps_an_epoch,
        save_every: steps_an_epoch,
        seed,
        ..Plan::default()
    };
    let ways = dataset.classes().len();
    let labelled = |images: &[usize], at: Option<Draw>| -> taper_learn::Result<Batch> {
        let labels: Vec<u32> = images.iter().map(|&image| dataset.labels()[image]).collect();
        let mut chance = at.map(|at| at.rng("transform"));
        Ok(Batch::new(inputs.inputs(images, chance.as_mut())?, &labels, ways)?)
    };
    let items = |at: Draw| {
        let (epoch, place) = (at.step / steps_an_epoch, (at.step % steps_an_epoch) as usize);
        let order = permutation(&mut rng(at.seed, "epoch", epoch), training.len());
        let chosen: Vec<usize> =
            order.iter().skip(place * options.batch_size).take(options.batch_size).map(|&k| training[k]).collect();
        labelled(&chosen, Some(at))
    };
    let mut epoch =
        run.as_ref().map_or(Ok(None), |run| run.load("classifier"))?.map_or(0, |saved| saved.step / steps_an_epoch);
    let mut right = 0;
    let validate = |state: &State| -> taper_learn::Result<f64> {
        right = 0;
        for (number, images) in validation.chunks(options.batch_size).enumerate() {
            let batch = labelled(images, None)?;
            let mode = match options.as_published {
                true => Mode::train(rng(seed, "validation", epoch * 1_000_000 + number as u64)),
                false => Mode::evaluate(),
            };
            let logits = network.forward(&state.params, &state.buffers, &batch.inputs, mode)?.output;
            right += (accuracy(&logits, &batch.labels)? * images.len() as f64).round() as usize;
        }
        epoch += 1;
        let share = right as f64 / validation.len() as f64;
        output.line(format!("Epoch: {epoch}, Validation Accuracy: {:.1} %", share * 100.0));
        Ok(share)
    };
    let trained =
        Stage { name: "classifier", run: run.as_ref(), output }.train(&plan, state, &objective, items, validate)?;
    // the last state is kept, chosen by nothing: the validation figure stays honest
    let labels: Vec<String> = dataset.classes().iter().map(|class| class.full_name()).collect();
    let model = Model {
        network,
        state: trained.progress.state,
        labels: labels.clone(),
        transform: view.transform().to_string(),
        trained: Trained {
            method: CLASSIFIER.into(),
            on: format!("{} ({} images)", dataset.name(), training.len()),
            classes: labels,
            settings: BTreeMap::new(),
            norm: TaskNorm::Stored.to_string(),
        },
    };
    if right == 0 {
        // the run was finished before: score what it left
        right = score(&model, &view, &validation)?;
    }
    let scored = share_interval(right, validation.len());
    output.line(format!(
        "{} of {} validation images right: {:.1} % (95 % interval {:.1} to {:.1})",
        right,
        validation.len(),
        scored.mean * 100.0,
        scored.low * 100.0,
        scored.high * 100.0
    ));
    if let Some(run) = &run {
        model.save(&run.path().join("model"))?;
        output.line(format!("the classifier is in {}", run.path().join("model").display()));
    }
    let kind = if options.weights.is_some() { "transfer" } else { "scratch" };
    let method = json!({"name": model.network.backbone().name(), "kind": kind, "accuracy": scored.mean,
        "ci95": [scored.low, scored.high], "train_seconds": trained.seconds, "adapt_seconds": 0.0});
    let out = run.map(|run| run.path().to_path_buf());
    output.event(&result_json("train", start.elapsed().as_secs_f64(), vec![method], out.as_ref()));
    Ok(())
}

fn score(model: &Model, view: &View, images: &[usize]) -> Result<usize> {
    let mut right = 0;
    for chunk in images.chunks(64) {
        let predicted = model.network.logits(&model.state, &view.inputs(chunk, None)?)?.argmax(1)?.to_vec1::<u32>()?;
        right += chunk.iter().zip(predicted).filter(|&(&image, label)| view.dataset().labels()[image] == label).count();
    }
    Ok(right)
}

/// Training and validation images: as the data set sets them apart, or a share of each class.
fn parts(dataset: &dyn Dataset, share: f64, seed: u64) -> Result<(Vec<usize>, Vec<usize>)> {
    let mut validation = dataset.held_out().to_vec();
    if validation.is_empty() {
        if !(0.0..1.0).contains(&share) || share == 0.0 {
            return Err(Usage(format!("--validation {share} is no share of the images, use 0.2")).into());
        }
        for (class, images) in images_by_class(dataset).into_iter().enumerate() {
            let count = ((images.len() as f64 * share).round() as usize).max(1);
            if images.len() < 2 {
                bail!(
                    "class `{}` has {} image, it needs at least 2: one to train on, one to validate",
                    dataset.classes()[class].full_name(),
                    images.len()
                );
            }
            let order = permutation(&mut rng(seed, "validation part", class as u64), images.len());
            validation.extend(order[..count].iter().map(|&place| images[place]));
        }
    }
    validation.sort_unstable();
    let training: Vec<usize> =
        (0..dataset.labels().len()).filter(|image| validation.binary_search(image).is_err()).collect();
    if training.is_empty() {
        bail!("{}: has no images to train on, put some beside the validation part", dataset.name());
    }
    Ok((training, validation))
}

/// The network with its head replaced, and where it starts.
fn start_from(options: &Train, view: &View) -> Result<(Network, State)> {
    let outputs = view.dataset().classes().len();
    let head = match options.head.split_once(':') {
        None if options.head == "linear" => Head::Linear { outputs },
        Some(("mlp", hidden)) => match hidden.parse() {
            Ok(hidden) if hidden > 0 => Head::Mlp { hidden, outputs },
            _ => {
                return Err(Usage(format!(
                    "--head {}: give the hidden units as a number, such as mlp:1024",
                    options.head
                ))
                .into());
            }
        },
        _ => return Err(Usage(format!("--head {} is no head, use linear or mlp:1024", options.head)).into()),
    };
    let network = Network::new(options.backbone.backbone(view.shape())?, head);
    let state = match &options.weights {
        Some(path) => network
            .load(read_weights(path)?, HeadPolicy::Replace { seed: options.run.common.seed })
            .with_context(|| path.display().to_string())?,
        None => network.init(options.run.common.seed)?,
    };
    Ok((network, state))
}

/// Features of all images, computed once and kept.
fn features(
    options: &Train,
    view: &Arc<View>,
    network: &Network,
    state: &State,
    output: &Output,
) -> Result<Arc<dyn Inputs>> {
    let folder = match options.cache.as_deref() {
        Some("none") => None,
        Some(folder) => Some(PathBuf::from(folder)),
        None => user_cache(),
    };
    let cache = folder.map(|folder| FeatureCache::new(&folder));
    let images: Vec<usize> = (0..view.dataset().labels().len()).collect();
    let bar = output.bar("features", images.len() as u64)?;
    let made = Features::compute(view, &images, network, state, cache.as_ref(), |done, of| {
        bar.set_length(of as u64);
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    Ok(Arc::new(made))
}

/// Where a user's caches are, by the system's convention.
fn user_cache() -> Option<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(home)
        .map(|folder| folder.join("taper").join("features"))
}
