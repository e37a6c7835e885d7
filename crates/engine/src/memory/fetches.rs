//! Base values are read once: who comes while somebody reads one waits for it.

use crate::{
    Program,
    cell::Cell,
    sync::{Condvar, Mutex},
};

/// Where those wait who need a base value that somebody reads. That seldom happens, so there is one place for all cells, and
/// the cells know whether anybody is there.
#[derive(Debug, Default)]
pub(super) struct Fetches {
    gate: Mutex<()>,
    ended: Condvar,
}

/// A base value is being read. It ends when this is dropped, whatever came of it.
pub(super) struct Fetch<'a, P: Program> {
    fetches: &'a Fetches,
    /// `None` where nobody else could come.
    cell: Option<&'a Cell<P>>,
}

impl Fetches {
    /// Begins to read the base value of a cell, once nobody else does. `None` when there is one then.
    pub(super) fn begin<'a, P: Program>(&'a self, cell: &'a Cell<P>, alone: bool) -> Option<Fetch<'a, P>> {
        if alone {
            return Some(Fetch { fetches: self, cell: None });
        }
        loop {
            if cell.front.begin_fetch() {
                let fetch = Fetch { fetches: self, cell: Some(cell) };
                return cell.base.get().is_none().then_some(fetch);
            }
            let mut gate = self.gate.lock();
            while cell.front.await_fetch() {
                gate = self.ended.wait(gate);
            }
            drop(gate);
            if cell.base.get().is_some() {
                return None;
            }
        }
    }
}

impl<P: Program> Drop for Fetch<'_, P> {
    fn drop(&mut self) {
        if self.cell.is_some_and(|cell| cell.front.end_fetch()) {
            // Whoever said that it waits has the gate until it does.
            drop(self.fetches.gate.lock());
            self.fetches.ended.notify_all();
        }
    }
}
