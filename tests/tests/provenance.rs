//! Nothing is scored on what it learned from: whole runs of the program.

use serde_json::Value;
use std::fs;
use std::path::Path;
use taper_learn::{Model, provenance::Provenance};
use taper_tests::drawings::Drawings;
use taper_tests::program::{Run, taper, taper_ok};

const META: &str = "--backbone conv4-4 --ways 3 --queries 2 --meta-batch-size 2 --steps 4 --validation-episodes 4";

/// Twenty classes of six drawings in `data`.
fn folder() -> tempfile::TempDir {
    let at = tempfile::tempdir().unwrap();
    Drawings::default().write(&at.path().join("data"));
    at
}

/// Copies a folder, with the folders in it renamed from `c…` to `x…` if `renamed`.
fn copy(from: &Path, to: &Path, renamed: bool) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name().into_string().unwrap())).unwrap();
        if path.is_dir() {
            let name = if renamed { name.replacen('c', "x", 1) } else { name };
            copy(&path, &to.join(name), renamed);
        } else {
            fs::copy(path, to.join(name)).unwrap();
        }
    }
}

fn provenance(run: &Path) -> Provenance {
    Model::load(run).unwrap().provenance
}

/// Classes of data sets that a model has met.
fn classes(data: &[taper_learn::provenance::UsedData]) -> usize {
    data.iter().map(|data| data.classes.len()).sum()
}

/// The number of images that a classifier was scored on.
fn images(run: &Run) -> u64 {
    run.result()["methods"][0]["images"].as_u64().unwrap()
}

#[test]
fn evaluate_leaves_out_images_that_a_classifier_was_trained_on_and_says_how_many() {
    let at = folder();
    Drawings { classes: 3, ..Drawings::default() }.write(&at.path().join("support"));
    taper_ok(at.path(), &format!("meta-train data {META} --train-on-all --out run"));
    taper_ok(at.path(), "adapt run support --out classifier");
    let refused = taper(at.path(), "evaluate classifier support");
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("trained on all of its images"), "{refused:?}");

    Drawings { classes: 3, images: 8, ..Drawings::default() }.write(&at.path().join("more"));
    let scored = taper_ok(at.path(), "evaluate classifier more --json");
    assert_eq!(images(&scored), 6, "two new images of each of three classes");
    assert!(scored.stderr.contains("skipping 18 of 24 images, which the classifier was trained on"), "{scored:?}");
    assert_eq!(images(&taper_ok(at.path(), "evaluate classifier more --trained-images --json")), 24);
}

#[test]
fn classes_that_chose_the_checkpoint_are_not_unseen() {
    let at = folder();
    taper_ok(at.path(), &format!("meta-train data {META} --validate-every 2 --out run"));
    let known = provenance(&at.path().join("run"));
    let (trained, validated) = (classes(&known.trained_on), classes(&known.validated_on));
    assert!(trained >= 3 && validated >= 3 && trained + validated < 20, "{trained} and {validated} of 20 classes");
    copy(&at.path().join("data"), &at.path().join("renamed"), true);
    for data in ["data", "renamed"] {
        let scored = taper_ok(at.path(), &format!("evaluate run {data} --ways 3 --queries 2 --episodes 4"));
        let told =
            format!("skipping {} of 20 classes, which the learner was trained or chosen on", trained + validated);
        assert!(scored.stderr.contains(&told), "{data}: {scored:?}");
    }
}

#[test]
fn equal_class_names_of_other_pictures_are_unseen() {
    let at = folder();
    taper_ok(at.path(), &format!("meta-train data {META} --train-on-all --out run"));
    let refused = taper(at.path(), "evaluate run data --ways 3 --queries 2 --episodes 4");
    assert!(refused.code == Some(1) && refused.stderr.contains("all of its classes"), "{refused:?}");
    Drawings { side: 32, ..Drawings::default() }.write(&at.path().join("others"));
    let scored = taper_ok(at.path(), "evaluate run others --ways 3 --queries 2 --episodes 4");
    assert!(!scored.stderr.contains("left out"), "{scored:?}");
}

#[test]
fn every_command_that_trains_records_what_it_trained_and_chose_on() {
    let at = folder();
    let counts = |run: &str| {
        let known = provenance(&at.path().join(run));
        assert!(known.is_complete(), "{run}");
        let count = |data: &[taper_learn::provenance::UsedData]| data.iter().filter_map(|data| data.count()).sum();
        let parts: [usize; 3] = [count(&known.trained_on), count(&known.validated_on), count(&known.chosen_on)];
        parts
    };
    taper_ok(at.path(), &format!("meta-train data {META} --out meta"));
    let [trained, validated, chosen] = counts("meta");
    assert!(trained > 0 && validated > 0 && chosen == 0 && trained + validated < 120);
    taper_ok(at.path(), "meta-train data --method multitask --backbone conv4-4 --ways 3 --steps 4 --out multitask");
    assert_eq!(counts("multitask"), [120, 0, 0]);
    taper_ok(at.path(), "train data --backbone conv4-4 --epochs 1 --validation 0.5 --out train");
    assert_eq!(counts("train"), [60, 0, 0], "validation images that choose nothing are not recorded");
    taper_ok(at.path(), "train data --backbone conv4-4 --epochs 2 --patience 1 --validation 0.5 --out early");
    let [trained, validated, chosen] = counts("early");
    assert!(validated > 0 && chosen == 0, "{validated}, {chosen}");
    assert_eq!(trained, 60, "images that stopped the training are not new either");
    let small = "--methods protonet --backbone conv4-4 --ways 3 --queries 2 --images 200 --episodes 4";
    taper_ok(at.path(), &format!("compare data {small} --out compare"));
    let [trained, _, chosen] = counts("compare");
    assert!(trained > 0 && chosen > 0 && trained + chosen < 120, "test classes are never met");
    Drawings { classes: 3, side: 32, ..Drawings::default() }.write(&at.path().join("mine"));
    taper_ok(at.path(), "adapt meta mine --out classifier");
    let [adapted, _, _] = counts("classifier");
    let [learned, ..] = counts("meta");
    assert_eq!(adapted, learned + 18);
}

#[test]
fn data_and_options_that_a_method_does_not_use_are_usage_errors_and_never_recorded() {
    let at = folder();
    copy(&at.path().join("data"), &at.path().join("more"), true);
    fs::write(at.path().join("split.csv"), "c00,train\n").unwrap();
    let cases = [
        ("multitask", "--also more=0.5", "--also"),
        ("multitask", "--average last:2", "--average"),
        ("multitask", "--split split.csv", "--split"),
        ("multitask", "--train-on-all", "--train-on-all"),
        ("multitask", "--glyphs 2", "--glyphs"),
        ("multitask", "--validate-every 2", "--validate-every"),
        ("nearest-mean", "--also more=0.5", "--also"),
        ("nearest-mean", "--glyphs 2", "--glyphs"),
    ];
    for (method, options, named) in cases {
        let line =
            format!("meta-train data --method {method} --backbone conv4-4 --ways 3 --steps 2 {options} --out run");
        let run = taper(at.path(), &line);
        assert!(run.code == Some(2) && run.stderr.contains(&format!("does not use {named}")), "{line}: {run:?}");
        assert!(!at.path().join("run").exists(), "{line}");
    }
    taper_ok(at.path(), &format!("meta-train data {META} --also more=0.5 --out mixed"));
    let names: Vec<String> =
        provenance(&at.path().join("mixed")).trained_on.iter().map(|data| data.name.clone()).collect();
    assert_eq!(names, ["data", "more"], "what is used is recorded");
}

#[test]
fn the_file_beside_the_weights_says_it_all() {
    let at = folder();
    taper_ok(at.path(), &format!("meta-train data {META} --out run"));
    let bytes = fs::read(at.path().join("run/model/provenance.safetensors")).unwrap();
    let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let listed: Value = serde_json::from_str(&metadata.metadata().as_ref().unwrap()["taper"]).unwrap();
    assert_eq!(listed[0][0]["name"], "data");
    assert_eq!(listed[0][0]["recorded"], true);
}
