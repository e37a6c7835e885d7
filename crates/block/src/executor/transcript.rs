//! The record of a block that is being executed, and the access list that it is compared with.

use crate::{BlockError, InvalidBlock, Record, access_list::Verifier, record::Recorder};

/// Collects the record of a block, one position after the other.
#[derive(Debug, Default)]
pub(super) struct Transcript<'a> {
    /// Of the position under way.
    pub(super) recorder: Recorder,
    record: Record,
    /// Compares each position with the access list that came with the block, if one did.
    verifier: Option<Verifier<'a>>,
}

impl<'a> Transcript<'a> {
    /// A transcript that is compared with a list where there is one.
    pub(super) fn new(verifier: Option<Verifier<'a>>) -> Self {
        Self { verifier, ..Self::default() }
    }

    /// Ends the position under way.
    ///
    /// # Errors
    /// When it is not what the access list says of it.
    pub(super) fn end_position(&mut self) -> Result<(), BlockError> {
        let position = self.recorder.take();
        if let Some(verifier) = &mut self.verifier {
            verifier.check(&position).map_err(InvalidBlock::from)?;
        }
        self.record.positions.push(position);
        Ok(())
    }

    /// The record, once the last position has ended.
    ///
    /// # Errors
    /// When the access list names what nothing in the block looks at.
    pub(super) fn finish(self) -> Result<Record, BlockError> {
        if let Some(verifier) = &self.verifier {
            verifier.finish().map_err(InvalidBlock::from)?;
        }
        Ok(self.record)
    }
}
