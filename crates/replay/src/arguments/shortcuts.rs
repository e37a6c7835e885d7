//! What makes the engine faster, by name.

use clap::ValueEnum;
use ropewalk_block::Shortcuts;

/// One shortcut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ShortcutArgument {
    /// Transactions of one sender wait for each other
    Lanes,
    /// Large transactions are begun in good time
    LargeFirst,
    /// Calls are expected to take what calls of the same function took
    LearnedTimes,
    /// Calls that often conflict with others before them wait for those
    LearnedConflicts,
    /// Slots that calls of the same function have looked at are read ahead where the state is slow
    LearnedSlots,
    /// Such calls are begun where nothing else is to be done, and wait inside the read where they meet
    WaitsInReads,
    /// Results whose turn has come are committed unpublished
    CommitsAtOnce,
    /// Payments are worked out ahead of their turn, in groups
    ForetoldPayments,
    /// Plain payments are made without revm
    DirectPayments,
    /// Keccak hashes of short inputs, and code that is deployed again, are remembered within a block
    RememberedHashes,
    /// Common instructions of contracts are run in line, without a call for each
    InlineInstructions,
    /// All of these
    All,
}

impl ShortcutArgument {
    /// All shortcuts but these.
    pub(crate) fn all_but(left_out: &[Self]) -> Shortcuts {
        let mut shortcuts = Shortcuts::ALL;
        for shortcut in left_out {
            match shortcut {
                Self::Lanes => shortcuts.lanes = false,
                Self::LargeFirst => shortcuts.large_first = false,
                Self::LearnedTimes => shortcuts.learned_times = false,
                Self::LearnedConflicts => shortcuts.learned_conflicts = false,
                Self::LearnedSlots => shortcuts.learned_slots = false,
                Self::WaitsInReads => shortcuts.waits_in_reads = false,
                Self::CommitsAtOnce => shortcuts.commits_at_once = false,
                Self::ForetoldPayments => shortcuts.foretold_payments = false,
                Self::DirectPayments => shortcuts.direct_payments = false,
                Self::RememberedHashes => shortcuts.remembered_hashes = false,
                Self::InlineInstructions => shortcuts.inline_instructions = false,
                Self::All => shortcuts = Shortcuts::NONE,
            }
        }
        shortcuts
    }
}
