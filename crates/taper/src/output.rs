//! What the program prints: lines for people, JSON for programs, progress bars on a terminal; and
//! Ctrl-C.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the one place where the program prints")]

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use std::fmt;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use taper_learn::{Event, Flow, LearnError, Observer};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Where text goes.
#[derive(Clone, Copy)]
pub(crate) struct Output {
    json: bool,
    terminal: bool,
}

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

    /// A message for people, separate from the results.
    pub(crate) fn note(&self, text: impl fmt::Display) {
        write(std::io::stderr(), text);
    }

    /// An object for programs.
    pub(crate) fn event(&self, value: &Value) {
        if self.json {
            write(std::io::stdout(), value);
        }
    }

    /// An observer that shows a library's events.
    pub(crate) fn reporter(&self) -> Reporter {
        Reporter { output: *self, stage: String::new(), bar: None }
    }
}

/// Shows a library's events, and stops it after Ctrl-C.
pub(crate) struct Reporter {
    output: Output,
    stage: String,
    bar: Option<(String, ProgressBar)>,
}

impl Reporter {
    /// The bar of this name, which replaces a bar of another name.
    fn bar(&mut self, what: &str, length: u64) -> Option<&ProgressBar> {
        if !self.output.terminal {
            return None;
        }
        if self.bar.as_ref().is_none_or(|(shown, _)| shown != what) {
            self.clear();
            let style = ProgressStyle::with_template("{msg:28} {bar:30} {pos}/{len} {per_sec}, {eta} left").ok()?;
            self.bar = Some((what.into(), ProgressBar::new(length).with_style(style).with_message(what.to_string())));
        }
        self.bar.as_ref().map(|(_, bar)| bar)
    }

    fn clear(&mut self) {
        if let Some((_, bar)) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// Prints while no bar is in the way.
    fn print(&self, text: impl FnOnce()) {
        match &self.bar {
            Some((_, bar)) => bar.suspend(text),
            None => text(),
        }
    }
}

impl Observer for Reporter {
    fn on(&mut self, event: Event<'_>) -> Result<Flow, LearnError> {
        let output = self.output;
        match event {
            Event::Started { stage, step, steps } => {
                self.stage = stage.to_string();
                if step > 0 && step < steps {
                    output.note(format!("{stage}: resuming after step {step} of {steps}"));
                }
                self.clear();
            }
            Event::Step { step, steps, loss, .. } => {
                let stage = self.stage.clone();
                if let Some(bar) = self.bar(&stage, steps) {
                    bar.set_position(step);
                } else if step.is_multiple_of((steps / 4).max(1)) {
                    output.note(format!("{stage}: step {step} of {steps}, loss {loss:.3}"));
                }
            }
            Event::Finished { .. } => self.clear(),
            Event::Advanced { what, done, total } => {
                if let Some(bar) = self.bar(what, total as u64) {
                    bar.set_position(done as u64);
                }
                if done == total {
                    self.clear();
                }
            }
            Event::Record(record) => output.event(record),
            Event::Line(text) => self.print(|| output.line(text)),
            Event::Note(text) => self.print(|| output.note(text)),
            Event::Warning(text) => self.print(|| output.note(format!("warning: {text}"))),
            Event::Validated { .. } | Event::Checkpoint(_) => {}
        }
        Ok(if interrupted() { Flow::Stop } else { Flow::Continue })
    }
}

/// Writes a line. A closed pipe (`taper inspect | head`) does not stop a run; a full disk does, because
/// results would be lost without a word.
pub(crate) fn write(mut to: impl Write, line: impl fmt::Display) {
    match writeln!(to, "{line}").and_then(|()| to.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            let _ = writeln!(std::io::stderr(), "error: the output can't be written ({error}): free some space");
            std::process::exit(1);
        }
        _ => {}
    }
}

/// From now on Ctrl-C asks to stop; a second one exits at once.
pub(crate) fn catch_interrupts() -> Result<()> {
    ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        write(std::io::stderr(), "stopping after this step; press Ctrl-C again to exit at once");
    })?;
    Ok(())
}

fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}
