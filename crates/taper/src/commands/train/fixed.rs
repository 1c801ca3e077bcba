//! As the options say: a head on frozen features, or a whole network, by gradient.

use super::features::features;
use super::report::Report;
use super::setting::Setting;
use crate::args::{Freeze, Train};
use crate::commands::{result_json, run_directory};
use crate::output::Output;
use crate::registry::CLASSIFIER;
use crate::stage::Stage;
use anyhow::Result;
use serde_json::json;
use std::sync::Arc;
use std::time::Instant;
use taper_data::{Batch, Inputs};
use taper_learn::{Draw, Optimizer, Plan, Supervised, accuracy};
use taper_models::{Mode, Norm, State};
use taper_ops::{permutation, rng};

pub(crate) fn run(options: &Train, config: &str, setting: &Setting, output: &Output) -> Result<()> {
    let start = Instant::now();
    let seed = options.run.common.seed;
    let Setting { view, network, parts, .. } = setting;
    let (training, validation) = (&parts.training.images, &parts.validation.images);
    let dataset = view.dataset();
    let frozen = match options.freeze {
        Some(freeze) => freeze == Freeze::Backbone,
        None => options.weights.is_some() || options.as_published,
    };
    let run = run_directory(&options.run, config)?;
    let cached = frozen && !options.as_published;
    let inputs: Arc<dyn Inputs> = if cached {
        let images: Vec<usize> = (0..dataset.labels().len()).collect();
        Arc::new(features(options.cache.as_deref(), setting, view, &images, output)?)
    } else {
        view.clone()
    };
    let norm = if cached { Norm::Stored } else { Norm::Batch };
    let objective = Supervised { network: network.clone(), head_only: frozen, norm, smoothing: 0.0 };
    let steps_an_epoch = (training.len() as u64).div_ceil(options.batch_size as u64);
    let plan = Plan {
        steps: options.epochs() * steps_an_epoch,
        learning_rate: options.lr(),
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
    let validate = |state: &State| -> taper_learn::Result<f64> {
        let mut right = 0;
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
    let trained = Stage { name: "classifier", run: run.as_ref(), output }.train(
        &plan,
        setting.state.clone(),
        &objective,
        items,
        validate,
    )?;
    // the last state is kept, chosen by nothing: the validation figure stays honest
    let model = setting.model(CLASSIFIER, network.clone(), trained.progress.state);
    let report = Report::new(setting, &model.network, &model.state, seed)?;
    report.tell(setting, output);
    if let Some(run) = &run {
        model.save(&run.path().join("model"))?;
        output.line(format!("the classifier is in {}", run.path().join("model").display()));
    }
    let kind = if options.weights.is_some() { "transfer" } else { "scratch" };
    let mut method = report.json();
    method["name"] = json!(model.network.backbone().name());
    method["kind"] = json!(kind);
    method["train_seconds"] = json!(trained.seconds);
    method["adapt_seconds"] = json!(0.0);
    let out = run.map(|run| run.path().to_path_buf());
    output.event(&result_json("train", start.elapsed().as_secs_f64(), vec![method], out.as_ref()));
    Ok(())
}
