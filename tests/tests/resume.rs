//! A run that was killed, or stopped, and resumed equals the unbroken one bit for bit.
#![cfg(unix)]

use rand::Rng as _;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use taper_tests::drawings::Drawings;
use taper_tests::program::{command, finished, taper_ok};

const STEPS: u64 = 60;

/// An exact MAML run that logs every step, saves every third and averages the last forty.
fn run_line(out: &str) -> String {
    format!(
        "meta-train data --method maml --backbone conv4-4 --ways 3 --queries 2 --meta-batch-size 2 --inner-steps 2 \
         --steps {STEPS} --average last:40 --save-every 3 --validate-every 20 --validation-episodes 4 --out {out}"
    )
}

fn folder() -> tempfile::TempDir {
    let at = tempfile::tempdir().unwrap();
    Drawings { classes: 20, images: 4, ..Drawings::default() }.write(&at.path().join("data"));
    at
}

fn start(at: &Path, line: &str) -> Child {
    let mut taper = command(at, line.split_whitespace());
    taper.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits until the run's log has `step`; `false` if the run ended before.
fn reached(at: &Path, step: u64, taper: &mut Child) -> bool {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let log = fs::read_to_string(at.join("run/metrics.jsonl")).unwrap_or_default();
        let steps = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        if steps.filter(|event| event["event"] == "step").any(|event| event["step"].as_u64() >= Some(step)) {
            return true;
        }
        if taper.try_wait().unwrap().is_some() {
            return false;
        }
        assert!(Instant::now() < deadline, "step {step} is never reached");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Everything that a run learned, as stored on disk.
fn learned(run: &Path) -> Vec<Vec<u8>> {
    let mut files: Vec<_> = fs::read_dir(run.join("checkpoint")).unwrap().map(|file| file.unwrap().path()).collect();
    let names: Vec<_> = files.iter().filter_map(|file| file.file_name()).collect();
    assert_eq!(names.len(), 1, "one stage leaves one checkpoint: {names:?}");
    files.sort();
    files.push(run.join("model/model.safetensors"));
    files.into_iter().map(|file| fs::read(file).unwrap()).collect()
}

#[test]
fn a_run_killed_at_ten_random_moments_and_resumed_equals_the_unbroken_one() {
    let at = folder();
    taper_ok(at.path(), &run_line("unbroken"));
    let mut rng = taper_ops::rng(rand_seed(), "moments", 0);
    let mut moments: Vec<u64> = (0..10).map(|_| rng.random_range(1..STEPS)).collect();
    moments.sort_unstable();
    let mut line = run_line("run");
    for &moment in &moments {
        let mut taper = start(at.path(), &line);
        assert!(reached(at.path(), moment, &mut taper), "{moments:?}: ended before step {moment}");
        std::thread::sleep(Duration::from_micros(rng.random_range(0..5000)));
        taper.kill().unwrap();
        taper.wait().unwrap();
        line = "meta-train --resume run".into();
    }
    taper_ok(at.path(), &line);
    assert!(learned(&at.path().join("run")) == learned(&at.path().join("unbroken")), "killed after steps {moments:?}");
}

#[test]
fn gradual_unfreezing_killed_in_several_of_its_parts_and_resumed_equals_the_unbroken_run() {
    let at = folder();
    let seen = "--validation 0.5 --transform resize(8)color";
    taper_ok(at.path(), &format!("train data --backbone cifar-resnet20 --epochs 1 {seen} --out base"));
    let line = |out: &str| {
        format!(
            "train data --weights base/model/model.safetensors {seen} --train gradual --epochs 6 --batch-size 8 \
             --average ema:0.9 --out {out}"
        )
    };
    taper_ok(at.path(), &line("unbroken"));
    let mut next = line("run");
    // five steps per epoch
    for moment in [3, 6, 12, 18, 27] {
        let mut taper = start(at.path(), &next);
        assert!(reached(at.path(), moment, &mut taper), "ended before step {moment}");
        taper.kill().unwrap();
        taper.wait().unwrap();
        next = "train --resume run".into();
    }
    taper_ok(at.path(), &next);
    assert!(learned(&at.path().join("run")) == learned(&at.path().join("unbroken")));
}

/// Different times in every run of the test; a failure names its own.
fn rand_seed() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64
}

#[test]
fn a_run_killed_before_its_first_checkpoint_starts_over() {
    let at = folder();
    let mut taper = start(at.path(), &run_line("run"));
    while !at.path().join("run/config.toml").is_file() {
        std::thread::sleep(Duration::from_millis(1));
    }
    taper.kill().unwrap();
    taper.wait().unwrap();
    taper_ok(at.path(), "meta-train --resume run");
    assert!(at.path().join("run/model/config.json").is_file());
}

#[test]
fn ctrl_c_saves_and_says_how_to_resume() {
    let at = folder();
    taper_ok(at.path(), &run_line("unbroken"));
    let mut taper = start(at.path(), &run_line("run").replace("--save-every 3", "--save-every 1000"));
    assert!(reached(at.path(), 10, &mut taper));
    Command::new("kill").args(["-INT", &taper.id().to_string()]).status().unwrap();
    let stopped = finished(taper.wait_with_output().unwrap());
    assert_eq!(stopped.code, Some(130), "{stopped:?}");
    let last = stopped.stderr.lines().last().unwrap();
    assert!(last.starts_with("error: stopped after step") && last.ends_with("resume with --resume run"), "{last}");
    let resumed = taper_ok(at.path(), "meta-train --resume run");
    assert!(resumed.stderr.contains("maml: resuming after step"), "{resumed:?}");
    let model = |run: &str| fs::read(at.path().join(run).join("model/model.safetensors")).unwrap();
    assert!(model("run") == model("unbroken"));
}

#[test]
fn a_finished_run_resumed_changes_nothing_and_reports_again() {
    let at = folder();
    let first = taper_ok(at.path(), &run_line("run"));
    let before = learned(&at.path().join("run"));
    let again = taper_ok(at.path(), "meta-train --resume run");
    assert!(learned(&at.path().join("run")) == before);
    assert_eq!(first.stdout, again.stdout);
}

#[test]
fn one_thread_and_two_learn_the_same_bits() {
    let at = folder();
    let result = |threads: u64| {
        let line = format!("{} --threads {threads} --json", run_line(&format!("on-{threads}")));
        taper_ok(at.path(), &line).result()["methods"][0].clone()
    };
    let (one, two) = (result(1), result(2));
    assert_eq!((&one["accuracy"], &one["ci95"]), (&two["accuracy"], &two["ci95"]));
    assert!(learned(&at.path().join("on-1")) == learned(&at.path().join("on-2")));
}
