//! What a recorded block is executed on: its recorded state in memory.
//!
//! A prestate is that already. A witness is not: a read walks a trie. The oracle's first run over it is recorded, and
//! later runs read what it read from maps, so that what is timed is execution.

use std::sync::Arc;

use alloy_primitives::B256;
use ropewalk_block::{BlockError, BlockOutcome, oracle};
use ropewalk_state::{Changes, MemoryState, StateError, StateReader, Witness};

use crate::{
    fixture::{Fixture, RecordedState},
    recording::{Recording, Warm},
};

/// The state before a block, in memory.
#[derive(Debug, Clone)]
pub struct Ground(Source);

#[derive(Debug, Clone)]
enum Source {
    Prestate(Arc<MemoryState>),
    Witness(Arc<Warm<Witness>>),
}

impl Ground {
    /// Takes the state out of a fixture, and runs the oracle on it: what it says is the truth about the block.
    ///
    /// # Errors
    /// When the state gives an answer once and fails to give it again.
    pub fn prepare(fixture: &mut Fixture) -> Result<(Self, Result<BlockOutcome, BlockError>), StateError> {
        let state = std::mem::replace(&mut fixture.state, RecordedState::Prestate(MemoryState::default()));
        let (chain, block) = (&fixture.chain.spec, &fixture.block);
        match state {
            RecordedState::Prestate(state) => {
                let result = oracle::execute(chain, block, &state);
                Ok((Self(Source::Prestate(Arc::new(state))), result))
            }
            RecordedState::Witness(witness) => {
                let recording = Recording::new(*witness);
                let result = oracle::execute(chain, block, &recording);
                Ok((Self(Source::Witness(Arc::new(recording.warm()?))), result))
            }
        }
    }

    /// The state, for execution.
    pub fn reader(&self) -> Arc<dyn StateReader> {
        match &self.0 {
            Source::Prestate(state) => Arc::clone(state) as Arc<dyn StateReader>,
            Source::Witness(warm) => Arc::clone(warm) as Arc<dyn StateReader>,
        }
    }

    /// The accounts and slots that are recorded, for a database to begin with.
    pub fn recorded(&self) -> &MemoryState {
        match &self.0 {
            Source::Prestate(state) => state,
            Source::Witness(warm) => warm.answers(),
        }
    }

    /// The witness that the state is read through, where it is one.
    pub(crate) fn witness(&self) -> Option<&Witness> {
        match &self.0 {
            Source::Prestate(_) => None,
            Source::Witness(warm) => Some(warm.source()),
        }
    }

    /// Root of the state after `changes`; `None` where the recorded state is not enough to know it. Runs on the rayon
    /// pool that it is called in.
    ///
    /// # Errors
    /// When a witness lacks a node that the changes need.
    pub fn root_after(&self, changes: &Changes) -> Result<Option<B256>, StateError> {
        match &self.0 {
            Source::Prestate(_) => Ok(None),
            Source::Witness(warm) => warm.source().state_root_after(changes).map(Some),
        }
    }
}
