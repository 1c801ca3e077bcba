//! The processes that share one job: which items are whose, and how results come together again.
//!
//! Every result is put together in the order of the items, never in the order in which processes finish, so a job gives
//! the same bits on any number of processes.

use crate::{LearnError, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ops::Range;
use taper_ops::map_in_order;

/// The processes that share one job, seen from one of them. All of them run the same program with the same options, and
/// call these functions in the same order.
///
/// A process is known by its rank, a number from 0. Rank 0 writes files and speaks to the user.
pub trait Ranks: Send + Sync {
    /// This process, from 0.
    fn rank(&self) -> usize;

    /// The number of processes.
    fn count(&self) -> usize;

    /// The bytes that every process gives, in the order of ranks, on every process.
    ///
    /// # Errors
    /// Returns an error if a process can't be reached.
    fn gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>>;

    /// Copies the values of rank `from` to every process; all give as many.
    ///
    /// # Errors
    /// Returns an error if a process can't be reached.
    fn broadcast(&self, values: &mut [f32], from: usize) -> Result<()>;

    /// Sends values to rank `to`, which [receives](Ranks::receive) as many.
    ///
    /// # Errors
    /// Returns an error if the process can't be reached.
    fn send(&self, values: &[f32], to: usize) -> Result<()>;

    /// Receives values that rank `from` [sends](Ranks::send).
    ///
    /// # Errors
    /// Returns an error if the process can't be reached.
    fn receive(&self, values: &mut [f32], from: usize) -> Result<()>;

    /// Whether this process writes files and speaks to the user.
    fn writes(&self) -> bool {
        self.rank() == 0
    }

    /// The items of this process, of `items` in total: consecutive ones, in the order of ranks. If there are fewer
    /// items than processes, some have none.
    fn block(&self, items: usize) -> Range<usize> {
        let start = |rank: usize| (rank * items).div_ceil(self.count());
        start(self.rank())..start(self.rank() + 1)
    }
}

/// A job of one process, which owns every item.
#[derive(Debug, Clone, Copy, Default)]
pub struct OneProcess;

impl Ranks for OneProcess {
    fn rank(&self) -> usize {
        0
    }

    fn count(&self) -> usize {
        1
    }

    fn gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>> {
        Ok(vec![own.to_vec()])
    }

    fn broadcast(&self, _values: &mut [f32], _from: usize) -> Result<()> {
        Ok(())
    }

    fn send(&self, _values: &[f32], _to: usize) -> Result<()> {
        Err(alone())
    }

    fn receive(&self, _values: &mut [f32], _from: usize) -> Result<()> {
        Err(alone())
    }
}

fn alone() -> LearnError {
    LearnError::Invalid("a job of one process has no other process to send to".into())
}

/// `f` of each item, made by the processes that own the items; results in the order of the items, on every process.
///
/// # Errors
/// Returns the error of the first item that fails, on every process; [`LearnError::Rank`] if another process owns it.
///
/// ```
/// use taper_learn::ranks::{OneProcess, map_over};
///
/// let squares = map_over(&OneProcess, &[1, 2, 3], |_, value| Ok(value * value))?;
/// assert_eq!(squares, [1, 4, 9]);
/// # Ok::<(), taper_learn::LearnError>(())
/// ```
pub fn map_over<I: Sync, T: Send + Serialize + DeserializeOwned>(
    ranks: &dyn Ranks,
    items: &[I],
    f: impl Fn(usize, &I) -> Result<T> + Sync + Send,
) -> Result<Vec<T>> {
    let block = ranks.block(items.len());
    let made = map_in_order(&items[block.clone()], |index, item| f(block.start + index, item));
    let own: Result<Vec<T>> = made.into_iter().collect();
    if ranks.count() == 1 {
        return own;
    }
    let told: Vec<std::result::Result<Vec<T>, String>> =
        exchange(ranks, &own.as_ref().map_err(|error| error.to_string()))?;
    let mut all = Vec::with_capacity(items.len());
    for (rank, part) in told.into_iter().enumerate() {
        match part {
            Ok(part) => all.extend(part),
            Err(_) if rank == ranks.rank() => return own,
            Err(problem) => return Err(LearnError::Rank { rank, problem }),
        }
    }
    Ok(all)
}

/// What every process says, in the order of ranks, on every process.
///
/// # Errors
/// Returns an error if a process can't be reached, or says something else.
pub(crate) fn exchange<S: Serialize, T: DeserializeOwned>(ranks: &dyn Ranks, own: &S) -> Result<Vec<T>> {
    let own = serde_json::to_vec(own).map_err(|error| LearnError::Invalid(error.to_string()))?;
    let read = |(rank, bytes): (usize, Vec<u8>)| {
        serde_json::from_slice(&bytes).map_err(|error| LearnError::Rank {
            rank,
            problem: format!("sent something unexpected ({error}): run the same program everywhere"),
        })
    };
    ranks.gather(&own)?.into_iter().enumerate().map(read).collect()
}

/// Checks that every process has the same text; `what` names it in the error, such as `options`.
///
/// # Errors
/// Returns [`LearnError::RanksDiffer`] if one has another than rank 0.
pub fn agree(ranks: &dyn Ranks, what: &str, own: &str) -> Result<()> {
    if ranks.count() == 1 {
        return Ok(());
    }
    let all = ranks.gather(own.as_bytes())?;
    match all.iter().position(|text| *text != all[0]) {
        Some(rank) => Err(LearnError::RanksDiffer { rank, what: what.to_string() }),
        None => Ok(()),
    }
}

/// Whether any process says so.
///
/// # Errors
/// Returns an error if a process can't be reached.
pub(crate) fn any(ranks: &dyn Ranks, own: bool) -> Result<bool> {
    match ranks.count() {
        1 => Ok(own),
        _ => Ok(ranks.gather(&[u8::from(own)])?.iter().any(|said| said == &[1])),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::sync::{Arc, Mutex};

    /// A rank that is a thread; ranks are connected by channels.
    pub(crate) struct Thread {
        rank: usize,
        to: Vec<Mutex<Sender<Vec<u8>>>>,
        from: Vec<Mutex<Receiver<Vec<u8>>>>,
    }

    impl Thread {
        fn tell(&self, bytes: Vec<u8>, to: usize) {
            self.to[to].lock().unwrap().send(bytes).unwrap();
        }

        fn hear(&self, from: usize) -> Result<Vec<u8>> {
            let lost = |_| LearnError::Invalid(format!("rank {from} has ended"));
            self.from[from].lock().unwrap().recv().map_err(lost)
        }
    }

    fn bytes(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    impl Ranks for Thread {
        fn rank(&self) -> usize {
            self.rank
        }

        fn count(&self) -> usize {
            self.to.len()
        }

        fn gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>> {
            (0..self.count()).for_each(|to| self.tell(own.to_vec(), to));
            (0..self.count()).map(|from| self.hear(from)).collect()
        }

        fn broadcast(&self, values: &mut [f32], from: usize) -> Result<()> {
            if self.rank == from {
                (0..self.count()).filter(|&to| to != from).for_each(|to| self.tell(bytes(values), to));
                return Ok(());
            }
            self.receive(values, from)
        }

        fn send(&self, values: &[f32], to: usize) -> Result<()> {
            self.tell(bytes(values), to);
            Ok(())
        }

        fn receive(&self, values: &mut [f32], from: usize) -> Result<()> {
            let heard = self.hear(from)?;
            let heard = heard.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap()));
            assert_eq!(heard.len(), values.len());
            values.iter_mut().zip(heard).for_each(|(value, heard)| *value = heard);
            Ok(())
        }
    }

    /// What `work` returns on each of `count` ranks.
    pub(crate) fn on_ranks<T: Send>(count: usize, work: impl Fn(Arc<dyn Ranks>) -> T + Sync) -> Vec<T> {
        let mut threads: Vec<Thread> =
            (0..count).map(|rank| Thread { rank, to: Vec::new(), from: Vec::new() }).collect();
        for from in 0..count {
            for to in 0..count {
                let (sender, receiver) = channel();
                threads[from].to.push(Mutex::new(sender));
                threads[to].from.push(Mutex::new(receiver));
            }
        }
        std::thread::scope(|scope| {
            let work = &work;
            let running: Vec<_> = threads.into_iter().map(|one| scope.spawn(move || work(Arc::new(one)))).collect();
            running.into_iter().map(|one| one.join().unwrap()).collect()
        })
    }

    #[test]
    fn every_item_has_one_owner_and_rank_0_has_the_first() {
        for count in 1..6 {
            for items in 0..12 {
                let blocks = on_ranks(count, |ranks| ranks.block(items));
                let together: Vec<usize> = blocks.iter().cloned().flatten().collect();
                assert_eq!(together, (0..items).collect::<Vec<_>>());
                let lengths: Vec<usize> = blocks.iter().map(ExactSizeIterator::len).collect();
                assert!(lengths.iter().max().unwrap() - lengths.iter().min().unwrap() <= 1);
                assert_eq!(blocks[0].is_empty(), items == 0);
            }
        }
    }

    #[test]
    fn results_keep_the_order_of_the_items_on_any_number_of_ranks() {
        let items: Vec<f64> = (0..7).map(|item| 0.1 * f64::from(item)).collect();
        for count in 1..5 {
            let made = on_ranks(count, |ranks| map_over(ranks.as_ref(), &items, |at, item| Ok((at, item / 3.0))));
            for made in made {
                assert_eq!(made.unwrap(), items.iter().map(|item| item / 3.0).enumerate().collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn the_first_failure_ends_every_rank_with_its_owner_s_number() {
        let fail = |at: usize, _: &()| match at {
            2 | 3 => Err(LearnError::Invalid(format!("item {at} is bad"))),
            _ => Ok(at),
        };
        let errors = on_ranks(3, |ranks| map_over(ranks.as_ref(), &[(); 6], fail).unwrap_err().to_string());
        assert_eq!(errors, ["rank 1: item 2 is bad", "item 2 is bad", "rank 1: item 2 is bad"]);
    }

    #[test]
    fn a_rank_with_another_text_is_named() {
        let errors = on_ranks(3, |ranks| {
            agree(ranks.as_ref(), "options", if ranks.rank() == 2 { "seed 1" } else { "seed 0" })
                .unwrap_err()
                .to_string()
        });
        assert!(
            errors.iter().all(|error| error.starts_with("rank 2 and rank 0 differ in their options")),
            "{errors:?}"
        );
        assert!(on_ranks(3, |ranks| agree(ranks.as_ref(), "options", "").is_ok()).into_iter().all(|same| same));
        let asked = on_ranks(3, |ranks| any(ranks.as_ref(), ranks.rank() == 1).unwrap());
        assert_eq!(asked, [true; 3]);
    }
}
