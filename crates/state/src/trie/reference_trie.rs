//! Tries as alloy's `HashBuilder` makes them, and inputs that bring out their corners.

use std::{collections::BTreeMap, ops::Range};

use alloy_primitives::{B256, Bytes};
use alloy_trie::{HashBuilder, Nibbles, proof::ProofRetainer};
use proptest::{collection, prelude::*};

/// Leaves of a trie, in order.
pub(crate) type Leaves = BTreeMap<B256, Vec<u8>>;

/// Keys that share long prefixes and part late, so that extensions and embedded nodes abound.
pub(crate) fn key() -> impl Strategy<Value = B256> {
    let byte = || prop::sample::select(vec![0x00u8, 0x01, 0x10, 0x11, 0xf0, 0xff]);
    (byte(), byte(), byte()).prop_map(|(first, middle, last)| {
        let mut key = B256::ZERO;
        (key[0], key[15], key[31]) = (first, middle, last);
        key
    })
}

/// Values short enough for an embedded leaf, and longer ones.
pub(crate) fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![collection::vec(any::<u8>(), 1..4), collection::vec(any::<u8>(), 30..40)]
}

pub(crate) fn leaves(count: Range<usize>) -> impl Strategy<Value = Leaves> {
    collection::btree_map(key(), value(), count)
}

pub(crate) fn root(leaves: &Leaves) -> B256 {
    let mut builder = HashBuilder::default();
    leaves.iter().for_each(|(key, value)| builder.add_leaf(Nibbles::unpack(key), value));
    builder.root()
}

/// The trie's root and the nodes on the way to every target.
pub(crate) fn proofs<'a>(leaves: &Leaves, targets: impl IntoIterator<Item = &'a B256>) -> (B256, Vec<Bytes>) {
    let retainer = ProofRetainer::new(targets.into_iter().map(Nibbles::unpack).collect());
    let mut builder = HashBuilder::default().with_proof_retainer(retainer);
    leaves.iter().for_each(|(key, value)| builder.add_leaf(Nibbles::unpack(key), value));
    let root = builder.root();
    (root, builder.take_proof_nodes().into_inner().into_values().collect())
}

/// Every node that stands by itself, by path.
pub(crate) fn nodes(leaves: &Leaves) -> BTreeMap<Nibbles, Bytes> {
    let retainer = ProofRetainer::new(leaves.keys().map(Nibbles::unpack).collect());
    let mut builder = HashBuilder::default().with_proof_retainer(retainer);
    leaves.iter().for_each(|(key, value)| builder.add_leaf(Nibbles::unpack(key), value));
    builder.root();
    let nodes = builder.take_proof_nodes().into_inner().into_iter();
    nodes.filter(|(path, rlp)| !leaves.is_empty() && (path.is_empty() || rlp.len() >= 32)).collect()
}
