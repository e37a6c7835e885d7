//! When a worker without work had better leave than wait.

use super::Scheduler;

/// Nanoseconds that a transaction takes at least.
const LEAST_EFFORT: u64 = 500;

/// Nanoseconds of work for which somebody without any had better stay: waking them takes a third of it, and so does waiting for
/// them to leave when all is done.
const EFFORT_WORTH_A_WAIT: u64 = 100_000;

impl Scheduler {
    /// Whether the rest is over before whoever has nothing to do now could be woken for it.
    pub(crate) fn is_nearly_over(&self) -> bool {
        let left = u64::from(self.count() - self.frontier) * LEAST_EFFORT;
        self.adversary.is_none() && self.remaining.max(left) < EFFORT_WORTH_A_WAIT
    }
}
