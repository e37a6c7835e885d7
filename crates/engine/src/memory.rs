//! Multi-version memory: per key, the writes so far ordered by transaction, over the state before the block.
//!
//! ```text
//! value at position j  =  bottom, then every write at a position below j in order
//! bottom               =  a value that was committed, or the base state where none was folded yet
//! ```
//!
//! No incarnation below the frontier runs, so the bottom is always part of what a reader may see, and so are the writes
//! below the frontier that are not part of it yet. A write that clears a shadow hides all older writes of the shadowed keys
//! and their base value; it is found through the shadow's own cell when the key is resolved.
//!
//! What a reader gets while others write is a guess that validation judges (I1). What the committing worker gets is
//! exact, because every lower transaction is committed and no higher one counts.

mod fetches;
mod folding;
mod over;
mod reads;
mod remains;
mod validation;
mod writes;

pub(crate) use reads::{Look, Reads};
pub use remains::{Remains, Remnant};
pub(crate) use validation::{Bounded, Wrong, bounded};
pub(crate) use writes::write_once;

use std::{fmt, ops::Range};

use self::fetches::Fetches;
use crate::{
    Base, CellId, Delta, Incarnation, KnownWrites, Position, Program, TxIndex,
    cell::{Cell, Shadow, Version},
    dirty::Dirty,
    sync::{AtomicBool, AtomicU32, Mutex, Ordering, Padded},
    table::{Entry, Known, Table},
};

/// Everything known about the keys of one block while it is executed. Made by the caller, once per block.
pub struct Memory<P: Program> {
    table: Table<P::Key, Cell<P>>,
    base: Box<dyn Base<P>>,
    /// What was said beforehand of the block's writes, if anything was.
    known_writes: Option<Box<dyn KnownWrites<P>>>,
    fetches: Fetches,
    /// Whether any write ever cleared a shadow. Set with release before that write is visible; read with acquire.
    clears: AtomicBool,
    /// The cells of these shadows, some of them twice.
    cleared: Mutex<Vec<CellId>>,
    /// Whether anybody counts on what a key [hides](Program::hides) before the block. A hint: relaxed. Who misses it asks the base
    /// state, which says the same.
    heeds_hiding: AtomicBool,
    /// Position of the lowest uncommitted transaction. Written by the committing worker with release after what the
    /// transaction wrote can be seen; read with acquire by views, which learn from it that they have become the frontier.
    frontier: Padded<AtomicU32>,
    /// Set when the run is over, so that attempts in flight end at their next read. A hint: relaxed.
    stopped: AtomicBool,
}

/// One write of an attempt.
#[derive(Debug, Clone)]
pub(crate) struct Write<P: Program> {
    pub(crate) cell: CellId,
    /// The [count of changes](Cell::changes) when the value was read that the change is known to fit.
    pub(crate) seen: u32,
    pub(crate) delta: P::Delta,
}

/// What became of one key that committed transactions wrote.
#[derive(Debug)]
pub struct Final<'a, P: Program> {
    /// The key.
    pub key: &'a P::Key,
    /// Its value before the block; `None` where nobody needed to know it.
    pub base: Option<&'a P::Value>,
    /// Its value after the last committed transaction.
    pub value: &'a P::Value,
    /// Whether a committed write cleared what this key shadows.
    pub cleared: bool,
}

/// What one transaction did to one key.
#[derive(Debug, Clone)]
pub struct Written<'a, P: Program> {
    /// The key.
    pub key: &'a P::Key,
    /// Its value below the transaction, even where the transaction itself clears what shadows the key.
    pub before: P::Value,
    /// Its value with all of the transaction's writes made.
    pub after: P::Value,
}

/// Why a value could not be resolved.
#[derive(Debug)]
pub(crate) enum Unresolved<F> {
    /// A lower transaction's aborted incarnation wrote there.
    Estimate(TxIndex),
    /// The base state failed.
    Fault(F),
}

impl<F> Unresolved<F> {
    /// The fault, where estimates were [taken](Estimates::Take).
    pub(crate) fn into_fault(self) -> F {
        match self {
            Self::Fault(fault) => fault,
            Self::Estimate(writer) => unreachable!("estimates were taken as values, nobody waits for {writer}"),
        }
    }
}

/// How a resolver treats estimates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Estimates {
    /// As the value that was written: the best guess there is.
    Take,
    /// As a reason to wait for their writer.
    Refuse,
}

impl<P: Program> Memory<P> {
    /// Bytes that each key takes, without what its values keep elsewhere and without what is written above a value.
    pub const BYTES_PER_KEY: usize = size_of::<Entry<P::Key, Cell<P>>>();

    /// An empty memory over `base`, sized for about `keys` keys.
    pub fn new(base: impl Base<P> + 'static, keys: usize) -> Self {
        Self {
            table: Table::with_capacity(keys),
            base: Box::new(base),
            known_writes: None,
            fetches: Fetches::default(),
            clears: AtomicBool::new(false),
            cleared: Mutex::default(),
            heeds_hiding: AtomicBool::new(false),
            frontier: Padded(AtomicU32::new(0)),
            stopped: AtomicBool::new(false),
        }
    }

    /// The same memory, which is still empty, for one thread at a time: a run over it has one worker, and keys and base values are
    /// entered with fewer atomic steps.
    ///
    /// Two threads that use it at once may give one key two cells, so that one misses what the other writes.
    ///
    /// # Panics
    /// Two threads that bring keys at once may panic, there or in what they do next.
    #[must_use]
    pub fn for_one_thread(mut self) -> Self {
        self.table.one_thread = true;
        self
    }

    /// Whether it is [for one thread](Self::for_one_thread) at a time.
    pub(crate) fn is_for_one_thread(&self) -> bool {
        self.table.one_thread
    }

    pub(crate) fn intern(&self, key: &P::Key) -> CellId {
        self.table.intern(key)
    }

    /// The same, for a worker who knows this of the table.
    pub(crate) fn intern_knowing(&self, key: &P::Key, known: &mut Known) -> CellId {
        self.table.intern_knowing(key, known)
    }

    /// What each of so many workers who come to this memory knows of its keys.
    pub(crate) fn known(&self, workers: usize) -> Known {
        if self.is_for_one_thread() { Known::default() } else { Known::new(workers) }
    }

    /// The key that a cell of this memory stands for.
    ///
    /// # Panics
    /// May panic for a cell of another memory.
    pub fn key(&self, cell: CellId) -> &P::Key {
        self.table.key(cell)
    }

    pub(crate) fn frontier(&self) -> Position {
        Position(self.frontier.0.load(Ordering::Acquire))
    }

    pub(crate) fn set_frontier(&self, frontier: Position) {
        self.frontier.0.store(frontier.0, Ordering::Release);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub(crate) fn set_stopped(&self, stopped: bool) {
        self.stopped.store(stopped, Ordering::Relaxed);
    }

    /// Hands the value of a cell as of `position` to `with`, together with the count of its changes.
    pub(crate) fn resolve<R>(
        &self,
        id: CellId,
        position: Position,
        estimates: Estimates,
        with: impl FnOnce(&P::Value, u32) -> R,
    ) -> Result<R, Unresolved<P::Fault>> {
        let cell = self.table.cell(id);
        if let Some(known) = &self.known_writes {
            return self.resolve_over(&**known, (id, cell), position, with);
        }
        let cleared = self.latest_clear(id, position);
        if cleared.is_none() && !cell.is_written() {
            return Ok(with(self.base_value(id, cell)?, 0));
        }
        let mut state = cell.state.0.lock();
        let needs_base = cleared.is_none() && state.committed().is_none();
        if needs_base && cell.base.get().is_none() {
            drop(state);
            self.base_value(id, cell)?;
            state = cell.state.0.lock();
        }
        let visible = visible_versions(state.versions(), position, cleared);
        let versions = state.versions();
        let whole = cleared.is_none() && !visible.is_empty() && visible.len() == versions.len();
        let top = state.top().filter(|_| whole);
        if let Some(top) = top.filter(|_| estimates == Estimates::Take) {
            return Ok(with(top, cell.changes()));
        }
        let visible = deciding_versions(versions, visible);
        if estimates == Estimates::Refuse
            && let Some(version) = versions[visible.clone()].iter().rev().find(|version| version.estimate)
            // Found wrong once, and committed all the same: it held in the end.
            && version.position >= self.frontier()
        {
            return Err(Unresolved::Estimate(TxIndex(version.position.0 - 1)));
        }
        if let Some(top) = top {
            return Ok(with(top, cell.changes()));
        }
        let visible = &versions[visible];
        let hidden;
        let bottom = match state.committed() {
            Some((at, value)) if cleared.is_none_or(|clear| at >= clear) => value,
            _ if cleared.is_some() => {
                hidden = P::hidden(self.key(id));
                &hidden
            }
            _ => self.base_value(id, cell)?,
        };
        if visible.is_empty() {
            return Ok(with(bottom, cell.changes()));
        }
        let mut value = bottom.clone();
        visible.iter().for_each(|version| version.delta.apply(&mut value));
        let result = with(&value, cell.changes());
        if whole {
            state.set_top(value);
        }
        Ok(result)
    }

    /// The base value, read now if nobody did before.
    fn base_value<'a>(&'a self, id: CellId, cell: &'a Cell<P>) -> Result<&'a P::Value, Unresolved<P::Fault>> {
        if let Some(value) = cell.base.get() {
            return Ok(value);
        }
        let Some(_fetching) = self.fetches.begin(id, cell, self.is_for_one_thread()) else {
            return Ok(cell.base.get().expect("somebody else has read it"));
        };
        let value = match self.is_hidden_before(id) {
            true => P::hidden(self.key(id)),
            false => self.base.read(self.key(id)).map_err(Unresolved::Fault)?,
        };
        Ok(cell.base.get_or_init(|| value))
    }

    /// Whether the key of a cell is known to be hidden before the block.
    fn is_hidden_before(&self, id: CellId) -> bool {
        let heeds = self.heeds_hiding.load(Ordering::Relaxed);
        heeds && self.shadow_of(id).is_some_and(|shadow| self.base_of(shadow).is_some_and(P::hides))
    }

    /// Whether the key of a cell is known to [hide](Program::hides) before the block what it shadows. What is read of that from now
    /// on is not asked of the base state.
    pub(crate) fn hides_before(&self, id: CellId) -> bool {
        let hides = self.base_of(id).is_some_and(P::hides);
        if hides && !self.heeds_hiding.load(Ordering::Relaxed) {
            self.heeds_hiding.store(true, Ordering::Relaxed);
        }
        hides
    }

    /// Position of the last write below `position` that hides older writes of this cell's key.
    fn latest_clear(&self, id: CellId, position: Position) -> Option<Position> {
        if !self.clears.load(Ordering::Acquire) {
            return None;
        }
        let cell = self.cleared_shadow(id)?;
        let state = cell.state.0.lock();
        state.cleared_below(position)
    }

    /// The cell of the key's shadow, if somebody has named that.
    fn shadow_of(&self, id: CellId) -> Option<CellId> {
        let cell = self.table.cell(id);
        let mut shadow = cell.shadow();
        if shadow == Shadow::Unknown {
            let find = |key| self.table.find(&key).map_or(Shadow::Unknown, |found| Shadow::Cell(found.number()));
            shadow = P::shadow(self.key(id)).map_or(Shadow::None, find);
            cell.set_shadow(shadow);
        }
        match shadow {
            // One that nobody has named yet may be named later.
            Shadow::Unknown | Shadow::None => None,
            Shadow::Cell(number) => Some(CellId::of(number)),
        }
    }

    /// The cell of the key's shadow, if a write there ever cleared what it shadows.
    fn cleared_shadow(&self, id: CellId) -> Option<&Cell<P>> {
        self.shadow_of(id).map(|shadow| self.table.cell(shadow)).filter(|shadow| shadow.has_cleared())
    }

    /// Whether readers of a cell find what they found when there were so many changes.
    fn is_unchanged(&self, id: CellId, seen: u32) -> bool {
        // What a clear hides is not counted as a change of what it hides.
        self.table.cell(id).changes() == seen
            && (!self.clears.load(Ordering::Acquire) || self.cleared_shadow(id).is_none())
    }

    /// The value of `key` before the block, where somebody needed to know it.
    pub fn base(&self, key: &P::Key) -> Option<&P::Value> {
        self.table.cell(self.table.find(key)?).base.get()
    }

    /// Records the value of `key` before the block, so that the base state is not asked for it. Does nothing where the
    /// value is known already.
    pub fn preload(&self, key: &P::Key, value: P::Value) {
        // Whoever comes second brings the same value: a base state is a snapshot.
        let _ = self.table.cell(self.intern(key)).base.set(value);
    }

    /// The value before the block of a cell's key, where somebody needed to know it.
    ///
    /// # Panics
    /// May panic for a cell of another memory.
    pub fn base_of(&self, cell: CellId) -> Option<&P::Value> {
        self.table.cell(cell).base.get()
    }

    /// Makes an incarnation's writes visible to higher transactions and drops those of earlier incarnations (`before`:
    /// the cells they wrote). Adds the transactions that may have to run again to `dirty`. Tells `moved` from which count of
    /// changes to which each write has led: who looked before saw the same below it as who looks now.
    pub(crate) fn publish(
        &self,
        position: Position,
        incarnation: Incarnation,
        writes: &[Write<P>],
        before: &[CellId],
        dirty: &mut Dirty,
        mut moved: impl FnMut(CellId, u32, u32),
    ) {
        for write in writes {
            let cell = self.announce(write);
            let version = Version { position, incarnation, estimate: false, delta: write.delta.clone() };
            cell.change(position, false, dirty, |state, change, dirty| {
                if state.versions().len() >= MOST_UNFOLDED {
                    self.fold_committed(write.cell, cell, state);
                }
                let seen = change.count;
                state.publish(version, dirty).into_iter().for_each(|fields| change.add(1, fields));
                moved(write.cell, seen, change.count);
            });
        }
        self.retract(position, incarnation, before, dirty);
    }

    /// Drops what incarnations before `incarnation` wrote to `cells`.
    pub(crate) fn retract(&self, position: Position, incarnation: Incarnation, cells: &[CellId], dirty: &mut Dirty) {
        for id in cells {
            self.table.cell(*id).change(position, false, dirty, |state, change, dirty| {
                state.retract(position, incarnation, dirty).into_iter().for_each(|fields| change.add(1, fields));
            });
        }
    }

    /// Marks the writes of an aborted incarnation, so that readers wait for its successor.
    pub(crate) fn mark_estimates(&self, position: Position, cells: impl Iterator<Item = CellId>) {
        for id in cells {
            let mut state = self.table.cell(id).state.0.lock();
            let at = state.versions_at(position);
            state.versions_mut()[at].iter_mut().for_each(|version| version.estimate = true);
        }
    }

    /// Says that a write clears before it can be seen.
    fn announce(&self, write: &Write<P>) -> &Cell<P> {
        let cell = self.table.cell(write.cell);
        if write.delta.clears_shadowed() {
            self.note_clear(write.cell, cell);
        }
        cell
    }

    fn note_clear(&self, id: CellId, cell: &Cell<P>) {
        if !cell.has_cleared() {
            self.cleared.lock().push(id);
            cell.note_clear();
        }
        self.clears.store(true, Ordering::Release);
    }
}

/// Versions of a key from which on those that are committed are folded into the value below them. Tests have short lists.
const MOST_UNFOLDED: usize = if cfg!(test) { 2 } else { 8 };

/// The versions that a reader at `position` sees on top of the bottom.
fn visible_versions<P: Program>(
    versions: &[Version<P>],
    position: Position,
    cleared: Option<Position>,
) -> Range<usize> {
    let end = versions.partition_point(|version| version.position < position);
    let start = cleared.map_or(0, |clear| versions.partition_point(|version| version.position < clear));
    start.min(end)..end
}

/// Those of the visible versions on which the value depends: from the last absolute one on.
fn deciding_versions<P: Program>(versions: &[Version<P>], visible: Range<usize>) -> Range<usize> {
    let mut from_above = versions[visible.clone()].iter().rev();
    match from_above.position(|version| version.delta.is_absolute()) {
        Some(above) => visible.end - 1 - above..visible.end,
        None => visible,
    }
}

impl<P: Program> fmt::Debug for Memory<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("table", &self.table).field("frontier", &self.frontier).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests;
