//! Which transactions of a block had better wait for which, by what was learned from blocks before.

use alloy_primitives::map::{Entry, HashMap, HashSet};
use ropewalk_engine::{CellId, Conflict, TxIndex};
use ropewalk_evm::{CallConflicts, CallKind, CallTally, EvmKey};

use crate::BlockTransaction;

/// What is expected of a block's transactions, to be compared with what comes.
#[derive(Debug)]
pub struct Foresight<'a> {
    known: &'a CallConflicts,
    transactions: &'a [BlockTransaction],
    /// Of each transaction, where anything was known at all: its kind, and the one that it is to follow.
    expected: Vec<(Option<CallKind>, Option<TxIndex>)>,
}

impl<'a> Foresight<'a> {
    /// What is known about the transactions of a block.
    pub fn of(known: &'a CallConflicts, transactions: &'a [BlockTransaction]) -> Self {
        if known.is_empty() {
            return Self { known, transactions, expected: Vec::new() };
        }
        let kinds = transactions.iter().map(|transaction| known.kind(&transaction.env));
        let mut expected: Vec<(Option<CallKind>, Option<TxIndex>)> = kinds.map(|kind| (kind, None)).collect();
        // Most kinds wait for none, and most are waited for by none.
        let with = |kind: Option<CallKind>| known.expected(kind?);
        let names: Vec<Option<u32>> = expected.iter().map(|(kind, _)| with(*kind)).collect();
        let mut last: HashMap<u32, Option<TxIndex>> = names.iter().flatten().map(|name| (*name, None)).collect();
        if !last.is_empty() {
            for (index, ((kind, follows), name)) in (0..).map(TxIndex).zip(expected.iter_mut().zip(names)) {
                *follows = name.and_then(|name| *last.get(&name)?);
                if let Some(last) = kind.and_then(|kind| last.get_mut(&kind.name())) {
                    *last = Some(index);
                }
            }
        }
        Self { known, transactions, expected }
    }

    /// The transaction that one had better follow, and where it is expected to meet that one, if that is known.
    pub fn follows(&self, index: usize) -> Option<(TxIndex, Option<EvmKey>)> {
        let (kind, lower) = self.expected.get(index)?;
        Some(((*lower)?, self.known.meeting((*kind)?)))
    }

    /// Compares with what came. `key` says what the run's cells stand for.
    pub fn learn(&self, conflicts: &[Conflict], key: impl Fn(CellId) -> EvmKey) {
        if conflicts.is_empty() && self.expected.is_empty() {
            return;
        }
        // Of others there is nothing to be learned: nothing is known of them, and nothing happened to them.
        let mut tallies = HashMap::<CallKind, CallTally>::default();
        tallies.extend(
            conflicts.iter().filter_map(|conflict| Some((self.kind(conflict.reader.at())?, CallTally::default()))),
        );
        for index in 0..self.transactions.len() {
            let Some(kind) = self.kind(index) else { continue };
            if self.known.knows(kind) {
                tallies.entry(kind).or_default();
            }
            if let Some(tally) = tallies.get_mut(&kind) {
                tally.transactions += 1;
                tally.waited |= self.expected.get(index).is_some_and(|(_, lower)| lower.is_some());
            }
        }
        let mut readers = HashSet::<TxIndex>::default();
        for Conflict { reader, writer, cell } in conflicts {
            let Some(kind) = self.kind(reader.at()) else { continue };
            if let Entry::Occupied(mut tally) = tallies.entry(kind) {
                let tally = tally.get_mut();
                tally.conflicts += u32::from(readers.insert(*reader));
                tally.with = self.kind(writer.at()).or(tally.with);
                tally.at = cell.map(&key).or(tally.at);
            }
        }
        tallies.iter().for_each(|(kind, tally)| self.known.note(*kind, tally));
    }

    fn kind(&self, index: usize) -> Option<CallKind> {
        match self.expected.get(index) {
            Some((kind, _)) => *kind,
            None => self.known.kind(&self.transactions[index].env),
        }
    }
}
