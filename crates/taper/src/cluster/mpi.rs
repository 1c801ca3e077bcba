//! Processes connected by MPI. The only place that knows its types.

use anyhow::bail;
use mpi::Threading;
use mpi::collective::CommunicatorCollectives as _;
use mpi::datatype::PartitionMut;
use mpi::environment::Universe;
use mpi::point_to_point::{Destination as _, Source as _};
use mpi::topology::{Communicator as _, SimpleCommunicator};
use mpi::traits::Root as _;
use std::sync::{Arc, Mutex, PoisonError};
use taper_learn::ranks::Ranks;
use taper_learn::{LearnError, Result};

/// MPI, from its start to the end of the program.
pub(super) struct Session {
    universe: Universe,
}

impl Session {
    /// Starts MPI and connects this process to the others.
    ///
    /// # Errors
    /// Returns an error if the library does not allow calls from the thread of a pool.
    pub(super) fn start() -> anyhow::Result<Self> {
        match mpi::initialize_with_threading(Threading::Serialized) {
            Some((universe, threading)) if threading >= Threading::Serialized => Ok(Self { universe }),
            Some(_) => bail!("this MPI library allows calls from one thread only: use one built with threads"),
            None => bail!("MPI was started before: start the program once per process"),
        }
    }

    pub(super) fn ranks(&self) -> Arc<dyn Ranks> {
        Arc::new(Connected { one_call: Mutex::new(()) })
    }

    /// Ends every process of the job.
    pub(super) fn abort(&self, code: u8) -> ! {
        self.universe.world().abort(i32::from(code))
    }
}

/// All processes of the job.
struct Connected {
    /// Held during a call, whichever thread makes it: MPI takes one at a time.
    one_call: Mutex<()>,
}

impl Connected {
    fn with<T>(&self, call: impl FnOnce(&SimpleCommunicator) -> T) -> T {
        let _one = self.one_call.lock().unwrap_or_else(PoisonError::into_inner);
        call(&SimpleCommunicator::world())
    }
}

/// A rank as MPI counts it.
fn number(rank: usize) -> i32 {
    i32::try_from(rank).unwrap_or(i32::MAX)
}

impl Ranks for Connected {
    fn rank(&self) -> usize {
        usize::try_from(self.with(|world| world.rank())).unwrap_or(0)
    }

    fn count(&self) -> usize {
        usize::try_from(self.with(|world| world.size())).unwrap_or(1)
    }

    fn gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>> {
        let mut lengths = vec![0i32; self.count()];
        self.with(|world| world.all_gather_into(&number(own.len()), &mut lengths[..]));
        let mut starts = Vec::with_capacity(lengths.len());
        let mut total = 0i32;
        for length in &lengths {
            starts.push(total);
            total = total.checked_add(*length).ok_or_else(too_much)?;
        }
        if total == 0 {
            return Ok(vec![Vec::new(); lengths.len()]);
        }
        let mut all = vec![0u8; usize::try_from(total).map_err(|_| too_much())?];
        // the address of an empty vector is also that of a special value of MPI
        let nothing = [0u8];
        let own = if own.is_empty() { &nothing[..0] } else { own };
        let mut parts = PartitionMut::new(&mut all[..], lengths.as_slice(), starts);
        self.with(|world| world.all_gather_varcount_into(own, &mut parts));
        let mut rest = all.as_slice();
        let mut told = Vec::with_capacity(lengths.len());
        for length in lengths {
            let (part, after) = rest.split_at(usize::try_from(length).map_err(|_| too_much())?);
            told.push(part.to_vec());
            rest = after;
        }
        Ok(told)
    }

    fn broadcast(&self, values: &mut [f32], from: usize) -> Result<()> {
        self.with(|world| world.process_at_rank(number(from)).broadcast_into(values));
        Ok(())
    }

    fn send(&self, values: &[f32], to: usize) -> Result<()> {
        self.with(|world| world.process_at_rank(number(to)).send(values));
        Ok(())
    }

    fn receive(&self, values: &mut [f32], from: usize) -> Result<()> {
        self.with(|world| world.process_at_rank(number(from)).receive_into(values));
        Ok(())
    }
}

/// MPI counts bytes in 31 bits.
fn too_much() -> LearnError {
    LearnError::Invalid("more than 2 GiB to share among processes: use fewer of them, or a smaller network".into())
}
