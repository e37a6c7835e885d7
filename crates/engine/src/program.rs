//! What a client of the engine defines: its program, and the three seams through which the engine runs it.
//!
//! ```text
//!             Base                 read state before the block, once per key
//!              |
//!   View <- memory -> committed values
//!    |
//!  Worker                          one attempt of one transaction against a view
//!    |
//!  CommitHook                      in block order: admit, then keep, skip or stop
//! ```
//!
//! A **key** names a group of fields that are stored and locked together (an account; a slot), a **location** is one
//! field of it. A **delta** is what a transaction does to a key's value: it sets some fields and steps others, and
//! steps commute. An **observation** is what a transaction learnt from a value, as a predicate: "nonce is 7", "balance
//! is at least 10". Two transactions conflict only when the one's delta makes the other's observation false.

use std::{error::Error, fmt::Debug, hash::Hash};

use crate::{Effects, Interrupt, TxIndex, View};

/// Bit set of the fields of a key's value; bit `n` is field `n`. What each bit means is the program's business.
pub type Fields = u8;

/// The types that a run is about.
pub trait Program: Sized + Send + Sync + 'static {
    /// Names a group of fields; compared exactly, never by hash alone.
    type Key: Clone + Eq + Hash + Debug + Send + Sync;
    /// All fields of one key.
    type Value: Clone + Debug + Send + Sync;
    /// What a transaction does to a value.
    type Delta: Delta<Self::Value>;
    /// What a transaction learnt from a value.
    type Observation: Observation<Self::Value>;
    /// One transaction, as its worker takes it.
    type Transaction: Send + Sync;
    /// What one attempt yields besides its write set. A failed transaction is an output too.
    type Output: Send;
    /// Why the base state could not be read.
    type Fault: Error + Clone + Send + Sync;

    /// The key whose [clearing](Delta::clears_shadowed) deltas hide older writes of `key`, and its base value.
    fn shadow(key: &Self::Key) -> Option<Self::Key> {
        let _ = key;
        None
    }

    /// The value of a key whose older writes and base value are hidden.
    ///
    /// Called only for keys that have a shadow.
    fn hidden(key: &Self::Key) -> Self::Value;

    /// Whether a key with this value before the block then has [hidden](Self::hidden) all that it shadows: nobody needs to ask the
    /// base state for those, and nobody needs to clear them.
    fn hides(before: &Self::Value) -> bool {
        let _ = before;
        false
    }

    /// Upper bound of the cost of one attempt, in units of the program's choice; bounds speculation.
    fn weight(transaction: &Self::Transaction) -> u64 {
        let _ = transaction;
        1
    }

    /// Roughly how many nanoseconds an attempt is worth to another thread, beyond what handing it over costs. A hint:
    /// a list that is worth little runs on one thread, and a transaction that is worth nothing is not speculated on.
    fn effort(transaction: &Self::Transaction) -> u64 {
        let _ = transaction;
        u64::from(u32::MAX)
    }

    /// Cost that an attempt had, at most its [`weight`](Self::weight).
    fn cost(output: &Self::Output) -> u64 {
        let _ = output;
        1
    }

    /// A lower transaction of the list that this one is expected to find wrong what it reads without. A hint, as lanes are.
    fn follows(transaction: &Self::Transaction) -> Option<TxIndex> {
        let _ = transaction;
        None
    }

    /// The key that the one it [follows](Self::follows) writes and this one is expected to miss. Where it is known, the
    /// transaction may be begun early: the attempt waits when it comes to this key. A hint as well.
    fn meets(transaction: &Self::Transaction) -> Option<&Self::Key> {
        let _ = transaction;
        None
    }

    /// Transactions of one lane are known to depend on each other in order (same sender). A hint: it orders work.
    fn lane(transaction: &Self::Transaction) -> Option<u64> {
        let _ = transaction;
        None
    }
}

/// A change of one value: fields that are set, fields that are stepped.
pub trait Delta<V>: Clone + Debug + PartialEq + Send + Sync {
    /// Whether [`fits`](Self::fits) can be false at all.
    fn is_bounded(&self) -> bool {
        false
    }

    /// Whether the change can be made: a step may leave the range of its field.
    ///
    /// A bounded change is itself an observation, which the commit judges: on the value below the transaction, with the
    /// attempt's own earlier changes of the key made. A bound that was relied upon for a change that is not written in
    /// the end (taken back, or merged with others) is to be observed instead.
    fn fits(&self, value: &V) -> bool {
        let _ = value;
        true
    }

    /// Makes the change. A change that does not fit saturates; its transaction is not committed like that.
    fn apply(&self, value: &mut V);

    /// The fields that it may change.
    fn fields(&self) -> Fields;

    /// The fields that it sets to what they are afterwards, whatever they were before. Nothing depends on it but what
    /// [dependencies](crate::Dependencies) are found.
    fn sets(&self) -> Fields {
        if self.is_absolute() { self.fields() } else { 0 }
    }

    /// Whether the value after it is the same whatever the value before it was: nobody needs to look further down.
    fn is_absolute(&self) -> bool {
        false
    }

    /// Whether it hides all older writes of the keys that have this key as [shadow](Program::shadow).
    fn clears_shadowed(&self) -> bool {
        false
    }
}

/// A predicate on one value: what a transaction relied upon.
pub trait Observation<V>: Clone + Debug + Send + Sync {
    /// The observation that all fields are as in `value`.
    fn exact(value: &V) -> Self;

    /// Whether it is true of `value`.
    fn holds(&self, value: &V) -> bool;

    /// The fields that it depends on.
    fn fields(&self) -> Fields;

    /// Whether a write may well make it false. A hint: who relied on what hardly ever changes is not told when it does, and is
    /// found wrong at the commit.
    fn is_volatile(&self) -> bool {
        true
    }

    /// Observations of as few fields as can be, which together say the same.
    fn parts(&self) -> Vec<Self> {
        vec![self.clone()]
    }
}

/// Reads the state before the block. Shared by all workers; every key is read at most once per run.
pub trait Base<P: Program>: Send + Sync {
    /// The value of `key` before the block.
    ///
    /// # Errors
    /// A fault, when the state source fails.
    fn read(&self, key: &P::Key) -> Result<P::Value, P::Fault>;
}

/// Runs attempts of transactions, one at a time, on one thread.
///
/// Given equal answers from its view it must do the same: that is what makes validation by value sound.
pub trait Worker<P: Program> {
    /// Runs one attempt of `transaction`, reading and writing through `view`.
    ///
    /// # Errors
    /// Passes on an interrupt that the view answered with. A transaction that fails by the program's own rules is an
    /// output, not an error.
    fn execute(&mut self, transaction: &P::Transaction, view: &mut View<P>) -> Result<P::Output, Interrupt<P::Fault>>;

    /// Says what `transaction` comes to when lower ones leave what it takes for granted: under what it
    /// [expects](View::expect) and observes, which the commit judges. `None` where that cannot be said, and it is to be
    /// executed.
    ///
    /// Nobody sees what it writes before it is committed, so it must not need to see what its neighbours write. Asked of
    /// transactions whose [effort](Program::effort) is zero, and only to be faster. Over [known writes](crate::KnownWrites) nothing is
    /// judged, and what is expected must be so.
    ///
    /// # Errors
    /// Passes on an interrupt that the view answered with; the transaction is executed then.
    fn foretell(
        &mut self,
        transaction: &P::Transaction,
        view: &mut View<P>,
    ) -> Result<Option<P::Output>, Interrupt<P::Fault>> {
        let _ = (transaction, view);
        Ok(None)
    }
}

/// Builds workers, each on the thread that will use it: a worker itself need not be `Send`.
pub trait WorkerFactory<P: Program>: Sync {
    /// What it builds.
    type Worker: Worker<P>;

    /// Builds a worker. Called again when an attempt panicked, since its worker is then in an unknown state.
    fn build(&self) -> Self::Worker;
}

/// What becomes of a transaction in the commit order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Its effects become part of the state.
    Keep,
    /// It is left out, as if it were not in the list; later transactions see nothing of it.
    Skip,
    /// The run ends before it.
    Stop,
}

/// Sees every transaction once, in block order, from whichever thread commits it.
pub trait CommitHook<P: Program>: Send {
    /// Asked before the transaction's result is looked at, and before a frontier run is started.
    fn admit(&mut self, index: TxIndex, transaction: &P::Transaction) -> Decision {
        let _ = (index, transaction);
        Decision::Keep
    }

    /// Takes the output of a transaction whose observations are those of the in-order run. On
    /// [`Keep`](Decision::Keep) its `effects` become part of the committed state right after.
    fn commit_transaction(&mut self, index: TxIndex, output: P::Output, effects: Effects<'_, P>) -> Decision;
}
