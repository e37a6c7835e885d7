//! Base values that are known before anybody asks for them.

use std::{fmt, ops::Range};

use super::Memory;
use crate::Program;

/// Enters into a memory what one thread has read ahead. Several threads may do so at once, each with a preloader of its own;
/// cells of new keys are made by the thread that brings them.
pub struct Preloader<'a, P: Program> {
    memory: &'a Memory<P>,
    /// Ids that are its own to give out.
    ids: Range<u32>,
}

impl<P: Program> Memory<P> {
    /// A preloader of this memory.
    pub fn preloader(&self) -> Preloader<'_, P> {
        Preloader { memory: self, ids: 0..0 }
    }
}

impl<P: Program> Preloader<'_, P> {
    /// Records the value of `key` before the block, so that the base state is not asked for it. Does nothing where the
    /// value is known already.
    pub fn preload(&mut self, key: &P::Key, value: P::Value) {
        let id = self.memory.table.intern_own(key, &mut self.ids);
        // Whoever comes second brings the same value: a base state is a snapshot.
        let _ = self.memory.table.cell(id).base.set(value);
    }
}

impl<P: Program> fmt::Debug for Preloader<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Preloader").finish_non_exhaustive()
    }
}
