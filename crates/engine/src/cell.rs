//! The versions of one key.
//!
//! A cell holds the value before the block once somebody asked for it, a committed value once somebody folded a write into it,
//! and the writes above that, ordered by position: of speculative incarnations, and of committed ones that stay where they
//! were published until somebody folds them.

use std::{collections::VecDeque, fmt, ops::Range};

use smallvec::SmallVec;

use crate::{
    Delta, Fields, Incarnation, Position, Program,
    sync::{AtomicBool, AtomicU32, Guard, Line, Mutex, OnceLock, Ordering},
};

/// One key's place in multi-version memory. Lock order: `fetch` before nothing, `state` alone; no two cells at once.
///
/// What is looked at without the lock comes first and has a cache line to itself: it seldom changes, and whoever commits looks
/// at that of every key that was read.
#[repr(C)]
pub(crate) struct Cell<P: Program> {
    /// Value before the block. Set once by whoever reads it first.
    pub(crate) base: OnceLock<P::Value>,
    /// Held while the base state is read, so that it is read once.
    pub(crate) fetch: Mutex<()>,
    /// Whether `state` was ever more than its default. Set with release by the first writer, before its write is
    /// visible in `state`; a reader that acquires `false` may go on to `base` without the lock. Such a reader can miss
    /// a write that lands meanwhile: validation decides (I1).
    pub(crate) written: AtomicBool,
    /// Whether a write here ever cleared what this key shadows. Set and read like `written`.
    pub(crate) clears: AtomicBool,
    /// The count of changes in `state`, for a look without the lock. Set with release before the lock is let go.
    pub(crate) changes: AtomicU32,
    /// The cell of what this key has as [shadow](Program::shadow): see [`Shadow`]. Relaxed: whoever does not find it looks for it.
    pub(crate) shadow: AtomicU32,
    pub(crate) state: Line<Mutex<CellState<P>>>,
}

/// What is known of a key's shadow; the number of its cell otherwise.
pub(crate) struct Shadow;

impl Shadow {
    pub(crate) const UNKNOWN: u32 = u32::MAX;
    /// The key has none.
    pub(crate) const NONE: u32 = u32::MAX - 1;
}

impl<P: Program> Cell<P> {
    /// Changes the state, and shows the count of changes to those who look without the lock.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut CellState<P>) -> R) -> R {
        let mut state: Guard<'_, CellState<P>> = self.state.0.lock();
        let result = change(&mut state);
        // Nobody else stores it while the lock is held.
        if self.changes.load(Ordering::Relaxed) != state.changes {
            self.changes.store(state.changes, Ordering::Release);
        }
        result
    }
}

pub(crate) struct CellState<P: Program> {
    /// What committed writes have led to as far as they are folded, with the position of the last of them.
    pub(crate) committed: Option<(Position, P::Value)>,
    /// Last write that is folded and hides older writes of the keys shadowed by this one.
    pub(crate) cleared: Option<Position>,
    /// Writes that are not folded, ascending by position: the lowest leaves first, the highest mostly comes last.
    pub(crate) versions: VecDeque<Version<P>>,
    /// The value on top of all versions, if somebody has worked it out since it last changed otherwise than by a
    /// version on top. Spares those who read far ahead the walk over a hot key's versions.
    pub(crate) top: Option<P::Value>,
    /// Uncommitted transactions that observed this key, for hints about who should run again.
    pub(crate) readers: SmallVec<[Reader; 2]>,
    /// Counts the changes of what readers resolve here; equal counts mean nothing changed.
    pub(crate) changes: u32,
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
    /// Notes that the transaction at `position` depends on `fields`.
    pub(crate) fn add_reader(&mut self, reader: Reader, frontier: Position) {
        // One transaction's looks mostly come one after the other; being noted twice does no harm.
        let mut latest = self.readers.iter_mut().rev().take(LATEST_READERS);
        if let Some(known) = latest.find(|known| known.position == reader.position) {
            known.fields |= reader.fields;
            return;
        }
        if self.readers.len() >= READERS_BEFORE_PRUNING && self.readers.len().is_power_of_two() {
            self.readers.retain(|known| known.position >= frontier);
        }
        self.readers.push(reader);
    }

    /// Adds the transactions above `position` that depend on any of `fields` to `dirty`.
    pub(crate) fn collect_dirty(&self, position: Position, fields: Fields, dirty: &mut Vec<Position>) {
        let affected = self.readers.iter().filter(|reader| reader.position > position && reader.fields & fields != 0);
        dirty.extend(affected.map(|reader| reader.position));
    }

    /// The versions of one transaction.
    pub(crate) fn versions_at(&self, position: Position) -> Range<usize> {
        let start = self.versions.partition_point(|version| version.position < position);
        let count = self.versions.range(start..).take_while(|version| version.position == position).count();
        start..start + count
    }

    /// Adds a version, replacing what earlier incarnations of its transaction wrote here. Collects whom that affects.
    pub(crate) fn publish(&mut self, version: Version<P>, dirty: &mut Vec<Position>) {
        let (position, incarnation) = (version.position, version.incarnation);
        let at = self.versions_at(position);
        let outdated = self.drain_before(at.clone(), incarnation);
        let unchanged = outdated.len() == 1 && outdated[0].delta == version.delta;
        let fields = outdated.iter().fold(version.delta.fields(), |fields, old| fields | old.delta.fields());
        let end = self.versions_at(position).end;
        match &mut self.top {
            Some(top) if end == self.versions.len() && at.is_empty() => version.delta.apply(top),
            top => *top = None,
        }
        self.versions.insert(end, version);
        if !unchanged {
            self.changes += 1;
            self.collect_dirty(position, fields, dirty);
        }
    }

    /// Adds a version before anybody reads; mostly the highest so far.
    pub(crate) fn seed(&mut self, version: Version<P>) {
        if self.versions.back().is_some_and(|last| last.position >= version.position) {
            return self.publish(version, &mut Vec::new());
        }
        self.top = None;
        self.changes += 1;
        self.versions.push_back(version);
    }

    /// Drops what incarnations of the transaction at `position` before `incarnation` wrote. Collects whom that affects.
    pub(crate) fn retract(&mut self, position: Position, incarnation: Incarnation, dirty: &mut Vec<Position>) {
        let at = self.versions_at(position);
        let dropped = self.drain_before(at, incarnation);
        if dropped.is_empty() {
            return;
        }
        let fields = dropped.iter().fold(0, |fields, old| fields | old.delta.fields());
        self.top = None;
        self.changes += 1;
        self.collect_dirty(position, fields, dirty);
    }

    /// Drops the versions up to and including that of the transaction at `position`, which are part of the committed value or
    /// replaced by it.
    pub(crate) fn drop_through(&mut self, position: Position) {
        if !self.versions.is_empty() {
            self.drop_first(self.versions.partition_point(|version| version.position <= position));
        }
    }

    fn drop_first(&mut self, count: usize) {
        if count == 0 {
            return;
        }
        let clears = self.versions.range(..count).rev().find(|version| version.delta.clears_shadowed());
        self.cleared = clears.map(|version| version.position).max(self.cleared);
        self.versions.drain(..count);
    }

    /// Makes the versions below `end`, which are committed, part of the committed value. It starts from `base` where there is
    /// none yet; where that is not known either, nothing happens.
    pub(crate) fn fold_below(&mut self, end: Position, base: Option<&P::Value>) {
        let count = self.versions.partition_point(|version| version.position < end);
        let Some(last) = count.checked_sub(1) else { return };
        let whole = (0..count).rev().find_map(|at| Some((at, self.versions[at].delta.value()?.clone())));
        let (first, mut value) = match (whole, &self.committed) {
            (Some((at, value)), _) => (at + 1, value),
            (None, Some((_, value))) => (0, value.clone()),
            (None, None) => match base {
                Some(base) => (0, base.clone()),
                None => return,
            },
        };
        self.versions.range(first..count).for_each(|version| version.delta.apply(&mut value));
        self.committed = Some((self.versions[last].position, value));
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
            let older = self.versions.partition_point(|version| version.position < clear);
            let is_written = self.committed.is_some() || older > 0;
            let is_hidden = self.committed.as_ref().is_none_or(|(at, _)| *at < clear);
            self.drop_first(older);
            let writes_after = self.versions.front().is_some_and(|version| version.position < end);
            if is_hidden && (is_written || writes_after) {
                self.committed = Some((clear, hidden()));
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
        let versions = self.versions.iter().map(version).collect();
        Self { committed: self.committed.clone(), cleared: self.cleared, versions, ..Self::default() }
    }

    /// Position of the last write below `end` that hides older writes of the keys shadowed by this one.
    pub(crate) fn cleared_below(&self, end: Position) -> Option<Position> {
        let mut below = self.versions.iter().rev().filter(|version| version.position < end);
        below.find(|version| version.delta.clears_shadowed()).map(|version| version.position).max(self.cleared)
    }

    fn drain_before(&mut self, at: Range<usize>, incarnation: Incarnation) -> Vec<Version<P>> {
        let older = self.versions.range(at.clone()).take_while(|version| version.incarnation < incarnation).count();
        self.versions.drain(at.start..at.start + older).collect()
    }
}

impl<P: Program> Default for Cell<P> {
    fn default() -> Self {
        Self {
            base: OnceLock::new(),
            fetch: Mutex::new(()),
            written: AtomicBool::new(false),
            clears: AtomicBool::new(false),
            changes: AtomicU32::new(0),
            shadow: AtomicU32::new(Shadow::UNKNOWN),
            state: Line(Mutex::default()),
        }
    }
}

impl<P: Program> Default for CellState<P> {
    fn default() -> Self {
        Self {
            committed: None,
            cleared: None,
            versions: VecDeque::new(),
            top: None,
            readers: SmallVec::new(),
            changes: 0,
        }
    }
}

impl<P: Program> fmt::Debug for Cell<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cell").field("base", &self.base).finish_non_exhaustive()
    }
}
