//! `taper train` with options: which part is trained, and on what.

use std::fs;
use taper_models::read_weights;
use taper_tests::drawings::Drawings;
use taper_tests::program::{command, finished, taper, taper_ok};
use tempfile::TempDir;

/// A folder of drawings, and weights made on it.
fn folder() -> TempDir {
    let at = tempfile::tempdir().unwrap();
    Drawings { classes: 3, images: 10, ..Drawings::default() }.write(&at.path().join("data"));
    let line = "train data --backbone cifar-resnet20 --epochs 1 --out base --transform";
    let arguments = line.split_whitespace().chain(["color resize(16x16)"]);
    let run = finished(command(at.path(), arguments).output().unwrap());
    assert_eq!(run.code, Some(0), "{run:?}");
    at
}

const WEIGHTED: &str = "train data --weights base/model/model.safetensors --epochs 2";

#[test]
fn a_part_that_is_named_is_trained_and_the_rest_stays_bit_for_bit() {
    let at = folder();
    let weights = |run: &str| read_weights(&at.path().join(run).join("model/model.safetensors")).unwrap();
    let bits = |tensor: &candle_core::Tensor| {
        let values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        values.into_iter().map(f32::to_bits).collect::<Vec<_>>()
    };
    for (part, trained) in [("layer3.2,fc", "layer3.2"), ("norms", "bn"), ("head", "linear")] {
        let line = format!("{WEIGHTED} --train {part} --out run --force --smoothing 0.1 --accumulate 2 --balance");
        taper_ok(at.path(), &line.replace("fc", "linear"));
        let (before, after) = (weights("base"), weights("run"));
        for (name, tensor) in &before {
            let same = bits(tensor) == bits(&after[name]);
            let may_change = name.starts_with("linear") || (name.contains(trained) && !name.contains("running"));
            assert!(same || may_change, "--train {part} changes {name}");
        }
        let changed = before.iter().any(|(name, tensor)| name.contains(trained) && bits(tensor) != bits(&after[name]));
        assert!(changed, "--train {part} changes no {trained}");
    }
    let wrong = taper(at.path(), &format!("{WEIGHTED} --train layer9"));
    assert!(wrong.code == Some(1) && wrong.stderr.contains("`layer9` names no part of the network"), "{wrong:?}");
}

#[test]
fn what_is_opened_gradually_is_opened_from_the_top_and_cached_activations_train_as_images_do() {
    let at = folder();
    let losses = |out: &str, transform: &str| {
        // at a rate at which rounding does not grow from step to step
        let line = format!("{WEIGHTED} --train gradual --epochs 5 --batch-size 8 --lr 1e-4 --out {out} --transform");
        let run = finished(command(at.path(), line.split_whitespace().chain([transform])).output().unwrap());
        assert_eq!(run.code, Some(0), "{run:?}");
        let log = fs::read_to_string(at.path().join(out).join("metrics.jsonl")).unwrap();
        let events = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        events.filter_map(|event| event["loss"].as_f64()).collect::<Vec<f64>>()
    };
    // erasing that never happens, but prevents computing anything once
    let (cached, plain) =
        (losses("cached", "color resize(16x16)"), losses("plain", "color resize(16x16) random-erasing(0)"));
    assert_eq!(cached.len(), 15, "three steps in each of five epochs");
    assert!(cached.iter().zip(&plain).all(|(a, b)| (a - b).abs() < 1e-3), "{cached:?} {plain:?}");
    let wrong = taper(at.path(), &format!("{WEIGHTED} --train gradual:layer9"));
    assert!(wrong.code == Some(1) && wrong.stderr.contains("`layer9` names no part"), "{wrong:?}");
    let wrong = taper(at.path(), &format!("{WEIGHTED} --train gradual --find-lr"));
    assert!(wrong.code == Some(2) && wrong.stderr.contains("remove gradual"), "{wrong:?}");
    let wrong = taper(at.path(), "train data --backbone conv4-4 --find-lr --out looked");
    assert!(wrong.code == Some(2) && wrong.stderr.contains("remove --out"), "{wrong:?}");
    assert!(!at.path().join("looked").exists());
}

#[test]
fn mixed_images_averages_and_patience_train_a_classifier() {
    let at = folder();
    for how in ["--mixup 0.2 --average ema:0.9", "--cutmix 1", "--lr 3 --patience 1 --epochs 20"] {
        let run = taper_ok(at.path(), &format!("train data --backbone conv4-4 --epochs 2 {how}"));
        assert!(run.stdout.contains("macro-F1"), "{run:?}");
        if how.contains("patience") {
            let epochs = run.stdout.lines().filter(|line| line.starts_with("Epoch: ")).count();
            assert!(epochs < 20, "a rate of 3 keeps improving for {epochs} epochs");
        }
    }
    let both = taper(at.path(), "train data --mixup 0.2 --cutmix 1");
    assert!(both.code == Some(2) && both.stderr.contains("--cutmix"), "{both:?}");
}

#[test]
fn unequal_classes_are_balanced_in_the_loss_or_in_the_sampling() {
    let at = tempfile::tempdir().unwrap();
    for (name, images, least) in [("cup", 48, 60), ("plate", 6, 80)] {
        let folder = at.path().join("data").join(name);
        fs::create_dir_all(&folder).unwrap();
        for number in 0..images {
            // shades that overlap, so that guessing the large class is usually correct
            let shade = |x: u32, y: u32| image::Luma([(least + (number * 37 + x * 11 + y * 5) % 60) as u8]);
            image::GrayImage::from_fn(16, 16, shade).save(folder.join(format!("{number}.png"))).unwrap();
        }
    }
    let model = |how: &str| {
        taper_ok(at.path(), &format!("train data --backbone conv4-4 --epochs 2 --out run --force {how}"));
        fs::read(at.path().join("run/model/model.safetensors")).unwrap()
    };
    let (off, loss, sampling) = (model(""), model("--balance"), model("--balance=sampling"));
    assert!(off != loss && off != sampling && loss != sampling);
    assert!(model("--balance=loss") == loss && model("--balance=off") == off);
    let again = model("--balance=sampling");
    taper_ok(at.path(), "train --config run/config.toml --out again");
    assert!(fs::read(at.path().join("again/model/model.safetensors")).unwrap() == again);
}

#[test]
fn the_learning_rate_follows_the_schedule_over_the_whole_run() {
    let at = folder();
    let rates = |schedule: &str| {
        let line = format!("train data --backbone conv4-4 --epochs 10 --batch-size 12 --lr 0.01 --schedule {schedule}");
        let events = taper_ok(at.path(), &format!("{line} --json")).events();
        let rates = events.iter().filter(|event| event["event"] == "step");
        rates.map(|event| event["learning_rate"].as_f64().unwrap()).collect::<Vec<f64>>()
    };
    let close = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-9;
    let (constant, one_cycle, cosine) = (rates("constant"), rates("one-cycle"), rates("cosine"));
    assert_eq!((constant.len(), one_cycle.len(), cosine.len()), (20, 20, 20));
    assert!(constant.iter().all(|&rate| rate == 0.01));
    // with torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=20) it peaks at step 0.3 * 20 - 1
    assert!(close(one_cycle[0], 0.01 / 25.0) && close(one_cycle[5], 0.01) && close(one_cycle[19], 0.01 / 25.0 / 1e4));
    assert!(close(cosine[0], 0.01 / 3.0) && close(cosine[2], 0.01) && cosine[19] < 1e-4, "{cosine:?}");
}

#[test]
fn the_report_averages_over_views_where_random_steps_make_some_and_training_is_the_same() {
    let at = folder();
    let run = |how: &str| {
        let line = format!("train data --backbone conv4-4 --epochs 2 --out run --force {how} --transform");
        let arguments = line.split_whitespace().chain(["resize(28x28) random-affine(degrees=30,shift=0.1)"]);
        let run = finished(command(at.path(), arguments).output().unwrap());
        let model = fs::read(at.path().join("run/model/model.safetensors")).unwrap();
        (run.stdout, model)
    };
    let ((one, alone), (eight, model)) = (run(""), run("--views 8"));
    assert!(model == alone, "views change what is learned");
    assert!(one.contains("validation images: accuracy") && eight.contains("validation images, 8 views each: accuracy"));
    let surest = |text: &str| text.lines().skip_while(|line| !line.contains("worst errors")).nth(2).map(String::from);
    assert!(surest(&one).is_some() && surest(&one) != surest(&eight), "{one}{eight}");
    assert_eq!(eight, run("--views 8").0);
    let wrong = taper(at.path(), "train data --backbone conv4-4 --epochs 1 --views 8");
    assert!(wrong.code == Some(1) && wrong.stderr.contains("has no random step"), "{wrong:?}");
    assert!(!wrong.stdout.contains("Epoch"), "it is told before the training: {wrong:?}");
}

#[test]
fn the_test_of_learning_rates_gives_its_curve_and_a_rate_and_keeps_nothing() {
    let at = folder();
    let found = taper_ok(at.path(), "train data --backbone conv4-4 --find-lr --json").result();
    let (suggested, curve) = (found["suggested"].as_f64().unwrap(), found["curve"].as_array().unwrap());
    assert!(curve.len() > 20 && curve[0]["learning_rate"].as_f64().unwrap() < 2e-6);
    assert!((1e-5..=0.1).contains(&suggested), "{suggested}");
}

#[test]
fn photographs_without_weights_are_trained_from_scratch_and_told_where_weights_are() {
    let at = folder();
    let line = "train data --epochs 1";
    assert!(!taper_ok(at.path(), line).stderr.contains("fetch-weights"), "drawings in gray need no photographs");
    for class in fs::read_dir(at.path().join("data")).unwrap() {
        for file in fs::read_dir(class.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let mut colored = image::open(&path).unwrap().to_rgb8();
            colored.pixels_mut().for_each(|pixel| pixel[2] = 200);
            colored.save(&path).unwrap();
        }
    }
    let run = taper_ok(at.path(), "train data");
    assert!(run.stderr.contains("no --weights given") && run.stderr.contains("fetch-weights"), "{run:?}");
}

#[test]
fn classes_that_can_not_be_learned_are_named_and_unequal_ones_told() {
    let at = tempfile::tempdir().unwrap();
    let class = |part: &str, name: &str, images: usize| {
        let folder = at.path().join(part).join(name);
        fs::create_dir_all(&folder).unwrap();
        for number in 0..images {
            let shade = |x: u32, y: u32| image::Luma([(x * 7 + y * number as u32 + name.len() as u32 * 31) as u8]);
            image::GrayImage::from_fn(16, 16, shade).save(folder.join(format!("{number}.png"))).unwrap();
        }
    };
    let refused = |data: &str, words: &str| {
        let run = taper(at.path(), &format!("train {data} --epochs 1"));
        assert!(run.code == Some(1) && run.stderr.lines().count() == 1 && run.stderr.contains(words), "{run:?}");
    };
    class("alone", "cup", 4);
    class("alone", "plate", 1);
    refused("alone", "class `plate` has 1 image but needs at least 2");
    for part in ["new/train", "new/val"] {
        class(part, "cup", 2);
    }
    class("new/train", "bowl", 2);
    class("new/val", "plate", 2);
    let new = taper(at.path(), "train new --epochs 1");
    assert!(new.stderr.contains("left out: plate (2)"), "{new:?}");
    class("unequal", "cup", 20);
    class("unequal", "plate", 3);
    let run = taper_ok(at.path(), "train unequal --epochs 1");
    assert!(run.stderr.contains("imbalanced (cup has 16 images, plate has 2)"), "{run:?}");
}
