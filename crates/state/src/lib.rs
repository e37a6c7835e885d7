//! What chain state is and how it changes, forwards and backwards.
//!
//! Everything that executes or stores blocks meets here. [`StateReader`] is what an executor needs from a state,
//! [`Changes`] is what a block did to it, and [`StateWriter`] takes those changes in. [`MemoryState`] implements both
//! over plain maps; [`Overlay`] stacks changes on a reader; [`Witness`] reads a state through the trie nodes that prove
//! it and computes the root that a block's changes lead to. Whoever keeps trie nodes finds in [`trie`] what keeps them
//! right.
//!
//! No disk, no EIP rule and no EVM lives here: an embedder with a database of its own implements the two traits and
//! needs nothing else from this crate.

pub mod trie;

mod account;
mod changes;
mod error;
mod memory;
mod overlay;
mod reader;

mod witness;
mod writer;

#[cfg(test)]
mod model;

pub use account::Account;
pub use changes::{AccountChange, Changes, SlotChange};
pub use error::StateError;
pub use memory::{Completeness, MemoryState};
pub use overlay::Overlay;
pub use reader::StateReader;
pub use witness::Witness;
pub use writer::{BlockCommit, StateStore, StateWriter};
