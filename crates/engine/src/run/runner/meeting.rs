//! What a worker does with an attempt that was begun early.

use super::*;

impl<P: Program, F: WorkerFactory<P>, H: CommitHook<P>, R: Probe> Runner<'_, '_, P, F, H, R> {
    /// An attempt that was to meet a lower transaction on the way and has not: what it met instead is as likely to be wrong, so
    /// nobody sees it before that transaction is executed and what was observed still holds.
    pub(super) fn with_meeting_over(
        &mut self,
        index: TxIndex,
        incarnation: Incarnation,
        attempt: Box<Attempt<P>>,
    ) -> Result<Box<Attempt<P>>, Report> {
        let Some(Meeting { with, .. }) = self.view.missed() else { return Ok(attempt) };
        self.run.dispatch.wait_for(with, self.number, self.parks);
        let Attempt { reads, writes, bounded, .. } = &*attempt;
        let look = || self.run.memory.validate(index.position(), reads, writes, bounded);
        let Some(wrong) = judged(look, None) else { return Ok(attempt) };
        self.found_wrong(index, incarnation, wrong);
        self.discard(attempt);
        Err(Report::Aborted { index, on: None })
    }
}
