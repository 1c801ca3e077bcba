//! Data that people bring: tables, vectors, classes of one image, weights in a folder of the hub; through the program.

use std::fs;
use std::path::Path;
use taper_data::open;
use taper_models::{Architecture, Head, Network};
use taper_tests::drawings::Drawings;
use taper_tests::formula::state;
use taper_tests::program::{taper, taper_ok};

/// A folder with `data/`, class folders of drawings.
fn folder(classes: usize, images: usize) -> tempfile::TempDir {
    let at = tempfile::tempdir().unwrap();
    Drawings { classes, images, ..Drawings::default() }.write(&at.path().join("data"));
    at
}

/// Formula weights of a small ResNet, as a safetensors file.
fn write_weights(path: &Path) {
    let backbone = "cifar-resnet20".parse::<Architecture>().unwrap().backbone((3, 32, 32)).unwrap();
    let network = Network::new(backbone, Head::Linear { outputs: 10 });
    let state = state(&network).unwrap();
    let tensors =
        state.params.iter().chain(state.buffers.iter()).map(|(name, tensor)| (name.to_string(), tensor.clone()));
    candle_core::safetensors::save(&tensors.collect(), path).unwrap();
}

#[test]
fn features_of_a_data_set_are_a_data_set_for_heads_and_comparisons() {
    let at = folder(12, 8);
    write_weights(&at.path().join("weights.safetensors"));
    let features = "features data --weights weights.safetensors --backbone cifar-resnet20 --out data.npz";
    taper_ok(at.path(), features);
    let again = taper(at.path(), features);
    assert!(again.stderr.contains("data.npz: exists already"), "{again:?}");
    let (images, vectors) = (open(&at.path().join("data")).unwrap(), open(&at.path().join("data.npz")).unwrap());
    assert_eq!((vectors.classes(), vectors.labels()), (images.classes(), images.labels()));
    assert_eq!((vectors.vector(3).unwrap().len(), vectors.image_name(3)), (64, images.image_name(3)));

    let shown = taper_ok(at.path(), "inspect data.npz").stdout;
    assert!(shown.contains("96 vectors of 12 classes") && shown.contains("vectors of 64 numbers"), "{shown}");
    let trained = taper_ok(at.path(), "train data.npz --out classifier --budget 30s --json").result();
    assert!(!trained["methods"][0]["tried"].as_array().unwrap().is_empty(), "{trained}");
    let scored = taper_ok(at.path(), "evaluate classifier data.npz --trained-images --json").result();
    assert!(scored["methods"][0]["accuracy"].as_f64().unwrap() > 1.0 / 12.0, "{scored}");
    let compared =
        "compare data.npz --ways 2 --queries 2 --images 100 --episodes 10 --methods pixels,ridge,protonet,maml";
    let compared = taper_ok(at.path(), &format!("{compared} --json")).result();
    assert_eq!(compared["methods"].as_array().unwrap().len(), 4, "{compared}");
    let refused = taper(at.path(), "train data.npz --backbone conv4-8 --epochs 1");
    assert!(refused.stderr.contains("holds vectors"), "{refused:?}");
}

#[test]
fn labels_of_a_table_elsewhere_are_read_by_the_columns_named() {
    let at = folder(2, 6);
    let mut rows = "id,name,kind,fold\n".to_string();
    let pictures = at.path().join("pictures");
    fs::create_dir(&pictures).unwrap();
    let data = open(&at.path().join("data")).unwrap();
    for image in 0..data.labels().len() {
        let name = format!("{image}.png");
        fs::copy(at.path().join("data").join(data.image_name(image)), pictures.join(&name)).unwrap();
        let kind = ["left", "right"][data.labels()[image] as usize];
        rows.push_str(&format!("{image},{name},{kind},{}\n", if image % 3 == 0 { "test" } else { "train" }));
    }
    fs::write(at.path().join("table.csv"), rows).unwrap();
    let named = "--labels-from table.csv --file-column name --label-column kind --split-column fold";
    let found = taper_ok(at.path(), &format!("inspect pictures {named} --json")).result();
    assert_eq!(
        (&found["classes"][0], &found["classes"][1], &found["held_out"]),
        (&"left".into(), &"right".into(), &4.into())
    );
    let unclear = taper(at.path(), "inspect pictures --labels-from table.csv");
    assert!(unclear.stderr.contains("--label-column"), "{unclear:?}");
    let alone = taper(at.path(), "inspect pictures --label-column kind");
    assert_eq!((alone.code, alone.stderr.contains("--labels-from")), (Some(2), true), "{alone:?}");
}

#[test]
fn a_class_of_one_image_is_refused_with_a_way_on_which_works() {
    let at = folder(3, 5);
    let data = open(&at.path().join("data")).unwrap();
    let images: Vec<usize> = (0..data.labels().len()).filter(|&image| data.labels()[image] == 2).collect();
    for image in &images[1..] {
        fs::remove_file(at.path().join("data").join(data.image_name(*image))).unwrap();
    }
    let train = "train data --backbone conv4-4 --image-size 16 --epochs 1";
    let refused = taper(at.path(), train);
    assert!(refused.stderr.contains("use --min-images 2"), "{refused:?}");
    let trained = taper_ok(at.path(), &format!("{train} --min-images 2 --out run"));
    assert!(trained.stderr.contains("1 class(es) with fewer than 2 training images left out"), "{trained:?}");
    let none = taper(at.path(), &format!("{train} --min-images 9"));
    assert!(none.stderr.contains("--min-images leaves fewer than two classes"), "{none:?}");
}

#[test]
fn predictions_are_written_as_csv() {
    let at = folder(2, 5);
    taper_ok(at.path(), "train data --backbone conv4-4 --image-size 16 --epochs 1 --out run");
    fs::write(at.path().join("data/torn.png"), b"\x89PNG\r\n").unwrap();
    let run = taper_ok(at.path(), "predict run data --csv");
    let lines: Vec<&str> = run.stdout.lines().collect();
    let data = open(&at.path().join("data")).unwrap();
    let classes: Vec<String> = data.classes().iter().map(|class| class.full_name()).collect();
    assert_eq!(lines[0], format!("image,class,probability,{},{}", classes[0], classes[1]));
    assert_eq!(lines.len(), 11, "{lines:?}");
    for line in &lines[1..] {
        let numbers: Vec<f64> = line.split(',').skip(2).map(|number| number.parse().unwrap()).collect();
        assert!((numbers[1] + numbers[2] - 1.0).abs() < 1e-3 && numbers[0] == numbers[1].max(numbers[2]), "{line}");
    }
    assert!(run.stderr.contains("torn.png"), "{run:?}");
}

#[test]
fn a_folder_of_the_hub_is_inspected_as_weights() {
    let at = tempfile::tempdir().unwrap();
    let hub = at.path().join("hub-model");
    fs::create_dir(&hub).unwrap();
    write_weights(&hub.join("model.safetensors"));
    fs::write(hub.join("config.json"), r#"{"architecture": "resnet20", "num_classes": 10}"#).unwrap();
    let shown = taper_ok(at.path(), "inspect hub-model").stdout;
    assert!(shown.contains("fits cifar-resnet20 with 10 classes"), "{shown}");
}
