//! Base values are read once: who comes while somebody reads one waits for it.

use crate::{
    CellId, Program,
    cell::Cell,
    sync::{Condvar, Mutex, OnceLock},
};

/// Where those wait who need a base value that somebody reads. The cells know whether anybody does, so that there need not be a
/// place for each, and none at all before somebody waits.
#[derive(Debug, Default)]
pub(super) struct Fetches(OnceLock<Box<[Gate]>>);

/// Gates: so many that where reads are slow, few are woken by reads that they do not wait for. Tests have few.
const GATES: usize = if cfg!(test) { 2 } else { 256 };

/// One of those who wait is woken when what they wait for is over, and wakes the next when it goes: woken all at once, they would
/// wait for each other. Where some of them wait for something else, all are woken.
#[derive(Debug, Default)]
struct Gate {
    /// Who waits here, by the cell whose base value they wait for.
    waiting: Mutex<Vec<CellId>>,
    ended: Condvar,
}

impl Gate {
    /// Wakes whoever waits for a cell, now or by and by.
    fn wake(&self, waiting: &[CellId], id: CellId) {
        if waiting.iter().all(|other| *other == id) {
            self.ended.notify_one();
        } else {
            self.ended.notify_all();
        }
    }
}

/// A base value is being read. It ends when this is dropped, whatever came of it.
pub(super) struct Fetch<'a, P: Program> {
    fetches: &'a Fetches,
    /// `None` where nobody else could come.
    cell: Option<(CellId, &'a Cell<P>)>,
}

impl Fetches {
    fn gate(&self, id: CellId) -> &Gate {
        &self.0.get_or_init(|| (0..GATES).map(|_| Gate::default()).collect())[id.at() % GATES]
    }

    /// Begins to read the base value of a cell, once nobody else does. `None` when there is one then.
    pub(super) fn begin<'a, P: Program>(&'a self, id: CellId, cell: &'a Cell<P>, alone: bool) -> Option<Fetch<'a, P>> {
        if alone {
            return Some(Fetch { fetches: self, cell: None });
        }
        loop {
            if cell.front.begin_fetch() {
                let fetch = Fetch { fetches: self, cell: Some((id, cell)) };
                return cell.base.get().is_none().then_some(fetch);
            }
            let gate = self.gate(id);
            let mut waiting = gate.waiting.lock();
            waiting.push(id);
            while cell.front.await_fetch() {
                waiting = gate.ended.wait(waiting);
            }
            let own = waiting.iter().position(|other| *other == id).expect("it is still there");
            waiting.swap_remove(own);
            if waiting.contains(&id) {
                gate.wake(&waiting, id);
            }
            drop(waiting);
            if cell.base.get().is_some() {
                return None;
            }
        }
    }
}

impl<P: Program> Drop for Fetch<'_, P> {
    fn drop(&mut self) {
        if let Some((id, cell)) = self.cell
            && cell.front.end_fetch()
        {
            let gate = self.fetches.gate(id);
            // Whoever said that it waits has the lock until it does.
            gate.wake(&gate.waiting.lock(), id);
        }
    }
}
