//! Interning: every key of a block gets one dense id and one cell.
//!
//! Open addressing over levels of growing size, insert only. A slot goes from empty to taken once and never changes
//! again, so a look-up takes no lock: it probes a short window of each level and stops at the first empty slot.
//!
//! - T1 A key sits in the first level whose window had an empty slot when it came: an empty slot met on the way proves
//!   that the key is nowhere.
//! - T2 Two threads that bring the same key race for the same slot with compare-and-swap; the loser finds the winner's
//!   entry there, compares the full key and uses it. The id that the loser made stays unused.
//! - T3 Hashes are keyed per process, and a match is decided by the full key, so no input can make two keys one.
//!   Colliding keys only fill windows and move on to further levels.

use std::{
    fmt,
    hash::{BuildHasher, Hash},
    ops::Range,
};

// A schedule that failed under shuttle is replayed step by step: hashes must be the same then.
#[cfg(feature = "shuttle")]
use foldhash::quality::FixedState as RandomState;
#[cfg(not(feature = "shuttle"))]
use foldhash::quality::RandomState;

use crate::{
    Engine,
    sync::{AtomicU32, AtomicU64, Mutex, OnceLock, Ordering, Padded},
};

mod known;

pub(crate) use known::Known;

/// Dense number of a key within one run, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CellId(u32);

/// Ids that are given out: whoever names a cell by number has one bit and two numbers to spare.
pub(crate) const MOST_IDS: u32 = (1 << 31) - 2;
/// Slots that a look-up probes per level.
const WINDOW: usize = 16;
/// Slots of the smallest first level.
const SMALLEST_LEVEL: usize = 1 << 5;
/// Slots from which on each level has twice as many as the one before, and below which it has eight times as many: a block with far
/// more keys than its gas lets expect is not to look through many full levels for each.
const LARGE_LEVEL: usize = 1 << 11;
/// Levels; together they hold more keys than a `u32` can number.
const LEVELS: usize = 27;
/// Cells of the first chunk.
const FIRST_CHUNK: usize = 1 << 3;
/// Chunks of one size, a power of two; those after them have twice as many cells. A chunk is made as a whole, by the worker
/// whose keys it is for: with many keys about a tenth of the cells is made for nobody, for each worker.
const ALIKE_CHUNKS: usize = 1 << 3;
/// Chunks; together they hold more cells than a `u32` can number.
const CHUNKS: usize = 27 * ALIKE_CHUNKS;
/// Chunks that are reached at once: those of the first few dozen cells. A table is moved about, so it is not to be large.
const NEAR_CHUNKS: usize = ALIKE_CHUNKS;

/// Cells that are worth another thread when they are freed.
const LEAST_FREED: usize = 4096;

/// Keys with one cell of type `C` each.
pub(crate) struct Table<K, C> {
    hasher: RandomState,
    /// Slots of the first level, a power of two.
    first_level: usize,
    /// A slot is 0 when empty, else `tag << 32 | id + 1`. Written once, by the thread that brings the key, with
    /// release; read with acquire, which makes the entry's key visible.
    level: OnceLock<Slots>,
    /// The other levels. Small blocks neither need nor make them: a table is made, moved and given up within microseconds.
    further: OnceLock<Box<[OnceLock<Slots>; LEVELS - 1]>>,
    /// The first chunks, and the others, which small blocks do not make either.
    near: [OnceLock<Chunk<K, C>>; NEAR_CHUNKS],
    far: OnceLock<Box<FarChunks<K, C>>>,
    /// Chunks that were begun. Relaxed: an id is published by the slot that holds it.
    begun: Padded<AtomicU32>,
    /// The ids that are next for whoever has none of its own: `end << 32 | next`. Relaxed.
    common: AtomicU64,
    /// Whether keys come from one thread at a time, so that none races another for a slot.
    pub(crate) one_thread: bool,
}

type Slots = Box<[AtomicU64]>;
type Chunk<K, C> = Box<[Entry<K, C>]>;
type FarChunks<K, C> = [OnceLock<Chunk<K, C>>; CHUNKS - NEAR_CHUNKS];

/// A key and its cell.
#[derive(Debug)]
pub(crate) struct Entry<K, C> {
    key: OnceLock<K>,
    cell: C,
}

impl<K, C> Entry<K, C> {
    /// Key and cell, if the number was given out.
    pub(crate) fn taken(&mut self) -> Option<(&K, &mut C)> {
        Some((self.key.get()?, &mut self.cell))
    }
}

impl CellId {
    /// The id of this number, which was [given out](Self::number).
    pub fn of(number: u32) -> Self {
        Self(number)
    }

    /// The number, which is not the greatest that there is.
    pub fn number(self) -> u32 {
        self.0
    }

    /// The number as a subscript.
    pub fn at(self) -> usize {
        self.0 as usize
    }
}

impl<K: Eq + Hash + Clone, C: Default> Table<K, C> {
    /// An empty table that holds about `keys` keys in its first level; it grows beyond that.
    pub(crate) fn with_capacity(keys: usize) -> Self {
        let first_level = keys.clamp(SMALLEST_LEVEL / 2, 1 << 24).next_power_of_two() * 2;
        Self {
            hasher: RandomState::default(),
            first_level,
            level: OnceLock::new(),
            further: OnceLock::new(),
            near: [const { OnceLock::new() }; NEAR_CHUNKS],
            far: OnceLock::new(),
            begun: Padded(AtomicU32::new(0)),
            common: AtomicU64::new(0),
            one_thread: false,
        }
    }

    /// The id of `key`, made now if the key is new.
    pub(crate) fn intern(&self, key: &K) -> CellId {
        self.intern_hashed(self.hash(key), key, None)
    }

    fn hash(&self, key: &K) -> u64 {
        self.hasher.hash_one(key)
    }

    /// `own` are ids that are the caller's to give out; they are filled up when there are none left.
    fn intern_hashed(&self, hash: u64, key: &K, mut own: Option<&mut Range<u32>>) -> CellId {
        let mut made = None;
        for number in 0..LEVELS {
            let slots = self.made_level(number);
            for probe in 0..WINDOW {
                let slot = &slots[(hash as usize).wrapping_add(probe) & (slots.len() - 1)];
                let mut taken = slot.load(Ordering::Acquire);
                if taken == 0 {
                    let id = *made.get_or_insert_with(|| self.allocate(key, own.as_deref_mut()));
                    if self.one_thread {
                        slot.store(entry_word(hash, id), Ordering::Release);
                        return id;
                    }
                    match slot.compare_exchange(0, entry_word(hash, id), Ordering::Release, Ordering::Acquire) {
                        Ok(_) => return id,
                        Err(other) => taken = other,
                    }
                }
                if let Some(id) = self.matching(taken, hash, key) {
                    return id;
                }
            }
        }
        unreachable!("the levels hold more keys than ids exist, and ids run out with a panic first")
    }

    /// The id of `key`, if it has one.
    pub(crate) fn find(&self, key: &K) -> Option<CellId> {
        let hash = self.hash(key);
        for number in 0..LEVELS {
            let slots = self.level(number)?;
            for probe in 0..WINDOW {
                let taken = slots[(hash as usize).wrapping_add(probe) & (slots.len() - 1)].load(Ordering::Acquire);
                if taken == 0 {
                    return None;
                }
                if let Some(id) = self.matching(taken, hash, key) {
                    return Some(id);
                }
            }
        }
        None
    }

    /// The key that `id` stands for.
    #[inline]
    pub(crate) fn key(&self, id: CellId) -> &K {
        self.entry(id).key.get().expect("an id is published after its key is set")
    }

    /// The cell of `id`.
    #[inline]
    pub(crate) fn cell(&self, id: CellId) -> &C {
        &self.entry(id).cell
    }

    /// Ids given out so far, and those that workers still have to give out.
    pub(crate) fn len(&self) -> usize {
        first_of(self.begun.0.load(Ordering::Relaxed) as usize)
    }

    /// Keys and cells of the ids that were given out. Not to be called while keys are being added.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (CellId, &K, &C)> {
        (0..self.len() as u32).map(CellId).filter_map(|id| {
            let entry = self.made_entry(id)?;
            Some((id, entry.key.get()?, &entry.cell))
        })
    }

    /// All entries that may have been given out, in so many parts of about the same size.
    pub(crate) fn parts_mut(&mut self, parts: usize) -> Vec<Vec<&mut [Entry<K, C>]>> {
        let mut left = self.len();
        let size = left.div_ceil(parts.max(1)).max(1);
        let mut split: Vec<Vec<&mut [Entry<K, C>]>> = vec![Vec::new()];
        let mut room = size;
        let far = self.far.get_mut().into_iter().flat_map(|far| far.iter_mut());
        for chunk in self.near.iter_mut().chain(far).filter_map(OnceLock::get_mut) {
            let used = left.min(chunk.len());
            left -= used;
            let mut rest = &mut chunk[..used];
            while !rest.is_empty() {
                if room == 0 {
                    split.push(Vec::new());
                    room = size;
                }
                let (part, others) = rest.split_at_mut(room.min(rest.len()));
                room -= part.len();
                split.last_mut().expect("there is a part").push(part);
                rest = others;
            }
        }
        split
    }

    /// Frees the cells on several threads: on one it takes as long as a good part of the run did.
    pub(crate) fn free(self, engine: &Engine)
    where
        K: Send,
        C: Send,
    {
        let count = self.len();
        if engine.parts(count, LEAST_FREED) == 1 {
            return;
        }
        // The last are the largest.
        let far = self.far.into_inner().into_iter().flat_map(|far| *far);
        let chunks = self.near.into_iter().chain(far).filter_map(OnceLock::into_inner);
        let chunks = Mutex::new(chunks.collect::<Vec<_>>());
        engine.in_parts(count, LEAST_FREED, |_| {
            let next = || chunks.lock().pop();
            while let Some(chunk) = next() {
                drop(chunk);
            }
        });
    }

    /// The slots of a level, if somebody made it.
    fn level(&self, number: usize) -> Option<&[AtomicU64]> {
        let level = match number.checked_sub(1) {
            None => &self.level,
            Some(further) => &self.further.get()?[further],
        };
        level.get().map(|slots| &slots[..])
    }

    /// The slots of a level, made now if nobody did.
    fn made_level(&self, number: usize) -> &[AtomicU64] {
        let level = match number.checked_sub(1) {
            None => &self.level,
            Some(further) => &self.further.get_or_init(|| Box::new([const { OnceLock::new() }; LEVELS - 1]))[further],
        };
        level.get_or_init(|| empty_slots(self.slots_of(number)))
    }

    /// How many slots a level has.
    fn slots_of(&self, number: usize) -> usize {
        (0..number).fold(self.first_level, |slots, _| if slots < LARGE_LEVEL { 8 * slots } else { 2 * slots })
    }

    #[inline]
    fn matching(&self, taken: u64, hash: u64, key: &K) -> Option<CellId> {
        // Most of what a look-up passes is other keys, and few of them have its tag.
        if taken >> 32 != hash >> 32 { None } else { self.same(taken, key) }
    }

    fn same(&self, taken: u64, key: &K) -> Option<CellId> {
        let id = CellId((taken as u32) - 1);
        (self.key(id) == key).then_some(id)
    }

    /// The next id to be given out: of the caller's own, or of those that are common to all.
    fn next_id(&self, own: Option<&mut Range<u32>>) -> u32 {
        let Some(own) = own else { return self.next_common_id() };
        own.next().unwrap_or_else(|| {
            *own = self.begin_chunk();
            own.next().expect("no chunk is empty")
        })
    }

    fn next_common_id(&self) -> u32 {
        let mut known = self.common.load(Ordering::Relaxed);
        loop {
            let (next, end) = (known as u32, (known >> 32) as u32);
            let left = if next < end { next..end } else { self.begin_chunk() };
            let after = u64::from(left.end) << 32 | u64::from(left.start + 1);
            if self.one_thread {
                self.common.store(after, Ordering::Relaxed);
                return left.start;
            }
            // Of two who begin a chunk, one does it for nothing.
            match self.common.compare_exchange_weak(known, after, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return left.start,
                Err(other) => known = other,
            }
        }
    }

    /// Makes the next chunk. Returns its ids, which nobody else has.
    fn begin_chunk(&self) -> Range<u32> {
        let number = match self.one_thread {
            true => {
                let number = self.begun.0.load(Ordering::Relaxed);
                self.begun.0.store(number + 1, Ordering::Relaxed);
                number
            }
            false => self.begun.0.fetch_add(1, Ordering::Relaxed),
        } as usize;
        let ids = first_of(number)..first_of(number + 1);
        assert!(ids.end < MOST_IDS as usize, "a block cannot touch two billion keys");
        let chunk = match number.checked_sub(NEAR_CHUNKS) {
            None => &self.near[number],
            Some(far) => &self.far.get_or_init(|| Box::new([const { OnceLock::new() }; CHUNKS - NEAR_CHUNKS]))[far],
        };
        let cells = || ids.clone().map(|_| Entry { key: OnceLock::new(), cell: C::default() }).collect();
        assert!(chunk.set(cells()).is_ok(), "chunk {number} was begun twice");
        ids.start as u32..ids.end as u32
    }

    fn allocate(&self, key: &K, own: Option<&mut Range<u32>>) -> CellId {
        let id = CellId(self.next_id(own));
        let fresh = self.entry(id).key.set(key.clone()).is_ok();
        assert!(fresh, "id {} was given out twice", id.0);
        id
    }

    #[inline]
    fn entry(&self, id: CellId) -> &Entry<K, C> {
        self.made_entry(id).expect("an id is published after its chunk is made")
    }

    /// The entry of an id, if its chunk is made.
    #[inline]
    fn made_entry(&self, id: CellId) -> Option<&Entry<K, C>> {
        let (number, at) = chunk_of(id.0);
        let chunk = match number.checked_sub(NEAR_CHUNKS) {
            None => self.near[number].get(),
            Some(far) => self.far.get().and_then(|chunks| chunks[far].get()),
        };
        Some(&chunk?[at])
    }
}

/// Upper half of the hash as tag (never compared alone), id plus one so that no entry is 0.
fn entry_word(hash: u64, id: CellId) -> u64 {
    (hash >> 32 << 32) | u64::from(id.0 + 1)
}

fn empty_slots(len: usize) -> Box<[AtomicU64]> {
    (0..len).map(|_| AtomicU64::new(0)).collect()
}

/// Chunk and place in it of an id. In units of the first chunk, those of size `2^n` begin where `ALIKE_CHUNKS * (2^n - 1)` lie
/// before them.
#[inline]
fn chunk_of(id: u32) -> (usize, usize) {
    let shifted = id as usize + ALIKE_CHUNKS * FIRST_CHUNK;
    let doublings = (shifted / (ALIKE_CHUNKS * FIRST_CHUNK)).ilog2() as usize;
    let bits = doublings + FIRST_CHUNK.ilog2() as usize;
    let alike = (shifted >> bits) - ALIKE_CHUNKS;
    (doublings * ALIKE_CHUNKS + alike, shifted & ((1 << bits) - 1))
}

/// The first id of a chunk.
fn first_of(number: usize) -> usize {
    let (doublings, alike) = (number / ALIKE_CHUNKS, number % ALIKE_CHUNKS);
    ((ALIKE_CHUNKS + alike) << doublings) * FIRST_CHUNK - ALIKE_CHUNKS * FIRST_CHUNK
}

impl<K, C> fmt::Debug for Table<K, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("chunks", &self.begun).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests;
