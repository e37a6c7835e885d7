//! What makes an execution faster and nothing else.

use ropewalk_engine::Shortcuts as RunShortcuts;
use ropewalk_evm::WorkerShortcuts;

/// What makes an execution faster and nothing else (I3): each can be left out, to see what it is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortcuts {
    /// A transaction is not begun before the one of the same sender before it is executed.
    pub lanes: bool,
    /// A transaction that takes long is begun in good time, out of order.
    pub large_first: bool,
    /// What calls of the same function took before is what a call is expected to take.
    pub learned_times: bool,
    /// Calls that often conflict with others before them wait for those.
    pub learned_conflicts: bool,
    /// Where the state is slow, slots that calls of the same function have looked at are read ahead.
    pub learned_slots: bool,
    /// Where there is nothing else to do, such a call is begun all the same, and waits when it comes to where they meet.
    pub waits_in_reads: bool,
    /// A result whose turn has come is committed by whoever made it, without being published.
    pub commits_at_once: bool,
    /// Plain payments are worked out ahead of their turn, in groups.
    pub foretold_payments: bool,
    /// Plain payments are made without revm.
    pub direct_payments: bool,
    /// Keccak hashes of short inputs, and code that is deployed again, are remembered within a block.
    pub remembered_hashes: bool,
    /// Common instructions of contracts are run in line, without a call for each.
    pub inline_instructions: bool,
}

impl Shortcuts {
    /// All of them.
    pub const ALL: Self = Self {
        lanes: true,
        large_first: true,
        learned_times: true,
        learned_conflicts: true,
        learned_slots: true,
        waits_in_reads: true,
        commits_at_once: true,
        foretold_payments: true,
        direct_payments: true,
        remembered_hashes: true,
        inline_instructions: true,
    };

    /// None of them.
    pub const NONE: Self = Self {
        lanes: false,
        large_first: false,
        learned_times: false,
        learned_conflicts: false,
        learned_slots: false,
        waits_in_reads: false,
        commits_at_once: false,
        foretold_payments: false,
        direct_payments: false,
        remembered_hashes: false,
        inline_instructions: false,
    };

    /// Those that the engine takes.
    pub(super) fn of_run(self) -> RunShortcuts {
        let Self { lanes, large_first, waits_in_reads, commits_at_once, foretold_payments, direct_payments, .. } = self;
        let foretells = foretold_payments && direct_payments;
        RunShortcuts { lanes, large_first, commits_at_once, foretells, waits_in_reads }
    }

    /// Those that workers take.
    pub(super) fn of_workers(self) -> WorkerShortcuts {
        let Self { direct_payments, remembered_hashes, inline_instructions, .. } = self;
        WorkerShortcuts { direct_payments, remembered_hashes, inline_instructions }
    }
}

impl Default for Shortcuts {
    /// All of them.
    fn default() -> Self {
        Self::ALL
    }
}
