//! `taper survey`: a table over data sets, networks and numbers of labels, filled one cell at a time.

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use taper_tests::drawings::Drawings;
use taper_tests::program::{arguments, command, taper, taper_ok};
use tempfile::TempDir;

const SURVEY: &str = "survey --datasets data --weights base/model/model.safetensors --colour-weights \
    base/model/model.safetensors --transform color;resize(16x16) --labels 1,all,50 --heads ridge,lda --fine-tune 1,all,scratch";

/// A folder of drawings, and weights made on it.
fn folder() -> TempDir {
    let at = tempfile::tempdir().unwrap();
    Drawings { classes: 3, images: 8, ..Drawings::default() }.write(&at.path().join("data"));
    let base = "train data --backbone cifar-resnet20 --transform color;resize(16x16) --epochs 1 --out base";
    taper_ok(at.path(), base);
    at
}

/// The cells of a run, without the times.
fn cells(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("cells.json")).unwrap_or("[]".into());
    let mut cells: Vec<Value> = serde_json::from_str(&text).unwrap();
    for cell in &mut cells {
        cell.as_object_mut().unwrap().retain(|name, _| !name.ends_with("_seconds"));
    }
    cells
}

#[test]
fn a_survey_fills_every_cell_and_goes_on_where_it_was_killed() {
    let at = folder();
    let unbroken = taper(at.path(), &format!("{SURVEY} --out unbroken"));
    assert_eq!(unbroken.code, Some(0), "{unbroken:?}");
    for way in ["ridge", "lda", "fine-tune from layer3", "fine-tune all", "from scratch"] {
        assert_eq!(unbroken.stdout.matches(&format!("\n{way} ")).count(), 1, "{way} {}", unbroken.stdout);
    }
    assert!(unbroken.stderr.contains("50 labels per class are skipped: a class has only"), "{}", unbroken.stderr);
    let whole = cells(&at.path().join("unbroken"));
    // drawings have no colors: the weights for color are not used
    assert_eq!(whole.len(), 5 * 2, "{whole:?}");

    let broken = at.path().join("broken");
    let mut line = format!("{SURVEY} --out broken");
    for filled in [1, 3, 7] {
        let start = command(at.path(), arguments(&line)).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut child = start.unwrap();
        let deadline = Instant::now() + Duration::from_secs(120);
        while cells(&broken).len() < filled && child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "{filled} cells are never filled");
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        line = "survey --resume broken".into();
    }
    let resumed = taper(at.path(), &line);
    assert_eq!(resumed.code, Some(0), "{resumed:?}");
    assert_eq!(cells(&broken), whole);
}

#[test]
fn weights_that_cannot_be_read_are_an_error_before_a_run_is_begun() {
    let at = folder();
    fs::write(at.path().join("torn.safetensors"), "torn").unwrap();
    let refused = taper(at.path(), &format!("{SURVEY} --weights torn.safetensors --out begun"));
    assert!(refused.code == Some(1) && refused.stderr.contains("torn.safetensors"), "{refused:?}");
    assert!(!at.path().join("begun").exists());
}

#[test]
fn a_stage_that_a_network_has_not_is_an_error_before_anything_is_trained() {
    let at = folder();
    let refused = taper(at.path(), &format!("{SURVEY} --fine-tune 9 --out begun"));
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(!at.path().join("begun").exists());
    assert!(
        refused.stderr.lines().last().unwrap().starts_with("error: --fine-tune 9: cifar-resnet20 has "),
        "{refused:?}"
    );
}
