//! Kinds of inputs and environments that users of other programs report faults with, through whole runs.

use serde_json::Value;
use std::fs;
use std::path::Path;
use taper_tests::drawings::Drawings;
use taper_tests::program::{command, finished, taper, taper_ok};
use tempfile::TempDir;

const TRAIN: &str = "--backbone conv4-4 --image-size 28 --epochs 2";

/// A folder with `data`: so many classes and images of each.
fn folder(classes: usize, images: usize) -> TempDir {
    let at = tempfile::tempdir().unwrap();
    Drawings { classes, images, ..Drawings::default() }.write(&at.path().join("data"));
    at
}

fn renamed(at: &TempDir, data: &str, names: &[(&str, &str)]) {
    for (old, new) in names {
        fs::rename(at.path().join(data).join(old), at.path().join(data).join(new)).unwrap();
    }
}

fn weights(run: &Path) -> Vec<u8> {
    fs::read(run.join("model/model.safetensors")).unwrap()
}

#[test]
fn a_last_batch_of_one_image_and_batches_of_one_train_to_finite_losses() {
    let at = folder(3, 5);
    for batch in [11, 1] {
        // 12 images to train on, 3 to validate on
        taper_ok(at.path(), &format!("train data {TRAIN} --validation 0.2 --batch-size {batch} --out run --force"));
        let log = fs::read_to_string(at.path().join("run/metrics.jsonl")).unwrap();
        let events = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let losses: Vec<f64> =
            events.filter(|event| event["event"] == "step").map(|event| event["loss"].as_f64().unwrap()).collect();
        assert_eq!(losses.len(), 2 * 12usize.div_ceil(batch), "{log}");
        assert!(losses.iter().all(|loss| loss.is_finite() && *loss < 100.0), "{losses:?}");
    }
}

#[test]
fn classes_called_like_numbers_keep_their_names_everywhere() {
    let at = folder(6, 5);
    let names = ["10", "2", "1.0", "nan", "true", "1e5"];
    let old: Vec<String> = (0..6).map(|class| format!("c{class:02}")).collect();
    renamed(&at, "data", &old.iter().map(String::as_str).zip(names).collect::<Vec<_>>());
    let run = taper_ok(at.path(), &format!("train data {TRAIN} --out run"));
    let header = run.stdout.lines().find(|line| line.starts_with("true ↓")).unwrap();
    let shown: Vec<&str> = header.split_whitespace().skip(4).collect();
    assert_eq!(shown, ["1.0", "10", "1e5", "2", "nan", "true"], "sorted as text: {run:?}");
    let said = taper_ok(at.path(), "predict run data/nan/00.png --json").events().remove(0);
    let mut known: Vec<&str> =
        said["classes"].as_array().unwrap().iter().map(|class| class["class"].as_str().unwrap()).collect();
    known.sort_unstable();
    assert_eq!(known, shown);
}

#[test]
fn folders_called_like_numbers_are_read_and_resumed() {
    for name in ["2024", "1e5", "true", "a b, c=d"] {
        let at = folder(2, 5);
        renamed(&at, ".", &[("data", name)]);
        let mut words = vec!["train", name];
        words.extend(TRAIN.split_whitespace());
        let trained = finished(command(at.path(), words.into_iter().chain(["--out", "run"])).output().unwrap());
        assert_eq!(trained.code, Some(0), "{name}: {trained:?}");
        let first = weights(&at.path().join("run"));
        taper_ok(at.path(), "train --resume run");
        assert!(weights(&at.path().join("run")) == first, "{name}");
    }
}

#[test]
fn a_classifier_is_evaluated_by_names_whatever_classes_there_are() {
    let at = folder(4, 6);
    taper_ok(at.path(), &format!("train data {TRAIN} --out run"));
    let evaluated = || taper(at.path(), "evaluate run data --trained-images --json");
    // the share of images whose likeliest class has the name of their folder
    let right_by_name = || {
        let events = taper_ok(at.path(), "predict run data --json").events();
        let said: Vec<_> = events.iter().filter(|event| event["event"] == "prediction").collect();
        let is_right = |event: &&&Value| {
            event["image"].as_str().unwrap().starts_with(&format!("data/{}/", event["class"].as_str().unwrap()))
        };
        (said.len(), said.iter().filter(is_right).count() as f64 / said.len() as f64)
    };
    for images in [24, 18] {
        let run = evaluated();
        assert_eq!(run.code, Some(0), "{run:?}");
        let figures = run.result()["methods"][0].clone();
        let (predicted, share) = right_by_name();
        assert_eq!((predicted, figures["images"].as_u64()), (images, Some(images as u64)));
        assert!((figures["accuracy"].as_f64().unwrap() - share).abs() < 1e-9, "{share}: {figures}");
        if images == 24 {
            // from now on the first class is missing, so that numbers of classes are other ones
            fs::rename(at.path().join("data/c00"), at.path().join("c00")).unwrap();
        }
    }
    renamed(&at, "data", &[("c01", "c01-of-another-kind")]);
    let foreign = evaluated();
    let words = "the model has no class c01-of-another-kind (it has c00, c01, c02, c03)";
    assert!(foreign.code == Some(1) && foreign.stderr.contains(words), "{foreign:?}");
}

#[test]
fn no_home_and_one_that_cannot_be_written_mean_no_cache_and_no_error() {
    let at = folder(3, 5);
    let seen = "--validation 0.4 --transform resize(8)color";
    taper_ok(at.path(), &format!("train data --backbone cifar-resnet20 --epochs 1 {seen} --out base"));
    let line = format!("train data --weights base/model/model.safetensors {seen} --head linear --epochs 1");
    let with_cache = taper_ok(at.path(), &line);
    for home in [None, Some("/proc")] {
        let mut command = command(at.path(), line.split_whitespace());
        ["XDG_CACHE_HOME", "HF_HOME", "HOME"].iter().for_each(|name| {
            command.env_remove(name);
        });
        let run = finished(command.envs(home.map(|home| ("HOME", home))).output().unwrap());
        assert_eq!((run.code, &run.stdout), (Some(0), &with_cache.stdout), "{run:?}");
        assert_eq!(run.stderr.contains("cache"), home.is_some(), "a cache that can't be written is told: {run:?}");
    }
}

/// A limit on the length of files stands for the disk: it fails at the same place, and needs no rights.
#[cfg(unix)]
#[test]
fn a_full_disk_is_one_line_and_the_run_resumes_to_the_bits_of_an_unbroken_one() {
    let at = folder(3, 5);
    let line = "train data --backbone conv4-64 --image-size 28 --epochs 2";
    taper_ok(at.path(), &format!("{line} --out unbroken"));
    let own = command(at.path(), line.split_whitespace());
    let script = "trap '' XFSZ; ulimit -f 600 || exit 99; exec \"$@\" --out run";
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", script, "sh"]).arg(own.get_program()).args(own.get_args()).current_dir(at.path());
    limited.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let run = finished(limited.output().unwrap());
    if run.code == Some(99) {
        println!("skipped: no limit on the length of files here");
        return;
    }
    let errors: Vec<&str> = run.stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert!(run.code == Some(1) && errors.len() == 1 && errors[0].contains("run/"), "{run:?}");
    assert!(!at.path().join("run/model/model.safetensors").exists());
    taper_ok(at.path(), "train --resume run");
    assert!(weights(&at.path().join("run")) == weights(&at.path().join("unbroken")));
}

#[test]
fn images_of_one_pixel_and_sets_of_two_images_are_read_or_refused_in_one_line() {
    for (classes, images, side) in [(2, 1, 28), (2, 2, 28), (2, 3, 1), (3, 4, 2)] {
        let at = tempfile::tempdir().unwrap();
        Drawings { classes, images, side, groups: 0 }.write(&at.path().join("data"));
        let run = taper(at.path(), &format!("train data {TRAIN}"));
        let errors: Vec<&str> = run.stderr.lines().filter(|line| line.starts_with("error: ")).collect();
        assert!(
            matches!((run.code, &errors[..]), (Some(0), []) | (Some(1), [_])),
            "{classes} {images} {side}: {run:?}"
        );
        assert!(!run.stdout.contains("NaN"), "{run:?}");
    }
}
