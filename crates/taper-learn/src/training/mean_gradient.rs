//! The mean of a step's gradients, summed in the order of the items.
//!
//! Processes add their items along a chain, in the order of ranks: each takes the sum of all items before its own, adds
//! its own, and passes the sum on. These are the additions of one process, in the same order, so the result has the same
//! bits on any number of processes. The sum travels in chunks, so that a long chain works on many chunks at once, and a
//! process never holds another's gradients.

use crate::ranks::{Ranks, exchange};
use crate::training::Gradient;
use crate::{Event, LearnError, Observer, Result};
use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Values that travel at once: 256 KiB.
const CHUNK: usize = 1 << 16;

/// The mean of the gradients of the step `step` (from 0), of which this process has `made` those of its own items. Items
/// whose inner loops diverged are skipped with a warning.
///
/// # Errors
/// Returns an error if any item failed for another reason, on every process, or if no gradient is left.
pub(crate) fn mean_gradient(
    made: Vec<Result<Gradient>>,
    step: u64,
    ranks: &dyn Ranks,
    observer: &mut dyn Observer,
) -> Result<Gradient> {
    match ranks.count() {
        1 => mean_of_all(without_diverged(made, step, observer)?),
        _ => mean_over_ranks(made, step, ranks, observer),
    }
}

/// The gradients of the items whose inner loops stayed finite; the others are skipped with a
/// warning. Fails if none is left.
fn without_diverged(made: Vec<Result<Gradient>>, step: u64, observer: &mut dyn Observer) -> Result<Vec<Gradient>> {
    let mut gradients = Vec::with_capacity(made.len());
    let mut diverged = None;
    for gradient in made {
        match gradient {
            Ok(gradient) => gradients.push(gradient),
            Err(error @ LearnError::InnerDiverged { .. }) => {
                let problem = error.to_string();
                skip(&problem, step, observer)?;
                diverged = Some(problem);
            }
            Err(error) => return Err(error),
        }
    }
    match diverged {
        Some(problem) if gradients.is_empty() => Err(LearnError::StepDiverged { step: step + 1, problem }),
        _ => Ok(gradients),
    }
}

fn skip(problem: &str, step: u64, observer: &mut dyn Observer) -> Result<()> {
    observer.on(Event::Warning(format!("step {}: {problem}; the task was skipped", step + 1))).map(|_| ())
}

/// The mean over items, summed in their order.
fn mean_of_all(gradients: Vec<Gradient>) -> Result<Gradient> {
    let count = gradients.len();
    let mut items = gradients.into_iter();
    let Some(mut total) = items.next() else { return Err(no_items()) };
    for item in items {
        total.loss += item.loss;
        total.params = total.params.zip(&item.params, |a, b| a + b)?;
        total.buffers = total.buffers.zip(&item.buffers, |a, b| a + b)?;
        add(&mut total.metrics, item.metrics);
    }
    divided(total, count)
}

fn no_items() -> LearnError {
    LearnError::Invalid("a step of 0 items learns nothing: use a batch size of at least 1".into())
}

fn add(total: &mut BTreeMap<&'static str, f64>, item: impl IntoIterator<Item = (&'static str, f64)>) {
    for (name, value) in item {
        *total.entry(name).or_insert(0.0) += value;
    }
}

/// A sum over `count` items as a mean.
fn divided(total: Gradient, count: usize) -> Result<Gradient> {
    let share = 1.0 / count as f64;
    if share == 1.0 {
        return Ok(total);
    }
    Ok(Gradient {
        loss: total.loss * share,
        metrics: total.metrics.into_iter().map(|(name, value)| (name, value * share)).collect(),
        params: total.params.map(|tensor| tensor * share)?,
        buffers: total.buffers.map(|tensor| tensor * share)?,
    })
}

/// What a process tells the others about one of its items. Numbers are told as bits, because a loss may be NaN.
#[derive(Serialize, Deserialize)]
enum Told {
    Made { loss: u64, metrics: Vec<(String, u64)> },
    Diverged(String),
    Failed(String),
}

impl Told {
    fn of(made: &Result<Gradient>) -> Self {
        match made {
            Ok(gradient) => Self::Made {
                loss: gradient.loss.to_bits(),
                metrics: gradient.metrics.iter().map(|(name, value)| (name.to_string(), value.to_bits())).collect(),
            },
            Err(error @ LearnError::InnerDiverged { .. }) => Self::Diverged(error.to_string()),
            Err(error) => Self::Failed(error.to_string()),
        }
    }
}

fn mean_over_ranks(
    made: Vec<Result<Gradient>>,
    step: u64,
    ranks: &dyn Ranks,
    observer: &mut dyn Observer,
) -> Result<Gradient> {
    let own: Vec<Told> = made.iter().map(Told::of).collect();
    let told: Vec<Vec<Told>> = exchange(ranks, &own)?;
    let (mut loss, mut metrics, mut count) = (0.0, BTreeMap::new(), 0);
    let mut diverged = None;
    // ranks that have part of the sum, in order
    let mut chain = Vec::new();
    for (rank, items) in told.into_iter().enumerate() {
        for item in items {
            match item {
                Told::Made { loss: one, metrics: figures } => {
                    let one = f64::from_bits(one);
                    loss = if count == 0 { one } else { loss + one };
                    let figures = figures.into_iter().map(|(name, bits)| (known(name, &made), f64::from_bits(bits)));
                    match count {
                        0 => metrics = figures.collect(),
                        _ => add(&mut metrics, figures),
                    }
                    count += 1;
                    if chain.last() != Some(&rank) {
                        chain.push(rank);
                    }
                }
                Told::Diverged(problem) => {
                    skip(&problem, step, observer)?;
                    diverged = Some(problem);
                }
                Told::Failed(problem) => {
                    let mut failed = made.into_iter().filter_map(Result::err);
                    let own = failed.find(|error| !matches!(error, LearnError::InnerDiverged { .. }));
                    let other = LearnError::Rank { rank, problem };
                    return Err(own.filter(|_| rank == ranks.rank()).unwrap_or(other));
                }
            }
        }
    }
    if chain.is_empty() {
        return Err(diverged.map_or_else(no_items, |problem| LearnError::StepDiverged { step: step + 1, problem }));
    }
    let gradients: Vec<Gradient> = made.into_iter().filter_map(Result::ok).collect();
    let sum = sum_along(&chain, gradients, ranks)?;
    divided(Gradient { loss, metrics, ..sum }, count)
}

/// A figure's name as this process knows it.
fn known(name: String, made: &[Result<Gradient>]) -> &'static str {
    let mut own = made.iter().flatten().flat_map(|gradient| gradient.metrics.keys());
    // only where each of this process's own items diverged, or where it has none
    own.find(|known| **known == name).copied().unwrap_or_else(|| Box::leak(name.into_boxed_str()))
}

/// Names and shapes of a gradient's tensors: parameters, then running statistics.
#[derive(Serialize, Deserialize, Default)]
struct Layout {
    params: Vec<(String, Vec<usize>)>,
    buffers: Vec<(String, Vec<usize>)>,
}

impl Layout {
    fn of(gradient: &Gradient) -> Self {
        let shape = |(name, tensor): (&str, &Tensor)| (name.to_string(), tensor.dims().to_vec());
        Self {
            params: gradient.params.iter().map(shape).collect(),
            buffers: gradient.buffers.iter().map(shape).collect(),
        }
    }

    /// The number of values.
    fn len(&self) -> usize {
        self.params.iter().chain(&self.buffers).map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }

    /// The tensors with these values, without loss and figures.
    fn gradient(self, values: &[f32]) -> Result<Gradient> {
        let mut at = 0;
        let mut tensor = |(name, shape): (String, Vec<usize>)| -> Result<(String, Tensor)> {
            let count: usize = shape.iter().product();
            at += count;
            Ok((name, Tensor::from_slice(&values[at - count..at], shape, &Device::Cpu)?))
        };
        let params = self.params.into_iter().map(&mut tensor).collect::<Result<Vec<_>>>()?;
        let buffers = self.buffers.into_iter().map(&mut tensor).collect::<Result<Vec<_>>>()?;
        Ok(Gradient {
            loss: 0.0,
            metrics: BTreeMap::new(),
            params: params.into_iter().collect(),
            buffers: buffers.into_iter().collect(),
        })
    }
}

/// The sum of all gradients along the ranks of `chain`, each of which has some; on every process.
fn sum_along(chain: &[usize], gradients: Vec<Gradient>, ranks: &dyn Ranks) -> Result<Gradient> {
    let own = gradients.first().map(Layout::of);
    let layout = match (own, chain.len() == ranks.count()) {
        (Some(own), true) => own,
        // some have no gradient to read the shapes from
        (own, _) => {
            let told: Vec<Option<Layout>> = exchange(ranks, &own)?;
            told.into_iter().flatten().next().unwrap_or_default()
        }
    };
    let gradients = gradients.into_iter().map(values).collect::<Result<Vec<_>>>()?;
    let mut total = vec![0f32; layout.len()];
    if let Some(place) = chain.iter().position(|&rank| rank == ranks.rank()) {
        let before = place.checked_sub(1).map(|place| chain[place]);
        let after = chain.get(place + 1);
        for (number, sum) in total.chunks_mut(CHUNK).enumerate() {
            let range = number * CHUNK..number * CHUNK + sum.len();
            let mut items = gradients.iter().map(|values| &values[range.clone()]);
            match (before, items.len()) {
                (Some(before), _) => ranks.receive(sum, before)?,
                (None, _) => items.next().into_iter().for_each(|first| sum.copy_from_slice(first)),
            }
            for item in items {
                sum.iter_mut().zip(item).for_each(|(sum, value)| *sum += value);
            }
            if let Some(&after) = after {
                ranks.send(sum, after)?;
            }
        }
    }
    if let Some(&last) = chain.last() {
        ranks.broadcast(&mut total, last)?;
    }
    layout.gradient(&total)
}

/// The values of a gradient's tensors.
fn values(gradient: Gradient) -> Result<Vec<f32>> {
    let mut values = Vec::with_capacity(gradient.params.count() + gradient.buffers.count());
    for (_, tensor) in gradient.params.iter().chain(gradient.buffers.iter()) {
        values.extend(tensor.flatten_all()?.to_vec1::<f32>()?);
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ranks::tests::on_ranks;
    use crate::{Draw, Flow, NoopObserver, Plan, Progress, fit, training::Objective};
    use std::sync::{Arc, Mutex};
    use taper_models::State;

    /// A gradient of many values of different sizes, so that another order of additions has other bits. Items of
    /// these numbers diverge, or fail.
    #[derive(Default)]
    struct Rough {
        diverges: Vec<u64>,
        fails: Vec<u64>,
    }

    /// More than a chunk, and not a multiple of one.
    const VALUES: usize = CHUNK + 77;

    impl Objective for Rough {
        type Item = ();

        fn gradient(&self, state: &State, _: &(), at: Draw) -> Result<Gradient> {
            if self.diverges.contains(&at.number) {
                return Err(LearnError::InnerDiverged { task: format!("item {}", at.number), step: 1, loss: f64::NAN });
            }
            if self.fails.contains(&at.number) {
                return Err(LearnError::Invalid(format!("item {} is bad", at.number)));
            }
            let random = |stream| taper_ops::normal(&mut at.rng(stream), VALUES, 1.0);
            let weight = (random("a")? * random("b")?.exp()?)?;
            let loss = f64::from(weight.get(0)?.to_scalar::<f32>()?);
            let params = [("w".to_string(), (weight + state.params.get("w")?)?)].into_iter().collect();
            let buffers = [("mean".to_string(), random("c")?)].into_iter().collect();
            Ok(Gradient { loss, metrics: BTreeMap::from([("accuracy", loss.abs())]), params, buffers })
        }
    }

    /// What happens in a run, with the losses' bits.
    #[derive(Clone)]
    struct Events(Arc<dyn Ranks>, Arc<Mutex<Vec<String>>>);

    impl Observer for Events {
        fn on(&mut self, event: Event<'_>) -> Result<Flow> {
            let text = match event {
                Event::Step { loss, metrics, .. } => format!("{:x} {metrics:?}", loss.to_bits()),
                Event::Warning(text) => text,
                _ => return Ok(Flow::Continue),
            };
            self.1.lock().unwrap().push(text);
            Ok(Flow::Continue)
        }

        fn ranks(&self) -> Arc<dyn Ranks> {
            self.0.clone()
        }
    }

    fn bits(state: &State) -> Vec<u32> {
        let tensors = state.params.iter().chain(state.buffers.iter());
        tensors.flat_map(|(_, tensor)| tensor.to_vec1::<f32>().unwrap()).map(f32::to_bits).collect()
    }

    /// The final state's bits and the events on each of `count` ranks.
    fn trained(count: usize, items: usize, objective: &Rough) -> Vec<Result<(Vec<u32>, Vec<String>)>> {
        on_ranks(count, |ranks| {
            let mut events = Events(ranks, Arc::default());
            let weight = Tensor::zeros(VALUES, candle_core::DType::F32, &Device::Cpu)?;
            let params = [("w".to_string(), weight)].into_iter().collect();
            let start = Progress::new(State { params, ..State::default() });
            let plan = Plan { steps: 3, items, clip: Some(1.0), ..Plan::default() };
            let fitted = fit(start, &plan, objective, |_| Ok(()), |_| Ok(0.0), &mut events)?;
            let events = events.1.lock().unwrap().clone();
            Ok((bits(&fitted.progress.state), events))
        })
    }

    #[test]
    fn a_run_has_the_same_bits_on_any_number_of_ranks() {
        for items in [1, 3, 4] {
            for objective in [Rough::default(), Rough { diverges: vec![0, 1, 5], ..Rough::default() }] {
                if items == 1 && !objective.diverges.is_empty() {
                    continue; // nothing would be left of a step
                }
                let alone = trained(1, items, &objective).remove(0).unwrap();
                assert_eq!(alone.1.len(), 3 + objective.diverges.len());
                for count in 2..=4 {
                    for (rank, run) in trained(count, items, &objective).into_iter().enumerate() {
                        let run = run.unwrap();
                        assert!(run.0 == alone.0, "parameters of rank {rank} of {count}, {items} items");
                        assert_eq!(run.1, alone.1, "rank {rank} of {count}, {items} items");
                    }
                }
            }
        }
    }

    #[test]
    fn the_order_of_the_additions_matters_to_these_gradients() {
        let make = |number| Rough::default().gradient(&start(), &(), Draw { seed: 0, step: 0, number }).unwrap();
        let forward = mean_of_all((0..4).map(make).collect()).unwrap().params;
        let backward = mean_of_all((0..4).rev().map(make).collect()).unwrap().params;
        let bits = |params| bits(&State { params, ..State::default() });
        assert!(bits(forward) != bits(backward));
    }

    fn start() -> State {
        let weight = Tensor::zeros(VALUES, candle_core::DType::F32, &Device::Cpu).unwrap();
        State { params: [("w".to_string(), weight)].into_iter().collect(), ..State::default() }
    }

    #[test]
    fn a_failure_and_a_step_without_items_end_every_rank() {
        let failing = Rough { fails: vec![6], diverges: vec![5] };
        let errors: Vec<String> = trained(3, 4, &failing).into_iter().map(|run| run.unwrap_err().to_string()).collect();
        assert_eq!(errors, ["rank 1: item 6 is bad", "item 6 is bad", "rank 1: item 6 is bad"]);
        let diverging = Rough { diverges: vec![0, 1], ..Rough::default() };
        for run in trained(2, 2, &diverging) {
            assert!(matches!(run.unwrap_err(), LearnError::StepDiverged { step: 1, .. }));
        }
        assert!(mean_gradient(Vec::new(), 0, &crate::ranks::OneProcess, &mut NoopObserver).is_err());
    }
}
