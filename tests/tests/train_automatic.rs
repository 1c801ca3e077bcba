//! `taper train` without training options: candidates are cross-validated on the training images, one is kept.

use rand::Rng as _;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use taper_tests::drawings::Drawings;
use taper_tests::program::{arguments, command, taper, taper_ok};
use tempfile::TempDir;

/// A folder of drawings, and weights made on it.
fn folder() -> TempDir {
    let at = tempfile::tempdir().unwrap();
    Drawings { classes: 4, images: 12, ..Drawings::default() }.write(&at.path().join("data"));
    let base = "train data --backbone cifar-resnet20 --transform";
    let line = format!("{base} color;resize(16x16) --epochs 1 --out base");
    taper_ok(at.path(), &line);
    at
}

const AUTOMATIC: &str = "train data --weights base/model/model.safetensors --transform color;resize(16x16)";

#[test]
fn heads_and_fine_tuning_are_tried_and_the_best_is_kept_and_resumed() {
    let at = folder();
    let text = taper_ok(at.path(), &format!("{AUTOMATIC} --out run")).stdout;
    for words in ["cross-validated on", "ridge", "lda", "rda on stages", "fine-tune from", "keeping", "macro-F1"] {
        assert!(text.contains(words), "no `{words}` in {text}");
    }
    let model = |run: &str| fs::read(at.path().join(run).join("model/model.safetensors")).unwrap();
    let unbroken = model("run");
    // as if it had been killed after the second candidate
    let tried = at.path().join("run/tried.json");
    let scores: Vec<serde_json::Value> = serde_json::from_slice(&fs::read(&tried).unwrap()).unwrap();
    assert!(scores.len() > 6, "{scores:?}");
    fs::write(&tried, serde_json::to_vec(&scores[..2]).unwrap()).unwrap();
    fs::remove_dir_all(at.path().join("run/model")).unwrap();
    fs::remove_file(at.path().join("run/kept.json")).unwrap();
    taper_ok(at.path(), "train --resume run");
    assert!(model("run") == unbroken, "the resumed run keeps another model");
    taper_ok(at.path(), "predict run/model data");
    fs::write(at.path().join("base/model/model.safetensors"), &unbroken).unwrap();
    let refused = taper(at.path(), "train --resume run");
    assert!(refused.code != Some(0) && refused.stderr.contains("its weights have changed"), "{refused:?}");
    assert!(model("run") == unbroken);
}

/// The candidates that a run has tried so far, with their correct predictions on every fold.
fn tried(run: &Path) -> Vec<(Value, Value)> {
    let text = fs::read_to_string(run.join("tried.json")).unwrap_or("[]".into());
    let scores: Vec<Value> = serde_json::from_str(&text).unwrap();
    scores.into_iter().map(|score| (score["name"].clone(), score["folds"].clone())).collect()
}

#[test]
fn a_search_killed_at_any_moment_and_resumed_ends_as_the_unbroken_one() {
    let at = folder();
    let unbroken = at.path().join("unbroken");
    taper_ok(at.path(), &format!("{AUTOMATIC} --out unbroken"));
    let ways = tried(&unbroken).len();
    // so that its features have to be computed too
    fs::remove_dir_all(at.path().join("cache")).unwrap();
    let run = at.path().join("run");
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let mut rng = taper_ops::rng(seed, "moments", 0);
    let mut line = format!("{AUTOMATIC} --out run");
    for moment in 0..=ways {
        let mut child =
            command(at.path(), arguments(&line)).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(120);
        while !run.join("config.toml").is_file() || tried(&run).len() < moment {
            assert!(child.try_wait().unwrap().is_none(), "ended before {moment} of {ways} ways were tried");
            assert!(Instant::now() < deadline, "{moment} of {ways} ways are never tried");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(rng.random_range(0..100)));
        child.kill().unwrap();
        child.wait().unwrap();
        line = "train --resume run".into();
    }
    let resumed = taper_ok(at.path(), &line);
    assert_eq!(tried(&run), tried(&unbroken), "seed {seed}");
    let model = |run: &Path| fs::read(run.join("model/model.safetensors")).unwrap();
    assert!(model(&run) == model(&unbroken), "seed {seed}: another model\n{}", resumed.stdout);
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
    assert!(run.code == Some(0) && run.stderr.contains("are copies of training images"), "{run:?}");
    assert!(run.stderr.contains("twin.png"), "{run:?}");
    for line in ["train parts --budget 90s --epochs 1", "train parts --budget 90s --backbone conv4-4"] {
        let run = taper(at.path(), line);
        assert!(run.code == Some(2) && run.stderr.contains("--budget is for a search, but"), "{run:?}");
    }
    let line = "train parts --weights base/model/model.safetensors --image-size 16 --budget 0.000001s --cache none";
    let run = taper(at.path(), line);
    assert!(run.code == Some(1) && run.stderr.contains("is too short"), "{run:?}");
    assert_eq!(run.stderr.lines().last().unwrap().matches("use --budget").count(), 1, "{run:?}");
}
