//! The whole state of a chain, carried along from its genesis, block by block.
//!
//! A recorded prestate is a part of the state: it gives no root. But where a fixture names the genesis of its chain, and
//! the chain's blocks are replayed from block 1 on, the state is known in whole, and with it every root, and what it
//! takes to make a witness.

use std::{collections::VecDeque, sync::Arc};

use alloy_consensus::Header;
use alloy_primitives::{B256, Bytes};
use ropewalk_state::trie::StateTrie;

use crate::{fixture::Fixture, import::GenesisBlock};

/// Blocks whose hashes a block may ask for.
const BLOCK_HASHES: usize = 256;

/// The state after one block of a chain that began at its genesis.
#[derive(Debug, Clone)]
pub(super) struct WholeState {
    /// Hash of the block.
    head: B256,
    /// Its state.
    pub(super) trie: StateTrie,
    /// Headers of the chain up to the block, the latest last, as many as a block may ask for.
    headers: VecDeque<Arc<Header>>,
}

impl WholeState {
    /// The state before the fixture's block: `latest` where that is its parent's, or that of the genesis.
    pub(super) fn before(fixture: &Fixture, latest: Option<&Self>) -> Option<Self> {
        let parent = fixture.block.header.parent_hash;
        if let Some(latest) = latest.filter(|latest| latest.head == parent) {
            return Some(latest.clone());
        }
        let genesis = fixture.chain.genesis.as_ref().filter(|_| fixture.number() == 1)?;
        let genesis = GenesisBlock::of(genesis).ok().filter(|genesis| genesis.hash == parent)?;
        let headers = VecDeque::from([Arc::new(genesis.header)]);
        Some(Self { head: parent, trie: StateTrie::of(&genesis.state), headers })
    }

    /// The state after the fixture's block, which `trie` is.
    pub(super) fn after(mut self, fixture: &Fixture, trie: StateTrie) -> Self {
        self.headers.push_back(Arc::new(fixture.block.header.clone()));
        if self.headers.len() > BLOCK_HASHES {
            self.headers.pop_front();
        }
        Self { head: fixture.block.hash, trie, headers: self.headers }
    }

    /// RLP of the headers from block `oldest` to the head, and at least of the head's.
    pub(super) fn headers_from(&self, oldest: Option<u64>) -> Vec<Bytes> {
        let head = self.headers.back().map_or(0, |header| header.number);
        let from = oldest.unwrap_or(head).min(head);
        let wanted = self.headers.iter().filter(|header| header.number >= from);
        wanted.map(|header| alloy_rlp::encode(&**header).into()).collect()
    }
}
