//! Tasks from several data sets, published splits, and weights averaged over a run.

use std::fs;
use taper_tests::drawings::Drawings;
use taper_tests::program::{taper, taper_ok};

const META: &str = "meta-train data --backbone conv4-8 --ways 3 --queries 2 --meta-batch-size 2 --steps 6";

#[test]
fn tasks_of_several_data_sets_are_mixed_and_each_is_scored() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    Drawings::default().write(&at.join("data"));
    Drawings { images: 7, ..Drawings::default() }.write(&at.join("more"));
    let mixed = taper_ok(at, &format!("{META} --also more=0.5 --out mixed"));
    assert!(
        mixed.stdout.contains("classes of data that it was not")
            && mixed.stdout.contains("classes of more that it was not")
    );
    assert!(mixed.stdout.contains("on all of them"), "{}", mixed.stdout);
    let trained = fs::read_to_string(at.join("mixed/model/config.json")).unwrap();
    assert!(trained.contains("and more"), "{trained}");
    // the tasks of the other data set are different, and so is the result
    taper_ok(at, &format!("{META} --out alone"));
    let weights = |run: &str| fs::read(at.join(run).join("model/model.safetensors")).unwrap();
    assert!(weights("mixed") != weights("alone"));
}

#[test]
fn shares_that_leave_nothing_are_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    Drawings::default().write(&at.join("data"));
    let refused = taper(at, &format!("{META} --also data=0.6,data=0.5 --out run"));
    assert_eq!((refused.code, at.join("run").exists()), (Some(2), false));
    assert!(refused.stderr.contains("less than 1"), "{}", refused.stderr);
}

#[test]
fn an_average_of_the_last_steps_is_what_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    Drawings::default().write(&at.join("data"));
    let weights = |run: &str| fs::read(at.join(run).join("model/model.safetensors")).unwrap();
    for (run, average) in [("off", "off"), ("one", "last:1"), ("three", "last:3")] {
        taper_ok(at, &format!("{META} --train-on-all --average {average} --out {run}"));
    }
    assert!(weights("one") == weights("off"), "the average of one step is that step");
    assert!(weights("three") != weights("off"));
}

#[test]
fn a_published_split_says_which_classes_are_trained_on_and_tested() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    Drawings::default().write(&at.join("data"));
    let part = |class: usize| ["train", "train", "validation", "test"][class / 5];
    let lines: String = (0..20).map(|class| format!("c{class:02},{}\n", part(class))).collect();
    fs::write(at.join("split.csv"), lines).unwrap();
    taper_ok(at, &format!("{META} --split split.csv --out run"));
    let trained = fs::read_to_string(at.join("run/model/config.json")).unwrap();
    assert!(trained.contains("\"c09\"") && !trained.contains("\"c10\""), "{trained}");
    let evaluate = "evaluate run data --split split.csv --ways 5 --queries 2 --episodes 4 --save-episodes tasks";
    taper_ok(at, evaluate);
    fs::write(at.join("split.csv"), "c00,train\nc00,test\n").unwrap();
    let refused = taper(at, &format!("{META} --split split.csv"));
    assert!(refused.code == Some(1) && refused.stderr.contains("split.csv: line 2"), "{}", refused.stderr);
    for missing in ["nowhere.csv", "data"] {
        let refused = taper(at, &format!("{META} --split {missing} --out other"));
        assert!(refused.code == Some(2) && refused.stderr.contains("class,train"), "{}", refused.stderr);
    }
    assert!(!at.join("other").exists());
}
