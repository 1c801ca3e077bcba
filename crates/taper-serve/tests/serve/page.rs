//! What a page does.

use crate::client::{Served, drawings, photograph};
use serde_json::Value;
use std::path::Path;
use taper_learn::Model;
use taper_serve::{Content, Photographs};

/// A folder with five classes of one drawing each, and another drawing of each.
fn taught(folder: &Path) -> (Served, Vec<Vec<u8>>) {
    let served = Served::folder(folder);
    let mut others = Vec::new();
    for (place, mut drawings) in drawings(5, 2).into_iter().enumerate() {
        others.extend(drawings.pop());
        served.teach(&format!("symbol {place}"), &drawings[0]);
    }
    (served, others)
}

fn probabilities(verdict: &Value) -> Vec<(String, f64)> {
    let classes = verdict["classes"].as_array().unwrap().iter();
    let mut all: Vec<(String, f64)> =
        classes.map(|one| (one["name"].as_str().unwrap().into(), one["probability"].as_f64().unwrap())).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

#[test]
fn five_symbols_are_known_again_from_one_drawing_each_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (served, others) = taught(folder.path());
    let mut before = Vec::new();
    for (place, drawing) in others.iter().enumerate() {
        let (status, verdict) = served.post("/api/classify/drawing", drawing);
        assert_eq!(status, 200, "{verdict}");
        assert_eq!(verdict["classes"][0]["name"], format!("symbol {place}"));
        assert_eq!(verdict["nearest"][0]["class"], format!("symbol {place}"));
        let total: f64 = probabilities(&verdict).iter().map(|(_, probability)| probability).sum();
        assert!((total - 1.0).abs() < 1e-4, "{total}");
        before.push(verdict);
    }
    let state = served.state();
    drop(served);
    let served = Served::folder(folder.path());
    let again = served.state();
    assert_eq!((&again["classes"], &again["kind"]), (&state["classes"], &"drawings".into()));
    assert!(again["version"].as_u64() > state["version"].as_u64(), "an open page learns of the restart");
    let id = again["classes"][4]["examples"][0]["id"].as_str().unwrap();
    let (status, thumbnail) = served.request("GET", &format!("/api/examples/{id}"), &[], b"");
    assert_eq!((status, &thumbnail[1..4]), (200, &b"PNG"[..]));
    while served.state()["read"] != 5 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    for (drawing, before) in others.iter().zip(before) {
        assert_eq!(probabilities(&served.post("/api/classify/drawing", drawing).1), probabilities(&before));
    }
}

#[test]
fn a_saved_classifier_gives_the_probabilities_of_the_page_and_nothing_is_overwritten() {
    let around = tempfile::tempdir().unwrap();
    let (served, others) = taught(&around.path().join("symbols"));
    let (status, saved) = served.name("/api/save", "../my classifier");
    assert_eq!(status, 200, "{saved}");
    let target = around.path().canonicalize().unwrap().join("-my classifier");
    assert_eq!(saved["path"], target.to_str().unwrap());
    assert_eq!(served.name("/api/save", "-my classifier").0, 409);
    assert_eq!(served.name("/api/save", "symbols").1["problem"], "name-taken");
    let model = Model::load(&target).unwrap();
    assert_eq!(model.labels.len(), 5);
    let missing = Photographs::Missing { command: "get-weights".into() };
    let finished = Served::new(Content::Classifier(Box::new(model)), missing);
    assert_eq!(finished.state()["mode"], "classifier");
    assert_eq!(finished.name("/api/classes", "new").1["problem"], "finished-model");
    for drawing in &others {
        let ours = probabilities(&served.post("/api/classify/drawing", drawing).1);
        let theirs = probabilities(&finished.post("/api/classify/drawing", drawing).1);
        let apart = ours.iter().zip(&theirs).map(|(a, b)| if a.0 == b.0 { (a.1 - b.1).abs() } else { 1.0 });
        assert!(apart.fold(0.0, f64::max) < 1e-4, "{ours:?} {theirs:?}");
    }
}

#[test]
fn a_page_is_told_of_what_another_one_changes() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::folder(folder.path());
    let version = served.state()["version"].as_u64().unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| served.request("GET", &format!("/api/state?after={version}"), &[], b""));
        std::thread::sleep(std::time::Duration::from_millis(200));
        assert!(!waiting.is_finished());
        served.name("/api/classes", "heart");
        let (status, state) = waiting.join().unwrap();
        let state: Value = serde_json::from_slice(&state).unwrap();
        assert_eq!((status, &state["classes"][0]["name"]), (200, &"heart".into()));
        assert_eq!(state["undo"]["what"], "class-added");
    });
    assert_eq!(served.post("/api/undo", b"").0, 200);
    assert_eq!(served.state()["classes"].as_array().unwrap().len(), 0);
}

#[test]
fn a_folder_holds_drawings_or_photographs_and_a_refused_picture_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::folder(folder.path());
    served.name("/api/classes", "heart");
    let heart = served.class("heart");
    let post = |kind: &str, picture: &[u8]| {
        let (_, answer) = served.post(&format!("/api/classes/{heart}/{kind}"), picture);
        answer["problem"].as_str().unwrap_or_default().to_string()
    };
    assert_eq!(post("photographs", &photograph()), "no-weights");
    assert_eq!(post("drawings", &photograph()), "not-a-drawing");
    assert_eq!(post("drawings", b"no picture"), "not-a-picture");
    assert_eq!(
        post(
            "drawings",
            &crate::client::png(&taper_data::Image { width: 9, height: 9, channels: 1, pixels: vec![255; 81] })
        ),
        "blank"
    );
    assert_eq!((&served.state()["kind"], &served.state()["examples"]), (&Value::Null, &0.into()));
    assert_eq!(post("drawings", &drawings(1, 1)[0][0]), "");
    assert_eq!(post("photographs", &photograph()), "other-kind");
    assert_eq!((&served.state()["kind"], &served.state()["examples"]), (&"drawings".into(), &1.into()));
    assert_eq!(served.name("/api/save", "classifier").1["problem"], "too-few-classes");
    // a picture that another program put there is shown and left out
    std::fs::write(folder.path().join("heart/foreign.png"), photograph()).unwrap();
    let state = || served.state()["classes"][0]["examples"][1]["problem"].clone();
    while state() == Value::Null {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(state(), "not-a-drawing");
}

#[test]
fn every_name_of_a_class_is_read_back_as_that_class() {
    let around = tempfile::tempdir().unwrap();
    let served = Served::folder(&around.path().join("symbols"));
    let names = ["train", "test", "val", "心", "7", "my house", "images"];
    for (name, drawings) in names.iter().zip(drawings(7, 1)) {
        served.teach(name, &drawings[0]);
    }
    let (status, saved) = served.name("/api/save", "classifier");
    assert_eq!(status, 200, "{saved}");
    let mut labels = Model::load(&around.path().join("classifier")).unwrap().labels;
    let mut wanted = names.map(String::from).to_vec();
    labels.sort();
    wanted.sort();
    assert_eq!(labels, wanted);
}

#[test]
fn photographs_are_told_apart_by_the_pretrained_network() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let weights = data.join("weights/efficientnet-lite0-57934424.pth");
    let photographs = |class: &str| -> Vec<Vec<u8>> {
        let walk =
            taper_data::walk_images(&data.join("trashnet/train").join(class)).map_or(Vec::new(), |walk| walk.files);
        walk.into_iter().take(5).map(|file| std::fs::read(file.path).unwrap()).collect()
    };
    if !weights.exists() || photographs("glass").len() < 5 {
        println!("skipped: no shared data");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let served = Served::new(Content::Folder(folder.path().to_path_buf()), Photographs::Weights(weights));
    let mut right = 0;
    for name in ["cardboard", "glass"] {
        served.name("/api/classes", name);
        for photograph in &photographs(name)[..3] {
            let (status, answer) = served.post(&format!("/api/classes/{}/photographs", served.class(name)), photograph);
            assert_eq!(status, 200, "{answer}");
        }
    }
    for name in ["cardboard", "glass"] {
        for photograph in &photographs(name)[3..] {
            let verdict = served.post("/api/classify/photograph", photograph).1;
            right += usize::from(verdict["classes"][0]["name"] == name);
        }
    }
    assert!(right >= 3, "{right} of 4");
    assert_eq!(served.state()["kind"], "photographs");
    drop(served);
    let served = Served::folder(folder.path());
    assert_eq!(served.state()["kind"], "photographs", "known again by the names of the files");
}
