//! `compare`: the table, the verdict, the model it keeps, on data of every kind.

use std::path::Path;
use taper_tests::drawings::Drawings;
use taper_tests::program::{taper, taper_ok};
use tempfile::TempDir;

/// Options of a comparison that takes a second or two.
const SMALL: &str = "--backbone conv4-4 --ways 3 --queries 2 --episodes 12 --images 400 --batch-size 16 \
                     --meta-batch-size 2 --tune-steps 3 --inner-steps 1 --adapt-steps 2";

fn folder(drawings: Drawings) -> TempDir {
    let at = tempfile::tempdir().unwrap();
    drawings.write(&at.path().join("data"));
    at
}

/// The rows of the table in `stdout`, split into cells.
fn rows(stdout: &str) -> Vec<Vec<String>> {
    let lines = stdout.lines().skip_while(|line| !line.starts_with("---")).skip(1);
    let cells = |line: &str| {
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(String::from).collect::<Vec<_>>()
    };
    lines.take_while(|line| !line.is_empty()).map(cells).collect()
}

#[test]
fn every_kind_of_learning_is_one_row_and_the_best_is_kept() {
    let at = folder(Drawings { classes: 24, groups: 4, ..Drawings::default() });
    let run = taper_ok(at.path(), &format!("compare data {SMALL} --out run"));
    assert!(run.stdout.contains("training classes"), "{}", run.stdout);
    assert!(run.stdout.contains("12 test tasks of 3-way 1-shot"), "{}", run.stdout);
    let header = run.stdout.lines().find(|line| line.starts_with("method")).unwrap();
    for column in ["kind", "accuracy %", "vs. best", "training", "adapting", "labels/class", "trained on"] {
        assert!(header.contains(column), "{header}");
    }
    let rows = rows(&run.stdout);
    let kinds: Vec<&str> = rows.iter().map(|row| row[1].as_str()).collect();
    assert_eq!(kinds, ["floor", "scratch", "transfer", "transfer", "transfer", "transfer", "meta", "meta", "meta"]);
    assert_eq!(rows.iter().filter(|row| row[3] == "0 (best)").count(), 1, "{}", run.stdout);
    assert!(run.stdout.contains("kind of learning"), "{}", run.stdout);

    taper_ok(at.path(), "adapt run data/g0 --out mine");
    let predicted = taper_ok(at.path(), "predict mine data/g0/c00/00.png").stdout;
    assert!(predicted.contains("data/g0/c00/00.png"), "{predicted}");
}

#[test]
fn a_resumed_comparison_trains_nothing_again_and_says_the_same() {
    let at = folder(Drawings::default());
    let line = format!("compare data {SMALL} --methods pixels,fine-tune,protonet");
    let first = taper_ok(at.path(), &format!("{line} --out run --json")).result();
    let again = taper_ok(at.path(), "compare --resume run --json");
    assert!(!again.stdout.contains("\"step\""), "{}", again.stdout);
    let accuracies = |result: &serde_json::Value| -> Vec<serde_json::Value> {
        result["methods"].as_array().unwrap().iter().map(|method| method["accuracy"].clone()).collect()
    };
    assert_eq!(accuracies(&first).len(), 3);
    assert_eq!(accuracies(&first), accuracies(&again.result()));
}

#[test]
fn with_too_few_classes_to_split_methods_train_on_other_data() {
    let at = folder(Drawings { classes: 4, ..Drawings::default() });
    Drawings { classes: 8, groups: 2, ..Drawings::default() }.write(&at.path().join("others"));
    let run = taper_ok(at.path(), &format!("compare data {SMALL} --methods pixels,scratch,maml --meta-data others"));
    let said = "data has 4 classes, too few to split: methods train on others and are tested on data";
    assert!(run.stdout.contains(said), "{}", run.stdout);
    let on: Vec<String> = rows(&run.stdout).into_iter().filter_map(|mut row| row.pop()).collect();
    assert_eq!(on, ["nothing", "the support set", "others"]);
}

#[test]
fn weights_from_elsewhere_are_rows_of_their_own() {
    let at = folder(Drawings::default());
    taper_ok(at.path(), "train data --backbone conv4-4 --epochs 1 --out trained");
    let weights = "--weights trained/model/model.safetensors";
    let run = taper_ok(at.path(), &format!("compare data {SMALL} --methods nearest-mean {weights}"));
    let rows = rows(&run.stdout);
    assert_eq!(rows.len(), 2, "{}", run.stdout);
    assert!(rows[1][0].starts_with("conv4-4, "), "{}", run.stdout);
    assert_eq!(rows[1].last().unwrap(), "model.safetensors");
}

#[test]
fn photographs_of_few_classes_are_compared_and_the_training_data_is_named() {
    let Some(shared) = taper_tests::program::shared_data() else {
        println!("skipped, no ../shared/data");
        return;
    };
    let at = tempfile::tempdir().unwrap();
    for name in ["sign-digits", "trashnet"] {
        let data = shared.join(name);
        let small = SMALL.replace("--episodes 12", "--episodes 4").replace("--images 400", "--images 60");
        let line = format!("compare {} {small} --image-size 32 --methods pixels,protonet", path(&data));
        let run = taper(at.path(), &line);
        assert_eq!(run.code, Some(0), "{run:?}");
        for words in [&format!("{name} has"), "train on glyphs", "are tested on", "beat"] {
            assert!(run.stdout.contains(words), "{}", run.stdout);
        }
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
