//! How writes become part of the committed values.
//!
//! A write that was published stays where it is: once the frontier has passed its transaction, nobody takes it back, and every
//! reader sees it. So committing takes no look at it, which would be a look at lines of another core for each key. It is folded
//! into the value below it later: when the key is written by something that was never published, when it has many versions,
//! or when the memory is taken apart.

use super::{Cell, CellId, Estimates, Final, Memory, Unresolved, Write};
use crate::{Delta, Position, Program, cell::CellState, dirty::Dirty, sync::Ordering};

impl<P: Program> Memory<P> {
    /// Whether the base values are known that committing `writes` takes.
    pub(crate) fn is_prepared(&self, writes: &[Write<P>]) -> bool {
        writes.iter().all(|write| self.table.cell(write.cell).base.get().is_some())
    }

    /// Reads the base values that folding `writes` takes: what can fail comes before anybody hears of a commit.
    pub(crate) fn prepare(&self, position: Position, writes: &[Write<P>]) -> Result<(), Unresolved<P::Fault>> {
        let cleared = Self::cleared_by(writes);
        for write in writes.iter().filter(|write| self.table.cell(write.cell).base.get().is_none()) {
            if !self.is_hidden(write.cell, &cleared) {
                self.resolve(write.cell, position, Estimates::Take, |_, _| ())?;
            }
        }
        Ok(())
    }

    /// The cells that `writes` clear, ascending.
    pub(super) fn cleared_by(writes: &[Write<P>]) -> Vec<CellId> {
        let clears = writes.iter().filter(|write| write.delta.clears_shadowed());
        let mut cleared: Vec<_> = clears.map(|write| write.cell).collect();
        cleared.sort_unstable();
        cleared
    }

    /// Whether the shadow of the cell's key is among those that are cleared.
    pub(super) fn is_hidden(&self, cell: CellId, cleared: &[CellId]) -> bool {
        if cleared.is_empty() {
            return false;
        }
        self.shadow_of(cell).is_some_and(|shadow| cleared.binary_search(&shadow).is_ok())
    }

    /// Makes the writes of the lowest uncommitted transaction, which were not published, part of the committed values. Higher
    /// transactions that missed them are added to `dirty`.
    pub(crate) fn fold(
        &self,
        position: Position,
        writes: &[Write<P>],
        dirty: &mut Dirty,
    ) -> Result<(), Unresolved<P::Fault>> {
        let cleared = Self::cleared_by(writes);
        // Below it there may be writes that are merely known.
        let (plain, clears) = (self.known_writes.is_none(), self.clears.load(Ordering::Acquire));
        let was_hidden = |cell| self.is_hidden(cell, &cleared) || clears && self.cleared_shadow(cell).is_some();
        let alone = self.is_for_one_thread();
        for write in writes {
            // Only a key that nobody ever hid can be stepped where it is.
            let plain = plain && !was_hidden(write.cell);
            let value = if plain { None } else { Some(self.folded_value(position, &cleared, write)?) };
            let cell = self.announce(write);
            if plain && alone && cell.step(position, &write.delta, || self.base_value(write.cell, cell))? {
                continue;
            }
            cell.change(position, alone, dirty, |state, change, dirty| {
                // Who looked between two writes of one transaction to this key saw what never was.
                let again = state.committed().is_some_and(|(at, _)| at == position);
                change.add(1 + u32::from(again), write.delta.fields());
                match value {
                    Some(value) => {
                        state.drop_through(position);
                        state.set_committed(position, value);
                    }
                    None => {
                        if !state.versions().is_empty() {
                            state.fold_below(position, Some(self.base_value(write.cell, cell)?));
                            state.drop_through(position);
                        }
                        let mut value = match state.take_committed() {
                            Some(value) => value,
                            None => self.base_value(write.cell, cell)?.clone(),
                        };
                        write.delta.apply(&mut value);
                        state.set_committed(position, value);
                    }
                }
                if write.delta.clears_shadowed() {
                    state.set_cleared(position);
                }
                state.forget_top();
                state.collect_dirty(position, write.delta.fields(), dirty);
                Ok(())
            })?;
        }
        Ok(())
    }

    /// What a key holds after `write`, where clears have to be minded.
    fn folded_value(
        &self,
        position: Position,
        cleared: &[CellId],
        write: &Write<P>,
    ) -> Result<P::Value, Unresolved<P::Fault>> {
        // A clear hides what older transactions wrote, not what its own did: it counts as the first write. A key may be
        // written more than once by one transaction: the steps of the second start from the first.
        let is_hidden = || self.is_hidden(write.cell, cleared) && !self.is_folded(write.cell, position);
        // What is the same whatever was there takes no look at it.
        let is_absolute = || write.delta.is_absolute() && self.shadow_of(write.cell).is_some();
        let mut value = if is_absolute() || is_hidden() {
            P::hidden(self.key(write.cell))
        } else {
            self.resolve(write.cell, position, Estimates::Take, |value, _| value.clone())?
        };
        write.delta.apply(&mut value);
        Ok(value)
    }

    /// Whether the last committed write of a cell is that of the transaction at `position`.
    fn is_folded(&self, cell: CellId, position: Position) -> bool {
        self.table.cell(cell).state.0.lock().committed().is_some_and(|(at, _)| at == position)
    }

    /// Folds those versions of a cell that are committed, as far as that takes no look at others. Readers notice nothing.
    pub(super) fn fold_committed(&self, id: CellId, cell: &Cell<P>, state: &mut CellState<P>) {
        // In this order: whoever has passed a clear has been told of it before.
        let frontier = self.frontier();
        if !self.clears.load(Ordering::Acquire) || P::shadow(self.key(id)).is_none() {
            state.fold_below(frontier, cell.base.get());
        }
    }

    /// Hands every key that committed transactions wrote to `with`, in no particular order.
    pub fn for_each_committed(&self, mut with: impl FnMut(Final<'_, P>)) {
        let frontier = self.frontier();
        for (id, key, cell) in self.table.iter() {
            if !cell.is_written() {
                continue;
            }
            // Incarnations that a run left behind when it ended early are not committed.
            let cleared = self.latest_clear(id, frontier);
            let mut state = cell.state.0.lock().copied();
            state.fold_all(frontier, cleared, || P::hidden(key), cell.base.get());
            let Some((_, value)) = state.committed() else { continue };
            with(Final { key, base: cell.base.get(), value, cleared: state.cleared().is_some() });
        }
    }
}
