//! What one worker knows of a table.
//!
//! A look-up in the table goes through lines that other workers write to whenever they bring a key that lies near. Most keys are
//! named again soon, and then where they are is found here. Cells of new keys come from chunks that are the worker's own, so that
//! it does not wait for the lines of another that made them.

use std::{hash::Hash, ops::Range};

use super::{CellId, Table, entry_word};

/// Keys that a worker has named lately, and ids that are its own to give out.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// As the slots of the table, each key in one place; a key takes the place of another.
    slots: Box<[u64]>,
    /// The ids left of a chunk; `None` where it has none of its own. When the worker ends, they stand for no key.
    own: Option<Range<u32>>,
}

/// Keys that are known. Tests have few.
const PLACES: usize = if cfg!(test) { 4 } else { 1 << 10 };

/// Workers up to which each has chunks of its own. More of them than there are cores wait for reads, and each making cells
/// for itself takes a fifth longer.
const MOST_OWNERS: usize = 16;

impl Known {
    /// Knows nothing yet. So many workers there are.
    pub(crate) fn new(workers: usize) -> Self {
        Self { slots: vec![0; PLACES].into(), own: (workers <= MOST_OWNERS).then_some(0..0) }
    }
}

impl<K: Eq + Hash + Clone, C: Default> Table<K, C> {
    /// The id of `key`, made now if the key is new, for a worker who knows this of the table.
    pub(crate) fn intern_knowing(&self, key: &K, known: &mut Known) -> CellId {
        let hash = self.hash(key);
        let place = hash as usize % PLACES;
        let Some(slot) = known.slots.get(place) else { return self.intern_hashed(hash, key, None) };
        if *slot != 0
            && let Some(id) = self.matching(*slot, hash, key)
        {
            return id;
        }
        let id = self.intern_hashed(hash, key, known.own.as_mut());
        known.slots[place] = entry_word(hash, id);
        id
    }
}
