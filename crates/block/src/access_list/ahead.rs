//! Where reads are slow, what a list names is read before its block runs.

use std::time::Instant;

use alloy_eip7928::AccountChanges;
use alloy_primitives::{Address, U256};
use ropewalk_engine::{Engine, Memory};
use ropewalk_evm::EvmProgram;
use ropewalk_state::StateReader;

use crate::slow_reads::{SlowReads, read_accounts, read_slots};

/// Reads in one batch, and in one where a batch is known to take little longer than a read.
const BATCH: usize = 64;
const LARGE_BATCH: usize = 256;

/// A batch takes little longer than a read where it takes less than one in so many of its reads would.
const LITTLE: u64 = 8;

/// Threads that read large batches: more of them wake each other up.
const FEW: usize = 4;

/// Reads ahead what the list names, in batches, on the engine's threads. What cannot be read is left out: it may be that nothing
/// needs it.
pub(crate) fn read_ahead(
    memory: &Memory<EvmProgram>,
    accounts: &[AccountChanges],
    reader: &dyn StateReader,
    reads: &SlowReads,
    engine: &Engine,
) {
    let addresses: Vec<Address> = accounts.iter().map(|account| account.address).collect();
    let slots = |account| slots(account).map(|slot| (AccountChanges::address(account), slot));
    let slots: Vec<(Address, U256)> = accounts.iter().flat_map(slots).collect();
    let (first, addresses) = addresses.split_at(addresses.len().min(BATCH));
    let begun = Instant::now();
    read_accounts(memory, first, reader);
    let one_by_one = reads.typical_ns().saturating_mul(first.len() as u64);
    let is_little = reads.note_batch(begun) < one_by_one / LITTLE;
    let (size, threads) = if is_little { (LARGE_BATCH, FEW) } else { (BATCH, engine.threads()) };
    let (addresses, slots): (Vec<_>, Vec<_>) = (addresses.chunks(size).collect(), slots.chunks(size).collect());
    let batches = addresses.len() + slots.len();
    engine.in_parts(batches, batches.div_ceil(threads).max(1), |part| {
        for batch in part {
            match batch.checked_sub(addresses.len()) {
                None => read_accounts(memory, addresses[batch], reader),
                Some(batch) => read_slots(memory, slots[batch], reader),
            }
        }
    });
}

/// The slots that an entry names, those that change before those that do not.
fn slots(account: &AccountChanges) -> impl Iterator<Item = U256> {
    let changed = account.storage_changes.iter().map(|changes| changes.slot);
    changed.chain(account.storage_reads.iter().copied())
}
