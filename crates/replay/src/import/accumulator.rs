//! An era1 archive's accumulator: one root over what it holds.
//!
//! It is the SSZ hash tree root of `List(HeaderRecord, 8192)`, a record being the pair of block hash and total difficulty
//! (portal-network specification, pre-merge accumulator). All hashes are SHA-256.

use alloy_primitives::{B256, U256};
use sha2::{Digest, Sha256};

/// Most blocks of an archive, and so leaves of the tree: 2 to the power of [`DEPTH`].
pub(super) const MOST_BLOCKS: usize = 1 << DEPTH;
const DEPTH: usize = 13;

/// Collects the records of an archive.
#[derive(Debug, Default)]
pub(super) struct Accumulator {
    records: Vec<B256>,
}

impl Accumulator {
    /// Takes in the next block.
    pub(super) fn push(&mut self, hash: B256, total_difficulty: U256) {
        self.records.push(pair(&hash, &B256::from(total_difficulty.to_le_bytes::<32>())));
    }

    /// The root over all blocks so far.
    pub(super) fn root(&self) -> B256 {
        let mut level = self.records.clone();
        let mut absent = B256::ZERO;
        for _ in 0..DEPTH {
            let parent = |children: &[B256]| pair(&children[0], children.get(1).unwrap_or(&absent));
            level = level.chunks(2).map(parent).collect();
            absent = pair(&absent, &absent);
        }
        let mut length = [0; 32];
        length[..8].copy_from_slice(&(self.records.len() as u64).to_le_bytes());
        pair(level.first().unwrap_or(&absent), &B256::from(length))
    }
}

fn pair(left: &B256, right: &B256) -> B256 {
    let mut hasher = Sha256::new();
    hasher.update(left);
    hasher.update(right);
    B256::from_slice(&hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_leaves_count_as_zero_and_the_length_is_mixed_in() {
        let mut accumulator = Accumulator::default();
        let (hash, total_difficulty) = (B256::repeat_byte(7), U256::from(9));
        accumulator.push(hash, total_difficulty);
        let mut expected = pair(&hash, &B256::from(total_difficulty.to_le_bytes::<32>()));
        let mut absent = B256::ZERO;
        for _ in 0..DEPTH {
            expected = pair(&expected, &absent);
            absent = pair(&absent, &absent);
        }
        let mut one = B256::ZERO;
        one[0] = 1;
        assert_eq!(accumulator.root(), pair(&expected, &one));
    }

    #[test]
    fn order_counts() {
        let root = |order: [u8; 3]| {
            let mut accumulator = Accumulator::default();
            order.iter().for_each(|byte| accumulator.push(B256::repeat_byte(*byte), U256::from(*byte)));
            accumulator.root()
        };
        assert_ne!(root([1, 2, 3]), root([3, 2, 1]));
    }
}
