//! Runs and models on disk: nobody's files are lost, and nothing is torn.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use candle_core::{Device, Tensor};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use taper_learn::{
    LearnError, Model, Progress, RunDirectory,
    models::Origin,
    provenance::Provenance,
    runs::{Existing, RunRecord},
    training::OptimizerState,
};
use taper_models::{Architecture, Head, Network, Params, State};

/// Files by path, relative to `folder`.
fn tree(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                open.push(entry);
            } else {
                let name = entry.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
                found.insert(name, String::from_utf8_lossy(&fs::read(&entry).unwrap()).into_owned());
            }
        }
    }
    found
}

/// Writes files by path, relative to `folder`.
fn plant(folder: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        fs::create_dir_all(folder.join(name).parent().unwrap()).unwrap();
        fs::write(folder.join(name), text).unwrap();
    }
}

/// Progress of one parameter.
fn progress(value: f32) -> Progress {
    let weight = Tensor::full(value, 100, &Device::Cpu).unwrap();
    let params: Params = [("w".to_string(), weight)].into_iter().collect();
    let moments = OptimizerState { step: 1, first: params.clone(), second: params.clone() };
    Progress { moments, step: 1, ..Progress::new(State { params, ..State::default() }) }
}

/// A model whose words and weights all say `version`.
fn model(version: usize) -> Model {
    let backbone = "conv4-8".parse::<Architecture>().unwrap().backbone((1, 16, 16)).unwrap();
    let network = Network::new(backbone, Head::Linear { outputs: 2 });
    let mut state = network.init(0).unwrap();
    state.params = state.params.map(|weight| weight.ones_like()? * version as f64).unwrap();
    let origin = Origin {
        method: version.to_string(),
        on: "nothing".into(),
        classes: vec![],
        settings: taper_learn::methods::SettingValues::new(),
        norm: "stored".into(),
        revised: false,
    };
    let labels = ["a", "b"].map(String::from).to_vec();
    Model {
        network,
        state,
        labels,
        transform: String::new(),
        provenance: Provenance::unrecorded(&origin),
        origin,
        support: None,
    }
}

/// The version of a model, all of whose parts agree.
fn version(model: &Model) -> usize {
    let version: usize = model.origin.method.parse().unwrap();
    for (name, weight) in model.state.params.iter() {
        let values = weight.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(values.iter().all(|&value| value == version as f32), "{name} is of another model than config.json");
    }
    version
}

const SITE: &str = "baseURL = \"https://example.org\"\ntitle = \"mine\"\ncommand = \"hugo\"\n";
const EARLIER: &str = "command = \"meta-train\"\nmethod = \"maml\"\nmeta-lr = 0.001\nseed = 0\n";

#[test]
fn a_web_site_s_config_is_not_a_run_and_is_never_replaced() {
    let table = "command = \"train\"\nseed = 1\n[params]\nx = 1\n";
    for config in [SITE, "", "command = \"train\"\n", table, "not TOML ["] {
        let folder = tempfile::tempdir().unwrap();
        plant(folder.path(), &[("config.toml", config), ("content/index.md", "hello"), ("metrics.jsonl", "{}")]);
        let before = tree(folder.path());
        for existing in [Existing::Refuse, Existing::Replace] {
            let error = RunDirectory::create(folder.path(), "seed = 1\n", existing).unwrap_err().to_string();
            assert!(error.contains("is not a Taper run directory: choose another"), "{error}");
        }
        assert!(RunDirectory::open(folder.path()).is_err() && RunRecord::open(folder.path()).is_err());
        assert!(!RunRecord::is_run(folder.path()));
        assert_eq!(tree(folder.path()), before, "nothing is added either");
    }
}

#[test]
fn replacing_a_run_removes_what_taper_made_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let run = RunDirectory::create(&path, "seed = 1\n", Existing::Refuse).unwrap();
    run.save("maml", &progress(1.0)).unwrap();
    run.log(&serde_json::json!({"event": "step"})).unwrap();
    fs::write(run.file("tried.json").unwrap(), "[]").unwrap();
    fs::write(run.file("events.out.tfevents.1").unwrap(), "events").unwrap();
    model(1).save(&run.model_path()).unwrap();
    drop(run);
    let mine = [
        ("notes.txt", "mine"),
        ("checkpoint/mine.safetensors", "mine"),
        ("model/README.md", "mine"),
        ("plots/loss.svg", "mine"),
        (".notes.txt.AbC123.unfinished", "mine"),
    ];
    plant(&path, &mine);
    let error = RunDirectory::create(&path, "seed = 2\n", Existing::Refuse).unwrap_err();
    assert!(matches!(error, LearnError::Exists { what: "run", .. }), "{error}");
    let run = RunDirectory::create(&path, "seed = 2\n", Existing::Replace).unwrap();
    assert!(run.load("maml").unwrap().is_none());
    let mut left = tree(&path);
    for own in ["config.toml", "taper-run.json", ".taper-lock"] {
        assert!(left.remove(own).is_some(), "{own}");
    }
    assert_eq!(left, BTreeMap::from(mine.map(|(name, text)| (name.to_string(), text.to_string()))));
    // a name that the user has taken is not the run's
    assert!(run.file("notes.txt").unwrap_err().to_string().contains("was not written by this run"));
}

#[test]
fn a_run_of_an_earlier_version_is_recognized_and_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let run = RunDirectory::create(&path, EARLIER, Existing::Refuse).unwrap();
    run.save("maml", &progress(1.0)).unwrap();
    drop(run);
    fs::remove_file(path.join("taper-run.json")).unwrap();
    plant(&path, &[("checkpoint/mine.safetensors", "mine"), ("notes.txt", "mine")]);
    assert!(RunRecord::is_run(&path));
    let run = RunDirectory::open(&path).unwrap();
    assert_eq!(run.load("maml").unwrap().unwrap().step, 1);
    drop(run);
    fs::remove_file(path.join("taper-run.json")).unwrap();
    drop(RunDirectory::create(&path, EARLIER, Existing::Replace).unwrap());
    assert!(!path.join("checkpoint/maml.safetensors").exists());
    assert!(path.join("checkpoint/mine.safetensors").exists() && path.join("notes.txt").exists());
}

#[test]
fn a_manifest_that_lists_files_outside_its_directory_removes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    drop(RunDirectory::create(&path, "seed = 1\n", Existing::Refuse).unwrap());
    plant(folder.path(), &[("letter.txt", "dear")]);
    let absolute = folder.path().join("letter.txt").display().to_string();
    for outside in ["../letter.txt", "checkpoint/../../letter.txt", absolute.as_str(), ""] {
        let manifest = serde_json::json!({"taper_run": 1, "version": "0.1.0", "files": ["config.toml", outside]});
        fs::write(path.join("taper-run.json"), manifest.to_string()).unwrap();
        assert!(RunDirectory::create(&path, "seed = 2\n", Existing::Replace).is_err(), "{outside}");
    }
    assert!(folder.path().join("letter.txt").exists() && path.join("config.toml").exists());
}

#[test]
fn a_directory_of_something_else_is_never_overwritten_by_a_model() {
    let node = r#"{"name": "site", "model_type": 7}"#;
    let transformers = r#"{"model_type": "resnet", "architectures": ["ResNetForImageClassification"]}"#;
    for config in [node, transformers, "not JSON {"] {
        let folder = tempfile::tempdir().unwrap();
        plant(folder.path(), &[("config.json", config), ("model.safetensors", "weights"), ("src/index.js", "x")]);
        let before = tree(folder.path());
        assert!(Model::check_target(folder.path(), Existing::Replace).is_err());
        let error = model(1).save(folder.path()).unwrap_err().to_string();
        assert!(error.contains("is not a Taper model directory"), "{error}");
        assert_eq!(tree(folder.path()), before);
    }
    let folder = tempfile::tempdir().unwrap();
    model(1).save(folder.path()).unwrap();
    assert!(matches!(Model::check_target(folder.path(), Existing::Refuse), Err(LearnError::Exists { .. })));
    Model::check_target(folder.path(), Existing::Replace).unwrap();
}

#[test]
fn a_model_of_an_earlier_version_loads_with_unrecorded_provenance() {
    let folder = tempfile::tempdir().unwrap();
    model(1).save(folder.path()).unwrap();
    fs::remove_file(folder.path().join("provenance.safetensors")).unwrap();
    let config = fs::read(folder.path().join("config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
    assert_eq!(config["trained"]["method"], "1", "the field keeps its name");
    let loaded = Model::load(folder.path()).unwrap();
    assert!(!loaded.provenance.is_complete() && loaded.provenance.trained_on[0].name == "nothing");
}

const FOLDER: &str = "TAPER_TEST_FOLDER";

/// The test of this name as a process of its own, which ends with the value.
struct Process(Child);

impl Process {
    fn start(name: &str, folder: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", name]).env(FOLDER, folder).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Waits until `done`, two minutes at most.
fn wait_for(done: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(120);
    while !done() {
        assert!(Instant::now() < end, "waited in vain");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn folder_of_the_other_process() -> PathBuf {
    PathBuf::from(std::env::var_os(FOLDER).unwrap())
}

#[test]
#[ignore = "the process that other tests start"]
fn holder() {
    let path = folder_of_the_other_process().join("run");
    let _run = RunDirectory::create(&path, "seed = 1\n", Existing::Replace).unwrap();
    fs::write(path.join("held"), "").unwrap();
    std::thread::sleep(Duration::from_secs(600));
}

#[test]
fn the_second_process_on_a_run_is_told_who_holds_it_and_a_killed_one_holds_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let child = Process::start("holder", folder.path());
    wait_for(|| path.join("held").exists());
    let before = tree(&path);
    for refused in [RunDirectory::open(&path), RunDirectory::create(&path, "seed = 2\n", Existing::Replace)] {
        let error = refused.unwrap_err();
        assert!(matches!(error, LearnError::InUse { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(&format!("in use by process {} on ", child.0.id())), "{text}");
        assert!(text.contains(", started ") && text.contains(" ago") && !text.contains('\n'), "{text}");
    }
    assert_eq!(RunRecord::open(&path).unwrap().config(), "seed = 1\n", "reading needs no lock");
    assert_eq!(tree(&path), before);
    drop(child);
    let run = RunDirectory::open(&path).unwrap();
    assert_eq!((run.config(), run.warning()), ("seed = 1\n", None));
}

#[test]
#[ignore = "the process that other tests start"]
fn model_writer() {
    let path = folder_of_the_other_process().join("model");
    let models = [model(2), model(1)];
    for round in 0.. {
        models[round % 2].save(&path).unwrap();
    }
}

#[test]
fn a_model_is_whole_while_it_is_replaced_and_after_its_writer_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    model(1).save(&path).unwrap();
    for round in 0..10 {
        let child = Process::start("model_writer", folder.path());
        // every load on the way is of one model, whole
        wait_for(|| version(&Model::load(&path).unwrap()) == 2);
        wait_for(|| version(&Model::load(&path).unwrap()) == 1);
        std::thread::sleep(Duration::from_millis(3 * round));
        drop(child);
        assert!([1, 2].contains(&version(&Model::load(&path).unwrap())));
        model(1).save(&path).unwrap();
    }
    let beside: Vec<String> = tree(folder.path()).into_keys().filter(|name| !name.starts_with("model/")).collect();
    assert_eq!((fs::read_dir(folder.path()).unwrap().count(), beside), (1, vec![]), "nothing is left beside the model");
}

#[test]
#[ignore = "the process that other tests start"]
fn file_writer() {
    let path = folder_of_the_other_process().join("file");
    let value = std::process::id().to_le_bytes();
    loop {
        taper_learn::runs::write_atomically(&path, &value.repeat(100_000)).unwrap();
    }
}

#[test]
fn a_file_that_two_processes_write_at_once_is_never_torn() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let children = ["file_writer"; 2].map(|name| Process::start(name, folder.path()));
    let mut seen = BTreeSet::new();
    wait_for(|| path.exists());
    for _ in 0..2000 {
        let bytes = fs::read(&path).unwrap();
        assert_eq!(bytes.len(), 400_000);
        assert!(bytes.chunks_exact(4).all(|chunk| chunk == &bytes[..4]), "torn");
        seen.insert(bytes[..4].to_vec());
        if seen.len() == 2 {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(children);
    assert_eq!(seen.len(), 2, "both have written");
}

#[test]
fn what_a_kill_left_unfinished_is_removed_when_the_run_is_resumed() {
    let folder = tempfile::tempdir().unwrap();
    // killed while its first file was being written: the folder is still free
    let begun = [(".taper-run.json.AbC123.unfinished", "{"), (".config.toml.unfinished", "se"), (".taper-lock", "")];
    plant(folder.path(), &begun);
    let run = RunDirectory::create(folder.path(), "seed = 1\n", Existing::Refuse).unwrap();
    run.save("maml", &progress(1.0)).unwrap();
    drop(run);
    let left = [
        ("checkpoint/.maml.safetensors.AbC123.unfinished", "half"),
        (".config.toml.Zz9zZ9.unfinished", "half"),
        (".notes.txt.AbC123.unfinished", "mine"),
    ];
    plant(folder.path(), &left);
    drop(RunDirectory::open(folder.path()).unwrap());
    let left: Vec<String> = tree(folder.path()).into_keys().filter(|name| name.ends_with(".unfinished")).collect();
    assert_eq!(left, [".notes.txt.AbC123.unfinished"]);
}

#[test]
fn a_run_killed_before_its_config_was_written_can_be_started_again() {
    let folder = tempfile::tempdir().unwrap();
    drop(RunDirectory::create(folder.path(), "seed = 1\n", Existing::Refuse).unwrap());
    fs::remove_file(folder.path().join("config.toml")).unwrap();
    assert!(RunDirectory::open(folder.path()).unwrap_err().to_string().contains("start it again"));
    assert_eq!(RunDirectory::create(folder.path(), "seed = 2\n", Existing::Refuse).unwrap().config(), "seed = 2\n");
}
