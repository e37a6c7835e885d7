//! A memory over known writes: what a read finds there.
//!
//! The transactions of a run leave nothing in such a memory: what was said of them stands for what they wrote. Only what is
//! committed before and after them does, and nobody sees that but who goes on at the same position: for all others the known
//! writes say the same, or the block is wrong.

use super::{Cell, CellId, Memory, Unresolved};
use crate::{Below, KnownWrites, Position, Program};

impl<P: Program> Memory<P> {
    /// The same memory, which is still empty, over writes that are [known](KnownWrites). A run over it is to be told
    /// [so](crate::RunOptions::known_writes).
    #[must_use]
    pub fn over(mut self, known_writes: impl KnownWrites<P> + 'static) -> Self {
        self.known_writes = Some(Box::new(known_writes));
        self
    }

    /// Whether it lies over known writes.
    pub(crate) fn is_over_known_writes(&self) -> bool {
        self.known_writes.is_some()
    }

    /// Where the key of a cell is among the known writes.
    pub(crate) fn place(&self, id: CellId) -> Option<u32> {
        self.place_in(self.known_writes.as_deref()?, (id, self.table.cell(id)))
    }

    /// The same, and the value before the block, where somebody needed to know it.
    pub(crate) fn place_and_base(&self, id: CellId) -> (Option<u32>, Option<&P::Value>) {
        let cell = self.table.cell(id);
        let known = self.known_writes.as_deref();
        (known.and_then(|known| self.place_in(known, (id, cell))), cell.base.get())
    }

    fn place_in(&self, known: &dyn KnownWrites<P>, (id, cell): (CellId, &Cell<P>)) -> Option<u32> {
        cell.place(|| known.place(self.key(id), id))
    }

    /// Hands the value of a cell as of `position` to `with`, together with the count of its changes.
    pub(super) fn resolve_over<R>(
        &self,
        known: &dyn KnownWrites<P>,
        (id, cell): (CellId, &Cell<P>),
        position: Position,
        with: impl FnOnce(&P::Value, u32) -> R,
    ) -> Result<R, Unresolved<P::Fault>> {
        let changes = cell.changes();
        if changes > 0
            && let Some((at, value)) = cell.state.0.lock().committed()
            && at == position
        {
            return Ok(with(value, changes));
        }
        let Some(place) = self.place_in(known, (id, cell)) else {
            return Ok(with(self.base_value(id, cell)?, changes));
        };
        match known.below(place, position) {
            Below::Nothing => Ok(with(self.base_value(id, cell)?, changes)),
            Below::Value(value) => Ok(with(&value, changes)),
            Below::Changes => {
                let mut value = self.base_value(id, cell)?.clone();
                known.change(place, position, &mut value);
                Ok(with(&value, changes))
            }
        }
    }
}
