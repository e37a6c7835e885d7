//! The nodes of a trie that is known in part, and what they are in bytes.

use std::sync::Arc;

use alloy_primitives::Bytes;
use alloy_rlp::Encodable;
use alloy_trie::{
    Nibbles,
    nodes::{ExtensionNodeRef, LeafNodeRef, RlpNode, TrieNode},
};

use crate::trie::node;

/// Path and RLP of nodes that got a reference by hash; `None` where nobody asks for them.
pub(super) type Fresh = Option<Vec<(Nibbles, Bytes)>>;

/// What a branch, an extension or the root refers to.
#[derive(Debug, Clone, Default)]
pub(super) enum Child {
    /// No key has this prefix.
    #[default]
    Empty,
    /// A node that has not been looked at.
    Unresolved(RlpNode),
    /// A node at hand.
    Resolved(Arc<Resolved>),
}

/// A node at hand.
#[derive(Debug, Clone)]
pub(super) struct Resolved {
    pub(super) node: Node,
    /// What the parent holds for this node; `None` when it, or a node below, changed since that was computed (T4).
    pub(super) reference: Option<RlpNode>,
}

#[derive(Debug, Clone)]
pub(super) enum Node {
    Leaf { suffix: Nibbles, value: Bytes },
    Extension { prefix: Nibbles, child: Child },
    Branch { children: Box<[Child; 16]> },
}

impl Child {
    pub(super) fn changed(node: Node) -> Self {
        Self::Resolved(Arc::new(Resolved { node, reference: None }))
    }

    pub(super) fn leaf(suffix: Nibbles, value: Bytes) -> Self {
        Self::changed(Node::Leaf { suffix, value })
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// What the parent holds for this child, which is settled.
    pub(super) fn reference(&self) -> RlpNode {
        match self {
            Self::Empty => node::no_child(),
            Self::Unresolved(reference) => reference.clone(),
            Self::Resolved(resolved) => resolved.reference.clone().expect("a settled node knows its reference"),
        }
    }

    /// Computes the references that changes made the nodes forget, from here on down.
    pub(super) fn settle(&mut self, path: &Nibbles, fresh: &mut Fresh) {
        if let Self::Resolved(resolved) = self
            && resolved.reference.is_none()
        {
            let resolved = Arc::make_mut(resolved);
            resolved.node.settle_children(path, fresh);
            let rlp = resolved.node.encode();
            let reference = RlpNode::from_rlp(&rlp);
            if let Some(fresh) = fresh
                && reference.as_hash().is_some()
            {
                fresh.push((*path, rlp.into()));
            }
            resolved.reference = Some(reference);
        }
    }
}

impl Node {
    pub(super) fn is_branch(&self) -> bool {
        matches!(self, Self::Branch { .. })
    }

    /// Settles what this node, which stands at `path`, refers to.
    pub(super) fn settle_children(&mut self, path: &Nibbles, fresh: &mut Fresh) {
        match self {
            Self::Leaf { .. } => {}
            Self::Extension { prefix, child } => child.settle(&path.join(prefix), fresh),
            Self::Branch { children } => {
                for (nibble, child) in (0u8..).zip(children.iter_mut()) {
                    child.settle(&path.join(&Nibbles::from_nibbles([nibble])), fresh);
                }
            }
        }
    }

    /// RLP of the node, whose children are settled.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut rlp = Vec::with_capacity(128);
        match self {
            Self::Leaf { suffix, value } => LeafNodeRef::new(suffix, value).encode(&mut rlp),
            Self::Extension { prefix, child } => ExtensionNodeRef::new(prefix, &child.reference()).encode(&mut rlp),
            Self::Branch { children } => node::encode_branch(&children.each_ref().map(Child::reference), &mut rlp),
        }
        rlp
    }

    /// The node that stands for `prefix` followed by `child`, which is resolved and not empty (T2).
    pub(super) fn joined(mut prefix: Nibbles, child: Child) -> Self {
        let Child::Resolved(resolved) = child else { return Self::Extension { prefix, child } };
        let resolved = Arc::unwrap_or_clone(resolved);
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
                Self::Extension { prefix, child: Child::Resolved(Arc::new(branch)) }
            }
        }
    }

    /// A node as decoded, its children unresolved; `None` for the empty trie, which is no node.
    pub(super) fn from_decoded(node: TrieNode) -> Option<Self> {
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
    pub(super) fn forked(path: &Nibbles, below: impl FnOnce(Nibbles) -> Child, rest: &Nibbles, value: Bytes) -> Self {
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
