//! Executing by a list: whoever ran a transaction compares it with the list, beside the others.
//!
//! What the list says of all positions is in multi-version memory before anything runs, and nothing else gets there. So
//! what a transaction finds below it, and with it what it does and whether the list says so, is the same whenever it runs,
//! and the commit merely takes the judgement. As long as no position below was found to differ, what lies below is what the
//! block in order has there, and the judgement is that of the run in order.

use std::sync::{Mutex, PoisonError};

use ropewalk_engine::{Delta, Interrupt, View, Worker, WorkerFactory};
use ropewalk_evm::{Accesses, EvmFactory, EvmKey, EvmProgram, EvmValue, EvmWorker, Transaction, TxOutput};
use ropewalk_state::StateError;

use super::{
    AccessListFault, AccessListPart,
    produce::account_parts,
    verify::{Comparison, Verifier},
};
use crate::record::{PositionRecord, Recorder, account_of};

/// What became of a position that was compared with the list, with its record where records are kept.
pub(crate) type Judgement = Result<Option<PositionRecord>, Objection>;

/// Why a position cannot be what the list says.
#[derive(Debug)]
pub(crate) enum Objection {
    /// It differs.
    Differs(AccessListFault),
    /// The state could not be read.
    State(StateError),
}

/// A list that workers follow, and their judgements, by transaction.
#[derive(Debug)]
pub(crate) struct Judge<'a> {
    pub(crate) verifier: Verifier<'a>,
    /// Whether each position is recorded too.
    pub(crate) records: bool,
    judgements: Vec<Mutex<Option<Judgement>>>,
}

impl<'a> Judge<'a> {
    /// Nobody has judged anything yet.
    pub(crate) fn new(verifier: Verifier<'a>, transactions: usize, records: bool) -> Self {
        Self { verifier, records, judgements: (0..transactions).map(|_| Mutex::default()).collect() }
    }

    /// Judges what an attempt left in its view, and keeps the judgement for the commit.
    fn judge(&self, view: &View<EvmProgram>, accesses: Option<Accesses>) {
        let judgement = self.judgement(view, accesses);
        let slot = &self.judgements[view.position().0 as usize - 1];
        *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(judgement);
    }

    fn judgement(&self, view: &View<EvmProgram>, accesses: Option<Accesses>) -> Judgement {
        let (position, effects) = (view.position().0, view.effects());
        // A storage that is cleared takes slots with it that the transaction wrote.
        let is_plain = !self.records && !effects.writes().any(|(_, delta)| delta.clears_shadowed());
        if let Some(accesses) = accesses.as_ref().filter(|_| is_plain) {
            let mut comparison = self.verifier.begin(position, accesses);
            let compare = |key: &_, before: &_, after| compare_change(&mut comparison, key, before, &after);
            effects.each_written(compare).map_err(Objection::State)?;
            if comparison.agrees() {
                return Ok(None);
            }
        }
        let mut recorder = Recorder::default();
        recorder.add(&effects, accesses).map_err(Objection::State)?;
        let record = recorder.take();
        self.verifier.check(position, &record).map_err(Objection::Differs)?;
        Ok(self.records.then_some(record))
    }

    /// The judgement of a transaction that came to a result.
    pub(crate) fn take(&self, index: usize) -> Option<Judgement> {
        self.judgements[index].lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Compares what was changed of a key, part by part.
fn compare_change(comparison: &mut Comparison<'_>, key: &EvmKey, before: &EvmValue, after: &EvmValue) {
    match (key, before, after) {
        (EvmKey::Slot(address, slot), EvmValue::Slot(before), EvmValue::Slot(after)) => {
            if before != after {
                comparison.add(address, &AccessListPart::Slot { slot: *slot, value: *after });
            }
        }
        (EvmKey::Account(address) | EvmKey::StorageEmpty(address) | EvmKey::Slot(address, _), before, after) => {
            let parts = account_parts(account_of(before), account_of(after), false);
            parts.for_each(|part| comparison.add(address, &part));
        }
    }
}

/// Builds workers that follow a list, if there is one.
#[derive(Debug)]
pub(crate) struct Followers<'a> {
    pub(crate) factory: &'a EvmFactory,
    pub(crate) judge: Option<&'a Judge<'a>>,
}

/// A worker that follows a list, if there is one.
pub(crate) struct Follower<'a> {
    worker: EvmWorker,
    judge: Option<&'a Judge<'a>>,
}

impl<'a> WorkerFactory<EvmProgram> for Followers<'a> {
    type Worker = Follower<'a>;

    fn build(&self) -> Follower<'a> {
        Follower { worker: self.factory.build(), judge: self.judge }
    }
}

impl Worker<EvmProgram> for Follower<'_> {
    fn execute(
        &mut self,
        transaction: &Transaction,
        view: &mut View<EvmProgram>,
    ) -> Result<TxOutput, Interrupt<StateError>> {
        let mut output = self.worker.execute(transaction, view)?;
        if let Some(judge) = self.judge
            && output.result.is_ok()
        {
            judge.judge(view, output.accesses.take().map(|accesses| *accesses));
        }
        Ok(output)
    }

    /// What is foretold is not compared with a list: over one, every transaction is executed.
    fn foretell(
        &mut self,
        transaction: &Transaction,
        view: &mut View<EvmProgram>,
    ) -> Result<Option<TxOutput>, Interrupt<StateError>> {
        if self.judge.is_some() {
            return Ok(None);
        }
        self.worker.foretell(transaction, view)
    }
}
