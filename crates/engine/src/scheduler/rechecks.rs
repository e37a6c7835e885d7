//! Results that may no longer hold.

use super::{Phase, Scheduler, Task};
use crate::TxIndex;

impl Scheduler {
    /// What a transaction observed may have changed. There may be no such transaction.
    pub(super) fn mark_dirty(&mut self, index: TxIndex) {
        let Some(transaction) = self.transactions.get_mut(index.at()) else { return };
        match transaction.phase {
            Phase::Executed if !transaction.dirty => {
                transaction.dirty = true;
                self.recheck.insert(index.0);
            }
            Phase::Running => transaction.dirty = true,
            Phase::Executed | Phase::Fresh | Phase::Blocked | Phase::Ready => {}
            Phase::InTelling | Phase::Foretold | Phase::Deferred | Phase::Committed => {}
        }
    }

    /// The lowest result that may no longer hold, if its turn does not come at once.
    pub(super) fn recheck_task(&mut self) -> Option<Task> {
        while let Some(index) = self.recheck.pop_first() {
            let start = self.window_start();
            let transaction = self.transaction_mut(index);
            if transaction.phase == Phase::Executed && transaction.dirty {
                if index >= start {
                    return Some(self.validate(TxIndex(index)));
                }
                // The commit is next, and looks at it anyway.
                transaction.dirty = false;
            }
        }
        None
    }

    pub(super) fn validate(&mut self, index: TxIndex) -> Task {
        let transaction = self.transaction_mut(index.0);
        transaction.phase = Phase::Running;
        transaction.dirty = false;
        let incarnation = transaction.incarnation;
        self.stats.validations += 1;
        Task::Validate { index, incarnation }
    }
}
