//! A trie of which only some nodes are at hand.
//!
//! It starts as nothing but a root hash. Reading or changing a key resolves the nodes along its path, one lookup each;
//! everything beside the path stays a reference. A changed node forgets the reference it was known by, and so do the
//! nodes above it, so that computing the root encodes each changed node once and nothing else.
//!
//! What the shape of a trie promises, and every change keeps:
//!
//! - T1 A branch has at least two children.
//! - T2 An extension has a prefix that is not empty, and its child is a branch.
//! - T3 A path from the root to a leaf has 64 nibbles.
//! - T4 A node that knows its reference is what the reference says.
//!
//! Removing a key can leave a branch with one child (T1). The child then takes the branch's place, and what it looks
//! like depends on what it is: it has to be resolved, even though no key below it changed. That lookup is the only one
//! outside the path of a key; a source without that node makes the removal fail with its path. It comes before the
//! first change to the trie, so a change that fails leaves the trie saying what it said.

use std::mem;

use alloy_primitives::{B256, Bytes};
use alloy_rlp::Encodable;
use alloy_trie::{
    EMPTY_ROOT_HASH, Nibbles,
    nodes::{ExtensionNodeRef, LeafNodeRef, RlpNode, TrieNode},
};
use rayon::prelude::*;

use super::{
    NodeReader,
    node::{self, Place, Reference},
};
use crate::StateError;

/// Number of changed keys from which hashing is worth spreading over threads.
const PARALLEL_KEYS: usize = 64;

/// A trie that resolves its nodes from `R` when it needs them.
#[derive(Debug)]
pub(crate) struct PartialTrie<R> {
    source: Source<R>,
    root: Child,
    /// Keys inserted or removed since the root was last computed.
    changed_keys: usize,
}

impl<R: NodeReader> PartialTrie<R> {
    /// The trie with this root hash: an account's storage trie, or the account trie where `account` is `None`.
    pub(crate) fn new(nodes: R, account: Option<B256>, root: B256) -> Self {
        let root = if root == EMPTY_ROOT_HASH { Child::Empty } else { Child::Unresolved(RlpNode::word_rlp(&root)) };
        Self { source: Source { nodes, account }, root, changed_keys: 0 }
    }

    /// The value stored under `key`, `None` where the trie proves that there is none.
    ///
    /// # Errors
    /// [`StateError::MissingNode`] or [`StateError::MalformedNode`] on the way to the key, or the source's own error.
    pub(crate) fn get(&mut self, key: &B256) -> Result<Option<&Bytes>, StateError> {
        let key = Nibbles::unpack_array(&key.0);
        let (mut child, mut place) = (&mut self.root, Place::root());
        loop {
            let Some(resolved) = self.source.resolve(child, &place)? else { return Ok(None) };
            let rest = place.rest_of(&key);
            (child, place) = match &mut resolved.node {
                Node::Leaf { suffix, value } => return Ok((*suffix == rest).then_some(&*value)),
                Node::Extension { prefix, .. } if !rest.starts_with(prefix) => return Ok(None),
                Node::Extension { prefix, child } => (child, place.below_extension(prefix)),
                Node::Branch { children } => {
                    let nibble = rest.get_unchecked(0);
                    (&mut children[usize::from(nibble)], place.below_branch(nibble))
                }
            };
        }
    }

    /// Stores `value`, which must not be empty, under `key`.
    ///
    /// # Errors
    /// As [`get`](Self::get). The trie then says what it said before.
    pub(crate) fn insert(&mut self, key: &B256, value: Bytes) -> Result<(), StateError> {
        debug_assert!(!value.is_empty(), "an empty value is a removal");
        let key = Nibbles::unpack_array(&key.0);
        let changed = self.source.insert(&mut self.root, Place::root(), &key, value)?;
        self.changed_keys += usize::from(changed);
        Ok(())
    }

    /// Removes whatever is stored under `key`.
    ///
    /// # Errors
    /// As [`get`](Self::get), and [`StateError::MissingNode`] for the last sibling of what is removed, where that takes
    /// the place of their branch. The trie then says what it said before.
    pub(crate) fn remove(&mut self, key: &B256) -> Result<(), StateError> {
        let key = Nibbles::unpack_array(&key.0);
        match self.source.remove(&mut self.root, Place::root(), &key)? {
            Removal::Nothing => return Ok(()),
            Removal::Changed => {}
            Removal::Vanishes => self.root = Child::Empty,
        }
        self.changed_keys += 1;
        Ok(())
    }

    /// The root hash of what the trie says now.
    ///
    /// Hashes on the rayon pool it is called from when many keys changed.
    pub(crate) fn root(&mut self) -> B256 {
        let many = mem::take(&mut self.changed_keys) >= PARALLEL_KEYS;
        let resolved = match &mut self.root {
            Child::Empty => return EMPTY_ROOT_HASH,
            Child::Unresolved(reference) => return root_hash(reference),
            Child::Resolved(resolved) => resolved,
        };
        if let Some(reference) = &resolved.reference {
            return root_hash(reference);
        }
        if let Node::Branch { children } = &mut resolved.node
            && many
        {
            children.par_iter_mut().for_each(Child::settle);
        }
        // The root is referred to by its hash however short it is.
        let hash = alloy_primitives::keccak256(resolved.node.encode());
        resolved.reference = Some(RlpNode::word_rlp(&hash));
        hash
    }
}

fn root_hash(reference: &RlpNode) -> B256 {
    reference.as_hash().expect("a root is only ever referred to by hash")
}

/// What a branch, an extension or the root refers to.
#[derive(Debug, Default)]
enum Child {
    /// No key has this prefix.
    #[default]
    Empty,
    /// A node that has not been looked at.
    Unresolved(RlpNode),
    /// A node at hand.
    Resolved(Box<Resolved>),
}

/// A node at hand.
#[derive(Debug)]
struct Resolved {
    node: Node,
    /// What the parent holds for this node; `None` when it, or a node below, changed since that was computed (T4).
    reference: Option<RlpNode>,
}

#[derive(Debug)]
enum Node {
    Leaf { suffix: Nibbles, value: Bytes },
    Extension { prefix: Nibbles, child: Child },
    Branch { children: Box<[Child; 16]> },
}

/// What removing a key does to the node it was looked for in.
enum Removal {
    /// The key is not there.
    Nothing,
    /// The key is gone, and the node stands for what is left.
    Changed,
    /// The key is all that the node holds: whoever refers to the node is to drop it. The node itself is untouched.
    Vanishes,
}

impl Child {
    fn changed(node: Node) -> Self {
        Self::Resolved(Box::new(Resolved { node, reference: None }))
    }

    fn leaf(suffix: Nibbles, value: Bytes) -> Self {
        Self::changed(Node::Leaf { suffix, value })
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// What the parent holds for this child, computed where it changed.
    fn reference(&mut self) -> RlpNode {
        self.settle();
        match self {
            Self::Empty => node::no_child(),
            Self::Unresolved(reference) => reference.clone(),
            Self::Resolved(resolved) => resolved.reference.clone().expect("a settled node knows its reference"),
        }
    }

    /// Computes the references that changes made the nodes forget, from here on down.
    fn settle(&mut self) {
        if let Self::Resolved(resolved) = self
            && resolved.reference.is_none()
        {
            resolved.reference = Some(RlpNode::from_rlp(&resolved.node.encode()));
        }
    }
}

impl Node {
    /// RLP of the node; references of changed children are computed on the way.
    fn encode(&mut self) -> Vec<u8> {
        let mut rlp = Vec::with_capacity(128);
        match self {
            Self::Leaf { suffix, value } => LeafNodeRef::new(suffix, value).encode(&mut rlp),
            Self::Extension { prefix, child } => ExtensionNodeRef::new(prefix, &child.reference()).encode(&mut rlp),
            Self::Branch { children } => node::encode_branch(&children.each_mut().map(Child::reference), &mut rlp),
        }
        rlp
    }

    /// The node that stands for `prefix` followed by `child`, which is resolved and not empty (T2).
    fn joined(mut prefix: Nibbles, child: Child) -> Self {
        let Child::Resolved(resolved) = child else { return Self::Extension { prefix, child } };
        match resolved.node {
            Self::Leaf { suffix, value } => {
                prefix.extend(&suffix);
                Self::Leaf { suffix: prefix, value }
            }
            Self::Extension { prefix: rest, child } => {
                prefix.extend(&rest);
                Self::Extension { prefix, child }
            }
            node @ Self::Branch { .. } => {
                let branch = Resolved { node, reference: resolved.reference };
                Self::Extension { prefix, child: Child::Resolved(Box::new(branch)) }
            }
        }
    }

    /// A node as decoded, its children unresolved; `None` for the empty trie, which is no node.
    fn from_decoded(node: TrieNode) -> Option<Self> {
        match node {
            TrieNode::EmptyRoot => None,
            TrieNode::Leaf(leaf) => Some(Self::Leaf { suffix: leaf.key, value: leaf.value.into() }),
            TrieNode::Extension(extension) => {
                Some(Self::Extension { prefix: extension.key, child: Child::Unresolved(extension.child) })
            }
            TrieNode::Branch(branch) => {
                let mut children = Box::<[Child; 16]>::default();
                for (nibble, child) in branch.state_mask.iter().zip(branch.stack) {
                    children[usize::from(nibble)] = Child::Unresolved(child);
                }
                Some(Self::Branch { children })
            }
        }
    }

    /// The node that a leaf or an extension with this `path` becomes when a key turns off inside the path.
    ///
    /// `rest` is what is left of the key there. `below` makes the child for what is left of `path` after the fork.
    fn forked(path: &Nibbles, below: impl FnOnce(Nibbles) -> Child, rest: &Nibbles, value: Bytes) -> Self {
        let common = path.common_prefix_length(rest);
        let mut children = Box::<[Child; 16]>::default();
        children[usize::from(path.get_unchecked(common))] = below(path.slice(common + 1..));
        children[usize::from(rest.get_unchecked(common))] = Child::leaf(rest.slice(common + 1..), value);
        let branch = Self::Branch { children };
        if common == 0 {
            return branch;
        }
        Self::Extension { prefix: path.slice(..common), child: Child::changed(branch) }
    }
}

/// Where one trie's nodes come from, and the changes that need them.
///
/// Apart from the tree, so that a node can be changed while others are looked up. Recursion goes one nibble or more
/// deeper each time, 64 times at most (T3).
#[derive(Debug)]
struct Source<R> {
    nodes: R,
    account: Option<B256>,
}

impl<R: NodeReader> Source<R> {
    /// Brings the node that `child` refers to at hand; `None` where there is none.
    fn resolve<'c>(&self, child: &'c mut Child, place: &Place) -> Result<Option<&'c mut Resolved>, StateError> {
        if let Child::Unresolved(reference) = child {
            let node = self.look_up(reference, place)?;
            let reference = Some(mem::take(reference));
            *child = Child::Resolved(Box::new(Resolved { node, reference }));
        }
        match child {
            Child::Resolved(resolved) => Ok(Some(resolved)),
            Child::Empty | Child::Unresolved(_) => Ok(None),
        }
    }

    fn look_up(&self, reference: &RlpNode, place: &Place) -> Result<Node, StateError> {
        let decoded = match node::reference(reference) {
            Reference::Inline(rlp) => node::decode(rlp),
            Reference::Hash(hash) => {
                let rlp = self.nodes.node(self.account, place.path(), &hash)?;
                let rlp = rlp.ok_or_else(|| place.missing_node(self.account))?;
                node::decode(&rlp).filter(|_| node::may_be_hashed(&rlp, place))
            }
        };
        let fitting = decoded.filter(|node| node::fits(node, place));
        fitting.and_then(Node::from_decoded).ok_or_else(|| place.malformed_node(self.account))
    }

    /// Whether storing `value` under `key` made a difference.
    fn insert(&self, child: &mut Child, place: Place, key: &Nibbles, value: Bytes) -> Result<bool, StateError> {
        let rest = place.rest_of(key);
        let Some(resolved) = self.resolve(child, &place)? else {
            *child = Child::leaf(rest, value);
            return Ok(true);
        };
        let changed = match &mut resolved.node {
            Node::Branch { children } => {
                let nibble = rest.get_unchecked(0);
                self.insert(&mut children[usize::from(nibble)], place.below_branch(nibble), key, value)?
            }
            Node::Extension { prefix, child } if rest.starts_with(prefix) => {
                self.insert(child, place.below_extension(prefix), key, value)?
            }
            Node::Extension { prefix, child } => {
                let (prefix, child) = (*prefix, mem::take(child));
                // The branch below moves up into the fork when nothing of the prefix is left above it.
                let below = |rest: Nibbles| {
                    if rest.is_empty() { child } else { Child::changed(Node::Extension { prefix: rest, child }) }
                };
                resolved.node = Node::forked(&prefix, below, &rest, value);
                true
            }
            Node::Leaf { suffix, value: old } if *suffix == rest => {
                let changed = *old != value;
                *old = value;
                changed
            }
            Node::Leaf { suffix, value: old } => {
                let (suffix, old) = (*suffix, mem::take(old));
                resolved.node = Node::forked(&suffix, |rest| Child::leaf(rest, old), &rest, value);
                true
            }
        };
        if changed {
            resolved.reference = None;
        }
        Ok(changed)
    }

    fn remove(&self, child: &mut Child, place: Place, key: &Nibbles) -> Result<Removal, StateError> {
        let Some(resolved) = self.resolve(child, &place)? else { return Ok(Removal::Nothing) };
        let rest = place.rest_of(key);
        let removal = match &mut resolved.node {
            Node::Leaf { suffix, .. } if *suffix == rest => Removal::Vanishes,
            Node::Leaf { .. } => Removal::Nothing,
            Node::Extension { prefix, child } if rest.starts_with(prefix) => {
                let removal = self.remove(child, place.below_extension(prefix), key)?;
                if matches!(removal, Removal::Changed) {
                    resolved.node = Node::joined(*prefix, mem::take(child));
                }
                removal
            }
            Node::Extension { .. } => Removal::Nothing,
            Node::Branch { children } => {
                let nibble = rest.get_unchecked(0);
                match self.remove(&mut children[usize::from(nibble)], place.below_branch(nibble), key)? {
                    Removal::Vanishes => self.drop_child(resolved, place, nibble)?,
                    removal => removal,
                }
            }
        };
        if matches!(removal, Removal::Changed) {
            resolved.reference = None;
        }
        Ok(removal)
    }

    /// Takes the child at `nibble` out of a branch, and the branch away where that leaves it a single child (T1).
    fn drop_child(&self, resolved: &mut Resolved, place: Place, nibble: u8) -> Result<Removal, StateError> {
        let Node::Branch { children } = &mut resolved.node else { return Ok(Removal::Nothing) };
        let mut siblings = (0u8..16).filter(|&at| at != nibble && !children[usize::from(at)].is_empty());
        let (Some(sibling), second) = (siblings.next(), siblings.next()) else { return Ok(Removal::Vanishes) };
        if second.is_some() {
            children[usize::from(nibble)] = Child::Empty;
            return Ok(Removal::Changed);
        }
        let last = &mut children[usize::from(sibling)];
        self.resolve(last, &place.below_branch(sibling))?;
        resolved.node = Node::joined(Nibbles::from_nibbles([sibling]), mem::take(last));
        Ok(Removal::Changed)
    }
}

#[cfg(test)]
mod tests;
