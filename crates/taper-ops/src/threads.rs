//! Threads: across the items of a batch, or across the images of one operation, never both.

use rayon::prelude::*;
use std::cell::Cell;
use std::sync::{Mutex, MutexGuard, PoisonError};

thread_local! {
    static ONE_THREAD: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` with every operation inside it kept on the calling thread.
pub fn on_one_thread<T>(work: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            ONE_THREAD.with(|flag| flag.set(self.0));
        }
    }
    let _restore = Restore(ONE_THREAD.with(|flag| flag.replace(true)));
    work()
}

/// May an operation on this thread split its work?
pub(crate) fn may_split() -> bool {
    !ONE_THREAD.with(Cell::get) && rayon::current_num_threads() > 1
}

/// `f` of every item, results in the items' order. With several items each runs on one thread,
/// the items in parallel; a single item may use all threads itself. Results do not depend on the
/// number of threads.
pub fn map_in_order<I: Sync, T: Send>(items: &[I], f: impl Fn(usize, &I) -> T + Sync + Send) -> Vec<T> {
    if items.len() <= 1 || !may_split() {
        return items.iter().enumerate().map(|(index, item)| f(index, item)).collect();
    }
    items.par_iter().enumerate().with_max_len(1).map(|(index, item)| on_one_thread(|| f(index, item))).collect()
}

/// What a mutex guards, whatever became of the threads that held it before.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many threads work at once here.
pub fn threads() -> usize {
    rayon::current_num_threads()
}

/// Runs `work` inside a pool of `threads` threads.
pub fn in_pool<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> Result<T, rayon::ThreadPoolBuildError> {
    Ok(rayon::ThreadPoolBuilder::new().num_threads(threads).build()?.install(work))
}

/// Runs `f` over equal chunks of `out`, in parallel where that is allowed and worth it
/// (`operations` is the work in all, in floating-point operations).
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

/// Runs `f` over parts of `out` of the given lengths, likewise.
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
    assert!(rest.is_empty(), "parts that do not cover their whole");
    for_each_chunk(&mut parts, 1, operations, |index, part| f(index, part[0]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_order_of_the_items() {
        let squares = in_pool(2, || map_in_order(&[1, 2, 3, 4, 5], |_, v| v * v)).unwrap();
        assert_eq!(squares, [1, 4, 9, 16, 25]);
    }

    #[test]
    fn the_one_thread_mark_ends_with_its_scope() {
        in_pool(2, || {
            on_one_thread(|| assert!(!may_split()));
            assert!(may_split());
        })
        .unwrap();
    }
}
