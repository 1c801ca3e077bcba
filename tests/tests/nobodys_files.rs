//! The program among other people's files: nothing of theirs is lost, and one process works on a run.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use taper_tests::drawings::Drawings;
use taper_tests::program::{command, taper, taper_ok};

const SMALL: &str = "--method protonet --backbone conv4-4 --ways 3 --queries 2 --steps 3 --validation-episodes 4";

fn folder() -> tempfile::TempDir {
    let at = tempfile::tempdir().unwrap();
    Drawings { classes: 20, images: 4, ..Drawings::default() }.write(&at.path().join("data"));
    at
}

/// Writes a file with its folders.
fn plant(file: &Path, text: &str) {
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
}

#[test]
fn force_into_a_web_site_deletes_nothing() {
    let at = folder();
    let site = at.path().join("site");
    plant(&site.join("config.toml"), "baseURL = \"https://example.org\"\n");
    plant(&site.join("content/index.md"), "hello");
    let run = taper(at.path(), &format!("meta-train data {SMALL} --out site --force"));
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.stderr.contains("site: exists but is not a Taper run directory"), "{run:?}");
    assert_eq!(fs::read_to_string(site.join("content/index.md")).unwrap(), "hello");
    assert_eq!(fs::read_dir(&site).unwrap().count(), 2);
}

#[test]
fn force_replaces_a_run_and_leaves_notes_beside_it() {
    let at = folder();
    taper_ok(at.path(), &format!("meta-train data {SMALL} --out run"));
    plant(&at.path().join("run/notes.txt"), "mine");
    plant(&at.path().join("run/model/README.md"), "mine");
    taper_ok(at.path(), &format!("meta-train data {SMALL} --seed 1 --out run --force"));
    for note in ["run/notes.txt", "run/model/README.md"] {
        assert_eq!(fs::read_to_string(at.path().join(note)).unwrap(), "mine");
    }
    assert!(fs::read_to_string(at.path().join("run/config.toml")).unwrap().contains("seed = 1"));
}

#[test]
fn adapt_never_overwrites_a_config_json_of_something_else() {
    let at = folder();
    taper_ok(at.path(), &format!("meta-train data {SMALL} --out run"));
    let package = at.path().join("site/config.json");
    plant(&package, "{\"name\": \"site\"}");
    let run = taper(at.path(), "adapt run data --out site --force");
    assert!(run.code != Some(0) && run.stderr.contains("site: exists but"), "{run:?}");
    assert_eq!(fs::read_to_string(&package).unwrap(), "{\"name\": \"site\"}");
    assert_eq!(fs::read_dir(at.path().join("site")).unwrap().count(), 1);
}

#[cfg(unix)]
#[test]
fn force_writes_nothing_through_a_link_in_a_run() {
    let at = folder();
    taper_ok(at.path(), &format!("meta-train data {SMALL} --out run"));
    let package = at.path().join("site/config.json");
    plant(&package, "{\"name\": \"site\"}");
    fs::remove_dir_all(at.path().join("run/model")).unwrap();
    std::os::unix::fs::symlink(at.path().join("site"), at.path().join("run/model")).unwrap();
    let run = taper(at.path(), &format!("meta-train data {SMALL} --out run --force"));
    assert!(run.code != Some(0) && run.stderr.contains("is a link to a folder elsewhere"), "{run:?}");
    assert_eq!(fs::read_to_string(&package).unwrap(), "{\"name\": \"site\"}");
    assert_eq!(fs::read_dir(at.path().join("site")).unwrap().count(), 1);
}

/// A process that is killed when the value is dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn a_second_process_on_a_run_is_refused_in_one_line_and_inspect_is_not() {
    let at = folder();
    let line = format!("meta-train data {} --out run", SMALL.replace("--steps 3", "--steps 100000 --save-every 1"));
    let mut first = command(at.path(), line.split_whitespace());
    let mut first = Process(first.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let deadline = Instant::now() + Duration::from_secs(120);
    while !at.path().join("run/checkpoint/protonet.safetensors").exists() {
        assert!(Instant::now() < deadline && first.0.try_wait().unwrap().is_none(), "no checkpoint is ever written");
        std::thread::sleep(Duration::from_millis(5));
    }
    let holder = format!("run: is in use by process {} on ", first.0.id());
    for line in ["meta-train --resume run".to_string(), format!("meta-train data {SMALL} --out run --force")] {
        let second = taper(at.path(), &line);
        assert_eq!((second.code, second.stderr.lines().count()), (Some(1), 1), "{second:?}");
        assert!(second.stderr.contains(&holder), "{second:?}");
    }
    taper_ok(at.path(), "inspect run");
    drop(first);
    let third = taper_ok(at.path(), &format!("meta-train data {SMALL} --out run --force"));
    assert!(!third.stderr.contains("in use"), "{third:?}");
}

#[test]
fn training_goes_on_without_a_cache_that_cannot_be_written() {
    let at = folder();
    let seen = "--validation 0.5 --transform resize(8)color";
    taper_ok(at.path(), &format!("train data --backbone cifar-resnet20 --epochs 1 {seen} --out base"));
    plant(&at.path().join("file"), "");
    let line = format!("train data --weights base/model/model.safetensors {seen} --train head --epochs 1");
    let with = taper_ok(at.path(), &format!("{line} --cache file/cache"));
    assert_eq!(with.stdout, taper_ok(at.path(), &format!("{line} --cache none")).stdout);
}
