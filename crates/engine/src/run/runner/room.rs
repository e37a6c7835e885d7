//! Where a worker's attempts have their room from.

use super::*;

/// Attempts that a worker keeps room for.
const MOST_SPARE: usize = 64;

impl<P: Program, F: WorkerFactory<P>, H: CommitHook<P>, R: Probe> Runner<'_, '_, P, F, H, R> {
    pub(super) fn begin(&mut self, index: TxIndex, incarnation: Incarnation, standing: Standing) {
        if self.blank.is_none() {
            let mut blank = self.spare();
            blank.lend(&mut self.view);
            self.blank = Some(blank);
        }
        self.view.begin(index, incarnation, standing, self.meeting.take());
    }

    /// The result of the attempt that the view has just made.
    pub(super) fn filled(&mut self, output: P::Output) -> Box<Attempt<P>> {
        let mut attempt = self.blank.take().unwrap_or_default();
        attempt.fill(self.number, &mut self.view, output);
        attempt
    }

    /// Puts a result where the commit finds it. Returns the former incarnation's.
    pub(super) fn put(&mut self, index: TxIndex, attempt: Box<Attempt<P>>) -> Option<Box<Attempt<P>>> {
        self.lent.push_back(index);
        self.run.slots[index.at()].lock().replace(attempt)
    }

    /// Room for another attempt: the worker's own that is left of a committed one, as far as there is any.
    fn spare(&mut self) -> Box<Attempt<P>> {
        if let Some(spare) = self.spare.pop() {
            return spare;
        }
        if !self.lent.is_empty() {
            let frontier = self.run.memory.frontier();
            while let Some(index) = self.lent.pop_front_if(|index| index.position() < frontier) {
                if let Some(spent) = self.run.slots[index.at()].lock().take() {
                    return spent;
                }
            }
        }
        Box::default()
    }

    /// A result that nobody will use.
    pub(super) fn discard(&mut self, attempt: Box<Attempt<P>>) {
        self.run.dispatch.lock().stats.wasted_cost += attempt.cost();
        self.recycle(attempt);
    }

    /// Lets a committed result go: back to whose it is. It is emptied by whoever fills it again: everybody waits for whoever
    /// commits.
    pub(super) fn let_go(&mut self, index: TxIndex, attempt: Box<Attempt<P>>) {
        if attempt.owner == self.number {
            self.recycle(attempt);
        } else {
            self.run.slots[index.at()].lock().replace(attempt);
        }
    }

    fn recycle(&mut self, mut attempt: Box<Attempt<P>>) {
        if self.spare.len() < MOST_SPARE {
            attempt.output = None;
            self.spare.push(attempt);
        }
    }
}
