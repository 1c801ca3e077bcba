//! Jobs divided into parts: what `taper merge` makes of them is what one process gives.

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use taper_tests::drawings::Drawings;
use taper_tests::program::{arguments, command, taper, taper_ok};
use tempfile::TempDir;

/// A result without its times, which are measured.
fn timeless(mut value: Value) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.retain(|name, _| name != "seconds" && !name.ends_with("_seconds"));
                fields.values_mut().for_each(strip);
            }
            Value::Array(all) => all.iter_mut().for_each(strip),
            _ => {}
        }
    }
    strip(&mut value);
    value
}

/// Lines without numbers in seconds, minutes or milliseconds.
fn without_times(text: &str) -> Vec<String> {
    let timed = |word: &str| ["ms", "s", "min"].contains(&word.trim_end_matches([',', '.']));
    text.lines()
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let kept = (0..words.len()).filter(|&at| {
                let before_a_unit =
                    words.get(at + 1).is_some_and(|next| timed(next)) && words[at].parse::<f64>().is_ok();
                !timed(words[at]) && !before_a_unit
            });
            kept.map(|at| words[at]).collect::<Vec<_>>().join(" ")
        })
        .collect()
}

/// A learner of line drawings, in a folder.
fn learner() -> TempDir {
    let at = tempfile::tempdir().unwrap();
    taper_ok(at.path(), "meta-train --glyphs 2 --backbone conv4-4 --steps 2 --train-on-all --out learner");
    at
}

/// Makes the parts of a command by `--out part1` and so on, the last one first.
fn make_parts(folder: &Path, line: &str, parts: usize) -> String {
    for part in (1..=parts).rev() {
        taper_ok(folder, &format!("{line} --shard {part}/{parts} --out part{part}"));
    }
    (1..=parts).rev().map(|part| format!(" part{part}")).collect()
}

#[test]
fn tasks_scored_in_parts_give_the_result_of_one_process() {
    let at = learner();
    let line = "evaluate learner --episodes 11 --trained-classes --seed 3";
    let parts = make_parts(at.path(), line, 3);
    let whole = taper_ok(at.path(), &format!("{line} --json")).result();
    let merged = taper_ok(at.path(), &format!("merge{parts} --json")).result();
    assert_eq!(timeless(merged), timeless(whole));
    let whole = taper_ok(at.path(), line).stdout;
    let merged = taper_ok(at.path(), &format!("merge{parts}")).stdout;
    assert_eq!(without_times(&merged), without_times(&whole));

    let refused = |line: &str| {
        let run = taper(at.path(), line);
        assert!(run.code != Some(0) && run.stdout.is_empty(), "{run:?}");
        run.stderr.lines().last().unwrap().to_string()
    };
    assert_eq!(refused("merge part1 part3"), "error: parts are missing: make them with --shard 2/3");
    assert!(refused("merge part1 part2 part2 part3").ends_with("are both part 2 of 3: give one of them"));
    taper_ok(at.path(), "evaluate learner --episodes 11 --trained-classes --shard 2/3 --out foreign");
    let foreign = refused("merge part1 foreign part3");
    assert!(foreign.starts_with("error: foreign: differs from "), "{foreign}");
    assert!(refused(&format!("{line} --shard 1/3 --out part1")).contains("part1: exists already"));
    assert!(refused(&format!("{line} --shard 1/12 --out none")).contains("there are only 11 tasks to divide"));
    assert!(refused(&format!("{line} --shard 4/3 --out none")).contains("such as 3/8"));
    assert!(!at.path().join("none").exists());
}

#[test]
fn a_classifier_s_images_scored_in_parts_give_the_result_of_one_process() {
    let at = tempfile::tempdir().unwrap();
    Drawings { classes: 3, images: 8, ..Drawings::default() }.write(&at.path().join("data"));
    taper_ok(at.path(), "train data --backbone conv4-4 --transform gray;resize(16x16) --epochs 2 --out base");
    let line = "evaluate base data --trained-images";
    let parts = make_parts(at.path(), line, 4);
    let whole = taper_ok(at.path(), &format!("{line} --json")).result();
    let merged = taper_ok(at.path(), &format!("merge{parts} --json")).result();
    assert_eq!(timeless(merged), timeless(whole));
}

#[test]
fn processes_that_extract_features_at_once_fill_one_cache() {
    let at = tempfile::tempdir().unwrap();
    Drawings { classes: 3, images: 20, ..Drawings::default() }.write(&at.path().join("data"));
    taper_ok(at.path(), "train data --backbone conv4-4 --transform gray;resize(16x16) --epochs 1 --out base");
    let line = "features data --weights base/model/model.safetensors --transform gray;resize(16x16)";
    taper_ok(at.path(), &format!("{line} --cache none --out alone.npz"));
    let start = |part| {
        let line = format!("{line} --cache shared --shard {part}/4 --json");
        command(at.path(), arguments(&line)).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
    };
    let running: Vec<_> = (1..=4).map(start).collect();
    for one in running {
        let output = one.wait_with_output().unwrap();
        let result: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(result["images"], 15, "{result}");
    }
    let file = fs::read_dir(at.path().join("shared")).unwrap().next().unwrap().unwrap().path();
    let filled = fs::read(&file).unwrap();
    taper_ok(at.path(), &format!("{line} --cache shared --out merged.npz"));
    assert_eq!(fs::read(&file).unwrap(), filled, "every image was in the cache, once");
    let read = |name: &str| fs::read(at.path().join(name)).unwrap();
    assert!(read("merged.npz") == read("alone.npz"));
}

#[test]
fn several_processes_need_a_build_that_shares_the_job_or_parts_of_their_own() {
    let at = tempfile::tempdir().unwrap();
    let launched = |line: &str, variables: &[(&str, &str)]| {
        let run = command(at.path(), arguments(line)).envs(variables.iter().copied()).output().unwrap();
        (run.status.code(), String::from_utf8(run.stderr).unwrap())
    };
    let four = [("OMPI_COMM_WORLD_SIZE", "4"), ("OMPI_COMM_WORLD_RANK", "0")];
    let (code, error) = launched("meta-train --glyphs 2", &four);
    let expected = "error: 4 processes were started, but this build would do everything in each of them: build with \
        --features mpi, give each process its --shard, or start one process\n";
    assert_eq!((code, error.as_str()), (Some(2), expected));
    let (code, error) = launched("train data", &[("SLURM_STEP_NUM_TASKS", "2"), ("SLURM_PROCID", "0")]);
    assert_eq!(code, Some(2));
    assert!(error.starts_with("error: `taper train` runs in one process, and 2 were started"), "{error}");
    // one process in an allocation of many, and parts
    assert_eq!(launched("cache", &[("SLURM_NTASKS", "8"), ("SLURM_STEP_NUM_TASKS", "1")]).0, Some(0));
    let (_, error) = launched("evaluate none --shard 1/4 --out part", &four);
    assert!(!error.contains("processes"), "{error}");
}

#[test]
fn a_survey_s_cells_scored_in_parts_give_the_table_of_one_process() {
    let at = tempfile::tempdir().unwrap();
    Drawings { classes: 3, images: 8, ..Drawings::default() }.write(&at.path().join("data"));
    taper_ok(at.path(), "train data --backbone conv4-4 --transform gray;resize(16x16) --epochs 1 --out base");
    let line = "survey --datasets data --weights base/model/model.safetensors --transform gray;resize(16x16) \
                --labels 1,2 --heads ridge,lda,nearest-mean --fine-tune scratch";
    let parts = make_parts(at.path(), line, 3);
    let whole = taper_ok(at.path(), &format!("{line} --json")).result();
    let merged = taper_ok(at.path(), &format!("merge{parts} --json")).result();
    assert_eq!(whole["methods"].as_array().unwrap().len(), 8);
    assert_eq!(timeless(merged), timeless(whole));
}

#[test]
fn a_comparison_s_methods_trained_in_parts_give_the_table_and_model_of_one_process() {
    let at = tempfile::tempdir().unwrap();
    Drawings { classes: 24, groups: 4, ..Drawings::default() }.write(&at.path().join("data"));
    let line = "compare data --backbone conv4-4 --ways 3 --queries 2 --episodes 12 --images 200 --batch-size 16 \
                --meta-batch-size 2 --tune-steps 3 --inner-steps 1 --adapt-steps 2 --repeats 2 \
                --methods pixels,nearest-mean,linear-probe,protonet,maml";
    let parts = make_parts(at.path(), line, 3);
    let whole = taper_ok(at.path(), &format!("{line} --out whole --json")).result();
    let merged = taper_ok(at.path(), &format!("merge{parts} --out kept --json")).result();
    let place_apart = |mut result: Value| {
        result.as_object_mut().unwrap().remove("out");
        timeless(result)
    };
    assert_eq!(place_apart(merged), place_apart(whole));
    for file in ["model.safetensors", "config.json"] {
        let read = |folder: &str| fs::read(at.path().join(folder).join(file)).unwrap();
        assert!(read("kept") == read("whole/model"), "{file}");
    }
    // a killed part goes on with its own part
    let resumed = taper_ok(at.path(), "compare --resume part2").stdout;
    assert!(resumed.starts_with("part 2/3 "), "{resumed}");
    let refused = taper(at.path(), &format!("{line} --shard 1/3"));
    assert!(refused.stderr.ends_with("error: --shard needs a place for its part: give --out\n"), "{refused:?}");
}
