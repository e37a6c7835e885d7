//! Who does what next: a plain state machine behind one lock.
//!
//! A worker reports what it has done and gets its next task in one critical section of a few dozen instructions. No
//! thread, lock or clock lives here, so a simulation can drive the very code that production runs.
//!
//! ```text
//!           fresh ──claimed──> running ──executed──> executed ──committed──> committed
//!             │                 │  ^  │                │   │
//!      lane   │       aborted   │  │  │   dirty:       │   │
//!      waits  │        ┌────────┘  │  └── validated <──┘   │ invalid at the frontier
//!             v        v           │                       │
//!           blocked ─> ready ──────┘         deferred <────┘   (runs when it is the frontier)
//! ```
//!
//! What takes no time goes another way, in groups: fresh, in telling, then foretold (its result waits for the commit, seen by
//! nobody) or deferred.
//!
//! - S1 The lowest uncommitted transaction is handed out before anything else, and only it is ever committed (I2).
//! - S2 A transaction is blocked only on a lower one, and every transaction that is executed or committed wakes those
//!   blocked on it: whoever waits, waits for something that can go on without it (I4). Attempts wait for what is running.
//! - S3 At most one worker holds the commit role.
//! - S4 The weight reserved for speculation never exceeds its budget, except for the frontier's own incarnations and for what is
//!   foretold, which happens to a transaction once.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
};

use crate::{Conflict, Frontier, Incarnation, Position, Stats, TxIndex};

mod adversary;
mod foretelling;
mod leaving;
mod plan;
mod rechecks;
mod task;
mod waiting;
mod window;

use adversary::Adversary;
pub(crate) use plan::Plan;
pub(crate) use task::{Report, Task};
pub(crate) use waiting::Outlook;
use window::Window;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Fresh,
    Blocked,
    Ready,
    Running,
    Executed,
    /// Somebody foretells it, and others with it.
    InTelling,
    /// Has a result that nobody sees.
    Foretold,
    Deferred,
    Committed,
}

#[derive(Debug)]
struct Transaction {
    phase: Phase,
    incarnation: Incarnation,
    /// A lower transaction wrote something that this one may have observed before.
    dirty: bool,
    /// The transaction that it waits for: the previous one of its lane, or one that it is expected to conflict with.
    after: Option<u32>,
    /// Whether it may be begun before that, because it waits again when it comes to where they meet.
    meets: bool,
    waiters: Vec<u32>,
    weight: u64,
    /// Time that it is expected to take. What is over in no time is done sooner by the committing worker itself.
    effort: u64,
}

/// The state of a run's order of work.
#[derive(Debug)]
pub(crate) struct Scheduler {
    transactions: Vec<Transaction>,
    frontier: u32,
    committing: bool,
    /// Whether the hook has admitted the frontier.
    admitted: bool,
    stopped: bool,
    mode: Frontier,
    adversary: Option<Adversary>,
    /// Lowest transaction that was never looked at for speculation.
    cursor: u32,
    /// Transactions that would keep everybody waiting at the end, the largest last, and were not looked at yet.
    large: Vec<u32>,
    /// Whether what takes no time is foretold in groups.
    foretells: bool,
    /// Effort of what is not committed.
    remaining: u64,
    ready: BinaryHeap<Reverse<u32>>,
    recheck: BTreeSet<u32>,
    /// Blocked transactions that may be begun before their time.
    early: BTreeSet<u32>,
    /// Attempts that wait inside a read: the transaction that they wait for, and whose they are.
    attendants: Vec<(u32, u32)>,
    /// Workers whose attempts have waited long enough. Kept until they are woken.
    pub(crate) answered: Vec<u32>,
    window: Window,
    workers: u32,
    budget: u64,
    /// Workers parked for lack of work. Kept by the run.
    pub(crate) parked: u32,
    pub(crate) stats: Stats,
    /// Attempts that were found wrong. Kept by the run.
    pub(crate) conflicts: Vec<Conflict>,
}

/// Incarnations of one transaction that are speculated on; further ones wait for the frontier.
const MOST_INCARNATIONS: u32 = 8;

impl Scheduler {
    pub(crate) fn new(plan: Plan) -> Self {
        let total: u64 = plan.weights.iter().fold(0, |sum, (weight, _)| sum.saturating_add(*weight));
        let effort: u64 = plan.weights.iter().fold(0, |sum, (_, effort)| sum.saturating_add(*effort));
        let large = plan.large(effort);
        let transaction = |((weight, effort), (after, meets))| Transaction {
            phase: Phase::Fresh,
            incarnation: Incarnation(0),
            dirty: false,
            after,
            meets,
            waiters: Vec::new(),
            weight,
            effort,
        };
        let count = plan.weights.len() as u32;
        Self {
            transactions: plan
                .weights
                .into_iter()
                .zip(plan.after.into_iter().zip(plan.meets))
                .map(transaction)
                .collect(),
            frontier: 0,
            committing: false,
            admitted: false,
            stopped: false,
            mode: plan.frontier,
            adversary: plan.adversary.map(|seed| Adversary::new(seed, count)),
            cursor: 0,
            large,
            foretells: plan.foretells,
            remaining: effort,
            ready: BinaryHeap::new(),
            recheck: BTreeSet::new(),
            early: BTreeSet::new(),
            attendants: Vec::new(),
            answered: Vec::new(),
            window: Window::new(plan.workers, plan.window_per_worker, count),
            workers: plan.workers,
            budget: total.saturating_mul(u64::from(plan.speculation_multiple)),
            parked: 0,
            stats: Stats { workers: plan.workers, ..Stats::default() },
            conflicts: Vec::new(),
        }
    }

    /// The lowest uncommitted transaction; the number of transactions when all are committed.
    pub(crate) fn frontier(&self) -> TxIndex {
        TxIndex(self.frontier)
    }

    /// Whether nothing is left to do.
    pub(crate) fn is_over(&self) -> bool {
        self.stopped || self.frontier == self.count()
    }

    /// Ends the run: everybody gets [`Task::Finish`] from now on.
    pub(crate) fn stop(&mut self) {
        self.stopped = true;
    }

    /// What a run came to for which nothing was scheduled.
    pub(crate) fn ended_alone(&mut self, stats: Stats) {
        (self.stats, self.frontier) = (stats, stats.committed);
    }

    fn count(&self) -> u32 {
        self.transactions.len() as u32
    }

    /// Takes in what a worker has done, and the positions whose observations may have been broken by it. Some reports
    /// lead straight to the same worker's next task.
    pub(crate) fn report(&mut self, report: Report, dirty: impl IntoIterator<Item = Position>) -> Option<Task> {
        let follow_up = match report {
            Report::Executed { index } | Report::Validated { index, holds: true } => {
                self.executed(index);
                None
            }
            Report::Foretold { index, count, told } => {
                self.foretold(index, count, told);
                None
            }
            Report::Aborted { index, on } => {
                self.aborted(index, on);
                None
            }
            Report::Deferred { index } => {
                self.restart(index, Phase::Deferred);
                self.stats.failures += 1;
                None
            }
            Report::Validated { index, holds: false } => self.run_again(index),
            Report::Invalid { index } => {
                self.restart(index, Phase::Ready);
                (self.committing, self.admitted) = (false, true);
                self.window.failed();
                None
            }
            Report::Missing { index } => {
                self.transaction_mut(index.0).phase = Phase::Ready;
                (self.committing, self.admitted) = (false, true);
                None
            }
            Report::Committed { index, speculated, wasted, cost } => {
                self.stats.committed_cost += cost;
                self.committed(index, speculated, wasted);
                None
            }
            Report::PublishedAll => {
                self.published_all();
                None
            }
        };
        dirty.into_iter().for_each(|position| self.mark_dirty(TxIndex(position.0 - 1)));
        self.dismiss();
        follow_up
    }

    /// The next task, or `None` when there is nothing to do until somebody reports.
    pub(crate) fn next(&mut self) -> Option<Task> {
        if self.is_over() {
            return Some(Task::Finish);
        }
        if self.adversary.is_some() {
            return self.next_adversarial();
        }
        self.frontier_task()
            .or_else(|| self.recheck_task())
            .or_else(|| self.large_task())
            .or_else(|| self.ready_task())
            .or_else(|| self.fresh_task())
            .or_else(|| self.early_task())
    }

    /// Gives the commit role to whoever has just executed the frontier, so that its result goes straight into the
    /// committed state: nobody needs to see it as a version before. Refused where a commit is under way or the run is
    /// over, and under an adversarial schedule.
    pub(crate) fn commit_at_once(&mut self, index: TxIndex) -> Option<Task> {
        if self.is_over() || self.committing || self.adversary.is_some() || self.frontier != index.0 {
            return None;
        }
        self.committing = true;
        let incarnation = self.transaction(index.0).incarnation;
        Some(Task::Commit { index, incarnation, admitted: self.admitted })
    }

    /// Whether a parked worker would find something worth waking up for.
    pub(crate) fn has_work(&mut self) -> bool {
        if self.is_over() || self.adversary.is_some() {
            return true;
        }
        // What somebody has taken as the frontier meanwhile is nobody else's work.
        while self.ready.peek().is_some_and(|Reverse(index)| self.transaction(*index).phase != Phase::Ready) {
            self.ready.pop();
        }
        let is_taken = matches!(self.transaction(self.frontier).phase, Phase::Running | Phase::InTelling);
        let frontier_waits = !self.committing && !is_taken;
        let end = self.window_end();
        let again = self.ready.peek().is_some_and(|Reverse(index)| *index < end) || !self.recheck.is_empty();
        // A window that opens by one transaction at a time is not worth a wake-up each.
        let fresh = end.saturating_sub(self.cursor.max(self.window_start()));
        let early = || self.early_candidate().is_some();
        frontier_waits || again || early() || fresh > 0 && (fresh >= self.window.size / 4 || end == self.count())
    }

    fn transaction(&self, index: u32) -> &Transaction {
        &self.transactions[index as usize]
    }

    fn transaction_mut(&mut self, index: u32) -> &mut Transaction {
        &mut self.transactions[index as usize]
    }

    /// First transaction that is speculated on.
    fn window_start(&self) -> u32 {
        let reserved = self.adversary.is_none() && self.window.is_narrow();
        self.frontier.saturating_add(if reserved { 2 } else { 0 })
    }

    /// First transaction that is too far ahead to be speculated on.
    fn window_end(&self) -> u32 {
        let size = if self.adversary.is_some() { self.count() } else { self.window.size };
        self.window_start().max(self.frontier + 1).saturating_add(size).min(self.count())
    }

    fn frontier_task(&mut self) -> Option<Task> {
        if self.committing {
            return None;
        }
        let (mode, index, admitted) = (self.mode, self.frontier, self.admitted);
        let transaction = self.transaction_mut(index);
        let executed = matches!(transaction.phase, Phase::Executed | Phase::Foretold);
        let incarnation = transaction.incarnation;
        if matches!(transaction.phase, Phase::Running | Phase::InTelling) {
            return None;
        }
        let index = TxIndex(index);
        // The hook is asked before a failure of the frontier's incarnation can end the run.
        if executed || mode == Frontier::Eager || !admitted {
            transaction.phase = Phase::Running;
            self.committing = true;
            return Some(Task::Commit { index, incarnation, admitted });
        }
        Some(self.execute(index, true))
    }

    fn ready_task(&mut self) -> Option<Task> {
        let end = self.window_end();
        while let Some(Reverse(index)) = self.ready.peek().copied().filter(|Reverse(index)| *index < end) {
            self.ready.pop();
            if self.transaction(index).phase != Phase::Ready {
                continue;
            }
            if index < self.window_start() {
                self.transaction_mut(index).phase = Phase::Deferred;
            } else if self.reserve(index) {
                return Some(self.execute(TxIndex(index), false));
            }
        }
        None
    }

    /// A large transaction whose time has come: begun any later, it would still be running when all others are done. It
    /// is not begun sooner either, because the more is committed before it, the less there is to get wrong.
    fn large_task(&mut self) -> Option<Task> {
        while self.large.last().is_some_and(|index| self.transaction(*index).phase != Phase::Fresh) {
            self.large.pop();
        }
        let index = *self.large.last()?;
        let effort = self.transaction(index).effort;
        // What is expected says little of what it will be, so it is begun in good time.
        let room = effort.saturating_mul(3 * u64::from(self.workers)) / 2;
        // The window holds what is cheap to be wrong about; while most of that comes out right, this may lie beyond it.
        let is_too_far = self.window.is_narrow() && index >= self.window_end();
        if self.remaining > room || is_too_far {
            return None;
        }
        self.large.pop();
        let waits = self.transaction(index).after.is_some_and(|after| !self.is_past(after));
        let is_taken = index < self.window_start();
        (!waits && !is_taken && self.reserve(index)).then(|| self.execute(TxIndex(index), false))
    }

    fn fresh_task(&mut self) -> Option<Task> {
        let end = self.window_end();
        self.cursor = self.cursor.max(self.window_start());
        while self.cursor < end {
            let index = self.cursor;
            self.cursor += 1;
            let transaction = self.transaction_mut(index);
            if transaction.phase != Phase::Fresh {
                continue;
            }
            if transaction.effort == 0 {
                match self.foretell(index, end) {
                    Some(task) => return Some(task),
                    None => continue,
                }
            }
            if !self.waits(index) && self.reserve(index) {
                return Some(self.execute(TxIndex(index), false));
            }
        }
        None
    }

    /// Whether a transaction's writes are visible.
    fn is_past(&self, index: u32) -> bool {
        matches!(self.transaction(index).phase, Phase::Executed | Phase::Committed)
    }

    /// Takes a transaction's weight from the speculation budget, or leaves the transaction to the frontier.
    fn reserve(&mut self, index: u32) -> bool {
        let transaction = self.transaction(index);
        let enough = transaction.weight <= self.budget && transaction.incarnation.0 < MOST_INCARNATIONS;
        if enough {
            self.budget -= self.transaction(index).weight;
        } else {
            self.transaction_mut(index).phase = Phase::Deferred;
        }
        enough
    }

    fn execute(&mut self, index: TxIndex, last_word: bool) -> Task {
        let transaction = self.transaction_mut(index.0);
        transaction.phase = Phase::Running;
        transaction.dirty = false;
        let incarnation = transaction.incarnation;
        self.stats.speculations += 1;
        Task::Execute { index, incarnation, last_word, withhold: false }
    }

    /// There is a result, or there still is.
    fn executed(&mut self, index: TxIndex) {
        let transaction = self.transaction_mut(index.0);
        transaction.phase = Phase::Executed;
        if transaction.dirty {
            self.recheck.insert(index.0);
        }
        self.wake_waiters(index);
    }

    /// An incarnation that was found wrong before its turn: the same worker runs the next one.
    fn run_again(&mut self, index: TxIndex) -> Option<Task> {
        self.stats.aborts += 1;
        let transaction = self.transaction_mut(index.0);
        transaction.incarnation = transaction.incarnation.next();
        self.reserve(index.0).then(|| self.execute(index, false))
    }

    fn restart(&mut self, index: TxIndex, phase: Phase) {
        self.stats.aborts += 1;
        let transaction = self.transaction_mut(index.0);
        transaction.incarnation = transaction.incarnation.next();
        transaction.phase = phase;
    }

    fn aborted(&mut self, index: TxIndex, on: Option<TxIndex>) {
        let Some(on) = on.filter(|on| !self.is_past(on.0)) else {
            self.restart(index, Phase::Ready);
            self.ready.push(Reverse(index.0));
            return;
        };
        assert!(on < index, "transaction {index} waits for {on}, which does not come before it");
        self.stats.dependencies += 1;
        self.restart(index, Phase::Blocked);
        self.transaction_mut(on.0).waiters.push(index.0);
    }

    fn committed(&mut self, index: TxIndex, speculated: bool, wasted: bool) {
        assert_eq!(index.0, self.frontier, "transaction {index} is committed out of order");
        assert!(self.committing, "transaction {index} is committed by a worker without the commit role");
        self.transaction_mut(index.0).phase = Phase::Committed;
        (self.committing, self.admitted) = (false, false);
        self.frontier += 1;
        self.remaining = self.remaining.saturating_sub(self.transaction(index.0).effort);
        self.stats.committed += 1;
        self.stats.aborts += u32::from(wasted);
        self.stats.frontier_runs += u32::from(!speculated);
        match (speculated, wasted) {
            (true, _) => self.window.held(),
            (false, true) => self.window.failed(),
            (false, false) => self.window.nothing_speculated(),
        }
        self.wake_waiters(index);
    }
}

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests;
