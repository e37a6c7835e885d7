//! One trie node as bytes: judging what others sent, encoding what we made.
//!
//! Bytes become a node in two steps. [`decode`] checks what can be checked without knowing where the node stands: its
//! shape, its key, the form of its references. [`fits`] checks it against a [`Place`]: that it leads to keys of 64
//! nibbles and that its parent may have it as a child. A node that passed both can be walked without further care.

use alloy_primitives::B256;
use alloy_rlp::{Decodable, EMPTY_LIST_CODE, EMPTY_STRING_CODE, Header};
use alloy_trie::{
    Nibbles,
    nodes::{BranchNode, RlpNode, TrieNode},
};

use crate::StateError;

/// Number of nibbles in every key.
const KEY_NIBBLES: usize = 64;

/// Bytes of a hash; a node that is shorter stands inside its parent.
const HASH_BYTES: usize = 32;

/// Where a node stands: its path from the root, and what kind of node refers to it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    path: Nibbles,
    parent: Parent,
}

/// What refers to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parent {
    /// Nothing does: it is the root.
    Nothing,
    Branch,
    /// An extension's child is always a branch.
    Extension,
}

impl Place {
    /// The place of a trie's root.
    pub(crate) fn root() -> Self {
        Self { path: Nibbles::new(), parent: Parent::Nothing }
    }

    /// The place of the child that the branch here has at `nibble`.
    pub(crate) fn below_branch(mut self, nibble: u8) -> Self {
        self.path.push_unchecked(nibble);
        Self { path: self.path, parent: Parent::Branch }
    }

    /// The place of the child of the extension here. `prefix` ends above depth 64, as [`fits`] saw to.
    pub(crate) fn below_extension(mut self, prefix: &Nibbles) -> Self {
        self.path.extend(prefix);
        Self { path: self.path, parent: Parent::Extension }
    }

    /// Path from the root.
    pub(crate) fn path(&self) -> &Nibbles {
        &self.path
    }

    /// The part of `key` that is left from here on.
    pub(crate) fn rest_of(&self, key: &Nibbles) -> Nibbles {
        key.slice(self.path.len()..)
    }

    /// The error for a node that is needed here and not at hand.
    pub(crate) fn missing_node(&self, account: Option<B256>) -> StateError {
        StateError::MissingNode { account, path: self.path }
    }

    /// The error for bytes that are no node, or none that can stand here.
    pub(crate) fn malformed_node(&self, account: Option<B256>) -> StateError {
        StateError::MalformedNode { account, path: self.path }
    }
}

/// How a parent refers to its child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reference<'a> {
    /// By hash.
    Hash(B256),
    /// The child's own RLP stands in the parent.
    Inline(&'a [u8]),
}

/// Reads a reference.
pub(crate) fn reference(child: &RlpNode) -> Reference<'_> {
    match child.as_hash() {
        Some(hash) => Reference::Hash(hash),
        None => Reference::Inline(child),
    }
}

/// Decodes a node as far as that is possible without knowing its place; `None` where it is malformed at any place.
pub(crate) fn decode(mut rlp: &[u8]) -> Option<TrieNode> {
    let node = TrieNode::decode(&mut rlp).ok()?;
    let is_well_formed = match &node {
        TrieNode::EmptyRoot => false,
        TrieNode::Leaf(leaf) => !leaf.value.is_empty(),
        TrieNode::Extension(extension) => !extension.key.is_empty() && is_reference(&extension.child),
        TrieNode::Branch(branch) => branch.stack.len() >= 2 && branch.stack.iter().all(|child| is_reference(child)),
    };
    (is_well_formed && rlp.is_empty()).then_some(node)
}

/// Whether a decoded node can stand at `place`.
pub(crate) fn fits(node: &TrieNode, place: &Place) -> bool {
    let depth = place.path.len();
    match node {
        TrieNode::EmptyRoot => false,
        TrieNode::Leaf(leaf) => place.parent != Parent::Extension && depth + leaf.key.len() == KEY_NIBBLES,
        TrieNode::Extension(extension) => {
            place.parent != Parent::Extension && depth + extension.key.len() < KEY_NIBBLES
        }
        TrieNode::Branch(_) => depth < KEY_NIBBLES,
    }
}

/// Whether a node with this RLP may be referred to by hash: any other than the root must be too long to be embedded.
pub(crate) fn may_be_hashed(rlp: &[u8], place: &Place) -> bool {
    rlp.len() >= HASH_BYTES || place.parent == Parent::Nothing
}

/// The reference that a branch holds at `nibble`, if any.
pub(crate) fn branch_child(branch: &BranchNode, nibble: u8) -> Option<&RlpNode> {
    if !branch.state_mask.is_bit_set(nibble) {
        return None;
    }
    let below = branch.state_mask.get() & ((1 << nibble) - 1);
    branch.stack.get(below.count_ones() as usize)
}

/// The root's hash out of what refers to the root.
pub(super) fn root_hash(reference: &RlpNode) -> B256 {
    reference.as_hash().expect("a root is only ever referred to by hash")
}

/// What a branch holds where it has no child.
pub(super) fn no_child() -> RlpNode {
    RlpNode::from_rlp(&[EMPTY_STRING_CODE])
}

/// Appends the RLP of a branch with these 16 references.
pub(super) fn encode_branch(children: &[RlpNode], out: &mut Vec<u8>) {
    debug_assert_eq!(children.len(), 16, "a branch has 16 places");
    let payload_length = children.iter().map(|child| child.len()).sum::<usize>() + 1;
    Header { list: true, payload_length }.encode(out);
    children.iter().for_each(|child| out.extend_from_slice(child));
    out.push(EMPTY_STRING_CODE);
}

/// A reference is a 32-byte string (a hash) or a list shorter than that (an embedded node).
fn is_reference(rlp: &[u8]) -> bool {
    match rlp.first() {
        Some(&first) if first >= EMPTY_LIST_CODE => rlp.len() < HASH_BYTES,
        Some(&first) => usize::from(first) == usize::from(EMPTY_STRING_CODE) + HASH_BYTES,
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::hex;
    use alloy_trie::{
        TrieMask,
        nodes::{ExtensionNode, LeafNode},
    };

    use super::*;

    fn nibbles(count: usize) -> Nibbles {
        Nibbles::from_nibbles(vec![7; count])
    }

    fn hash(byte: u8) -> RlpNode {
        RlpNode::word_rlp(&B256::repeat_byte(byte))
    }

    fn at_depth(depth: usize) -> Place {
        Place { path: nibbles(depth), parent: Parent::Branch }
    }

    #[test]
    fn leaf_fits_only_where_its_key_has_64_nibbles() {
        let leaf = TrieNode::Leaf(LeafNode::new(nibbles(60), vec![1]));
        assert!(fits(&leaf, &at_depth(4)));
        assert!(!fits(&leaf, &at_depth(3)));
        assert!(!fits(&leaf, &at_depth(5)));
    }

    #[test]
    fn extension_leads_to_a_branch_and_never_to_another_extension_or_a_leaf() {
        let below = Place::root().below_extension(&nibbles(4));
        assert!(!fits(&TrieNode::Leaf(LeafNode::new(nibbles(60), vec![1])), &below));
        assert!(!fits(&TrieNode::Extension(ExtensionNode::new(nibbles(2), hash(1))), &below));
        assert!(fits(&TrieNode::Branch(BranchNode::new(vec![hash(1), hash(2)], TrieMask::new(3))), &below));
    }

    #[test]
    fn branch_does_not_fit_below_the_last_nibble() {
        let branch = TrieNode::Branch(BranchNode::new(vec![hash(1), hash(2)], TrieMask::new(3)));
        assert!(fits(&branch, &at_depth(63)));
        assert!(!fits(&branch, &at_depth(64)));
        let extension = TrieNode::Extension(ExtensionNode::new(nibbles(4), hash(1)));
        assert!(fits(&extension, &at_depth(59)));
        assert!(!fits(&extension, &at_depth(60)));
    }

    #[test]
    fn malformed_nodes_are_not_decoded() {
        let lonely_branch = alloy_rlp::encode(BranchNode::new(vec![hash(1)], TrieMask::new(1)));
        let empty_extension = alloy_rlp::encode(ExtensionNode::new(Nibbles::new(), hash(1)));
        let empty_leaf = alloy_rlp::encode(LeafNode::new(nibbles(4), vec![]));
        let odd_reference =
            alloy_rlp::encode(ExtensionNode::new(nibbles(4), RlpNode::from_raw(&hex!("83010203")).unwrap()));
        let mut trailing = alloy_rlp::encode(LeafNode::new(nibbles(4), vec![1]));
        assert!(decode(&trailing).is_some());
        trailing.push(0);
        let cases: [&[u8]; 8] = [
            &lonely_branch,
            &empty_extension,
            &empty_leaf,
            &odd_reference,
            &trailing,
            &[],
            &[EMPTY_STRING_CODE],
            &[0xff; 9],
        ];
        for rlp in cases {
            assert_eq!(decode(rlp), None, "{}", hex::encode(rlp));
        }
    }

    #[test]
    fn hash_and_embedded_node_are_the_only_references() {
        assert_eq!(reference(&hash(9)), Reference::Hash(B256::repeat_byte(9)));
        let leaf = RlpNode::from_rlp(&alloy_rlp::encode(LeafNode::new(nibbles(2), vec![1])));
        assert_eq!(reference(&leaf), Reference::Inline(&leaf));
        assert!(is_reference(&hash(9)) && is_reference(&leaf));
        // A list of 33 bytes is as long as a hash with its header, and is not one.
        let mut long = vec![EMPTY_LIST_CODE + 32];
        long.extend([1; 32]);
        assert!(!is_reference(&long));
    }

    #[test]
    fn branch_children_are_found_by_nibble() {
        let branch = BranchNode::new(vec![hash(3), hash(9), hash(15)], TrieMask::new(1 << 3 | 1 << 9 | 1 << 15));
        for nibble in 0..16 {
            let expected = [3, 9, 15].contains(&nibble).then(|| hash(nibble));
            assert_eq!(branch_child(&branch, nibble), expected.as_ref());
        }
        let mut ours = Vec::new();
        let references = (0..16).map(|nibble| branch_child(&branch, nibble).cloned().unwrap_or_else(no_child));
        encode_branch(&references.collect::<Vec<_>>(), &mut ours);
        assert_eq!(ours, alloy_rlp::encode(&branch));
    }
}
