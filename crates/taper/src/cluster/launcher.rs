//! Whether a launcher such as mpirun or srun started this process as one of several.

/// How a launcher started this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Launch {
    /// The number of processes that were started together.
    pub(crate) processes: usize,
    /// This one's number, from 0.
    pub(crate) rank: usize,
}

/// Variables with the number of processes, and with this one's number. `SLURM_NTASKS` is not among them: a batch script
/// and an allocation have it too, where one process runs.
const LAUNCHERS: [(&str, &str); 4] = [
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    ("PMI_SIZE", "PMI_RANK"),
    ("MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK"),
    ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
];

impl Launch {
    /// How the environment says that this process was started; `None` if it was started alone.
    pub(crate) fn of(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let number = |name: &str| variable(name)?.trim().parse::<usize>().ok();
        LAUNCHERS.iter().find_map(|(size, rank)| {
            let processes = number(size).filter(|&processes| processes > 1)?;
            Some(Self { processes, rank: number(rank).unwrap_or(0) })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(variables: &[(&str, &str)]) -> Option<Launch> {
        Launch::of(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string()))
    }

    #[test]
    fn several_processes_are_recognized_under_each_launcher() {
        let fourth = Some(Launch { processes: 4, rank: 3 });
        assert_eq!(launch(&[("OMPI_COMM_WORLD_SIZE", "4"), ("OMPI_COMM_WORLD_RANK", "3")]), fourth);
        assert_eq!(launch(&[("PMI_SIZE", "4"), ("PMI_RANK", "3")]), fourth);
        assert_eq!(launch(&[("SLURM_STEP_NUM_TASKS", "4"), ("SLURM_PROCID", "3")]), fourth);
    }

    #[test]
    fn one_process_is_one_process_under_any_launcher() {
        assert_eq!(launch(&[]), None);
        assert_eq!(launch(&[("OMPI_COMM_WORLD_SIZE", "1"), ("OMPI_COMM_WORLD_RANK", "0")]), None);
        // srun -n 1
        assert_eq!(launch(&[("SLURM_STEP_NUM_TASKS", "1"), ("SLURM_NTASKS", "1"), ("SLURM_PROCID", "0")]), None);
        // a batch script or an interactive shell in an allocation of eight tasks
        assert_eq!(launch(&[("SLURM_NTASKS", "8"), ("SLURM_NPROCS", "8"), ("SLURM_PROCID", "0")]), None);
        assert_eq!(launch(&[("PMI_SIZE", "many")]), None);
    }
}
