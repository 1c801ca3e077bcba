//! `taper watch`: a run's training in the terminal, while it runs or afterwards.

use crate::args::{UsageError, Watch};
use crate::live::{View, draw};
use crate::output::Output;
use anyhow::Result;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use serde_json::json;
use std::io::IsTerminal;
use std::time::Duration;
use taper_learn::runs::RunRecord;

/// How often the run is looked at.
const EVERY: Duration = Duration::from_millis(500);

/// On a terminal until `q`, Escape or Ctrl-C; elsewhere one look.
pub(crate) fn run(options: &Watch, output: &Output) -> Result<()> {
    let run = RunRecord::open(&options.run)?;
    if options.common.json || !std::io::stdout().is_terminal() {
        return look(&View::of(&run), output);
    }
    if !std::io::stdin().is_terminal() {
        return Err(UsageError("watching needs a keyboard: run it in a terminal, or pipe its output".into()).into());
    }
    let mut terminal = ratatui::try_init()?;
    let watched = (|| -> Result<()> {
        loop {
            let view = View::of(&run);
            terminal.draw(|frame| draw(&view, frame))?;
            if event::poll(EVERY)? && is_end(&event::read()?) {
                return Ok(());
            }
        }
    })();
    ratatui::try_restore()?;
    watched
}

fn is_end(event: &Event) -> bool {
    let Event::Key(key) = event else { return false };
    let is_interrupt = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind != KeyEventKind::Release && (is_interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc))
}

/// The training so far, as a table.
fn look(view: &View, output: &Output) -> Result<()> {
    output.line(view.table());
    output.event(&json!({"event": "result", "command": "watch", "seconds": 0.0, "methods": [], "out": view.run,
        "state": view.state.words(), "stages": view.stages_json(),
        "tried": view.tried_json()}));
    Ok(())
}
