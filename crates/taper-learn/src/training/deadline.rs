//! The time at which to give up.

use crate::{Event, Flow, LearnError, Observer, Result};
use std::time::Instant;

/// The time at which to give up; by default never. As an [`Observer`] it ends a training loop.
#[derive(Debug, Clone, Copy, Default)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// Gives up at this time.
    pub fn at(moment: Instant) -> Self {
        Self(Some(moment))
    }

    /// Checks the time.
    ///
    /// # Errors
    /// Returns [`LearnError::OutOfTime`] after the deadline.
    pub fn check(self) -> Result<()> {
        match self.0 {
            Some(moment) if Instant::now() >= moment => Err(LearnError::OutOfTime),
            _ => Ok(()),
        }
    }

    /// Whether at least this many seconds are left.
    pub fn leaves(self, seconds: f64) -> bool {
        self.0.is_none_or(|moment| moment.saturating_duration_since(Instant::now()).as_secs_f64() >= seconds)
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
}
