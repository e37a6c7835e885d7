//! Transactions that had better wait for another, and those that are begun all the same, because nobody has anything else to
//! do.
//!
//! Who is expected to conflict with a lower transaction is blocked until that one is executed. Where it is known which key
//! they will meet at, it can go as far as that meanwhile, and wait there, inside the read: what comes before the read is then
//! done while the other runs. The worker is held up, so this comes after everything else, and only for transactions that take
//! so long that what is done before the read is worth a thread being woken.

use std::cmp::Reverse;

use super::{Phase, Scheduler, Task, Transaction};
use crate::TxIndex;

/// What becomes of a transaction that somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outlook {
    /// Its writes can be seen.
    Past,
    /// Somebody runs it.
    Running,
    /// Nobody runs it now.
    Pending,
    /// The run is over.
    Over,
}

/// Candidates that are looked at.
const MOST_CANDIDATES: usize = 8;

impl Scheduler {
    /// Whether a transaction that was not begun yet is to wait for another, and does from now on.
    pub(super) fn waits(&mut self, index: u32) -> bool {
        let Some(after) = self.transaction(index).after.filter(|after| !self.is_past(*after)) else { return false };
        self.transaction_mut(index).phase = Phase::Blocked;
        self.transaction_mut(after).waiters.push(index);
        if self.transaction(index).meets {
            self.early.insert(index);
        }
        true
    }

    /// Who was blocked on a transaction may go on.
    pub(super) fn wake_waiters(&mut self, index: TxIndex) {
        let waiters = std::mem::take(&mut self.transaction_mut(index.0).waiters);
        for waiter in waiters {
            if self.transaction(waiter).phase == Phase::Blocked {
                self.transaction_mut(waiter).phase = Phase::Ready;
                self.early.remove(&waiter);
                self.ready.push(Reverse(waiter));
            }
        }
    }

    /// The lowest blocked transaction that may be begun early.
    pub(super) fn early_task(&mut self) -> Option<Task> {
        let index = self.early_candidate()?;
        self.early.remove(&index);
        let incarnation = self.transaction(index).incarnation;
        self.reserve(index).then(|| {
            let index = TxIndex(index);
            let _as_any_other = self.execute(index, false);
            Task::Begin { index, incarnation }
        })
    }

    pub(super) fn early_candidate(&self) -> Option<u32> {
        let (start, end) = (self.window_start(), self.window_end());
        let is_met = |index: &u32| {
            let Transaction { phase, after, .. } = self.transaction(*index);
            let is_running = |after: u32| self.transaction(after).phase == Phase::Running;
            *phase == Phase::Blocked && after.is_some_and(is_running)
        };
        self.early.range(start.min(end)..end).take(MOST_CANDIDATES).copied().find(is_met)
    }

    /// Whether what a transaction writes can be seen, or soon will.
    pub(crate) fn outlook(&self, on: TxIndex) -> Outlook {
        match self.transaction(on.0).phase {
            _ if self.is_over() => Outlook::Over,
            Phase::Executed | Phase::Committed => Outlook::Past,
            Phase::Running => Outlook::Running,
            _ => Outlook::Pending,
        }
    }

    /// A worker's attempt waits for what comes of a transaction that somebody runs.
    pub(crate) fn attend(&mut self, on: TxIndex, worker: u32) {
        // Woken without reason, it comes again.
        if !self.attendants.contains(&(on.0, worker)) {
            self.stats.read_waits += 1;
            self.attendants.push((on.0, worker));
        }
    }

    /// Notes who goes on because a transaction is no longer running.
    pub(super) fn dismiss(&mut self) {
        if self.attendants.is_empty() {
            return;
        }
        let Self { attendants, answered, transactions, .. } = self;
        attendants.retain(|(on, worker)| {
            let waits_on = transactions[*on as usize].phase == Phase::Running;
            answered.extend((!waits_on).then_some(*worker));
            waits_on
        });
    }
}
