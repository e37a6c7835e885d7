//! Who wrote what: questions about writes that the commit, access lists and what is learned from conflicts ask.

use super::{Estimates, Memory, Unresolved, Write};
use crate::{CellId, Delta, Position, Program, TxIndex};

impl<P: Program> Memory<P> {
    /// The transaction that wrote to a cell last below `position`, if one did.
    pub(crate) fn writer_below(&self, id: CellId, position: Position) -> Option<TxIndex> {
        let state = self.table.cell(id).state.0.lock();
        let below = state.versions().partition_point(|version| version.position < position);
        let speculative = below.checked_sub(1).map(|last| state.versions()[last].position);
        let writer = speculative.or_else(|| state.committed().map(|(at, _)| at))?;
        Some(TxIndex(writer.0.checked_sub(1)?))
    }

    /// Hands what a transaction's writes do to each key that it writes to `with`: its cell, its value below the transaction, and
    /// that with all of the writes made, in the order of first writes. `with` must leave the memory alone.
    pub(crate) fn each_written(
        &self,
        position: Position,
        writes: &[Write<P>],
        mut with: impl FnMut(CellId, &P::Value, P::Value),
    ) -> Result<(), Unresolved<P::Fault>> {
        let cleared = Self::cleared_by(writes);
        for (at, write) in writes.iter().enumerate() {
            if writes[..at].iter().any(|other| other.cell == write.cell) {
                continue;
            }
            let is_hidden = self.is_hidden(write.cell, &cleared);
            self.resolve(write.cell, position, Estimates::Take, |before, _| {
                let mut after = if is_hidden { P::hidden(self.key(write.cell)) } else { before.clone() };
                let own = writes[at..].iter().filter(|other| other.cell == write.cell);
                own.for_each(|own| own.delta.apply(&mut after));
                with(write.cell, before, after);
            })?;
        }
        Ok(())
    }
}
