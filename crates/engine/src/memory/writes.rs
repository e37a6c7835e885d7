//! Who wrote what: questions about writes that the commit, access lists and what is learned from conflicts ask.

use std::ops::Range;

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
        with: impl FnMut(CellId, &P::Value, &P::Value),
    ) -> Result<(), Unresolved<P::Fault>> {
        let mut hand = Hand { memory: self, position, cleared: Self::cleared_by(writes), after: None, with };
        if writes.len() > MOST_COMPARED {
            let by_cell = ByCell::of(writes);
            return by_cell.groups.iter().try_for_each(|(first, own)| {
                let own = by_cell.order[own.clone()].iter().map(|at| &writes[*at as usize]);
                hand.over(writes[*first as usize].cell, own)
            });
        }
        for (at, Write { cell, .. }) in writes.iter().enumerate() {
            if !writes[..at].iter().any(|other| other.cell == *cell) {
                hand.over(*cell, writes[at..].iter().filter(|other| other.cell == *cell))?;
            }
        }
        Ok(())
    }

    /// The same for some of the writes, which are the only ones to their keys.
    pub(crate) fn each_written_of(
        &self,
        position: Position,
        writes: &[Write<P>],
        numbers: &[usize],
        with: impl FnMut(CellId, &P::Value, &P::Value),
    ) -> Result<(), Unresolved<P::Fault>> {
        let mut hand = Hand { memory: self, position, cleared: Self::cleared_by(writes), after: None, with };
        numbers.iter().map(|at| &writes[*at]).try_for_each(|write| hand.over(write.cell, std::iter::once(write)))
    }
}

/// Hands over what became of one key after the other.
struct Hand<'a, P: Program, W> {
    memory: &'a Memory<P>,
    position: Position,
    cleared: Vec<CellId>,
    /// What became of the key before: its room is used again.
    after: Option<P::Value>,
    with: W,
}

impl<P: Program, W: FnMut(CellId, &P::Value, &P::Value)> Hand<'_, P, W> {
    fn over<'w>(&mut self, cell: CellId, own: impl Iterator<Item = &'w Write<P>>) -> Result<(), Unresolved<P::Fault>> {
        let Self { memory, position, cleared, after, with } = self;
        let hidden = memory.is_hidden(cell, cleared).then(|| P::hidden(memory.key(cell)));
        memory.resolve(cell, *position, Estimates::Take, |before, _| {
            let start = hidden.as_ref().unwrap_or(before);
            let after = match after {
                Some(after) => {
                    after.clone_from(start);
                    after
                }
                None => after.insert(start.clone()),
            };
            own.for_each(|own| own.delta.apply(after));
            with(cell, before, after);
        })
    }
}

/// Writes among which those of one cell are looked for by comparing all of them: a payment makes three.
const MOST_COMPARED: usize = if cfg!(test) { 4 } else { 16 };

/// Many writes, those of one cell next to each other: comparing each with all others would take longer than the transaction did.
struct ByCell {
    /// The numbers of the writes, by cell.
    order: Vec<u32>,
    /// The first write of each cell, in the order of the writes, and where in the order its writes are.
    groups: Vec<(u32, Range<usize>)>,
}

impl ByCell {
    fn of<P: Program>(writes: &[Write<P>]) -> Self {
        let cell = |at: &u32| writes[*at as usize].cell;
        let mut order: Vec<u32> = (0..writes.len() as u32).collect();
        order.sort_by_key(cell);
        let mut groups = Vec::with_capacity(order.len());
        let mut begin = 0;
        for group in order.chunk_by(|left, right| cell(left) == cell(right)) {
            groups.push((group[0], begin..begin + group.len()));
            begin += group.len();
        }
        groups.sort_unstable_by_key(|(first, _)| *first);
        Self { order, groups }
    }
}

/// Whether no two of these writes are to one cell.
pub(crate) fn write_once<P: Program>(writes: &[Write<P>]) -> bool {
    if writes.len() <= MOST_COMPARED {
        let is_new = |(at, write): (usize, &Write<P>)| writes[..at].iter().all(|other| other.cell != write.cell);
        return writes.iter().enumerate().all(is_new);
    }
    let cells = writes.iter().map(|write| write.cell);
    let words = cells.clone().map(CellId::at).max().unwrap_or_default() / BITS + 1;
    if words <= writes.len() {
        let mut seen = vec![0_u64; words];
        return cells.map(CellId::at).all(|at| {
            let (word, bit) = (&mut seen[at / BITS], 1 << (at % BITS));
            let is_new = *word & bit == 0;
            *word |= bit;
            is_new
        });
    }
    let mut cells: Vec<CellId> = cells.collect();
    cells.sort_unstable();
    cells.is_sorted_by(|left, right| left < right)
}

/// Bits of a word.
const BITS: usize = u64::BITS as usize;

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{
        sync::Arc,
        toy::{Change, Genesis, Key, MEMBERS, Toy, Value},
    };

    proptest! {
        #[test]
        fn many_writes_are_handed_over_key_by_key_as_few_are(
            changes in vec((0..MEMBERS, prop::option::of(0..3_u64), -2..3_i64), 0..4 * MOST_COMPARED),
            others in prop_oneof![Just(0), Just(4 * MOST_COMPARED * BITS)],
        ) {
            let genesis = Arc::new(Genesis::default());
            let memory = Memory::<Toy>::new(Arc::clone(&genesis), 8);
            for other in 0..others {
                memory.intern(&Key::Member(2 + (other >> 8) as u8, other as u8));
            }
            let key = |member| Key::Member(1, member);
            let change = |word, step| Change { word, step, ..Change::default() };
            let write = |(member, word, step): &(u8, Option<u64>, i64)| {
                Write { cell: memory.intern(&key(*member)), seen: 0, delta: change(*word, *step) }
            };
            let writes: Vec<Write<Toy>> = changes.iter().map(write).collect();
            let mut handed = Vec::new();
            let with = |cell, before: &Value, after: &Value| handed.push((*memory.key(cell), *before, *after));
            memory.each_written(Position(1), &writes, with).expect("the base state is whole");

            let mut expected: Vec<(Key, Value, Value)> = Vec::new();
            for (member, word, step) in &changes {
                let before = genesis.get(key(*member)).expect("the base state is whole");
                let at = expected.iter().position(|(other, ..)| *other == key(*member)).unwrap_or_else(|| {
                    expected.push((key(*member), before, before));
                    expected.len() - 1
                });
                change(*word, *step).apply(&mut expected[at].2);
            }
            prop_assert_eq!(write_once(&writes), expected.len() == changes.len());
            prop_assert_eq!(handed, expected);
        }
    }
}
