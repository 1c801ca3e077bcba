//! Episodes saved by one run and scored by another; and classes that a learner has seen.

use std::fs;
use std::path::Path;
use taper_tests::drawings::Drawings;
use taper_tests::program::{Run, taper, taper_ok};

const META: &str = "meta-train data --backbone conv4-8 --ways 3 --queries 2 --meta-batch-size 2 --steps 4";

fn accuracy(run: &Run) -> f64 {
    run.events().last().unwrap()["methods"][0]["accuracy"].as_f64().unwrap()
}

/// `evaluate`'s result for `learner` on the episodes that `options` give.
fn evaluated(at: &Path, learner: &str, options: &str) -> Run {
    taper_ok(at, &format!("evaluate {learner} data --ways 3 --queries 2 --trained-classes {options} --json"))
}

#[test]
fn another_seed_scores_the_same_episodes_once_they_are_written_down() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    Drawings::default().write(&at.join("data"));
    taper_ok(at, &format!("{META} --method r2d2 --out one"));
    let drawn = evaluated(at, "one", "--episodes 20 --save-episodes episodes.jsonl");
    assert_eq!(fs::read_to_string(at.join("episodes.jsonl")).unwrap().lines().count(), 20);
    let again = evaluated(at, "one", "--episodes episodes.jsonl --seed 5");
    assert_eq!(accuracy(&drawn), accuracy(&again));
    let other = evaluated(at, "one", "--episodes 20 --seed 5 --save-episodes other.jsonl");
    assert!(fs::read(at.join("episodes.jsonl")).unwrap() != fs::read(at.join("other.jsonl")).unwrap());
    assert!(other.events().last().unwrap()["methods"][0]["sources"].is_array());
}

#[test]
fn a_test_on_classes_that_were_trained_on_is_refused_unless_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    Drawings::default().write(&at.join("data"));
    taper_ok(at, &format!("{META} --out one"));
    evaluated(at, "one", "--episodes 20 --save-episodes episodes.jsonl");
    let refused = taper(at, "evaluate one data --episodes episodes.jsonl");
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("--trained-classes"), "{}", refused.stderr);
}

#[test]
fn changed_images_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    Drawings::default().write(&at.join("data"));
    taper_ok(at, &format!("{META} --out one"));
    evaluated(at, "one", "--episodes 20 --save-episodes episodes.jsonl");
    for class in fs::read_dir(at.join("data")).unwrap() {
        fs::remove_file(class.unwrap().path().join("00.png")).unwrap();
    }
    let refused = taper(at, "evaluate one data --episodes episodes.jsonl --trained-classes");
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("missing from data or have changed"), "{}", refused.stderr);
}
