//! What the tests share: a folder for each, the program, and its output.

use crate::server::{COMMIT, Script, Served};
use sha2::{Digest, Sha256};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tempfile::TempDir;

/// A cache and a list of weights for one test.
pub(crate) struct Bench {
    pub(crate) folder: TempDir,
    pub(crate) content: Vec<u8>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let bench = Self { folder: tempfile::tempdir().unwrap(), content: content() };
        bench.write_list("");
        bench
    }

    /// Pins the weights to `sha256` at the commit.
    pub(crate) fn pinned(self, sha256: &str) -> Self {
        self.write_list(&format!(", bytes = {}, sha256 = \"{sha256}\"", self.content.len()));
        self
    }

    fn write_list(&self, pin: &str) {
        let revision = if pin.is_empty() { "main" } else { COMMIT };
        let list = format!(
            "# kept\n[\"tiny.a1\"]\nalso = \"tiny\"\nrepository = \"timm/tiny\"\nrevision = \"{revision}\"\n\
             license = \"mit\"\nfiles = [\n  {{ name = \"model.safetensors\"{pin} }},\n]\n\
             [elsewhere]\nsource = \"https://example.org/x\"\nfiles = [{{ name = \"x\", bytes = 1 }}]\n"
        );
        fs::write(self.list(), list).unwrap();
    }

    pub(crate) fn list(&self) -> PathBuf {
        self.folder.path().join("weights.toml")
    }

    pub(crate) fn sha256(&self) -> String {
        sha256(&self.content)
    }

    /// A server that has the weights.
    pub(crate) fn script(&self) -> Script {
        let path = "/timm/tiny/resolve/main/model.safetensors".to_string();
        let served = Served { path, content: self.content.clone(), tag: self.sha256(), elsewhere: false };
        Script { files: vec![served], ..Script::default() }
    }

    pub(crate) fn command(&self, endpoint: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HF_") || is_proxy(name)) {
            command.env_remove(name);
        }
        command.env_remove("HUGGINGFACE_HUB_CACHE").env("HF_ENDPOINT", endpoint);
        command.env("HF_HOME", self.folder.path().join("home")).current_dir(self.folder.path());
        command.args(arguments).args(["--timeout", "0.6", "--retries", "3", "--backoff", "0.01"]);
        command
    }

    pub(crate) fn fetch_with(&self, endpoint: &str, arguments: &[&str]) -> Command {
        let list = self.list();
        let fixed = ["fetch-weights", "--manifest", list.to_str().unwrap()];
        self.command(endpoint, &[&fixed, arguments].concat())
    }

    pub(crate) fn fetch(&self, endpoint: &str) -> Outcome {
        Outcome::of(self.fetch_with(endpoint, &["tiny"]).output().unwrap())
    }

    pub(crate) fn repository(&self) -> PathBuf {
        self.folder.path().join("home/hub/models--timm--tiny")
    }

    pub(crate) fn blob(&self) -> PathBuf {
        self.repository().join("blobs").join(self.sha256())
    }

    /// Where every client of the hub looks for the weights.
    pub(crate) fn weights(&self) -> PathBuf {
        self.repository().join("snapshots").join(COMMIT).join("model.safetensors")
    }

    pub(crate) fn rejected(&self) -> PathBuf {
        self.repository().join("blobs").join(format!("{}.rejected", self.sha256()))
    }

    pub(crate) fn assert_whole(&self) {
        assert!(fs::read(self.weights()).unwrap() == self.content, "the cached file is not the served one");
        let main = self.repository().join("refs/main");
        assert!(!main.exists() || fs::read_to_string(main).unwrap() == COMMIT);
    }

    /// Checks that no file has a name that a program would load.
    pub(crate) fn assert_nothing_final(&self) {
        assert!(!self.repository().join("snapshots").exists());
        for name in names(&self.repository().join("blobs")) {
            assert!(name.ends_with(".incomplete") || name.ends_with(".rejected"), "{name}");
        }
    }
}

/// How the program ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    pub(crate) fn assert_success(&self) -> &Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    /// Checks that it failed with one line on standard error that contains `words`.
    pub(crate) fn assert_failure(&self, words: &[&str]) -> &Self {
        assert_eq!(self.code, Some(1), "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
        assert!(self.stderr.starts_with("error: "), "{self:?}");
        assert!(words.iter().all(|word| self.stderr.contains(word)), "{words:?} in {self:?}");
        self
    }
}

pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// 300,007 bytes without a pattern.
fn content() -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(300_007).collect()
}

fn is_proxy(name: &str) -> bool {
    name.to_lowercase().ends_with("_proxy")
}
