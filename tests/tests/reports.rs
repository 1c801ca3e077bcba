//! A run's report, a look at its training, its event files, and what the program prints for shells and manuals.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use serde_json::Value;
use std::fs;
use std::path::Path;
use taper_tests::drawings::Drawings;
use taper_tests::program::{taper, taper_ok};

const META_TRAIN: &str = "meta-train data --ways 3 --queries 2 --backbone conv4-4 --steps 6 --meta-batch-size 1 --validate-every 2 --tensorboard";

fn folder() -> tempfile::TempDir {
    let at = tempfile::tempdir().unwrap();
    Drawings::default().write(&at.path().join("data"));
    at
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn a_comparison_ends_with_a_report_that_has_its_verdict_and_its_figures() {
    let at = folder();
    let line = "compare data --ways 3 --queries 2 --backbone conv4-4 --episodes 6 --images 100 --tune-steps 2 --out run --json";
    let result = taper_ok(at.path(), line).result();
    let page = text(&at.path().join("run/report.html"));
    let first = result["verdict"].as_str().unwrap().split(" (").next().unwrap();
    assert!(page.contains(first), "{first}");
    for method in result["methods"].as_array().unwrap() {
        let accuracy = format!("{:.1}", method["accuracy"].as_f64().unwrap() * 100.0);
        assert!(page.contains(method["name"].as_str().unwrap()) && page.contains(&accuracy), "{method}");
    }
    assert!(page.contains("config.toml --out AGAIN") && !page.contains("<script"));
    // the page comes again from what the run keeps, without the data
    fs::remove_dir_all(at.path().join("data")).unwrap();
    taper_ok(at.path(), "report run --out page.html");
    assert_eq!(text(&at.path().join("page.html")), page);
}

#[test]
fn a_classifier_s_report_has_pictures_and_names_of_classes_never_become_markup() {
    let at = folder();
    let hostile = "<img src=x onerror=alert(1)>\u{202e}";
    fs::rename(at.path().join("data/c00"), at.path().join("data").join(hostile)).unwrap();
    taper_ok(at.path(), "train data --backbone conv4-4 --epochs 1 --out run");
    let page = text(&at.path().join("run/report.html"));
    assert!(page.contains("data:image/jpeg;base64,") && page.contains("taken for"));
    assert!(page.contains("onerror=alert(1)&#62;") || page.contains("onerror=alert(1)&gt;"));
    assert!(!page.contains("<img src=x") && !page.contains('\u{202e}'));
    let report: Value = serde_json::from_str(&text(&at.path().join("run/report.json"))).unwrap();
    let figures: Vec<&str> =
        report["sections"].as_array().unwrap().iter().map(|one| one["figure"]["figure"].as_str().unwrap()).collect();
    for figure in ["confusion", "worst-errors", "calibration", "map", "table", "training"] {
        assert!(figures.contains(&figure), "{figures:?}");
    }
    // an evaluation never replaces the classifier, and one that fails leaves no directory in the way of the next
    let over = taper(at.path(), "evaluate run data --trained-images --out run --force");
    assert!(over.code == Some(2) && over.stderr.contains("holds the model"), "{over:?}");
    assert!(at.path().join("run/model").exists());
    fs::create_dir_all(at.path().join("empty/c01")).unwrap();
    assert_eq!(taper(at.path(), "evaluate run empty --out failed").code, Some(1));
    assert!(!at.path().join("failed").exists());
    // nor is a classifier changed that a run may replace
    let held = taper_learn::RunDirectory::open(&at.path().join("run")).unwrap();
    let refused = taper(at.path(), "adapt run --rename c01=other");
    assert!(refused.code == Some(1) && refused.stderr.contains("may replace this classifier"), "{refused:?}");
    drop(held);
    // an evaluation of the classifier shows its answers too
    taper_ok(at.path(), "evaluate run data --trained-images --out scored");
    let report: Value = serde_json::from_str(&text(&at.path().join("scored/report.json"))).unwrap();
    let figures: Vec<&str> =
        report["sections"].as_array().unwrap().iter().map(|one| one["figure"]["figure"].as_str().unwrap()).collect();
    for figure in ["accuracies", "confusion", "calibration", "map"] {
        assert!(figures.contains(&figure), "{figures:?}");
    }
}

#[test]
fn force_removes_the_report_and_the_event_files_of_the_run_before_and_nothing_else() {
    let at = folder();
    taper_ok(at.path(), &format!("{META_TRAIN} --out run"));
    let run = at.path().join("run");
    assert!(run.join("report.html").exists() && run.join("report.json").exists());
    let events: Vec<_> = fs::read_dir(run.join("tensorboard")).unwrap().collect();
    assert_eq!(events.len(), 1);
    fs::write(run.join("notes.txt"), "mine").unwrap();
    // a run that fails after it began leaves no report of another
    let interrupted = taper(
        at.path(),
        "meta-train data --ways 3 --queries 2 --backbone conv4-4 --steps 6 --meta-lr 1e30 --out run --force",
    );
    assert_eq!(interrupted.code, Some(1), "{interrupted:?}");
    for gone in ["report.html", "report.json", "tensorboard"] {
        assert!(!run.join(gone).exists(), "{gone}");
    }
    assert_eq!(text(&run.join("notes.txt")), "mine");
}

#[test]
fn a_look_at_a_run_that_is_piped_is_one_table_and_a_report_never_replaces_another_file() {
    let at = folder();
    let trained = taper_ok(at.path(), &format!("{META_TRAIN} --out run"));
    assert!(!trained.stdout.contains('\u{1b}') && !trained.stderr.contains('\u{1b}'), "{trained:?}");
    let look = taper_ok(at.path(), "watch run");
    assert!(look.stdout.starts_with("run: finished\n") && look.stdout.contains("done"), "{look:?}");
    let result = taper_ok(at.path(), "watch run --json").result();
    assert_eq!((&result["stages"][0]["step"], &result["stages"][0]["finished"]), (&6.into(), &true.into()), "{result}");
    // an evaluation can be saved too, and repeated from what it saved
    let tasks = "--ways 3 --queries 2 --episodes 5";
    let scored =
        taper_ok(at.path(), &format!("evaluate run data {tasks} --trained-classes --out scored --json")).result();
    let percent = format!("{:.1}%", scored["methods"][0]["accuracy"].as_f64().unwrap() * 100.0);
    assert!(text(&at.path().join("scored/report.html")).contains(&percent), "{scored}");
    let again = taper_ok(at.path(), "evaluate --config scored/config.toml --json").result();
    assert_eq!(again["methods"][0]["accuracy"], scored["methods"][0]["accuracy"]);
    let refused = taper(at.path(), &format!("evaluate run data {tasks} --trained-classes --out scored"));
    assert!(refused.code == Some(1) && refused.stderr.contains("--force"), "{refused:?}");
    // without its report, a run shows its training
    fs::remove_file(at.path().join("run/report.json")).unwrap();
    taper_ok(at.path(), "report run --out page.html");
    assert!(text(&at.path().join("page.html")).contains("There is no result yet"));
    assert!(taper_ok(at.path(), "watch run").stdout.starts_with("run: stopped\n"));
    // a run that another process writes to keeps its directory to itself
    let held = taper_learn::RunDirectory::open(&at.path().join("run")).unwrap();
    assert!(taper_ok(at.path(), "watch run").stdout.starts_with("run: running\n"));
    let in_use = taper(at.path(), "report run");
    assert!(in_use.code == Some(1) && in_use.stderr.starts_with("error: run: is in use by process "), "{in_use:?}");
    assert!(in_use.stderr.ends_with("give --out FILE to write its report so far elsewhere\n"), "{in_use:?}");
    taper_ok(at.path(), "report run --out page.html");
    drop(held);
    fs::write(at.path().join("page.html"), "mine").unwrap();
    let refused = taper(at.path(), "report run --out page.html");
    assert_eq!((refused.code, text(&at.path().join("page.html")).as_str()), (Some(1), "mine"));
    assert_eq!(refused.stderr, "error: page.html: exists but is not a report: choose another file\n");
    for line in ["watch data", "report data"] {
        let error = taper(at.path(), line);
        assert!(error.code == Some(1) && error.stderr.contains("is not a Taper run directory"), "{error:?}");
    }
    for line in ["train data --search --tensorboard --out search", "train data --find-lr --tensorboard"] {
        let nothing = taper(at.path(), line);
        assert!(nothing.code == Some(2) && nothing.stderr.contains("--tensorboard"), "{nothing:?}");
        assert!(!at.path().join("search").exists());
    }
    let alone = taper(at.path(), META_TRAIN);
    assert!(alone.code == Some(2) && alone.stderr.contains("add --out"), "{alone:?}");
}

#[test]
fn completions_and_man_pages_know_every_command() {
    let at = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let script = taper_ok(at.path(), &format!("completions {shell}")).stdout;
        assert!(["compare", "meta-train", "watch", "episodes"].iter().all(|word| script.contains(word)), "{shell}");
    }
    taper_ok(at.path(), "man pages");
    let page = text(&at.path().join("pages/taper-compare.1"));
    assert!(page.contains("taper compare") && page.contains("\\-\\-episodes"));
    assert!(text(&at.path().join("pages/taper.1")).contains("compare"));
}

#[test]
fn reports_and_manual_pages_replace_only_their_own_kind() {
    let at = folder();
    taper_ok(at.path(), &format!("{META_TRAIN} --out run"));
    let quoting = r#"notes on <meta name="generator" content="Taper">"#;
    fs::write(at.path().join("notes.md"), quoting).unwrap();
    let refused = taper(at.path(), "report run --out notes.md");
    assert!(refused.code != Some(0) && refused.stderr.contains("not a report"), "{refused:?}");
    assert_eq!(text(&at.path().join("notes.md")), quoting);
    let device = taper(at.path(), "report run --out /dev/full");
    assert!(device.stderr.contains("not a regular file"), "{device:?}");

    fs::create_dir(at.path().join("pages")).unwrap();
    fs::write(at.path().join("pages/taper-train.1"), "mine").unwrap();
    let refused = taper(at.path(), "man pages");
    assert!(refused.code != Some(0) && refused.stderr.contains("taper-train.1: exists"), "{refused:?}");
    assert_eq!(fs::read_dir(at.path().join("pages")).unwrap().count(), 1, "nothing was written");
    taper_ok(at.path(), "man others");
    taper_ok(at.path(), "man others");
}
