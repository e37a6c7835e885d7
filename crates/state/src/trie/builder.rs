//! A trie from leaves that arrive in order, one by one, in memory that does not grow with their number.
//!
//! Two neighbouring leaves part at a branch whose depth is the length of their common prefix. So the branches that are
//! still open lie on the path of the latest leaf, at most 64 of them, and a branch is complete once a leaf arrives that
//! parts from the latest above it. A node is handed out when it is complete, children before their parents.

use alloy_primitives::{B256, keccak256};
use alloy_rlp::Encodable;
use alloy_trie::{
    EMPTY_ROOT_HASH, Nibbles,
    nodes::{ExtensionNodeRef, LeafNodeRef, RlpNode},
};

use super::node;

/// Builds a trie from leaves ascending by key, handing each node that stands by itself to `E`.
///
/// Those are the root and every node of at least 32 bytes. `E` gets the node's path and RLP, and may fail.
#[derive(Debug)]
pub struct TrieBuilder<E> {
    emit: E,
    /// The latest leaf: its place is known only when the next one is.
    latest: Option<(Nibbles, Vec<u8>)>,
    /// Open branches on the path of the latest leaf, from the root down.
    open: Vec<OpenBranch>,
}

#[derive(Debug)]
struct OpenBranch {
    depth: usize,
    children: [RlpNode; 16],
}

impl<E, F> TrieBuilder<E>
where
    E: FnMut(&Nibbles, &[u8]) -> Result<(), F>,
{
    /// A trie without leaves.
    pub fn new(emit: E) -> Self {
        Self { emit, latest: None, open: Vec::new() }
    }

    /// Adds a leaf with an RLP `value`, which must not be empty. Keys must ascend; a key that does not would make a
    /// trie that means nothing, so it is a broken promise of the caller.
    ///
    /// # Errors
    /// When a node could not be handed out.
    ///
    /// # Panics
    /// When the key is not greater than the one before.
    pub fn add(&mut self, key: &B256, value: Vec<u8>) -> Result<(), F> {
        let key = Nibbles::unpack_array(&key.0);
        if let Some((latest, latest_value)) = self.latest.take() {
            assert!(latest < key, "keys ascend: {latest:?} comes before {key:?}");
            let parting = latest.common_prefix_length(&key);
            self.place(&latest, &latest_value, Some(parting))?;
        }
        self.latest = Some((key, value));
        Ok(())
    }

    /// The root of the trie. Its nodes have all been handed out then.
    ///
    /// # Errors
    /// When a node could not be handed out.
    pub fn finish(mut self) -> Result<B256, F> {
        let Some((latest, value)) = self.latest.take() else { return Ok(EMPTY_ROOT_HASH) };
        let root = self.place(&latest, &value, None)?;
        Ok(node::root_hash(&root))
    }

    /// Puts a leaf into the trie and closes the branches below `parting`, where the next leaf turns off; `None` where
    /// there is no next leaf. Returns the reference of the topmost node that was completed.
    fn place(&mut self, path: &Nibbles, value: &[u8], parting: Option<usize>) -> Result<RlpNode, F> {
        if parting.is_some_and(|depth| self.open.last().is_none_or(|branch| branch.depth < depth)) {
            let depth = parting.unwrap_or_default();
            self.open.push(OpenBranch { depth, children: std::array::from_fn(|_| node::no_child()) });
        }
        let above = self.open.last().map(|branch| branch.depth + 1).unwrap_or_default();
        let mut rlp = Vec::new();
        LeafNodeRef::new(&path.slice(above..), value).encode(&mut rlp);
        let mut reference = self.hand_out(&path.slice(..above), &rlp)?;
        while let Some(branch) = self.open.last_mut() {
            branch.children[usize::from(path.get_unchecked(branch.depth))] = reference.clone();
            if parting.is_some_and(|depth| branch.depth <= depth) {
                break;
            }
            reference = self.close(path, parting)?;
        }
        Ok(reference)
    }

    /// Completes the lowest open branch, and the extension above it where its parent is not next to it.
    fn close(&mut self, path: &Nibbles, parting: Option<usize>) -> Result<RlpNode, F> {
        let Some(branch) = self.open.pop() else { return Ok(node::no_child()) };
        if parting.is_some_and(|depth| self.open.last().is_none_or(|above| above.depth < depth)) {
            let depth = parting.unwrap_or_default();
            self.open.push(OpenBranch { depth, children: std::array::from_fn(|_| node::no_child()) });
        }
        let above = self.open.last().map(|branch| branch.depth + 1).unwrap_or_default();
        let mut rlp = Vec::new();
        node::encode_branch(&branch.children, &mut rlp);
        if branch.depth == above {
            return self.hand_out(&path.slice(..above), &rlp);
        }
        let child = self.hand_out(&path.slice(..branch.depth), &rlp)?;
        rlp.clear();
        ExtensionNodeRef::new(&path.slice(above..branch.depth), &child).encode(&mut rlp);
        self.hand_out(&path.slice(..above), &rlp)
    }

    /// How the parent refers to a complete node.
    fn hand_out(&mut self, path: &Nibbles, rlp: &[u8]) -> Result<RlpNode, F> {
        let reference = if path.is_empty() { RlpNode::word_rlp(&keccak256(rlp)) } else { RlpNode::from_rlp(rlp) };
        if reference.as_hash().is_some() {
            (self.emit)(path, rlp)?;
        }
        Ok(reference)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, convert::Infallible};

    use alloy_primitives::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::trie::reference_trie;

    proptest! {
        #[test]
        fn root_and_nodes_equal_the_hash_builders(leaves in reference_trie::leaves(0..40)) {
            let mut nodes = BTreeMap::new();
            let mut builder = TrieBuilder::new(|path: &Nibbles, rlp: &[u8]| {
                assert_eq!(nodes.insert(*path, Bytes::copy_from_slice(rlp)), None, "a path is handed out once");
                Ok::<(), Infallible>(())
            });
            for (key, value) in &leaves {
                builder.add(key, value.clone()).unwrap();
            }
            prop_assert_eq!(builder.finish().unwrap(), reference_trie::root(&leaves));
            prop_assert_eq!(nodes, reference_trie::nodes(&leaves));
        }
    }

    #[test]
    #[should_panic(expected = "keys ascend")]
    fn keys_that_do_not_ascend_are_a_broken_promise() {
        let mut builder = TrieBuilder::new(|_: &Nibbles, _: &[u8]| Ok::<(), Infallible>(()));
        builder.add(&B256::repeat_byte(2), vec![1]).unwrap();
        builder.add(&B256::repeat_byte(2), vec![1]).unwrap();
    }
}
