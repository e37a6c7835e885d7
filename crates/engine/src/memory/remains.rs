//! What is left of a memory when its block is over.
//!
//! Most of what a look at a cell costs is waiting for its cache lines. Shared cells have locks, and a lock makes the next cell
//! wait for this one; so the memory is given up first, and its cells are gone through as what they are: nobody else's.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::Memory;
use crate::{Engine, Position, Program, cell::Cell, sync::Mutex, table::Entry};

/// What became of one key that somebody named.
#[derive(Debug)]
pub struct Remnant<'a, P: Program> {
    /// The key.
    pub key: &'a P::Key,
    /// Its value before the block; `None` where nobody needed to know it.
    pub base: Option<P::Value>,
    /// Its value after the last committed transaction, where one wrote it.
    pub value: Option<P::Value>,
}

/// A part of what is left.
#[derive(Debug)]
pub struct Remains<'a, P: Program> {
    cells: Vec<&'a mut [Entry<P::Key, Cell<P>>]>,
    /// Keys that were cleared, and when.
    clears: &'a HashMap<P::Key, Position, RandomState>,
    /// What was written below is committed.
    frontier: Position,
}

impl<P: Program> Remains<'_, P> {
    /// Keys of the part.
    pub fn cells(&self) -> usize {
        self.cells.iter().map(|cells| cells.len()).sum()
    }

    /// Hands every key of the part to `with`, in no particular order.
    pub fn for_each(self, mut with: impl FnMut(Remnant<'_, P>)) {
        for entry in self.cells.into_iter().flatten() {
            let Some((key, cell)) = entry.taken() else { continue };
            let base = cell.base.take();
            if !cell.is_written() {
                with(Remnant { key, base, value: None });
                continue;
            }
            let state = cell.state.0.get_mut();
            let hides = || self.clears.get(&P::shadow(key)?).copied();
            let clear = if self.clears.is_empty() { None } else { hides() };
            state.fold_all(self.frontier, clear, || P::hidden(key), base.as_ref());
            with(Remnant { key, base, value: state.take_committed() });
        }
    }
}

impl<P: Program> Memory<P> {
    /// Takes the memory apart on the engine's threads: a part of it to each, but none of less than `least` keys. Returns what
    /// came of the parts, in order, when all of it is freed.
    ///
    /// # Panics
    /// When `work` does.
    pub fn take_apart<T: Send>(
        mut self,
        engine: &Engine,
        least: usize,
        work: impl Fn(Remains<'_, P>) -> T + Sync,
    ) -> Vec<T> {
        let frontier = self.frontier();
        let mut clears = HashMap::default();
        for id in std::mem::take(self.cleared.get_mut()) {
            let cleared = self.table.cell(id).state.0.lock().cleared_below(frontier);
            clears.extend(cleared.map(|at| (self.key(id).clone(), at)));
        }
        let parts = engine.parts(self.table.len(), least);
        if parts == 1 {
            let cells = self.table.parts_mut(1).pop().unwrap_or_default();
            return vec![work(Remains { cells, clears: &clears, frontier })];
        }
        let cells = self.table.parts_mut(parts);
        let parts: Vec<_> =
            cells.into_iter().map(|cells| Mutex::new(Some(Remains { cells, clears: &clears, frontier }))).collect();
        let results = engine.in_parts(parts.len(), 1, |range| -> Vec<T> {
            let taken = parts[range].iter().filter_map(|part| part.lock().take());
            taken.map(&work).collect()
        });
        drop(parts);
        self.table.free(engine);
        results.into_iter().flatten().collect()
    }

    /// Frees the memory on the engine's threads.
    pub fn give_up(self, engine: &Engine) {
        self.table.free(engine);
    }

    /// Keys that somebody has named so far.
    pub fn cells(&self) -> usize {
        self.table.len()
    }

    /// The keys by the numbers of their cells; where a number was not given out in the end, that of another key.
    pub fn keys(&self) -> Vec<P::Key> {
        let mut keys: Vec<P::Key> = Vec::with_capacity(self.table.len());
        for (id, key, _) in self.table.iter() {
            keys.resize(id.at() + 1, key.clone());
        }
        keys
    }
}
