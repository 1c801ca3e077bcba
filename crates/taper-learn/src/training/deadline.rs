//! The time at which to give up.

use crate::{Event, Flow, LearnError, Observer, Result};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// The time at which to give up; by default never. As an [`Observer`] it ends a training loop.
#[derive(Debug, Clone, Copy, Default)]
pub struct Deadline {
    moment: Option<Instant>,
    stop: Option<&'static AtomicBool>,
}

impl Deadline {
    /// Gives up at this time.
    pub fn at(moment: Instant) -> Self {
        Self { moment: Some(moment), stop: None }
    }

    /// The same, which also ends a job as soon as `stop` is true, if there is one.
    pub fn or_when(self, stop: Option<&'static AtomicBool>) -> Self {
        Self { stop, ..self }
    }

    /// Checks the time.
    ///
    /// # Errors
    /// Returns [`LearnError::OutOfTime`] after the deadline, and [`LearnError::Stopped`] if the job should stop.
    pub fn check(self) -> Result<()> {
        if self.stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
            return Err(LearnError::Stopped { at: "a part of its training".into() });
        }
        match self.moment {
            Some(moment) if Instant::now() >= moment => Err(LearnError::OutOfTime),
            _ => Ok(()),
        }
    }

    /// Whether at least this many seconds are left.
    pub fn leaves(self, seconds: f64) -> bool {
        self.moment.is_none_or(|moment| moment.saturating_duration_since(Instant::now()).as_secs_f64() >= seconds)
    }
}

impl Observer for Deadline {
    fn on(&mut self, _event: Event<'_>) -> Result<Flow> {
        self.check()?;
        Ok(Flow::Continue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_past_deadline_is_an_error_and_the_default_never_is() {
        assert!(matches!(Deadline::at(Instant::now()).check(), Err(LearnError::OutOfTime)));
        assert!(Deadline::default().check().is_ok());
        assert!(Deadline::default().leaves(1e300));
        let later = Deadline::at(Instant::now() + std::time::Duration::from_secs(3600));
        assert!(later.leaves(3000.0) && !later.leaves(3601.0));
    }

    #[test]
    fn a_job_that_should_stop_is_stopped_before_its_time() {
        static STOP: AtomicBool = AtomicBool::new(false);
        let until = Deadline::default().or_when(Some(&STOP));
        assert!(until.check().is_ok());
        STOP.store(true, Ordering::Relaxed);
        assert!(matches!(until.check(), Err(LearnError::Stopped { .. })));
    }
}
