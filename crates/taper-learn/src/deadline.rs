//! A moment at which to give up.

use crate::{Event, Flow, LearnError, Observer, Result};
use std::time::Instant;

/// A moment at which to give up; there is none by default. As an [`Observer`] it ends a training
/// loop.
#[derive(Debug, Clone, Copy, Default)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// Gives up at this moment.
    pub fn at(moment: Instant) -> Self {
        Self(Some(moment))
    }

    /// Errs with [`LearnError::OutOfTime`] once the moment has come.
    pub fn check(self) -> Result<()> {
        match self.0 {
            Some(moment) if Instant::now() >= moment => Err(LearnError::OutOfTime),
            _ => Ok(()),
        }
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
    fn what_is_past_errs_and_what_is_not_set_never_does() {
        assert!(matches!(Deadline::at(Instant::now()).check(), Err(LearnError::OutOfTime)));
        assert!(Deadline::default().check().is_ok());
    }
}
