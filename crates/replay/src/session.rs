//! What all commands share that read fixtures: finding them, reading them, and hearing the oracle.

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    thread,
};

use rayon::{ThreadPool, ThreadPoolBuilder};
use ropewalk_block::{BlockError, BlockOutcome, CancelToken, Position};
use ropewalk_state::StateError;

use crate::{
    compare::chain_of,
    fixture::{Chains, Fault, Fixture, FixtureError, discover},
    ground::Ground,
    report::Progress,
    status::Status,
};

/// Reads fixtures one after the other, on a pool of its own.
#[derive(Debug)]
pub(crate) struct Session {
    pool: ThreadPool,
    chains: Chains,
    interrupt: CancelToken,
}

/// A block that was read, with what it is executed on and what the oracle says about it.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) fixture: Fixture,
    pub(crate) ground: Ground,
    pub(crate) truth: Result<BlockOutcome, BlockError>,
}

/// Threads could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start {threads} threads")]
pub(crate) struct NoThreads {
    pub(crate) threads: usize,
    #[source]
    pub(crate) source: rayon::ThreadPoolBuildError,
}

impl Session {
    /// A session that ends when `interrupt` says so.
    ///
    /// # Errors
    /// When the pool's threads cannot be started.
    pub(crate) fn new(interrupt: CancelToken) -> Result<Self, NoThreads> {
        let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let named = |index| format!("ropewalk-read-{index}");
        let pool = ThreadPoolBuilder::new().num_threads(threads).thread_name(named).build();
        let pool = pool.map_err(|source| NoThreads { threads, source })?;
        Ok(Self { pool, chains: Chains::default(), interrupt })
    }

    /// All fixtures under `paths`. What cannot be searched is said, and counted in `status` and by `unusable`.
    pub(crate) fn discover(
        &self,
        paths: &[PathBuf],
        status: &mut Status,
        mut unusable: impl FnMut(&FixtureError),
    ) -> Vec<PathBuf> {
        let (found, errors) = discover(paths);
        for error in &errors {
            status.add(Status::Input);
            unusable(error);
        }
        found
    }

    /// Reads one fixture.
    ///
    /// # Errors
    /// When it cannot be read or contradicts itself.
    pub(crate) fn read(&mut self, directory: &Path) -> Result<Fixture, FixtureError> {
        let Self { pool, chains, .. } = self;
        pool.install(|| Fixture::read(directory, chains))
    }

    /// Reads one fixture and runs the oracle.
    ///
    /// # Errors
    /// When the fixture cannot be read, contradicts itself, or does not hold what the block reads.
    pub(crate) fn open(&mut self, directory: &Path) -> Result<Opened, FixtureError> {
        let mut fixture = self.read(directory)?;
        let (ground, truth) =
            Ground::prepare(&mut fixture).map_err(|error| state_error(&fixture, Position::PreBlock, error))?;
        match truth {
            Err(BlockError::State { position, source }) => Err(state_error(&fixture, position, source)),
            truth => Ok(Opened { fixture, ground, truth }),
        }
    }

    /// All fixtures under `paths`, and the progress through them. What cannot be searched is said; how often, comes too.
    pub(crate) fn begin(&self, paths: &[PathBuf], status: &mut Status) -> (Vec<PathBuf>, Progress, u64) {
        let mut refused = Vec::new();
        let fixtures = self.discover(paths, status, |error| refused.push(chain_of(error)));
        let progress = Progress::new(fixtures.len() as u64);
        refused.iter().for_each(|error| progress.say(&format!("error: {error}")));
        (fixtures, progress, refused.len() as u64)
    }

    /// Reads one fixture whose block is valid, and what the oracle says about it. What is wrong with another is said.
    ///
    /// # Errors
    /// The status that it makes.
    pub(crate) fn open_valid(
        &mut self,
        directory: &Path,
        progress: &Progress,
    ) -> Result<(Fixture, Ground, BlockOutcome), Status> {
        let Opened { fixture, ground, truth } = self.open(directory).map_err(|error| refuse(progress, &error))?;
        progress.begin(fixture.label());
        match truth {
            Ok(truth) => Ok((fixture, ground, truth)),
            Err(error) => {
                progress.say(&format!("invalid: {}: {}", fixture.place(), chain_of(&error)));
                Err(Status::Mismatch)
            }
        }
    }

    /// Runs parallel work that is not the engine's.
    pub(crate) fn in_pool<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.pool.install(work)
    }

    /// Whether the user wants the run to end.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupt.is_cancelled()
    }

    /// What ends an execution when the user wants the run to end.
    pub(crate) fn interrupt(&self) -> CancelToken {
        self.interrupt.clone()
    }
}

/// The state's failure, at its place.
pub(crate) fn state_error(fixture: &Fixture, position: Position, error: StateError) -> FixtureError {
    let place = match position {
        Position::Transaction(index) => fixture.state_place().transaction(index),
        Position::PreBlock | Position::PostBlock => fixture.state_place(),
    };
    place.fault(Fault::State(error))
}

/// Says why a fixture could not be replayed, in one line, and which status that makes.
pub(crate) fn refuse(progress: &Progress, error: &FixtureError) -> Status {
    let verdict = error.is_verdict();
    progress.say(&format!("{}: {}", if verdict { "invalid" } else { "error" }, chain_of(error)));
    if verdict { Status::Mismatch } else { Status::Input }
}
