//! A bound on how often something is done.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// A bucket of tokens that fills at a constant rate.
pub(crate) struct Rate {
    per_second: f64,
    most: f64,
    tokens: Mutex<(f64, Instant)>,
}

impl Rate {
    pub(crate) fn new(per_second: f64, most: f64) -> Self {
        Self { per_second, most, tokens: Mutex::new((most, Instant::now())) }
    }

    /// Whether it may be done now.
    pub(crate) fn allows(&self) -> bool {
        self.allows_at(Instant::now())
    }

    fn allows_at(&self, now: Instant) -> bool {
        let mut held = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let (tokens, before) = *held;
        let filled = (tokens + self.per_second * now.saturating_duration_since(before).as_secs_f64()).min(self.most);
        let allowed = filled >= 1.0;
        *held = (if allowed { filled - 1.0 } else { filled }, now);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_burst_is_allowed_and_then_the_rate() {
        let rate = Rate::new(2.0, 3.0);
        let start = Instant::now();
        let allowed = |seconds: f64| rate.allows_at(start + Duration::from_secs_f64(seconds));
        assert_eq!([0.0, 0.0, 0.0, 0.0].map(allowed), [true, true, true, false]);
        assert_eq!([0.3, 0.6, 0.7].map(allowed), [false, true, false]);
        assert_eq!([100.0, 100.0, 100.0, 100.0].map(allowed), [true, true, true, false]);
    }
}
