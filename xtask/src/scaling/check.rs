//! The model of a training step next to measured steps, on one machine.

use super::{ITEMS, NETWORKS, Network, SHARED_MEMORY, exchange, slowest};
use crate::args::Scaling;
use crate::mpi_check::{Mpi, build, no_mpi};
use anyhow::{Context, Result, ensure};
use std::process::Stdio;
use std::thread::available_parallelism;

/// Processes that are measured.
const PROCESSES: [usize; 3] = [1, 2, 4];
/// What all runs have in common.
const COMMON: &str = "--glyphs 4 --train-on-all --threads 1";

/// Measures what the model rests on, and what it predicts, and prints both.
///
/// # Errors
/// Returns an error if a run fails.
pub(super) fn run(asked: &Scaling) -> Result<()> {
    if let Some(reason) = no_mpi() {
        println!("skipped: {reason}");
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let program = match &asked.program {
        Some(program) => program.canonicalize().with_context(|| program.display().to_string())?,
        None => build(true)?,
    };
    let measure = Measure { mpi: Mpi { program, folder: folder.path() } };
    let rounds = asked.rounds.max(1);
    let cores = available_parallelism()?.get();
    let [conv4, ..] = &NETWORKS;

    // In turn, so that other work on the machine slows none alone. It can only add to a time: the fastest round counts.
    let mut alone = Fastest::default();
    let mut busy = Fastest::default();
    let mut steps = PROCESSES.map(|_| Fastest::default());
    for _ in 0..rounds {
        alone.add(measure.step(conv4, 0)?);
        busy.add(measure.side_by_side(conv4, cores)?);
        for (processes, fastest) in PROCESSES.into_iter().zip(&mut steps) {
            fastest.add(measure.step(conv4, processes)?);
        }
    }
    let [alone, busy] = [alone, busy].map(|fastest| fastest.0 / ITEMS as f64);
    println!("{}: {:.1} ms per item alone, {:.1} with all {cores} cores busy\n", conv4.name, 1e3 * alone, 1e3 * busy);
    println!("| processes | tasks per step | measured step, ms | predicted, ms |\n|---:|---:|---:|---:|");
    for (processes, Fastest(measured)) in PROCESSES.into_iter().zip(steps) {
        let predicted = predicted(conv4, if processes == 1 { alone } else { busy }, processes, cores);
        println!("| {processes} | {} | {:.1} | {:.1} |", ITEMS * processes, 1e3 * measured, 1e3 * predicted);
    }

    println!("\n| network | time per item, ms | in the model |\n|---|---:|---:|");
    for network in &NETWORKS {
        let mut step = Fastest::default();
        for _ in 0..rounds {
            step.add(measure.step(network, 0)?);
        }
        println!("| {} | {:.1} | {:.1} |", network.name, 1e3 * step.0 / ITEMS as f64, 1e3 * network.item);
    }
    Ok(())
}

/// The shortest of several times, in seconds.
struct Fastest(f64);

impl Default for Fastest {
    fn default() -> Self {
        Self(f64::INFINITY)
    }
}

impl Fastest {
    fn add(&mut self, seconds: f64) {
        self.0 = self.0.min(seconds);
    }
}

/// Seconds of a step of processes that share the cores of one machine.
fn predicted(network: &Network, item: f64, processes: usize, cores: usize) -> f64 {
    let share = (processes as f64 / cores as f64).max(1.0);
    slowest(item * share, processes) + exchange(network.bytes, &SHARED_MEMORY, processes)
}

struct Measure<'a> {
    mpi: Mpi<'a>,
}

impl Measure<'_> {
    fn options(network: &Network, processes: usize, out: &str) -> String {
        let items = ITEMS * processes.max(1);
        format!("{} {} {items} {COMMON} --force --out {out}", network.options, network.items)
    }

    /// Seconds of a step of so many processes; 0 means without mpirun.
    fn step(&self, network: &Network, processes: usize) -> Result<f64> {
        self.mpi.trained(processes, &Self::options(network, processes, "run"))?;
        self.mpi.step("run")
    }

    /// Seconds of a step of a process that knows nothing of the others that train at the same time: the slowest's.
    fn side_by_side(&self, network: &Network, jobs: usize) -> Result<f64> {
        let out = |job| format!("job-{job}");
        let started = (0..jobs).map(|job| {
            let mut command = self.mpi.command(0, &Self::options(network, 0, &out(job)));
            Ok(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
        });
        for mut job in started.collect::<Result<Vec<_>>>()? {
            ensure!(job.wait()?.success(), "one of {jobs} runs at the same time failed");
        }
        (0..jobs).try_fold(0.0f64, |slowest, job| Ok(slowest.max(self.mpi.step(&out(job))?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_processes_than_cores_take_turns() {
        let [conv4, ..] = &NETWORKS;
        let [two, four] = [2, 4].map(|processes| predicted(conv4, 0.01, processes, 2));
        assert!(four > 1.95 * two && four < 2.2 * two, "{two} {four}");
        // the exchange of a small gradient in shared memory is short beside four items
        assert!(two > 0.04 && two < 0.044, "{two}");
    }
}
