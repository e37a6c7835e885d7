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
//!
//! Nodes are shared between clones and copied when they change, so that a clone costs nothing and two tries that grew
//! apart share everything else.
//!
//! A store that keeps nodes by path wants to know more than the root: see [`PartialTrie::recording_updates`]. A node
//! that stands by itself (it is referred to by hash, or is the root) and forgets its reference or leaves its place goes
//! on a list; so does each that gets a reference. What is on the first list and not on the second is no longer there.

mod tree;

use std::{collections::BTreeMap, mem, sync::Arc};

use alloy_primitives::{B256, Bytes, keccak256};
use alloy_trie::{EMPTY_ROOT_HASH, Nibbles, nodes::RlpNode};
use rayon::prelude::*;

use self::tree::{Child, Fresh, Node, Resolved};
use super::{
    NodeReader,
    node::{self, Place, Reference},
};
use crate::StateError;

/// Number of changed keys from which hashing is worth spreading over threads.
const PARALLEL_KEYS: usize = 64;

/// A trie that resolves its nodes from `R` when it needs them.
#[derive(Debug, Clone)]
pub(crate) struct PartialTrie<R> {
    source: Source<R>,
    root: Child,
    /// Keys inserted or removed since the root was last computed.
    changed_keys: usize,
    /// Nodes that got a reference, where updates are recorded.
    fresh: Fresh,
}

impl<R: NodeReader> PartialTrie<R> {
    /// The trie with this root hash: an account's storage trie, or the account trie where `account` is `None`.
    pub(crate) fn new(nodes: R, account: Option<B256>, root: B256) -> Self {
        let root = if root == EMPTY_ROOT_HASH { Child::Empty } else { Child::Unresolved(RlpNode::word_rlp(&root)) };
        Self { source: Source { nodes, account, stale: None }, root, changed_keys: 0, fresh: None }
    }

    /// The same trie, keeping note of the nodes that come and go: [`take_updates`](Self::take_updates) tells.
    pub(crate) fn recording_updates(mut self) -> Self {
        self.source.stale = Some(Vec::new());
        self.fresh = Some(Vec::new());
        self
    }

    /// What became of the nodes that stand by themselves, by path, since the last call: RLP, or `None` where a node is
    /// no longer there. Empty unless updates are recorded; complete once [`root`](Self::root) was computed.
    pub(crate) fn take_updates(&mut self) -> BTreeMap<Nibbles, Option<Bytes>> {
        let stale = self.source.stale.as_mut().map(mem::take).unwrap_or_default();
        let fresh = self.fresh.as_mut().map(mem::take).unwrap_or_default();
        let gone = stale.into_iter().map(|path| (path, None));
        gone.chain(fresh.into_iter().map(|(path, rlp)| (path, Some(rlp)))).collect()
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
            Removal::Vanishes => {
                self.source.leaves(&self.root, Place::root());
                self.root = Child::Empty;
            }
        }
        self.changed_keys += 1;
        Ok(())
    }

    /// RLP of the node that stands by itself at `path`: encoded where it is at hand, else as the source has it. The
    /// root must have been computed since the last change.
    pub(crate) fn node(&self, path: &Nibbles, hash: &B256) -> Result<Option<Bytes>, StateError> {
        let (mut child, mut place) = (&self.root, Place::root());
        while let Child::Resolved(resolved) = child {
            if place.path() == path {
                return Ok(Some(resolved.node.encode().into()));
            }
            let rest = place.rest_of(path);
            (child, place) = match &resolved.node {
                Node::Extension { prefix, child } if rest.starts_with(prefix) => (child, place.below_extension(prefix)),
                Node::Branch { children } if !rest.is_empty() => {
                    let nibble = rest.get_unchecked(0);
                    (&children[usize::from(nibble)], place.below_branch(nibble))
                }
                Node::Leaf { .. } | Node::Extension { .. } | Node::Branch { .. } => return Ok(None),
            };
        }
        self.source.nodes.node(self.source.account, path, hash)
    }

    /// The root hash of what the trie says now.
    ///
    /// Hashes on the rayon pool it is called from when many keys changed.
    pub(crate) fn root(&mut self) -> B256 {
        let many = mem::take(&mut self.changed_keys) >= PARALLEL_KEYS;
        let resolved = match &mut self.root {
            Child::Empty => return EMPTY_ROOT_HASH,
            Child::Unresolved(reference) => return node::root_hash(reference),
            Child::Resolved(resolved) => resolved,
        };
        if let Some(reference) = &resolved.reference {
            return node::root_hash(reference);
        }
        let resolved = Arc::make_mut(resolved);
        if let Node::Branch { children } = &mut resolved.node
            && many
        {
            settle_in_parallel(children, &mut self.fresh);
        }
        // The root is referred to by its hash however short it is.
        resolved.node.settle_children(&Nibbles::new(), &mut self.fresh);
        let rlp = Bytes::from(resolved.node.encode());
        let hash = keccak256(&rlp);
        resolved.reference = Some(RlpNode::word_rlp(&hash));
        if let Some(fresh) = &mut self.fresh {
            fresh.push((Nibbles::new(), rlp));
        }
        hash
    }
}

/// Computes the references of the root's children side by side.
fn settle_in_parallel(children: &mut [Child; 16], fresh: &mut Fresh) {
    let records = fresh.is_some();
    let settled = children.par_iter_mut().enumerate().map(|(nibble, child)| {
        let mut fresh = records.then(Vec::new);
        child.settle(&Nibbles::from_nibbles([nibble as u8]), &mut fresh);
        fresh.unwrap_or_default()
    });
    let settled: Vec<Vec<_>> = settled.collect();
    if let Some(fresh) = fresh {
        fresh.extend(settled.into_iter().flatten());
    }
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

/// Where one trie's nodes come from, and the changes that need them.
///
/// Apart from the tree, so that a node can be changed while others are looked up. Recursion goes one nibble or more
/// deeper each time, 64 times at most (T3).
#[derive(Debug, Clone)]
struct Source<R> {
    nodes: R,
    account: Option<B256>,
    /// Paths of nodes that stood by themselves and changed or left; `None` where nobody asks for them.
    stale: Option<Vec<Nibbles>>,
}

impl<R: NodeReader> Source<R> {
    /// Brings the node that `child` refers to at hand; `None` where there is none.
    fn resolve<'c>(&self, child: &'c mut Child, place: &Place) -> Result<Option<&'c mut Resolved>, StateError> {
        if let Child::Unresolved(reference) = child {
            let node = self.look_up(reference, place)?;
            let reference = Some(mem::take(reference));
            *child = Child::Resolved(Arc::new(Resolved { node, reference }));
        }
        match child {
            Child::Resolved(resolved) => Ok(Some(Arc::make_mut(resolved))),
            Child::Empty | Child::Unresolved(_) => Ok(None),
        }
    }

    /// Makes a changed node forget its reference.
    fn forget(&mut self, resolved: &mut Resolved, place: Place) {
        let reference = resolved.reference.take();
        self.outdate(reference.as_ref(), place);
    }

    /// Takes note that the node which `child` refers to leaves its place.
    fn leaves(&mut self, child: &Child, place: Place) {
        match child {
            Child::Empty => {}
            Child::Unresolved(reference) => self.outdate(Some(reference), place),
            Child::Resolved(resolved) => self.outdate(resolved.reference.as_ref(), place),
        }
    }

    fn outdate(&mut self, reference: Option<&RlpNode>, place: Place) {
        if let Some(stale) = &mut self.stale
            && reference.is_some_and(|reference| reference.as_hash().is_some())
        {
            stale.push(*place.path());
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
    fn insert(&mut self, child: &mut Child, place: Place, key: &Nibbles, value: Bytes) -> Result<bool, StateError> {
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
            self.forget(resolved, place);
        }
        Ok(changed)
    }

    fn remove(&mut self, child: &mut Child, place: Place, key: &Nibbles) -> Result<Removal, StateError> {
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
            self.forget(resolved, place);
        }
        Ok(removal)
    }

    /// Takes the child at `nibble` out of a branch, and the branch away where that leaves it a single child (T1).
    fn drop_child(&mut self, resolved: &mut Resolved, place: Place, nibble: u8) -> Result<Removal, StateError> {
        let Node::Branch { children } = &mut resolved.node else { return Ok(Removal::Nothing) };
        let mut siblings = (0u8..16).filter(|&at| at != nibble && !children[usize::from(at)].is_empty());
        let (Some(sibling), second) = (siblings.next(), siblings.next()) else { return Ok(Removal::Vanishes) };
        if second.is_some() {
            self.leaves(&mem::take(&mut children[usize::from(nibble)]), place.below_branch(nibble));
            return Ok(Removal::Changed);
        }
        let last = &mut children[usize::from(sibling)];
        let moves_up = self.resolve(last, &place.below_branch(sibling))?.is_some_and(|last| !last.node.is_branch());
        let gone = &children[usize::from(nibble)];
        self.leaves(gone, place.below_branch(nibble));
        let last = &mut children[usize::from(sibling)];
        if moves_up {
            self.leaves(last, place.below_branch(sibling));
        }
        resolved.node = Node::joined(Nibbles::from_nibbles([sibling]), mem::take(last));
        Ok(Removal::Changed)
    }
}

#[cfg(test)]
mod tests;
