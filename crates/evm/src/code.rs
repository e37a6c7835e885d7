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

#[cfg(test)]
mod tests {
    use alloy_primitives::Bytes;
    use ropewalk_state::{Completeness, MemoryState};

    use super::*;

    fn state(codes: &[&[u8]]) -> (MemoryState, Vec<B256>) {
        let mut state = MemoryState::new(Completeness::Assumed);
        let hashes = codes.iter().map(|code| state.insert_code(Bytes::copy_from_slice(code))).collect();
        (state, hashes)
    }

    #[test]
    fn code_is_read_once_and_found_by_its_hash() {
        let (state, hashes) = state(&[&[0x60, 1], &[0x60, 2]]);
        let cache = CodeCache::default();
        assert_eq!(cache.get(&hashes[0]), None);
        let code = cache.get_or_load(&hashes[0], &state).expect("recorded");
        assert_eq!(code.original_bytes(), [0x60, 1][..]);
        let empty = MemoryState::new(Completeness::Assumed);
        assert_eq!(cache.get_or_load(&hashes[0], &empty).expect("kept"), code);
        assert!(matches!(cache.get_or_load(&hashes[1], &empty), Err(StateError::MissingCode(_))));
    }

    #[test]
    fn code_that_starts_like_a_delegation_and_is_none_is_code_like_any_other() {
        let delegation = [&[0xef, 0x01, 0x00][..], &[7; 20]].concat();
        let (state, hashes) = state(&[&delegation, &delegation[..22], &[0xef, 0x01, 0x01]]);
        let cache = CodeCache::default();
        let codes: Vec<_> = hashes.iter().map(|hash| cache.get_or_load(hash, &state).expect("recorded")).collect();
        assert_eq!([0, 1, 2].map(|at: usize| codes[at].is_eip7702()), [true, false, false]);
        assert_eq!(codes[1].original_bytes(), delegation[..22]);
    }

    #[test]
    fn a_full_cache_makes_room() {
        let (state, hashes) = state(&[&[1; 60], &[2; 60]]);
        let cache = CodeCache::new(100);
        cache.get_or_load(&hashes[0], &state).expect("recorded");
        cache.get_or_load(&hashes[1], &state).expect("recorded");
        assert_eq!([cache.get(&hashes[0]).is_some(), cache.get(&hashes[1]).is_some()], [false, true]);
    }
}
