//! A run's training as it is drawn on a terminal, and as a plain table.

use crate::page::VALUE;
use crate::results::PART_FILE;
use crate::run_log::{StageLog, stages};
use crate::table::{duration, percent, share, table};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::symbols::Marker;
use ratatui::text::Line;
use ratatui::widgets::{Axis, Block, Chart, Dataset, Gauge, GraphType, Paragraph, Wrap};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use taper_learn::{Interval, runs::RunRecord};
use taper_transfer::TriedCandidate;

/// What can be seen of a run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct View {
    pub(crate) run: PathBuf,
    pub(crate) state: State,
    stages: Vec<StageLog>,
    /// What a search has scored so far.
    tried: Vec<TriedCandidate>,
}

/// Whether a run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It has a report.
    Finished,
    /// A process writes to it.
    Running,
    /// No process writes to it.
    Stopped,
    /// Whether a process writes to it can't be told, and nothing was written for a while.
    Quiet,
}

impl State {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Quiet => "nothing new for a minute",
        }
    }
}

impl View {
    /// The run as it is now.
    pub(crate) fn of(run: &RunRecord) -> Self {
        const QUIET: Duration = Duration::from_secs(60);
        let path = run.path();
        let written = |file: &str| std::fs::metadata(path.join(file)).and_then(|file| file.modified()).ok();
        let last = ["metrics.jsonl", "tried.json"].into_iter().filter_map(written).max();
        let age = last.and_then(|time| SystemTime::now().duration_since(time).ok());
        let state = match run.is_in_use() {
            Some(true) => State::Running,
            _ if path.join(VALUE).exists() || path.join(PART_FILE).exists() => State::Finished,
            Some(false) => State::Stopped,
            None if age.is_some_and(|age| age < QUIET) => State::Running,
            None => State::Quiet,
        };
        Self { run: path.to_path_buf(), state, stages: stages(path), tried: TriedCandidate::in_run(path) }
    }

    /// The best candidate of a search so far; of equally good ones the first.
    fn best_tried(&self) -> Option<(&TriedCandidate, Interval)> {
        let scored = self.tried.iter().filter_map(|tried| Some((tried, tried.accuracy?)));
        scored.reduce(|best, other| if other.1.mean > best.1.mean { other } else { best })
    }

    /// `5 candidates tried, highest score on folds: ridge, 81.5 ± 3.1%`; empty if nothing was searched.
    fn search_in_words(&self) -> String {
        let count = match self.tried.len() {
            1 => "1 candidate".to_string(),
            count => format!("{count} candidates"),
        };
        let in_words = |(tried, accuracy): (&TriedCandidate, Interval)| {
            format!("{count} tried, highest score on folds: {}, {}", tried.name, share(accuracy))
        };
        self.best_tried().map_or(String::new(), in_words)
    }

    /// The stage that is trained now, or was last.
    fn current(&self) -> Option<&StageLog> {
        self.stages.iter().rev().find(|stage| !stage.finished).or(self.stages.last())
    }

    /// A row for each stage.
    pub(crate) fn table(&self) -> String {
        let header = ["stage", "step", "of", "loss", "validation", "best", "rate", "time", "left"];
        let row = |stage: &StageLog| {
            vec![
                stage.name.clone(),
                stage.step.to_string(),
                stage.steps.to_string(),
                stage.losses.last().map_or(String::new(), |(_, loss)| format!("{loss:.3}")),
                stage.scores.last().map_or(String::new(), |(_, score)| format!("{score:.3}")),
                stage.best().map_or(String::new(), |(step, score)| format!("{score:.3} at step {step}")),
                stage.learning_rate.map_or(String::new(), |rate| format!("{rate:.1e}")),
                duration(stage.seconds),
                left(stage),
            ]
        };
        let state = format!("{}: {}", self.run.display(), self.state.words());
        let candidate = |tried: &TriedCandidate| {
            vec![
                tried.name.clone(),
                tried.accuracy.map_or_else(|| tried.skipped.clone().unwrap_or_default(), percent),
                duration(tried.seconds),
            ]
        };
        let tried: Vec<Vec<String>> = self.tried.iter().map(candidate).collect();
        let mut text = state;
        match (self.stages.is_empty(), tried.is_empty()) {
            (true, true) if self.state != State::Finished => text.push_str("; nothing was trained yet"),
            (false, _) => {
                text = format!("{text}\n{}", table(&header, &self.stages.iter().map(row).collect::<Vec<_>>()));
            }
            _ => {}
        }
        if !tried.is_empty() {
            text = format!("{text}\n{}", table(&["candidate", "accuracy on folds %", "time"], &tried));
        }
        text
    }

    /// The candidates of a search for programs.
    pub(crate) fn tried_json(&self) -> Vec<Value> {
        let tried = |tried: &TriedCandidate| {
            json!({"name": tried.name, "accuracy": tried.accuracy.map(|accuracy| accuracy.mean),
                "ci95": tried.accuracy.map(|accuracy| [accuracy.low, accuracy.high]), "seconds": tried.seconds})
        };
        self.tried.iter().map(tried).collect()
    }

    /// The stages for programs.
    pub(crate) fn stages_json(&self) -> Vec<Value> {
        let stage = |stage: &StageLog| {
            let best = stage.best().map(|(step, score)| json!({"step": step, "score": score}));
            json!({"stage": stage.name, "step": stage.step, "steps": stage.steps, "seconds": stage.seconds,
                "loss": stage.losses.last().map(|last| last.1), "score": stage.scores.last().map(|last| last.1),
                "best": best, "learning_rate": stage.learning_rate, "seconds_left": stage.seconds_left(),
                "finished": stage.finished})
        };
        self.stages.iter().map(stage).collect()
    }
}

fn left(stage: &StageLog) -> String {
    match stage.finished {
        true => "done".into(),
        false => stage.seconds_left().map_or(String::new(), duration),
    }
}

/// Draws a run: its state, the current stage's figures and curves, and one line for each other stage.
pub(crate) fn draw(view: &View, frame: &mut Frame<'_>) {
    let others: Vec<&StageLog> =
        view.stages.iter().filter(|stage| view.current().is_none_or(|current| current.name != stage.name)).collect();
    let list = (others.len() as u16).min(8);
    let rows = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(3),
        Constraint::Length(2),
        Constraint::Fill(1),
        Constraint::Length(list),
        Constraint::Length(1),
    ]);
    let [title, gauge, figures, charts, list_area, help] = rows.areas(frame.area());
    let bold = Style::new().add_modifier(Modifier::BOLD);
    frame.render_widget(Line::styled(format!("{}: {}", view.run.display(), view.state.words()), bold), title);
    frame.render_widget(Line::styled("q leaves; the run goes on", Style::new().add_modifier(Modifier::DIM)), help);
    let Some(stage) = view.current() else {
        if view.tried.is_empty() {
            let text = if view.state == State::Finished { "" } else { "nothing was trained yet" };
            frame.render_widget(Paragraph::new(text), figures);
        } else {
            frame.render_widget(Paragraph::new(view.search_in_words()).wrap(Wrap { trim: true }), figures);
            accuracies(&view.tried, charts, frame);
        }
        return;
    };
    let share = (stage.step as f64 / stage.steps.max(1) as f64).clamp(0.0, 1.0);
    let label = format!("step {} of {}", stage.step, stage.steps);
    let block = Block::bordered().title(stage.name.clone());
    frame.render_widget(Gauge::default().block(block).ratio(share).label(label), gauge);
    let number = |value: Option<f64>| value.map_or("–".into(), |value| format!("{value:.3}"));
    let best = stage.best().map_or("–".into(), |(step, score)| format!("{score:.3} at step {step}"));
    let rate = stage.learning_rate.map_or("–".into(), |rate| format!("{rate:.1e}"));
    let first = format!(
        "loss {}   validation {}   best {best}",
        number(stage.losses.last().map(|last| last.1)),
        number(stage.scores.last().map(|last| last.1)),
    );
    let rest = if stage.finished { "done".to_string() } else { format!("{} left", left(stage)) };
    let second = format!("rate {rate}   {} so far   {rest}", duration(stage.seconds));
    frame.render_widget(Paragraph::new(vec![Line::raw(first), Line::raw(second)]), figures);
    let [loss, scores] = match stage.scores.len() > 1 {
        true => Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(charts),
        false => [charts, Rect::default()],
    };
    curve("loss", &stage.losses, loss, frame);
    curve("validation", &stage.scores, scores, frame);
    for (stage, row) in others.iter().rev().take(usize::from(list)).zip(list_area.rows()) {
        let score = stage.best().map_or(String::new(), |(_, score)| format!(", best {score:.3}"));
        let text = format!("{}: step {} of {}{score}, {}", stage.name, stage.step, stage.steps, left(stage));
        frame.render_widget(Line::raw(text), row);
    }
}

/// A row with a bar for each candidate. If there is no room for all, the first ones are left out.
fn accuracies(tried: &[TriedCandidate], area: Rect, frame: &mut Frame<'_>) {
    const NAME: u16 = 48;
    const NUMBER: u16 = 24;
    let scored: Vec<&TriedCandidate> = tried.iter().filter(|tried| tried.accuracy.is_some()).collect();
    let hidden = scored.len().saturating_sub(usize::from(area.height));
    for (tried, row) in scored[hidden..].iter().zip(area.rows()) {
        let Some(accuracy) = tried.accuracy else { continue };
        let columns = [Constraint::Length(NAME), Constraint::Length(NUMBER), Constraint::Fill(1)];
        let [name, number, bar] = Layout::horizontal(columns).areas(row);
        frame.render_widget(Line::raw(&*tried.name), name);
        frame.render_widget(Line::raw(share(accuracy)), number);
        let length = (accuracy.mean.clamp(0.0, 1.0) * f64::from(bar.width)).round() as usize;
        frame.render_widget(Line::raw("█".repeat(length)), bar);
    }
}

/// A curve over the steps, if there is room and more than one value.
fn curve(name: &str, values: &[(u64, f64)], area: Rect, frame: &mut Frame<'_>) {
    let (Some(first), Some(last)) = (values.first(), values.last()) else { return };
    if values.len() < 2 || area.height < 5 || area.width < 20 {
        return;
    }
    let points: Vec<(f64, f64)> = values.iter().map(|(step, value)| (*step as f64, *value)).collect();
    let (low, high) = points.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), p| (a.min(p.1), b.max(p.1)));
    let room = ((high - low) * 0.05).max(1e-6);
    let line = Dataset::default().marker(Marker::Braille).graph_type(GraphType::Line).data(&points);
    let x = Axis::default().bounds([first.0 as f64, last.0 as f64]).labels([first.0.to_string(), last.0.to_string()]);
    let y = Axis::default().bounds([low - room, high + room]).labels([format!("{low:.3}"), format!("{high:.3}")]);
    frame.render_widget(
        Chart::new(vec![line]).block(Block::bordered().title(name.to_string())).x_axis(x).y_axis(y),
        area,
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::{Terminal, backend::TestBackend};

    fn view() -> View {
        let maml = StageLog {
            name: "maml".into(),
            step: 30,
            steps: 40,
            seconds: 60.0,
            learning_rate: Some(1e-3),
            losses: vec![(10, 2.0), (20, 1.5), (30, 1.25)],
            scores: vec![(10, 0.4), (20, 0.75), (30, 0.7)],
            finished: false,
        };
        let done = StageLog { name: "pretrained".into(), step: 9, steps: 9, finished: true, ..StageLog::default() };
        View { run: "run".into(), state: State::Running, stages: vec![done, maml], tried: Vec::new() }
    }

    fn drawn(view: &View, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(view, frame)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn the_stage_in_training_is_drawn_with_what_is_left_and_the_best_so_far() {
        let screen = drawn(&view(), 80, 24);
        for text in [
            "run: running",
            "step 30 of 40",
            "loss 1.250",
            "best 0.750 at step 20",
            "20.0 s left",
            "pretrained: step 9",
        ] {
            assert!(screen.contains(text), "{text}\n{screen}");
        }
    }

    #[test]
    fn a_search_shows_its_candidates_and_the_best_so_far() {
        let tried = |name: &str, right: f64| TriedCandidate {
            name: name.into(),
            accuracy: Some(Interval { mean: right, low: right - 0.1, high: right + 0.1 }),
            decisions: 60,
            seconds: 2.0,
            skipped: None,
        };
        let tried = vec![tried("ridge", 0.5), tried("rda on stages, four views", 0.75), tried("lda", 0.75)];
        let searched = View { stages: Vec::new(), tried, ..view() };
        let screen = drawn(&searched, 80, 24);
        for text in ["3 candidates tried", "rda on stages, four views, 75.0", "lda ", "50.0 ± 10.0%", "████"] {
            assert!(screen.contains(text), "{text}\n{screen}");
        }
        assert!(!drawn(&searched, 80, 9).contains("ridge "), "the last ones are shown");
        let text = searched.table();
        assert!(text.starts_with("run: running\n") && text.contains("75.0 ± 10.0"), "{text}");
        assert_eq!(searched.tried_json()[1]["accuracy"], 0.75);
    }

    #[test]
    fn a_tiny_terminal_and_a_run_without_training_are_drawn_too() {
        drawn(&view(), 10, 3);
        drawn(&view(), 1, 1);
        let empty = View { stages: Vec::new(), ..view() };
        assert!(drawn(&empty, 60, 12).contains("nothing was trained yet"));
    }

    #[test]
    fn a_plain_look_has_a_row_for_each_stage() {
        let text = view().table();
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!((rows[0], rows.len()), ("run: running", 5));
        assert!(
            rows[3].contains("done") && rows[4].contains("0.750 at step 20") && rows[4].contains("20.0 s"),
            "{text}"
        );
    }
}
