//! What a snapshot is known not to hold.
//!
//! Blocks ask again and again for accounts that do not exist and for slots that were never written: new addresses, the
//! slots of a token for those who do not have any. A filter answers such a question without touching data, after two
//! hashes and a look at every memtable; the second time it is answered here. A snapshot does not change, so what was
//! absent once stays absent, and nothing has to be forgotten; there is a bound, and what comes after it is not remembered.

use std::sync::atomic::{AtomicUsize, Ordering};

use alloy_primitives::{Address, U256, map::DefaultHashBuilder};
use dashmap::DashSet;

/// Most keys that are remembered: with about 100 bytes each, 6 MiB for a snapshot.
const MOST: usize = 1 << 16;

/// An account, or one of its slots.
type Key = (Address, Option<U256>);

/// Keys that are not there.
#[derive(Debug, Default)]
pub(crate) struct Absent {
    keys: DashSet<Key, DefaultHashBuilder>,
    count: AtomicUsize,
}

impl Absent {
    /// Whether the key is known to be absent.
    pub(crate) fn contains(&self, key: &Key) -> bool {
        self.keys.contains(key)
    }

    /// Remembers that the key is absent, if there is room.
    pub(crate) fn insert(&self, key: Key) {
        if self.count.load(Ordering::Relaxed) < MOST && self.keys.insert(key) {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
    }
}
