//! Roots of tries whose leaves are all at hand.
//!
//! The leaves, sorted by key, already are the trie: the keys of a subtrie are neighbours, the first and the last of
//! them share exactly the subtrie's common prefix, and its branch splits them by the next nibble. Large subtries are
//! built side by side.

use std::ops::Range;

use alloy_primitives::{B256, U256, keccak256};
use alloy_rlp::Encodable;
use alloy_trie::{
    EMPTY_ROOT_HASH, Nibbles,
    nodes::{ExtensionNodeRef, LeafNodeRef, RlpNode},
};
use rayon::prelude::*;

use super::node;

/// Number of leaves from which the children of a branch are worth spreading over threads.
const PARALLEL_LEAVES: usize = 1024;

/// Root of the trie with these leaves, which ascend by key and hold no key twice.
///
/// `encode` appends a leaf's value. Large tries are built on the rayon pool this is called from.
pub(crate) fn sorted_root<V: Sync>(leaves: &[(B256, V)], encode: impl Fn(&V, &mut Vec<u8>) + Sync) -> B256 {
    debug_assert!(leaves.windows(2).all(|pair| pair[0].0 < pair[1].0), "leaves ascend by key");
    if leaves.is_empty() {
        return EMPTY_ROOT_HASH;
    }
    let mut rlp = Vec::new();
    Leaves { leaves, encode: &encode }.encode_node(0..leaves.len(), 0, &mut rlp);
    keccak256(rlp)
}

/// Root of the storage trie with these slots, given in any order; zero values are not stored.
pub(crate) fn storage_root(slots: impl Iterator<Item = (U256, U256)>) -> B256 {
    let mut leaves: Vec<(B256, U256)> = slots
        .filter(|(_, value)| !value.is_zero())
        .map(|(slot, value)| (keccak256(slot.to_be_bytes::<32>()), value))
        .collect();
    leaves.sort_unstable_by_key(|(key, _)| *key);
    sorted_root(&leaves, |value, out| value.encode(out))
}

struct Leaves<'a, V, F> {
    leaves: &'a [(B256, V)],
    encode: &'a F,
}

impl<V: Sync, F: Fn(&V, &mut Vec<u8>) + Sync> Leaves<'_, V, F> {
    /// Appends the node at `depth` above the leaves in `range`, which is not empty.
    fn encode_node(&self, range: Range<usize>, depth: usize, out: &mut Vec<u8>) {
        let path = self.path(range.start);
        if range.len() == 1 {
            let mut value = Vec::new();
            (self.encode)(&self.leaves[range.start].1, &mut value);
            return LeafNodeRef::new(&path.slice(depth..), &value).encode(out);
        }
        let common = path.common_prefix_length(&self.path(range.end - 1));
        if common == depth {
            return self.encode_branch(range, depth, out);
        }
        let mut branch = Vec::new();
        self.encode_branch(range, common, &mut branch);
        ExtensionNodeRef::new(&path.slice(depth..common), &RlpNode::from_rlp(&branch)).encode(out);
    }

    /// Appends the branch at `depth` above the leaves in `range`.
    fn encode_branch(&self, range: Range<usize>, depth: usize, out: &mut Vec<u8>) {
        let child = |nibble: u8| {
            let leaves = &self.leaves[range.clone()];
            let start = leaves.partition_point(|(key, _)| nibble_of(key, depth) < nibble);
            let end = leaves.partition_point(|(key, _)| nibble_of(key, depth) <= nibble);
            if start == end {
                return node::no_child();
            }
            let mut rlp = Vec::new();
            self.encode_node(range.start + start..range.start + end, depth + 1, &mut rlp);
            RlpNode::from_rlp(&rlp)
        };
        let children: Vec<RlpNode> = if range.len() < PARALLEL_LEAVES {
            (0..16).map(child).collect()
        } else {
            (0..16u8).into_par_iter().map(child).collect()
        };
        node::encode_branch(&children, out);
    }

    fn path(&self, at: usize) -> Nibbles {
        Nibbles::unpack_array(&self.leaves[at].0.0)
    }
}

fn nibble_of(key: &B256, depth: usize) -> u8 {
    let byte = key[depth / 2];
    if depth.is_multiple_of(2) { byte >> 4 } else { byte & 0x0f }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::trie::reference_trie;

    fn root_of(leaves: &BTreeMap<B256, Vec<u8>>) -> B256 {
        let leaves: Vec<_> = leaves.iter().map(|(key, value)| (*key, value)).collect();
        sorted_root(&leaves, |value, out| out.extend_from_slice(value))
    }

    proptest! {
        #[test]
        fn root_equals_the_hash_builders(leaves in reference_trie::leaves(0..40)) {
            prop_assert_eq!(root_of(&leaves), reference_trie::root(&leaves));
        }
    }

    #[test]
    fn root_built_on_many_threads_equals_the_hash_builders() {
        let leaves = (0..5_000u64).map(|i| (keccak256(i.to_be_bytes()), i.to_be_bytes().to_vec())).collect();
        assert_eq!(root_of(&leaves), reference_trie::root(&leaves));
    }

    #[test]
    fn storage_without_values_has_the_empty_root() {
        assert_eq!(storage_root([(U256::from(1), U256::ZERO)].into_iter()), EMPTY_ROOT_HASH);
        assert_eq!(storage_root([].into_iter()), EMPTY_ROOT_HASH);
    }
}
