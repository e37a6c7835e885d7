//! A worker without company: one transaction after the other is the frontier, and nothing has to be agreed upon with anybody.

use super::*;

impl<P: Program, F: WorkerFactory<P>, H: CommitHook<P>, R: Probe> Runner<'_, '_, P, F, H, R> {
    /// Runs and commits everything, as far as the run goes.
    pub(crate) fn run_alone(&mut self) {
        let run = self.run;
        let mut stats = Stats { workers: 1, ..Stats::default() };
        for index in (0..run.transactions.len() as u32).map(TxIndex) {
            if run.options.cancel.as_ref().is_some_and(|cancel| cancel.is_cancelled()) {
                run.end(Ending::Cancelled);
                break;
            }
            let Some(Report::Committed { speculated, cost, .. }) = self.commit(index, Incarnation(0), false) else {
                break;
            };
            stats.committed += 1;
            stats.frontier_runs += u32::from(!speculated);
            stats.committed_cost += cost;
        }
        run.dispatch.lock().ended_alone(stats);
    }
}
