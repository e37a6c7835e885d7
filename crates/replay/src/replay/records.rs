//! What a block did, position by position: compared with its header, and written beside it where that is asked for.

use ropewalk_block::{AccessList, BlockOutcome, Record};

use super::{Failure, Replay};
use crate::{
    arguments::Mode,
    compare,
    fixture::{Fixture, access_list},
    ground::Ground,
    report::replay::BlockReport,
};

impl Replay<'_> {
    /// The list that the block is executed by, where that is how it is to be executed.
    pub(super) fn access_list(&self, fixture: &Fixture) -> Result<Option<AccessList>, Failure> {
        if self.arguments.mode != Mode::AccessList {
            return Ok(None);
        }
        access_list::require(&fixture.directory).map(Some).map_err(Failure::Fixture)
    }

    /// The block's record, where something is made of it. A run that records must do what any other does.
    pub(super) fn record(
        &self,
        fixture: &Fixture,
        ground: &Ground,
        truth: &BlockOutcome,
        report: &mut BlockReport,
    ) -> Result<Option<Record>, Failure> {
        let wanted = fixture.claims.access_list_hash.is_some() || self.arguments.write_access_lists;
        if !wanted || self.arguments.mode == Mode::Sequential {
            return Ok(None);
        }
        let recorded = self.runner.record(fixture, &ground.reader());
        let outcome = recorded.as_ref().map(|execution| &execution.outcome);
        let difference = compare::results(outcome, Ok(truth));
        if difference.is_some() {
            report.checks.oracle = self.compared(fixture, "the recorded run", difference);
        }
        Ok(recorded.ok().and_then(|execution| execution.record))
    }

    /// Writes what was asked for of a verified block.
    pub(super) fn write_records(&self, fixture: &Fixture, record: Option<&Record>) -> Result<(), Failure> {
        let Some(record) = record.filter(|_| self.arguments.write_access_lists) else { return Ok(()) };
        access_list::write(&fixture.directory, &record.access_list()).map_err(Failure::Write)
    }
}
