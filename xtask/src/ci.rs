//! What continuous integration checks in addition to the tests.

use anyhow::{Context, Result, bail};
use std::process::Command;

/// Checks formatting, lints and docs, with warnings denied.
pub(crate) fn run() -> Result<()> {
    cargo(&["fmt", "--all", "--check"], &[])?;
    cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], &[])?;
    cargo(&["doc", "--workspace", "--no-deps"], &[("RUSTDOCFLAGS", "-D warnings")])?;
    cargo(&["test", "--package", "taper-tests", "--test", "dependency_rules"], &[])
}

fn cargo(arguments: &[&str], environment: &[(&str, &str)]) -> Result<()> {
    let status = Command::new("cargo")
        .args(arguments)
        .envs(environment.iter().copied())
        .status()
        .context("cargo does not start: install a Rust toolchain")?;
    if !status.success() {
        bail!("cargo {} failed: see above", arguments.join(" "));
    }
    Ok(())
}
