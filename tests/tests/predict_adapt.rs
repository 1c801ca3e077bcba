//! From a learner and a few labeled images to a classifier of new images.

use std::fs;
use taper_tests::drawings::Drawings;
use taper_tests::program::{taper, taper_ok};
use tempfile::TempDir;

/// A folder with `data`, and `learner`, trained on it by `method`.
fn trained(method: &str) -> TempDir {
    let at = tempfile::tempdir().unwrap();
    Drawings::default().write(&at.path().join("data"));
    let line = format!(
        "meta-train data --method {method} --backbone conv4-8 --ways 3 --queries 2 --meta-batch-size 2 --steps 30 \
         --inner-steps 2 --out learner"
    );
    taper_ok(at.path(), &line);
    at
}

fn support(at: &TempDir, classes: &[&str]) {
    for class in classes {
        let folder = at.path().join("mine").join(class);
        fs::create_dir_all(&folder).unwrap();
        for image in ["00.png", "01.png", "02.png"] {
            fs::copy(at.path().join("data").join(class).join(image), folder.join(image)).unwrap();
        }
    }
}

#[test]
fn a_few_labeled_images_make_a_classifier_of_their_own_names() {
    let at = trained("protonet");
    support(&at, &["c03", "c11"]);
    taper_ok(at.path(), "adapt learner mine --out classifier");
    let run = taper_ok(at.path(), "predict classifier data/c03/05.png data/c11 --json");
    let predictions: Vec<_> = run.events().into_iter().filter(|event| event["event"] == "prediction").collect();
    assert_eq!(predictions.len(), 7);
    let right = predictions.iter().filter(|event| {
        let (image, class) = (event["image"].as_str().unwrap(), event["class"].as_str().unwrap());
        image.contains(class)
    });
    assert!(right.count() >= 5, "{}", run.stdout);
    for event in &predictions {
        let shares = event["classes"].as_array().unwrap().iter().map(|class| class["probability"].as_f64().unwrap());
        assert!((shares.sum::<f64>() - 1.0).abs() < 1e-4, "{event}");
    }
    let table = taper_ok(at.path(), "predict classifier data/c03/05.png").stdout;
    assert!(table.starts_with("image") && table.contains("data/c03/05.png") && table.contains('%'), "{table}");
}

#[test]
fn a_turned_learner_has_a_plain_one_s_weights_and_makes_a_classifier() {
    let (turned, plain) = (trained("protonet --symmetries"), trained("protonet"));
    let weights = |at: &TempDir| fs::read(at.path().join("learner/model/model.safetensors")).unwrap();
    assert!(weights(&turned) == weights(&plain));
    let network = |at: &TempDir| taper_ok(at.path(), "inspect learner/model").stdout;
    assert!(network(&turned).contains("turned-conv4-8") && !network(&plain).contains("turned"));
    support(&turned, &["c03", "c11"]);
    taper_ok(turned.path(), "adapt learner mine --out classifier");
    let run = taper_ok(turned.path(), "predict classifier data/c03/05.png data/c11/05.png --json");
    let classes: Vec<_> = run.events().iter().map(|event| event["class"].clone()).take(2).collect();
    assert_eq!(classes, ["c03", "c11"], "{}", run.stdout);
}

#[test]
fn predicting_changes_no_file_and_gives_the_same_again() {
    let at = trained("maml");
    support(&at, &["c03", "c11", "c17"]);
    taper_ok(at.path(), "adapt learner mine --out classifier");
    let weights = || fs::read(at.path().join("classifier/model.safetensors")).unwrap();
    let before = weights();
    let first = taper_ok(at.path(), "predict classifier data/c03").stdout;
    assert_eq!(first, taper_ok(at.path(), "predict classifier data/c03").stdout);
    assert!(before == weights());
}

#[test]
fn an_image_is_classified_alike_alone_and_in_company() {
    let at = trained("maml");
    support(&at, &["c03", "c11", "c17"]);
    taper_ok(at.path(), "adapt learner mine --out classifier");
    let of = |line: &str| -> Vec<serde_json::Value> {
        let events = taper_ok(at.path(), &format!("{line} --json")).events();
        let image = |event: &serde_json::Value| event["image"] == "data/c03/05.png";
        events.into_iter().filter(image).map(|event| event["classes"].clone()).collect()
    };
    assert_eq!(of("predict classifier data/c03/05.png"), of("predict classifier data/c03 data/c11"));
}

#[test]
fn images_that_cannot_be_read_are_skipped_with_a_count_unless_none_is_left() {
    let at = trained("protonet");
    support(&at, &["c03", "c11"]);
    taper_ok(at.path(), "adapt learner mine --out classifier");
    fs::write(at.path().join("mine/c03/note.png"), "no image").unwrap();
    let run = taper_ok(at.path(), "predict classifier mine/c03 --json");
    assert_eq!((&run.result()["images"], &run.result()["skipped"]), (&3.into(), &1.into()));
    assert!(run.stderr.contains("note.png"), "{run:?}");
    let run = taper(at.path(), "predict classifier mine/c03/note.png --explain why");
    assert!(run.code == Some(1) && run.stderr.contains("note.png"), "{run:?}");
    assert!(!at.path().join("why").exists(), "nothing was explained");
}

#[cfg(unix)]
#[test]
fn files_left_out_of_a_folder_are_named_beside_the_table() {
    let at = trained("protonet");
    support(&at, &["c03", "c11"]);
    taper_ok(at.path(), "adapt learner mine --out classifier");
    std::os::unix::fs::symlink("gone.png", at.path().join("mine/c03/link.png")).unwrap();
    for number in 0..6 {
        fs::write(at.path().join(format!("mine/c03/film{number}")), b"\x1aE\xdf\xa3").unwrap();
    }
    let run = taper_ok(at.path(), "predict classifier mine/c03");
    let told = |text: &str| run.stderr.lines().filter(|line| line.contains(text)).count();
    assert_eq!(run.stdout.lines().count(), 2 + 3, "{run:?}");
    assert_eq!(told("skipped: mine/c03/link.png: is a link to nothing"), 1, "{run:?}");
    assert_eq!((told("is a video"), told("skipped: 2 more files")), (4, 1), "{run:?}");
    let result = taper_ok(at.path(), "predict classifier mine/c03 --json").result();
    assert_eq!((&result["images"], &result["skipped"]), (&3.into(), &7.into()));
}

#[test]
fn a_classifier_is_not_overwritten_by_mistake() {
    let at = trained("protonet");
    support(&at, &["c03", "c11"]);
    fs::create_dir(at.path().join("classifier")).unwrap();
    taper_ok(at.path(), "adapt learner mine --out classifier");
    let run = taper(at.path(), "adapt learner mine --out classifier");
    assert!(run.code == Some(2) && run.stderr.contains("--force"), "{run:?}");
    taper_ok(at.path(), "adapt learner mine --out classifier --force");
    let run = taper(at.path(), "adapt learner mine --out mine --force");
    assert!(run.code == Some(2) && run.stderr.contains("is not a Taper model directory"), "{run:?}");
}
