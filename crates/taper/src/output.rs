//! What the program prints: lines for people, JSON for programs, progress bars on a terminal; and
//! Ctrl-C.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the one place where the program prints")]

use crate::table::{fitted, fitted_with_paths, wrapped_at_words};
use crate::tensorboard::EventFiles;
use anstyle::{AnsiColor, Style};
use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use std::fmt;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use taper_data::one_line;
use taper_learn::ranks::Ranks;
use taper_learn::{Event, Flow, LearnError, Observer, RunDirectory};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Where text goes. Of processes that share a job only rank 0 prints.
#[derive(Clone)]
pub(crate) struct Output {
    json: bool,
    /// Whether notes go to a terminal.
    terminal: bool,
    /// Columns of that terminal.
    note_width: Option<usize>,
    ranks: Arc<dyn Ranks>,
    /// Columns of the terminal that results go to; `None` if they go elsewhere.
    width: Option<usize>,
    colors: bool,
}

impl Output {
    pub(crate) fn new(json: bool, ranks: Arc<dyn Ranks>) -> Self {
        let (stdout, stderr) = (std::io::stdout(), std::io::stderr());
        let columns = |size: Option<(terminal_size::Width, _)>| size.map(|(columns, _)| usize::from(columns.0));
        let width = stdout.is_terminal().then(|| terminal_size::terminal_size_of(&stdout)).flatten();
        let note_width = stderr.is_terminal().then(|| terminal_size::terminal_size_of(&stderr)).flatten();
        Self {
            json,
            terminal: ranks.writes() && stderr.is_terminal(),
            note_width: columns(note_width),
            ranks,
            width: columns(width),
            colors: stdout.is_terminal() && wants_colors(),
        }
    }

    /// The processes that share the job.
    pub(crate) fn ranks(&self) -> &dyn Ranks {
        self.ranks.as_ref()
    }

    /// Whether a person reads the results on a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        self.width.is_some()
    }

    /// A table for people, which fits the terminal if there is one.
    pub(crate) fn table(&self, header: &[&str], rows: &[Vec<String>]) {
        self.line(fitted(header, rows, self.width));
    }

    /// Likewise, a table that never lacks its first `kept` columns and whose columns `paths` may be shortened.
    pub(crate) fn table_with_paths(&self, header: &[&str], rows: &[Vec<String>], kept: usize, paths: &[usize]) {
        self.line(fitted_with_paths(header, rows, kept, paths, self.width));
    }

    /// A line in bold, on a terminal.
    pub(crate) fn strong_line(&self, text: &str) {
        let text = printable(text);
        self.text(if self.colors { format!("{BOLD}{text}{BOLD:#}") } else { text });
    }

    /// A line that begins with `Warning:`, in color on a terminal.
    pub(crate) fn warning_line(&self, text: impl fmt::Display) {
        let mark = if self.colors { format!("{YELLOW}Warning:{YELLOW:#}") } else { "Warning:".to_string() };
        self.text(format!("{mark} {}", printable(&text.to_string())));
    }

    /// A line for people.
    pub(crate) fn line(&self, text: impl fmt::Display) {
        self.text(printable(&text.to_string()));
    }

    /// Text as it is, such as a table for other programs.
    pub(crate) fn text(&self, text: impl fmt::Display) {
        if !self.json && self.ranks.writes() {
            write(std::io::stdout(), text);
        }
    }

    /// A message for people, separate from the results.
    pub(crate) fn note(&self, text: impl fmt::Display) {
        if self.ranks.writes() {
            let text = printable(&text.to_string());
            match self.note_width {
                Some(width) => write(std::io::stderr(), wrapped_at_words(&text, width)),
                None => write(std::io::stderr(), text),
            }
        }
    }

    /// An object for programs.
    pub(crate) fn event(&self, value: &Value) {
        if self.json && self.ranks.writes() {
            write(std::io::stdout(), value);
        }
    }

    /// An observer that shows a library's events.
    pub(crate) fn reporter(&self) -> Reporter<'static> {
        Reporter { output: self.clone(), stage: String::new(), bar: None, events: None }
    }

    /// An observer that shows a library's events, and writes them for TensorBoard into the run if that is asked for.
    pub(crate) fn recorder<'a>(&self, run: Option<&'a RunDirectory>, tensorboard: bool) -> Reporter<'a> {
        Reporter { events: run.filter(|_| tensorboard).map(EventFiles::new), ..self.reporter() }
    }
}

/// The text with all control characters escaped except line ends: names may hold any.
fn printable(text: &str) -> String {
    text.split('\n').map(one_line).collect::<Vec<_>>().join("\n")
}

const BOLD: Style = Style::new().bold();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const RED: Style = AnsiColor::Red.on_default().bold();

/// Whether the user's environment allows colors: <https://no-color.org>.
fn wants_colors() -> bool {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    set("NO_COLOR").is_none() && set("TERM").is_none_or(|terminal| terminal != "dumb")
}

/// What error messages begin with: `error:`, in color on a terminal.
pub(crate) fn error_mark() -> String {
    if std::io::stderr().is_terminal() && wants_colors() { format!("{RED}error:{RED:#}") } else { "error:".into() }
}

/// Shows a library's events, and stops it after Ctrl-C.
pub(crate) struct Reporter<'a> {
    output: Output,
    stage: String,
    bar: Option<(String, ProgressBar)>,
    events: Option<EventFiles<'a>>,
}

impl Reporter<'_> {
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

impl Observer for Reporter<'_> {
    fn on(&mut self, event: Event<'_>) -> Result<Flow, LearnError> {
        let output = self.output.clone();
        match event {
            Event::Started { stage, step, steps } => {
                self.stage = stage.to_string();
                if let Some(events) = &mut self.events {
                    events.begin(stage)?;
                }
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
            Event::Record(record) => {
                output.event(record);
                if let Some(events) = &mut self.events {
                    events.add(record)?;
                }
            }
            Event::Line(text) => self.print(|| output.line(text)),
            Event::Note(text) => self.print(|| output.note(text)),
            Event::Warning(text) => self.print(|| output.note(format!("warning: {text}"))),
            Event::Validated { .. } | Event::Checkpoint(_) => {}
        }
        Ok(if interrupted() { Flow::Stop } else { Flow::Continue })
    }

    fn ranks(&self) -> Arc<dyn Ranks> {
        self.output.ranks.clone()
    }

    fn stop(&self) -> Option<&'static AtomicBool> {
        Some(&INTERRUPTED)
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
    on_interrupt(|| write(std::io::stderr(), "stopping after this step; press Ctrl-C again to exit at once"))
}

/// From now on Ctrl-C does this; a second one exits at once.
pub(crate) fn on_interrupt(action: impl Fn() + Send + 'static) -> Result<()> {
    ctrlc::set_handler(move || {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        action();
    })?;
    Ok(())
}

fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_line_ends_stay() {
        assert_eq!(printable("a \u{1b}[2Jcat\n\u{202e}dog"), "a \\u{1b}[2Jcat\n\\u{202e}dog");
    }
}
