//! How long calls take, learned from those before.
//!
//! What a transaction declares says little of how long it will take, and what it used comes too late. A contract's function
//! takes about as long as it took last time, so workers note what calls take by their target and selector, and whoever plans a
//! block asks. One function may do little or much: calls with twice the input or twice the gas limit are told apart. A wrong
//! answer costs time and nothing else.
//!
//! - L1 Memory is bounded: a fixed number of places, and a newcomer takes the place of another.
//! - L2 Which functions share a place is decided by a keyed hash: nobody can choose whose place to take.
//! - L3 What is known ages: a shorter time takes it half of the way, a longer one a quarter, and no further than to one and a
//!   half times what it was. A thread that lost its core for a while says nothing about the call.

use std::{
    hash::{BuildHasher, Hasher},
    sync::atomic::{AtomicU64, Ordering},
};

use foldhash::quality::RandomState;
use revm::context::TxEnv;

use crate::calls::{called, hash_called};

/// Functions that are remembered; 8 bytes each.
const PLACES: usize = 1 << 13;

/// Nanoseconds that calls took, by what they call and with how much. Kept from block to block, shared by all workers.
pub struct CallTimes {
    hasher: RandomState,
    /// Upper half: a part of the key's hash; lower half: nanoseconds, at least 1. Zero where nothing is known. Relaxed: a
    /// note that is lost costs nothing.
    places: Box<[AtomicU64]>,
}

impl CallTimes {
    /// Nothing is known yet.
    #[must_use]
    pub fn new() -> Self {
        Self { hasher: RandomState::default(), places: (0..PLACES).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Nanoseconds that a transaction will take, if calls like it were seen.
    pub fn expected_ns(&self, tx: &TxEnv) -> Option<u64> {
        let (place, tag) = self.place(tx)?;
        let known = place.load(Ordering::Relaxed);
        (known >> 32 == tag && known != 0).then_some(known & u64::from(u32::MAX))
    }

    /// Notes what an attempt of a transaction took.
    pub fn note(&self, tx: &TxEnv, took_ns: u64) {
        let Some((place, tag)) = self.place(tx) else { return };
        let took = took_ns.clamp(1, u64::from(u32::MAX));
        let known = place.load(Ordering::Relaxed);
        let next = match known & u64::from(u32::MAX) {
            before if known >> 32 == tag && before > took => before.midpoint(took),
            before if known >> 32 == tag && before > 0 => (3 * before + took.min(3 * before)) / 4,
            _ => took,
        };
        place.store(tag << 32 | next.min(u64::from(u32::MAX)), Ordering::Relaxed);
    }

    /// Where a call is noted, and as what.
    fn place(&self, tx: &TxEnv) -> Option<(&AtomicU64, u64)> {
        let mut hasher = self.hasher.build_hasher();
        hash_called(called(tx)?, &mut hasher);
        // Length in bytes, and gas limit, by their powers of two: none is the 65th.
        let input = tx.data.len().checked_ilog2().unwrap_or(64);
        let gas_limit = tx.gas_limit.checked_ilog2().unwrap_or(64);
        hasher.write_u32(input << 16 | gas_limit);
        let hash = hasher.finish();
        Some((&self.places[hash as usize % PLACES], hash >> 32))
    }
}

impl Default for CallTimes {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for CallTimes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let known = self.places.iter().filter(|place| place.load(Ordering::Relaxed) != 0).count();
        f.debug_struct("CallTimes").field("known", &known).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, Bytes, TxKind};

    use super::*;
    use crate::calls::GAS_OF_PAYMENT;

    fn call(to: u64, data: &[u8]) -> TxEnv {
        let kind = TxKind::Call(Address::left_padding_from(&to.to_be_bytes()));
        TxEnv { kind, data: Bytes::copy_from_slice(data), ..TxEnv::default() }
    }

    #[test]
    fn time_is_that_of_calls_of_the_same_function() {
        let times = CallTimes::new();
        let transfer = call(1, &[1, 2, 3, 4, 5]);
        assert_eq!(times.expected_ns(&transfer), None);
        times.note(&transfer, 8_000);
        assert_eq!(times.expected_ns(&call(1, &[1, 2, 3, 4, 99])), Some(8_000));
        assert_eq!(times.expected_ns(&call(1, &[1, 2, 3, 9, 5])), None);
        assert_eq!(times.expected_ns(&call(2, &[1, 2, 3, 4, 5])), None);
        assert_eq!(times.expected_ns(&call(1, &[1, 2, 3, 4, 5, 6, 7, 8])), None, "it has more to do");
    }

    #[test]
    fn time_follows_what_is_noted_and_rises_slowly() {
        let times = CallTimes::new();
        let odd = call(1, &[1, 2, 3, 4]);
        for took in [1_000, 2_000] {
            times.note(&odd, took);
        }
        assert_eq!(times.expected_ns(&odd), Some(1_250));
        times.note(&odd, u64::MAX);
        assert_eq!(times.expected_ns(&odd), Some(1_875));
        (0..60).for_each(|_| times.note(&odd, 0));
        assert!(times.expected_ns(&odd).is_some_and(|ns| ns <= 2));
    }

    #[test]
    fn payments_and_creations_are_not_noted() {
        let times = CallTimes::new();
        let creation = TxEnv { kind: TxKind::Create, data: Bytes::from_static(&[1; 40]), ..TxEnv::default() };
        let payment = TxEnv { gas_limit: GAS_OF_PAYMENT, ..call(1, &[]) };
        for tx in [creation, payment, call(1, &[1, 2, 3])] {
            times.note(&tx, 5);
            assert_eq!(times.expected_ns(&tx), None);
        }
    }

    #[test]
    fn value_sent_with_gas_for_code_is_a_call_once_it_was_seen_to_be_one() {
        let times = CallTimes::new();
        let deposit = |to| TxEnv { gas_limit: GAS_OF_PAYMENT + 1, ..call(to, &[]) };
        times.note(&deposit(1), 5_000);
        assert_eq!((times.expected_ns(&deposit(1)), times.expected_ns(&deposit(2))), (Some(5_000), None));
    }

    #[test]
    fn places_are_taken_over_by_newcomers() {
        let times = CallTimes::new();
        (0..4 * PLACES as u64).for_each(|to| times.note(&call(to, &[0; 4]), 7));
        let known = (0..4 * PLACES as u64).filter(|to| times.expected_ns(&call(*to, &[0; 4])).is_some()).count();
        assert!((PLACES / 2..=PLACES).contains(&known), "{known} of {PLACES} are known");
    }
}
