//! What a run's `metrics.jsonl` says about its training.

use serde_json::Value;
use std::path::Path;

/// The progress of one stage of training.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct StageLog {
    pub(crate) name: String,
    /// Steps taken, and planned.
    pub(crate) step: u64,
    pub(crate) steps: u64,
    /// Seconds of training, over all sessions.
    pub(crate) seconds: f64,
    pub(crate) learning_rate: Option<f64>,
    /// Steps and finite losses, ascending in steps.
    pub(crate) losses: Vec<(u64, f64)>,
    /// Steps and validation scores, higher is better.
    pub(crate) scores: Vec<(u64, f64)>,
    /// Whether all planned steps were taken and saved.
    pub(crate) finished: bool,
}

impl StageLog {
    /// The best validation score, with its step.
    pub(crate) fn best(&self) -> Option<(u64, f64)> {
        self.scores.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))
    }

    /// Seconds that the steps left will take at the mean pace so far; `None` if nothing is known or left.
    pub(crate) fn seconds_left(&self) -> Option<f64> {
        let left = self.steps.checked_sub(self.step).filter(|&left| left > 0)?;
        (self.step > 0 && self.seconds > 0.0).then(|| self.seconds / self.step as f64 * left as f64)
    }
}

/// The stages of a run, in the order in which they began. An unfinished last line, which a running process may be
/// writing, is passed over.
pub(crate) fn stages(run: &Path) -> Vec<StageLog> {
    stages_of(&std::fs::read_to_string(run.join("metrics.jsonl")).unwrap_or_default())
}

fn stages_of(text: &str) -> Vec<StageLog> {
    let mut stages: Vec<StageLog> = Vec::new();
    for event in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let (Some(name), Some(step)) = (event["stage"].as_str(), event["step"].as_u64()) else { continue };
        let place = stages.iter().position(|stage| stage.name == name).unwrap_or_else(|| {
            stages.push(StageLog { name: name.to_string(), ..StageLog::default() });
            stages.len() - 1
        });
        let stage = &mut stages[place];
        stage.step = stage.step.max(step);
        stage.seconds = event["seconds"].as_f64().map_or(stage.seconds, |seconds| stage.seconds.max(seconds));
        match event["event"].as_str() {
            Some("step") => {
                stage.steps = event["steps"].as_u64().unwrap_or(stage.steps);
                stage.learning_rate = event["learning_rate"].as_f64().or(stage.learning_rate);
                stage.losses.extend(event["loss"].as_f64().map(|loss| (step, loss)));
            }
            Some("validation") => stage.scores.extend(event["score"].as_f64().map(|score| (step, score))),
            Some("saved") => stage.finished |= event["finished"] == true,
            _ => {}
        }
    }
    stages
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = r#"{"event":"step","stage":"maml","step":10,"steps":40,"loss":2.0,"learning_rate":0.001,"seconds":5.0}
{"event":"validation","stage":"maml","step":10,"score":0.5,"best":true}
{"event":"step","stage":"maml","step":20,"steps":40,"loss":null,"learning_rate":0.0005,"seconds":10.0}
{"event":"validation","stage":"maml","step":20,"score":0.5,"best":false}
{"event":"saved","stage":"maml","step":20,"seconds":10.5,"finished":false}
{"event":"saved","stage":"pretrained","step":7,"seconds":1.0,"finished":true}
{"event":"step","sta"#;

    #[test]
    fn a_log_gives_the_progress_of_each_stage_and_half_a_line_is_passed_over() {
        let stages = stages_of(LOG);
        assert_eq!(stages.iter().map(|stage| stage.name.as_str()).collect::<Vec<_>>(), ["maml", "pretrained"]);
        let maml = &stages[0];
        assert_eq!((maml.step, maml.steps, maml.learning_rate, maml.finished), (20, 40, Some(0.0005), false));
        assert_eq!((&maml.losses[..], maml.best()), (&[(10, 2.0)][..], Some((10, 0.5))));
        assert_eq!(maml.seconds_left(), Some(10.5));
        assert_eq!((stages[1].finished, stages[1].seconds_left()), (true, None));
    }
}
