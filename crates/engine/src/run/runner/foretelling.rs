//! What a worker does with transactions that it foretells.

use super::*;

impl<P: Program, F: WorkerFactory<P>, H: CommitHook<P>, R: Probe> Runner<'_, '_, P, F, H, R> {
    /// Foretells transactions one after the other, as far as they can be, and puts the results where the commit finds them.
    pub(super) fn foretell(&mut self, index: TxIndex, count: u32) -> Report {
        let mut told = 0;
        self.run.event(self.number, Event::Foretell { index, count });
        for at in 0..count {
            let index = TxIndex(index.0 + at);
            if self.run.memory.is_stopped() {
                break;
            }
            if let Some(attempt) = self.foretold(index) {
                self.put(index, attempt);
                told |= 1 << at;
            }
        }
        self.run.event(self.number, Event::Foretold);
        Report::Foretold { index, count, told }
    }

    /// What a transaction comes to, where that can be told. Why it cannot, the commit will find out.
    fn foretold(&mut self, index: TxIndex) -> Option<Box<Attempt<P>>> {
        let run = self.run;
        self.begin(index, Incarnation(0), Standing::Speculative);
        let worker = self.worker.get_or_insert_with(|| run.factory.build());
        let view = &mut self.view;
        match catching(|| worker.foretell(&run.transactions[index.at()], view)) {
            Ok(output) => Some(self.filled(output.ok().flatten()?)),
            Err(_) => {
                self.start_over();
                None
            }
        }
    }
}
