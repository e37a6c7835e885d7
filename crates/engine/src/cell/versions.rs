//! The writes of one key that are not folded.

use std::ops::{Deref, DerefMut, Range};

use smallvec::SmallVec;

use super::Version;
use crate::Program;

/// Writes, ascending by position: the lowest leaves first, the highest mostly comes last.
///
/// Most keys have one, which lies here. What has left at the front stays where it is until it is as much as what is there, so
/// that many that leave one after the other do not each move all of the others.
pub(crate) struct Versions<P: Program> {
    list: SmallVec<[Version<P>; 1]>,
    /// Of the list: those that have left.
    gone: usize,
}

impl<P: Program> Versions<P> {
    /// Adds a version at a place.
    pub(crate) fn insert(&mut self, at: usize, version: Version<P>) {
        self.list.insert(self.gone + at, version);
    }

    /// Takes the versions of a range out.
    pub(crate) fn take(&mut self, range: Range<usize>) -> SmallVec<[Version<P>; 1]> {
        if range.is_empty() {
            return SmallVec::new();
        }
        let taken = self.list.drain(self.gone + range.start..self.gone + range.end).collect();
        self.tidy();
        taken
    }

    /// Drops the lowest versions.
    pub(crate) fn drop_first(&mut self, count: usize) {
        self.gone += count;
        self.tidy();
    }

    fn tidy(&mut self) {
        if 2 * self.gone >= self.list.len() {
            self.list.drain(..self.gone);
            self.gone = 0;
        }
    }
}

impl<P: Program> Deref for Versions<P> {
    type Target = [Version<P>];

    fn deref(&self) -> &[Version<P>] {
        &self.list[self.gone..]
    }
}

impl<P: Program> DerefMut for Versions<P> {
    fn deref_mut(&mut self) -> &mut [Version<P>] {
        &mut self.list[self.gone..]
    }
}

impl<P: Program> Default for Versions<P> {
    fn default() -> Self {
        Self { list: SmallVec::new(), gone: 0 }
    }
}

impl<P: Program> FromIterator<Version<P>> for Versions<P> {
    fn from_iter<I: IntoIterator<Item = Version<P>>>(versions: I) -> Self {
        Self { list: versions.into_iter().collect(), gone: 0 }
    }
}

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{
        Incarnation, Position,
        toy::{Change, Toy},
    };

    #[derive(Debug, Clone)]
    enum Step {
        Insert(usize, u32),
        Take(usize, usize),
        DropFirst(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..8usize, any::<u32>()).prop_map(|(at, position)| Step::Insert(at, position)),
            (0..8usize, 0..4usize).prop_map(|(start, count)| Step::Take(start, count)),
            (0..5usize).prop_map(Step::DropFirst),
        ]
    }

    fn version(position: u32) -> Version<Toy> {
        let (position, incarnation) = (Position(position), Incarnation(0));
        Version { position, incarnation, estimate: false, delta: Change::default() }
    }

    proptest! {
        #[test]
        fn versions_are_a_list_that_leaves_at_the_front(steps in vec(step(), 1..60)) {
            let (mut versions, mut model) = (Versions::<Toy>::default(), Vec::new());
            for step in steps {
                match step {
                    Step::Insert(at, position) => {
                        let at = at.min(model.len());
                        versions.insert(at, version(position));
                        model.insert(at, position);
                    }
                    Step::Take(start, count) => {
                        let start = start.min(model.len());
                        let range = start..(start + count).min(model.len());
                        let taken: Vec<_> = versions.take(range.clone()).iter().map(|it| it.position.0).collect();
                        prop_assert_eq!(taken, model.drain(range).collect::<Vec<_>>());
                    }
                    Step::DropFirst(count) => {
                        let count = count.min(model.len());
                        versions.drop_first(count);
                        model.drain(..count);
                    }
                }
                prop_assert_eq!(versions.iter().map(|it| it.position.0).collect::<Vec<_>>(), model.clone());
                prop_assert!(versions.gone <= versions.len());
            }
        }
    }
}
