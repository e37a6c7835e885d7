//! Executing by a list: whoever ran a transaction compares it with the list, beside the others.
//!
//! Multi-version memory lies over what the list says of all positions, and nothing else gets there. So
//! what a transaction finds below it, and with it what it does and whether the list says so, is the same whenever it runs,
//! and the commit merely takes the judgement. As long as no position below was found to differ, what lies below is what the
//! block in order has there, and the judgement is that of the run in order.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use alloy_primitives::{Address, map::HashMap};
use ropewalk_engine::{Effects, Handle, Interrupt, View, Worker, WorkerFactory};
use ropewalk_evm::{
    Accesses, EvmDelta, EvmFactory, EvmKey, EvmProgram, EvmValue, EvmWorker, Places, Transaction, TxOutput,
};
use ropewalk_state::StateError;

use super::{
    AccessListFault, AccessListPart,
    ends::{AccountEnd, Ends},
    known::Place,
    verify::{Comparison, Verifier},
};
use crate::{
    executor::Scout,
    record::{AccountAccess, PositionRecord, Recorder},
};

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
pub(crate) struct Judge {
    pub(crate) verifier: Verifier,
    /// Whether each position is recorded too.
    pub(crate) records: bool,
    /// The transactions that were found to do what the list says of them, of which there is no more to say. Relaxed: a result
    /// is handed on by other means.
    agreed: Vec<AtomicBool>,
    /// What is to be said of others, by transaction.
    others: Mutex<HashMap<usize, Judgement>>,
    /// What workers have noted that are gone.
    ends: Mutex<Vec<Ends>>,
}

impl Judge {
    /// Nobody has judged anything yet.
    pub(crate) fn new(verifier: Verifier, transactions: usize, records: bool) -> Self {
        let agreed = (0..transactions).map(|_| AtomicBool::new(false)).collect();
        Self { verifier, records, agreed, others: Mutex::default(), ends: Mutex::default() }
    }

    /// Judges what an attempt left in its view, and keeps the judgement for the commit.
    fn judge(&self, view: &View<EvmProgram>, output: &mut TxOutput, follower: (&mut EvmWorker, &mut Ends)) {
        let index = view.position().0 as usize - 1;
        let (worker, ends) = follower;
        let (accesses, places) = (output.accesses.take(), output.places.take());
        let judgement = self.judgement(view, accesses, places.as_deref(), ends);
        places.into_iter().for_each(|places| worker.reuse(places));
        match judgement {
            Ok(None) => self.agreed[index].store(true, Ordering::Relaxed),
            judgement => {
                self.agreed[index].store(false, Ordering::Relaxed);
                self.others.lock().unwrap_or_else(PoisonError::into_inner).insert(index, judgement);
            }
        }
    }

    fn judgement(
        &self,
        view: &View<EvmProgram>,
        accesses: Option<Box<Accesses>>,
        places: Option<&Places>,
        ends: &mut Ends,
    ) -> Judgement {
        let (position, effects) = (view.position().0, view.effects());
        if let Some(places) = places.filter(|places| places.unnamed.is_empty()) {
            places.named.iter().for_each(|place| self.verifier.mark(*place));
            if self.agrees(position, &effects, ends)? {
                return Ok(None);
            }
        }
        let accesses = accesses.map(|accesses| *accesses);
        let accesses = accesses.or_else(|| places.map(|places| self.accesses(places, &effects)));
        let mut recorder = Recorder::default();
        recorder.add(&effects, accesses).map_err(Objection::State)?;
        let record = recorder.take();
        self.verifier.check(position, &record).map_err(Objection::Differs)?;
        Ok(self.records.then_some(record))
    }

    /// Whether a position around the transactions makes the changes that the list says of it, and the list names the accounts it
    /// looked at. What becomes of accounts at it is noted.
    pub(crate) fn agrees_around(
        &self,
        position: u32,
        effects: &Effects<'_, EvmProgram>,
        looked_at: &[Address],
    ) -> bool {
        for address in looked_at {
            let Some(account) = self.verifier.known().find(address) else { return false };
            self.verifier.mark(account as u32);
        }
        let mut ends = Ends::default();
        let agrees = matches!(self.agrees(position, effects, &mut ends), Ok(true));
        if agrees {
            self.ends.lock().unwrap_or_else(PoisonError::into_inner).push(ends);
        }
        agrees
    }

    /// Whether a position makes the changes that the list says of it.
    fn agrees(&self, position: u32, effects: &Effects<'_, EvmProgram>, ends: &mut Ends) -> Result<bool, Objection> {
        let mut comparison = self.verifier.begin(position);
        let mut others = Vec::new();
        let compared = match effects.single_writes() {
            Some(writes) => {
                for (at, write) in writes.enumerate() {
                    if self.compare_write(&mut comparison, effects, write, ends).is_none() {
                        others.push(at);
                    }
                }
                let compare = |handle, before: &_, after: &_| {
                    self.compare_written(&mut comparison, (effects, handle), (before, after), ends);
                };
                if others.is_empty() { Ok(()) } else { effects.each_written_of(&others, compare) }
            }
            None => effects.each_written(|handle, before, after| {
                self.compare_written(&mut comparison, (effects, handle), (before, after), ends);
            }),
        };
        compared.map_err(Objection::State)?;
        Ok(comparison.agrees())
    }

    /// Compares a write by what the list says around it: what it has made of the key below the position need not be worked out
    /// first. `None` where that does not do.
    fn compare_write(
        &self,
        comparison: &mut Comparison<'_>,
        effects: &Effects<'_, EvmProgram>,
        (handle, delta): (Handle, &EvmDelta),
        ends: &mut Ends,
    ) -> Option<()> {
        let known = self.verifier.known();
        let (Some(number), Some(base)) = effects.place_and_base(handle) else { return None };
        // What was written was looked at.
        self.verifier.mark(number);
        match (known.place_of(number), base, delta) {
            (Place::Changed(account, _) | Place::Read(account, _), ..) if known.loses_storage(account) => return None,
            (Place::Changed(account, at), EvmValue::Slot(base), EvmDelta::Slot(after)) => {
                if comparison.add_slot_write((account, at), *base, *after) {
                    ends.add_slot(number, *base, *after);
                }
            }
            (Place::Read(..), EvmValue::Slot(base), EvmDelta::Slot(after)) => return (base == after).then_some(()),
            (Place::Account(account), EvmValue::Account(base), EvmDelta::Account(delta)) => {
                let after = comparison.add_account_write(account, base, delta)?;
                if known.last_change(account) == comparison.position() {
                    let end = AccountEnd::by_write(base, after, delta.code.as_ref(), known.changes_code(account));
                    end.into_iter().for_each(|end| ends.add_account(number, end));
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// Compares what became of a key, whatever was written to it.
    fn compare_written(
        &self,
        comparison: &mut Comparison<'_>,
        (effects, handle): (&Effects<'_, EvmProgram>, Handle),
        (before, after): (&EvmValue, &EvmValue),
        ends: &mut Ends,
    ) {
        let known = self.verifier.known();
        let (place, base) = effects.place_and_base(handle);
        place.into_iter().for_each(|place| self.verifier.mark(place));
        let base = place.zip(base);
        match (before, after) {
            (EvmValue::Slot(before), EvmValue::Slot(after)) => {
                let is_last = before != after && comparison.add_slot(place, *after);
                if let Some((place, EvmValue::Slot(base))) = base.filter(|_| is_last) {
                    ends.add_slot(place, *base, *after);
                }
            }
            (EvmValue::Account(before), EvmValue::Account(after)) => {
                let account = match place.map(|place| known.place_of(place)) {
                    Some(Place::Account(account)) => Some(account),
                    _ => None,
                };
                comparison.add_account(account, before, after);
                if after.destroyed && before.exists {
                    comparison.add_part(account, &AccessListPart::StorageCleared);
                }
                let is_last = account.is_some_and(|account| known.last_change(account) == comparison.position());
                if let Some((place, EvmValue::Account(base))) = base.filter(|_| is_last) {
                    ends.add_account(place, AccountEnd::of(base.account(), after));
                }
            }
            _ => {}
        }
    }

    /// What was looked at or written, in order.
    fn accesses(&self, places: &Places, effects: &Effects<'_, EvmProgram>) -> Accesses {
        let known = self.verifier.known();
        let address = |account: usize| known.accounts()[account].address;
        let of_slot = |address, slot| AccountAccess { slots: vec![slot], ..AccountAccess::of(address) };
        let named = places.named.iter().map(|place| match known.place_of(*place) {
            Place::Account(account) | Place::StorageEmpty(account) => AccountAccess::of(address(account)),
            Place::Changed(account, at) => {
                of_slot(address(account), known.accounts()[account].storage_changes[at].slot)
            }
            Place::Read(account, at) => of_slot(address(account), known.accounts()[account].storage_reads[at]),
        });
        let of_key = |key: &EvmKey| match *key {
            EvmKey::Account(address) | EvmKey::StorageEmpty(address) => AccountAccess::of(address),
            EvmKey::Slot(address, slot) => of_slot(address, slot),
        };
        let (unnamed, written) = (places.unnamed.iter().map(of_key), effects.writes().map(|(key, _)| of_key(key)));
        let mut all = Accesses::default();
        let accounts = named.chain(unnamed).chain(written).collect();
        all.merge([Accesses { accounts, oldest_block_hash: None }]);
        all
    }

    /// What workers have noted, once all of them are gone.
    pub(crate) fn take_ends(&self) -> Vec<Ends> {
        std::mem::take(&mut *self.ends.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The judgement of a transaction that came to a result.
    pub(crate) fn take(&self, index: usize) -> Option<Judgement> {
        if self.agreed[index].load(Ordering::Relaxed) {
            return Some(Ok(None));
        }
        self.others.lock().unwrap_or_else(PoisonError::into_inner).remove(&index)
    }
}

/// Builds workers that follow a list, if there is one, or tell a scout what they waited for, where the state is slow.
#[derive(Debug)]
pub(crate) struct Followers<'a> {
    pub(crate) factory: &'a EvmFactory,
    pub(crate) judge: Option<&'a Judge>,
    pub(crate) scout: Option<&'a Scout<'a>>,
    /// How many are to be built, about.
    pub(crate) workers: usize,
}

/// A worker that follows a list or has a scout, if there is one: never both.
pub(crate) struct Follower<'a> {
    worker: EvmWorker,
    judge: Option<&'a Judge>,
    scout: Option<&'a Scout<'a>>,
    ends: Ends,
}

impl Drop for Follower<'_> {
    fn drop(&mut self) {
        self.scout.iter().for_each(|scout| scout.end());
        if let Some(judge) = self.judge {
            judge.ends.lock().unwrap_or_else(PoisonError::into_inner).push(std::mem::take(&mut self.ends));
        }
    }
}

impl<'a> WorkerFactory<EvmProgram> for Followers<'a> {
    type Worker = Follower<'a>;

    fn build(&self) -> Follower<'a> {
        let ends = self.judge.map_or_else(Ends::default, |judge| Ends::of_one(judge.verifier.known(), self.workers));
        Follower { worker: self.factory.build(), judge: self.judge, scout: self.scout, ends }
    }
}

impl Worker<EvmProgram> for Follower<'_> {
    fn execute(
        &mut self,
        transaction: &Transaction,
        view: &mut View<EvmProgram>,
    ) -> Result<TxOutput, Interrupt<StateError>> {
        let executed = match self.scout {
            Some(scout) => {
                let index = view.position().0 as usize - 1;
                scout.begin(index);
                let executed = self.worker.execute(transaction, view);
                scout.learn(&mut self.worker, transaction, index);
                executed
            }
            None => self.worker.execute(transaction, view),
        };
        let mut output = executed?;
        if let Some(judge) = self.judge
            && output.result.is_ok()
        {
            judge.judge(view, &mut output, (&mut self.worker, &mut self.ends));
        }
        Ok(output)
    }

    fn foretell(
        &mut self,
        transaction: &Transaction,
        view: &mut View<EvmProgram>,
    ) -> Result<Option<TxOutput>, Interrupt<StateError>> {
        let mut foretold = self.worker.foretell(transaction, view)?;
        if let (Some(judge), Some(output)) = (self.judge, &mut foretold) {
            judge.judge(view, output, (&mut self.worker, &mut self.ends));
        }
        Ok(foretold)
    }
}
