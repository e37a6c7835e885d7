//! Analysed code, shared by all workers and kept from block to block.
//!
//! Keyed by the hash of the very bytes that were analysed, so an entry can never be wrong, only missing; what a
//! speculative attempt puts in is as good as anything else. The cache is bounded by the bytes it holds.

use alloy_primitives::B256;
use dashmap::DashMap;
use revm::bytecode::Bytecode;
use ropewalk_state::{StateError, StateReader};

use std::sync::atomic::{AtomicUsize, Ordering};

/// Analysed code by hash.
#[derive(Debug)]
pub struct CodeCache {
    codes: DashMap<B256, Bytecode, foldhash::quality::RandomState>,
    /// Bytes of all codes in the map. Relaxed: it only decides when to drop entries.
    size_bytes: AtomicUsize,
    most_bytes: usize,
}

impl CodeCache {
    /// An empty cache that holds at most about `most_bytes` of code.
    #[must_use]
    pub fn new(most_bytes: usize) -> Self {
        Self { codes: DashMap::default(), size_bytes: AtomicUsize::new(0), most_bytes }
    }

    /// The code, analysed now and kept if it was not there.
    ///
    /// # Errors
    /// When the reader fails or does not hold the code.
    pub fn get_or_load(&self, hash: &B256, reader: &dyn StateReader) -> Result<Bytecode, StateError> {
        if let Some(code) = self.codes.get(hash) {
            return Ok(code.clone());
        }
        let bytes = reader.code(hash)?;
        // What starts like a delegation but is none was deployed before EIP-3541: it is code like any other.
        let code = Bytecode::new_raw_checked(bytes.clone()).unwrap_or_else(|_| Bytecode::new_legacy(bytes));
        self.make_room(code.len());
        self.codes.insert(*hash, code.clone());
        Ok(code)
    }

    /// The code, if it is here.
    pub fn get(&self, hash: &B256) -> Option<Bytecode> {
        self.codes.get(hash).map(|code| code.clone())
    }

    /// Drops everything when the next entry would pass the bound: hot code is back after one read each, and there is
    /// no bookkeeping on the way of a hit.
    fn make_room(&self, bytes: usize) {
        if self.size_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > self.most_bytes {
            self.codes.clear();
            self.size_bytes.store(bytes, Ordering::Relaxed);
        }
    }
}

impl Default for CodeCache {
    /// A cache of 256 MiB.
    fn default() -> Self {
        Self::new(256 << 20)
    }
}
