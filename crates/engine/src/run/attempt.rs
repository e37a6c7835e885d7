//! What an incarnation came to.

use smallvec::SmallVec;

use crate::{
    Program, View,
    memory::{Bounded, Reads, Write, bounded},
};

/// An incarnation's result. It is filled by one worker and mostly committed by another, and what is left of it then, room for
/// another result, goes back to the first: what one thread allocates and another frees costs both.
pub(crate) struct Attempt<P: Program> {
    pub(super) reads: Reads<P>,
    pub(super) writes: Vec<Write<P>>,
    /// Those of the writes that may turn out not to fit.
    pub(super) bounded: SmallVec<[Bounded; 2]>,
    /// `None` before it is filled, and once it is committed.
    pub(super) output: Option<P::Output>,
    /// The worker who filled it.
    pub(super) owner: usize,
    /// The writes have been made visible to others.
    pub(super) published: bool,
    /// What committing them takes of the base state is known.
    pub(super) prepared: bool,
}

impl<P: Program> Attempt<P> {
    /// Takes in what a worker's attempt has left in its view, which gets rid of it, and what it came to.
    pub(super) fn fill(&mut self, owner: usize, view: &mut View<P>, output: P::Output) {
        (self.reads, self.writes) = (std::mem::take(&mut view.reads), std::mem::take(&mut view.writes));
        // Where nothing is judged, values are exact: what was done on them fits.
        self.bounded =
            if view.is_speculative() && view.is_recording() { bounded(&self.writes) } else { SmallVec::new() };
        (self.output, self.owner, self.published, self.prepared) = (Some(output), owner, false, false);
    }

    /// Gives a view room for what it reads and writes.
    pub(super) fn lend(&mut self, view: &mut View<P>) {
        (view.reads, view.writes) = (std::mem::take(&mut self.reads), std::mem::take(&mut self.writes));
    }

    /// Gas or the like that it took.
    pub(super) fn cost(&self) -> u64 {
        self.output.as_ref().map_or(0, P::cost)
    }
}

impl<P: Program> Default for Attempt<P> {
    fn default() -> Self {
        Self {
            reads: Reads::default(),
            writes: Vec::new(),
            bounded: SmallVec::new(),
            output: None,
            owner: 0,
            published: false,
            prepared: false,
        }
    }
}
