//! Where the state is slow to answer, what a call turned out to look at is read ahead for those of the same function after it.
//!
//! The first call of a function waits for each of its reads. What can be told from it of the others is then read in a few
//! batches, by the worker that ran it. Meanwhile nobody begins another call of the function: it would wait for what is just being
//! read, and while many threads wait for many reads, none of them gets anywhere.
//!
//! Where nearly all of a block calls few functions, one call of each is tried before the block begins, and another to see whether
//! anything is left to wait for. If nothing is, the block runs on as many threads as there are cores: of many threads that have
//! nothing to wait for, most wait for each other.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use alloy_primitives::{B256, KECCAK256_EMPTY, map::HashMap};
use ropewalk_engine::{CancelToken, Engine, Memory, Position, View, Worker, WorkerFactory};
use ropewalk_evm::{CallSlots, EvmFactory, EvmKey, EvmProgram, EvmValue, EvmWorker, Site, Transaction};
use ropewalk_state::StateReader;

use crate::slow_reads::{Looks, take_singles};

/// Reads in one batch.
const BATCH: usize = 512;
/// Transactions that are looked ahead for together.
const LEAST_PART: usize = 64;

/// Calls of a function that are worth trying one before.
const LEAST_CALLS: usize = 8;
/// Functions of a block that are tried, at most.
const MOST_FUNCTIONS: usize = 16;
/// One part in so many of a block may be other calls.
const OTHERS: usize = 8;
/// Calls of a function that are tried: one to learn from, and others to see whether that will do.
const TRIALS: usize = 4;
/// Calls that must find all they look at: one may have had nothing to do.
const SATISFIED: usize = 2;
/// Most gas of a call that is tried: what is done before its time is to be little.
const MOST_GAS: u64 = 1_000_000;
/// Gas that a call takes before it does anything (Yellow Paper, appendix G), and that a cold read takes (EIP-2929): nobody can look at
/// more than that pays for, and nothing more is read ahead.
const GAS_OF_CALL: u64 = 21_000;
const GAS_OF_READ: u64 = 2_100;

/// Looks ahead for the calls of one block.
pub(crate) struct Scout<'a> {
    slots: &'a CallSlots,
    memory: &'a Memory<EvmProgram>,
    reader: &'a dyn StateReader,
    transactions: &'a [Transaction],
    cancel: Option<&'a CancelToken>,
    /// The function that each transaction calls, and the transactions that call each function, ascending.
    functions: Vec<Option<Function>>,
    calls: HashMap<Function, Vec<u32>>,
    /// Functions that somebody is just reading ahead for, and how many there are. The number is relaxed: who misses one merely does
    /// not wait.
    under_way: Mutex<Vec<Function>>,
    count: AtomicUsize,
    over: Condvar,
}

/// A contract's code, by its hash, and a selector.
type Function = (B256, [u8; 4]);

/// Somebody reads ahead for a function, until this is dropped.
struct UnderWay<'s, 'a>(&'s Scout<'a>, Function);

impl Drop for UnderWay<'_, '_> {
    fn drop(&mut self) {
        let Self(scout, function) = self;
        let mut under_way = scout.lock();
        if let Some(at) = under_way.iter().position(|other| other == function) {
            under_way.swap_remove(at);
        }
        scout.count.store(under_way.len(), Ordering::Relaxed);
        scout.over.notify_all();
    }
}

impl<'a> Scout<'a> {
    pub(super) fn new(
        slots: &'a CallSlots,
        memory: &'a Memory<EvmProgram>,
        reader: &'a dyn StateReader,
        transactions: &'a [Transaction],
        cancel: Option<&'a CancelToken>,
    ) -> Self {
        let function = |transaction: &Transaction| {
            let (to, selector) = transaction.called()?;
            let EvmValue::Account(account) = memory.base(&EvmKey::Account(*to))? else { return None };
            (account.code_hash != KECCAK256_EMPTY).then_some((account.code_hash, *selector))
        };
        let functions: Vec<Option<Function>> = transactions.iter().map(function).collect();
        let mut calls = HashMap::<_, Vec<u32>>::default();
        for (index, function) in (0..).zip(&functions) {
            function.iter().for_each(|function| calls.entry(*function).or_default().push(index));
        }
        let (under_way, count, over) = (Mutex::default(), AtomicUsize::new(0), Condvar::new());
        Self { slots, memory, reader, transactions, cancel, functions, calls, under_way, count, over }
    }

    /// Reads ahead, in batches on the engine's threads, what is known of calls like those of the block.
    pub(super) fn read_known(&self, engine: &Engine) {
        engine.in_parts(self.transactions.len(), LEAST_PART, |part| {
            let mut looks = Looks::default();
            for (transaction, function) in self.transactions[part.clone()].iter().zip(&self.functions[part]) {
                if let Some((code_hash, _)) = function {
                    self.add(transaction, self.slots.expected(code_hash, transaction.env()), &mut looks);
                }
            }
            self.read(looks);
        });
    }

    /// Tries calls of the functions that the block calls most, and reads ahead for the others. Tells whether hardly anything is left
    /// to wait for.
    pub(super) fn explore(&self, factory: &EvmFactory, memory: &Arc<Memory<EvmProgram>>, engine: &Engine) -> bool {
        let (all, called) = (self.transactions.len(), self.functions.iter().flatten().count());
        let creations = self.transactions.iter().filter(|transaction| transaction.env().kind.is_create()).count();
        let least = LEAST_CALLS.max(all / MOST_FUNCTIONS);
        let common: Vec<_> = self.calls.iter().filter(|(_, calls)| calls.len() >= least).collect();
        let others = creations + called - common.iter().map(|(_, calls)| calls.len()).sum::<usize>();
        if common.is_empty() || others > all / OTHERS {
            return false;
        }
        let covered = engine.in_parts(common.len(), 1, |part| {
            let mut worker = factory.build();
            part.into_iter().all(|at| {
                let (function, calls) = common[at];
                let tried = catch_unwind(AssertUnwindSafe(|| self.try_some(&mut worker, memory, *function, calls)));
                // After a panic the worker is not to be relied upon. The block will meet it again, in its place.
                tried.unwrap_or_else(|_| {
                    worker = factory.build();
                    false
                })
            })
        });
        covered.into_iter().all(|covered| covered)
    }

    /// Tries calls of a function until some have found all that they look at.
    fn try_some(
        &self,
        worker: &mut EvmWorker,
        memory: &Arc<Memory<EvmProgram>>,
        function: Function,
        calls: &[u32],
    ) -> bool {
        let can_be_tried = |call: &&u32| {
            let env = self.transactions[**call as usize].env();
            let sender = memory.base(&EvmKey::Account(env.caller));
            // Whoever has sent something before it in the block has another nonce by then.
            let is_first = matches!(sender, Some(EvmValue::Account(sender)) if sender.nonce == env.nonce);
            is_first && env.gas_limit <= MOST_GAS
        };
        let candidates: Vec<&u32> = calls.iter().filter(can_be_tried).collect();
        let tried = candidates.iter().step_by(candidates.len().div_ceil(TRIALS).max(1));
        let mut satisfied = 0;
        for call in tried {
            if satisfied == SATISFIED || self.cancel.is_some_and(CancelToken::is_cancelled) {
                break;
            }
            let transaction = &self.transactions[**call as usize];
            let mut view = View::committed(Arc::clone(memory), Position(**call + 1), false);
            take_singles();
            let succeeds = worker.execute(transaction, &mut view).is_ok_and(|output| output.succeeds());
            let waited_for = take_singles();
            let sites = worker.note_slots(self.slots, &function.0, transaction, &waited_for);
            if !sites.is_empty() {
                self.read_ahead(function, &sites, calls);
            }
            satisfied += usize::from(succeeds && waited_for.is_empty());
        }
        satisfied == SATISFIED
    }

    /// A worker of this thread is about to run a transaction.
    pub(crate) fn begin(&self, index: usize) {
        take_singles();
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let Some(function) = self.functions[index] else { return };
        let mut under_way = self.lock();
        while under_way.contains(&function) {
            under_way = self.over.wait(under_way).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// It has run a transaction: what that waited for, and is new, is read ahead for the others.
    pub(crate) fn learn(&self, worker: &mut EvmWorker, transaction: &Transaction, index: usize) {
        let waited_for = take_singles();
        let Some(function) = self.functions[index].filter(|_| !waited_for.is_empty()) else { return };
        let sites = worker.note_slots(self.slots, &function.0, transaction, &waited_for);
        let Some(calls) = self.calls.get(&function).filter(|_| !sites.is_empty()) else { return };
        let later = &calls[calls.partition_point(|other| *other as usize <= index)..];
        if !later.is_empty() {
            self.read_ahead(function, &sites, later);
        }
    }

    /// A worker of this thread is given up.
    pub(crate) fn end(&self) {
        take_singles();
    }

    fn read_ahead(&self, function: Function, sites: &[Site], calls: &[u32]) {
        let mut under_way = self.lock();
        under_way.push(function);
        self.count.store(under_way.len(), Ordering::Relaxed);
        drop(under_way);
        let _under_way = UnderWay(self, function);
        let mut looks = Looks::default();
        for call in calls {
            let transaction = &self.transactions[*call as usize];
            self.add(transaction, sites.iter().filter_map(|site| site.in_call(transaction.env())), &mut looks);
            if looks.len() >= BATCH {
                self.read(std::mem::take(&mut looks));
            }
        }
        self.read(looks);
    }

    /// Reads what was guessed. A state that panics over a guess is nobody's fault: who needs what it panics over will meet it again.
    fn read(&self, looks: Looks) {
        let _ = catch_unwind(AssertUnwindSafe(|| looks.read(self.memory, self.reader)));
    }

    /// Adds where a transaction is guessed to look, as far as its gas will do, and that is not known yet.
    fn add(&self, transaction: &Transaction, keys: impl IntoIterator<Item = EvmKey>, looks: &mut Looks) {
        let affordable = transaction.env().gas_limit.saturating_sub(GAS_OF_CALL) / GAS_OF_READ;
        let keys = keys.into_iter().take(usize::try_from(affordable).unwrap_or(usize::MAX));
        keys.filter(|key| self.memory.base(key).is_none()).for_each(|key| looks.add_key(key));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Function>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Scout<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scout").field("slots", self.slots).field("functions", &self.calls.len()).finish_non_exhaustive()
    }
}
