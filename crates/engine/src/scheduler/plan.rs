//! What a run is about, before it begins.

use std::cmp::Reverse;

use crate::Frontier;

/// What the scheduler is told about a run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Weight and effort of each transaction.
    pub(crate) weights: Vec<(u64, u64)>,
    /// Whether what takes long is begun out of order.
    pub(crate) large_first: bool,
    /// Whether what takes no time is foretold in groups.
    pub(crate) foretells: bool,
    /// The lower transaction that each one had better wait for.
    pub(crate) after: Vec<Option<u32>>,
    /// Whether each one waits for that inside the read where they meet, so that it may be begun before.
    pub(crate) meets: Vec<bool>,
    pub(crate) workers: u32,
    pub(crate) window_per_worker: u32,
    pub(crate) frontier: Frontier,
    pub(crate) adversary: Option<u64>,
    pub(crate) speculation_multiple: u32,
}

/// A transaction is large if it is at least one part in so many of what each worker is to do,
const LARGE_SHARE: u64 = 8;
/// and at least so many times what a transaction is on average.
const LARGE_MULTIPLE: u64 = 4;

impl Plan {
    /// Transactions that would keep everybody waiting at the end, of so much effort in all, the largest last.
    pub(super) fn large(&self, effort: u64) -> Vec<u32> {
        let is_large = |(_, (_, own)): &(u32, &(u64, u64))| {
            let share = own.saturating_mul(LARGE_SHARE).saturating_mul(self.workers.into());
            self.large_first
                && *own > 0
                && share >= effort
                && own.saturating_mul(self.weights.len() as u64 / LARGE_MULTIPLE) >= effort
        };
        let mut large: Vec<u32> = (0..).zip(&self.weights).filter(is_large).map(|(index, _)| index).collect();
        // The last is the largest, and of equals the first in order: it is what everybody would wait for longest.
        large.sort_unstable_by_key(|index| (self.weights[*index as usize].1, Reverse(*index)));
        large
    }
}
