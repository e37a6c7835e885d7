//! Where a transaction stands, and which attempt of it is meant.

use std::fmt;

/// Position of a transaction in its block, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxIndex(pub u32);

/// The n-th execution attempt of one transaction, from 0 (Block-STM, arXiv:2203.06871).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u32);

/// Where in a block something stands: 0 before the first transaction, `i + 1` for transaction `i`, `n + 1` after the
/// last of `n` (the indices of EIP-7928).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u32);

impl TxIndex {
    /// The transaction's position.
    pub fn position(self) -> Position {
        Position(self.0 + 1)
    }

    /// The index as a subscript.
    pub fn at(self) -> usize {
        self.0 as usize
    }
}

impl Incarnation {
    /// The attempt after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for TxIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
