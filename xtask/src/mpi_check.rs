//! `mpi-check`: runs shared by processes have the bits of runs of one process.

use crate::args::MpiCheck;
use crate::digest::sha256;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Training runs, by name: short ones of small networks.
const RUNS: [(&str, &str); 3] = [
    ("protonet", "--method protonet --steps 12 --meta-batch-size 4 --validate-every 6 --validation-episodes 10"),
    ("maml", "--method maml --steps 6 --meta-batch-size 4 --inner-steps 2 --validate-every 3 --validation-episodes 10"),
    ("pretraining", "--method nearest-mean --steps 12 --batches-per-step 4 --batch-size 10"),
];
const COMMON: &str = "--glyphs 2 --backbone conv4-8 --save-every 3";

/// A run long enough to be killed in the middle.
const KILLED: &str = "--method protonet --steps 400 --meta-batch-size 4 --glyphs 2 --backbone conv4-8 --save-every 5";

/// The runs whose speed is compared.
const TIMED: [(&str, &str); 2] = [
    ("protonet", "--method protonet --steps 30 --meta-batch-size 8 --glyphs 4 --backbone conv4-64 --train-on-all"),
    ("maml", "--method maml --steps 8 --meta-batch-size 8 --glyphs 4 --backbone conv4-64 --train-on-all"),
];

/// Checks runs on 1 to 4 processes, a killed and resumed one, and one whose processes differ; or measures.
///
/// Fails at the first difference. Prints `skipped` without an MPI library.
pub(crate) fn run(asked: &MpiCheck) -> Result<()> {
    if let Some(reason) = no_mpi() {
        println!("skipped: {reason}");
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let mpi = Mpi { program: build(asked.release)?, folder: folder.path() };
    if asked.efficiency {
        return mpi.efficiency(asked.rounds);
    }
    for (name, options) in RUNS {
        mpi.same_bits(name, options)?;
    }
    mpi.killed_and_resumed()?;
    mpi.different_processes()
}

/// Why nothing can run under MPI here; `None` if it can.
pub(crate) fn no_mpi() -> Option<String> {
    let starts =
        |program: &str| Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    let missing = ["mpirun", "mpicc"].into_iter().find(|program| !starts(program))?;
    Some(format!("no OpenMPI ({missing} does not start)"))
}

/// Builds the program with the feature; the dependencies are those of the tests.
pub(crate) fn build(release: bool) -> Result<PathBuf> {
    let mut command = Command::new("cargo");
    command.args(["build", "--quiet", "--workspace", "--bin", "taper", "--features", "taper/mpi"]);
    let status = command.args(release.then_some("--release")).status().context("cargo does not start")?;
    ensure!(status.success(), "the program does not build with --features taper/mpi: see above");
    let here = std::env::current_exe()?;
    let target = here.ancestors().nth(2).context("xtask is not in a target folder: run it with cargo xtask")?;
    Ok(target.join(if release { "release" } else { "debug" }).join("taper"))
}

/// A program with the feature `mpi`, and the folder of its runs.
pub(crate) struct Mpi<'a> {
    pub(crate) program: PathBuf,
    pub(crate) folder: &'a Path,
}

impl Mpi<'_> {
    /// `taper meta-train` with these options on so many processes; 0 means without mpirun.
    pub(crate) fn command(&self, processes: usize, options: &str) -> Command {
        let mut command = match processes {
            0 => Command::new(&self.program),
            _ => {
                let mut command = Command::new("mpirun");
                command.args(["-n", &processes.to_string(), "--oversubscribe"]).arg(&self.program);
                command
            }
        };
        command.arg("meta-train").args(options.split_whitespace()).current_dir(self.folder);
        // a container's user may be root
        command.envs([("OMPI_ALLOW_RUN_AS_ROOT", "1"), ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")]);
        command
    }

    /// Trains on so many processes; 0 means without mpirun.
    pub(crate) fn trained(&self, processes: usize, options: &str) -> Result<()> {
        let output = self.command(processes, options).output()?;
        ensure!(output.status.success(), "taper meta-train {options} on {processes} processes: {}", words(&output));
        Ok(())
    }

    /// The SHA-256 of each file of a run; of the metrics without times.
    fn digests(&self, run: &str) -> Result<BTreeMap<String, String>> {
        let run = self.folder.join(run);
        let mut digests = BTreeMap::new();
        let mut files = vec![run.join("model/model.safetensors"), run.join("config.toml")];
        for entry in fs::read_dir(run.join("checkpoint"))? {
            files.push(entry?.path());
        }
        for file in files {
            let name = file.strip_prefix(&run)?.display().to_string();
            digests.insert(name, sha256(&file)?);
        }
        let mut metrics = String::new();
        for line in fs::read_to_string(run.join("metrics.jsonl"))?.lines() {
            let mut record: Value = serde_json::from_str(line)?;
            record.as_object_mut().context("a record is not an object")?.remove("seconds");
            metrics += &format!("{record}\n");
        }
        let timeless = self.folder.join("metrics-without-times.jsonl");
        fs::write(&timeless, metrics)?;
        digests.insert("metrics.jsonl".into(), sha256(&timeless)?);
        Ok(digests)
    }

    /// One process, and 1, 2, 3 and 4 processes under mpirun.
    fn same_bits(&self, name: &str, options: &str) -> Result<()> {
        let out = |processes| format!("{name}-{processes}");
        let mut expected = BTreeMap::new();
        for processes in 0..=4 {
            self.trained(processes, &format!("{options} {COMMON} --out {}", out(processes)))?;
            let found = self.digests(&out(processes))?;
            match processes {
                0 => expected = found,
                _ => ensure!(found == expected, "{name} on {processes} processes: {found:#?}, alone: {expected:#?}"),
            }
        }
        println!("{name}: 1 to 4 processes give the same bits");
        expected.iter().for_each(|(file, digest)| println!("  {digest}  {file}"));
        Ok(())
    }

    /// A rank killed with SIGKILL ends the job, and another number of processes resumes it.
    fn killed_and_resumed(&self) -> Result<()> {
        self.trained(0, &format!("{KILLED} --out unbroken"))?;
        let expected = self.digests("unbroken")?;
        let mut job = self.command(3, &format!("{KILLED} --out broken"));
        let mut job = job.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let checkpoint = self.folder.join("broken/checkpoint/protonet.safetensors");
        let deadline = Instant::now() + Duration::from_secs(60);
        while !checkpoint.exists() {
            ensure!(job.try_wait()?.is_none(), "the job to be killed ended before its first checkpoint");
            ensure!(Instant::now() < deadline, "the job to be killed never saved a checkpoint");
            std::thread::sleep(Duration::from_millis(5));
        }
        kill_one_rank(&job)?;
        ensure!(!job.wait()?.success(), "the job went on without the rank that was killed");
        for processes in [2, 4] {
            let copy = format!("resumed-{processes}");
            copied(&self.folder.join("broken"), &self.folder.join(&copy))?;
            self.trained(processes, &format!("--resume {copy}"))?;
            let found = self.digests(&copy)?;
            ensure!(found == expected, "killed and resumed on {processes}: {found:#?}, unbroken: {expected:#?}");
        }
        println!("a run of 3 processes, one killed, resumed on 2 and on 4: the bits of an unbroken run of one process");
        Ok(())
    }

    /// A process with another option is named, in one line of the program.
    fn different_processes(&self) -> Result<()> {
        let program = self.program.display().to_string();
        let mut command = Command::new("mpirun");
        command.arg("--oversubscribe").current_dir(self.folder);
        command.envs([("OMPI_ALLOW_RUN_AS_ROOT", "1"), ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")]);
        command.args(["-n", "2", &program, "meta-train", "--seed", "0", ":"]);
        let output = command.args(["-n", "1", &program, "meta-train", "--seed", "1"]).output()?;
        let text = words(&output);
        let errors: Vec<&str> = text.lines().filter(|line| line.starts_with("error: ")).collect();
        let right =
            matches!(errors[..], [line] if line.starts_with("error: rank 2 and rank 0 differ in their options"));
        ensure!(!output.status.success() && right, "a process with another seed: {text}");
        let output = self.command(3, "--meta-batch-size 2").output()?;
        let text = words(&output);
        let errors = text.lines().filter(|line| line.starts_with("error: 3 processes for 2 tasks per step")).count();
        ensure!(!output.status.success() && errors == 1, "more processes than tasks: {text}");
        println!("a process with other options, and more processes than tasks, end the job with one line");
        Ok(())
    }

    /// Two processes of one thread against one process of two, in turn; the ratio of their speeds.
    fn efficiency(&self, rounds: usize) -> Result<()> {
        for (name, options) in TIMED {
            let mut ratios = Vec::new();
            for round in 0..rounds {
                let [alone, shared] = [(0, 2, "alone"), (2, 1, "shared")].map(|(processes, threads, kind)| {
                    let out = format!("{name}-{kind}-{round}");
                    self.trained(processes, &format!("{options} --threads {threads} --out {out}"))?;
                    self.step(&out)
                });
                ratios.push(alone? / shared?);
            }
            ratios.sort_by(f64::total_cmp);
            let shown: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
            println!("{name}: median {:.2} of {}", ratios[ratios.len() / 2], shown.join(" "));
        }
        Ok(())
    }

    /// Mean seconds of a run's steps after its first.
    pub(crate) fn step(&self, run: &str) -> Result<f64> {
        let text = fs::read_to_string(self.folder.join(run).join("metrics.jsonl"))?;
        let records = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let times: Vec<f64> = records
            .filter(|record| record["event"] == "step")
            .filter_map(|record| record["seconds"].as_f64())
            .collect();
        match times[..] {
            [first, .., last] => Ok((last - first) / (times.len() - 1) as f64),
            _ => bail!("{run}: has fewer than two steps"),
        }
    }
}

/// What a process printed.
fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Kills the last process that mpirun started.
fn kill_one_rank(job: &Child) -> Result<()> {
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", job.id()))?;
    let last = children.split_whitespace().last().context("mpirun has no child processes")?;
    let killed = Command::new("kill").args(["-KILL", last]).status()?;
    ensure!(killed.success(), "process {last} could not be killed");
    Ok(())
}

fn copied(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        match path.is_dir() {
            true => copied(&path, &target)?,
            false => fs::copy(&path, &target).map(|_| ())?,
        }
    }
    Ok(())
}
