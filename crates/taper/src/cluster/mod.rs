//! The processes that mpirun or srun started for one job. Built with the feature `mpi`, they share it; without,
//! the program refuses to do the same job several times.

mod launcher;
#[cfg(feature = "mpi")]
mod mpi;

use launcher::Launch;

use crate::args::{Cli, Command, UsageError};
use crate::output::Output;
use anyhow::Result;
use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use taper_data::Hash;
#[cfg(feature = "mpi")]
use taper_learn::ranks::agree;
use taper_learn::ranks::{OneProcess, Ranks};

/// The processes of this job.
pub(crate) struct Cluster {
    launch: Option<Launch>,
    ranks: Arc<dyn Ranks>,
    #[cfg(feature = "mpi")]
    session: Option<mpi::Session>,
}

/// How long a failing process waits for rank 0 to fail for the same reason, so that one line is printed and not many.
const PATIENCE: Duration = Duration::from_secs(2);

impl Cluster {
    /// What there is before the command line is read: this process alone.
    pub(crate) fn alone() -> Self {
        let launch = Launch::of(|name| std::env::var(name).ok());
        Self {
            launch,
            ranks: Arc::new(OneProcess),
            #[cfg(feature = "mpi")]
            session: None,
        }
    }

    /// Joins the other processes, if a launcher started several for this command. Processes that each do a part of
    /// their own (--shard) stay alone.
    ///
    /// # Errors
    /// Returns an error if processes can't share the command or differ in program, processor or options, with the cluster
    /// as it is then.
    pub(crate) fn join(self, cli: &Cli, arguments: &[OsString]) -> Result<Self, (Self, anyhow::Error)> {
        let Some(launch) = self.launch else { return Ok(self) };
        if is_shard(&cli.command) {
            return Ok(Self { launch: None, ..self });
        }
        if let Some(command) = of_one_process(&cli.command) {
            let problem = format!(
                "`taper {command}` runs in one process, and {} were started: start it without mpirun or srun -n{}",
                launch.processes,
                if command == "survey" || command == "features" { ", or give each process its --shard" } else { "" }
            );
            return Err((self, UsageError(problem).into()));
        }
        self.joined(launch, arguments)
    }

    #[cfg(not(feature = "mpi"))]
    fn joined(self, launch: Launch, _arguments: &[OsString]) -> Result<Self, (Self, anyhow::Error)> {
        let problem = format!(
            "{} processes were started, but this build would do everything in each of them: build with \
             --features mpi, give each process its --shard, or start one process",
            launch.processes
        );
        Err((self, UsageError(problem).into()))
    }

    #[cfg(feature = "mpi")]
    fn joined(self, launch: Launch, arguments: &[OsString]) -> Result<Self, (Self, anyhow::Error)> {
        let session = match mpi::Session::start() {
            Ok(session) => session,
            Err(error) => return Err((self, error)),
        };
        let joined = Self { launch: Some(launch), ranks: session.ranks(), session: Some(session) };
        match joined.check(launch, arguments) {
            Ok(()) => Ok(joined),
            Err(error) => Err((joined, error)),
        }
    }

    /// Checks that the processes fit together.
    #[cfg(feature = "mpi")]
    fn check(&self, launch: Launch, arguments: &[OsString]) -> Result<()> {
        let ranks = self.ranks.as_ref();
        if ranks.count() != launch.processes {
            anyhow::bail!(
                "{} processes were started, but MPI connects {} of them: start them with the mpirun of the MPI library \
                 that this build uses, or with srun --mpi=pmix",
                launch.processes,
                ranks.count()
            );
        }
        agree(ranks, "program", &program()?)?;
        agree(ranks, "processor", &processor())?;
        let arguments: Vec<String> = arguments.iter().skip(1).map(|one| one.to_string_lossy().into_owned()).collect();
        Ok(agree(ranks, "options", &arguments.join("\n"))?)
    }

    /// The processes.
    pub(crate) fn ranks(&self) -> Arc<dyn Ranks> {
        self.ranks.clone()
    }

    /// The threads of each process: those that were asked for, or an equal share of the cores that the processes of a
    /// machine may use.
    ///
    /// # Errors
    /// Returns an error if a process can't be reached.
    pub(crate) fn threads(&self, asked: Option<usize>, output: &Output) -> Result<usize> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let count = self.ranks.count();
        if count == 1 {
            return Ok(asked.unwrap_or(cores));
        }
        // processes that a launcher binds to cores of their own share none of them
        let place = format!("{} {}", gethostname::gethostname().to_string_lossy(), allowed_cores());
        let places = self.ranks.gather(place.as_bytes())?;
        let sharing = places.iter().filter(|other| **other == place.as_bytes()).count().max(1);
        let threads = asked.unwrap_or((cores / sharing).max(1));
        let mut hosts: Vec<&[u8]> =
            places.iter().filter_map(|place| place.split(|&byte| byte == b' ').next()).collect();
        hosts.sort_unstable();
        hosts.dedup();
        let plural = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
        output.note(format!(
            "{count} processes on {}, {} each",
            plural(hosts.len(), "machine"),
            plural(threads, "thread")
        ));
        Ok(threads)
    }

    /// Ends the job after an error, whose line `print` writes. A job of several processes prints one line: that of
    /// rank 0, or of a process that fails alone.
    pub(crate) fn fail(&self, code: u8, print: impl FnOnce(Option<usize>)) -> ExitCode {
        let rank = self.launch.map(|launch| launch.rank).filter(|&rank| rank > 0);
        if rank.is_some() {
            std::thread::sleep(PATIENCE);
        }
        print(rank);
        #[cfg(feature = "mpi")]
        if let Some(session) = &self.session {
            session.abort(code);
        }
        ExitCode::from(code)
    }
}

/// Fails if some processes would have none of `items` to work on; `more` is what gives them some.
///
/// # Errors
/// Returns a usage error.
pub(crate) fn enough(ranks: &dyn Ranks, items: usize, what: &str, more: &str) -> Result<(), UsageError> {
    match ranks.count() {
        count if count > items => Err(UsageError(format!(
            "{count} processes for {items} {what}: start at most {items}, or give a larger {more}"
        ))),
        _ => Ok(()),
    }
}

/// Whether the command does one part of a job.
fn is_shard(command: &Command) -> bool {
    match command {
        Command::Compare(options) => options.shard.is_some(),
        Command::Survey(options) => options.shard.is_some(),
        Command::Evaluate(options) => options.shard.is_some(),
        Command::Features(options) => options.shard.is_some(),
        _ => false,
    }
}

/// The command's name if processes can't share it.
fn of_one_process(command: &Command) -> Option<&'static str> {
    match command {
        Command::Compare(_) | Command::MetaTrain(_) | Command::Evaluate(_) => None,
        Command::Train(_) => Some("train"),
        Command::Survey(_) => Some("survey"),
        Command::Adapt(_) => Some("adapt"),
        Command::Predict(_) => Some("predict"),
        Command::Features(_) => Some("features"),
        Command::Merge(_) => Some("merge"),
        Command::Inspect(_) => Some("inspect"),
        Command::Cache(_) => Some("cache"),
        Command::Export(_) => Some("export"),
        #[cfg(feature = "serve")]
        Command::Serve(_) => Some("serve"),
        Command::Report(_) => Some("report"),
        Command::Watch(_) => Some("watch"),
        Command::Completions(_) => Some("completions"),
        Command::Man(_) => Some("man"),
    }
}

/// The program's version and the hash of its file.
#[cfg(feature = "mpi")]
fn program() -> Result<String> {
    let file = std::fs::read(std::env::current_exe()?)?;
    Ok(format!("{} {}", env!("CARGO_PKG_VERSION"), Hash::of(&file)))
}

/// The instructions that kernels choose between, on which the last bits of a result depend.
#[cfg(feature = "mpi")]
fn processor() -> String {
    #[cfg(target_arch = "x86_64")]
    let instructions = [
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("fma", std::arch::is_x86_feature_detected!("fma")),
        ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let instructions: [(&str, bool); 0] = [];
    format!("{} {instructions:?}", std::env::consts::ARCH)
}

/// The cores that this process may use, as Linux lists them; empty elsewhere.
fn allowed_cores() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    line.map(|list| list.trim().to_string()).unwrap_or_default()
}

/// Fingerprint of a data set: names and labels of all images, and the content of up to a thousand of them.
///
/// # Errors
/// Returns an error if an image can't be read.
pub(crate) fn data_fingerprint(dataset: &dyn taper_data::Dataset) -> Result<String> {
    const SAMPLE: usize = 1000;
    let images = dataset.labels().len();
    let mut content = dataset.name().to_string();
    for class in dataset.classes() {
        content += &format!("\n{}", class.full_name());
    }
    for (image, label) in dataset.labels().iter().enumerate() {
        content += &format!("\n{label} {}", name_within(dataset, image));
    }
    for image in (0..images).step_by(images.div_ceil(SAMPLE).max(1)) {
        content += &format!("\n{}", dataset.content_hash(image)?);
    }
    Ok(Hash::of(content.as_bytes()).to_string())
}

/// The last part of an image's name: machines may keep a data set in different folders.
fn name_within(dataset: &dyn taper_data::Dataset, image: usize) -> String {
    let name = dataset.image_name(image);
    name.rsplit(['/', '\\']).next().unwrap_or(&name).to_string()
}

/// Fingerprint of a model: its network, method, parameters and statistics.
///
/// # Errors
/// Returns an error if a parameter can't be read.
pub(crate) fn model_fingerprint(model: &taper_learn::Model) -> Result<String> {
    let backbone = model.network.backbone().name();
    let mut content = format!("{backbone} {:?} {}", model.origin, model.transform).into_bytes();
    for (name, tensor) in model.state.params.iter().chain(model.state.buffers.iter()) {
        content.extend(name.as_bytes());
        content.extend(tensor.flatten_all()?.to_vec1::<f32>()?.iter().flat_map(|value| value.to_le_bytes()));
    }
    Ok(Hash::of(&content).to_string())
}
