//! What each transaction observed and wrote, taken down as it is committed.

use std::collections::{HashMap, hash_map::Entry};

use ropewalk_engine::{Effects, Program, TxIndex};
use ropewalk_evm::{EvmDelta, EvmKey, EvmObservation, EvmProgram, EvmValue, Transaction};
use ropewalk_state::StateError;

/// What one transaction did, in the words of the engine. Empty for one that was skipped.
#[derive(Debug, Clone, Default)]
pub struct Footprint {
    /// What it observed, in the order told.
    pub observations: Vec<(EvmKey, EvmObservation)>,
    /// What it wrote, in the order written.
    pub writes: Vec<(EvmKey, EvmDelta)>,
    /// Gas that it used.
    pub gas_used: u64,
    /// Its [`Program::weight`]: the gas that it declares.
    pub weight: u64,
    /// Its [`Program::effort`]: nanoseconds that it is expected to take.
    pub effort: u64,
    /// Its [`Program::lane`]: the same for transactions of one sender.
    pub lane: Option<u64>,
}

/// What all transactions of a block did, and what they found.
#[derive(Debug, Clone, Default)]
pub struct Footprints {
    /// By transaction.
    pub transactions: Vec<Footprint>,
    /// What each key of a footprint held before the first transaction that names it.
    pub before: HashMap<EvmKey, EvmValue>,
}

impl Footprints {
    pub(super) fn of(transactions: &[Transaction]) -> Self {
        let footprint = |transaction: &Transaction| Footprint {
            weight: EvmProgram::weight(transaction),
            effort: EvmProgram::effort(transaction),
            lane: EvmProgram::lane(transaction),
            ..Footprint::default()
        };
        Self { transactions: transactions.iter().map(footprint).collect(), before: HashMap::new() }
    }

    /// Takes down the next transaction that is kept.
    ///
    /// # Errors
    /// When the base state fails.
    pub(super) fn add(
        &mut self,
        index: TxIndex,
        gas_used: u64,
        effects: &Effects<'_, EvmProgram>,
    ) -> Result<(), StateError> {
        let footprint = &mut self.transactions[index.at()];
        footprint.gas_used = gas_used;
        footprint.observations = effects.observations().map(|(key, seen)| (*key, seen.clone())).collect();
        footprint.writes = effects.writes().map(|(key, delta)| (*key, delta.clone())).collect();
        let observed = footprint.observations.iter().map(|(key, _)| *key);
        for key in observed.chain(footprint.writes.iter().map(|(key, _)| *key)) {
            if let Entry::Vacant(vacant) = self.before.entry(key) {
                vacant.insert(effects.below(&key)?);
            }
        }
        Ok(())
    }
}
