//! The state before the block, read through a [`StateReader`].

use std::sync::Arc;

use ropewalk_engine::Base;
use ropewalk_state::{StateError, StateReader};

use crate::{EvmKey, EvmProgram, EvmValue};

/// The engine's base state over a reader.
pub struct ReaderBase(Arc<dyn StateReader>);

impl ReaderBase {
    /// Reads through `reader`.
    pub fn new(reader: Arc<dyn StateReader>) -> Self {
        Self(reader)
    }
}

impl Base<EvmProgram> for ReaderBase {
    fn read(&self, key: &EvmKey) -> Result<EvmValue, StateError> {
        Ok(match key {
            EvmKey::Account(address) => EvmValue::Account(Box::new(self.0.account(address)?.into())),
            EvmKey::StorageEmpty(address) => EvmValue::StorageEmpty(self.0.storage_is_empty(address)?),
            EvmKey::Slot(address, slot) => EvmValue::Slot(self.0.storage(address, slot)?),
        })
    }
}

impl std::fmt::Debug for ReaderBase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ReaderBase").finish()
    }
}
