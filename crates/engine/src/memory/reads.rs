//! Read sets.

use crate::{CellId, Program};

/// What an attempt observed, in the order made. Where it looked lies apart from what it saw there: who finds that nothing has
/// changed need not look at the latter, which is twenty times as large and mostly in another core's cache.
#[derive(Debug, Clone)]
pub(crate) struct Reads<P: Program> {
    looks: Vec<Look>,
    observations: Vec<P::Observation>,
}

/// Looks that are walked through for each change. Tests have few.
const MOST_WALKED: usize = if cfg!(test) { 2 } else { 32 };

/// Looks that are told of changes.
pub(crate) struct Told<'a> {
    looks: &'a mut [Look],
    /// The numbers of the looks by cell, where there are many: walking through all of them for each of many changes would take
    /// longer than the transaction did.
    by_cell: Option<Vec<u32>>,
}

impl Told<'_> {
    /// What was seen of a cell at a count of changes is the same at another.
    pub(crate) fn moved(&mut self, cell: CellId, from: u32, to: u32) {
        let Self { looks, by_cell } = self;
        let tell = |look: &mut Look| {
            if look.cell == cell && look.seen == from {
                look.seen = to;
            }
        };
        let Some(by_cell) = by_cell else { return looks.iter_mut().for_each(tell) };
        let begin = by_cell.partition_point(|at| looks[*at as usize].cell < cell);
        for at in &by_cell[begin..] {
            let look = &mut looks[*at as usize];
            if look.cell != cell {
                break;
            }
            tell(look);
        }
    }
}

/// Where one observation was made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    pub(crate) cell: CellId,
    /// The [count of changes](crate::cell::Cell::changes) when the value was read.
    pub(crate) seen: u32,
}

impl<P: Program> Reads<P> {
    pub(crate) fn push(&mut self, cell: CellId, seen: u32, observation: P::Observation) {
        self.looks.push(Look { cell, seen });
        self.observations.push(observation);
    }

    pub(crate) fn clear(&mut self) {
        self.looks.clear();
        self.observations.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.looks.len()
    }

    /// The looks, for whoever has so many changes to tell them of.
    pub(crate) fn told(&mut self, changes: usize) -> Told<'_> {
        let is_long = self.looks.len() > MOST_WALKED && changes > 1;
        let by_cell = is_long.then(|| {
            let mut order: Vec<u32> = (0..self.looks.len() as u32).collect();
            order.sort_unstable_by_key(|at| self.looks[*at as usize].cell);
            order
        });
        Told { looks: &mut self.looks, by_cell }
    }

    /// Where each observation was made.
    pub(crate) fn looks(&self) -> &[Look] {
        &self.looks
    }

    /// What was observed in one of the looks.
    pub(crate) fn observation(&self, at: usize) -> &P::Observation {
        &self.observations[at]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Look, &P::Observation)> {
        self.looks.iter().copied().zip(&self.observations)
    }
}

impl<P: Program> Default for Reads<P> {
    fn default() -> Self {
        Self { looks: Vec::new(), observations: Vec::new() }
    }
}

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::toy::{Seen, Toy};

    proptest! {
        #[test]
        fn many_looks_are_told_of_changes_as_few_are(
            looks in vec((0..5_u32, 0..3_u32), 0..6 * MOST_WALKED),
            changes in vec((0..6_u32, 0..3_u32), 0..6),
        ) {
            let mut reads = Reads::<Toy>::default();
            looks.iter().for_each(|(cell, seen)| reads.push(CellId::of(*cell), *seen, Seen::Word(0)));
            let mut told = reads.told(changes.len());
            let mut expected = looks;
            for (cell, from) in &changes {
                told.moved(CellId::of(*cell), *from, from + 1);
                let same = expected.iter_mut().filter(|look| **look == (*cell, *from));
                same.for_each(|look| look.1 = from + 1);
            }
            let found: Vec<_> = reads.looks().iter().map(|look| (look.cell.number(), look.seen)).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
