//! Keccak-256 hashes of short inputs, remembered for the length of a block.
//!
//! Where a contract keeps its mappings, it hashes a key and a number, 64 bytes, and hashes them again for each access:
//! a token's transfer makes four hashes of two inputs, and those of a popular pool or router come again in every
//! transaction. Blooms hash the same tokens and topics over and over. A hash takes as long as a hundred instructions.
//!
//! - H1 What is remembered is found by a keyed hash and compared in full: no input can pass for another.
//! - H2 Memory is bounded: an input takes the place of another.
//! - H3 Nothing is remembered beyond a block, so that a block takes the same time whatever came before it.

use std::hash::{BuildHasher, Hasher};

use alloy_primitives::{B256, U256, keccak256};
use foldhash::fast::RandomState;

/// Longest input that is remembered, in bytes.
pub(crate) const LONGEST: usize = 64;
/// Inputs that are remembered.
const PLACES: usize = 1 << 10;

/// One worker's hashes.
#[derive(Debug)]
pub(crate) struct Hashes {
    hasher: RandomState,
    /// Nothing until the first hash.
    places: Box<[Place]>,
    /// Counts blocks. What was remembered in another block counts as forgotten.
    block: u32,
    /// Whether anything is remembered at all.
    pub(crate) remembers: bool,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    input: [u8; LONGEST],
    length: u8,
    block: u32,
    hash: B256,
}

impl Hashes {
    /// Remembers nothing.
    pub(crate) fn new() -> Self {
        Self { hasher: RandomState::default(), places: Box::default(), block: 1, remembers: true }
    }

    /// Forgets everything.
    pub(crate) fn forget(&mut self) {
        self.block = self.block.wrapping_add(1);
        if self.block == 0 {
            *self = Self { remembers: self.remembers, ..Self::new() };
        }
    }

    /// The input of two words whose hash is so little below a word, and how much, if it is remembered.
    pub(crate) fn input_before(&self, word: U256, most_behind: u64) -> Option<(&[u8; LONGEST], u64)> {
        let mut own =
            self.places.iter().filter(|place| place.block == self.block && usize::from(place.length) == LONGEST);
        own.find_map(|place| {
            let behind = word.checked_sub(place.hash.into())?;
            (behind < U256::from(most_behind)).then(|| (&place.input, behind.to()))
        })
    }

    /// The Keccak-256 hash of `input`.
    pub(crate) fn keccak256(&mut self, input: &[u8]) -> B256 {
        if input.is_empty() || input.len() > LONGEST || !self.remembers {
            return keccak256(input);
        }
        if self.places.is_empty() {
            let never = Place { input: [0; LONGEST], length: 0, block: 0, hash: B256::ZERO };
            self.places = vec![never; PLACES].into();
        }
        let mut hasher = self.hasher.build_hasher();
        hasher.write(input);
        let place = &mut self.places[hasher.finish() as usize & (PLACES - 1)];
        let is_it = place.block == self.block && place.input[..usize::from(place.length)] == *input;
        if !is_it {
            place.input[..input.len()].copy_from_slice(input);
            (place.length, place.block) = (input.len() as u8, self.block);
            place.hash = keccak256(input);
        }
        place.hash
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn remembered_hash_is_that_of_its_input(
            inputs in proptest::collection::vec(proptest::collection::vec(0..3u8, 0..LONGEST + 3), 1..200),
            forget_at in 0..200usize,
        ) {
            let mut hashes = Hashes::new();
            for (at, input) in inputs.iter().chain(&inputs).enumerate() {
                if at == forget_at {
                    hashes.forget();
                }
                prop_assert_eq!(hashes.keccak256(input), keccak256(input));
            }
        }
    }

    #[test]
    fn inputs_that_share_a_place_do_not_pass_for_each_other() {
        let mut hashes = Hashes::new();
        // Far more than there are places.
        for round in 0..2 {
            for number in 0..5 * PLACES as u64 {
                let input = [number.to_be_bytes(), [round % 2; 8]].concat();
                assert_eq!(hashes.keccak256(&input), keccak256(&input));
                assert_eq!(hashes.keccak256(&input[..9]), keccak256(&input[..9]), "one that begins like another");
            }
        }
    }

    #[test]
    fn blocks_that_overflow_their_count_forget_all_the_same() {
        let mut hashes = Hashes::new();
        hashes.block = u32::MAX;
        assert_eq!(hashes.keccak256(b"rope"), keccak256(b"rope"));
        hashes.forget();
        assert!(hashes.places.is_empty());
        assert_eq!(hashes.keccak256(b"walk"), keccak256(b"walk"));
    }
}
