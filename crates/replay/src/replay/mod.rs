//! `ropewalk replay`: every block executed, checked, committed and reported.

mod checks;
mod records;
mod slow;
mod watch;
mod whole;

use std::{error::Error, io, path::Path, sync::Arc, time::Duration};

use ropewalk_block::{
    AccessList, BlockError, BlockOutcome, CancelToken, Execution, Position, Status as CheckStatus, Timeline, oracle,
};
use ropewalk_state::StateReader;

use self::{
    watch::{Recorded, Seen, Watch},
    whole::WholeState,
};
use crate::{
    arguments::{Mode, ReplayArguments},
    compare::{self, Difference, chain_of},
    fixture::{Fixture, FixtureError, Senders, WriteError},
    ground::Ground,
    persist::{Databases, PersistError, Place},
    report::{
        Figure, Progress, print, print_json,
        replay::{BlockReport, Reports},
    },
    run::{Runner, Timed, milliseconds, prepare_oracle, time_oracle},
    session::{Opened, Session, refuse, state_error},
    status::Status,
};

/// Times that the oracle is run at most; it is there to compare with, not to be measured to the last digit.
const SEQUENTIAL_SAMPLES: usize = 5;

/// One run of `ropewalk replay`.
#[derive(Debug)]
struct Replay<'a> {
    arguments: &'a ReplayArguments,
    session: Session,
    runner: Runner,
    databases: Databases,
    watch: Watch,
    progress: Progress,
    reports: Reports,
    status: Status,
    /// The state after the block that was replayed last, where it is known in whole.
    whole: Option<WholeState>,
}

/// Why a block's report is not all there is to say.
#[derive(Debug)]
enum Failure {
    /// The fixture cannot be used, or contradicts itself.
    Fixture(FixtureError),
    /// The database cannot be used.
    Persist(PersistError),
    /// What was made of the block cannot be written beside it.
    Write(WriteError),
    /// The user wants the run to end.
    Interrupted,
}

/// Replays what the arguments say.
///
/// # Errors
/// When standard output is closed or full.
pub(crate) fn replay(arguments: &ReplayArguments, interrupt: CancelToken) -> io::Result<Status> {
    let mut status = Status::default();
    let mut reports = Reports::new(arguments.mode);
    let prepared = Session::new(interrupt).and_then(|session| {
        let ReplayArguments { threads, schedule, inline_below, .. } = arguments;
        let runner = Runner::new(threads.count(), *schedule, *inline_below, session.interrupt())?;
        Ok((session, runner))
    });
    let (session, runner) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return Ok(refuse_run(&error)),
    };
    let databases = match Databases::new(arguments.db.as_deref()) {
        Ok(databases) => databases,
        Err(error) => return Ok(refuse_run(&error)),
    };
    let watch = match Watch::new(arguments) {
        Ok(watch) => watch,
        Err(error) => return Ok(refuse_run(&error)),
    };
    let mut refused = Vec::new();
    let fixtures = session.discover(&arguments.paths, &mut status, |error| refused.push(chain_of(error)));
    let progress = Progress::new(fixtures.len() as u64);
    for error in refused {
        progress.say(&format!("error: {error}"));
        reports.add_unusable();
    }
    let mut replay = Replay { arguments, session, runner, databases, watch, progress, reports, status, whole: None };
    for directory in &fixtures {
        if replay.session.is_interrupted() || !replay.block(directory)? {
            break;
        }
    }
    replay.finish()
}

/// Says why nothing can be done at all.
fn refuse_run(error: &(dyn Error + 'static)) -> Status {
    Progress::new(0).say(&format!("error: {}", chain_of(error)));
    Status::Input
}

impl Replay<'_> {
    /// Replays one block, and says whether to go on with the next.
    fn block(&mut self, directory: &Path) -> io::Result<bool> {
        let opened = match self.session.open(directory) {
            Ok(opened) => opened,
            Err(error) => return self.refuse(&error).map(|()| true),
        };
        self.progress.begin(opened.fixture.label());
        let mut report = BlockReport::new(&opened.fixture, self.threads());
        let failure = match &opened.truth {
            Ok(truth) => self.valid_block(&opened, truth, &mut report).err(),
            Err(error) => {
                self.invalid_block(&opened, error, &mut report);
                None
            }
        };
        let go_on = match failure {
            None => true,
            Some(Failure::Interrupted) => return Ok(false),
            Some(Failure::Fixture(error)) => {
                return self.refuse(&error).map(|()| true);
            }
            Some(Failure::Write(error)) => {
                self.progress.say(&format!("error: {}: {}", opened.fixture.place(), chain_of(&error)));
                self.status.add(Status::Input);
                true
            }
            Some(Failure::Persist(error)) => {
                self.progress.say(&format!("error: {}: {}", opened.fixture.place(), chain_of(&error)));
                self.status.add(status_of(&error));
                !error.is_about_all()
            }
        };
        report.verified = report.error.is_none() && report.checks.verified();
        self.report(&report)?;
        Ok(go_on)
    }

    fn report(&mut self, report: &BlockReport) -> io::Result<()> {
        self.status.add(if report.verified { Status::Verified } else { Status::Mismatch });
        if self.arguments.json {
            self.progress.aside(|| print_json(report))?;
        }
        self.reports.add(report);
        self.progress.advance(report.gas_used, self.arguments.repeat.get() as u64);
        Ok(())
    }

    /// Says what is wrong with a fixture. A block that contradicts itself is reported as invalid.
    fn refuse(&mut self, error: &FixtureError) -> io::Result<()> {
        self.status.add(refuse(&self.progress, error));
        if let Some(report) = BlockReport::of_contradiction(error, self.threads()) {
            return self.report(&report);
        }
        self.reports.add_unusable();
        self.progress.advance(0, 1);
        Ok(())
    }

    fn threads(&self) -> usize {
        match self.arguments.mode {
            Mode::Parallel | Mode::AccessList => self.runner.threads(),
            Mode::Sequential => 1,
        }
    }

    /// Runs, checks and commits a block that the oracle accepts.
    fn valid_block(&mut self, opened: &Opened, truth: &BlockOutcome, report: &mut BlockReport) -> Result<(), Failure> {
        let Opened { fixture, ground, .. } = opened;
        self.remark(fixture);
        report.take_outcome(fixture, truth);
        report.checks.oracle = CheckStatus::Ok;
        let list = self.access_list(fixture)?;
        let list = list.as_ref();
        // The first run, from the database, is not timed: it is the one that meets new code.
        let placed = self.databases.place(fixture, ground.recorded());
        let first = match &placed {
            Ok(Place::Ready(extension)) => self.run_once(fixture, &extension.reader(), list, truth)?,
            Ok(Place::Present) | Err(_) => self.run_once(fixture, &ground.reader(), list, truth)?,
        };
        match (first, &placed) {
            (CheckStatus::Mismatch, Ok(Place::Ready(_))) => report.checks.store = first,
            _ => report.checks.oracle = first,
        }
        if first == CheckStatus::Ok {
            self.execute(fixture, ground, list, truth, report)?;
        }
        let whole = self.session.in_pool(|| WholeState::before(fixture, self.whole.as_ref()));
        let record = self.record(fixture, ground, truth, report);
        let computed = self.compute(fixture, ground, whole.as_ref(), truth, record.as_ref());
        let (computed, after) =
            computed.map_err(|error| Failure::Fixture(state_error(fixture, Position::PostBlock, error)))?;
        self.check(fixture, truth, &computed, report);
        let placed = placed?;
        if report.checks.verified() {
            self.persist(fixture, placed, truth, report)?;
            self.write_records(fixture, ground, whole.as_ref(), truth, record.as_ref(), report)?;
            self.whole = after;
        }
        Ok(())
    }

    /// A block that the oracle rejects must be rejected by the engine too, and for the same reason.
    fn invalid_block(&mut self, opened: &Opened, error: &BlockError, report: &mut BlockReport) {
        let Opened { fixture, ground, .. } = opened;
        let reason = match error.as_invalid() {
            Some(rule) => chain_of(rule),
            None => chain_of(error),
        };
        self.progress.say(&format!("invalid: {}: {reason}", fixture.place()));
        report.error = Some(reason);
        report.checks.header_hash = self.check_header_hash(fixture);
        if self.arguments.mode != Mode::Sequential {
            let run = self.runner.execute(fixture, &ground.reader(), 0).value;
            let ours = run.as_ref().map(|execution| &execution.outcome);
            report.checks.oracle = self.compared(fixture, "the parallel run", compare::results(ours, Err(error)));
        }
    }

    fn remark(&self, fixture: &Fixture) {
        let place = fixture.place();
        if fixture.senders == Senders::Recorded && !fixture.block.transactions.is_empty() {
            self.progress.say(&format!("note: {place}: no signatures are recorded, senders are taken as given"));
        }
        if fixture.ommers_unknown {
            self.progress.say(&format!("note: {place}: uncles.json is missing, rewards for uncles are left out"));
        }
    }

    /// Executes the block as often as asked, and compares every outcome with the oracle's.
    fn execute(
        &mut self,
        fixture: &Fixture,
        ground: &Ground,
        list: Option<&Arc<AccessList>>,
        truth: &BlockOutcome,
        report: &mut BlockReport,
    ) -> Result<(), Failure> {
        let reader = ground.reader();
        let failed = |error: BlockError| match error {
            BlockError::State { position, source } => Failure::Fixture(state_error(fixture, position, source)),
            // The oracle accepted the block a moment ago.
            _ => Failure::Interrupted,
        };
        let repeat = self.arguments.repeat.get();
        let oracle = prepare_oracle(fixture, &reader).map_err(failed)?;
        let parallel = self.arguments.mode != Mode::Sequential;
        let oracle_runs = if parallel { repeat.min(SEQUENTIAL_SAMPLES) } else { repeat };
        let mut sequential = Vec::with_capacity(oracle_runs);
        let mut runs = Vec::with_capacity(repeat);
        for repetition in 0..repeat {
            if self.session.is_interrupted() {
                return Err(Failure::Interrupted);
            }
            if repetition < oracle_runs {
                sequential.push(time_oracle(&oracle).map_err(failed)?);
            }
            if !parallel {
                continue;
            }
            let (run, timeline) = self.run_watched(fixture, &reader, list, repetition as u64);
            if let Err(BlockError::Cancelled { .. }) = run.value {
                return Err(Failure::Interrupted);
            }
            let ours = run.value.as_ref().map(|execution| &execution.outcome);
            let difference = compare::results(ours, Ok(truth));
            if difference.is_some() {
                let run = format!("parallel run {repetition}");
                report.checks.oracle = self.compared(fixture, &run, difference);
                break;
            }
            let Ok(execution) = run.value else { continue };
            let recorded = timeline.map(|timeline| Recorded::of(&execution, timeline));
            runs.push((run.time, execution.stats, recorded));
        }
        let in_order = middle(&mut sequential, |time| *time).copied();
        report.sequential_ms = in_order.map(|time| Figure(milliseconds(time)));
        if !parallel {
            report.ms = report.sequential_ms;
        } else if let Some((took, stats, recorded)) = middle(&mut runs, |(time, ..)| *time) {
            report.ms = Some(Figure(milliseconds(*took)));
            report.aborts = stats.aborts.into();
            report.reexecuted_gas = stats.wasted_cost;
            let (took, recorded) = (*took, recorded.as_ref());
            self.tell(&Seen { fixture, outcome: truth, stats, took, in_order, recorded }, &reader, list);
        }
        Ok(())
    }

    /// Executes the block, with a recorder where somebody wants to know what happened.
    fn run_watched(
        &self,
        fixture: &Fixture,
        reader: &Arc<dyn StateReader>,
        list: Option<&Arc<AccessList>>,
        repetition: u64,
    ) -> (Timed<Result<Execution, BlockError>>, Option<Timeline>) {
        if !self.watch.records() {
            return (self.run(fixture, reader, list, repetition), None);
        }
        let most_events = Watch::most_events(self.arguments.repeat.get());
        let (run, timeline) = self.runner.execute_recorded(fixture, reader, list, repetition, most_events);
        (run, Some(timeline))
    }

    /// Tells of an execution whatever was asked for.
    fn tell(&mut self, seen: &Seen<'_>, reader: &Arc<dyn StateReader>, list: Option<&Arc<AccessList>>) {
        if let Err(error) = self.watch.add(seen) {
            self.progress.say(&format!("error: {}", chain_of(&error)));
            self.status.add(Status::Input);
        }
        if !self.watch.is_slow(seen.took) {
            return;
        }
        if seen.recorded.is_some() {
            return watch::warn(&self.progress, seen);
        }
        let (run, timeline) = self.runner.execute_recorded(seen.fixture, reader, list, 0, Watch::most_events(1));
        let recorded = run.value.ok().map(|execution| Recorded::of(&execution, timeline));
        watch::warn(&self.progress, &Seen { recorded: recorded.as_ref(), ..*seen });
    }

    /// Commits a verified block to its database.
    fn persist(
        &mut self,
        fixture: &Fixture,
        placed: Place,
        truth: &BlockOutcome,
        report: &mut BlockReport,
    ) -> Result<(), Failure> {
        let difference = match placed {
            Place::Present => {
                self.progress.say(&format!("note: {}: the database holds the block already", fixture.place()));
                self.databases.check_present(fixture, &truth.changes)?
            }
            Place::Ready(extension) => self.databases.commit(fixture, &extension, &truth.changes)?,
        };
        report.checks.store = self.compared(fixture, "the database", difference);
        Ok(())
    }

    fn compared(&self, fixture: &Fixture, ours: &str, difference: Option<Difference>) -> CheckStatus {
        let Some(difference) = difference else { return CheckStatus::Ok };
        self.progress.say(&format!("mismatch: {}: {ours} and the oracle: {difference}", fixture.place()));
        CheckStatus::Mismatch
    }

    /// Executes the block in parallel, by its access list where there is one.
    fn run(
        &self,
        fixture: &Fixture,
        reader: &Arc<dyn StateReader>,
        list: Option<&Arc<AccessList>>,
        repetition: u64,
    ) -> Timed<Result<Execution, BlockError>> {
        match list {
            Some(list) => self.runner.execute_by_access_list(fixture, reader, repetition, list),
            None => self.runner.execute(fixture, reader, repetition),
        }
    }

    /// Executes the block once, and compares.
    fn run_once(
        &self,
        fixture: &Fixture,
        reader: &Arc<dyn StateReader>,
        list: Option<&Arc<AccessList>>,
        truth: &BlockOutcome,
    ) -> Result<CheckStatus, Failure> {
        let result = match self.arguments.mode {
            Mode::Parallel | Mode::AccessList => {
                self.run(fixture, reader, list, 0).value.map(|execution| execution.outcome)
            }
            Mode::Sequential => oracle::execute(&fixture.chain.spec, &fixture.block, reader),
        };
        if let Err(BlockError::Cancelled { .. }) = result {
            return Err(Failure::Interrupted);
        }
        Ok(self.compared(fixture, "the first run", compare::results(result.as_ref(), Ok(truth))))
    }

    fn finish(mut self) -> io::Result<Status> {
        self.progress.finish();
        self.status.add(self.watch.finish(&self.progress));
        if let Err(error) = self.databases.close() {
            self.progress.say(&format!("error: {}", chain_of(&error)));
            self.status.add(status_of(&error));
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

impl From<PersistError> for Failure {
    fn from(error: PersistError) -> Self {
        Self::Persist(error)
    }
}

/// A database that cannot be used is bad input; one that forgets what was committed is not the user's fault.
fn status_of(error: &PersistError) -> Status {
    match error {
        PersistError::HeadLost { .. } => Status::Mismatch,
        _ => Status::Input,
    }
}

/// The middle one of some runs by time; of an even number the later one of the two in the middle.
fn middle<T>(runs: &mut [T], time: impl Fn(&T) -> Duration) -> Option<&T> {
    runs.sort_by_key(time);
    runs.get(runs.len() / 2)
}
