//! State sources that fail, panic or take their time, on one account or slot.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use alloy_primitives::{Address, B256, Bytes, U256};
use ropewalk_block::{Event, Probe, TxIndex};
use ropewalk_state::{Account, MemoryState, StateError, StateReader};

/// What is read of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Item {
    Account(Address),
    Slot(Address, u64),
    Code(B256),
    BlockHash(u64),
}

/// What a source does when it is asked for an item.
#[derive(Debug, Clone)]
pub(crate) enum Mood {
    /// Fails with an error that names the account.
    Fail,
    /// Panics.
    Panic,
    /// Says that it was asked, and waits for a transaction to be committed.
    Wait(Arc<Gate>, TxIndex),
    /// Waits until another item has been asked for.
    WaitForRead(Arc<Gate>),
}

/// A state with moods.
#[derive(Debug, Clone)]
pub(crate) struct Moody {
    pub(crate) state: MemoryState,
    pub(crate) moods: Vec<(Item, Mood)>,
}

/// Lets one thread wait for what another one does, for some seconds at most: a test must not hang.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    seen: Mutex<Seen>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Seen {
    /// Transactions committed.
    committed: usize,
    /// The item was asked for.
    read: bool,
    /// Somebody waited in vain.
    late: bool,
}

impl Gate {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen());
        self.changed.notify_all();
    }

    fn wait_until(&self, holds: impl Fn(&Seen) -> bool) {
        let waited = self.changed.wait_timeout_while(self.seen(), Duration::from_secs(10), |seen| !holds(seen));
        let (mut seen, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        seen.late |= waited.timed_out();
    }

    /// Whether everybody came in the order that the gate is for.
    pub(crate) fn was_kept(&self) -> bool {
        let seen = self.seen();
        seen.read && !seen.late
    }
}

impl Probe for Gate {
    fn event(&self, _: usize, event: Event) {
        if let Event::Committed { index } = event {
            self.note(|seen| seen.committed = index.at() + 1);
        }
    }
}

impl Moody {
    pub(crate) fn new(state: &MemoryState, moods: impl IntoIterator<Item = (Item, Mood)>) -> Self {
        Self { state: state.clone(), moods: moods.into_iter().collect() }
    }

    fn ask(&self, item: Item, name: Address) -> Result<(), StateError> {
        for (_, mood) in self.moods.iter().filter(|(with_mood, _)| *with_mood == item) {
            match mood {
                Mood::Fail => return Err(StateError::MissingAccount(name)),
                Mood::Panic => panic!("the source panics"),
                Mood::Wait(gate, index) => {
                    gate.note(|seen| seen.read = true);
                    gate.wait_until(|seen| seen.committed > index.at());
                }
                Mood::WaitForRead(gate) => gate.wait_until(|seen| seen.read),
            }
        }
        Ok(())
    }
}

impl StateReader for Moody {
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError> {
        self.ask(Item::Account(*address), *address)?;
        self.state.account(address)
    }

    fn storage(&self, address: &Address, slot: &U256) -> Result<U256, StateError> {
        self.ask(Item::Slot(*address, slot.saturating_to()), *address)?;
        self.state.storage(address, slot)
    }

    fn storage_is_empty(&self, address: &Address) -> Result<bool, StateError> {
        self.state.storage_is_empty(address)
    }

    fn code(&self, hash: &B256) -> Result<Bytes, StateError> {
        self.ask(Item::Code(*hash), Address::ZERO)?;
        self.state.code(hash)
    }

    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        self.ask(Item::BlockHash(number), Address::ZERO)?;
        self.state.block_hash(number)
    }
}
