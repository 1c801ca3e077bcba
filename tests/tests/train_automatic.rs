//! `taper train` with nothing said: ways are tried on folds of the training images, one is kept.

use std::fs;
use std::path::Path;
use taper_tests::drawings::Drawings;
use taper_tests::program::{taper, taper_ok};
use tempfile::TempDir;

/// A folder of drawings, and weights made on it.
fn folder() -> TempDir {
    let at = tempfile::tempdir().unwrap();
    Drawings { classes: 4, images: 12, ..Drawings::default() }.write(&at.path().join("data"));
    let base = "train data --backbone cifar-resnet20 --transform";
    let line = format!("{base} colour;resize(16x16) --epochs 1 --out base");
    taper_ok_with_spaces(at.path(), &line);
    at
}

/// A `;` stands for a blank inside an argument.
fn taper_ok_with_spaces(at: &Path, line: &str) -> String {
    use taper_tests::program::{command, finished};
    let arguments: Vec<String> = line.split_whitespace().map(|word| word.replace(';', " ")).collect();
    let run = finished(command(at, arguments).output().unwrap());
    assert_eq!(run.code, Some(0), "taper {line}\n{}{}", run.stdout, run.stderr);
    run.stdout
}

const AUTOMATIC: &str = "train data --weights base/model/model.safetensors --transform colour;resize(16x16)";

#[test]
fn heads_and_fine_tuning_are_tried_and_the_best_is_kept_and_resumed() {
    let at = folder();
    let text = taper_ok_with_spaces(at.path(), &format!("{AUTOMATIC} --out run"));
    for words in ["tried on folds", "ridge", "lda", "fine-tune from layer3", "is kept", "macro-F1"] {
        assert!(text.contains(words), "no `{words}` in {text}");
    }
    let model = |run: &str| fs::read(at.path().join(run).join("model/model.safetensors")).unwrap();
    let unbroken = model("run");
    // as if it had been killed after the second way
    let tried = at.path().join("run/tried.json");
    let scores: Vec<serde_json::Value> = serde_json::from_slice(&fs::read(&tried).unwrap()).unwrap();
    assert!(scores.len() > 6, "{scores:?}");
    fs::write(&tried, serde_json::to_vec(&scores[..2]).unwrap()).unwrap();
    fs::remove_dir_all(at.path().join("run/model")).unwrap();
    taper_ok(at.path(), "train --resume run");
    assert!(model("run") == unbroken, "the resumed run keeps another model");
    taper_ok(at.path(), "predict run/model data");
}

#[test]
fn pictures_in_both_parts_are_named_and_left_out_and_a_budget_for_nothing_is_an_error() {
    let at = folder();
    let (train, val) = (at.path().join("parts/train"), at.path().join("parts/val"));
    let classes: Vec<_> = fs::read_dir(at.path().join("data")).unwrap().map(|entry| entry.unwrap().path()).collect();
    for class in classes {
        let name = class.file_name().unwrap();
        fs::create_dir_all(train.join(name)).unwrap();
        fs::create_dir_all(val.join(name)).unwrap();
        let mut images: Vec<_> = fs::read_dir(&class).unwrap().map(|entry| entry.unwrap().path()).collect();
        images.sort();
        for (number, image) in images.iter().enumerate() {
            let part = if number < 8 { &train } else { &val };
            fs::copy(image, part.join(name).join(image.file_name().unwrap())).unwrap();
        }
        fs::copy(&images[0], val.join(name).join("twin.png")).unwrap();
    }
    let run = taper(at.path(), "train parts --backbone conv4-4 --epochs 1");
    assert!(run.code == Some(0) && run.stderr.contains("training images too and left out"), "{run:?}");
    assert!(run.stderr.contains("twin.png"), "{run:?}");
    let line = "train parts --weights base/model/model.safetensors --image-size 16 --budget 0.000001s --cache none";
    let run = taper(at.path(), line);
    assert!(run.code == Some(1) && run.stderr.contains("is too short"), "{run:?}");
    assert_eq!(run.stderr.lines().last().unwrap().matches("use --budget").count(), 1, "{run:?}");
}
