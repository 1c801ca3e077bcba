//! The thread that owns the [`Studio`]: requests queue for it, and in between it reads pictures that were not read yet.

use crate::limits::{ANSWER_TIME, WAITING};
use crate::problem::{Problem, Result};
use crate::studio::Studio;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use tokio::sync::oneshot;
use tokio::time::timeout;

type Job = Box<dyn FnOnce(&mut Studio) + Send>;

/// Where requests for the thread go.
#[derive(Clone)]
pub(crate) struct Worker {
    jobs: SyncSender<Job>,
}

impl Worker {
    /// Starts the thread, which makes the studio and computes with `threads` threads. It ends when the last
    /// [`Worker`] is dropped.
    pub(crate) fn start(
        threads: usize,
        studio: impl FnOnce() -> Studio + Send + 'static,
    ) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (jobs, queue) = sync_channel(WAITING);
        let work = move || {
            let mut queue = Some(queue);
            let mut studio = Some(studio);
            let mut go = || {
                if let (Some(studio), Some(queue)) = (studio.take(), queue.take()) {
                    serve(&mut studio(), &queue);
                }
            };
            // a system that starts no more threads computes on this one
            if taper_ops::in_pool(threads, &mut go).is_err() {
                go();
            }
        };
        let thread = std::thread::Builder::new().name("learner".into()).spawn(work)?;
        Ok((Self { jobs }, thread))
    }

    /// The answer of the studio. A request whose page has gone is dropped.
    ///
    /// # Errors
    /// Returns an error if too many others wait, or the answer takes too long.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        request: impl FnOnce(&mut Studio) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (sender, answer) = oneshot::channel();
        let job = move |studio: &mut Studio| {
            if !sender.is_closed() {
                let _ = sender.send(request(studio));
            }
        };
        self.jobs.try_send(Box::new(job)).map_err(|_| Problem::Busy)?;
        match timeout(ANSWER_TIME, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Problem::other("the request failed: see the messages in the terminal")),
            Err(_) => Err(Problem::Busy),
        }
    }
}

fn serve(studio: &mut Studio, queue: &Receiver<Job>) {
    loop {
        let job = match queue.try_recv() {
            Ok(job) => Some(job),
            Err(TryRecvError::Empty) => {
                let read = catch_unwind(AssertUnwindSafe(|| studio.read_one()));
                if read.unwrap_or(false) { None } else { queue.recv().ok() }
            }
            Err(TryRecvError::Disconnected) => return,
        };
        if let Some(job) = job {
            // one broken picture must not end the server
            let _ = catch_unwind(AssertUnwindSafe(|| job(studio)));
        }
    }
}
