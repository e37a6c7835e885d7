//! One run: workers that take tasks from the scheduler and carry them out against multi-version memory.
//!
//! A worker goes round four steps: claim a task, attempt it, finish the attempt (publish), report. Each is a call of
//! [`Runner::step`], so that a simulation can interleave the steps of many workers on one thread; production threads
//! just call it until there is nothing left.
//!
//! The commit role moves between workers. Whoever holds it runs, in one go: the hook's admission, validation by value of
//! the incarnation's observations against committed state, or a frontier run where there is nothing to validate or it
//! failed, the hook's decision, and the fold into the committed values of what was not published. Only then does the frontier move (I2).

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

use crate::{
    CellId, CommitHook, Decision, Engine, Event, Frontier, Inline, Memory, NoProbe, Position, Probe, Program, RunError,
    RunOptions, Schedule, Stats, TxIndex, View, WorkerFactory,
    scheduler::{Plan, Scheduler, Task},
    sync::{Arc, Mutex, panicking},
    view::{Attendance, ViewOptions},
};

mod attempt;
mod dispatch;
mod runner;

pub(crate) use attempt::Attempt;
pub(crate) use dispatch::Dispatch;
pub(crate) use runner::{Runner, Step};

/// How a run ended, when it was not cut short by an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// The transaction that the hook stopped at; nothing at or above it is committed.
    pub stopped_at: Option<TxIndex>,
    /// What it cost.
    pub stats: Stats,
    /// The attempts that were found wrong, as far as it is known on whose account.
    pub conflicts: Vec<Conflict>,
}

/// An attempt that came to nothing on account of a lower transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conflict {
    /// The transaction that was attempted.
    pub reader: TxIndex,
    /// The lower one, whose write it missed.
    pub writer: TxIndex,
    /// Where it missed it, if that is known.
    pub cell: Option<CellId>,
}

impl Engine {
    /// Runs `transactions` speculatively, such that everything the hook sees and everything left in `memory` is as if
    /// they had run in order on the calling thread.
    ///
    /// `memory` may hold writes committed before the first transaction. The calling thread works too; the call returns
    /// when every thread has let go of the run.
    ///
    /// # Errors
    /// When the base state fails, a worker panics, or the run is cancelled: with all transactions below the named one
    /// committed and none at or above it.
    ///
    /// # Panics
    /// When the hook or the factory panics, or an invariant of the engine is broken.
    pub fn run<P: Program, F: WorkerFactory<P>, H: CommitHook<P>>(
        &self,
        memory: &Arc<Memory<P>>,
        transactions: &[P::Transaction],
        factory: &F,
        hook: &mut H,
        options: &RunOptions,
    ) -> Result<Finished, RunError<P::Fault>> {
        self.run_probed(memory, transactions, factory, hook, options, &NoProbe)
    }

    /// As [`run`](Self::run), with a probe that hears of every step.
    ///
    /// # Errors
    /// As `run`.
    ///
    /// # Panics
    /// As `run`, and when the probe panics.
    pub fn run_probed<P: Program, F: WorkerFactory<P>, H: CommitHook<P>, R: Probe>(
        &self,
        memory: &Arc<Memory<P>>,
        transactions: &[P::Transaction],
        factory: &F,
        hook: &mut H,
        options: &RunOptions,
        probe: &R,
    ) -> Result<Finished, RunError<P::Fault>> {
        let workers = if memory.is_for_one_thread() { 1 } else { self.workers_for::<P>(transactions, options) };
        // Whoever hands out turns is to hear of every step.
        let has_turns = probe.turns().is_some();
        let plain = options.schedule == Schedule::Normal && options.frontier == Frontier::Eager;
        let crew = if workers == 1 && plain && !has_turns { Crew::Alone } else { Crew::Of(workers) };
        let run = Run::new(memory, transactions, factory, hook, options, probe, crew);
        self.scatter(workers, |number| run.work(number, workers));
        run.finish()
    }

    /// Wakes the threads that a run of these transactions will want, so that they are up when it begins: that takes as long
    /// as preparing a small block does. Returns how many workers the run will have.
    pub fn rouse<P: Program>(&self, transactions: &[P::Transaction], options: &RunOptions) -> usize {
        let workers = self.workers_for::<P>(transactions, options);
        self.knock(workers);
        workers
    }

    /// Workers that a list is worth. Adversarial schedules are for tests and take all there are.
    pub fn workers_for<P: Program>(&self, transactions: &[P::Transaction], options: &RunOptions) -> usize {
        let inline = match options.inline {
            Inline::Automatic if options.schedule != Schedule::Normal => false,
            Inline::Automatic => {
                let helpers = self.threads() as u64 - 1;
                let of_all = (helpers * EFFORT_OF_FORETELLING).min(MOST_EFFORT_OF_FORETELLING);
                let least = match options.shortcuts.foretells {
                    true if options.known_writes => EFFORT_OF_FORETELLING_KNOWN,
                    true => of_all,
                    false => 0,
                };
                let efforts = || transactions.iter().map(|each| effort::<P>(each, options).max(least));
                let (all, largest) = (sum(efforts()), efforts().max().unwrap_or_default());
                // What the largest leaves is all that another thread could take.
                let leaves_little = |largest: u64| all.saturating_sub(largest) < all / LEAST_SHARED;
                leaves_little(largest)
                    // Of so many threads each is left its part.
                    || all.saturating_mul(helpers) < SAVING_WORTH_A_THREAD * (helpers + 1)
                    || is_hinted(options)
                        && transactions.len() <= MOST_CHAINED
                        && leaves_little(longest_chain::<P>(transactions, options))
            }
            Inline::Below(weight) => sum(transactions.iter().map(P::weight)) < weight,
        };
        let most = if inline { 1 } else { self.threads() };
        most.min(transactions.len()).max(1)
    }
}

/// Transactions of the longest list that is looked through for chains: a longer one is hardly ever a single chain, and to find
/// that out takes longer.
const MOST_CHAINED: usize = 64;

/// Nanoseconds that pay for waking threads and waiting for them to leave.
const SAVING_WORTH_A_THREAD: u64 = 200_000;
/// One part in so many of the work must be outside its largest transaction, and outside its longest chain.
const LEAST_SHARED: u64 = 6;

/// Nanoseconds that a transaction is worth to each other thread that may foretell it, at least,
const EFFORT_OF_FORETELLING: u64 = 100;
/// and to all of them together.
const MOST_EFFORT_OF_FORETELLING: u64 = 500;

/// Nanoseconds that one is worth to another thread that foretells it over known writes, and compares it with them.
const EFFORT_OF_FORETELLING_KNOWN: u64 = 2_000;

/// Nanoseconds that a transaction is worth to another thread that finds what is written before it known, at least.
const LEAST_KNOWN_EFFORT: u64 = 1_000;

/// What a transaction is worth to another thread. What nobody publishes costs nothing to hand over.
fn effort<P: Program>(transaction: &P::Transaction, options: &RunOptions) -> u64 {
    let effort = P::effort(transaction);
    let is_foretold = effort == 0 && options.shortcuts.foretells;
    if options.known_writes && !is_foretold { effort.max(LEAST_KNOWN_EFFORT) } else { effort }
}

fn sum(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0, u64::saturating_add)
}

/// Who carries a run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crew {
    /// One worker, which commits one transaction after the other: there are no slots, and nothing is scheduled.
    Alone,
    /// So many workers, which ask the scheduler what to do.
    Of(usize),
}

/// What the workers of one run share.
pub(crate) struct Run<'r, P: Program, F, H, R> {
    memory: &'r Arc<Memory<P>>,
    transactions: &'r [P::Transaction],
    factory: &'r F,
    probe: &'r R,
    options: &'r RunOptions,
    mode: Frontier,
    /// Whether the memory lies over known writes, whatever the options say of it.
    is_known: bool,
    crew: Crew,
    /// Entered only by the holder of the commit role, so never contended.
    hook: Mutex<&'r mut H>,
    /// Results that wait for their commit, and what is left of committed ones until their owners take it back. A slot is touched by the worker that runs, validates or commits its
    /// transaction; the scheduler sees to it that this is one at a time.
    slots: Vec<Mutex<Option<Box<Attempt<P>>>>>,
    dispatch: Arc<Dispatch>,
    /// For each transaction that may be begun before the one that it follows is executed: where they meet.
    meetings: Vec<Option<Meeting>>,
    /// Why the run ended early; written once, by the worker that ends it.
    ending: Mutex<Option<Ending<P::Fault>>>,
}

/// Why a run ended before its last transaction.
enum Ending<F: std::error::Error + 'static> {
    Hook(TxIndex),
    /// Somebody may be committing meanwhile: where the run stands is known once all workers have ended.
    Cancelled,
    Error(RunError<F>),
}

impl<'r, P: Program, F: WorkerFactory<P>, H: CommitHook<P>, R: Probe> Run<'r, P, F, H, R> {
    pub(crate) fn new(
        memory: &'r Arc<Memory<P>>,
        transactions: &'r [P::Transaction],
        factory: &'r F,
        hook: &'r mut H,
        options: &'r RunOptions,
        probe: &'r R,
        crew: Crew,
    ) -> Self {
        let adversary = match options.schedule {
            Schedule::Normal => None,
            Schedule::Adversarial { seed } => Some(seed),
        };
        let mode = if adversary.is_some() { Frontier::Never } else { options.frontier };
        let (workers, planned) = match crew {
            Crew::Alone => (1, &[][..]),
            Crew::Of(workers) => (workers, transactions),
        };
        let after = lanes::<P>(planned, if is_hinted(options) { workers } else { 1 });
        let mut weights: Vec<_> = planned.iter().map(|each| (P::weight(each), effort::<P>(each, options))).collect();
        make_way(&mut weights, &after);
        let meetings = meetings(memory, planned, &after, &weights, options, mode);
        let plan = Plan {
            weights,
            meets: meetings.iter().map(Option::is_some).collect(),
            large_first: options.shortcuts.large_first,
            foretells: options.shortcuts.foretells && mode == Frontier::Eager,
            after,
            workers: workers as u32,
            window_per_worker: options.window_per_worker,
            frontier: mode,
            adversary,
            speculation_multiple: options.speculation_multiple,
        };
        memory.set_stopped(false);
        memory.set_frontier(Position(1));
        Self {
            memory,
            transactions,
            factory,
            probe,
            options,
            mode,
            is_known: memory.is_over_known_writes(),
            hook: Mutex::new(hook),
            crew,
            slots: planned.iter().map(|_| Mutex::new(None)).collect(),
            dispatch: Arc::new(Dispatch::new(Scheduler::new(plan), workers, probe.turns())),
            meetings,
            ending: Mutex::new(None),
        }
    }

    /// One worker's life, on its own thread: one of so many.
    pub(crate) fn work(&self, number: usize, workers: usize) {
        let _guard = Life { run: self, number };
        if let Some(turns) = self.dispatch.turns() {
            turns.begin(number, workers);
        }
        let mut runner = Runner::new(self, number);
        if self.crew == Crew::Alone {
            return runner.run_alone();
        }
        while runner.step() != Step::Finished {}
    }

    /// The result, once all workers have ended.
    pub(crate) fn finish(&self) -> Result<Finished, RunError<P::Fault>> {
        self.memory.set_stopped(false);
        let mut scheduler = self.dispatch.lock();
        let (stats, index) = (scheduler.stats, scheduler.frontier());
        let stopped_at = match self.ending.lock().take() {
            None => None,
            Some(Ending::Cancelled) if index.at() == self.transactions.len() => None,
            Some(Ending::Cancelled) => return Err(RunError::Cancelled { index }),
            Some(Ending::Hook(index)) => Some(index),
            Some(Ending::Error(error)) => return Err(error),
        };
        Ok(Finished { stopped_at, stats, conflicts: std::mem::take(&mut scheduler.conflicts) })
    }

    /// The scheduler, for checks between steps.
    #[cfg(all(test, not(feature = "shuttle")))]
    pub(crate) fn scheduler(&self) -> crate::sync::Guard<'_, Scheduler> {
        self.dispatch.lock()
    }

    /// Cancels the run as its caller would.
    #[cfg(all(test, not(feature = "shuttle")))]
    pub(crate) fn cancel(&self) {
        self.options.cancel.iter().for_each(crate::CancelToken::cancel);
    }

    /// A view for the attempts of one worker, which may park its thread or not.
    fn view(&self, worker: usize, parks: bool) -> View<P> {
        let options = ViewOptions { record: self.options.record, check_when_due: self.mode == Frontier::Eager };
        let dispatch = Arc::clone(&self.dispatch);
        View::new(Arc::clone(self.memory), options, Some(Attendance { dispatch, worker, parks }))
    }

    /// Ends the run; the first reason given is the one that counts.
    fn end(&self, ending: Ending<P::Fault>) {
        self.ending.lock().get_or_insert(ending);
        self.stop();
    }

    /// Takes what is in a slot.
    fn take(&self, index: TxIndex) -> Option<Box<Attempt<P>>> {
        self.slots.get(index.at())?.lock().take()
    }

    fn stop(&self) {
        self.memory.set_stopped(true);
        self.dispatch.stop();
    }

    fn event(&self, worker: usize, event: Event) {
        self.probe.event(worker, event);
    }
}

/// A worker's life. Lets the other workers go when one leaves by a panic.
struct Life<'a, 'r, P: Program, F: WorkerFactory<P>, H: CommitHook<P>, R: Probe> {
    run: &'a Run<'r, P, F, H, R>,
    number: usize,
}

impl<P: Program, F: WorkerFactory<P>, H: CommitHook<P>, R: Probe> Drop for Life<'_, '_, P, F, H, R> {
    fn drop(&mut self) {
        if panicking() {
            self.run.stop();
        }
        if let Some(turns) = self.run.dispatch.turns() {
            turns.end(self.number);
        }
    }
}

/// The previous transaction of each transaction's lane, or a later one that it is expected to depend on. One worker needs no hints, nor does who finds what is written before it known.
fn lanes<P: Program>(transactions: &[P::Transaction], workers: usize) -> Vec<Option<u32>> {
    if workers == 1 {
        return vec![None; transactions.len()];
    }
    let mut last = HashMap::with_capacity_and_hasher(transactions.len(), foldhash::fast::RandomState::default());
    let previous = |(index, transaction)| {
        let index = index as u32;
        let of_lane = P::lane(transaction).and_then(|lane| last.insert(lane, index));
        of_lane.max(P::follows(transaction).map(|lower| lower.0).filter(|lower| *lower < index))
    };
    transactions.iter().enumerate().map(previous).collect()
}

/// Whether transactions wait for those that hints say they depend on. Who finds what is written before it known depends on nobody.
fn is_hinted(options: &RunOptions) -> bool {
    options.shortcuts.lanes && !options.known_writes
}

/// Nanoseconds that the longest chain of transactions takes of which each waits for the one before as a whole.
fn longest_chain<P: Program>(transactions: &[P::Transaction], options: &RunOptions) -> u64 {
    let mut until = vec![0_u64; transactions.len()];
    for (index, before) in lanes::<P>(transactions, 2).into_iter().enumerate() {
        let effort = effort::<P>(&transactions[index], options);
        let before = before.filter(|_| meeting_key::<P>(&transactions[index], effort, options).is_none());
        until[index] = before.map_or(0, |before| until[before as usize]).saturating_add(effort);
    }
    until.into_iter().max().unwrap_or_default()
}

/// Where a transaction and a lower one that it follows are expected to meet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meeting {
    /// What the lower one writes and this one reads.
    pub(crate) cell: CellId,
    /// The lower one.
    pub(crate) with: TxIndex,
}

/// Nanoseconds that a transaction takes at least whose worker may be held up in the middle of it: what comes before the read
/// is to be worth waking it again, and having what the transactions of a chain read and write go back and forth between
/// cores. Of recorded blocks, one gains whose calls take a hundred milliseconds, and one of calls of a fifth of a
/// millisecond, which meet at once, lost a third; the threshold lies between.
const EFFORT_WORTH_A_MEETING: u64 = 1_000_000;

/// The key at which a transaction of so many nanoseconds is expected to meet the one that it follows, where that is known and
/// worth a wait inside the read.
fn meeting_key<'t, P: Program>(
    transaction: &'t P::Transaction,
    effort: u64,
    options: &RunOptions,
) -> Option<&'t P::Key> {
    let waits = options.shortcuts.waits_in_reads && effort >= EFFORT_WORTH_A_MEETING;
    P::meets(transaction).filter(|_| waits)
}

/// Where transactions meet those that they wait for.
fn meetings<P: Program>(
    memory: &Memory<P>,
    transactions: &[P::Transaction],
    after: &[Option<u32>],
    weights: &[(u64, u64)],
    options: &RunOptions,
    mode: Frontier,
) -> Vec<Option<Meeting>> {
    let meets = !options.known_writes && mode == Frontier::Eager;
    let meeting = |index: usize| {
        let (transaction, with) = (&transactions[index], TxIndex(after[index].filter(|_| meets)?));
        let key = meeting_key::<P>(transaction, weights[index].1, options)?;
        (P::follows(transaction) == Some(with)).then(|| Meeting { cell: memory.intern(key), with })
    };
    (0..transactions.len()).map(meeting).collect()
}

/// A transaction that is worth nothing to another thread, but that one waits for which is, is worth a little: else all of
/// its lane would wait for the frontier to pass it.
///
/// Not so where many of them come one after the other: who waits for all of these waits for the frontier as well.
fn make_way(weights: &mut [(u64, u64)], after: &[Option<u32>]) {
    let mut in_a_row = vec![0_u32; after.len()];
    for (index, before) in after.iter().enumerate().filter(|(index, _)| weights[*index].1 == 0) {
        in_a_row[index] = 1 + before.map_or(0, |before| in_a_row[before as usize]);
    }
    for (index, before) in after.iter().enumerate().rev() {
        if let (Some(before), true) = (before.map(|before| before as usize), weights[index].1 > 0) {
            let effort = &mut weights[before].1;
            if *effort == 0 && in_a_row[before] <= MOST_IN_A_ROW {
                *effort = 1;
            }
        }
    }
}

/// Transactions of a lane that make way for one after them, at most.
const MOST_IN_A_ROW: u32 = 4;

/// Runs `attempt`, turning a panic into its message.
fn catching<T>(attempt: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(attempt)).map_err(|payload| {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
    })
}

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests;
