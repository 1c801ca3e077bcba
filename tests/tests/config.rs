//! Options from files: every option is a key, options win, and a run records enough to be repeated.

use std::fs;
use taper_tests::drawings::Drawings;
use taper_tests::program::{root, taper, taper_ok};
use tempfile::TempDir;

const CONFIG: &str = r#"
command = "meta-train"
data = "data"
method = "protonet"
backbone = "conv4-4"
ways = 3
queries = 2
meta-batch-size = 1
steps = 3
"#;

fn folder() -> TempDir {
    let at = tempfile::tempdir().unwrap();
    Drawings { images: 4, ..Drawings::default() }.write(&at.path().join("data"));
    fs::write(at.path().join("recipe.toml"), CONFIG).unwrap();
    at
}

#[test]
fn a_file_gives_options_and_flags_win() {
    let at = folder();
    taper_ok(at.path(), "meta-train --config recipe.toml --steps 2 --out run");
    let written: String = fs::read_to_string(at.path().join("run/config.toml")).unwrap();
    for line in ["command = \"meta-train\"", "steps = 2", "ways = 3", "seed = 0", "backbone = \"conv4-4\""] {
        assert!(written.lines().any(|written| written == line), "no `{line}` in {written}");
    }
}

#[test]
fn what_a_run_wrote_down_runs_it_again() {
    let at = folder();
    taper_ok(at.path(), "meta-train --config recipe.toml --out first --seed 5");
    taper_ok(at.path(), "meta-train --config first/config.toml --out second");
    for file in ["config.toml", "model/model.safetensors"] {
        let read = |run: &str| fs::read(at.path().join(run).join(file)).unwrap();
        assert!(read("first") == read("second"), "{file} differs");
    }
}

#[test]
fn a_run_is_resumed_from_any_folder() {
    let at = folder();
    taper_ok(at.path(), "meta-train --config recipe.toml --out run");
    let elsewhere = tempfile::tempdir().unwrap();
    taper_ok(elsewhere.path(), &format!("meta-train --resume {}", at.path().join("run").display()));
}

#[test]
fn files_that_say_something_else_are_usage_errors() {
    let at = folder();
    let cases = [
        ("steps = 3\nstep = 4\n", "`taper meta-train` has no option `step`"),
        ("command = \"train\"\n", "use `taper train`"),
        ("steps = \n", "invalid TOML"),
        ("steps = \"many\"\n", "--steps"),
    ];
    for (text, words) in cases {
        fs::write(at.path().join("wrong.toml"), text).unwrap();
        let run = taper(at.path(), "meta-train --config wrong.toml --out run");
        assert_eq!(run.code, Some(2), "{run:?}");
        assert!(run.stderr.starts_with("error: ") && run.stderr.contains(words), "{run:?}");
        assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
    }
    let run = taper(at.path(), "meta-train --config nowhere.toml");
    assert!(run.code == Some(2) && run.stderr.contains("nowhere.toml"), "{run:?}");
    assert!(!at.path().join("run").exists());
}

#[test]
fn every_recipe_is_understood() {
    let at = tempfile::tempdir().unwrap();
    for recipe in fs::read_dir(root().join("data/configs")).unwrap() {
        let path = recipe.unwrap().path();
        let text: toml::Table = fs::read_to_string(&path).unwrap().parse().unwrap();
        let command = text["command"].as_str().unwrap();
        let data = if command == "survey" { "--datasets=nowhere" } else { "nowhere" };
        let refused = taper(at.path(), &format!("{command} {data} --config {}", path.display()));
        // all of it was understood: what fails is the data set that does not exist
        assert!(refused.stderr.contains("nowhere"), "{}: {}", path.display(), refused.stderr);
    }
}

#[test]
fn a_seed_of_two_to_the_63_or_more_can_be_resumed() {
    let at = folder();
    for seed in ["9223372036854775808", "18446744073709551615"] {
        taper_ok(at.path(), &format!("meta-train --config recipe.toml --seed {seed} --out run-{seed}"));
        let written = fs::read_to_string(at.path().join(format!("run-{seed}/config.toml"))).unwrap();
        assert!(written.contains(seed), "{written}");
        taper_ok(at.path(), &format!("meta-train --resume run-{seed}"));
    }
}

#[test]
fn every_path_of_a_run_is_resolved_against_the_folder_it_began_in() {
    let at = folder();
    Drawings { images: 4, side: 20, ..Drawings::default() }.write(&at.path().join("more"));
    let classes =
        |part: &str, from: usize, to: usize| (from..to).map(|n| format!("c{n:02},{part}\n")).collect::<String>();
    let split = [classes("train", 0, 10), classes("val", 10, 15), classes("test", 15, 20)].concat();
    fs::write(at.path().join("split.csv"), split).unwrap();
    taper_ok(at.path(), "meta-train --config recipe.toml --also more=0.5 --split split.csv --out run");
    let transform = "--validation 0.5 --transform resize(8)color";
    taper_ok(at.path(), &format!("train data --backbone cifar-resnet20 --epochs 1 {transform} --out base"));
    let weights = "--weights base/model/model.safetensors";
    taper_ok(at.path(), &format!("train data {weights} --epochs 1 --train head {transform} --cache none --out head"));
    let survey = "--labels 1 --heads nearest-mean";
    taper_ok(at.path(), &format!("survey --datasets data {weights} {survey} --out survey"));
    let small = "--methods protonet --backbone conv4-4 --ways 3 --queries 2 --images 100 --episodes 4";
    taper_ok(at.path(), &format!("compare data --meta-data more {small} --out compare"));

    let elsewhere = tempfile::tempdir().unwrap();
    for (command, run) in [("meta-train", "run"), ("train", "head"), ("survey", "survey"), ("compare", "compare")] {
        let run = at.path().join(run);
        let text: toml::Table = fs::read_to_string(run.join("config.toml")).unwrap().parse().unwrap();
        let read = ["data", "also", "split", "weights", "datasets", "meta-data"];
        for (key, value) in text.iter().filter(|(key, _)| read.contains(&key.as_str())) {
            let words = value.as_array().map_or_else(|| vec![value], |all| all.iter().collect());
            for word in words {
                let path = word.as_str().unwrap();
                assert!(
                    fs::exists(path.split('=').next().unwrap()).unwrap() && path.starts_with('/'),
                    "{key} = {path}"
                );
            }
        }
        // a checkpoint less, so that there is something to do and data to read
        taper_ok(elsewhere.path(), &format!("{command} --resume {}", run.display()));
    }
}
