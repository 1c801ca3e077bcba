//! Checks for undefined behavior and races with the tools of the nightly toolchain.

use anyhow::{Context, Result, bail};
use std::process::{Command, Stdio};

/// One check: a name, what it needs, and how it runs tests of `taper-ops`.
struct Check {
    name: &'static str,
    /// A component of the nightly toolchain, as `rustup component list` prints it.
    component: Option<&'static str>,
    /// What cargo runs tests with: arguments up to the package.
    test: &'static [&'static str],
    target: Option<&'static str>,
    /// Which tests run: arguments of the test program; all tests if empty.
    tests: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
}

impl Check {
    /// Cargo's arguments.
    fn arguments(&self) -> Vec<&'static str> {
        let target = self.target.into_iter().flat_map(|target| ["--target", target]);
        let all = [self.test, &["--package", "taper-ops", "--lib"]].concat();
        all.into_iter().chain(target).chain(["--"]).chain(self.tests.iter().copied()).collect()
    }
}

const MIRI: &str = "-Zmiri-permissive-provenance -Zmiri-disable-isolation -Zmiri-ignore-leaks";
const MIRI_TREE_BORROWS: &str =
    "-Zmiri-tree-borrows -Zmiri-permissive-provenance -Zmiri-disable-isolation -Zmiri-ignore-leaks";

const CHECKS: [Check; 5] = [
    Check {
        name: "guards, canaries and a stress test of map_in_order, on this machine's instructions",
        component: None,
        test: &["test"],
        target: None,
        tests: &[],
        environment: &[],
    },
    // small sizes only: Miri is thousands of times slower than native code
    Check {
        name: "Miri, stacked borrows: portable kernels, tape and files",
        component: Some("miri"),
        test: &["+nightly", "miri", "test"],
        target: None,
        tests: &[
            "soundness::",
            "kernels::buffer::",
            "kernels::product::",
            "file_content::",
            "--skip",
            "several_threads",
        ],
        environment: &[("MIRIFLAGS", MIRI)],
    },
    // rayon's queues violate stacked borrows
    Check {
        name: "Miri, tree borrows: map_in_order and the tape on several threads",
        component: Some("miri"),
        test: &["+nightly", "miri", "test"],
        target: None,
        tests: &["threads::", "soundness::several_threads"],
        environment: &[("MIRIFLAGS", MIRI_TREE_BORROWS)],
    },
    Check {
        name: "address sanitizer: all kernels of this machine",
        component: None,
        test: &["+nightly", "test"],
        target: Some(TARGET),
        tests: &[],
        environment: &[
            ("RUSTFLAGS", "-Zsanitizer=address"),
            ("CARGO_TARGET_DIR", "target/address-sanitizer"),
            // tests ask for more memory than there is, which must be an error and not the end
            ("ASAN_OPTIONS", "allocator_may_return_null=1"),
        ],
    },
    Check {
        name: "thread sanitizer: map_in_order and the tape",
        component: Some("rust-src"),
        test: &["+nightly", "test", "-Zbuild-std"],
        target: Some(TARGET),
        tests: &["threads::", "soundness::"],
        environment: &[("RUSTFLAGS", "-Zsanitizer=thread"), ("CARGO_TARGET_DIR", "target/thread-sanitizer")],
    },
];

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Runs every check that this machine has the tools for, and reports those it skipped.
///
/// Fails if a check fails.
pub(crate) fn run() -> Result<()> {
    let (mut skipped, mut failed) = (Vec::new(), Vec::new());
    for check in &CHECKS {
        if let Some(reason) = missing(check) {
            println!("skipped: {}: {reason}", check.name);
            skipped.push(check.name);
            continue;
        }
        println!("running: {}", check.name);
        let status = Command::new("cargo")
            .args(check.arguments())
            .envs(check.environment.iter().copied())
            .status()
            .context("cargo does not start: install a Rust toolchain")?;
        if !status.success() {
            failed.push(check.name);
        }
    }
    println!(
        "{} passed, {} failed, {} skipped",
        CHECKS.len() - failed.len() - skipped.len(),
        failed.len(),
        skipped.len()
    );
    if !failed.is_empty() {
        bail!("soundness: {} failed: see above", failed.join("; "));
    }
    Ok(())
}

/// Why a check cannot run here; `None` if it can.
fn missing(check: &Check) -> Option<String> {
    if !check.test.contains(&"+nightly") {
        return None;
    }
    if !quiet(&["run", "nightly", "rustc", "--version"]) {
        return Some("there is no nightly toolchain: rustup toolchain install nightly".into());
    }
    if check.target.is_some() && !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        return Some(format!("it runs on {TARGET} only"));
    }
    let component = check.component?;
    let installed =
        Command::new("rustup").args(["component", "list", "--toolchain", "nightly", "--installed"]).output();
    let has = installed
        .is_ok_and(|list| String::from_utf8_lossy(&list.stdout).lines().any(|line| line.starts_with(component)));
    (!has).then(|| format!("the toolchain lacks it: rustup component add --toolchain nightly {component}"))
}

/// Returns `true` if `rustup` succeeds with these arguments; prints nothing.
fn quiet(arguments: &[&str]) -> bool {
    let status = Command::new("rustup").args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
