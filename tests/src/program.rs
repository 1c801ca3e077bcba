//! The built program, run as a user runs it.

use serde_json::Value;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The arguments of a line: its words, where a `;` means a space inside one.
pub fn arguments(line: &str) -> Vec<String> {
    line.split_whitespace().map(|word| word.replace(';', " ")).collect()
}

/// A finished run of `taper`.
#[derive(Debug)]
pub struct Run {
    /// The exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Run {
    /// The JSON objects on standard output.
    pub fn events(&self) -> Vec<Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.stdout.lines().map(parse).collect()
    }

    /// The last of them, which is the result.
    pub fn result(&self) -> Value {
        self.events().pop().unwrap_or_else(|| panic!("no event: {self:?}"))
    }
}

/// `taper` with these arguments, ready to start in `folder`. Its caches go to `folder/cache`, and
/// it finds no weights from the hub.
pub fn command<S: AsRef<OsStr>>(folder: &Path, arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(program());
    command
        .args(arguments)
        .current_dir(folder)
        .env("XDG_CACHE_HOME", folder.join("cache"))
        .env("HF_HOME", folder.join("hub"))
        .env_remove("HF_HUB_CACHE")
        // the program has to set these itself
        .env_remove("CANDLE_GRAD_DO_NOT_DETACH")
        .env_remove("CANDLE_NUM_THREADS");
    command
}

/// Runs `taper` in `folder`, with the [`arguments`] of `line`.
pub fn taper(folder: &Path, line: &str) -> Run {
    finished(command(folder, arguments(line)).output().expect("taper starts"))
}

/// The same; panics unless it succeeds.
pub fn taper_ok(folder: &Path, line: &str) -> Run {
    let run = taper(folder, line);
    assert_eq!(run.code, Some(0), "taper {line}\n{}{}", run.stdout, run.stderr);
    run
}

/// The output of a finished process.
pub fn finished(output: Output) -> Run {
    let text = |bytes| String::from_utf8(bytes).expect("taper writes UTF-8");
    Run { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// The folder of data sets next to the repository, if it exists.
pub fn shared_data() -> Option<PathBuf> {
    let folder = root().join("../shared/data");
    folder.is_dir().then_some(folder)
}

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent")
}

/// The program, built in the profile of the tests: cargo builds no other package's programs for
/// them. Features are resolved for the whole workspace, as for the tests, so only the
/// program itself is compiled again.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let test = std::env::current_exe().expect("a test knows where it is");
        let folder = test.parent().and_then(Path::parent).expect("tests lie in target/PROFILE/deps");
        let profile = match folder.file_name().and_then(OsStr::to_str) {
            Some("debug") | None => "dev",
            Some(name) => name,
        };
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .args(["build", "--quiet", "--workspace", "--bin", "taper", "--profile", profile])
            .current_dir(root())
            .status()
            .expect("cargo starts");
        assert!(built.success(), "taper can't be built");
        folder.join(format!("taper{}", std::env::consts::EXE_SUFFIX))
    })
}
