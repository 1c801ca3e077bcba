//! The state of a search: scores, candidates that were skipped, and the time left.

use super::{TriedCandidate, seconds_text};
use crate::candidate::{Candidate, CandidateBuilder, CandidateScore, Folding, RaceTimes};
use crate::run_list::{RunList, write_json};
use crate::{Approach, CandidateSpec, Result, TransferError, Views};
use serde_json::json;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use taper_learn::{Event, Flow, Interval, LearnError, Observer, RunDirectory, training::Deadline};

/// The file of a run with the scores.
pub(super) const SCORES: &str = "tried.json";

/// The file of a run with the name of the candidate that a finished search kept.
const KEPT: &str = "kept.json";

/// The file of a run with the candidates that a finished search skipped, and why.
const SKIPPED: &str = "skipped.json";

/// The longest budget in seconds, a year.
const LONGEST: f64 = 365.0 * 24.0 * 3600.0;

/// A candidate with its score.
type Scored<'a> = (&'a CandidateSpec, &'a CandidateScore);

/// The state of a search.
pub(super) struct Search {
    /// When the budget ends; `None` if an earlier session finished the search.
    end: Option<Instant>,
    /// All scores of this session and earlier ones.
    scores: RunList<CandidateScore>,
    /// Candidates that this session has reached, each with a score.
    tried: Vec<CandidateSpec>,
    skipped: Vec<(String, String)>,
    /// What becomes true when the search should stop.
    stop: Option<&'static AtomicBool>,
    /// The best candidate, if this session built it.
    best: Option<(CandidateSpec, Candidate)>,
}

impl Search {
    /// A search of `seconds` from `start` on. Scores of earlier sessions are read, and their time counts.
    pub(super) fn new(
        run: Option<&RunDirectory>,
        start: Instant,
        seconds: f64,
        stop: Option<&'static AtomicBool>,
    ) -> Result<Self> {
        let scores: RunList<CandidateScore> = RunList::open(run, SCORES)?;
        let before: f64 = scores.iter().map(|score| score.seconds).sum();
        // resuming a finished search tries nothing more
        let is_finished = run.is_some_and(|run| run.path().join(KEPT).exists());
        let left = Duration::try_from_secs_f64((seconds - before).clamp(0.0, LONGEST)).unwrap_or_default();
        let end = if is_finished { None } else { Some(start + left) };
        let skipped = RunList::open(run.filter(|_| is_finished), SKIPPED)?.into_entries();
        Ok(Self { end, scores, tried: Vec::new(), skipped, stop, best: None })
    }

    /// The name of the candidate that an earlier session kept when it finished the search.
    pub(super) fn kept(run: Option<&RunDirectory>) -> Option<String> {
        serde_json::from_slice(&std::fs::read(run?.path().join(KEPT)).ok()?).ok()
    }

    /// Whether nothing that can be kept was scored yet.
    pub(super) fn is_empty(&self) -> bool {
        self.scores.iter().all(|score| score.left_out.is_some())
    }

    /// Seconds of the budget that are left.
    pub(super) fn seconds_left(&self) -> f64 {
        self.end.map_or(0.0, |end| end.saturating_duration_since(Instant::now()).as_secs_f64())
    }

    /// When to stop so that `reserve` seconds of the budget are left; never if an earlier session finished the search.
    pub(super) fn deadline(&self, reserve: f64) -> Deadline {
        let left = Duration::from_secs_f64((self.seconds_left() - reserve).max(0.0));
        self.end.map_or(Deadline::default(), |_| Deadline::at(Instant::now() + left)).or_when(self.stop)
    }

    /// About how many seconds it takes to make a classifier of the best head so far.
    pub(super) fn seconds_to_close(&self) -> f64 {
        let best = self.best().ok().filter(|best| !matches!(best.approach, Approach::FineTune(_)));
        best.and_then(|best| Some(self.score_of(&best)?.seconds_to_close())).unwrap_or(0.0)
    }

    /// The candidate's score, of this session or an earlier one; `None` if it was left out.
    pub(super) fn score_of(&self, spec: &CandidateSpec) -> Option<&CandidateScore> {
        let name = spec.to_string();
        self.scores.iter().find(|score| score.name == name && score.left_out.is_none())
    }

    /// Whether the candidate was scored but left out, by this session or an earlier one.
    pub(super) fn has_left_out(&self, spec: &CandidateSpec) -> bool {
        let name = spec.to_string();
        self.scores.iter().any(|score| score.name == name && score.left_out.is_some())
    }

    /// Whether the candidate has a score, of this session or an earlier one.
    pub(super) fn has_scored(&self, spec: &CandidateSpec) -> bool {
        self.score_of(spec).is_some()
    }

    /// The candidate's accuracy on folds, if it has a score.
    pub(super) fn accuracy(&self, spec: &CandidateSpec) -> Option<Interval> {
        self.score_of(spec).map(CandidateScore::interval)
    }

    /// The temperature of the candidate's logits, if scoring it has told.
    pub(super) fn temperature(&self, spec: &CandidateSpec) -> Option<f64> {
        self.score_of(spec)?.temperature
    }

    /// Skips a candidate for a reason; of several the last counts. If an earlier session finished the search, its reasons
    /// stand.
    pub(super) fn skip(&mut self, spec: &CandidateSpec, reason: String) {
        if self.end.is_some() {
            self.do_not_skip(spec);
            self.skipped.push((spec.to_string(), reason));
        }
    }

    fn do_not_skip(&mut self, spec: &CandidateSpec) {
        let name = spec.to_string();
        self.skipped.retain(|(skipped, _)| *skipped != name);
    }

    /// Notes in the run what is kept, and what was skipped: the search is finished.
    pub(super) fn finish(&self, run: &RunDirectory, kept: &CandidateSpec) -> Result<()> {
        write_json(&run.file(SKIPPED)?, &self.skipped)?;
        write_json(&run.file(KEPT)?, &kept.to_string())
    }

    /// Scores a candidate, unless it has a score, or the time has run out except for `reserve` seconds, which
    /// are reserved for what follows: after a head the report, after fine-tuning the classifier too.
    pub(super) fn try_candidate(
        &mut self,
        spec: &CandidateSpec,
        builder: &mut CandidateBuilder,
        folding: Folding,
        reserve: f64,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        if self.tried.contains(spec) || self.has_left_out(spec) {
            return Ok(());
        }
        if self.has_scored(spec) {
            self.tried.push(spec.clone());
            return Ok(());
        }
        if self.seconds_left() <= reserve && !self.is_empty() {
            self.skip(spec, "the budget is spent".into());
            return Ok(());
        }
        if self.end.is_some() {
            self.do_not_skip(spec);
        }
        let start = Instant::now();
        let name = spec.to_string();
        let is_head = !matches!(spec.approach, Approach::FineTune(_));
        // fine-tuning is compared with the best so far
        let rival = if is_head { None } else { self.best().ok() };
        let after = if is_head { reserve } else { builder.estimate_report_time(spec.variant) };
        let scored = builder.build(spec, observer).and_then(|candidate| {
            let training = builder.problem(spec.variant).training();
            let (score, closing) = match rival.as_ref().and_then(|rival| self.score_of(rival)) {
                Some(rival) => {
                    let times = RaceTimes {
                        until: self.deadline(reserve),
                        end: self.deadline(after),
                        keeping: builder.estimate_keeping_time(spec.variant),
                    };
                    candidate.race(&name, training, folding, rival, times)?
                }
                None => {
                    // half of the time is kept for simpler heads if the first takes too long
                    let others = if self.is_empty() { 0.5 * self.seconds_left() } else { 0.0 };
                    let until = self.deadline(reserve + self.seconds_to_close() + others);
                    let score = candidate.score(&name, training, folding, until)?;
                    let closing = score.seconds_to_close();
                    (score, closing)
                }
            };
            Ok((score, closing, candidate))
        });
        let (score, closing, candidate) = match scored {
            Ok(scored) => scored,
            Err(error) if error.is_out_of_time() => {
                let score = CandidateScore::new(&name, Vec::new(), folding.folds, start);
                return self.leave_out(score, "did not end in the time left".into());
            }
            Err(TransferError::Learn(LearnError::Stopped { .. })) => return Err(self.stopped()),
            Err(error) => return Err(error),
        };
        let may_be_kept = rival.and_then(|rival| self.score_of(&rival)).is_none_or(|rival| score.beats(rival));
        if may_be_kept && closing > self.seconds_left() - after {
            return self.leave_out(score, format!("making a classifier of it takes about {}", seconds_text(closing)));
        }
        let record =
            json!({"event": "tried", "name": name, "accuracy": score.interval().mean, "seconds": score.seconds});
        self.scores.push(score)?;
        self.tried.push(spec.clone());
        if self.best()? == *spec {
            self.best = Some((spec.clone(), candidate));
        }
        if observer.on(Event::Record(&record))? == Flow::Stop {
            return Err(self.stopped());
        }
        Ok(())
    }

    /// Notes a candidate that can't be kept, with its time, which counts for a search that resumes.
    fn leave_out(&mut self, score: CandidateScore, reason: String) -> Result<()> {
        self.scores.push(CandidateScore { left_out: Some(reason), ..score })
    }

    fn stopped(&self) -> TransferError {
        LearnError::Stopped { at: format!("{} candidates", self.scores.len()) }.into()
    }

    /// The candidates that this session has reached, with their scores. An earlier session may have scored more: they
    /// count once this session reaches them, so that it makes the same decisions as the earlier session.
    pub(super) fn scored(&self) -> impl Iterator<Item = Scored<'_>> {
        self.tried.iter().filter_map(|spec| Some((spec, self.score_of(spec)?)))
    }

    /// The best candidate that this session has reached; of equally good ones the first.
    pub(super) fn best(&self) -> Result<CandidateSpec> {
        Self::best_of(self.scored()).ok_or(TransferError::NothingScored)
    }

    /// The best head that this session has reached, if any.
    pub(super) fn best_head(&self) -> Option<CandidateSpec> {
        Self::best_of(self.scored().filter(|(spec, _)| !matches!(spec.approach, Approach::FineTune(_))))
    }

    fn best_of<'a>(scored: impl Iterator<Item = Scored<'a>>) -> Option<CandidateSpec> {
        let best = scored.reduce(|best, other| if Self::is_better(other, best) { other } else { best })?;
        Some(best.0.clone())
    }

    /// Whether `candidate` is to be kept rather than `other`.
    fn is_better(candidate: Scored, other: Scored) -> bool {
        let lead = candidate.1.lead(other.1).0;
        lead > 0.0 || Self::handicap(candidate, other).is_some_and(|handicap| lead >= -handicap)
    }

    /// By how many predictions `candidate` may be worse than `other` on folds and still be kept; `None` if it must be
    /// better. A head on stages in several views was better than other heads, on average, on every data set that
    /// it was tried on, so it is kept unless others are better by more than a standard error.
    pub(super) fn handicap(candidate: Scored, other: Scored) -> Option<f64> {
        let in_views =
            |spec: &CandidateSpec| matches!(spec.approach, Approach::Staged(_)) && spec.variant.views != Views::One;
        let is_head = !matches!(other.0.approach, Approach::FineTune(_));
        (in_views(candidate.0) && is_head && !in_views(other.0)).then(|| candidate.1.lead(other.1).1)
    }

    /// The best candidate, rebuilt if an earlier session built it.
    pub(super) fn take_best(
        &mut self,
        builder: &mut CandidateBuilder,
        observer: &mut dyn Observer,
    ) -> Result<(CandidateSpec, Candidate)> {
        let spec = self.best()?;
        match self.best.take().filter(|(built, _)| *built == spec) {
            Some(best) => Ok(best),
            None => {
                let candidate = builder.build(&spec, observer)?;
                Ok((spec, candidate))
            }
        }
    }

    /// All candidates, first those that took time.
    pub(super) fn into_tried(self) -> Vec<TriedCandidate> {
        let scored = self.scores.into_entries().into_iter().map(TriedCandidate::of_score);
        let skipped = self.skipped.into_iter().map(|(name, reason)| TriedCandidate {
            name,
            accuracy: None,
            decisions: 0,
            seconds: 0.0,
            skipped: Some(reason),
        });
        scored.chain(skipped).collect()
    }
}
