//! `ropewalk bench`: how long blocks take, in order and in parallel.
//!
//! Both sides yield the same outputs from the same inputs over the same reader in memory. A *sample* repeats the block
//! until 20 ms have passed; one round takes a sample of every side, in alternating order, so that what the machine does
//! besides falls on all of them. Before anything is timed, every side's outcome is compared with the oracle's.

mod chain;
mod limit;
mod slow;
mod statistics;
mod workloads;

use std::{io, path::Path, sync::Arc, time::Duration};

use ropewalk_block::{AccessList, BlockError, BlockOutcome, CancelToken};
use ropewalk_state::StateReader;

pub(crate) use limit::{Limit, RUNS as TIMED_RUNS};
pub(crate) use statistics::{PairedRatio, Spread};

use crate::{
    arguments::{BenchArguments, ScheduleArgument, ShortcutArgument},
    compare::{self, chain_of},
    fixture::Fixture,
    report::{
        Progress,
        bench::{BenchReport, BenchReports, ListReport, SpeculationCost, ThreadsReport},
        print, print_json,
    },
    run::{Runner, milliseconds, prepare_oracle, time_oracle},
    session::{NoThreads, Session},
    status::Status,
};

/// Least time that a sample takes.
const SAMPLE: Duration = Duration::from_millis(20);

/// One run of `ropewalk bench`.
#[derive(Debug)]
struct Bench<'a> {
    arguments: &'a BenchArguments,
    session: Session,
    runners: Vec<Runner>,
    progress: Progress,
    reports: BenchReports,
    status: Status,
}

/// Why a block could not be measured.
#[derive(Debug)]
enum Failure {
    /// An execution failed that had succeeded before.
    Run(BlockError),
    /// The user wants the run to end.
    Interrupted,
}

/// Measures what the arguments say.
///
/// # Errors
/// When standard output is closed or full.
pub(crate) fn bench(arguments: &BenchArguments, interrupt: CancelToken) -> io::Result<Status> {
    if let (Some(db), Some(genesis), Some(chain)) = (&arguments.db, &arguments.genesis, &arguments.chain) {
        return chain::bench(&chain::Place { db, genesis, chain }, arguments, &interrupt);
    }
    let (session, runners) = match prepare(arguments, interrupt) {
        Ok(prepared) => prepared,
        Err(error) => {
            Progress::new(0).say(&format!("error: {}", chain_of(&error)));
            return Ok(Status::Input);
        }
    };
    let mut status = Status::default();
    // Kept until everything is measured.
    let generated = match &arguments.workload {
        Some(workload) => match workloads::generate(*workload, arguments) {
            Ok(directory) => Some(directory),
            Err(error) => {
                Progress::new(0).say(&format!("error: {}", chain_of(&error)));
                return Ok(Status::Input);
            }
        },
        None => None,
    };
    let mut paths = arguments.paths.clone();
    paths.extend(generated.iter().map(|directory| directory.path().to_owned()));
    let (fixtures, progress, unusable) = session.begin(&paths, &mut status);
    let threads = runners.iter().map(Runner::threads).collect();
    let mut reports = BenchReports::new(threads, arguments.runs.get());
    reports.unusable = unusable;
    let mut bench = Bench { arguments, session, runners, progress, reports, status };
    for directory in &fixtures {
        if bench.session.is_interrupted() {
            break;
        }
        bench.block(directory)?;
    }
    bench.finish()
}

/// Starts the threads: a set for each distinct count, in the order asked for.
fn prepare(arguments: &BenchArguments, interrupt: CancelToken) -> Result<(Session, Vec<Runner>), NoThreads> {
    let session = Session::new(interrupt)?;
    let mut runners: Vec<Runner> = Vec::new();
    let shortcuts = ShortcutArgument::all_but(&arguments.without);
    for threads in arguments.threads.iter().map(|threads| threads.count()) {
        if runners.iter().any(|runner| runner.threads() == threads.get()) {
            continue;
        }
        let normal = ScheduleArgument::Normal;
        let runner = Runner::new(threads, normal, arguments.inline_below, session.interrupt())?;
        runners.push(runner.with_shortcuts(shortcuts));
    }
    Ok((session, runners))
}

impl Bench<'_> {
    fn block(&mut self, directory: &Path) -> io::Result<()> {
        let (fixture, ground, truth) = match self.session.open_valid(directory, &self.progress) {
            Ok(opened) => opened,
            Err(status) => {
                self.count_refused(status);
                return Ok(());
            }
        };
        let (fixture, truth) = (&fixture, &truth);
        let mut reader = ground.reader();
        if let Some(latency) = self.arguments.read_latency.filter(|latency| *latency > 0) {
            reader = Arc::new(slow::SlowReader::new(reader, Duration::from_micros(latency)));
        }
        if !self.equal_to_oracle(fixture, &reader, truth) {
            self.count_refused(Status::Mismatch);
            return Ok(());
        }
        match self.measure(fixture, &reader, truth) {
            Ok(report) => {
                if self.arguments.json {
                    self.progress.aside(|| print_json(&report))?;
                }
                self.reports.add(report, fixture.label());
                self.progress.advance(truth.gas_used, 1);
            }
            Err(Failure::Interrupted | Failure::Run(BlockError::Cancelled { .. })) => {}
            Err(Failure::Run(error)) => {
                self.progress.say(&format!("mismatch: {}: {}", fixture.place(), chain_of(&error)));
                self.count_refused(Status::Mismatch);
            }
        }
        Ok(())
    }

    fn count_refused(&mut self, status: Status) {
        self.status.add(status);
        match status {
            Status::Input => self.reports.unusable += 1,
            _ => self.reports.mismatched += 1,
        }
        self.progress.advance(0, 1);
    }

    /// Runs every side once and compares. This warms code caches, too.
    fn equal_to_oracle(&self, fixture: &Fixture, reader: &Arc<dyn StateReader>, truth: &BlockOutcome) -> bool {
        self.runners.iter().all(|runner| {
            let run = runner.execute(fixture, reader, 0).value;
            let difference = compare::results(run.as_ref().map(|execution| &execution.outcome), Ok(truth));
            if let Some(difference) = &difference {
                let (place, threads) = (fixture.place(), runner.threads());
                self.progress.say(&format!("mismatch: {place}: {threads} threads and the oracle: {difference}"));
            }
            difference.is_none()
        })
    }

    fn measure(
        &self,
        fixture: &Fixture,
        reader: &Arc<dyn StateReader>,
        truth: &BlockOutcome,
    ) -> Result<BenchReport, Failure> {
        let oracle = prepare_oracle(fixture, reader).map_err(Failure::Run)?;
        let limit = Limit::of(&oracle, &self.runners[0], fixture, reader).map_err(Failure::Run)?;
        let mut costs = vec![SpeculationCost::default(); self.runners.len()];
        let list = self.own_list(fixture, reader).map_err(Failure::Run)?;
        let mut list_cost = SpeculationCost::default();
        let sides = self.runners.len() + 1 + usize::from(list.is_some());
        let mut samples = vec![Vec::with_capacity(self.arguments.runs.get()); sides];
        for round in 0..self.arguments.runs.get() {
            for place in 0..sides {
                // Forwards and backwards in turn: a machine that gets warmer or busier favours nobody.
                let side = if round % 2 == 0 { place } else { sides - 1 - place };
                if self.session.is_interrupted() {
                    return Err(Failure::Interrupted);
                }
                let time = match (side.checked_sub(1), &list) {
                    (None, _) => sample(|| time_oracle(&oracle)),
                    (Some(runner), Some(list)) if runner == self.runners.len() => sample(|| {
                        let run = self.runners[runner - 1].execute_by_access_list(fixture, reader, 0, list);
                        run.value.map(|execution| {
                            list_cost.add(&execution.stats);
                            run.time
                        })
                    }),
                    (Some(runner), _) => sample(|| {
                        self.runners[runner].forget_slots();
                        let run = self.runners[runner].execute(fixture, reader, 0);
                        run.value.map(|execution| {
                            costs[runner].add(&execution.stats);
                            run.time
                        })
                    }),
                };
                samples[side].push(milliseconds(time.map_err(Failure::Run)?));
            }
        }
        let (sequential, parallel) = samples.split_first().expect("the oracle is always a side");
        let by_list = match (parallel, &list) {
            ([.., without, with], Some(_)) => {
                Some(ListReport { time: Spread::of(with), paired: PairedRatio::of(without, with), cost: list_cost })
            }
            _ => None,
        };
        let in_order = Spread::of(sequential);
        let report = |((runner, times), cost): ((&Runner, &Vec<f64>), SpeculationCost)| {
            let (threads, time) = (runner.threads(), Spread::of(times));
            let speedup = in_order.median / time.median;
            let paired = PairedRatio::of(sequential, times);
            ThreadsReport { threads, time, speedup, paired, limit: limit.at(threads), cost }
        };
        Ok(BenchReport {
            number: fixture.number(),
            chain: fixture.chain.name.clone(),
            path: fixture.directory.clone(),
            txs: fixture.block.transactions.len(),
            gas_used: truth.gas_used,
            sequential: in_order,
            parallel: self.runners.iter().zip(parallel).zip(costs).map(report).collect(),
            by_list,
        })
    }

    /// The block's own access list, if it is asked for: one that the block can be executed by.
    fn own_list(
        &self,
        fixture: &Fixture,
        reader: &Arc<dyn StateReader>,
    ) -> Result<Option<Arc<AccessList>>, BlockError> {
        if !self.arguments.access_list {
            return Ok(None);
        }
        let runner = self.runners.last().expect("there is a number of threads");
        let record = runner.record(fixture, reader)?.record.expect("an execution that was asked for a record has one");
        let list = Arc::new(record.access_list());
        runner.execute_by_access_list(fixture, reader, 0, &list).value?;
        Ok(Some(list))
    }

    fn finish(mut self) -> io::Result<Status> {
        self.progress.finish();
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

/// Mean time of runs repeated until a sample's time has passed. What happens between runs is not counted.
pub(crate) fn sample(mut run: impl FnMut() -> Result<Duration, BlockError>) -> Result<Duration, BlockError> {
    let mut total = Duration::ZERO;
    let mut runs = 0;
    while total < SAMPLE {
        total += run()?;
        runs += 1;
    }
    Ok(total / runs)
}
