//! The workspace's programs in release builds.

use anyhow::{Context, Result, bail};
use std::{path::PathBuf, process::Command};

/// Builds a package's program with `--release`; returns its path. Features are resolved for the whole workspace, so that
/// dependencies built for it are reused.
///
/// Fails if it does not build.
pub(crate) fn release(package: &str) -> Result<PathBuf> {
    let status = Command::new("cargo")
        .args(["build", "--release", "--quiet", "--workspace", "--bin", package])
        .status()
        .context("cargo does not start: install a Rust toolchain")?;
    if !status.success() {
        bail!("the release build failed: see above");
    }
    let here = std::env::current_exe()?;
    match here.ancestors().nth(2) {
        Some(target) => Ok(target.join("release").join(package).with_extension(std::env::consts::EXE_EXTENSION)),
        None => bail!("{} is not in a target folder: run it with cargo xtask", here.display()),
    }
}
