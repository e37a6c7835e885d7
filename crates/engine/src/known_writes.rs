//! What is known of a block before it runs: which transaction writes what.
//!
//! Whoever brought the block may have said so. Where a memory lies [over](crate::Memory::over) it, every read finds its value
//! there at once, below it the state before the block; so no transaction waits for another, and none is run twice. It may be
//! wrong: each transaction's [effects](crate::Effects::each_written) are to be compared with what was said of it.
//!
//! Nothing of it is entered into the memory. A key is looked for when it is named first, and its cell keeps where it was found;
//! what was said of it stays where it is, so that a read takes no lock.

use crate::{CellId, Position, Program};

/// Writes that are known before anything has run, those before and after the transactions included.
pub trait KnownWrites<P: Program>: Send + Sync {
    /// Where `key`, which has this cell, is among what is known, as a number of its own, below [`MOST_PLACES`]. `None` where
    /// nothing was said of it. Asked when the key is named first, by several threads perhaps.
    fn place(&self, key: &P::Key, cell: CellId) -> Option<u32>;

    /// What the writes below a position make of the key at a place.
    fn below(&self, place: u32, position: Position) -> Below<P::Value>;

    /// Makes the changes of all writes below a position to the value before the block, where [`below`](Self::below) says that
    /// there are some.
    fn change(&self, place: u32, position: Position, value: &mut P::Value);
}

/// Numbers that places may have.
pub const MOST_PLACES: u32 = u32::MAX - 2;

/// What the known writes below a position make of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Below<V> {
    /// There are none: it is what it was before the block.
    Nothing,
    /// This, whatever it was.
    Value(V),
    /// What they [change](KnownWrites::change) it to.
    Changes,
}
