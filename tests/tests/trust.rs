//! What a kept classifier can say about its answers, and how its classes come and go.

use serde_json::Value;
use std::fs;
use std::path::Path;
use taper_tests::drawings::Drawings;
use taper_tests::program::{taper, taper_ok};
use tempfile::TempDir;

/// A folder with drawings in `data` and a classifier of the first classes, made by the built-in learner from the first
/// `images` of each.
fn adapted(classes: usize, images: usize) -> TempDir {
    let at = tempfile::tempdir().unwrap();
    Drawings { classes: classes + 3, images: images + 2, ..Drawings::default() }.write(&at.path().join("data"));
    (0..classes).for_each(|class| copy(at.path(), "mine", class, 0..images));
    taper_ok(at.path(), "adapt mine --out classifier");
    at
}

fn copy(at: &Path, folder: &str, class: usize, images: std::ops::Range<usize>) {
    let folder = at.join(folder).join(format!("c{class:02}"));
    fs::create_dir_all(&folder).unwrap();
    for image in images {
        let name = format!("{image:02}.png");
        fs::copy(at.join("data").join(format!("c{class:02}")).join(&name), folder.join(name)).unwrap();
    }
}

/// The predictions for these images.
fn predictions(at: &TempDir, line: &str) -> Vec<Value> {
    let events = taper_ok(at.path(), &format!("predict {line} --json")).events();
    events.into_iter().filter(|event| event["event"] == "prediction").collect()
}

#[test]
fn foreign_drawings_are_refused_and_known_ones_are_answered() {
    let at = adapted(5, 4);
    let refused = |images: &str| {
        let all = predictions(&at, &format!("classifier {images} --reject 5%"));
        (all.iter().filter(|event| event["rejected"] == true && event["class"].is_null()).count(), all.len())
    };
    let (known, of_known) = refused("data/c00/04.png data/c01/04.png data/c02/04.png data/c03/04.png data/c04/04.png");
    let (foreign, of_foreign) = refused("data/c05 data/c06 data/c07");
    assert!(known <= 1 && of_known == 5, "{known} of {of_known} known drawings");
    assert!(foreign * 10 >= of_foreign * 7, "{foreign} of {of_foreign} foreign drawings");
    // without being asked, no answer changes
    let plain = predictions(&at, "classifier data/c05");
    assert!(plain.iter().all(|event| event["class"].is_string() && event["familiarity"].is_f64()), "{plain:?}");
    let run = taper_ok(at.path(), "predict classifier data/c05 data/c06 --reject 5%");
    assert!(run.stdout.contains("none of these") && run.stdout.contains("familiarity"), "{}", run.stdout);
    let note = taper_ok(at.path(), "predict classifier data/c05 data/c06").stderr;
    assert!(note.contains("look less familiar than") && note.contains("--reject"), "{note}");
}

#[test]
fn sets_grow_with_the_share_that_is_asked_for_and_keep_the_likeliest_classes() {
    let at = adapted(5, 4);
    let sets = |share: &str| -> Vec<Vec<String>> {
        let of = |event: &Value| serde_json::from_value(event["set"].clone()).unwrap();
        predictions(&at, &format!("classifier data/c00 data/c03 data/c06 --set {share}")).iter().map(of).collect()
    };
    let (small, large) = (sets("50%"), sets("95%"));
    for (small, large) in small.iter().zip(&large) {
        assert!(large.starts_with(small), "{small:?} {large:?}");
    }
    assert!(small != large, "{small:?}");
    let csv = taper_ok(at.path(), "predict classifier data/c00/05.png --set 95% --csv").stdout;
    assert!(csv.lines().next().unwrap().ends_with(",set") && csv.contains(",c00"), "{csv}");
}

#[test]
fn what_few_labels_cannot_promise_is_an_error_that_says_so() {
    let at = adapted(3, 2);
    let asked = [
        ("--reject 5%", "no rate below 14.29%", "--reject 14.3%"),
        ("--set 95%", "no share above 85.71%", "--set 85.7%"),
    ];
    for (option, limit, advice) in asked {
        let run = taper(at.path(), &format!("predict classifier data/c00 {option}"));
        assert!(run.code == Some(2) && run.stderr.contains(&format!("{limit}: use {advice}")), "{run:?}");
        taper_ok(at.path(), &format!("predict classifier data/c00 {advice}"));
    }
    (0..3).for_each(|class| copy(at.path(), "single", class, 0..1));
    taper_ok(at.path(), "adapt single --out one-each");
    let run = taper(at.path(), "predict one-each data/c00 --reject 20%");
    assert!(run.code == Some(1) && run.stderr.contains("at least two images of each class"), "{run:?}");
    taper_ok(at.path(), "predict one-each data/c00");
}

#[test]
fn a_classifier_with_classes_added_is_that_of_all_images_at_once() {
    let at = adapted(3, 4);
    copy(at.path(), "more", 3, 0..4);
    copy(at.path(), "more", 1, 3..5); // the first is there already
    // the same picture in other bytes
    let more = at.path().join("more/c03");
    let bytes = fs::read(more.join("00.png")).unwrap();
    fs::write(more.join("again.png"), [bytes, vec![0]].concat()).unwrap();
    let before = fs::read(at.path().join("classifier/model.safetensors")).unwrap();
    let run = taper_ok(at.path(), "adapt classifier more --add --out grown --json");
    let result = run.result();
    assert_eq!(result["added"], 5);
    assert_eq!(result["new_classes"], serde_json::json!(["c03"]));
    assert!(result["already_there"][0].as_str().unwrap().ends_with("c01/03.png"), "{result}");
    assert!(result["already_there"][1].as_str().unwrap().ends_with("c03/again.png"), "{result}");
    assert!(result["held_out_accuracy"].as_f64().unwrap() > 0.5, "{result}");
    assert!(fs::read(at.path().join("classifier/model.safetensors")).unwrap() == before);
    let shown = taper_ok(at.path(), "inspect grown");
    assert!(shown.stdout.contains("learned from 17 images of mine and more"), "{shown:?}");
    copy(at.path(), "mine", 3, 0..4);
    copy(at.path(), "mine", 1, 4..5);
    taper_ok(at.path(), "adapt mine --out at-once");
    let (grown, at_once) = (predictions(&at, "grown data"), predictions(&at, "at-once data"));
    for (grown, at_once) in grown.iter().zip(&at_once) {
        let apart = grown["probability"].as_f64().unwrap() - at_once["probability"].as_f64().unwrap();
        assert!(grown["class"] == at_once["class"] && apart.abs() < 1e-3, "{grown} {at_once}");
    }
    let run = taper(at.path(), "adapt grown more --add");
    assert!(run.code == Some(1) && run.stderr.contains("has all 7 images already"), "{run:?}");
    let wrong = at.path().join("wrong/c00");
    fs::create_dir_all(&wrong).unwrap();
    fs::copy(at.path().join("data/c01/03.png"), wrong.join("03.png")).unwrap();
    let run = taper(at.path(), "adapt grown wrong --add");
    assert!(run.code == Some(1) && run.stderr.contains("is labeled `c00` here"), "{run:?}");
    assert!(run.stderr.contains("is labeled `c01` already: correct one of them"), "{run:?}");
}

#[test]
fn classes_are_removed_and_renamed_in_place_or_not_at_all() {
    let at = adapted(4, 3);
    taper_ok(at.path(), "adapt classifier --remove c01 --rename c02=heart");
    let classes = |event: &Value| {
        let mut names: Vec<String> =
            event["classes"].as_array().unwrap().iter().map(|class| class["class"].as_str().unwrap().into()).collect();
        names.sort();
        names
    };
    let heart = &predictions(&at, "classifier data/c02/03.png")[0];
    assert_eq!(
        (heart["class"].as_str(), classes(heart)),
        (Some("heart"), vec!["c00".into(), "c03".into(), "heart".into()])
    );
    let saved = || fs::read(at.path().join("classifier/model.safetensors")).unwrap();
    let before = saved();
    for (line, problem) in [
        ("--remove c01", "there is no class `c01`: the classes are c00, heart, c03"),
        ("--rename c01=x", "there is no class `c01`"),
        ("--rename c00=heart", "there is a class `heart` already"),
        ("--remove c00 --remove heart", "one class would be left"),
    ] {
        let run = taper(at.path(), &format!("adapt classifier {line}"));
        assert!(run.code == Some(1) && run.stderr.contains(problem), "{run:?}");
        assert!(saved() == before, "{line}");
    }
    let run = taper(at.path(), "adapt classifier --rename c00");
    assert!(run.code == Some(2) && run.stderr.contains("cat=kitten"), "{run:?}");
}

#[test]
fn an_explanation_names_similar_drawings_and_overwrites_nothing() {
    let at = adapted(3, 3);
    let why = predictions(&at, "classifier mine/c01/02.png data/c01/02.png --explain why");
    for event in &why {
        let nearest = &event["nearest"][0];
        assert!(nearest["image"].as_str().unwrap().ends_with("c01/02.png") && nearest["class"] == "c01", "{event}");
        assert!((nearest["similarity"].as_f64().unwrap() - 1.0).abs() < 1e-3, "{event}");
        let map = fs::read(at.path().join(event["heat_map"].as_str().unwrap())).unwrap();
        assert!(map.starts_with(b"\x89PNG"));
    }
    assert_ne!(why[0]["heat_map"], why[1]["heat_map"], "images of one name get a file each");
    fs::create_dir(at.path().join("notes")).unwrap();
    fs::write(at.path().join("notes/02.png"), "mine").unwrap();
    let run = taper(at.path(), "predict classifier data/c01/02.png --explain notes");
    assert!(run.code == Some(1) && run.stderr.contains("is not empty"), "{run:?}");
    assert_eq!(fs::read_to_string(at.path().join("notes/02.png")).unwrap(), "mine");
}

#[test]
fn a_directory_of_an_earlier_version_still_predicts_and_says_what_it_cannot_do() {
    let at = adapted(3, 3);
    let before = predictions(&at, "classifier data/c00/03.png");
    fs::remove_file(at.path().join("classifier/support.safetensors")).unwrap();
    let after = predictions(&at, "classifier data/c00/03.png");
    assert_eq!((&after[0]["classes"], &after[0]["familiarity"]), (&before[0]["classes"], &Value::Null));
    for line in ["predict classifier data/c00 --reject 20%", "predict classifier data/c00 --explain why"] {
        let run = taper(at.path(), line);
        assert!(run.code == Some(1) && run.stderr.contains("keeps no labeled images"), "{run:?}");
    }
    let run = taper(at.path(), "adapt classifier --remove c00");
    assert!(run.code == Some(1) && run.stderr.contains("earlier version of Taper"), "{run:?}");
    taper_ok(at.path(), "adapt classifier --rename c00=heart");
    assert_eq!(predictions(&at, "classifier data/c00/03.png")[0]["class"], "heart");
}

#[test]
fn a_trained_network_refuses_by_its_validation_images_and_loses_classes_but_gets_none() {
    let at = tempfile::tempdir().unwrap();
    Drawings { classes: 4, images: 20, ..Drawings::default() }.write(&at.path().join("data"));
    taper_ok(at.path(), "train data --backbone conv4-8 --epochs 3 --out run");
    let all = predictions(&at, "run data/c00 --reject 10% --set 90%");
    assert!(all.iter().all(|event| event["rejected"].is_boolean() && event["set"].is_array()), "{all:?}");
    let run = taper(at.path(), "adapt run data --add --out grown");
    assert!(run.code == Some(1) && run.stderr.contains("added without training"), "{run:?}");
    taper_ok(at.path(), "adapt run --remove c02 --out smaller");
    let smaller = predictions(&at, "smaller data/c02 --set 80%");
    assert!(smaller.iter().all(|event| event["classes"].as_array().unwrap().len() == 3), "{smaller:?}");
    let run = taper(at.path(), "predict smaller data/c02 --reject 10%");
    assert!(run.code == Some(2) && run.stderr.contains("train anew"), "{run:?}");
    let run = taper_ok(at.path(), "export smaller --out smaller.onnx");
    assert!(run.stderr.contains("no output `familiarity`"), "{run:?}");
}
