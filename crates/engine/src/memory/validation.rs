//! Whether what an attempt observed is true of the values that its position sees.

use std::collections::HashSet;

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use super::{Estimates, Look, Memory, Reads, Unresolved, Write};
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
    /// wrong first. `bounded` are the writes that may not.
    pub(crate) fn validate(
        &self,
        position: Position,
        reads: &Reads<P>,
        writes: &[Write<P>],
        bounded: &[Bounded],
    ) -> Result<Option<Wrong>, Unresolved<P::Fault>> {
        for (at, Look { cell, seen }) in reads.looks().iter().copied().enumerate() {
            if self.is_unchanged(cell, seen) {
                continue;
            }
            let observation = reads.observation(at);
            let judge = |value: &P::Value, _| match observation.holds(value) {
                true => None,
                false => Some(failing(observation, value)),
            };
            if let Some(fields) = self.resolve(cell, position, Estimates::Take, judge)? {
                return Ok(Some(Wrong { cell: Some(cell), fields }));
            }
        }
        for step in bounded {
            if !self.is_unchanged(step.cell, step.seen) && !self.fits(position, writes, step)? {
                let fields = writes[step.at as usize].delta.fields();
                return Ok(Some(Wrong { cell: Some(step.cell), fields }));
            }
        }
        Ok(None)
    }

    /// Whether a write fits what lies below `position`.
    fn fits(&self, position: Position, writes: &[Write<P>], bounded: &Bounded) -> Result<bool, Unresolved<P::Fault>> {
        let at = bounded.at as usize;
        let write = &writes[at];
        // A step starts from what the attempt's own steps before it lead to.
        let earlier = if bounded.follows_own { &writes[..at] } else { &[] };
        let mut before = earlier.iter().filter(|other| other.cell == write.cell).peekable();
        self.resolve(write.cell, position, Estimates::Take, |value: &P::Value, _| {
            if before.peek().is_none() {
                return write.delta.fits(value);
            }
            let mut value = value.clone();
            before.for_each(|other| other.delta.apply(&mut value));
            write.delta.fits(&value)
        })
    }

    /// Notes who observed what, and tells whether an observation already fails. From here on, the first write that may
    /// make one fail names the transaction in its dirty list, and each one after that once it was registered again; save
    /// one that clears a shadow: readers of the shadowed keys are not known to it, and are found wrong at their commit.
    pub(crate) fn register(&self, position: Position, reads: &Reads<P>) -> Result<bool, Unresolved<P::Fault>> {
        let frontier = self.frontier();
        let clears = self.clears.load(Ordering::Acquire);
        let is_cleared = |id| clears && self.cleared_shadow(id).is_some();
        let mut holds = true;
        for (Look { cell: id, seen }, observation) in reads.iter().filter(|(_, observation)| observation.is_volatile())
        {
            let changes = self.note_reader(id, Reader { position, fields: observation.fields() }, frontier);
            if holds && (changes != seen || is_cleared(id)) {
                holds = self.resolve(id, position, Estimates::Take, |value, _| observation.holds(value))?;
            }
        }
        Ok(holds)
    }

    /// Notes once more who observed what, after a change has told them.
    pub(crate) fn list(&self, position: Position, reads: &Reads<P>) {
        let frontier = self.frontier();
        for (Look { cell, .. }, observation) in reads.iter().filter(|(_, observation)| observation.is_volatile()) {
            self.note_reader(cell, Reader { position, fields: observation.fields() }, frontier);
        }
    }

    /// Notes a reader of a cell. Returns the count of changes that come before.
    fn note_reader(&self, id: CellId, reader: Reader, frontier: Position) -> u32 {
        let cell = self.table.cell(id);
        if cell.front.note(reader, frontier) {
            return 0;
        }
        let mut state = cell.state.0.lock();
        state.add_reader(reader, frontier);
        cell.changes()
    }
}

/// A write that may turn out not to [fit](Delta::fits).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounded {
    cell: CellId,
    /// Its place among the writes.
    at: u32,
    /// The [count of changes](crate::cell::Cell::changes) when it was known to fit.
    seen: u32,
    /// Whether the attempt wrote to the cell before.
    follows_own: bool,
}

impl Bounded {
    /// What fits a cell at a count of changes fits it at another.
    pub(crate) fn moved(&mut self, cell: CellId, from: u32, to: u32) {
        if self.cell == cell && self.seen == from {
            self.seen = to;
        }
    }
}

/// Those of the writes that may turn out not to fit.
pub(crate) fn bounded<P: Program>(writes: &[Write<P>]) -> SmallVec<[Bounded; 2]> {
    let mut written = OwnWrites::default();
    let mut bounded = SmallVec::new();
    for (at, write) in (0..).zip(writes) {
        if write.delta.is_bounded() {
            let follows_own = written.holds(&writes[..at as usize], write.cell);
            bounded.push(Bounded { cell: write.cell, at, seen: write.seen, follows_own });
        }
    }
    bounded
}

/// What an attempt wrote before, looked through where that is little, and kept in a set where it is much: one transaction may
/// write to thousands of keys.
#[derive(Debug, Default)]
struct OwnWrites {
    cells: HashSet<CellId, RandomState>,
    /// Writes that are in the set.
    known: usize,
}

/// Writes that are looked through. Tests have few.
const FEW_WRITES: usize = if cfg!(test) { 1 } else { 16 };

impl OwnWrites {
    /// Whether a cell is among these writes, which are those of the last call and more.
    fn holds<P: Program>(&mut self, writes: &[Write<P>], cell: CellId) -> bool {
        if writes.len() <= FEW_WRITES {
            return writes.iter().any(|write| write.cell == cell);
        }
        self.cells.extend(writes[self.known..].iter().map(|write| write.cell));
        self.known = writes.len();
        self.cells.contains(&cell)
    }
}

/// The fields of what in an observation is not true of `value`.
fn failing<V, O: Observation<V>>(observation: &O, value: &V) -> Fields {
    let parts = observation.parts().into_iter().filter(|part| !part.holds(value));
    parts.fold(0, |fields, part| fields | part.fields())
}
