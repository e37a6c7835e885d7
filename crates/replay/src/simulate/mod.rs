//! `ropewalk simulate`: the engine with more workers than there are cores, by a virtual clock.
//!
//! ```text
//! costs      recorded runs -> what each transaction and each step takes
//! script     a recorded block -> transactions that read and write the same, without an EVM
//! clock      workers take turns, in the order of virtual time
//! textbook   Block-STM as the paper has it, on the same scripts
//! plot       speed-up by number of workers
//! ```
//!
//! What runs by the clock is the production engine: `Engine::run_probed`, whose probe hands out the turns. Only the EVM is
//! replaced by a script of its reads and writes.

mod clock;
mod costs;
mod measure;
mod plot;
mod script;
mod textbook;

use std::{io, num::NonZeroUsize, path::Path, sync::Arc};

use ropewalk_block::{BlockError, BlockOutcome, BlockTransaction, CallConflicts, CancelToken, Foresight};
use ropewalk_engine::{Conflict, Engine, Memory, RunError, RunOptions};
use ropewalk_state::StateReader;

use self::{
    clock::VirtualClock,
    measure::{Measured, measure},
    script::{Actors, Before, KeepAll, Scripted},
    textbook::textbook,
};
use crate::{
    arguments::{ScheduleArgument, SimulateArguments},
    compare::{self, chain_of},
    fixture::Fixture,
    report::{
        Progress, print, print_json,
        simulate::{Forecast, SimulateReport, SimulateReports},
    },
    run::Runner,
    session::{NoThreads, Session},
    status::Status,
    whole_file::write_whole,
};

/// Threads whose run is measured beside what is foreseen of as many workers.
pub(crate) const MEASURED_THREADS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);

/// One run of `ropewalk simulate`.
#[derive(Debug)]
struct Simulation<'a> {
    arguments: &'a SimulateArguments,
    session: Session,
    alone: Runner,
    together: Runner,
    /// For as many workers as are measured.
    measured: Engine,
    /// For each number of workers, ascending.
    engines: Vec<Engine>,
    progress: Progress,
    reports: SimulateReports,
    status: Status,
}

/// Simulates what the arguments say.
///
/// # Errors
/// When standard output is closed or full.
pub(crate) fn simulate(arguments: &SimulateArguments, interrupt: CancelToken) -> io::Result<Status> {
    let Threads { session, alone, together, measured, engines } = match prepare(arguments, interrupt) {
        Ok(prepared) => prepared,
        Err(error) => {
            Progress::new(0).say(&format!("error: {}", chain_of(&error)));
            return Ok(Status::Input);
        }
    };
    let mut status = Status::default();
    let (fixtures, progress, unusable) = session.begin(&arguments.paths, &mut status);
    let mut reports = SimulateReports::new(engines.iter().map(Engine::threads).collect());
    reports.unusable = unusable;
    let mut simulation =
        Simulation { arguments, session, alone, together, measured, engines, progress, reports, status };
    for directory in &fixtures {
        if simulation.session.is_interrupted() {
            break;
        }
        simulation.block(directory)?;
    }
    simulation.finish()
}

/// Everything that has threads.
struct Threads {
    session: Session,
    alone: Runner,
    together: Runner,
    measured: Engine,
    engines: Vec<Engine>,
}

fn prepare(arguments: &SimulateArguments, interrupt: CancelToken) -> Result<Threads, NoThreads> {
    let session = Session::new(interrupt)?;
    let runner = |threads| Runner::new(threads, ScheduleArgument::Normal, None, session.interrupt());
    let (alone, together) = (runner(NonZeroUsize::MIN)?, runner(MEASURED_THREADS)?);
    let mut workers: Vec<NonZeroUsize> = arguments.workers.iter().map(|workers| workers.0).collect();
    workers.sort_unstable();
    workers.dedup();
    let engine =
        |threads: NonZeroUsize| Engine::new(threads).map_err(|source| NoThreads { threads: threads.get(), source });
    let engines = workers.into_iter().map(engine).collect::<Result<_, _>>()?;
    Ok(Threads { session, alone, together, measured: engine(MEASURED_THREADS)?, engines })
}

impl Simulation<'_> {
    fn block(&mut self, directory: &Path) -> io::Result<()> {
        let (fixture, ground, truth) = match self.session.open_valid(directory, &self.progress) {
            Ok(opened) => opened,
            Err(status) => {
                self.leave_out(status);
                return Ok(());
            }
        };
        match self.forecast(&fixture, &ground.reader(), &truth) {
            Ok(report) => {
                if self.arguments.json {
                    self.progress.aside(|| print_json(&report))?;
                }
                self.reports.add(report, fixture.label());
                self.progress.advance(truth.gas_used, 1);
            }
            Err(Failure::Run(BlockError::Cancelled { .. })) => {}
            Err(failure) => {
                self.progress.say(&format!("mismatch: {}: {failure}", fixture.place()));
                self.leave_out(Status::Mismatch);
            }
        }
        Ok(())
    }

    fn leave_out(&mut self, status: Status) {
        self.status.add(status);
        self.reports.unusable += 1;
        self.progress.advance(0, 1);
    }

    /// Measures a block and foresees its run on each number of workers.
    fn forecast(
        &self,
        fixture: &Fixture,
        reader: &Arc<dyn StateReader>,
        truth: &BlockOutcome,
    ) -> Result<SimulateReport, Failure> {
        for runner in [&self.alone, &self.together] {
            let run = runner.execute(fixture, reader, 0).value;
            if let Some(difference) = compare::results(run.as_ref().map(|execution| &execution.outcome), Ok(truth)) {
                return Err(Failure::Different { threads: runner.threads(), difference: difference.to_string() });
            }
        }
        let measured = measure(fixture, reader, &self.alone, &self.together, self.arguments.runs.get())?;
        let beneficiary = fixture.block.header.beneficiary;
        tracing::debug!(block = fixture.label(), costs_ns = %measured.costs, outside_ns = ?measured.outside, "measured");
        let transactions = &fixture.block.transactions;
        let ours_ns =
            |engine: &Engine| run_by_clock(engine, &measured, transactions) + measured.outside_ns(engine.threads());
        let mut foreseen = None;
        let forecasts = self.engines.iter().map(|engine| {
            let workers = engine.threads();
            let outside = measured.outside_ns(workers);
            let ours = ours_ns(engine);
            if workers == MEASURED_THREADS.get() {
                foreseen = Some(ours);
            }
            let theirs = textbook(&measured.scripts, beneficiary, &measured.costs, workers) + outside;
            let speedup = |ns: f64| measured.seq_ms * 1e6 / ns;
            Forecast { workers, speedup: speedup(ours), limit: measured.limit.at(workers), textbook: speedup(theirs) }
        });
        let forecasts: Vec<Forecast> = forecasts.collect();
        let foreseen = foreseen.unwrap_or_else(|| ours_ns(&self.measured));
        Ok(SimulateReport {
            number: fixture.number(),
            chain: fixture.chain.name.clone(),
            path: fixture.directory.clone(),
            txs: fixture.block.transactions.len(),
            gas_used: truth.gas_used,
            seq_ms: measured.seq_ms,
            measured_ms: measured.together_ms,
            foreseen_ms: foreseen / 1e6,
            forecasts,
        })
    }

    fn finish(mut self) -> io::Result<Status> {
        self.progress.finish();
        let plot = self.arguments.plot.as_ref();
        if let Some(Err(error)) = plot.map(|path| write_whole(path, &plot::svg(&self.reports))) {
            self.progress.say(&format!("error: {}", chain_of(&error)));
            self.status.add(Status::Input);
        }
        if self.arguments.json {
            print_json(&self.reports.summary_line())?;
        } else {
            print(&self.reports.text())?;
        }
        if self.session.is_interrupted() {
            self.status.add(Status::Interrupted);
        }
        Ok(self.status)
    }
}

/// Why a block could not be simulated.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// An execution failed that had succeeded before.
    #[error(transparent)]
    Run(#[from] BlockError),
    /// The engine's outcome is not the oracle's.
    #[error("{threads} threads and the oracle: {difference}")]
    Different { threads: usize, difference: String },
}

/// Runs from which it is learned what conflicts, before the one that counts: on many workers more does than on two.
const LEARNING_RUNS: usize = 3;

/// Nanoseconds of virtual time that the engine takes for a block's scripts, once it has learned what conflicts.
fn run_by_clock(engine: &Engine, measured: &Measured, transactions: &[BlockTransaction]) -> f64 {
    if measured.scripts.is_empty() {
        return 0.0;
    }
    let known = CallConflicts::new();
    for _ in 0..LEARNING_RUNS {
        let foresight = Foresight::of(&known, transactions);
        let ran = run_once(engine, measured, &foresight);
        foresight.learn(&ran.conflicts, |cell| *ran.memory.key(cell));
    }
    run_once(engine, measured, &Foresight::of(&known, transactions)).ns
}

/// What a run by the clock came to.
struct Ran {
    ns: f64,
    conflicts: Vec<Conflict>,
    memory: Arc<Memory<Scripted>>,
}

fn run_once(engine: &Engine, measured: &Measured, foresight: &Foresight<'_>) -> Ran {
    let clock = VirtualClock::new(engine.threads(), measured.costs.clone());
    let before = Before(Arc::clone(&measured.before));
    let memory = Arc::new(Memory::<Scripted>::new(before, measured.before.len()));
    let mut scripts = measured.scripts.clone();
    for (index, script) in scripts.iter_mut().enumerate() {
        let expected = foresight.follows(index);
        script.follows = expected.map(|(lower, _)| lower);
        script.meets = expected.and_then(|(_, at)| at);
    }
    let options = RunOptions::default();
    let ran = engine.run_probed(&memory, &scripts, &Actors(&clock), &mut KeepAll, &options, &clock);
    match ran {
        Ok(finished) => Ran { ns: clock.end_of_all(), conflicts: finished.conflicts, memory },
        Err(RunError::Panicked { index, message }) => unreachable!("script {index} panicked: {message}"),
        Err(RunError::Fault { source, .. }) => match source {},
        Err(RunError::Cancelled { .. }) => unreachable!("nobody can cancel a simulated run"),
    }
}

#[cfg(test)]
mod tests;
