//! Threads: across the items of a batch, or across the images of one operation, never both.

use rayon::prelude::*;
use std::cell::Cell;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What operations need to know about the work that they are part of.
///
/// It belongs to the work, not to the thread: a thread that waits inside one item may run another
/// item in the meantime, so [`map_in_order`] gives each item a context of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Context {
    /// Operations stay on the calling thread.
    one_thread: bool,
    /// Operations make values without a graph.
    unrecorded: bool,
}

thread_local! {
    static CONTEXT: Cell<Context> = const { Cell::new(Context { one_thread: false, unrecorded: false }) };
}

impl Context {
    /// Runs `work` in this context, and restores the thread's own afterwards, even if it panics.
    fn run<T>(self, work: impl FnOnce() -> T) -> T {
        struct Restore(Context);
        impl Drop for Restore {
            fn drop(&mut self) {
                CONTEXT.set(self.0);
            }
        }
        let _restore = Restore(CONTEXT.replace(self));
        work()
    }
}

/// Runs `work` with all of its operations on the calling thread.
///
/// ```
/// let sum = taper_ops::on_one_thread(|| (1..=4).sum::<i32>());
/// assert_eq!(sum, 10);
/// ```
pub fn on_one_thread<T>(work: impl FnOnce() -> T) -> T {
    Context { one_thread: true, ..CONTEXT.get() }.run(work)
}

/// Runs `work`, whose operations make values without a graph.
pub(crate) fn unrecorded<T>(work: impl FnOnce() -> T) -> T {
    Context { unrecorded: true, ..CONTEXT.get() }.run(work)
}

/// Returns `true` inside [`unrecorded`].
pub(crate) fn is_unrecorded() -> bool {
    CONTEXT.get().unrecorded
}

/// Returns `true` if an operation on this thread may split its work.
pub(crate) fn may_split() -> bool {
    !CONTEXT.get().one_thread && rayon::current_num_threads() > 1
}

/// `f` of each item, results in the order of the items. Several items run in parallel, each on one
/// thread; a single item may use all threads itself. Results do not depend on the number of threads.
///
/// ```
/// let squares = taper_ops::map_in_order(&[1, 2, 3], |_, value| value * value);
/// assert_eq!(squares, [1, 4, 9]);
/// ```
pub fn map_in_order<I: Sync, T: Send>(items: &[I], f: impl Fn(usize, &I) -> T + Sync + Send) -> Vec<T> {
    let parallel = items.len() > 1 && may_split();
    let context = Context { one_thread: parallel || CONTEXT.get().one_thread, unrecorded: false };
    if !parallel {
        return items.iter().enumerate().map(|(index, item)| context.run(|| f(index, item))).collect();
    }
    items.par_iter().enumerate().with_max_len(1).map(|(index, item)| context.run(|| f(index, item))).collect()
}

/// Locks a mutex, even if a thread panicked while it held it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The number of threads of the current pool.
///
/// ```
/// assert_eq!(taper_ops::in_pool(3, taper_ops::threads).unwrap(), 3);
/// ```
pub fn threads() -> usize {
    rayon::current_num_threads()
}

/// Runs `work` inside a pool of `threads` threads; 0 means one for each core.
///
/// # Errors
/// Returns an error if the system cannot start the threads.
///
/// ```
/// let doubled = taper_ops::in_pool(2, || taper_ops::map_in_order(&[1, 2], |_, value| 2 * value));
/// assert_eq!(doubled.unwrap(), [2, 4]);
/// ```
pub fn in_pool<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> Result<T, rayon::ThreadPoolBuildError> {
    Ok(rayon::ThreadPoolBuilder::new().num_threads(threads).build()?.install(work))
}

/// Runs `f` over equal chunks of `out`, in parallel if that is allowed and worth it
/// (`operations` counts the floating-point operations of all chunks).
pub(crate) fn for_each_chunk<T: Send>(
    out: &mut [T],
    chunk: usize,
    operations: usize,
    f: impl Fn(usize, &mut [T]) + Sync + Send,
) {
    const WORTH_SPLITTING: usize = 400_000;
    if chunk == 0 || out.is_empty() {
        return;
    }
    if may_split() && operations > WORTH_SPLITTING && out.len() > chunk {
        out.par_chunks_mut(chunk).enumerate().for_each(|(index, part)| f(index, part));
    } else {
        out.chunks_mut(chunk).enumerate().for_each(|(index, part)| f(index, part));
    }
}

/// Runs `f` over parts of `out` of the given lengths, as [`for_each_chunk`] does.
pub(crate) fn for_each_part<T: Send>(
    out: &mut [T],
    lengths: &[usize],
    operations: usize,
    f: impl Fn(usize, &mut [T]) + Sync + Send,
) {
    let mut parts = Vec::with_capacity(lengths.len());
    let mut rest = out;
    for &length in lengths {
        let (part, next) = rest.split_at_mut(length);
        parts.push(part);
        rest = next;
    }
    assert!(rest.is_empty(), "the parts do not cover the output");
    for_each_chunk(&mut parts, 1, operations, |index, part| f(index, part[0]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_order_of_the_items() {
        for threads in [1, 2, 3, 8] {
            let squares = in_pool(threads, || map_in_order(&[1, 2, 3, 4, 5], |_, v| v * v)).unwrap();
            assert_eq!(squares, [1, 4, 9, 16, 25]);
        }
    }

    #[test]
    fn the_one_thread_mark_ends_with_its_scope() {
        in_pool(2, || {
            on_one_thread(|| assert!(!may_split()));
            assert!(may_split());
            let panicked = std::panic::catch_unwind(|| on_one_thread(|| panic!("on purpose")));
            assert!(panicked.is_err() && may_split());
        })
        .unwrap();
    }

    /// An item waits for other threads while it is unrecorded; its thread then runs other items.
    #[test]
    fn an_item_that_a_waiting_thread_takes_inherits_nothing() {
        let (items, rounds) = if cfg!(miri) { (6, 2) } else { (64, 6) };
        for threads in [3, 8] {
            let fine = in_pool(threads, || {
                map_in_order(&vec![(); items], |_, ()| {
                    let own = Context { one_thread: true, unrecorded: false };
                    let mut fine = CONTEXT.get() == own;
                    for _ in 0..rounds {
                        unrecorded(|| {
                            (0..8).into_par_iter().with_max_len(1).for_each(|_| {
                                std::thread::sleep(std::time::Duration::from_micros(50));
                            });
                            fine &= is_unrecorded();
                        });
                        fine &= CONTEXT.get() == own;
                    }
                    fine
                })
            });
            assert!(fine.unwrap().into_iter().all(|fine| fine), "{threads} threads");
        }
    }

    #[test]
    fn nested_maps_give_the_same_results_on_any_number_of_threads() {
        let outer: Vec<u64> = (0..if cfg!(miri) { 4 } else { 40 }).collect();
        let run = |threads| {
            in_pool(threads, || {
                map_in_order(&outer, |_, &a| {
                    map_in_order(&[1u64, 2, 3], |_, &b| (0..50).fold(a * b, |sum, k| sum.wrapping_mul(31) ^ k))
                })
            })
            .unwrap()
        };
        let alone = run(1);
        for threads in [2, 3, 8] {
            assert_eq!(run(threads), alone);
        }
    }
}
