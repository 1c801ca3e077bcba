//! As the options say: a head on frozen features, part of a network, or a whole one, by gradient.

use super::ending::Ending;
use super::find_lr::find_lr;
use super::report::Report;
use super::setting::Setting;
use super::work::{Work, Works};
use crate::args::{Balance, Train, Usage};
use crate::commands::run_directory;
use crate::output::Output;
use crate::registry::CLASSIFIER;
use crate::stage::Stage;
use anyhow::Result;
use candle_core::{Device, Tensor};
use serde_json::json;
use std::time::Instant;
use taper_data::{Batch, Copies, Inputs};
use taper_learn::heads::stratified_folds;
use taper_learn::{Draw, Optimizer, Plan, accuracy};
use taper_models::{Mode, Norm, State};
use taper_ops::{cross_entropy, permutation, rng};
use taper_transfer::{Part, Targeted, balanced_order};

pub(crate) fn run(options: &Train, config: &str, setting: &Setting, output: &Output) -> Result<()> {
    let start = Instant::now();
    let seed = options.run.common.seed;
    let Setting { view, parts, .. } = setting;
    let dataset = view.dataset();
    let ways = dataset.classes().len();
    // what can't be done is told before a run is begun
    options.unfreeze_schedule(&setting.network, &setting.state)?;
    if options.find_lr && options.gradual() {
        return Err(Usage("--find-lr looks at one thing to train: leave out gradual".into()).into());
    }
    if options.find_lr && (options.run.out.is_some() || options.run.resume.is_some()) {
        return Err(Usage("--find-lr looks, and keeps nothing: leave out --out and --resume".into()).into());
    }
    let copies = (options.views > 1).then(|| Copies::new(view, options.views, seed)).transpose()?;
    let run = run_directory(&options.run, config)?;
    let (training, stopping) = match options.patience {
        Some(_) => {
            let fold_of = stratified_folds(&parts.training.labels, STOPPING, seed)?;
            let (stopping, rest) = (0..fold_of.len()).partition::<Vec<_>, _>(|&place| fold_of[place] == 0);
            (parts.training.select(&rest), parts.training.select(&stopping).images)
        }
        None => (parts.training.clone(), Vec::new()),
    };
    let (training, validation) = (&training.images, &parts.validation.images);
    let works = Works::new(options, setting, output)?;
    let state = works.start(setting);
    let whole = options.part() == Part::All && options.train.is_none();
    let norm = if whole || options.as_published { Norm::Batch } else { Norm::Stored };
    let steps_per_epoch = (training.len() as u64).div_ceil((options.batch_size * options.accumulate) as u64);
    let batches_per_epoch = steps_per_epoch * options.accumulate as u64;
    let objective = works.objective(&state, norm, steps_per_epoch);
    let plan = Plan { restarts: works.restarts(steps_per_epoch), ..plan(options, steps_per_epoch) };
    let labeled = |inputs: &dyn Inputs, images: &[usize], at: Option<Draw>| -> taper_learn::Result<Batch> {
        let labels: Vec<u32> = images.iter().map(|&image| dataset.labels()[image]).collect();
        let mut rng = at.map(|at| at.rng("transform"));
        Ok(Batch::new(inputs.inputs(images, rng.as_mut())?, &labels, ways)?)
    };
    let labels: Vec<u32> = training.iter().map(|&image| dataset.labels()[image]).collect();
    let weights = (options.balance == Balance::Loss).then(|| weights(&labels, ways)).transpose()?;
    let items = |at: Draw| {
        let (epoch, place) = (at.number / batches_per_epoch, (at.number % batches_per_epoch) as usize);
        let rng = &mut rng(at.seed, "epoch", epoch);
        let order = match options.balance {
            Balance::Sampling => balanced_order(&labels, rng),
            Balance::Off | Balance::Loss => permutation(rng, training.len()),
        };
        // an epoch's last step begins again where its batches are more than the images fill
        let places = order.iter().cycle().skip(place * options.batch_size);
        let left = training.len().saturating_sub(place * options.batch_size);
        let count = if left == 0 { options.batch_size } else { left.min(options.batch_size) };
        let chosen: Vec<usize> = places.take(count).map(|&k| training[k]).collect();
        let batch = Targeted::of(
            &labeled(works.at(epoch).inputs.as_ref(), &chosen, Some(at))?,
            weights.as_ref(),
            options.smoothing,
        )?;
        Ok(options.mixing().mixed(batch, &mut at.rng("mixing"))?)
    };
    if options.find_lr {
        return find_lr(&plan, state, &objective, items, output);
    }
    let mut epoch =
        run.as_ref().map_or(Ok(None), |run| run.load("classifier"))?.map_or(0, |saved| saved.step / steps_per_epoch);
    let validate = |state: &State| -> taper_learn::Result<f64> {
        let Work { network, inputs, .. } = works.at(epoch);
        let mut right = 0;
        for (number, images) in validation.chunks(options.batch_size).enumerate() {
            let batch = labeled(inputs.as_ref(), images, None)?;
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
        if stopping.is_empty() {
            return Ok(share);
        }
        let mut loss = 0.0;
        for images in stopping.chunks(options.batch_size) {
            let batch = labeled(inputs.as_ref(), images, None)?;
            let logits = network.logits(state, &batch.inputs)?;
            loss += f64::from(cross_entropy(&logits, &batch.labels, 0.0)?.to_scalar::<f32>()?) * images.len() as f64;
        }
        Ok(-loss / stopping.len() as f64)
    };
    let trained =
        Stage { name: "classifier", run: run.as_ref(), output }.train(&plan, state, &objective, items, validate)?;
    let learned = match options.patience {
        Some(_) => trained.progress.into_best(),
        // the last state is kept, chosen by nothing: the validation figure stays honest
        None => trained.progress.learned().clone(),
    };
    let Work { network, inputs, .. } = works.last();
    let report = Report::new(setting, inputs.as_ref(), copies.as_ref(), network, &learned, seed)?;
    let model = setting.model(CLASSIFIER, setting.network.clone(), setting.onto(&learned));
    let kind = if options.weights.is_some() { "transfer" } else { "scratch" };
    let facts = json!({"name": model.network.backbone().name(), "kind": kind});
    Ending { setting, report, model, train_seconds: trained.seconds, run: run.as_ref(), start }.tell(facts, output)
}

/// As the options say, saved and validated after every epoch.
fn plan(options: &Train, steps_per_epoch: u64) -> Plan {
    let steps = options.epochs() * steps_per_epoch;
    Plan {
        steps,
        items: options.accumulate,
        learning_rate: options.lr(),
        schedule: options.schedule.over(steps),
        optimizer: match options.weight_decay {
            0.0 => Optimizer::adam(),
            weight_decay => Optimizer::AdamW { weight_decay },
        },
        average: options.average,
        validate_every: steps_per_epoch,
        patience: options.patience.unwrap_or(0),
        save_every: steps_per_epoch,
        seed: options.run.common.seed,
        ..Plan::default()
    }
}

/// Parts of the training images, of which one says when to stop.
const STOPPING: usize = 10;

/// A weight a class that makes all classes count alike, `(ways)`, 1 on average over the images.
fn weights(labels: &[u32], ways: usize) -> Result<Tensor> {
    let mut counts = vec![0; ways];
    labels.iter().for_each(|&label| counts[label as usize] += 1);
    let weight = |&count: &usize| labels.len() as f32 / (ways * count.max(1)) as f32;
    Ok(Tensor::from_iter(counts.iter().map(weight), &Device::Cpu)?)
}
