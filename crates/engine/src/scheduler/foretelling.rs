//! Groups of transactions that are over in no time, each foretold by one worker.
//!
//! One by one they are worth nothing to another thread: claiming, publishing and looking again take as long as they do. A group
//! is claimed at once, nothing of it is published, and nobody waits for it but the commit, which finds the results and judges
//! them by value. Speculation that can be wrong about much has a budget; this can be wrong about little and has none.

use super::{Phase, Scheduler, Task};
use crate::TxIndex;

/// Transactions that one worker foretells in one go, at most: the commit may come to wait for all of them.
pub(super) const MOST_FORETOLD: u32 = 32;

/// A helper that is alone has other things to do than fewer than these in a row: foretelling and committing a transaction takes
/// longer than running it at the frontier does, and pays where the work is shared.
pub(super) const LEAST_ALONE: u32 = 16;

impl Scheduler {
    /// The group that begins with `index`, whose effort is zero, and ends before `end`. `None` leaves the transaction, and
    /// those of the group, to the frontier.
    pub(super) fn foretell(&mut self, index: u32, end: u32) -> Option<Task> {
        let belongs = |at: &u32| {
            let transaction = self.transaction(*at);
            transaction.phase == Phase::Fresh && transaction.effort == 0
        };
        let in_a_row = (index..self.count()).take(MOST_FORETOLD as usize).take_while(belongs).count() as u32;
        let least = if self.workers <= 2 { LEAST_ALONE } else { 1 };
        if !self.foretells || in_a_row < least {
            (index..index + in_a_row).for_each(|at| self.transaction_mut(at).phase = Phase::Deferred);
            return None;
        }
        let count = in_a_row.min(end - index);
        (index..index + count).for_each(|at| self.transaction_mut(at).phase = Phase::InTelling);
        self.cursor = index + count;
        self.stats.speculations += count;
        Some(Task::Foretell { index: TxIndex(index), count })
    }

    /// What became of a group.
    pub(super) fn foretold(&mut self, index: TxIndex, count: u32, told: u64) {
        for at in 0..count {
            let phase = if told >> at & 1 == 1 { Phase::Foretold } else { Phase::Deferred };
            self.transaction_mut(index.0 + at).phase = phase;
        }
    }
}
