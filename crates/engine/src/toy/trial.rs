//! Runs one list in every way there is, and says what came of it.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Mutex,
};

use super::{
    Change, Genesis, Key, Said, Seen, Toy, Unreadable, Value,
    machine::{Factory, Machine, NoPause, Output, State, Transaction},
};
use crate::{
    CommitHook, Decision, Delta, Effects, Engine, Finished, Handle, Memory, Program, RunError, RunOptions, TxIndex,
    sync::Arc,
};

/// A list, the state before it, and what the hook does about it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trial {
    pub(crate) list: Vec<Transaction>,
    pub(crate) values: BTreeMap<Key, Value>,
    pub(crate) broken: bool,
    pub(crate) rule: Rule,
}

/// How the hook decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Rule {
    /// Transactions of more weight than this is left of are not admitted: what they cost adds up.
    pub(crate) limit: Option<u64>,
    /// What becomes of a transaction that is not admitted.
    pub(crate) beyond_limit: Verdict,
    /// An output whose accumulator is a multiple of this is not kept.
    pub(crate) unlucky: Option<u64>,
    /// What becomes of such an output.
    pub(crate) on_unlucky: Verdict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Verdict {
    #[default]
    Skip,
    Stop,
}

impl From<Verdict> for Decision {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Skip => Self::Skip,
            Verdict::Stop => Self::Stop,
        }
    }
}

/// One call of the hook.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Entry {
    Admitted(TxIndex, Decision),
    Committed {
        index: TxIndex,
        output: Output,
        decision: Decision,
        writes: Vec<(Key, Change)>,
        /// Empty where nobody asked for them.
        observations: Vec<(Key, Seen)>,
    },
}

/// What the hook was told, in order.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) entries: Vec<Entry>,
    spent: u64,
}

impl Ledger {
    /// Transactions that were decided upon.
    pub(crate) fn decided_in(entries: &[Entry]) -> u32 {
        let is_decided = |entry: &&Entry| match entry {
            Entry::Admitted(_, decision) => *decision == Decision::Skip,
            Entry::Committed { decision, .. } => *decision != Decision::Stop,
        };
        entries.iter().filter(is_decided).count() as u32
    }

    fn admit(&mut self, rule: Rule, index: TxIndex, weight: u64) -> Decision {
        let fits = rule.limit.is_none_or(|limit| self.spent + weight <= limit);
        let decision = if fits { Decision::Keep } else { rule.beyond_limit.into() };
        self.entries.push(Entry::Admitted(index, decision));
        decision
    }

    fn decide(&mut self, rule: Rule, output: Output) -> Decision {
        if rule.unlucky.is_some_and(|unlucky| output.accumulator.is_multiple_of(unlucky)) {
            return rule.on_unlucky.into();
        }
        self.spent += u64::from(output.ops);
        Decision::Keep
    }
}

/// The hook: keeps a ledger that others may look into while it works.
#[derive(Debug)]
pub(crate) struct Clerk<'l> {
    pub(crate) rule: Rule,
    pub(crate) ledger: &'l Mutex<Ledger>,
    /// Whether observations are noted too.
    pub(crate) curious: bool,
}

impl CommitHook<Toy> for Clerk<'_> {
    fn admit(&mut self, index: TxIndex, transaction: &Transaction) -> Decision {
        self.ledger.lock().unwrap().admit(self.rule, index, Toy::weight(transaction))
    }

    fn commit_transaction(&mut self, index: TxIndex, output: Output, effects: Effects<'_, Toy>) -> Decision {
        let mut ledger = self.ledger.lock().unwrap();
        let decision = ledger.decide(self.rule, output);
        let observations = effects.observations().filter(|_| self.curious);
        let observations = observations.map(|(key, seen)| (*key, *seen)).collect();
        let writes = effects.writes().map(|(key, change)| (*key, *change)).collect();
        ledger.entries.push(Entry::Committed { index, output, decision, writes, observations });
        decision
    }
}

/// A hook that notes what every kept transaction does to each key.
#[cfg(not(feature = "shuttle"))]
struct Reporter<'l> {
    clerk: Clerk<'l>,
    said: Said,
}

#[cfg(not(feature = "shuttle"))]
impl CommitHook<Toy> for Reporter<'_> {
    fn admit(&mut self, index: TxIndex, transaction: &Transaction) -> Decision {
        self.clerk.admit(index, transaction)
    }

    fn commit_transaction(&mut self, index: TxIndex, output: Output, effects: Effects<'_, Toy>) -> Decision {
        let written = effects.written().expect("the base state is whole");
        let clears: Vec<Key> = effects.writes().filter(|(_, change)| change.clears).map(|(key, _)| *key).collect();
        let decision = self.clerk.commit_transaction(index, output, effects);
        if decision == Decision::Keep {
            self.said.writes.extend(written.iter().map(|written| {
                let hidden = Toy::shadow(written.key).is_some_and(|shadow| clears.contains(&shadow));
                let before = if hidden { Value::default() } else { written.before };
                let step = written.after.balance as i64 - before.balance as i64;
                let clears = clears.contains(written.key);
                let change = Change { word: Some(written.after.word), step, clears, bounded: false };
                (index.position(), *written.key, change)
            }));
        }
        decision
    }
}

/// What came of a run. Equal outcomes are what the engine promises.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) entries: Vec<Entry>,
    pub(crate) ending: Result<Option<TxIndex>, RunError<Unreadable>>,
    /// Values that committed transactions wrote, and whether the key was cleared.
    pub(crate) committed: BTreeMap<Key, (Value, bool)>,
}

/// The values that committed transactions wrote, and whether the key was cleared.
pub(crate) fn committed(memory: &Memory<Toy>) -> BTreeMap<Key, (Value, bool)> {
    let mut committed = BTreeMap::new();
    memory.for_each_committed(|found| {
        let former = committed.insert(*found.key, (*found.value, found.cleared));
        assert_eq!(former, None, "key {:?} has two cells", found.key);
    });
    committed
}

impl Trial {
    pub(crate) fn new(list: impl Into<Vec<Transaction>>) -> Self {
        Self { list: list.into(), values: Genesis::zero().values, ..Self::default() }
    }

    /// For the message of a failure.
    #[cfg(not(feature = "shuttle"))]
    pub(crate) fn in_lines(&self) -> String {
        let lines = self.list.iter().enumerate().map(|(index, transaction)| format!("{index}: {transaction:?}\n"));
        format!("{}{:?}\nbroken: {}, {:?}", lines.collect::<String>(), self.values, self.broken, self.rule)
    }

    pub(crate) fn genesis(&self) -> Arc<Genesis> {
        Arc::new(Genesis { values: self.values.clone(), broken: self.broken, ..Genesis::default() })
    }

    pub(crate) fn memory(&self) -> Arc<Memory<Toy>> {
        Arc::new(Memory::new(self.genesis(), 8))
    }

    /// By the engine's serial twin.
    #[cfg(not(feature = "shuttle"))]
    pub(crate) fn serially(&self, curious: bool) -> Outcome {
        let memory = self.memory();
        let ledger = Mutex::default();
        let mut clerk = Clerk { rule: self.rule, ledger: &ledger, curious };
        let run = || crate::serial::run(&memory, &self.list, &Factory(NoPause), &mut clerk);
        let ending = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|payload| Err(panicked(&ledger, &*payload)));
        Outcome { entries: ledger.into_inner().unwrap().entries, ending, committed: committed(&memory) }
    }

    /// What each transaction of the serial run writes.
    #[cfg(not(feature = "shuttle"))]
    pub(crate) fn said(&self) -> Said {
        let ledger = Mutex::default();
        let clerk = Clerk { rule: self.rule, ledger: &ledger, curious: false };
        let mut reporter = Reporter { clerk, said: Said::default() };
        let run = || crate::serial::run(&self.memory(), &self.list, &Factory(NoPause), &mut reporter);
        // A list that ends early has the writes of those before its end.
        let _ending = catch_unwind(AssertUnwindSafe(run));
        reporter.said
    }

    /// By the engine.
    pub(crate) fn in_parallel(&self, engine: &Engine, options: &RunOptions) -> (Outcome, Option<Finished>) {
        let (outcome, finished, memory) = self.over(None, engine, options);
        (Outcome { committed: committed(&memory), ..outcome }, finished)
    }

    /// By the engine, over known writes; the memory holds these afterwards instead of what was committed.
    pub(crate) fn over(
        &self,
        known: Option<Said>,
        engine: &Engine,
        options: &RunOptions,
    ) -> (Outcome, Option<Finished>, Arc<Memory<Toy>>) {
        let genesis = self.genesis();
        let memory = Memory::new(Arc::clone(&genesis), 8);
        let memory = Arc::new(match known {
            Some(known) => memory.over(known),
            None => memory,
        });
        let ledger = Mutex::default();
        let mut clerk = Clerk { rule: self.rule, ledger: &ledger, curious: options.record };
        let finished = engine.run(&memory, &self.list, &Factory(NoPause), &mut clerk, options);
        assert!(genesis.most_reads() <= 1, "a key was read {} times from the base state", genesis.most_reads());
        let ending = finished.clone().map(|finished| finished.stopped_at);
        let entries = ledger.into_inner().unwrap().entries;
        (Outcome { entries, ending, committed: BTreeMap::new() }, finished.ok(), memory)
    }

    /// By a loop over a plain map, without anything of the engine.
    pub(crate) fn plainly(&self) -> Outcome {
        let genesis = self.genesis();
        let mut plain = Plain { genesis: &genesis, values: BTreeMap::new(), written: BTreeMap::new(), own: Vec::new() };
        let ledger = Mutex::default();
        let run = || self.run_plainly(&mut plain, &ledger);
        let ending = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|payload| Err(panicked(&ledger, &*payload)));
        let committed = plain.written.iter().map(|(key, cleared)| (*key, (plain.values[key], *cleared))).collect();
        Outcome { entries: ledger.into_inner().unwrap().entries, ending, committed }
    }

    fn run_plainly(
        &self,
        plain: &mut Plain<'_>,
        ledger: &Mutex<Ledger>,
    ) -> Result<Option<TxIndex>, RunError<Unreadable>> {
        for (index, transaction) in (0..).map(TxIndex).zip(&self.list) {
            let admission = ledger.lock().unwrap().admit(self.rule, index, Toy::weight(transaction));
            match admission {
                Decision::Keep => {}
                Decision::Skip => continue,
                Decision::Stop => return Ok(Some(index)),
            }
            let fault = |source| RunError::Fault { index, source };
            plain.own.clear();
            let output = Machine::run(plain, transaction, || {}).map_err(fault)?;
            let after = plain.after().map_err(fault)?;
            let writes = plain.own.clone();
            let mut ledger = ledger.lock().unwrap();
            let decision = ledger.decide(self.rule, output);
            ledger.entries.push(Entry::Committed { index, output, decision, writes, observations: Vec::new() });
            match decision {
                Decision::Keep => plain.keep(after),
                Decision::Skip => {}
                Decision::Stop => return Ok(Some(index)),
            }
        }
        Ok(None)
    }
}

/// The error for a panic of the serial twin, which does not catch any.
fn panicked(ledger: &Mutex<Ledger>, payload: &(dyn std::any::Any + Send)) -> RunError<Unreadable> {
    let entries = &ledger.lock().unwrap().entries;
    let message = payload.downcast_ref::<String>().cloned();
    match (entries.last(), message) {
        (Some(Entry::Admitted(index, Decision::Keep)), Some(message)) => RunError::Panicked { index: *index, message },
        (last, message) => panic!("a panic of something else than a transaction, after {last:?}: {message:?}"),
    }
}

/// A state without versions, cells or positions.
struct Plain<'g> {
    genesis: &'g Genesis,
    values: BTreeMap<Key, Value>,
    /// Keys that were written, and whether they were cleared.
    written: BTreeMap<Key, bool>,
    own: Vec<(Key, Change)>,
}

impl Plain<'_> {
    fn get(&self, key: Key) -> Result<Value, Unreadable> {
        self.values.get(&key).map_or_else(|| self.genesis.get(key), |value| Ok(*value))
    }

    /// The values that the transaction's writes lead to; clears come first.
    fn after(&self) -> Result<BTreeMap<Key, Value>, Unreadable> {
        let mut after = BTreeMap::new();
        for (group, _) in self.own.iter().filter(|(_, change)| change.clears) {
            let members = Key::all().filter(|key| Toy::shadow(key) == Some(*group));
            after.extend(members.map(|key| (key, Toy::hidden(&key))));
        }
        for (key, change) in &self.own {
            let mut value = after.get(key).map_or_else(|| self.get(*key), |value| Ok(*value))?;
            change.apply(&mut value);
            after.insert(*key, value);
        }
        Ok(after)
    }

    fn keep(&mut self, after: BTreeMap<Key, Value>) {
        self.values.extend(after);
        self.own.iter().for_each(|(key, change)| *self.written.entry(*key).or_default() |= change.clears);
    }
}

impl State for Plain<'_> {
    type Halt = Unreadable;

    fn load(&mut self, key: Key) -> Result<(Option<Handle>, Value), Unreadable> {
        Ok((None, self.get(key)?))
    }

    fn read(&mut self, key: Key) -> Result<Value, Unreadable> {
        self.get(key)
    }

    fn observe(&mut self, _: Option<Handle>, _: Seen) {}

    fn write(&mut self, key: Key, _: Option<Handle>, change: Change) {
        self.own.push((key, change));
    }
}
