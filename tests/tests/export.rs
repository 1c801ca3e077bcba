//! Classifiers for other programs: what `taper export` writes and refuses. What the files compute is in
//! `crates/taper-export/tests` and `tests/golden/exports.py`.

use serde_json::Value;
use std::fs;
use std::path::Path;
use taper_tests::drawings::Drawings;
use taper_tests::program::{taper, taper_ok};
use tempfile::TempDir;

/// A folder with `data` and `classifier`, a ResNet-18 trained on it for an epoch.
fn resnet() -> TempDir {
    let at = tempfile::tempdir().unwrap();
    Drawings::default().write(&at.path().join("data"));
    let transform = "color;resize(16x16);normalize(mean=0.5,std=0.25)";
    let line = format!("train data --backbone resnet18 --epochs 1 --transform {transform} --out classifier");
    taper_ok(at.path(), &line);
    at
}

fn contains(path: &Path, text: &str) -> bool {
    let bytes = fs::read(path).unwrap();
    bytes.windows(text.len()).any(|part| part == text.as_bytes())
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn drawings_become_an_onnx_file_that_names_their_symbols_and_is_not_overwritten() {
    let at = tempfile::tempdir().unwrap();
    Drawings::default().write(&at.path().join("data"));
    for class in ["c03", "c11"] {
        fs::create_dir_all(at.path().join("mine").join(class)).unwrap();
        let image = Path::new(class).join("00.png");
        fs::copy(at.path().join("data").join(&image), at.path().join("mine").join(&image)).unwrap();
    }
    taper_ok(at.path(), "adapt mine --out symbols");
    taper_ok(at.path(), "export symbols --out symbols.onnx");
    let file = at.path().join("symbols.onnx");
    assert!(contains(&file, r#"["c03","c11"]"#) && contains(&file, "turned-stroke-net-96"));
    let before = fs::read(&file).unwrap();
    let again = taper(at.path(), "export symbols --out symbols.onnx --half");
    assert_eq!(
        (again.code, again.stderr.trim()),
        (Some(2), "error: symbols.onnx already exists: use --force or another --out")
    );
    assert!(fs::read(&file).unwrap() == before);
    let run = taper_ok(at.path(), "export symbols --out symbols.onnx --half --force --json");
    let bytes = fs::metadata(&file).unwrap().len();
    assert_eq!(run.result()["bytes"], bytes);
    assert!(bytes < before.len() as u64 * 52 / 100, "{bytes} of {}", before.len());
}

#[test]
fn a_kept_resnet_speaks_timm_and_becomes_a_folder_for_transformers_with_a_card() {
    let at = resnet();
    let kept = json(&at.path().join("classifier/model/config.json"));
    assert_eq!(
        (&kept["architecture"], &kept["num_classes"]),
        (&"resnet18".into(), &kept["label_names"].as_array().unwrap().len().into())
    );
    assert_eq!(kept["pretrained_cfg"]["input_size"], serde_json::json!([3, 16, 16]));
    taper_ok(at.path(), "predict classifier data/c03/05.png");
    taper_ok(at.path(), "export classifier --format transformers --out theirs");
    let config = json(&at.path().join("theirs/config.json"));
    assert_eq!((&config["model_type"], &config["id2label"]["0"]), (&"resnet".into(), &kept["label_names"][0]));
    assert!(contains(
        &at.path().join("theirs/model.safetensors"),
        "resnet.encoder.stages.3.layers.1.layer.1.convolution.weight"
    ));
    let card = fs::read_to_string(at.path().join("theirs/README.md")).unwrap();
    for part in ["library_name: transformers", "Accuracy on validation images: ", "95% CI", "seed = 0", "- c03\n"] {
        assert!(card.contains(part), "{part}: {card}");
    }
    let again = taper(at.path(), "export classifier --format timm --out theirs");
    assert_eq!(again.code, Some(2), "{}", again.stderr);
    fs::write(at.path().join("theirs/notes.txt"), "mine").unwrap();
    let mine = taper(at.path(), "export classifier --format transformers --out theirs --force");
    assert!(mine.code == Some(1) && mine.stderr.contains("holds `notes.txt`"), "{}", mine.stderr);
}

#[test]
fn what_can_t_be_exported_says_why_in_one_line() {
    let at = tempfile::tempdir().unwrap();
    Drawings::default().write(&at.path().join("data"));
    taper_ok(
        at.path(),
        "meta-train data --method protonet --backbone conv4-8 --ways 3 --queries 2 --steps 1 --out learner",
    );
    let learner = taper(at.path(), "export learner --out a.onnx");
    assert!(learner.code == Some(1) && learner.stderr.contains("is a learner (protonet)"), "{}", learner.stderr);
    taper_ok(at.path(), "adapt learner data --out classifier");
    let timm = taper(at.path(), "export classifier --format timm --out b");
    let expected = "error: classifier: timm can't load this classifier (it has no conv4-8): export it as ONNX (use --format \
                    onnx)";
    assert_eq!((timm.code, timm.stderr.trim()), (Some(1), expected));
    assert!(!at.path().join("a.onnx").exists() && !at.path().join("b").exists());
}

#[test]
#[cfg(unix)]
fn force_replaces_exports_and_nothing_else() {
    let at = resnet();
    let refused = |line: &str, problem: &str| {
        let run = taper(at.path(), line);
        assert!(run.code != Some(0) && run.stderr.contains(problem), "{line}: {run:?}");
    };
    let pipe = at.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    refused("export classifier --out pipe --force", "not a regular file");
    assert!(!pipe.metadata().unwrap().is_file());
    for own in ["classifier/model/config.json", "classifier/model"] {
        let format = if own.ends_with("json") { "onnx" } else { "timm" };
        refused(&format!("export classifier --format {format} --out {own} --force"), "belongs to the model");
    }
    taper_ok(at.path(), "predict classifier data/c03/05.png");
    fs::create_dir(at.path().join("mine")).unwrap();
    fs::write(at.path().join("mine/README.md"), "# Important").unwrap();
    refused("export classifier --format timm --out mine --force", "were not exported by Taper");
    assert_eq!(fs::read_to_string(at.path().join("mine/README.md")).unwrap(), "# Important");
    taper_ok(at.path(), "export classifier --format timm --out theirs");
    taper_ok(at.path(), "export classifier --format timm --out theirs --force");
}
