//! The record of a block that is being executed, and the access list that it is compared with.

use alloy_primitives::Address;
use ropewalk_engine::{Effects, TxIndex};
use ropewalk_evm::{Accesses, EvmProgram};

use crate::{
    BlockError, InvalidBlock, Position, Record,
    access_list::{Judge, Objection},
    record::Recorder,
};

/// Collects the record of a block, one position after the other, or sees to it that each is what an access list says.
#[derive(Debug)]
pub(super) struct Transcript<'a> {
    /// Of the position under way.
    pub(super) recorder: Recorder,
    /// Whether the position under way was found to be what the list says, though nothing was taken down of it.
    agrees: bool,
    /// Positions that have ended.
    ended: u32,
    /// What happened at them, where that is asked for.
    record: Option<Record>,
    /// The access list that came with the block, if one did.
    judge: Option<&'a Judge>,
}

impl<'a> Transcript<'a> {
    /// A transcript that is compared with a list where there is one; `None` where nobody needs one.
    pub(super) fn new(judge: Option<&'a Judge>, records: bool) -> Option<Self> {
        let record = records.then(Record::default);
        let is_needed = records || judge.is_some();
        is_needed.then(|| Self { recorder: Recorder::default(), agrees: false, ended: 0, record, judge })
    }

    /// Takes down a transaction that is about to be kept; by a list, what its worker found.
    ///
    /// # Errors
    /// When the state cannot be read, or the transaction does not do what the access list says of it.
    pub(super) fn add_transaction(
        &mut self,
        index: TxIndex,
        effects: &Effects<'_, EvmProgram>,
        accesses: Option<Box<Accesses>>,
    ) -> Result<(), BlockError> {
        let position = Position::Transaction(index.at());
        if let Some(judgement) = self.judge.and_then(|judge| judge.take(index.at())) {
            let judged = judgement.map_err(|objection| match objection {
                Objection::Differs(fault) => InvalidBlock::from(fault).into(),
                Objection::State(source) => BlockError::State { position, source },
            })?;
            if let (Some(record), Some(judged)) = (&mut self.record, judged) {
                record.positions.push(judged);
            }
            self.ended += 1;
            return Ok(());
        }
        let added = self.recorder.add(effects, accesses.map(|accesses| *accesses));
        added.map_err(|source| BlockError::State { position, source })?;
        self.end_position()
    }

    /// Whether these effects, and looks at these accounts, are all that happened at the position under way and what the list
    /// says of it. If so, nothing of it need be taken down: to put in order what is compared and forgotten takes longer than to
    /// compare it.
    pub(super) fn agrees(&mut self, effects: &Effects<'_, EvmProgram>, looked_at: &[Address]) -> bool {
        let judge = self.judge.filter(|_| self.record.is_none() && self.recorder.is_empty());
        self.agrees = judge.is_some_and(|judge| judge.agrees_around(self.ended, effects, looked_at));
        self.agrees
    }

    /// Ends the position under way.
    ///
    /// # Errors
    /// When it is not what the access list says of it.
    pub(super) fn end_position(&mut self) -> Result<(), BlockError> {
        let says_nothing = |judge: &Judge| judge.verifier.known().count_at(self.ended) == Some(0);
        if std::mem::take(&mut self.agrees)
            || self.record.is_none() && self.recorder.is_empty() && self.judge.is_none_or(says_nothing)
        {
            self.ended += 1;
            return Ok(());
        }
        let position = self.recorder.take();
        if let Some(judge) = self.judge {
            judge.verifier.check(self.ended, &position).map_err(InvalidBlock::from)?;
        }
        if let Some(record) = &mut self.record {
            record.positions.push(position);
        }
        self.ended += 1;
        Ok(())
    }

    /// The record, where it was asked for, once the last position has ended.
    ///
    /// # Errors
    /// When the access list names what nothing in the block looks at.
    pub(super) fn finish(self) -> Result<Option<Record>, BlockError> {
        if let Some(judge) = self.judge {
            judge.verifier.finish().map_err(InvalidBlock::from)?;
        }
        Ok(self.record)
    }
}
