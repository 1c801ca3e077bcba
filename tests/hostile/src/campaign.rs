//! Many damaged files, one after the other.

use crate::{Kind, MEMORY, SECONDS, Seed, held, peak, reset_peak, scratch_folder, seeds};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;
use std::{fs, io, path::Path};
use taper_data::mutation::mutate;

/// What became of the inputs of a kind.
#[derive(Debug, Default)]
pub struct Outcomes {
    /// Files that were read.
    pub read: u64,
    /// Files that were refused with a message of one line.
    pub refused: u64,
    /// Seconds of all files together.
    pub seconds: f64,
    /// The most bytes of memory that one file took.
    pub memory: u64,
    /// Bytes of memory that the process holds more after all files than before.
    pub kept: i64,
}

/// A file that a reader did not read as it must.
#[derive(Debug)]
pub struct Fault {
    /// The file's number.
    pub input: u64,
    /// Its kind.
    pub kind: Kind,
    /// What happened.
    pub what: String,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// What became of all inputs.
#[derive(Debug, Default)]
pub struct Report {
    /// By kind.
    pub kinds: BTreeMap<Kind, Outcomes>,
    /// What a reader did wrong.
    pub faults: Vec<Fault>,
}

/// Reads the inputs with these numbers: damaged copies of [`seeds`], by a seed.
///
/// # Errors
/// Returns an error if a file can't be written, or a seed can't be read before it is damaged.
pub fn run(inputs: std::ops::Range<u64>, seed: u64) -> io::Result<Report> {
    let seeds = seeds();
    let folder = scratch_folder()?;
    let folders: Vec<_> = (0..seeds.len()).map(|place| folder.path().join(place.to_string())).collect();
    for (Seed { kind, content, beside, ordinary }, folder) in seeds.iter().zip(&folders) {
        fs::create_dir(folder)?;
        for (name, content) in beside {
            fs::write(folder.join(name), content)?;
        }
        let read = kind.read(content, folder);
        if let (Err(problem), true) = (read, ordinary) {
            return Err(io::Error::other(format!("the {kind} file is not read before it is damaged: {problem}")));
        }
    }
    let mut report = Report::default();
    // A reader's panic is counted and named by its input's number.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    for input in inputs {
        let place = (input % seeds.len() as u64) as usize;
        let content = mutate(&seeds[place].content, seed, input);
        report.add(input, seeds[place].kind, &content, &folders[place]);
    }
    std::panic::set_hook(hook);
    Ok(report)
}

impl Report {
    fn add(&mut self, input: u64, kind: Kind, content: &[u8], folder: &Path) {
        let before = reset_peak();
        let start = Instant::now();
        let read = catch_unwind(AssertUnwindSafe(|| kind.read(content, folder)));
        let seconds = start.elapsed().as_secs_f64();
        let memory = peak().saturating_sub(before);
        let outcomes = self.kinds.entry(kind).or_default();
        outcomes.seconds += seconds;
        outcomes.memory = outcomes.memory.max(memory);
        outcomes.kept += held() as i64 - before as i64;
        let mut fault = |what: String| self.faults.push(Fault { input, kind, what, content: content.to_vec() });
        match read {
            Ok(Ok(())) => outcomes.read += 1,
            Ok(Err(problem)) if problem.is_empty() || problem.contains('\n') => {
                fault(format!("refused without one line: {problem:?}"));
            }
            Ok(Err(_)) => outcomes.refused += 1,
            Err(_) => fault("panicked".into()),
        }
        if memory > MEMORY {
            fault(format!("took {} MiB of memory, more than {}", memory >> 20, MEMORY >> 20));
        }
        if seconds > SECONDS {
            fault(format!("took {seconds:.0} s, more than {SECONDS}"));
        }
    }
}
