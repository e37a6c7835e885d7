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

    /// Adds the highest version.
    pub(crate) fn push(&mut self, version: Version<P>) {
        self.list.push(version);
    }

    /// Takes the versions of a range out.
    pub(crate) fn take(&mut self, range: Range<usize>) -> SmallVec<[Version<P>; 1]> {
        if range.is_empty() {
            return SmallVec::new();
        }
        self.list.drain(self.gone + range.start..self.gone + range.end).collect()
    }

    /// Drops the lowest versions.
    pub(crate) fn drop_first(&mut self, count: usize) {
        self.gone += count;
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
