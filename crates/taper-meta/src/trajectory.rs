//! The points of an inner loop, kept sparsely and visited backward.

use crate::inner_loop::{InnerLoop, Slope, Step};
use taper_data::Batch;
use taper_learn::Result;
use taper_models::Params;

/// A loop of at most this many steps keeps every step's graph for the backward pass; a longer one
/// recomputes them.
const SHORT: usize = 5;
/// A loop of more steps than this keeps the parameters of every √K-th step only and recomputes those
/// between, for one more gradient per step: its memory grows with √K.
const LONG: usize = 16;

/// φ₀ … φ_K₋₁ of a loop, from the end.
pub(crate) struct Trajectory<'a> {
    inner: &'a InnerLoop,
    steps: &'a [Step],
    support: &'a Batch,
    source: &'a str,
    /// Steps between checkpoints.
    stride: usize,
    /// φ at the start of each segment that has not been visited.
    checkpoints: Vec<Params>,
    /// The segment before the point visited last.
    segment: Vec<TrajectoryPoint>,
}

/// A point of a trajectory.
pub(crate) struct TrajectoryPoint {
    /// Steps before it.
    pub(crate) number: usize,
    pub(crate) params: Params,
    /// The support loss's gradient here, if its graph is kept.
    pub(crate) slope: Option<Slope>,
}

impl<'a> Trajectory<'a> {
    /// Takes all `steps` from φ₀; the trajectory, and φ_K.
    ///
    /// Fails at the first loss that is not finite.
    pub(crate) fn walk(
        inner: &'a InnerLoop,
        start: &Params,
        steps: &'a [Step],
        support: &'a Batch,
        source: &'a str,
    ) -> Result<(Self, Params)> {
        let count = steps.len();
        let stride = if count > LONG { count.isqrt() + 1 } else { count.max(1) };
        let mut trajectory =
            Self { inner, steps, support, source, stride, checkpoints: Vec::new(), segment: Vec::new() };
        let mut here = start.detached();
        for from in (0..count).step_by(stride) {
            // two segments at a time would waste memory
            trajectory.segment.clear();
            trajectory.checkpoints.push(here.clone());
            (trajectory.segment, here) = trajectory.segment_from(from, here)?;
        }
        trajectory.checkpoints.pop();
        Ok((trajectory, here))
    }

    /// The point before the one visited last; `None` before φ₀.
    pub(crate) fn back(&mut self) -> Result<Option<TrajectoryPoint>> {
        if self.segment.is_empty() {
            let Some(mark) = self.checkpoints.pop() else { return Ok(None) };
            self.segment = self.segment_from(self.checkpoints.len() * self.stride, mark)?.0;
        }
        Ok(self.segment.pop())
    }

    /// One segment from φ at step `from`: its points, and its end.
    fn segment_from(&self, from: usize, start: Params) -> Result<(Vec<TrajectoryPoint>, Params)> {
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
    use crate::Maml;
    use crate::inner_loop::{Order, Rate};
    use crate::test_support::{start, task};
    use taper_learn::TaskNorm;

    #[test]
    fn the_backward_pass_visits_every_point_of_the_forward_pass() {
        let (context, state) = start(&Maml::default(), TaskNorm::Support, 1);
        let inner = InnerLoop { network: context.network, norm: TaskNorm::Support, order: Order::Second };
        let support = task().support;
        for count in [0, 3, 9, 18, 25] {
            // no two steps alike
            let rate = |number: usize| Rate::Same(1e-3 * (number + 1) as f64);
            let steps: Vec<Step> = (0..count).map(|number| Step::plain(rate(number), &state.buffers)).collect();
            let (mut trajectory, end) = Trajectory::walk(&inner, &state.params, &steps, &support, "noise").unwrap();
            let at = |number: usize| inner.descend(&state.params, &steps[..number], &support, "noise").unwrap();
            let values = |params: &Params| -> Vec<Vec<f64>> {
                params.iter().map(|(_, tensor)| tensor.flatten_all().unwrap().to_vec1().unwrap()).collect()
            };
            assert!(values(&end) == values(&at(count)));
            for number in (0..count).rev() {
                let stop = trajectory.back().unwrap().unwrap();
                assert_eq!(stop.number, number);
                assert!(values(&stop.params) == values(&at(number)), "step {number} of {count}");
            }
            assert!(trajectory.back().unwrap().is_none());
        }
    }
}
