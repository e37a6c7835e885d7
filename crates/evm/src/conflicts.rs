//! Which calls get in each other's way, learned from those before.
//!
//! Two payouts of a token to the same exchange change the same balance, and an arbitrage follows a trade. Who has seen that
//! before need not begin the second before the first is done. Calls are told apart by target, selector and first argument,
//! where that looks like an address; of each kind it is known how often its attempts were found wrong, and on account of
//! which other kind last, and of which account or slot. A wrong answer costs time and nothing else.
//!
//! - K1 Memory is bounded: a fixed number of places, and a newcomer takes the place of another.
//! - K2 Which kinds share a place is decided by a keyed hash: nobody can choose whose place to take.
//! - K3 What is known ages: a block without conflicts halves it, and where waiting makes conflicts invisible it sinks slowly,
//!   until somebody tries again.

use std::{
    hash::{BuildHasher, Hasher},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use foldhash::quality::RandomState;
use revm::context::TxEnv;

use crate::{
    EvmKey,
    calls::{called, hash_called},
};

/// Kinds that are remembered; 8 bytes each, and 64 for the account or slot.
const PLACES: usize = 1 << 13;

/// From this part in 255 of a kind's transactions on, the next ones wait.
const OFTEN: u8 = 64;

/// Calls that are taken to do the same: a keyed hash of what they call, and with what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CallKind(u64);

impl CallKind {
    /// What is kept of a kind where it is named by another.
    #[must_use]
    pub fn name(self) -> u32 {
        (self.0 >> 16) as u32
    }

    fn place(self) -> usize {
        self.0 as usize % PLACES
    }
}

/// What the transactions of one kind came to in a block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CallTally {
    /// How many there were, at least 1.
    pub transactions: u32,
    /// How many of them were found wrong on account of a lower transaction.
    pub conflicts: u32,
    /// The kind of the last of those lower transactions, where it was a call.
    pub with: Option<CallKind>,
    /// What it wrote that was missed, where that is known.
    pub at: Option<EvmKey>,
    /// Whether they waited for what they were expected to conflict with.
    pub waited: bool,
}

/// Kinds of calls that conflict with others. Kept from block to block, shared by all executors.
pub struct CallConflicts {
    hasher: RandomState,
    /// 24 bits of the kind's hash, 8 bits of how often it conflicts, 32 bits that name with what. Zero where nothing is known.
    /// Relaxed: a note that is lost costs nothing.
    places: Box<[AtomicU64]>,
    /// For each place: where its kind met the other one last.
    keys: Box<[Mutex<Option<EvmKey>>]>,
    /// Whether anything was ever noted.
    any: AtomicBool,
}

impl CallConflicts {
    /// Nothing is known yet.
    #[must_use]
    pub fn new() -> Self {
        let places = (0..PLACES).map(|_| AtomicU64::new(0)).collect();
        let keys = (0..PLACES).map(|_| Mutex::new(None)).collect();
        Self { hasher: RandomState::default(), places, keys, any: AtomicBool::new(false) }
    }

    /// Whether nothing was ever noted.
    pub fn is_empty(&self) -> bool {
        !self.any.load(Ordering::Relaxed)
    }

    /// The kind of a call. Creations have none, and neither has what can only be a payment.
    pub fn kind(&self, tx: &TxEnv) -> Option<CallKind> {
        let mut hasher = self.hasher.build_hasher();
        hash_called(called(tx)?, &mut hasher);
        if let Some(party) = tx.data.get(4..).and_then(first_address) {
            hasher.write(party);
        }
        Some(CallKind(hasher.finish()))
    }

    /// Whether anything is known of a kind.
    pub fn knows(&self, kind: CallKind) -> bool {
        self.known(kind).is_some()
    }

    /// The [name](CallKind::name) of the kind that calls of this kind had better wait for, if they conflict often.
    pub fn expected(&self, kind: CallKind) -> Option<u32> {
        let (often, with) = self.known(kind)?;
        (often >= OFTEN).then_some(with)
    }

    /// Where calls of this kind are expected to meet those that they had better wait for.
    pub fn meeting(&self, kind: CallKind) -> Option<EvmKey> {
        self.known(kind)?;
        *self.keys[kind.place()].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what became of the transactions of a kind in a block.
    pub fn note(&self, kind: CallKind, tally: &CallTally) {
        let known = self.known(kind);
        let rate = (255 * u64::from(tally.conflicts) / u64::from(tally.transactions.max(1))).min(255) as u8;
        let (often, with) = match known {
            None if tally.conflicts == 0 => return,
            None => (rate, 0),
            Some((often, with)) if tally.waited => (often.saturating_sub(1).max(rate), with),
            Some((often, with)) => (often.midpoint(rate), with),
        };
        let with = tally.with.map_or(with, CallKind::name);
        self.any.store(true, Ordering::Relaxed);
        let noted = kind.0 >> 40 << 40 | u64::from(often) << 32 | u64::from(with);
        let is_new = known.is_none();
        self.place(kind).store(noted, Ordering::Relaxed);
        if tally.at.is_some() || is_new {
            *self.keys[kind.place()].lock().unwrap_or_else(PoisonError::into_inner) = tally.at;
        }
    }

    fn known(&self, kind: CallKind) -> Option<(u8, u32)> {
        let known = self.place(kind).load(Ordering::Relaxed);
        (known != 0 && known >> 40 == kind.0 >> 40).then_some(((known >> 32) as u8, known as u32))
    }

    fn place(&self, kind: CallKind) -> &AtomicU64 {
        &self.places[kind.place()]
    }
}

/// The first argument, if it looks like an address: 20 bytes, and not all of the first four of them zero, as they are in an
/// amount.
fn first_address(arguments: &[u8]) -> Option<&[u8]> {
    let (empty, address) = arguments.first_chunk::<32>()?.split_at(12);
    (empty.iter().all(|byte| *byte == 0) && address[..4] != [0; 4]).then_some(address)
}

impl Default for CallConflicts {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for CallConflicts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let known = self.places.iter().filter(|place| place.load(Ordering::Relaxed) != 0).count();
        f.debug_struct("CallConflicts").field("known", &known).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, Bytes, TxKind};

    use super::*;
    use crate::calls::GAS_OF_PAYMENT;

    fn call(to: u64, selector: u8, argument: &[u8]) -> TxEnv {
        let kind = TxKind::Call(Address::left_padding_from(&to.to_be_bytes()));
        let mut data = vec![selector; 4];
        data.extend(argument);
        TxEnv { kind, data: Bytes::from(data), ..TxEnv::default() }
    }

    fn address(byte: u8) -> [u8; 32] {
        std::array::from_fn(|at| if at < 12 { 0 } else { byte })
    }

    fn tally(transactions: u32, conflicts: u32, with: Option<CallKind>) -> CallTally {
        CallTally { transactions, conflicts, with, at: None, waited: false }
    }

    #[test]
    fn kinds_are_told_apart_by_target_selector_and_an_address_but_not_by_an_amount() {
        let conflicts = CallConflicts::new();
        let kind = |tx: &TxEnv| conflicts.kind(tx).expect("a call");
        let base = kind(&call(1, 1, &address(7)));
        assert_eq!(base, kind(&call(1, 1, &address(7))));
        for other in [call(2, 1, &address(7)), call(1, 2, &address(7)), call(1, 1, &address(8))] {
            assert_ne!(base, kind(&other));
        }
        let amount = |last: u8| std::array::from_fn::<u8, 32, _>(|at| if at == 31 { last } else { 0 });
        assert_eq!(kind(&call(1, 1, &amount(3))), kind(&call(1, 1, &amount(4))));
        let creation = TxEnv { kind: TxKind::Create, data: Bytes::from_static(&[1; 40]), ..TxEnv::default() };
        assert_eq!((conflicts.kind(&creation), conflicts.kind(&call(1, 1, &[]))), (None, Some(kind(&call(1, 1, &[])))));
        let sent = |gas_limit| TxEnv { gas_limit, data: Bytes::new(), ..call(1, 0, &[]) };
        assert_eq!(conflicts.kind(&sent(GAS_OF_PAYMENT)), None, "nothing can run");
        assert_eq!(kind(&sent(GAS_OF_PAYMENT + 1)), kind(&sent(90_000)));
    }

    #[test]
    fn kinds_that_conflict_often_wait_for_what_they_conflict_with() {
        let conflicts = CallConflicts::new();
        let (reader, writer) = (CallKind(0x1234_5678_9abc_def0), CallKind(0x0fed_cba9_8765_4321));
        assert!(conflicts.is_empty());
        conflicts.note(reader, &tally(8, 0, None));
        assert_eq!((conflicts.expected(reader), conflicts.is_empty()), (None, true));
        conflicts.note(reader, &tally(8, 1, Some(writer)));
        assert_eq!((conflicts.expected(reader), conflicts.is_empty()), (None, false), "one in eight is not often");
        conflicts.note(reader, &tally(2, 1, Some(writer)));
        assert_eq!(conflicts.expected(reader), Some(writer.name()));
        assert_eq!(conflicts.expected(writer), None);
    }

    #[test]
    fn where_kinds_meet_is_known_as_long_as_the_kind_is() {
        let conflicts = CallConflicts::new();
        let reader = CallKind(0x1234_5678_9abc_def0);
        let slot = |number: u64| Some(EvmKey::Slot(Address::repeat_byte(1), alloy_primitives::U256::from(number)));
        conflicts.note(reader, &CallTally { at: slot(1), ..tally(2, 2, None) });
        assert_eq!(conflicts.meeting(reader), slot(1));
        conflicts.note(reader, &CallTally { waited: true, ..tally(2, 0, None) });
        assert_eq!(conflicts.meeting(reader), slot(1), "who waits does not see where");
        conflicts.note(reader, &CallTally { at: slot(2), ..tally(2, 1, None) });
        assert_eq!(conflicts.meeting(reader), slot(2));
        let newcomer = CallKind(reader.0 ^ 1 << 63);
        assert_eq!((conflicts.meeting(newcomer), newcomer.place()), (None, reader.place()));
        conflicts.note(newcomer, &tally(2, 2, None));
        assert_eq!((conflicts.meeting(newcomer), conflicts.meeting(reader)), (None, None));
    }

    #[test]
    fn what_is_known_ages_at_once_where_nobody_waits_and_slowly_where_somebody_does() {
        let conflicts = CallConflicts::new();
        let kind = CallKind(u64::MAX / 3);
        conflicts.note(kind, &tally(4, 4, Some(kind)));
        let waiting = CallTally { waited: true, ..tally(4, 0, None) };
        let uses = (0..).take_while(|_| {
            conflicts.note(kind, &waiting);
            conflicts.expected(kind).is_some()
        });
        assert_eq!(uses.count(), usize::from(255 - OFTEN));
        conflicts.note(kind, &tally(4, 4, None));
        assert_eq!(conflicts.expected(kind), Some(kind.name()));
        conflicts.note(kind, &tally(4, 0, None));
        conflicts.note(kind, &tally(4, 0, None));
        assert_eq!(conflicts.expected(kind), None);
    }
}
