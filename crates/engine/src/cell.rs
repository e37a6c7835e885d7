//! The versions of one key.
//!
//! A cell holds the value before the block once somebody asked for it, the value as of the commit frontier once
//! somebody committed a write, and the writes of speculative incarnations above the frontier, ordered by position.
//! Committing a write folds it into the committed value, so a read never walks further than the speculation window.

use std::fmt;

use smallvec::SmallVec;

use crate::{
    Delta, Fields, Incarnation, Position, Program,
    sync::{AtomicBool, Mutex, OnceLock},
};

/// One key's place in multi-version memory. Lock order: `fetch` before nothing, `state` alone; no two cells at once.
pub(crate) struct Cell<P: Program> {
    /// Value before the block. Set once by whoever reads it first.
    pub(crate) base: OnceLock<P::Value>,
    /// Held while the base state is read, so that it is read once.
    pub(crate) fetch: Mutex<()>,
    /// Whether `state` was ever more than its default. Set with release by the first writer, before its write is
    /// visible in `state`; a reader that acquires `false` may go on to `base` without the lock. Such a reader can miss
    /// a write that lands meanwhile: validation decides (I1).
    pub(crate) written: AtomicBool,
    pub(crate) state: Mutex<CellState<P>>,
}

pub(crate) struct CellState<P: Program> {
    /// Value as of the commit frontier, with the position of the last committed write.
    pub(crate) committed: Option<(Position, P::Value)>,
    /// Last committed write that hides older writes of the keys shadowed by this one.
    pub(crate) cleared: Option<Position>,
    /// Writes of uncommitted incarnations, ascending by position.
    pub(crate) versions: Vec<Version<P>>,
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

/// Readers that are kept before those already committed are dropped.
const READERS_BEFORE_PRUNING: usize = 8;

impl<P: Program> CellState<P> {
    /// Notes that the transaction at `position` depends on `fields`.
    pub(crate) fn add_reader(&mut self, reader: Reader, frontier: Position) {
        if let Some(known) = self.readers.iter_mut().rev().find(|known| known.position == reader.position) {
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

    /// Adds a version, replacing what earlier incarnations of its transaction wrote here. Collects whom that affects.
    pub(crate) fn publish(&mut self, version: Version<P>, dirty: &mut Vec<Position>) {
        let position = version.position;
        let (mut unchanged, mut fields) = (false, version.delta.fields());
        self.versions.retain(|old| {
            let replaced = old.position == position && old.incarnation < version.incarnation;
            if replaced {
                unchanged = old.delta == version.delta;
                fields |= old.delta.fields();
            }
            !replaced
        });
        let at = self.versions.partition_point(|other| other.position <= position);
        self.versions.insert(at, version);
        if !unchanged {
            self.changes += 1;
            self.collect_dirty(position, fields, dirty);
        }
    }

    /// Drops what incarnations of the transaction at `position` before `incarnation` wrote. Collects whom that affects.
    pub(crate) fn retract(&mut self, position: Position, incarnation: Incarnation, dirty: &mut Vec<Position>) {
        let mut fields = 0;
        self.versions.retain(|old| {
            let dropped = old.position == position && old.incarnation < incarnation;
            if dropped {
                fields |= old.delta.fields();
            }
            !dropped
        });
        if fields != 0 {
            self.changes += 1;
            self.collect_dirty(position, fields, dirty);
        }
    }
}

impl<P: Program> Default for Cell<P> {
    fn default() -> Self {
        Self {
            base: OnceLock::new(),
            fetch: Mutex::new(()),
            written: AtomicBool::new(false),
            state: Mutex::new(CellState {
                committed: None,
                cleared: None,
                versions: Vec::new(),
                readers: SmallVec::new(),
                changes: 0,
            }),
        }
    }
}

impl<P: Program> fmt::Debug for Cell<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cell").field("base", &self.base).finish_non_exhaustive()
    }
}
