//! The versions of one key.
//!
//! A cell holds the value before the block once somebody asked for it, a committed value once somebody folded a write into it,
//! and what lies above that: the writes of speculative incarnations and of committed ones that stay where they were published
//! until somebody folds them, and who has read the key. That is made when there is something of it: a block touches many
//! keys, and most of them are read and written by one transaction.

use std::{fmt, num::NonZeroU32, ops::Range};

use smallvec::SmallVec;

mod front;
mod versions;

use self::{
    front::{Front, Unlisted},
    versions::Versions,
};
use crate::{
    Delta, Fields, Incarnation, Position, Program,
    dirty::Dirty,
    known_writes::MOST_PLACES,
    sync::{AtomicU32, Guard, Line, Mutex, OnceLock, Ordering},
    table::MOST_IDS,
};

/// One key's place in multi-version memory. No thread locks two cells at once.
///
/// What is looked at without the lock comes first and has a cache line to itself: it seldom changes, and whoever commits looks
/// at that of every key that was read.
#[repr(C)]
pub(crate) struct Cell<P: Program> {
    /// Value before the block. Set once by whoever reads it first.
    pub(crate) base: OnceLock<P::Value>,
    /// The count of changes of what readers resolve here, and who has read while there was none. The count is stored with release
    /// by whoever holds the lock, before it is let go. A reader that acquires zero may go on to `base` without the lock. Such a reader can miss
    /// a write that lands meanwhile: validation decides (I1).
    pub(crate) front: Front,
    /// The cell of what this key has as [shadow](Program::shadow), and whether this key's own ever cleared: see [`Shadow`].
    shadow: AtomicU32,
    /// Where the key is among the [known writes](crate::KnownWrites), or one of [`UNASKED`] and [`NOWHERE`]. Whoever finds out finds
    /// the same. Relaxed: what lies there was there before the run.
    place: AtomicU32,
    pub(crate) state: Line<Mutex<CellState<P>>>,
}

/// What is known of a key's shadow: see [`Cell::shadow`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shadow {
    /// Nobody has looked for its cell, or there was none.
    Unknown,
    /// The key has none.
    None,
    /// The number of its cell.
    Cell(u32),
}

/// The bit of [`Cell::shadow`] that says that a write here cleared what this key shadows; below it the number of the shadow's cell.
const CLEARS: u32 = 1 << 31;
/// The number that stands for [`Shadow::Unknown`],
const UNKNOWN: u32 = CLEARS - 1;
/// and the one for [`Shadow::None`].
const NONE: u32 = CLEARS - 2;

/// Nobody has asked where the key is among the known writes,
const UNASKED: u32 = u32::MAX;
/// or it is not.
const NOWHERE: u32 = MOST_PLACES;

const _: () = assert!(MOST_IDS <= NONE, "no cell has a number that stands for something else");

impl<P: Program> Cell<P> {
    /// The count of changes, without the lock or with it.
    pub(crate) fn changes(&self) -> u32 {
        self.front.changes()
    }

    /// Whether there was ever more than the value before the block.
    pub(crate) fn is_written(&self) -> bool {
        self.changes() > 0
    }

    /// Changes the state and counts the changes, which those see who look without the lock. Those readers go to `dirty` that
    /// nobody has listed. `alone` says that no other thread looks at the cell.
    pub(crate) fn change<R>(
        &self,
        by: Position,
        alone: bool,
        dirty: &mut Dirty,
        change: impl FnOnce(&mut CellState<P>, &mut Change, &mut Dirty) -> R,
    ) -> R {
        let mut state: Guard<'_, CellState<P>> = self.state.0.lock();
        // Nobody else stores it while the lock is held.
        let before = self.changes();
        let mut done = Change { count: before, fields: 0 };
        let result = change(&mut state, &mut done, dirty);
        if done.count != before
            && let Some(Unlisted { through, are_many, .. }) = self.front.change(done.count, by, done.fields, alone)
        {
            if are_many { dirty.push_range(by, through) } else { dirty.push(through) }
        }
        result
    }

    /// Makes a write part of the committed value, where it stands, if there is nothing above that value. To be asked only where no
    /// other thread looks at the cell.
    pub(crate) fn step<'a, E>(
        &'a self,
        by: Position,
        delta: &P::Delta,
        base: impl FnOnce() -> Result<&'a P::Value, E>,
    ) -> Result<bool, E> {
        let mut state = self.state.0.lock();
        if state.above.is_some() {
            return Ok(false);
        }
        let first = if state.value.is_none() { Some(base()?) } else { None };
        let steps = self.front.count_alone();
        if steps {
            delta.apply(state.value.get_or_insert_with(|| first.expect("looked up where there is none").clone()));
            state.at = by;
            if delta.clears_shadowed() {
                state.set_cleared(by);
            }
        }
        Ok(steps)
    }

    /// What is known of the key's shadow. Acquires what whoever found it had seen of the shadow's cell.
    pub(crate) fn shadow(&self) -> Shadow {
        match self.shadow.load(Ordering::Acquire) & !CLEARS {
            UNKNOWN => Shadow::Unknown,
            NONE => Shadow::None,
            number => Shadow::Cell(number),
        }
    }

    /// Notes what was found of the key's shadow. Nobody finds anything else.
    pub(crate) fn set_shadow(&self, shadow: Shadow) {
        let number = match shadow {
            Shadow::Unknown => return,
            Shadow::None => NONE,
            Shadow::Cell(number) => number,
        };
        // What was unknown has all bits below the topmost set.
        self.shadow.fetch_and(number | CLEARS, Ordering::Release);
    }

    /// Where the key is among the known writes, as `find` has it.
    #[inline]
    pub(crate) fn place(&self, find: impl FnOnce() -> Option<u32>) -> Option<u32> {
        let mut place = self.place.load(Ordering::Relaxed);
        if place == UNASKED {
            place = find().unwrap_or(NOWHERE);
            self.place.store(place, Ordering::Relaxed);
        }
        (place != NOWHERE).then_some(place)
    }

    /// Whether a write here ever cleared what this key shadows. Acquires what [`note_clear`](Self::note_clear) released.
    pub(crate) fn has_cleared(&self) -> bool {
        self.shadow.load(Ordering::Acquire) & CLEARS != 0
    }

    /// To be told of such a write before it is visible in the state.
    pub(crate) fn note_clear(&self) {
        self.shadow.fetch_or(CLEARS, Ordering::Release);
    }
}

/// What is being changed in a cell.
pub(crate) struct Change {
    /// Changes so far.
    pub(crate) count: u32,
    /// Fields that are changed now.
    pub(crate) fields: Fields,
}

impl Change {
    /// So many changes more, of these fields.
    pub(crate) fn add(&mut self, count: u32, fields: Fields) {
        self.count += count;
        self.fields |= fields;
    }
}

pub(crate) struct CellState<P: Program> {
    /// What committed writes have led to as far as they are folded.
    value: Option<P::Value>,
    /// The position of the last of them.
    at: Position,
    /// One more than the position of the last write that is folded and hides older writes of the keys shadowed by this one.
    cleared: Option<NonZeroU32>,
    /// Made when there is something of it.
    above: Option<Box<Above<P>>>,
}

/// What is not folded, and who has read it.
pub(crate) struct Above<P: Program> {
    /// Writes that are not folded.
    versions: Versions<P>,
    /// Uncommitted transactions that observed this key once it was written, for hints about who should run again.
    readers: SmallVec<[Reader; 2]>,
    /// The value on top of all versions, if somebody has worked it out since it last changed otherwise than by a
    /// version on top. Spares those who read far ahead the walk over a hot key's versions.
    top: Option<Box<P::Value>>,
}

pub(crate) struct Version<P: Program> {
    pub(crate) position: Position,
    pub(crate) incarnation: Incarnation,
    /// The incarnation aborted; its successor will probably write here again.
    pub(crate) estimate: bool,
    pub(crate) delta: P::Delta,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reader {
    pub(crate) position: Position,
    pub(crate) fields: Fields,
}

/// Readers among which one is looked for that is noted already.
const LATEST_READERS: usize = 4;

/// Readers that are kept before those already committed are dropped.
const READERS_BEFORE_PRUNING: usize = 8;

impl<P: Program> CellState<P> {
    /// What committed writes have led to as far as they are folded, with the position of the last of them.
    pub(crate) fn committed(&self) -> Option<(Position, &P::Value)> {
        Some((self.at, self.value.as_ref()?))
    }

    /// Takes the committed value out, to be changed and [set](Self::set_committed) again.
    pub(crate) fn take_committed(&mut self) -> Option<P::Value> {
        self.value.take()
    }

    /// Sets the committed value, with the position of the last write in it.
    pub(crate) fn set_committed(&mut self, at: Position, value: P::Value) {
        (self.at, self.value) = (at, Some(value));
    }

    /// Position of the last write that is folded and hides older writes of the keys shadowed by this one.
    pub(crate) fn cleared(&self) -> Option<Position> {
        self.cleared.map(|after| Position(after.get() - 1))
    }

    /// Notes a folded write that hides older ones.
    pub(crate) fn set_cleared(&mut self, at: Position) {
        self.cleared = self.cleared.max(NonZeroU32::new(at.0 + 1));
    }

    /// Writes that are not folded, ascending by position.
    pub(crate) fn versions(&self) -> &[Version<P>] {
        self.above.as_ref().map_or(&[], |above| &above.versions)
    }

    /// The same, to be marked.
    pub(crate) fn versions_mut(&mut self) -> &mut [Version<P>] {
        self.above.as_mut().map_or(&mut [], |above| &mut above.versions)
    }

    /// The value on top of all versions, if it is known.
    pub(crate) fn top(&self) -> Option<&P::Value> {
        self.above.as_ref()?.top.as_deref()
    }

    /// Remembers the value on top of all versions.
    pub(crate) fn set_top(&mut self, value: P::Value) {
        self.above().top = Some(Box::new(value));
    }

    /// Forgets it: something below has changed.
    pub(crate) fn forget_top(&mut self) {
        if let Some(above) = &mut self.above {
            above.top = None;
        }
    }

    fn above(&mut self) -> &mut Above<P> {
        self.above.get_or_insert_default()
    }

    /// Notes that the transaction at `position` depends on `fields`.
    pub(crate) fn add_reader(&mut self, reader: Reader, frontier: Position) {
        let readers = &mut self.above().readers;
        // One transaction's looks mostly come one after the other; being noted twice does no harm.
        let mut latest = readers.iter_mut().rev().take(LATEST_READERS);
        if let Some(known) = latest.find(|known| known.position == reader.position) {
            known.fields |= reader.fields;
            return;
        }
        if readers.len() >= READERS_BEFORE_PRUNING && readers.len().is_power_of_two() {
            readers.retain(|known| known.position >= frontier);
        }
        readers.push(reader);
    }

    /// Adds the transactions above `position` that depend on any of `fields` to `dirty`.
    pub(crate) fn collect_dirty(&self, position: Position, fields: Fields, dirty: &mut Dirty) {
        let readers = self.above.iter().flat_map(|above| &above.readers);
        let affected = readers.filter(|reader| reader.position > position && reader.fields & fields != 0);
        dirty.extend(affected.map(|reader| reader.position));
    }

    /// The versions of one transaction.
    pub(crate) fn versions_at(&self, position: Position) -> Range<usize> {
        let versions = self.versions();
        let start = versions.partition_point(|version| version.position < position);
        let count = versions[start..].iter().take_while(|version| version.position == position).count();
        start..start + count
    }

    /// Adds a version, replacing what earlier incarnations of its transaction wrote here. Collects whom that affects; tells
    /// which fields have changed, if anything has.
    pub(crate) fn publish(&mut self, version: Version<P>, dirty: &mut Dirty) -> Option<Fields> {
        let (position, incarnation) = (version.position, version.incarnation);
        let at = self.versions_at(position);
        let outdated = self.take_before(at.clone(), incarnation);
        let unchanged = outdated.len() == 1 && outdated[0].delta == version.delta;
        let fields = outdated.iter().fold(version.delta.fields(), |fields, old| fields | old.delta.fields());
        let end = self.versions_at(position).end;
        let above = self.above();
        match &mut above.top {
            Some(top) if end == above.versions.len() && at.is_empty() => version.delta.apply(top),
            top => *top = None,
        }
        above.versions.insert(end, version);
        if unchanged {
            return None;
        }
        self.collect_dirty(position, fields, dirty);
        Some(fields)
    }

    /// Drops what incarnations of the transaction at `position` before `incarnation` wrote. Collects whom that affects; tells
    /// which fields have changed, if anything has.
    pub(crate) fn retract(
        &mut self,
        position: Position,
        incarnation: Incarnation,
        dirty: &mut Dirty,
    ) -> Option<Fields> {
        let at = self.versions_at(position);
        let dropped = self.take_before(at, incarnation);
        if dropped.is_empty() {
            return None;
        }
        let fields = dropped.iter().fold(0, |fields, old| fields | old.delta.fields());
        self.forget_top();
        self.collect_dirty(position, fields, dirty);
        Some(fields)
    }

    /// Drops the versions up to and including that of the transaction at `position`, which are part of the committed value or
    /// replaced by it.
    pub(crate) fn drop_through(&mut self, position: Position) {
        self.drop_first(self.versions().partition_point(|version| version.position <= position));
    }

    fn drop_first(&mut self, count: usize) {
        let Some(above) = self.above.as_mut().filter(|_| count > 0) else { return };
        let clears = above.versions[..count].iter().rev().find(|version| version.delta.clears_shadowed());
        let clears = clears.map(|version| version.position);
        above.versions.drop_first(count);
        clears.into_iter().for_each(|at| self.set_cleared(at));
    }

    /// Makes the versions below `end`, which are committed, part of the committed value. It starts from `base` where there is
    /// none yet; where that is not known either, nothing happens.
    pub(crate) fn fold_below(&mut self, end: Position, base: Option<&P::Value>) {
        let versions = self.versions();
        let count = versions.partition_point(|version| version.position < end);
        let Some(last) = count.checked_sub(1) else { return };
        let Some(bottom) = self.value.as_ref().or(base) else { return };
        let mut value = bottom.clone();
        versions[..count].iter().for_each(|version| version.delta.apply(&mut value));
        self.set_committed(versions[last].position, value);
        self.drop_first(count);
    }

    /// The same, with what was cleared minded: at `clear`, all older writes and the base value were hidden.
    pub(crate) fn fold_all(
        &mut self,
        end: Position,
        clear: Option<Position>,
        hidden: impl FnOnce() -> P::Value,
        base: Option<&P::Value>,
    ) {
        if let Some(clear) = clear {
            let older = self.versions().partition_point(|version| version.position < clear);
            let is_written = self.value.is_some() || older > 0;
            let is_hidden = self.committed().is_none_or(|(at, _)| at < clear);
            self.drop_first(older);
            let writes_after = self.versions().first().is_some_and(|version| version.position < end);
            if is_hidden && (is_written || writes_after) {
                self.set_committed(clear, hidden());
            }
        }
        self.fold_below(end, base);
    }

    /// A copy of what decides about the committed value, to be folded for a look that changes nothing.
    pub(crate) fn copied(&self) -> Self {
        let version = |Version { position, incarnation, estimate, delta }: &Version<P>| Version {
            position: *position,
            incarnation: *incarnation,
            estimate: *estimate,
            delta: delta.clone(),
        };
        let versions = self.versions().iter().map(version).collect();
        let above = Some(Box::new(Above { versions, ..Above::default() }));
        Self { value: self.value.clone(), at: self.at, cleared: self.cleared, above }
    }

    /// Position of the last write below `end` that hides older writes of the keys shadowed by this one.
    pub(crate) fn cleared_below(&self, end: Position) -> Option<Position> {
        let mut below = self.versions().iter().rev().filter(|version| version.position < end);
        let cleared = below.find(|version| version.delta.clears_shadowed()).map(|version| version.position);
        cleared.max(self.cleared())
    }

    fn take_before(&mut self, at: Range<usize>, incarnation: Incarnation) -> SmallVec<[Version<P>; 1]> {
        let Some(above) = &mut self.above else { return SmallVec::new() };
        let older = above.versions[at.clone()].iter().take_while(|version| version.incarnation < incarnation).count();
        above.versions.take(at.start..at.start + older)
    }
}

impl<P: Program> Default for Cell<P> {
    fn default() -> Self {
        Self {
            base: OnceLock::new(),
            front: Front::default(),
            shadow: AtomicU32::new(UNKNOWN),
            place: AtomicU32::new(UNASKED),
            state: Line(Mutex::default()),
        }
    }
}

impl<P: Program> Default for CellState<P> {
    fn default() -> Self {
        Self { value: None, at: Position(0), cleared: None, above: None }
    }
}

impl<P: Program> Default for Above<P> {
    fn default() -> Self {
        Self { versions: Versions::default(), readers: SmallVec::new(), top: None }
    }
}

impl<P: Program> fmt::Debug for Cell<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cell").field("base", &self.base).finish_non_exhaustive()
    }
}
