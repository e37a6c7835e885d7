//! What a run cost, as data.

use crate::Fields;

/// Counts of one run. They depend on thread count and schedule; results do not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Workers that took part.
    pub workers: u32,
    /// Transactions committed or skipped.
    pub committed: u32,
    /// Transactions whose committed result comes from a frontier run.
    pub frontier_runs: u32,
    /// Speculative incarnations started.
    pub speculations: u32,
    /// Incarnations whose result was thrown away, and attempts that ended early.
    pub aborts: u32,
    /// Of these, attempts that met an estimate and waited for its writer.
    pub dependencies: u32,
    /// Of these, attempts that panicked or met a fault while speculating.
    pub failures: u32,
    /// Of these, results that were found wrong, by the field that was: `aborts_by_field[n]` is that of bit `n`. One that
    /// was wrong in several counts for each.
    pub aborts_by_field: [u32; Fields::BITS as usize],
    /// Early validations: an incarnation was looked at again because a lower transaction had written.
    pub validations: u32,
    /// Cost of results that were thrown away, in the program's units.
    pub wasted_cost: u64,
    /// Cost of results that were committed, in the program's units.
    pub committed_cost: u64,
    /// Times a worker parked for lack of work.
    pub waits: u32,
    /// Times an attempt waited inside a read for a lower transaction that was running.
    pub read_waits: u32,
}

impl Stats {
    /// A result was found wrong in these fields.
    pub(crate) fn found_wrong(&mut self, fields: Fields) {
        for (field, count) in self.aborts_by_field.iter_mut().enumerate() {
            *count += u32::from(fields >> field & 1);
        }
    }
}
