//! The worst order of work that still ends.
//!
//! First every transaction runs once, high positions first, and what it writes is withheld: all run blind. Then
//! everything is published at once, and from there a seed decides whether the frontier goes on or some higher
//! transaction is looked at again, with a taste for the highest.

use super::{Phase, Scheduler, Task};
use crate::TxIndex;

#[derive(Debug)]
pub(super) struct Adversary {
    random: SplitMix,
    wave: Wave,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wave {
    /// Transactions below this one have not been handed out.
    Descending(u32),
    /// Somebody publishes.
    Publishing,
    /// The seed decides.
    Ebbing,
}

impl Adversary {
    pub(super) fn new(seed: u64, count: u32) -> Self {
        Self { random: SplitMix(seed), wave: Wave::Descending(count) }
    }

    /// Whether an event of probability `1 / one_in` happens.
    fn chance(&mut self, one_in: u64) -> bool {
        self.random.next().is_multiple_of(one_in)
    }
}

/// Sebastiano Vigna's splitmix64: small, seeded, good enough to pick tasks with.
#[derive(Debug)]
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl Scheduler {
    pub(super) fn next_adversarial(&mut self) -> Option<Task> {
        let adversary = self.adversary.as_mut()?;
        match adversary.wave {
            Wave::Descending(0) => {
                if self.transactions.iter().any(|transaction| transaction.phase == Phase::Running) {
                    return None;
                }
                adversary.wave = Wave::Publishing;
                Some(Task::PublishAll)
            }
            Wave::Descending(above) => {
                adversary.wave = Wave::Descending(above - 1);
                let Task::Execute { index, incarnation, .. } = self.execute(TxIndex(above - 1), false) else {
                    unreachable!("executing yields a task to execute")
                };
                Some(Task::Execute { index, incarnation, last_word: false, withhold: true })
            }
            Wave::Publishing => None,
            Wave::Ebbing => self.next_ebbing(),
        }
    }

    fn next_ebbing(&mut self) -> Option<Task> {
        let higher_first = self.adversary.as_mut().is_some_and(|adversary| adversary.chance(2));
        if higher_first && let Some(task) = self.highest_recheck().or_else(|| self.ready_task()) {
            return Some(task);
        }
        self.frontier_task().or_else(|| self.highest_recheck()).or_else(|| self.ready_task())
    }

    fn highest_recheck(&mut self) -> Option<Task> {
        while let Some(index) = self.recheck.pop_last() {
            let transaction = self.transaction_mut(index);
            if transaction.phase == Phase::Executed && transaction.dirty {
                return Some(self.validate(TxIndex(index)));
            }
        }
        None
    }

    pub(super) fn published_all(&mut self) {
        for index in 0..self.count() {
            let doubted = self.adversary.as_mut().is_some_and(|adversary| adversary.chance(2));
            if doubted && index != self.frontier {
                self.mark_dirty(TxIndex(index));
            }
        }
        if let Some(adversary) = &mut self.adversary {
            adversary.wave = Wave::Ebbing;
        }
    }
}
