//! Rows of a network pretrained elsewhere: `--weights`.

use super::rows::{Row, asked, setup};
use super::setting::Setting;
use crate::args::{Compare, ImageOptions, WeightOptions};
use crate::data;
use crate::pretrained::Pretrained;
use crate::registry::{METHODS, learner};
use anyhow::Result;
use std::path::Path;
use taper_learn::{Method, Model, Trained, Training};
use taper_models::{Head, Network};

/// Rows of a network pretrained elsewhere, on images as it likes them.
pub(super) fn foreign(options: &Compare, setting: &Setting, path: &Path) -> Result<Vec<Row>> {
    let pretrained = Pretrained::read(path, &WeightOptions::default())?;
    let architecture = pretrained.architecture;
    let dataset = setting.test.dataset().clone();
    let look = data::look(dataset.as_ref())?;
    let transform = match pretrained.transform(None)?.filter(|_| look.channels == 3) {
        Some(transform) => transform,
        None => {
            let image = ImageOptions { image_size: None, transform: None };
            data::transform(&image, architecture, look, pretrained.channels())?
        }
    };
    let view = data::view(dataset, transform)?;
    let network =
        Network::new(architecture.backbone(view.shape())?, Head::Linear { outputs: setting.shape.ways().high() });
    let state = pretrained.start(&network, options.run.common.seed)?;
    let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut rows = Vec::new();
    let pretraining = |method: &&&Method| matches!(method.training, Training::Pretraining);
    for method in METHODS.iter().filter(pretraining).filter(|method| asked(options, method)) {
        let fine_tunes = method.settings.iter().any(|setting| setting.name == "lr");
        // fine-tuning a large network on every task takes hours on a CPU
        if fine_tunes && !network_is_small(&network) {
            continue;
        }
        let lower = Compare { lr: options.lr * 0.1, ..options.clone() };
        let setup = setup(&lower, method, network.clone(), 0)?;
        let model = Model {
            network: network.clone(),
            state: state.clone(),
            labels: Vec::new(),
            transform: view.transform().to_string(),
            trained: Trained {
                method: method.name.into(),
                on: file.clone(),
                classes: Vec::new(),
                settings: setup.settings.to_map(),
                norm: setup.norm.to_string(),
            },
        };
        rows.push(Row {
            name: format!("{architecture}, {}", method.title),
            kind: method.kind,
            trained_on: file.clone(),
            train_seconds: 0.0,
            method: learner(&model)?,
            view: view.clone(),
            model: Some(model),
            carried: false,
        });
    }
    Ok(rows)
}

/// Under a million parameters: fine-tuned in seconds.
fn network_is_small(network: &Network) -> bool {
    network.init(0).is_ok_and(|state| state.params.count() < 1_000_000)
}
