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
