//! Toy programs: small enough to reason about, mean enough to meet every path of the engine.
//!
//! Keys come in groups: clearing a group hides its members. A value has a word, which is set, and a balance, which is
//! stepped. A transaction is a short list of operations for an accumulator machine whose control flow depends on what
//! it reads: it branches on words, follows them to other keys, debits what it may be too poor to pay, clears groups and
//! writes them again, and now and then panics or meets a key that the base state cannot read.
//!
//! - `machine` runs a transaction, against a view or against a plain map
//! - `lists` makes lists of transactions, from a seed or for proptest
//! - `said` is what is known of a list before it runs
//! - `trial` runs a list serially, plainly and in parallel, and says what came of it

use std::{collections::BTreeMap, fmt, sync::Mutex};

use crate::{Base, Delta, Fields, Observation, Program, TxIndex};

pub(crate) mod lists;
pub(crate) mod machine;
mod said;
pub(crate) mod trial;

#[cfg(not(feature = "shuttle"))]
mod tests;

pub(crate) use machine::{Op, Output, Transaction};
pub(crate) use said::Said;
pub(crate) use trial::{Clerk, Ledger, Outcome, Rule, Trial};

/// The program.
#[derive(Debug)]
pub(crate) struct Toy;

/// Groups, and members of each. The last member of each group is the one that a broken base state cannot read.
pub(crate) const GROUPS: u8 = 2;
pub(crate) const MEMBERS: u8 = 4;

/// The word of a group that has nothing in its members before the block.
pub(crate) const BARREN: u64 = 1 << 40;

/// Highest balance that a bounded step upwards may lead to.
pub(crate) const CAP: u64 = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Key {
    Group(u8),
    Member(u8, u8),
}

impl Key {
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let members = |group| (0..MEMBERS).map(move |member| Self::Member(group, member));
        (0..GROUPS).flat_map(move |group| std::iter::once(Self::Group(group)).chain(members(group)))
    }

    /// Whether a broken base state cannot read it.
    pub(crate) fn is_fragile(self) -> bool {
        matches!(self, Self::Member(_, member) if member == MEMBERS - 1)
    }

    fn number(self) -> u64 {
        match self {
            Self::Group(group) => 100 + u64::from(group),
            Self::Member(group, member) => 10 * u64::from(group) + u64::from(member),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Value {
    pub(crate) word: u64,
    pub(crate) balance: u64,
}

pub(crate) const WORD: Fields = 1;
pub(crate) const BALANCE: Fields = 2;

/// Sets the word, steps the balance, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Change {
    pub(crate) word: Option<u64>,
    pub(crate) step: i64,
    /// The step is only right where it leads neither below zero nor, upwards, above the cap.
    pub(crate) bounded: bool,
    pub(crate) clears: bool,
}

impl Change {
    pub(crate) fn set(word: u64) -> Self {
        Self { word: Some(word), ..Self::default() }
    }

    pub(crate) fn step(step: i64) -> Self {
        Self { step, ..Self::default() }
    }

    pub(crate) fn bounded(step: i64) -> Self {
        Self { step, bounded: true, ..Self::default() }
    }

    pub(crate) fn clear(word: u64) -> Self {
        Self { word: Some(word), clears: true, ..Self::default() }
    }
}

impl Delta<Value> for Change {
    fn is_bounded(&self) -> bool {
        self.bounded
    }

    fn fits(&self, value: &Value) -> bool {
        value.balance.checked_add_signed(self.step).is_some_and(|balance| self.step <= 0 || balance <= CAP)
    }

    fn apply(&self, value: &mut Value) {
        value.word = self.word.unwrap_or(value.word);
        value.balance = value.balance.saturating_add_signed(self.step);
    }

    fn fields(&self) -> Fields {
        u8::from(self.word.is_some()) * WORD + u8::from(self.step != 0) * BALANCE
    }

    fn sets(&self) -> Fields {
        u8::from(self.word.is_some()) * WORD
    }

    fn clears_shadowed(&self) -> bool {
        self.clears
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    Exactly(Value),
    Word(u64),
    AtLeast(u64),
    LessThan(u64),
}

impl Observation<Value> for Seen {
    fn exact(value: &Value) -> Self {
        Self::Exactly(*value)
    }

    fn holds(&self, value: &Value) -> bool {
        match self {
            Self::Exactly(seen) => seen == value,
            Self::Word(word) => value.word == *word,
            Self::AtLeast(bound) => value.balance >= *bound,
            Self::LessThan(bound) => value.balance < *bound,
        }
    }

    fn fields(&self) -> Fields {
        match self {
            Self::Exactly(_) => WORD | BALANCE,
            Self::Word(_) => WORD,
            Self::AtLeast(_) | Self::LessThan(_) => BALANCE,
        }
    }
}

/// The base state could not read a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unreadable(pub(crate) Key);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {:?} cannot be read", self.0)
    }
}

impl std::error::Error for Unreadable {}

impl Program for Toy {
    type Key = Key;
    type Value = Value;
    type Delta = Change;
    type Observation = Seen;
    type Transaction = Transaction;
    type Output = Output;
    type Fault = Unreadable;

    fn shadow(key: &Key) -> Option<Key> {
        match key {
            Key::Group(_) => None,
            Key::Member(group, _) => Some(Key::Group(*group)),
        }
    }

    fn hidden(_: &Key) -> Value {
        Value::default()
    }

    fn hides(before: &Value) -> bool {
        before.word == BARREN
    }

    fn weight(transaction: &Transaction) -> u64 {
        transaction.ops.len() as u64
    }

    fn effort(transaction: &Transaction) -> u64 {
        if transaction.light { 0 } else { 1_000_000 }
    }

    fn cost(output: &Output) -> u64 {
        u64::from(output.ops)
    }

    fn lane(transaction: &Transaction) -> Option<u64> {
        transaction.lane
    }

    fn follows(transaction: &Transaction) -> Option<TxIndex> {
        transaction.follows.map(TxIndex)
    }

    fn meets(transaction: &Transaction) -> Option<&Key> {
        transaction.meets.as_ref()
    }
}

/// The state before the block. Keys that are not in the map have a value of their own all the same, so that reading an
/// absent key differs from reading a hidden one.
#[derive(Debug, Default)]
pub(crate) struct Genesis {
    pub(crate) values: BTreeMap<Key, Value>,
    /// Whether fragile keys cannot be read.
    pub(crate) broken: bool,
    /// How often each key was read.
    pub(crate) reads: Mutex<BTreeMap<Key, u32>>,
}

impl Genesis {
    /// A state before the block with every key at zero.
    pub(crate) fn zero() -> Self {
        Self { values: Key::all().map(|key| (key, Value::default())).collect(), ..Self::default() }
    }

    pub(crate) fn get(&self, key: Key) -> Result<Value, Unreadable> {
        if self.broken && key.is_fragile() {
            return Err(Unreadable(key));
        }
        let absent = Value { word: key.number() % 3, balance: key.number() % 7 };
        Ok(self.values.get(&key).copied().unwrap_or(absent))
    }

    /// The most times that any one key was read.
    pub(crate) fn most_reads(&self) -> u32 {
        self.reads.lock().unwrap().values().copied().max().unwrap_or(0)
    }
}

impl Base<Toy> for std::sync::Arc<Genesis> {
    fn read(&self, key: &Key) -> Result<Value, Unreadable> {
        let value = self.get(*key)?;
        *self.reads.lock().unwrap().entry(*key).or_insert(0) += 1;
        Ok(value)
    }
}
