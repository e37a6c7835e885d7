//! Executions, timed: by the oracle, and by the engine.
//!
//! This is the one place that names the engine's executor.

use std::{
    any::Any,
    collections::HashMap,
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, Instant},
};

use ropewalk_block::{
    AccessList, BlockError, BlockExecutor, CancelToken, Dependencies, Engine, EvmKey, EvmSettings, Execution,
    ExecutorOptions, Footprints, InvalidTransactions, Locations, Recorder, Schedule, Shortcuts, Timeline,
    oracle::Oracle,
};
use ropewalk_evm::{ArrivalTimes, Arrivals};
use ropewalk_state::StateReader;

use crate::{arguments::ScheduleArgument, fixture::Fixture, session::NoThreads};

/// The engine with its threads, which are started once, and what it has learned and analysed so far.
#[derive(Debug, Clone)]
pub(crate) struct Runner {
    engine: Engine,
    /// Of every execution. What is learned takes most of a megabyte: to make that anew for each would leave the caches cold.
    options: ExecutorOptions,
    schedule: ScheduleArgument,
}

/// Something that took some time.
#[derive(Debug)]
pub(crate) struct Timed<T> {
    pub(crate) value: T,
    pub(crate) time: Duration,
}

impl Runner {
    /// A runner on threads of its own.
    ///
    /// # Errors
    /// When the threads cannot be started.
    pub(crate) fn new(
        threads: NonZeroUsize,
        schedule: ScheduleArgument,
        inline_below_gas: Option<u64>,
        cancel: CancelToken,
    ) -> Result<Self, NoThreads> {
        let engine = Engine::new(threads).map_err(|source| NoThreads { threads: threads.get(), source })?;
        let options = ExecutorOptions {
            shortcuts: Shortcuts::ALL,
            cancel: Some(cancel),
            inline_below_gas,
            ..ExecutorOptions::default()
        };
        Ok(Self { engine, options, schedule })
    }

    /// The same runner with these shortcuts.
    #[must_use]
    pub(crate) fn with_shortcuts(self, shortcuts: Shortcuts) -> Self {
        Self { options: ExecutorOptions { shortcuts, ..self.options }, ..self }
    }

    /// Number of threads.
    pub(crate) fn threads(&self) -> usize {
        self.engine.threads()
    }

    /// Forgets where calls look: whoever runs a block again would know all about it.
    pub(crate) fn forget_slots(&self) {
        self.options.slots.forget();
    }

    /// Executes a block in parallel. An adversarial schedule is another one for each `repetition`.
    pub(crate) fn execute(
        &self,
        fixture: &Fixture,
        reader: &Arc<dyn StateReader>,
        repetition: u64,
    ) -> Timed<Result<Execution, BlockError>> {
        let executor = self.executor(fixture, self.options(repetition));
        timed(|| executor.execute(&fixture.block, Arc::clone(reader)))
    }

    /// Executes a block by its access list.
    pub(crate) fn execute_by_access_list(
        &self,
        fixture: &Fixture,
        reader: &Arc<dyn StateReader>,
        repetition: u64,
        list: &Arc<AccessList>,
    ) -> Timed<Result<Execution, BlockError>> {
        let executor = self.executor(fixture, self.options(repetition));
        timed(|| executor.execute_by_access_list(&fixture.block, Arc::clone(reader), list))
    }

    /// As [`execute`](Self::execute), or by an access list where there is one, with a recorder that keeps so many events. The
    /// execution comes with its locations.
    pub(crate) fn execute_recorded(
        &self,
        fixture: &Fixture,
        reader: &Arc<dyn StateReader>,
        list: Option<&Arc<AccessList>>,
        repetition: u64,
        most_events: usize,
    ) -> (Timed<Result<Execution, BlockError>>, Timeline) {
        let options = ExecutorOptions { locations: true, ..self.options(repetition) };
        let executor = self.executor(fixture, options);
        let recorder = Recorder::new(self.threads(), most_events);
        let (block, parent) = (&fixture.block, Arc::clone(reader));
        let run = timed(|| match list {
            Some(list) => executor.execute_by_access_list_probed(block, parent, list, &recorder),
            None => executor.execute_probed(block, parent, &recorder),
        });
        (run, recorder.finish())
    }

    /// Executes a block in parallel, with a record of every position.
    ///
    /// # Errors
    /// As [`BlockExecutor::execute`].
    pub(crate) fn record(&self, fixture: &Fixture, reader: &Arc<dyn StateReader>) -> Result<Execution, BlockError> {
        let options = ExecutorOptions { record: true, ..self.options(0) };
        let executor = self.executor(fixture, options);
        executor.execute(&fixture.block, Arc::clone(reader))
    }

    /// What each transaction of a block truly depends on, and what the numbers of locations in it stand for.
    ///
    /// # Errors
    /// As [`BlockExecutor::execute`].
    pub(crate) fn dependencies(
        &self,
        fixture: &Fixture,
        reader: &Arc<dyn StateReader>,
    ) -> Result<(Dependencies, Locations), BlockError> {
        let options = ExecutorOptions { dependencies: true, locations: true, ..self.options(0) };
        let executor = self.executor(fixture, options);
        let execution = executor.execute(&fixture.block, Arc::clone(reader))?;
        let found = execution.dependencies.zip(execution.locations);
        Ok(found.expect("an execution that was asked for dependencies and locations comes with them"))
    }

    /// What each transaction of a block observes and writes, and when it comes to what it looks at: by transaction the part of
    /// its time that has passed.
    ///
    /// # Errors
    /// As [`BlockExecutor::execute`].
    pub(crate) fn footprints(
        &self,
        fixture: &Fixture,
        reader: &Arc<dyn StateReader>,
    ) -> Result<(Footprints, Vec<HashMap<EvmKey, f64>>), BlockError> {
        let execute = |options| self.executor(fixture, options).execute(&fixture.block, Arc::clone(reader));
        let options = ExecutorOptions { footprints: true, ..self.options(0) };
        let footprints = execute(options)?.footprints.expect("an execution that was asked for footprints has them");
        // Apart from them: an inspected transaction observes more.
        let evm = EvmSettings { inspectors: Some(ArrivalTimes::shared()), ..EvmSettings::default() };
        let mut arrivals = vec![HashMap::new(); footprints.transactions.len()];
        for inspector in execute(ExecutorOptions { evm, ..self.options(0) })?.inspectors {
            if let Some(seen) = (inspector as Box<dyn Any>).downcast_ref::<Arrivals>() {
                arrivals[seen.index.at()] = seen.by_time().collect();
            }
        }
        Ok((footprints, arrivals))
    }

    fn executor(&self, fixture: &Fixture, options: ExecutorOptions) -> BlockExecutor {
        BlockExecutor::new(Arc::clone(&fixture.chain.spec), self.engine.clone(), options)
    }

    fn options(&self, repetition: u64) -> ExecutorOptions {
        ExecutorOptions {
            schedule: match self.schedule {
                ScheduleArgument::Normal => Schedule::Normal,
                ScheduleArgument::Adversarial { seed } => Schedule::Adversarial { seed: seed.wrapping_add(repetition) },
            },
            ..self.options.clone()
        }
    }
}

/// The oracle with everything ready that execution does not have to do: environments, analysed code.
///
/// # Errors
/// When the block is invalid or the state cannot be read.
pub(crate) fn prepare_oracle<'a>(
    fixture: &'a Fixture,
    reader: &'a Arc<dyn StateReader>,
) -> Result<Oracle<'a, Arc<dyn StateReader>>, BlockError> {
    Oracle::prepare(&fixture.chain.spec, &fixture.block, reader, InvalidTransactions::Reject)
}

/// The time of one run of the oracle.
///
/// # Errors
/// When the block is invalid or the state cannot be read.
pub(crate) fn time_oracle<R: StateReader>(oracle: &Oracle<'_, R>) -> Result<Duration, BlockError> {
    let run = oracle.start();
    let Timed { value, time } = timed(|| run.execute());
    value.map(|_| time)
}

/// The time that each transaction takes in order: the least of several runs, in milliseconds.
///
/// # Errors
/// When the block is invalid or the state cannot be read.
pub(crate) fn time_transactions<R: StateReader>(oracle: &Oracle<'_, R>, runs: usize) -> Result<Vec<f64>, BlockError> {
    let mut least: Vec<f64> = Vec::new();
    for _ in 0..runs {
        let mut begun = Vec::new();
        oracle.start().execute_told(|_| begun.push(Instant::now()))?;
        let times: Vec<f64> = begun.windows(2).map(|pair| milliseconds(pair[1] - pair[0])).collect();
        least.resize(times.len(), f64::INFINITY);
        least.iter_mut().zip(times).for_each(|(least, time)| *least = least.min(time));
    }
    Ok(least)
}

/// Times one piece of work; giving up its result is not part of it.
fn timed<T>(work: impl FnOnce() -> T) -> Timed<T> {
    let started = Instant::now();
    let value = work();
    Timed { value, time: started.elapsed() }
}

/// A duration in milliseconds.
pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
