//! Whether what an attempt observed is true of the values that its position sees.

use super::{Estimates, Memory, Read, Unresolved, Write};
use crate::{CellId, Delta, Fields, Observation, Position, Program, cell::Reader, sync::Ordering};

/// What was found not to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// The key, where it is known.
    pub(crate) cell: Option<CellId>,
    /// Fields of it.
    pub(crate) fields: Fields,
}

impl<P: Program> Memory<P> {
    /// Whether everything that an attempt relied upon holds as of `position`, and its steps fit: `None`, or what was found
    /// wrong first.
    pub(crate) fn validate(
        &self,
        position: Position,
        reads: &[Read<P>],
        writes: &[Write<P>],
    ) -> Result<Option<Wrong>, Unresolved<P::Fault>> {
        // What a clear hides is not counted as a change of what it hides.
        let clears = self.clears.load(Ordering::Acquire);
        for read in reads {
            if !clears && self.table.cell(read.cell).changes.load(Ordering::Acquire) == read.seen {
                continue;
            }
            let judge = |value: &P::Value, _| match read.observation.holds(value) {
                true => None,
                false => Some(failing(&read.observation, value)),
            };
            if let Some(fields) = self.resolve(read.cell, position, Estimates::Take, judge)? {
                return Ok(Some(Wrong { cell: Some(read.cell), fields }));
            }
        }
        for (at, write) in writes.iter().enumerate().filter(|(_, write)| write.delta.is_bounded()) {
            // A step starts from what the attempt's own steps before it lead to.
            let mut before = writes[..at].iter().filter(|other| other.cell == write.cell).peekable();
            let fits = |value: &P::Value, _| {
                if before.peek().is_none() {
                    return write.delta.fits(value);
                }
                let mut value = value.clone();
                before.for_each(|other| other.delta.apply(&mut value));
                write.delta.fits(&value)
            };
            if !self.resolve(write.cell, position, Estimates::Take, fits)? {
                return Ok(Some(Wrong { cell: Some(write.cell), fields: write.delta.fields() }));
            }
        }
        Ok(None)
    }

    /// Notes who observed what, and tells whether an observation already fails. From here on, every write that may
    /// make one fail names the transaction in its dirty list, save one that clears a shadow: readers of the shadowed
    /// keys are not known to it, and are found wrong at their commit.
    pub(crate) fn register(&self, position: Position, reads: &[Read<P>]) -> Result<bool, Unresolved<P::Fault>> {
        let frontier = self.frontier();
        let clears = self.clears.load(Ordering::Acquire);
        let mut holds = true;
        for read in reads {
            let changed = {
                let mut state = self.table.cell(read.cell).state.lock();
                state.add_reader(Reader { position, fields: read.observation.fields() }, frontier);
                state.changes != read.seen
            };
            if holds && (changed || clears) {
                holds = self.resolve(read.cell, position, Estimates::Take, |value, _| read.observation.holds(value))?;
            }
        }
        Ok(holds)
    }
}

/// The fields of what in an observation is not true of `value`.
fn failing<V, O: Observation<V>>(observation: &O, value: &V) -> Fields {
    let parts = observation.parts().into_iter().filter(|part| !part.holds(value));
    parts.fold(0, |fields, part| fields | part.fields())
}
