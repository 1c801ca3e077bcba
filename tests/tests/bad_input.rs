//! Bad input of every kind: one clear line that says what to do, the right exit code, nothing
//! half-written.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use taper_tests::drawings::Drawings;
use taper_tests::program::{Run, command, finished, taper, taper_ok};
use tempfile::TempDir;

const USAGE: i32 = 2;
const FAILED: i32 = 1;

/// Options of a run that takes no time.
const SMALL: &str = "--backbone conv4-4 --ways 3 --queries 2 --meta-batch-size 1 --steps 3";

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn drawings(classes: usize, images: usize, folder: &Path) {
    Drawings { classes, images, ..Drawings::default() }.write(folder);
}

/// The run failed with one line of error that holds all `words`.
#[track_caller]
fn refused(run: &Run, code: i32, words: &[&str]) {
    assert_eq!(run.code, Some(code), "{run:?}");
    let errors: Vec<&str> = run.stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{run:?}");
    assert_eq!(run.stderr.lines().last(), Some(errors[0]), "the error comes last: {run:?}");
    for word in words {
        assert!(errors[0].contains(word), "no `{word}` in {}", errors[0]);
    }
    assert!(!run.stderr.contains("panicked"), "{run:?}");
    assert!(run.stdout.is_empty() || !run.stdout.contains("result"), "{run:?}");
}

#[test]
fn paths_that_hold_no_data_set_are_refused_by_every_command() {
    let at = folder();
    fs::create_dir(at.path().join("empty")).unwrap();
    fs::write(at.path().join("note.txt"), "hello").unwrap();
    drawings(1, 4, &at.path().join("single"));
    drawings(4, 4, &at.path().join("lost"));
    for image in fs::read_dir(at.path().join("lost/c02")).unwrap() {
        fs::write(image.unwrap().path(), "no image").unwrap();
    }
    for command in ["compare", "train", "meta-train", "inspect"] {
        let out = if command == "inspect" { "" } else { "--out run" };
        let run = |data: &str| taper(at.path(), &format!("{command} {data} {out}"));
        refused(&run("nowhere"), FAILED, &["nowhere", "no such file or folder", "check the path"]);
        refused(&run("empty"), FAILED, &["empty", "give a folder or zip of class folders"]);
        refused(&run("note.txt"), FAILED, &["note.txt", "give a folder or zip of class folders"]);
        refused(&run("single"), FAILED, &["single", "only one class", "at least two"]);
        refused(&run("lost"), FAILED, &["class `c02`", "none of the 4 images", "or remove"]);
        assert!(!at.path().join("run").exists(), "{command} wrote something");
    }
}

#[test]
fn zips_are_trusted_only_as_data_sets() {
    let at = folder();
    let zip = |name: &str, entry: &str| {
        let mut zip = zip::ZipWriter::new(fs::File::create(at.path().join(name)).unwrap());
        zip.start_file(entry, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(b"text").unwrap();
        zip.finish().unwrap();
    };
    zip("papers.zip", "letter.txt");
    zip("evil.zip", "a/../../b/1.png");
    let whole = fs::read(at.path().join("papers.zip")).unwrap();
    fs::write(at.path().join("half.zip"), &whole[..whole.len() / 2]).unwrap();
    refused(&taper(at.path(), "compare papers.zip"), FAILED, &["papers.zip", "no PNG, JPEG"]);
    refused(&taper(at.path(), "compare evil.zip"), FAILED, &["evil.zip", "../", "leads outside"]);
    refused(&taper(at.path(), "compare half.zip"), FAILED, &["half.zip", "download it again"]);
}

#[test]
fn a_class_with_too_few_images_is_named_with_the_shape_that_would_fit() {
    let at = folder();
    drawings(20, 6, &at.path().join("data"));
    for image in 3..6 {
        fs::remove_file(at.path().join(format!("data/c07/{image:02}.png"))).unwrap();
    }
    let run = taper(at.path(), "meta-train data --shots 2 --queries 3 --out run");
    refused(&run, FAILED, &["class `c07`", "3 image(s)", "--shots 2 --queries 1"]);
    refused(&taper(at.path(), "compare data --queries 5 --out run"), FAILED, &["`c07`", "--shots 1 --queries 2"]);
    refused(&taper(at.path(), "meta-train data --ways 30 --queries 2 --out run"), FAILED, &["--ways 20"]);
    assert!(!at.path().join("run").exists());
}

#[test]
fn damaged_images_are_counted_and_listed_and_unequal_sizes_said_once() {
    let at = folder();
    drawings(6, 6, &at.path().join("data"));
    image::GrayImage::from_pixel(40, 40, image::Luma([200])).save(at.path().join("data/c00/large.png")).unwrap();
    let whole = fs::read(at.path().join("data/c01/03.png")).unwrap();
    fs::write(at.path().join("data/c01/03.png"), &whole[..60]).unwrap();
    fs::write(at.path().join("data/c02/letter.jpg"), "dear").unwrap();
    let inspected = taper_ok(at.path(), "inspect data").stdout;
    for words in ["c01/03.png: is cut short", "c02/letter.jpg: is text"] {
        assert!(inspected.contains(words), "{inspected}");
    }
    let told = taper_ok(at.path(), &format!("meta-train data {SMALL}")).stderr;
    assert_eq!(told.matches("2 files skipped, such as").count(), 1, "{told}");
    assert_eq!(told.matches("differ in size").count(), 1, "{told}");
}

#[test]
fn flags_that_make_no_sense_are_usage_errors() {
    let at = folder();
    drawings(4, 4, &at.path().join("data"));
    let cases: [(&str, &[&str]); 17] = [
        ("compare --episodes 0", &["--episodes", "at least 1"]),
        ("compare --lr -1", &["--lr", "above 0"]),
        ("compare --ways 1", &["--ways", "at least 2"]),
        ("compare --ways five", &["--ways", "use 5 or 5-20"]),
        ("compare --threads 0", &["--threads", "at least 1"]),
        ("compare --device cuda", &["--device"]),
        ("compare --episode 3", &["--episode", "--episodes"]),
        ("compare data --ways 5 --queries 3", &["4 classes", "--ways 4"]),
        ("meta-train --meta-batch-size 0", &["--meta-batch-size", "at least 1"]),
        ("meta-train --inner-lr nan", &["--inner-lr", "above 0"]),
        ("meta-train --backbone vgg", &["`vgg`", "conv4-64"]),
        ("meta-train --transform turn", &["`turn`", "resize"]),
        ("meta-train --method maml --symmetries", &["--symmetries", "such as protonet, not maml"]),
        ("meta-train --resume run --out other", &["run"]),
        ("train --epochs 1.5", &["--epochs", "whole number"]),
        ("predict model", &["<IMAGE>", "--help"]),
        ("teach", &["teach"]),
    ];
    for (line, words) in cases {
        refused(&taper(at.path(), line), USAGE, words);
    }
}

#[test]
fn runs_are_neither_overwritten_nor_mistaken() {
    let at = folder();
    drawings(20, 4, &at.path().join("data"));
    fs::create_dir(at.path().join("letters")).unwrap();
    fs::write(at.path().join("letters/one.txt"), "dear").unwrap();
    let train = |extra: &str| taper(at.path(), &format!("meta-train data {SMALL} {extra}"));
    refused(&train("--out letters --force"), FAILED, &["letters", "choose another directory"]);
    assert_eq!(train("--out run").code, Some(0));
    refused(&train("--out run"), FAILED, &["run", "--resume", "--force"]);
    assert_eq!(train("--out run --force").code, Some(0));
    refused(&taper(at.path(), "meta-train --resume run --seed 3"), USAGE, &["run", "remove the others"]);
    refused(&taper(at.path(), "compare --resume run"), USAGE, &["use `taper meta-train`"]);
    refused(&taper(at.path(), "meta-train --resume walk"), USAGE, &["walk", "earlier run"]);

    let config = at.path().join("run/config.toml");
    let other = fs::read_to_string(&config).unwrap().replace("steps = 3", "steps = 4");
    fs::write(&config, other).unwrap();
    refused(&taper(at.path(), "meta-train --resume run"), FAILED, &["another configuration", "--force"]);
    fs::write(at.path().join("run/checkpoint/protonet.safetensors"), "half").unwrap();
    refused(&taper(at.path(), "meta-train --resume run"), FAILED, &["damaged checkpoint", "--force"]);
}

#[test]
fn nobody_reading_the_output_is_no_panic() {
    let at = folder();
    let mut inspect = command(at.path(), ["inspect"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(inspect.stdout.take());
    let run = finished(inspect.wait_with_output().unwrap());
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
}

#[test]
fn models_that_do_not_fit_are_refused() {
    let at = folder();
    drawings(20, 4, &at.path().join("data"));
    taper_ok(at.path(), &format!("meta-train data {SMALL} --out run"));
    refused(&taper(at.path(), "predict run data/c00/00.png"), FAILED, &["is a learner", "taper adapt run"]);
    refused(&taper(at.path(), "predict nowhere data/c00/00.png"), FAILED, &["nowhere", "give a model directory"]);
    refused(&taper(at.path(), "adapt run data/c00 --out mine"), FAILED, &["no class folders", "class folders"]);
    assert!(!at.path().join("mine").exists());
    let weights = "--weights run/model/model.safetensors";
    let run = taper(at.path(), &format!("train data --backbone resnet18 {weights} --out other"));
    refused(&run, FAILED, &["model.safetensors"]);
    fs::write(at.path().join("run/model/model.safetensors"), "half").unwrap();
    refused(&taper(at.path(), "evaluate run data"), FAILED, &["model.safetensors"]);
    fs::write(at.path().join("junk.pth"), "half").unwrap();
    refused(&taper(at.path(), "inspect junk.pth"), FAILED, &["junk.pth"]);
}

#[test]
fn a_loss_that_is_no_number_stops_at_its_step_and_keeps_the_last_good_checkpoint() {
    let at = folder();
    drawings(20, 4, &at.path().join("data"));
    let options = SMALL.replace("--steps 3", "--steps 40 --save-every 1 --validate-every 50");
    let run = taper(at.path(), &format!("meta-train data {options} --method maml --meta-lr 1e30 --out run"));
    refused(&run, FAILED, &["maml", "at step", "--inner-lr", "the last good checkpoint is kept"]);
    assert!(at.path().join("run/checkpoint/maml.safetensors").is_file());
    assert!(!at.path().join("run/model").exists());
}
