//! Fine-tuning of weights from a file, and what it does not change.

use candle_core::Tensor;
use taper_data::Batch;
use taper_learn::{Adapt, Model, TaskNorm, methods::SettingValues, models::Origin, provenance::Provenance};
use taper_models::{Architecture, Head, Network, State};
use taper_ops::{rng, uniform};
use taper_transfer::{FineTune, Part};

/// CIFAR's ResNet-20, whose statistics are not the initial ones, and six images of two classes.
fn setting() -> (Network, State, Batch) {
    let backbone = "cifar-resnet20".parse::<Architecture>().unwrap().backbone((3, 32, 32)).unwrap();
    let network = Network::new(backbone, Head::Linear { outputs: 10 });
    let mut state = network.init(1).unwrap();
    let names = state.buffers.iter().map(|(name, old)| (name.to_string(), old.dims().to_vec())).collect::<Vec<_>>();
    let drawn = names.into_iter().map(|(name, shape)| {
        let values = uniform(&mut rng(2, &name, 0), shape, 0.5, 1.5).unwrap();
        (name, values)
    });
    state.buffers = drawn.collect();
    let images = uniform(&mut rng(0, "images", 0), (6, 3, 32, 32), 0.0, 1.0).unwrap();
    (network, state, Batch::new(images, &[0, 0, 0, 1, 1, 1], 2).unwrap())
}

fn fine_tune(network: &Network, state: &State, head_only: bool) -> FineTune {
    let (network, state) = (network.clone(), state.clone());
    let part = if head_only { Part::Head } else { Part::All };
    FineTune { part, epochs: 5, learning_rate: 1e-2, ..FineTune::few_shot(network, state, TaskNorm::Stored) }
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
}

#[test]
fn a_fine_tuned_network_saved_and_loaded_gives_the_same_logits() {
    let (network, state, support) = setting();
    let classifier = fine_tune(&network, &state, false).adapt(&support, 3).unwrap();
    let queries = uniform(&mut rng(0, "queries", 0), (4, 3, 32, 32), 0.0, 1.0).unwrap();
    let before = classifier.logits(&queries).unwrap();

    let (network, state) = classifier.network().unwrap();
    let origin = Origin {
        method: "classifier".into(),
        on: "noise".into(),
        classes: Vec::new(),
        settings: SettingValues::new(),
        norm: TaskNorm::Stored.to_string(),
        revised: false,
    };
    let labels = ["a", "b"].map(String::from).to_vec();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    let provenance = Provenance::unrecorded(&origin);
    Model { network, state, labels, transform: "resize(32x32)".into(), origin, provenance, support: None }
        .save(&path)
        .unwrap();
    let loaded = Model::load(&path).unwrap();
    assert_eq!(bits(&before), bits(&loaded.network.logits(&loaded.state, &queries).unwrap()));
}

#[test]
fn a_frozen_network_is_bit_equal_after_training_its_statistics_too() {
    let (network, state, support) = setting();
    let (tuned, after) = fine_tune(&network, &state, true).adapt(&support, 3).unwrap().network().unwrap();
    for (name, before) in state.buffers.iter() {
        assert_eq!(bits(before), bits(after.buffers.get(name).unwrap()), "{name}");
    }
    for (name, before) in state.params.iter().filter(|(name, _)| !network.in_head(name)) {
        assert_eq!(bits(before), bits(after.params.get(name).unwrap()), "{name}");
    }
    let start = tuned.replace_head(&state, 3).unwrap();
    let moved = start.params.iter().filter(|(name, _)| tuned.in_head(name));
    assert!(moved.into_iter().all(|(name, before)| bits(before) != bits(after.params.get(name).unwrap())));
}
