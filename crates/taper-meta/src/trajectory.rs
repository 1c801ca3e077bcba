//! The way that an inner loop took, remembered sparsely and walked back.

use crate::inner_loop::{InnerLoop, Slope, Step};
use taper_data::Batch;
use taper_learn::Result;
use taper_models::Params;

/// A loop of at most so many steps keeps every step's graph for the way back; a longer one makes
/// them again.
const SHORT: usize = 5;
/// A loop of more steps than this keeps the parameters of every √K-th step alone and finds those
/// between again, for one more gradient a step: its memory grows with √K.
const LONG: usize = 16;

/// φ₀ … φ_K₋₁ of a loop, to be taken from the end.
pub(crate) struct Trajectory<'a> {
    inner: &'a InnerLoop,
    steps: &'a [Step],
    support: &'a Batch,
    source: &'a str,
    /// Steps between the marks.
    stride: usize,
    /// φ at the begin of each stretch that is not stopped at.
    checkpoints: Vec<Params>,
    /// The stretch before the last place that was taken.
    segment: Vec<TrajectoryPoint>,
}

/// A place on the way.
pub(crate) struct TrajectoryPoint {
    /// Steps before it.
    pub(crate) number: usize,
    pub(crate) params: Params,
    /// The support loss's gradient here, where its graph is kept.
    pub(crate) slope: Option<Slope>,
}

impl<'a> Trajectory<'a> {
    /// Walks from φ₀ through all `steps`; the way, and φ_K.
    ///
    /// Errs at the first loss that is no number.
    pub(crate) fn walk(
        inner: &'a InnerLoop,
        start: &Params,
        steps: &'a [Step],
        support: &'a Batch,
        source: &'a str,
    ) -> Result<(Self, Params)> {
        let count = steps.len();
        let stride = if count > LONG { count.isqrt() + 1 } else { count.max(1) };
        let mut way = Self { inner, steps, support, source, stride, checkpoints: Vec::new(), segment: Vec::new() };
        let mut here = start.detached();
        for from in (0..count).step_by(stride) {
            // two stretches at a time would be memory for nothing
            way.segment.clear();
            way.checkpoints.push(here.clone());
            (way.segment, here) = way.stretch_from(from, here)?;
        }
        way.checkpoints.pop();
        Ok((way, here))
    }

    /// The place before the one taken last; none before φ₀.
    pub(crate) fn back(&mut self) -> Result<Option<TrajectoryPoint>> {
        if self.segment.is_empty() {
            let Some(mark) = self.checkpoints.pop() else { return Ok(None) };
            self.segment = self.stretch_from(self.checkpoints.len() * self.stride, mark)?.0;
        }
        Ok(self.segment.pop())
    }

    /// One stretch from φ at step `from`: its places, and where it ends.
    fn stretch_from(&self, from: usize, start: Params) -> Result<(Vec<TrajectoryPoint>, Params)> {
        let to = (from + self.stride).min(self.steps.len());
        let mut here = start;
        let mut stops = Vec::new();
        for number in from..to {
            let step = &self.steps[number];
            let (next, slope) = self.inner.advance(&here, number, step, self.support, self.source)?;
            let kept = self.inner.needs_slope(step) && (self.steps.len() <= SHORT || number + 1 == to);
            stops.push(TrajectoryPoint { number, params: here, slope: kept.then_some(slope) });
            here = next;
        }
        Ok((stops, here))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MAML;
    use crate::inner_loop::{Order, Rate};
    use crate::test_support::{start, task};
    use taper_learn::TaskNorm;

    #[test]
    fn the_way_back_stops_where_the_way_there_was_at_every_step() {
        let (setup, state) = start(&MAML, TaskNorm::Support, &[], 1);
        let inner = InnerLoop { network: setup.network, norm: TaskNorm::Support, order: Order::Second };
        let support = task().support;
        for count in [0, 3, 9, 18, 25] {
            // no two steps alike
            let rate = |number: usize| Rate::Same(1e-3 * (number + 1) as f64);
            let steps: Vec<Step> = (0..count).map(|number| Step::plain(rate(number), &state.buffers)).collect();
            let (mut way, end) = Trajectory::walk(&inner, &state.params, &steps, &support, "noise").unwrap();
            let at = |number: usize| inner.descend(&state.params, &steps[..number], &support, "noise").unwrap();
            let values = |params: &Params| -> Vec<Vec<f64>> {
                params.iter().map(|(_, tensor)| tensor.flatten_all().unwrap().to_vec1().unwrap()).collect()
            };
            assert!(values(&end) == values(&at(count)));
            for number in (0..count).rev() {
                let stop = way.back().unwrap().unwrap();
                assert_eq!(stop.number, number);
                assert!(values(&stop.params) == values(&at(number)), "step {number} of {count}");
            }
            assert!(way.back().unwrap().is_none());
        }
    }
}
