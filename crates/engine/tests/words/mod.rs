//! The simplest values there are: words that are set, and read exactly.

use ropewalk_engine::{Delta, Fields, Observation};

/// Sets a word.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Set(pub(crate) u64);

/// A word is this.
#[derive(Debug, Clone)]
pub(crate) struct Exactly(u64);

impl Delta<u64> for Set {
    fn is_absolute(&self) -> bool {
        true
    }

    fn apply(&self, value: &mut u64) {
        *value = self.0;
    }

    fn fields(&self) -> Fields {
        1
    }
}

impl Observation<u64> for Exactly {
    fn exact(value: &u64) -> Self {
        Self(*value)
    }

    fn holds(&self, value: &u64) -> bool {
        self.0 == *value
    }

    fn fields(&self) -> Fields {
        1
    }
}
