//! What is known of a block before it runs.

use std::{fmt, ops::Range};

use super::{Cell, CellId, Memory, Version};
use crate::{Delta, Incarnation, Position, Program, dirty::Dirty};

/// Enters into a memory what one thread knows. Several threads may do so at once, each with a seeder of its own; cells of new
/// keys are made by the thread that brings them.
pub struct Seeder<'a, P: Program> {
    memory: &'a Memory<P>,
    /// Ids that are its own to give out.
    ids: Range<u32>,
}

impl<P: Program> Memory<P> {
    /// A seeder of this memory.
    pub fn seeder(&self) -> Seeder<'_, P> {
        Seeder { memory: self, ids: 0..0 }
    }
}

impl<'a, P: Program> Seeder<'a, P> {
    fn cell(&mut self, key: &P::Key) -> (CellId, &'a Cell<P>) {
        let id = self.memory.table.intern_own(key, &mut self.ids);
        (id, self.memory.table.cell(id))
    }

    /// Records the value of `key` before the block, so that the base state is not asked for it. Does nothing where the
    /// value is known already.
    pub fn preload(&mut self, key: &P::Key, value: P::Value) {
        // Whoever comes second brings the same value: a base state is a snapshot.
        let _ = self.cell(key).1.base.set(value);
    }

    /// Makes what the transaction at `position` is said to write visible to all higher positions before anything has
    /// run. A run over it is to be told that it is [seeded](crate::RunOptions::seeded).
    ///
    /// Where many transactions write one key, the deltas had better be [absolute](Delta::is_absolute), so that a reader looks
    /// no further down than the first, and come at once and in order.
    ///
    /// `base` is the key's value before the block, as for [`preload`](Self::preload), where it is known.
    pub fn seed(
        &mut self,
        key: &P::Key,
        base: Option<P::Value>,
        writes: impl IntoIterator<Item = (Position, P::Delta)>,
    ) {
        let (id, cell) = self.cell(key);
        base.map(|base| cell.base.set(base));
        let mut clears = false;
        // Nobody reads yet.
        cell.change(Position(0), true, &mut Dirty::default(), |state, change, _| {
            for (position, delta) in writes {
                clears |= delta.clears_shadowed();
                state.seed(Version { position, incarnation: Incarnation(0), estimate: false, delta });
                change.add(1, 0);
            }
        });
        if clears {
            self.memory.note_clear(id, cell);
        }
    }
}

impl<P: Program> fmt::Debug for Seeder<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seeder").finish_non_exhaustive()
    }
}
