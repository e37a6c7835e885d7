//! One worker's round: claim, attempt, finish, report.

use std::collections::VecDeque;

use super::*;
use crate::{
    AbortCause, CellId, Effects, Incarnation, Interrupt, View, Worker,
    dirty::Dirty,
    memory::{Unresolved, Wrong},
    scheduler::Report,
    view::Standing,
};

mod alone;
mod foretelling;
mod meeting;
mod room;

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Something was done.
    Worked,
    /// There was nothing to do (only where the runner does not park).
    Idle,
    /// There is nothing left to do.
    Finished,
}

/// One worker.
pub(crate) struct Runner<'a, 'r, P: Program, F: WorkerFactory<P>, H: CommitHook<P>, R: Probe> {
    run: &'a Run<'r, P, F, H, R>,
    number: usize,
    worker: Option<F::Worker>,
    view: View<P>,
    stage: Stage<P>,
    /// Where the attempt that begins next waits.
    meeting: Option<Meeting>,
    dirty: Dirty,
    /// What the attempt under way is to fill.
    blank: Option<Box<Attempt<P>>>,
    /// What is left of attempts that are over, to be filled again.
    spare: Vec<Box<Attempt<P>>>,
    /// Transactions whose results wait for their commit, or did: what is left of them comes back.
    lent: VecDeque<TxIndex>,
    parks: bool,
}

/// Where in its round a worker is.
enum Stage<P: Program> {
    /// About to report, and to claim.
    Claim(Option<Report>),
    /// About to carry a task out.
    Perform(Task),
    /// About to make a result visible.
    Publish { index: TxIndex, incarnation: Incarnation, attempt: Box<Attempt<P>> },
}

/// Why an attempt came to nothing.
enum Failure<F> {
    Interrupted(Interrupt<F>),
    Panicked(String),
}

impl<'a, 'r, P: Program, F: WorkerFactory<P>, H: CommitHook<P>, R: Probe> Runner<'a, 'r, P, F, H, R> {
    pub(crate) fn new(run: &'a Run<'r, P, F, H, R>, number: usize) -> Self {
        Self {
            run,
            number,
            worker: None,
            view: run.view(number, true),
            meeting: None,
            stage: Stage::Claim(None),
            dirty: Dirty::default(),
            blank: None,
            spare: Vec::new(),
            lent: VecDeque::new(),
            parks: true,
        }
    }

    /// A runner that says it is idle instead of parking.
    #[cfg(all(test, not(feature = "shuttle")))]
    pub(crate) fn simulated(run: &'a Run<'r, P, F, H, R>, number: usize) -> Self {
        Self { parks: false, view: run.view(number, false), ..Self::new(run, number) }
    }

    /// Does the next thing.
    pub(crate) fn step(&mut self) -> Step {
        match std::mem::replace(&mut self.stage, Stage::Claim(None)) {
            Stage::Claim(report) => match self.claim(report) {
                Some(Task::Finish) => return Step::Finished,
                Some(task) => self.stage = Stage::Perform(task),
                None => return Step::Idle,
            },
            Stage::Perform(task) => self.stage = self.perform(task),
            Stage::Publish { index, incarnation, attempt } => {
                self.stage = match self.commit_at_once(index, attempt) {
                    Ok(task) => Stage::Perform(task),
                    Err(attempt) => Stage::Claim(Some(self.publish(index, incarnation, attempt))),
                };
            }
        }
        Step::Worked
    }

    /// Reports, and gets the next task; parks until there is one.
    fn claim(&mut self, report: Option<Report>) -> Option<Task> {
        let run = self.run;
        let mut scheduler = run.dispatch.lock();
        let follow_up = report.and_then(|report| scheduler.report(report, self.dirty.iter()));
        run.dispatch.answer(&mut scheduler);
        self.dirty.clear();
        if run.options.cancel.as_ref().is_some_and(|cancel| cancel.is_cancelled()) && !scheduler.is_over() {
            drop(scheduler);
            run.end(Ending::Cancelled);
            return Some(Task::Finish);
        }
        let mut task = follow_up.filter(|_| !scheduler.is_over()).or_else(|| scheduler.next());
        while task.is_none() && self.parks {
            // Whoever starts a run stays until it is over.
            if self.number > 0 && scheduler.is_nearly_over() {
                return Some(Task::Finish);
            }
            scheduler.parked += 1;
            scheduler.stats.waits += 1;
            run.event(self.number, Event::Wait);
            scheduler = run.dispatch.park(self.number, scheduler);
            run.event(self.number, Event::Wake);
            scheduler.parked -= 1;
            task = scheduler.next();
        }
        if scheduler.is_over() {
            run.dispatch.wake(true);
        } else if scheduler.parked > 0 && scheduler.has_work() {
            run.dispatch.wake(false);
        }
        task
    }

    fn perform(&mut self, task: Task) -> Stage<P> {
        let run = self.run;
        let report = match task {
            Task::Execute { index, incarnation, last_word, withhold } => {
                return self.speculate(index, incarnation, last_word, withhold);
            }
            Task::Begin { index, incarnation } => {
                self.meeting = run.meetings[index.at()];
                return self.speculate(index, incarnation, false, false);
            }
            Task::Foretell { index, count } => Some(self.foretell(index, count)),
            Task::Validate { index, incarnation } => self.validate(index, incarnation),
            Task::Commit { index, incarnation, admitted } => self.commit(index, incarnation, admitted),
            Task::PublishAll => self.publish_all(),
            Task::Finish => return Stage::Claim(None),
        };
        Stage::Claim(report)
    }

    /// Runs an incarnation.
    fn speculate(&mut self, index: TxIndex, incarnation: Incarnation, last_word: bool, withhold: bool) -> Stage<P> {
        match self.attempt(index, incarnation, Standing::Speculative) {
            Ok(attempt) => {
                let attempt = match self.with_meeting_over(index, incarnation, attempt) {
                    Ok(attempt) => attempt,
                    Err(report) => return Stage::Claim(Some(report)),
                };
                if withhold {
                    self.put(index, attempt);
                    return Stage::Claim(Some(Report::Executed { index }));
                }
                Stage::Publish { index, incarnation, attempt }
            }
            Err(failure) => Stage::Claim(Some(self.give_up(index, incarnation, failure, last_word))),
        }
    }

    /// Runs one attempt; the view's read and write sets go into the result.
    fn attempt(
        &mut self,
        index: TxIndex,
        incarnation: Incarnation,
        standing: Standing,
    ) -> Result<Box<Attempt<P>>, Failure<P::Fault>> {
        let run = self.run;
        let speculative = standing == Standing::Speculative;
        run.event(self.number, Event::Execute { index, incarnation, speculative });
        self.begin(index, incarnation, standing);
        let worker = self.worker.get_or_insert_with(|| run.factory.build());
        let view = &mut self.view;
        match catching(|| worker.execute(&run.transactions[index.at()], view)) {
            Ok(Ok(output)) => {
                run.event(self.number, Event::Executed { index, incarnation });
                Ok(self.filled(output))
            }
            Ok(Err(interrupt)) => Err(Failure::Interrupted(interrupt)),
            Err(message) => {
                self.start_over();
                Err(Failure::Panicked(message))
            }
        }
    }

    /// After a panic, neither the worker nor the view that it may have taken can be relied upon.
    fn start_over(&mut self) {
        self.worker = None;
        self.view = self.run.view(self.number, self.parks);
    }

    /// An attempt that came to nothing. With the last word it ends the run, otherwise it is merely repeated.
    fn give_up(
        &mut self,
        index: TxIndex,
        incarnation: Incarnation,
        failure: Failure<P::Fault>,
        last_word: bool,
    ) -> Report {
        let mut cell = None;
        let (cause, report) = match &failure {
            Failure::Interrupted(Interrupt::Stale) => {
                cell = self.view.failed.and_then(|wrong| wrong.cell);
                let fields = self.view.failed.map_or(0, |wrong| wrong.fields);
                self.note_wrong(index, Wrong { cell, fields });
                (AbortCause::Invalid(fields), Report::Aborted { index, on: None })
            }
            Failure::Interrupted(Interrupt::Stopped) => (AbortCause::Stopped, Report::Aborted { index, on: None }),
            Failure::Interrupted(Interrupt::Dependency(on)) => {
                cell = self.view.met;
                self.run.dispatch.lock().conflicts.push(Conflict { reader: index, writer: *on, cell });
                (AbortCause::Dependency(*on), Report::Aborted { index, on: Some(*on) })
            }
            Failure::Interrupted(Interrupt::Fault(_)) => (AbortCause::Fault, Report::Deferred { index }),
            Failure::Panicked(_) => (AbortCause::Panic, Report::Deferred { index }),
        };
        self.run.event(self.number, Event::Aborted { index, incarnation, cause, cell });
        self.hide_former(index);
        if last_word {
            match failure {
                Failure::Interrupted(Interrupt::Fault(source)) => {
                    self.run.end(Ending::Error(RunError::Fault { index, source }));
                }
                Failure::Panicked(message) => self.run.end(Ending::Error(RunError::Panicked { index, message })),
                Failure::Interrupted(_) => {}
            }
        }
        report
    }

    /// Marks what the previous incarnation wrote: the next will probably write there again.
    fn hide_former(&mut self, index: TxIndex) {
        if let Some(former) = &*self.run.slots[index.at()].lock() {
            self.run.memory.mark_estimates(index.position(), former.writes.iter().map(|write| write.cell));
        }
    }

    /// Takes the commit role for a result whose transaction has become the lowest uncommitted one meanwhile, if nothing of
    /// it was ever published. Otherwise the result comes back.
    fn commit_at_once(&mut self, index: TxIndex, attempt: Box<Attempt<P>>) -> Result<Task, Box<Attempt<P>>> {
        let run = self.run;
        if !run.options.shortcuts.commits_at_once || run.memory.frontier() != index.position() {
            return Err(attempt);
        }
        let mut slot = run.slots[index.at()].lock();
        if slot.is_some() {
            return Err(attempt);
        }
        match run.dispatch.lock().commit_at_once(index) {
            Some(task) => {
                slot.replace(attempt);
                Ok(task)
            }
            None => Err(attempt),
        }
    }

    /// Makes an incarnation's writes visible, and puts its result where the commit finds it.
    fn publish(&mut self, index: TxIndex, incarnation: Incarnation, mut attempt: Box<Attempt<P>>) -> Report {
        if self.run.is_known {
            if let Some(former) = self.put(index, attempt) {
                self.discard(former);
            }
            return Report::Executed { index };
        }
        let (memory, position) = (self.run.memory, index.position());
        let holds = judged(|| memory.register(position, &attempt.reads), true);
        let before = self.run.slots[index.at()].lock().take();
        let cells: Vec<CellId> =
            before.iter().flat_map(|former| former.writes.iter().map(|write| write.cell)).collect();
        let Attempt { reads, writes, bounded, .. } = &mut *attempt;
        let mut told = reads.told(writes.len());
        memory.publish(position, incarnation, writes, &cells, &mut self.dirty, |cell, from, to| {
            told.moved(cell, from, to);
            bounded.iter_mut().for_each(|bounded| bounded.moved(cell, from, to));
        });
        (attempt.published, attempt.prepared) = (true, memory.is_prepared(&attempt.writes));
        if let Some(former) = before {
            self.discard(former);
        }
        if !holds {
            // Whoever wrote meanwhile may not have known of this reader yet: it counts as dirty from the start.
            self.dirty.push(position);
        }
        self.put(index, attempt);
        Report::Executed { index }
    }

    fn publish_all(&mut self) -> Option<Report> {
        if self.run.is_known {
            return Some(Report::PublishedAll);
        }
        let memory = self.run.memory;
        for (index, slot) in self.run.slots.iter().enumerate() {
            let position = TxIndex(index as u32).position();
            if let Some(attempt) = slot.lock().as_mut().filter(|attempt| attempt.output.is_some()) {
                // A failing observation is found again by validation.
                let _holds = judged(|| memory.register(position, &attempt.reads), true);
                memory.publish(position, Incarnation(0), &attempt.writes, &[], &mut self.dirty, |_, _, _| ());
                attempt.published = true;
            }
        }
        Some(Report::PublishedAll)
    }

    /// Looks at a result again. A base state that fails now will fail at the commit, where it counts.
    fn validate(&mut self, index: TxIndex, incarnation: Incarnation) -> Option<Report> {
        self.run.event(self.number, Event::Validate { index });
        let memory = self.run.memory;
        let slot = self.run.slots[index.at()].lock();
        let attempt = slot.as_ref().expect("an executed transaction has its result in its slot");
        // Who was told of a change is to be told of the next one too.
        memory.list(index.position(), &attempt.reads);
        let wrong =
            judged(|| memory.validate(index.position(), &attempt.reads, &attempt.writes, &attempt.bounded), None);
        drop(slot);
        match wrong {
            None => self.run.event(self.number, Event::Validated { index }),
            Some(wrong) => {
                self.hide_former(index);
                self.found_wrong(index, incarnation, wrong);
            }
        }
        Some(Report::Validated { index, holds: wrong.is_none() })
    }

    /// Commits the frontier. The caller holds the commit role.
    fn commit(&mut self, index: TxIndex, incarnation: Incarnation, admitted: bool) -> Option<Report> {
        let run = self.run;
        run.event(self.number, Event::Commit { index });
        let admission =
            if admitted { Decision::Keep } else { run.hook.lock().admit(index, &run.transactions[index.at()]) };
        match admission {
            Decision::Keep => {}
            Decision::Skip => return Some(self.skip(index)),
            Decision::Stop => return self.stop_at(index),
        }
        let former = run.take(index);
        // A base state that fails a validation need not be asked in order: what was read may follow from what was wrong.
        if let Some(attempt) = former {
            // Known writes stay what they are.
            if run.is_known {
                return self.keep(index, attempt, true, false);
            }
            let look = || run.memory.validate(index.position(), &attempt.reads, &attempt.writes, &attempt.bounded);
            let unknown = Some(Wrong { cell: None, fields: 0 });
            let Some(wrong) = judged(look, unknown) else { return self.keep(index, attempt, true, false) };
            self.found_wrong(index, incarnation, wrong);
            return self.replace(index, incarnation, attempt);
        }
        if run.mode == Frontier::Never {
            return Some(Report::Missing { index });
        }
        match self.attempt(index, incarnation, Standing::Frontier) {
            Ok(attempt) => self.keep(index, attempt, false, false),
            Err(failure) => self.fail(index, failure),
        }
    }

    /// The frontier's incarnation was wrong: run it on committed state now, or as an incarnation again.
    fn replace(&mut self, index: TxIndex, incarnation: Incarnation, former: Box<Attempt<P>>) -> Option<Report> {
        let run = self.run;
        let position = index.position();
        run.memory.mark_estimates(position, former.writes.iter().map(|write| write.cell));
        if run.mode == Frontier::Never {
            run.slots[index.at()].lock().replace(former);
            return Some(Report::Invalid { index });
        }
        match self.attempt(index, incarnation.next(), Standing::Frontier) {
            Ok(attempt) => {
                // Before the frontier moves: whoever runs next on committed state must not meet what was wrong.
                let cells: Vec<_> = former.writes.iter().map(|write| write.cell).collect();
                run.memory.retract(position, Incarnation(u32::MAX), &cells, &mut self.dirty);
                self.discard(former);
                self.keep(index, attempt, false, true)
            }
            Err(failure) => self.fail(index, failure),
        }
    }

    /// Hands a right result to the hook and makes it part of the committed state.
    fn keep(&mut self, index: TxIndex, mut attempt: Box<Attempt<P>>, speculated: bool, wasted: bool) -> Option<Report> {
        let run = self.run;
        let output = attempt.output.take().expect("a result is committed once");
        let Attempt { reads, writes, published, prepared, .. } = &*attempt;
        let cost = P::cost(&output);
        let is_known = run.is_known;
        let prepared = if is_known || *prepared { Ok(()) } else { run.memory.prepare(index.position(), writes) };
        if let Err(unresolved) = prepared {
            return self.fail(index, Failure::Interrupted(unresolved.into()));
        }
        let effects = Effects { memory: run.memory, position: index.position(), reads, writes };
        let decision = run.hook.lock().commit_transaction(index, output, effects);
        match decision {
            // What was said of it stands for what it wrote, or what it published does.
            Decision::Keep if is_known || *published => {}
            Decision::Keep => {
                let folded = run.memory.fold(index.position(), writes, &mut self.dirty);
                if let Err(unresolved) = folded {
                    return self.fail(index, Failure::Interrupted(unresolved.into()));
                }
            }
            Decision::Skip => {
                let cells: Vec<_> = writes.iter().map(|write| write.cell).collect();
                run.memory.retract(index.position(), Incarnation(u32::MAX), &cells, &mut self.dirty);
            }
            Decision::Stop => return self.stop_at(index),
        }
        run.memory.set_frontier(Position(index.position().0 + 1));
        self.let_go(index, attempt);
        run.event(self.number, Event::Committed { index });
        Some(Report::Committed { index, speculated, wasted, cost })
    }

    /// Leaves a transaction out that was not admitted.
    fn skip(&mut self, index: TxIndex) -> Report {
        let run = self.run;
        if let Some(former) = run.take(index) {
            let cells: Vec<_> = former.writes.iter().map(|write| write.cell).collect();
            run.memory.retract(index.position(), Incarnation(u32::MAX), &cells, &mut self.dirty);
            self.discard(former);
        }
        run.memory.set_frontier(Position(index.position().0 + 1));
        run.event(self.number, Event::Committed { index });
        Report::Committed { index, speculated: true, wasted: false, cost: 0 }
    }

    fn stop_at(&mut self, index: TxIndex) -> Option<Report> {
        self.run.end(Ending::Hook(index));
        None
    }

    /// The frontier cannot be run: the run ends here, with the reason.
    fn fail(&mut self, index: TxIndex, failure: Failure<P::Fault>) -> Option<Report> {
        match failure {
            Failure::Interrupted(Interrupt::Fault(source)) => {
                self.run.end(Ending::Error(RunError::Fault { index, source }));
            }
            Failure::Panicked(message) => self.run.end(Ending::Error(RunError::Panicked { index, message })),
            Failure::Interrupted(Interrupt::Stopped) => {}
            Failure::Interrupted(Interrupt::Stale | Interrupt::Dependency(_)) => {
                unreachable!("transaction {index} is the frontier: nothing below it is uncommitted")
            }
        }
        None
    }

    /// A result does not hold.
    fn found_wrong(&self, index: TxIndex, incarnation: Incarnation, wrong: Wrong) {
        let Wrong { cell, fields } = wrong;
        self.note_wrong(index, wrong);
        self.run.event(self.number, Event::Aborted { index, incarnation, cause: AbortCause::Invalid(fields), cell });
    }

    fn note_wrong(&self, reader: TxIndex, wrong: Wrong) {
        let writer = wrong.cell.and_then(|cell| self.run.memory.writer_below(cell, reader.position()));
        let mut scheduler = self.run.dispatch.lock();
        scheduler.stats.found_wrong(wrong.fields);
        scheduler.conflicts.extend(writer.map(|writer| Conflict { reader, writer, cell: wrong.cell }));
    }
}

/// What a look at observations says; `unknown` where the base state fails or panics on the way, as it may for one that nothing
/// in the in-order run would have made.
fn judged<T, F>(look: impl FnOnce() -> Result<T, Unresolved<F>>, unknown: T) -> T {
    catching(look).ok().and_then(Result::ok).unwrap_or(unknown)
}
