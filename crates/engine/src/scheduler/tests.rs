//! The scheduler alone: its invariants, and what it hands out in which order.

use super::*;

impl Scheduler {
    /// Checks what must hold between any two reports.
    pub(crate) fn assert_sound(&self) {
        assert!(self.frontier <= self.count(), "the frontier {} is beyond {}", self.frontier, self.count());
        for (index, transaction) in (0..).zip(&self.transactions) {
            let committed = transaction.phase == Phase::Committed;
            assert_eq!(committed, index < self.frontier, "I2: {index} is {transaction:?} before {}", self.frontier);
            match transaction.phase {
                Phase::Blocked => {
                    let waits_for = |lower: &u32| self.transaction(*lower).waiters.contains(&index);
                    let blocker = (0..index).filter(waits_for).find(|lower| !self.is_past(*lower));
                    assert!(blocker.is_some(), "I4: {index} is blocked, but on nobody below it that is to run");
                }
                Phase::Ready => {
                    let queued = self.ready.iter().any(|Reverse(queued)| *queued == index) || index == self.frontier;
                    assert!(queued, "I4: {index} is ready but not queued");
                }
                Phase::Executed if transaction.dirty => {
                    assert!(self.recheck.contains(&index), "{index} is dirty but not to be looked at again");
                }
                _ => {}
            }
        }
        if self.committing && !self.stopped {
            assert_eq!(self.transaction(self.frontier).phase, Phase::Running, "the frontier {} ", self.frontier);
        }
    }
}
