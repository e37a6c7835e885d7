//! Random numbers that are the same everywhere.
//!
//! Generated blocks are compared byte for byte, so nothing here depends on a library's idea of a range or a shuffle: a
//! stream is ChaCha20 (RFC 8439) keyed with a hash of what it is for, and all else is arithmetic on its 64-bit words.

use alloy_primitives::{Keccak256, U256};
use rand_chacha::{
    ChaCha20Rng,
    rand_core::{RngCore, SeedableRng},
};

/// One stream of random numbers.
#[derive(Debug)]
pub(crate) struct Draw(ChaCha20Rng);

impl Draw {
    /// The stream number `index` for `purpose`. Streams that differ in any of the three are independent.
    pub(crate) fn new(seed: u64, purpose: &str, index: u64) -> Self {
        let mut key = Keccak256::new();
        key.update(b"ropewalk draw");
        key.update(seed.to_be_bytes());
        key.update(index.to_be_bytes());
        key.update(purpose.as_bytes());
        Self(ChaCha20Rng::from_seed(key.finalize().0))
    }

    /// A number below `bound`, zero where `bound` is zero. The bias is below `bound` / 2^64.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.0.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True in `percent` of 100 cases.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// An amount from `low` to `high` in units of 10^9, both included: gwei for ether.
    pub(crate) fn amount(&mut self, low: u64, high: u64) -> U256 {
        U256::from(self.between(low, high)) * U256::from(1_000_000_000u64)
    }

    /// Brings `items` into random order (Fisher and Yates).
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            let other = self.below(end as u64 + 1) as usize;
            items.swap(end, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_depends_on_seed_purpose_and_index_only() {
        let numbers = |seed, purpose, index| {
            let mut draw = Draw::new(seed, purpose, index);
            (0..8).map(|_| draw.below(u64::MAX)).collect::<Vec<_>>()
        };
        let first = numbers(1, "block", 1);
        assert_eq!(first, numbers(1, "block", 1));
        assert_ne!(first, numbers(2, "block", 1));
        assert_ne!(first, numbers(1, "other", 1));
        assert_ne!(first, numbers(1, "block", 2));
    }

    #[test]
    fn numbers_stay_within_their_bounds() {
        let mut draw = Draw::new(0, "bounds", 0);
        for bound in [1, 2, 3, 1000, u64::MAX] {
            assert!((0..100).all(|_| draw.below(bound) < bound));
        }
        assert_eq!(draw.below(0), 0);
        assert!((0..100).all(|_| (5..=7).contains(&draw.between(5, 7))));
        assert!((0..100).all(|_| !draw.percent(0) && draw.percent(100)));
    }

    #[test]
    fn a_shuffle_keeps_every_item() {
        let mut items: Vec<u32> = (0..100).collect();
        Draw::new(0, "shuffle", 0).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
