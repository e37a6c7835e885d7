//! Recorded transactions as the engine's program: what each reads and writes, and when, without an EVM.
//!
//! Keys, values, changes and observations are those of the recording; values and changes carry marks besides. An attempt
//! that finds something else than the recorded one found is on a wrong track, and nobody recorded where that leads: all that
//! it writes is marked as wrong, by a mark of its own, and whoever observes a marked field is on a wrong track too. So
//! validation by value works as it does on the real thing, but that a wrong track never leads back to a right value: a
//! simulation aborts rather more than a run does.

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    sync::Arc,
};

use alloy_primitives::U256;
use ropewalk_block::{EvmKey, Footprint, Footprints};
use ropewalk_engine::{
    Base, CommitHook, Decision, Delta, Effects, Fields, Interrupt, Observation, Program, TxIndex, View, Worker,
    WorkerFactory,
};
use ropewalk_evm::{
    AccountObservation, AccountValue, BalanceRange, EvmDelta, EvmObservation, EvmProgram, EvmValue, field,
};

use super::clock::VirtualClock;

/// A mark for each field. Zero is none: the field is what it is in the recording.
type Marks = [u64; field::NAMES.len()];

/// Transactions that do what was recorded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scripted;

/// One recorded transaction.
#[derive(Debug, Clone, Default)]
pub(super) struct Script {
    /// By time.
    pub(super) looks: Vec<Look>,
    pub(super) writes: Vec<(EvmKey, EvmDelta)>,
    weight: u64,
    effort: u64,
    lane: Option<u64>,
    /// The transaction that this one is expected to conflict with, by what former runs came to.
    pub(super) follows: Option<TxIndex>,
    /// Where, if that is known.
    pub(super) meets: Option<EvmKey>,
    gas: u64,
    /// Whether it is a plain payment.
    pays: bool,
}

/// The first look at a key.
#[derive(Debug, Clone)]
pub(super) struct Look {
    /// The part of the transaction's time that had passed.
    pub(super) at: f64,
    pub(super) key: EvmKey,
    seen: Vec<EvmObservation>,
    /// Whether some transaction of the block writes it, so that it matters when it is looked at.
    pub(super) is_written: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Marked {
    value: EvmValue,
    marks: Marks,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct MarkedDelta {
    delta: EvmDelta,
    mark: u64,
}

#[derive(Debug, Clone)]
pub(super) struct MarkedObservation {
    seen: EvmObservation,
    marks: Marks,
}

/// The fields of a set, by number.
fn each(fields: Fields) -> impl Iterator<Item = usize> {
    (0..field::NAMES.len()).filter(move |bit| fields >> bit & 1 == 1)
}

impl Marked {
    fn unmarked(value: EvmValue) -> Self {
        Self { value, marks: Marks::default() }
    }

    /// Whether it is as recorded, as far as `seen` goes.
    fn agrees(&self, seen: &EvmObservation) -> bool {
        seen.holds(&self.value) && each(pinned(seen)).all(|field| self.marks[field] == 0)
    }

    /// What somebody learns here who looks for what was recorded.
    fn found(&self, recorded: &EvmObservation) -> MarkedObservation {
        let seen = match (recorded, &self.value) {
            (EvmObservation::Account(recorded), EvmValue::Account(value)) => {
                EvmObservation::Account(learnt(recorded, value))
            }
            (_, value) => EvmObservation::exact(value),
        };
        MarkedObservation { seen, marks: self.marks }
    }
}

/// The fields that an observation pins to one value. Where a balance is merely within bounds, and whether an account exists,
/// steps of another size may leave as it was.
fn pinned(seen: &EvmObservation) -> Fields {
    match seen {
        EvmObservation::Account(account) => {
            let pins = |is_pinned: bool, field| if is_pinned { field } else { 0 };
            pins(account.balance.least == account.balance.most, field::BALANCE)
                | pins(account.nonce.is_some() || account.bare.is_some(), field::NONCE)
                | pins(account.code_hash.is_some() || account.bare.is_some(), field::CODE)
                | pins(account.exists.is_some(), field::EXISTENCE)
        }
        EvmObservation::StorageEmpty(_) | EvmObservation::Slot(_) => seen.fields(),
    }
}

/// The same questions about an account as were asked in the recording, and the answers here.
fn learnt(recorded: &AccountObservation, here: &AccountValue) -> AccountObservation {
    let BalanceRange { least, most } = recorded.balance;
    let balance = if least == most {
        BalanceRange::exactly(here.balance)
    } else if here.balance < least {
        BalanceRange { least: U256::ZERO, most: least - U256::ONE }
    } else if here.balance > most {
        BalanceRange { least: most + U256::ONE, most: U256::MAX }
    } else {
        recorded.balance
    };
    AccountObservation {
        balance,
        nonce: recorded.nonce.map(|_| here.nonce),
        code_hash: recorded.code_hash.map(|_| here.code_hash),
        bare: recorded.bare.map(|_| here.is_bare()),
        exists: recorded.exists.map(|_| here.exists),
    }
}

impl Program for Scripted {
    type Key = EvmKey;
    type Value = Marked;
    type Delta = MarkedDelta;
    type Observation = MarkedObservation;
    type Transaction = Script;
    type Output = u64;
    type Fault = Infallible;

    fn shadow(key: &EvmKey) -> Option<EvmKey> {
        EvmProgram::shadow(key)
    }

    fn hidden(key: &EvmKey) -> Marked {
        Marked::unmarked(EvmProgram::hidden(key))
    }

    fn weight(script: &Script) -> u64 {
        script.weight
    }

    fn effort(script: &Script) -> u64 {
        script.effort
    }

    fn cost(gas: &u64) -> u64 {
        *gas
    }

    fn lane(script: &Script) -> Option<u64> {
        script.lane
    }

    fn follows(script: &Script) -> Option<TxIndex> {
        script.follows
    }

    fn meets(script: &Script) -> Option<&EvmKey> {
        script.meets.as_ref()
    }
}

impl Delta<Marked> for MarkedDelta {
    fn is_bounded(&self) -> bool {
        self.delta.is_bounded()
    }

    fn fits(&self, value: &Marked) -> bool {
        self.delta.fits(&value.value)
    }

    fn apply(&self, value: &mut Marked) {
        self.delta.apply(&mut value.value);
        match self.mark {
            0 => each(self.delta.sets()).for_each(|field| value.marks[field] = 0),
            mark => each(self.delta.fields()).for_each(|field| value.marks[field] = mark),
        }
    }

    fn fields(&self) -> Fields {
        self.delta.fields()
    }

    fn sets(&self) -> Fields {
        self.delta.sets()
    }

    fn is_absolute(&self) -> bool {
        self.delta.is_absolute()
    }

    fn clears_shadowed(&self) -> bool {
        self.delta.clears_shadowed()
    }
}

impl Observation<Marked> for MarkedObservation {
    fn exact(value: &Marked) -> Self {
        Self { seen: EvmObservation::exact(&value.value), marks: value.marks }
    }

    fn holds(&self, value: &Marked) -> bool {
        self.seen.holds(&value.value) && each(pinned(&self.seen)).all(|field| self.marks[field] == value.marks[field])
    }

    fn fields(&self) -> Fields {
        self.seen.fields()
    }
}

/// What each key held before the first transaction.
#[derive(Debug, Clone)]
pub(super) struct Before(pub(super) Arc<HashMap<EvmKey, EvmValue>>);

impl Base<Scripted> for Before {
    fn read(&self, key: &EvmKey) -> Result<Marked, Infallible> {
        Ok(self.0.get(key).map_or_else(|| Scripted::hidden(key), |value| Marked::unmarked(value.clone())))
    }
}

/// Makes the scripts of a block. `arrivals` says by transaction when it comes to which key; what is looked at besides is
/// looked at first.
pub(super) fn scripts(footprints: &Footprints, arrivals: &[HashMap<EvmKey, f64>]) -> Vec<Script> {
    let writes = footprints.transactions.iter().flat_map(|footprint| &footprint.writes);
    let written: HashSet<EvmKey> = writes.map(|(key, _)| *key).collect();
    let script = |(footprint, arrivals): (&Footprint, &HashMap<EvmKey, f64>)| {
        let mut looks: Vec<Look> = Vec::new();
        let mut place: HashMap<EvmKey, usize> = HashMap::new();
        for (key, seen) in &footprint.observations {
            let at = arrivals.get(key).copied().unwrap_or(0.0);
            // Slots lie under their account: clearing it writes them.
            let shadow = EvmProgram::shadow(key);
            let is_written = written.contains(key) || shadow.is_some_and(|account| written.contains(&account));
            let place = *place.entry(*key).or_insert_with(|| {
                looks.push(Look { at, key: *key, seen: Vec::new(), is_written });
                looks.len() - 1
            });
            looks[place].seen.push(seen.clone());
        }
        looks.sort_by(|left, right| left.at.total_cmp(&right.at));
        Script {
            looks,
            writes: footprint.writes.clone(),
            weight: footprint.weight,
            effort: footprint.effort,
            lane: footprint.lane,
            follows: None,
            meets: None,
            gas: footprint.gas_used,
            pays: footprint.effort == 0 && footprint.gas_used == PAYMENT_GAS,
        }
    };
    footprints.transactions.iter().zip(arrivals).map(script).collect()
}

/// Gas of a transaction that has neither data nor anything to run.
const PAYMENT_GAS: u64 = 21_000;

/// Makes workers that follow scripts by a clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Actors<'a>(pub(super) &'a VirtualClock);

impl<'a> WorkerFactory<Scripted> for Actors<'a> {
    type Worker = Actor<'a>;

    fn build(&self) -> Actor<'a> {
        Actor { clock: self.0 }
    }
}

#[derive(Debug)]
pub(super) struct Actor<'a> {
    clock: &'a VirtualClock,
}

impl Worker<Scripted> for Actor<'_> {
    fn execute(&mut self, script: &Script, view: &mut View<Scripted>) -> Result<u64, Interrupt<Infallible>> {
        let own = (u64::from(view.position().0) << 32) | (u64::from(view.incarnation().0) + 1);
        let mut mark = 0;
        for look in &script.looks {
            if look.is_written {
                self.clock.reach(look.at);
            }
            let agrees = match look.key {
                EvmKey::Account(_) => {
                    let (handle, value) = view.load(&look.key, Marked::clone)?;
                    let agrees = look.seen.iter().all(|seen| value.agrees(seen));
                    for seen in &look.seen {
                        let as_recorded = || MarkedObservation { seen: seen.clone(), marks: Marks::default() };
                        view.observe(handle, if agrees { as_recorded() } else { value.found(seen) });
                    }
                    agrees
                }
                EvmKey::StorageEmpty(_) | EvmKey::Slot(..) => {
                    let value = view.read(&look.key)?;
                    look.seen.iter().all(|seen| value.agrees(seen))
                }
            };
            if !agrees && view.is_speculative() {
                mark = own;
            }
        }
        self.clock.reach(1.0);
        for (key, delta) in &script.writes {
            view.write(key, MarkedDelta { delta: delta.clone(), mark });
        }
        Ok(script.gas)
    }

    fn foretell(&mut self, script: &Script, view: &mut View<Scripted>) -> Result<Option<u64>, Interrupt<Infallible>> {
        if !script.pays {
            return Ok(None);
        }
        self.clock.foretell(TxIndex(view.position().0 - 1));
        for look in &script.looks {
            let handle = view.handle(&look.key);
            for seen in &look.seen {
                view.expect(handle, MarkedObservation { seen: seen.clone(), marks: Marks::default() });
            }
        }
        for (key, delta) in &script.writes {
            view.write(key, MarkedDelta { delta: delta.clone(), mark: 0 });
        }
        Ok(Some(script.gas))
    }
}

/// Keeps everything.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeepAll;

impl CommitHook<Scripted> for KeepAll {
    fn commit_transaction(&mut self, _: TxIndex, _: u64, _: Effects<'_, Scripted>) -> Decision {
        Decision::Keep
    }
}
