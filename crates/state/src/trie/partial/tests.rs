use alloy_primitives::{keccak256, map::B256Map};
use alloy_trie::{
    TrieMask,
    nodes::{BranchNode, ExtensionNode, LeafNode},
};
use proptest::{collection, prelude::*};

use super::*;
use crate::trie::reference_trie::{self, Leaves};

/// Nodes by hash.
struct Nodes(B256Map<Bytes>);

impl Nodes {
    fn new(nodes: impl IntoIterator<Item = Bytes>) -> Self {
        Self(nodes.into_iter().map(|rlp| (keccak256(&rlp), rlp)).collect())
    }
}

impl NodeReader for Nodes {
    fn node(&self, _: Option<B256>, _: &Nibbles, hash: &B256) -> Result<Option<Bytes>, StateError> {
        Ok(self.0.get(hash).cloned())
    }
}

/// A source that answers every question with the same bytes.
struct Always(Bytes);

impl NodeReader for Always {
    fn node(&self, _: Option<B256>, _: &Nibbles, _: &B256) -> Result<Option<Bytes>, StateError> {
        Ok(Some(self.0.clone()))
    }
}

type Update = (B256, Option<Vec<u8>>);

fn updates() -> impl Strategy<Value = Vec<Update>> {
    let value = prop::option::weighted(0.5, reference_trie::value());
    collection::vec((reference_trie::key(), value), 1..60)
}

fn update(trie: &mut PartialTrie<impl NodeReader>, (key, value): &Update) -> Result<(), StateError> {
    match value {
        Some(value) => trie.insert(key, value.clone().into()),
        None => trie.remove(key),
    }
}

fn update_model(leaves: &mut Leaves, (key, value): &Update) {
    match value {
        Some(value) => drop(leaves.insert(*key, value.clone())),
        None => drop(leaves.remove(key)),
    }
}

fn read(trie: &mut PartialTrie<impl NodeReader>, key: &B256) -> Result<Option<Vec<u8>>, StateError> {
    Ok(trie.get(key)?.map(|value| value.to_vec()))
}

/// A key that starts with these nibbles and goes on with zeros.
fn key(nibbles: &[u8]) -> B256 {
    let mut path = [0; 64];
    path[..nibbles.len()].copy_from_slice(nibbles);
    B256::from_slice(&Nibbles::from_nibbles(path).pack())
}

proptest! {
    #[test]
    fn every_change_leaves_the_root_of_a_full_rebuild(start in reference_trie::leaves(0..30), updates in updates()) {
        let mut leaves = start;
        let (root, nodes) = reference_trie::proofs(&leaves, leaves.keys());
        let nodes = Nodes::new(nodes);
        let mut trie = PartialTrie::new(&nodes, None, root);
        for step in &updates {
            update(&mut trie, step).unwrap();
            update_model(&mut leaves, step);
            prop_assert_eq!(trie.root(), reference_trie::root(&leaves));
            prop_assert_eq!(read(&mut trie, &step.0).unwrap(), step.1.clone());
        }
        for (key, value) in &leaves {
            prop_assert_eq!(read(&mut trie, key).unwrap(), Some(value.clone()));
        }
    }

    #[test]
    fn root_computed_once_equals_root_computed_after_every_change(updates in updates()) {
        let nodes = Nodes::new([]);
        let mut trie = PartialTrie::new(&nodes, None, EMPTY_ROOT_HASH);
        let mut leaves = Leaves::new();
        for step in &updates {
            update(&mut trie, step).unwrap();
            update_model(&mut leaves, step);
        }
        prop_assert_eq!(trie.root(), reference_trie::root(&leaves));
    }

    #[test]
    fn change_of_a_trie_known_in_part_is_right_or_refused_without_effect(
        start in reference_trie::leaves(1..30),
        known in collection::vec(reference_trie::key(), 0..10),
        updates in updates(),
    ) {
        let mut leaves = start;
        let (root, nodes) = reference_trie::proofs(&leaves, &known);
        let nodes = Nodes::new(nodes);
        let mut trie = PartialTrie::new(&nodes, None, root);
        for step in &updates {
            match update(&mut trie, step) {
                Ok(()) => update_model(&mut leaves, step),
                Err(error) => prop_assert!(matches!(error, StateError::MissingNode { account: None, .. }), "{error}"),
            }
            prop_assert_eq!(trie.root(), reference_trie::root(&leaves));
        }
        for key in &known {
            prop_assert_eq!(read(&mut trie, key).unwrap(), leaves.get(key).cloned());
        }
    }

    #[test]
    fn arbitrary_bytes_are_never_more_than_malformed(bytes in collection::vec(any::<u8>(), 0..80), step in updates()) {
        let nodes = Always(bytes.into());
        let mut trie = PartialTrie::new(&nodes, None, B256::repeat_byte(1));
        for step in &step {
            if let Err(error) = update(&mut trie, step) {
                prop_assert!(matches!(error, StateError::MalformedNode { .. }), "{error}");
            }
            trie.root();
        }
    }

    #[test]
    fn damaged_nodes_are_never_more_than_malformed(
        start in reference_trie::leaves(1..30),
        pick in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        updates in updates(),
    ) {
        let (_, nodes) = reference_trie::proofs(&start, start.keys());
        let mut damaged = nodes[pick.index(nodes.len())].to_vec();
        let at = at.index(damaged.len());
        damaged[at] = byte;
        let nodes = Always(damaged.into());
        let mut trie = PartialTrie::new(&nodes, None, B256::repeat_byte(1));
        for step in &updates {
            if let Err(error) = update(&mut trie, step) {
                prop_assert!(matches!(error, StateError::MalformedNode { .. }), "{error}");
            }
            trie.root();
        }
    }
}

#[test]
fn many_changes_hash_on_many_threads_to_the_same_root() {
    let nodes = Nodes::new([]);
    let mut trie = PartialTrie::new(&nodes, None, EMPTY_ROOT_HASH);
    let leaves: Leaves = (0..2_000u64).map(|i| (keccak256(i.to_be_bytes()), vec![1; 1 + i as usize % 40])).collect();
    for (key, value) in &leaves {
        trie.insert(key, value.clone().into()).unwrap();
    }
    assert_eq!(trie.root(), reference_trie::root(&leaves));
}

#[test]
fn removal_that_needs_an_unknown_sibling_names_its_path() {
    let leaves = Leaves::from([(key(&[1, 2, 3]), vec![1; 40]), (key(&[1, 2, 7]), vec![2; 40])]);
    let (root, nodes) = reference_trie::proofs(&leaves, [&key(&[1, 2, 3])]);
    let nodes = Nodes::new(nodes);
    let account = Some(B256::repeat_byte(5));
    let mut trie = PartialTrie::new(&nodes, account, root);
    let error = trie.remove(&key(&[1, 2, 3])).unwrap_err();
    let expected = Nibbles::from_nibbles([1, 2, 7]);
    assert!(matches!(&error, StateError::MissingNode { account: a, path } if *a == account && *path == expected));
    assert_eq!(trie.root(), root);
    assert_eq!(read(&mut trie, &key(&[1, 2, 3])).unwrap(), Some(vec![1; 40]));
}

#[test]
fn absence_is_proven_by_a_fork_an_empty_place_and_another_leaf() {
    let leaves = Leaves::from([(key(&[1, 2, 3]), vec![1; 40]), (key(&[1, 2, 7]), vec![2; 40])]);
    let (root, nodes) = reference_trie::proofs(&leaves, leaves.keys());
    let nodes = Nodes::new(nodes);
    let mut trie = PartialTrie::new(&nodes, None, root);
    for absent in [key(&[2]), key(&[1, 2, 4]), key(&[1, 2, 3, 9])] {
        assert_eq!(trie.get(&absent).unwrap(), None);
        trie.remove(&absent).unwrap();
        assert_eq!(trie.root(), root);
    }
}

#[test]
fn unknown_root_is_missing_at_the_empty_path() {
    let nodes = Nodes::new([]);
    let mut trie = PartialTrie::new(&nodes, None, B256::repeat_byte(1));
    let error = trie.get(&B256::ZERO).unwrap_err();
    assert!(matches!(error, StateError::MissingNode { account: None, path } if path.is_empty()));
}

#[test]
fn branch_that_repeats_itself_forever_ends_at_the_last_nibble() {
    let children = vec![RlpNode::word_rlp(&B256::repeat_byte(1)); 16];
    let nodes = Always(alloy_rlp::encode(BranchNode::new(children, TrieMask::new(u16::MAX))).into());
    let mut trie = PartialTrie::new(&nodes, None, B256::repeat_byte(1));
    let error = trie.get(&B256::repeat_byte(0x77)).unwrap_err();
    assert!(matches!(error, StateError::MalformedNode { path, .. } if path.len() == 64));
}

#[test]
fn extension_that_repeats_itself_is_malformed_at_once() {
    let child = RlpNode::word_rlp(&B256::repeat_byte(1));
    let nodes = Always(alloy_rlp::encode(ExtensionNode::new(Nibbles::from_nibbles([0]), child)).into());
    let mut trie = PartialTrie::new(&nodes, None, B256::repeat_byte(1));
    let error = trie.get(&B256::ZERO).unwrap_err();
    assert!(matches!(error, StateError::MalformedNode { path, .. } if path.len() == 1));
}

#[test]
fn short_node_may_be_the_root_but_not_be_referred_to_by_hash() {
    let short_branch = |depth: usize| {
        let leaf = |value| {
            let suffix = Nibbles::from_nibbles(vec![0; 63 - depth]);
            RlpNode::from_rlp(&alloy_rlp::encode(LeafNode::new(suffix, vec![value])))
        };
        Bytes::from(alloy_rlp::encode(BranchNode::new(vec![leaf(1), leaf(2)], TrieMask::new(3))))
    };
    let short = short_branch(63);
    assert!(short.len() < 32, "{} bytes", short.len());
    let extension = ExtensionNode::new(Nibbles::from_nibbles([0; 63]), RlpNode::word_rlp(&keccak256(&short)));
    let extension = Bytes::from(alloy_rlp::encode(extension));
    let root = keccak256(&extension);
    let nodes = Nodes::new([extension, short]);
    let error = PartialTrie::new(&nodes, None, root).get(&B256::ZERO).unwrap_err();
    assert!(matches!(error, StateError::MalformedNode { path, .. } if path.len() == 63));
}
