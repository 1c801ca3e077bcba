//! Words out: lines for people, JSON for programs, bars on a terminal; and Ctrl-C.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the one place where the program speaks")]

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use std::fmt;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Where words go.
#[derive(Clone, Copy)]
pub(crate) struct Output {
    json: bool,
    terminal: bool,
}

/// The user stopped the run.
#[derive(Debug)]
pub(crate) struct Stopped(pub(crate) String);

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Stopped {}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json, terminal: std::io::stderr().is_terminal() }
    }

    /// A line for people.
    pub(crate) fn line(&self, text: impl fmt::Display) {
        if !self.json {
            write(std::io::stdout(), text);
        }
    }

    /// Something to take note of.
    pub(crate) fn note(&self, text: impl fmt::Display) {
        write(std::io::stderr(), text);
    }

    /// An object for programs.
    pub(crate) fn event(&self, value: &Value) {
        if self.json {
            write(std::io::stdout(), value);
        }
    }

    /// A bar with rate and time left, hidden where there is no terminal.
    pub(crate) fn bar(&self, what: &str, steps: u64) -> Result<ProgressBar> {
        if !self.terminal {
            return Ok(ProgressBar::hidden());
        }
        let style = ProgressStyle::with_template("{msg:28} {bar:30} {pos}/{len} {per_sec}, {eta} left")?;
        Ok(ProgressBar::new(steps).with_style(style).with_message(what.to_string()))
    }

    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }
}

/// Writes a line. Nobody reading it (`taper inspect | head`) is no reason to stop a run.
pub(crate) fn write(mut to: impl Write, line: impl fmt::Display) {
    let _ = writeln!(to, "{line}");
}

/// From now on Ctrl-C asks to stop; a second one stops at once.
pub(crate) fn catch_interrupts() -> Result<()> {
    ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        write(std::io::stderr(), "stopping after this step; Ctrl-C again stops at once");
    })?;
    Ok(())
}

pub(crate) fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}
