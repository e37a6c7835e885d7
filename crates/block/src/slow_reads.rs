//! More workers than cores, and batched reads, where the state is slow to answer.
//!
//! A worker that waits for the disk or the network needs no core, so many workers wait at the same time. How long the
//! state takes to answer is measured on the way: one read in [`ONE_IN`], by the clock. From [`SLOW_NS`] on, a block's
//! senders, recipients and access lists, and what is looked at around the transactions, are read in batches before it
//! begins, every transaction counts as worth speculating upon, and there are [`WORKERS`] workers on threads of their own,
//! [`MOST_WORKERS`] from [`LONG_NS`] on. One thread stays one thread. What calls will look at besides is guessed by a
//! [scout](crate::executor), where batches are quicker than single reads.

use std::{
    cell::{Cell, RefCell},
    num::NonZeroUsize,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use alloy_primitives::{Address, U256, map::HashSet};
use ropewalk_engine::{Base, Engine, Memory};
use ropewalk_evm::{EvmKey, EvmProgram, EvmValue, ReaderBase};
use ropewalk_state::{StateError, StateReader};

use crate::{ChainSpec, RecoveredBlock, positions};

/// One read in so many is timed.
const ONE_IN: u32 = 8;
/// Typical time of a read from which on it is worth another thread, in nanoseconds.
const SLOW_NS: u64 = 20_000;
/// What a read is taken to take before any was timed, and at least, in nanoseconds: how fast a fast one is makes no difference.
const UNKNOWN_NS: u64 = 1_000;
/// Reads by which it is found out whether reads are slow: during one of them the thread may have had to wait for its core.
const SOUNDINGS: usize = 3;
/// Reads of a batch from which on it is compared with single ones.
const LEAST_COMPARED: usize = 4;
/// Workers that wait at the same time, and those that do where a read takes longer than [`LONG_NS`]: more of them wait for fewer
/// rounds, and for each other.
const WORKERS: usize = 16;
const MOST_WORKERS: usize = 32;
/// Typical time of a read from which on there are most workers, in nanoseconds.
const LONG_NS: u64 = 500_000;

thread_local! {
    /// Reads of this thread.
    static READS: Cell<u32> = const { Cell::new(0) };
    /// What this thread has waited for, where anybody learns from it.
    static SINGLES: RefCell<Vec<EvmKey>> = const { RefCell::new(Vec::new()) };
}

/// What an executor knows about its state's latency, kept from block to block.
#[derive(Debug)]
pub struct SlowReads {
    /// Zero before any was timed.
    typical_ns: AtomicU64,
    /// Whether the last batch of some length took less than half of what its reads would have taken one by one.
    quick_batches: AtomicBool,
    /// For reads that are slow, and for those that take long. Started when they are first needed.
    engines: [OnceLock<Option<Engine>>; 2],
}

impl SlowReads {
    /// Time that a read typically takes, in nanoseconds. It follows what is timed by a factor of two at most: one read
    /// during which the thread had to wait for its core says nothing.
    pub fn typical_ns(&self) -> u64 {
        self.typical_ns.load(Ordering::Relaxed).max(UNKNOWN_NS)
    }

    /// Finds out whether reads are slow by a few of them, where none was timed yet.
    pub(crate) fn sound(&self, reader: &dyn StateReader, addresses: impl Iterator<Item = Address>) {
        if self.typical_ns.load(Ordering::Relaxed) != 0 {
            return;
        }
        let timed = addresses.take(SOUNDINGS).map(|address| {
            let begun = Instant::now();
            // What cannot be read is read again, by whoever needs it.
            let _ = reader.account(&address);
            elapsed_ns(begun)
        });
        if let Some(fastest) = timed.min() {
            self.typical_ns.store(fastest, Ordering::Relaxed);
        }
    }

    /// Whether a read takes longer than handing work to another thread does.
    pub(crate) fn are_slow(&self) -> bool {
        self.typical_ns() >= SLOW_NS
    }

    /// Takes note of a batch of reads that was begun then. One that is over before a slow read would be says that reads are not slow
    /// any more: who reads everything in batches times no others. Returns what it took, in nanoseconds.
    pub(crate) fn note_batch(&self, begun: Instant) -> u64 {
        let took = elapsed_ns(begun);
        if took < SLOW_NS {
            self.typical_ns.store(took, Ordering::Relaxed);
        }
        took
    }

    /// Whether many reads in one batch take less than one by one.
    pub(crate) fn batches_are_quick(&self) -> bool {
        self.quick_batches.load(Ordering::Relaxed)
    }

    /// Takes note of whether so many reads took less in one batch.
    fn compare_batch(&self, begun: Instant, reads: usize) {
        if reads >= LEAST_COMPARED {
            let one_by_one = self.typical_ns().saturating_mul(reads as u64);
            self.quick_batches.store(elapsed_ns(begun) < one_by_one / 2, Ordering::Relaxed);
        }
    }

    /// The engine to run a block on: `usual`, or one of more threads than cores. Without the threads it is `usual` too.
    pub(crate) fn engine<'e>(&'e self, usual: &'e Engine) -> &'e Engine {
        let take_long = self.typical_ns() >= LONG_NS;
        let workers = if take_long { MOST_WORKERS } else { WORKERS };
        if !self.are_slow() || usual.threads() == 1 || usual.threads() >= workers {
            return usual;
        }
        let start = || Engine::new(NonZeroUsize::new(workers)?).ok();
        self.engines[usize::from(take_long)].get_or_init(start).as_ref().unwrap_or(usual)
    }

    fn time<T>(&self, read: impl FnOnce() -> T) -> T {
        // Each thread counts by itself: a count that all change is fetched from another core at every read.
        let number = READS.get();
        READS.set(number.wrapping_add(1));
        if !number.is_multiple_of(ONE_IN) {
            return read();
        }
        let begun = Instant::now();
        let result = read();
        let took = elapsed_ns(begun);
        let (known, typical) = (self.typical_ns.load(Ordering::Relaxed), self.typical_ns());
        let next = if took > typical { took.min(typical.saturating_mul(2)) } else { took.max(typical / 2) };
        if next != known {
            self.typical_ns.store(next, Ordering::Relaxed);
        }
        result
    }
}

fn elapsed_ns(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX).max(UNKNOWN_NS)
}

impl Default for SlowReads {
    fn default() -> Self {
        Self { typical_ns: AtomicU64::new(0), quick_batches: AtomicBool::new(false), engines: Default::default() }
    }
}

/// The state before a block, its reads timed now and then.
pub(crate) struct TimedBase {
    base: ReaderBase,
    reads: Arc<SlowReads>,
    /// Whether what is read one by one is noted.
    notes: bool,
}

impl TimedBase {
    pub(crate) fn new(reader: Arc<dyn StateReader>, reads: Arc<SlowReads>, notes: bool) -> Self {
        Self { base: ReaderBase::new(reader), reads, notes }
    }
}

/// What this thread has waited for since it was asked last.
pub(crate) fn take_singles() -> Vec<EvmKey> {
    SINGLES.take()
}

impl Base<EvmProgram> for TimedBase {
    fn read(&self, key: &EvmKey) -> Result<EvmValue, StateError> {
        if self.notes {
            SINGLES.with_borrow_mut(|singles| singles.push(*key));
        }
        self.reads.time(|| self.base.read(key))
    }
}

/// Reads in batches, all at once, what the transactions themselves name, and what is looked at before and after them. What cannot
/// be read is read again, by whoever needs it.
pub(crate) fn prefetch(
    memory: &Memory<EvmProgram>,
    (chain, block): (&ChainSpec, &RecoveredBlock),
    reader: &dyn StateReader,
    reads: &SlowReads,
    engine: &Engine,
) {
    let mut named = Looks::default();
    for transaction in &block.transactions {
        let env = &transaction.env;
        named.addresses.insert(env.caller);
        named.addresses.extend(env.kind.to());
        for item in env.access_list.iter() {
            named.addresses.insert(item.address);
            named.slots.extend(item.storage_keys.iter().map(|slot| (item.address, U256::from_be_bytes(slot.0))));
        }
    }
    let mut around = positions::looks(chain, block);
    around.addresses.retain(|address| !named.addresses.contains(address));
    let batches = [&named, &around].map(|looks| {
        (looks.addresses.iter().copied().collect::<Vec<_>>(), looks.slots.iter().copied().collect::<Vec<_>>())
    });
    // What one batch fails by is not the others' fault.
    engine.in_parts(2 * batches.len(), 1, |parts| {
        for part in parts {
            let (addresses, slots) = &batches[part / 2];
            match part % 2 {
                0 => {
                    let begun = Instant::now();
                    read_accounts(memory, addresses, reader);
                    if part == 0 {
                        reads.compare_batch(begun, addresses.len());
                    }
                }
                _ => read_slots(memory, slots, reader),
            }
        }
    });
}

/// Accounts and slots that will be looked at.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    pub(crate) addresses: HashSet<Address>,
    pub(crate) slots: HashSet<(Address, U256)>,
}

impl Looks {
    pub(crate) fn add_key(&mut self, key: EvmKey) {
        match key {
            EvmKey::Account(address) => drop(self.addresses.insert(address)),
            EvmKey::Slot(address, slot) => drop(self.slots.insert((address, slot))),
            EvmKey::StorageEmpty(_) => {}
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.addresses.len() + self.slots.len()
    }

    /// Reads all of it into the memory, in one batch of each kind.
    pub(crate) fn read(self, memory: &Memory<EvmProgram>, reader: &dyn StateReader) {
        read_accounts(memory, &Vec::from_iter(self.addresses), reader);
        read_slots(memory, &Vec::from_iter(self.slots), reader);
    }

    /// Adds a contract with slots of its.
    pub(crate) fn add(&mut self, contract: Address, slots: impl IntoIterator<Item = U256>) {
        self.addresses.insert(contract);
        self.slots.extend(slots.into_iter().map(|slot| (contract, slot)));
    }
}

/// Reads accounts in one batch into the memory, those that can be read.
pub(crate) fn read_accounts(memory: &Memory<EvmProgram>, addresses: &[Address], reader: &dyn StateReader) {
    if addresses.is_empty() {
        return;
    }
    for (address, account) in addresses.iter().zip(reader.each_account(addresses)) {
        if let Ok(account) = account {
            memory.preload(&EvmKey::Account(*address), EvmValue::Account(Box::new(account.into())));
        }
    }
}

/// The same with slots.
pub(crate) fn read_slots(memory: &Memory<EvmProgram>, slots: &[(Address, U256)], reader: &dyn StateReader) {
    if slots.is_empty() {
        return;
    }
    for ((address, slot), value) in slots.iter().zip(reader.each_storage(slots)) {
        if let Ok(value) = value {
            memory.preload(&EvmKey::Slot(*address, *slot), EvmValue::Slot(value));
        }
    }
}
