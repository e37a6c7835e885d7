//! Read sets.

use crate::{CellId, Program};

/// What an attempt observed, in the order made. Where it looked lies apart from what it saw there: who finds that nothing has
/// changed need not look at the latter, which is twenty times as large and mostly in another core's cache.
#[derive(Debug, Clone)]
pub(crate) struct Reads<P: Program> {
    looks: Vec<Look>,
    observations: Vec<P::Observation>,
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

    /// What was seen of a cell at a count of changes is the same at another.
    pub(crate) fn moved(&mut self, cell: CellId, from: u32, to: u32) {
        let same = self.looks.iter_mut().filter(|look| look.cell == cell && look.seen == from);
        same.for_each(|look| look.seen = to);
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
