//! The accumulator machine that runs toy transactions, against a view or against a plain map.
//!
//! It treats its state as an EVM's journal does: what it wrote itself is kept aside and laid over what it reads, and
//! handed over at the end. Bounds are observed on what the state says, without its own steps.

use super::{CAP, Change, Delta, Key, MEMBERS, Seen, Toy, Unreadable, Value};
use crate::{Handle, Interrupt, Program, View, Worker, WorkerFactory};

/// One operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    /// Relies on all of a key.
    Read(Key),
    /// Relies on a key's word alone.
    Look(Key),
    /// Loads a key and relies on nothing of it.
    Peek(Key),
    /// Loads the first key, reads the second, and only then relies on the first one's word.
    Late(Key, Key),
    /// Loads a group's word, reads the member that it names, and only then relies on the word.
    Chase(u8),
    /// Sets a word to a constant.
    Put(Key, u64),
    /// Sets a word to what the accumulator holds.
    Keep(Key),
    /// Sets a word to its successor.
    Count(Key),
    /// Adds to a balance without looking at it.
    Credit(Key, u64),
    /// Takes from a balance what is known to be there, or ends the transaction.
    Debit(Key, u64),
    /// The same, where the bound of the step is the only thing relied upon.
    Spend(Key, u64),
    /// Adds to a balance up to the cap, or ends the transaction.
    Fill(Key, u64),
    /// Reads the member that a group's word names.
    Follow(u8),
    /// Leaves out so many operations where the key's word is odd.
    Branch(Key, u8),
    /// Hides a group's members.
    Clear(u8),
    /// Panics where the key's word is this one.
    Panic(Key, u64),
}

/// A toy transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Transaction {
    pub(crate) ops: Vec<Op>,
    pub(crate) lane: Option<u64>,
    /// A transaction that it is said to conflict with, lower or not.
    pub(crate) follows: Option<u32>,
    /// Where it is said to meet it.
    pub(crate) meets: Option<Key>,
    /// Is not worth another thread.
    pub(crate) light: bool,
    /// Hands its write set over last key first.
    pub(crate) backwards: bool,
}

impl<const N: usize> From<[Op; N]> for Transaction {
    fn from(ops: [Op; N]) -> Self {
        Self { ops: ops.into(), ..Self::default() }
    }
}

/// What an attempt yields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) accumulator: u64,
    /// Whether it ended for want of balance.
    pub(crate) poor: bool,
    /// Operations carried out, as its cost.
    pub(crate) ops: u32,
}

/// What the machine runs against.
pub(crate) trait State {
    type Halt;
    fn load(&mut self, key: Key) -> Result<(Option<Handle>, Value), Self::Halt>;
    fn read(&mut self, key: Key) -> Result<Value, Self::Halt>;
    fn observe(&mut self, handle: Option<Handle>, seen: Seen);
    fn write(&mut self, key: Key, handle: Option<Handle>, change: Change);
}

impl State for View<Toy> {
    type Halt = Interrupt<Unreadable>;

    fn load(&mut self, key: Key) -> Result<(Option<Handle>, Value), Self::Halt> {
        let (handle, value) = View::load(self, &key, |value| *value)?;
        Ok((Some(handle), value))
    }

    fn read(&mut self, key: Key) -> Result<Value, Self::Halt> {
        View::read(self, &key)
    }

    fn observe(&mut self, handle: Option<Handle>, seen: Seen) {
        View::observe(self, handle.expect("a loaded key has a handle"), seen);
    }

    fn write(&mut self, key: Key, handle: Option<Handle>, change: Change) {
        match handle {
            Some(handle) => self.write_to(handle, change),
            None => View::write(self, &key, change),
        }
    }
}

/// A view whose observations are expected, whether or not they are true of what was loaded.
struct Ahead(View<Toy>);

impl State for Ahead {
    type Halt = Interrupt<Unreadable>;

    fn load(&mut self, key: Key) -> Result<(Option<Handle>, Value), Self::Halt> {
        State::load(&mut self.0, key)
    }

    fn read(&mut self, key: Key) -> Result<Value, Self::Halt> {
        State::read(&mut self.0, key)
    }

    fn observe(&mut self, handle: Option<Handle>, seen: Seen) {
        self.0.expect(handle.expect("a loaded key has a handle"), seen);
    }

    fn write(&mut self, key: Key, handle: Option<Handle>, change: Change) {
        State::write(&mut self.0, key, handle, change);
    }
}

/// The member of a group that a word names.
fn member(group: u8, word: u64) -> Key {
    Key::Member(group, (word % u64::from(MEMBERS)) as u8)
}

/// One attempt.
pub(crate) struct Machine<'s, S, B> {
    state: &'s mut S,
    /// Called before each operation, within some, and at the end.
    between: B,
    accumulator: u64,
    /// Own writes, in order.
    pending: Vec<(Key, Option<Handle>, Change)>,
    /// What bounded steps rely upon, for the case that they are taken back.
    bounds: Vec<(Option<Handle>, Seen)>,
}

/// How one operation ended.
enum Next {
    Go,
    Leave(u8),
    Poor,
}

impl<'s, S: State, B: FnMut()> Machine<'s, S, B> {
    /// Runs `transaction`; `between` is called whenever something may happen elsewhere.
    pub(crate) fn run(state: &'s mut S, transaction: &Transaction, between: B) -> Result<Output, S::Halt> {
        let mut machine = Self { state, between, accumulator: 1, pending: Vec::new(), bounds: Vec::new() };
        let (mut ops, mut poor, mut leave) = (0, false, 0);
        for op in &transaction.ops {
            if leave > 0 {
                leave -= 1;
                continue;
            }
            (machine.between)();
            ops += 1;
            match machine.step(*op)? {
                Next::Go => {}
                Next::Leave(count) => leave = count,
                Next::Poor => {
                    poor = true;
                    break;
                }
            }
        }
        (machine.between)();
        machine.hand_over(transaction.backwards && !poor, poor);
        Ok(Output { accumulator: machine.accumulator, poor, ops })
    }

    fn step(&mut self, op: Op) -> Result<Next, S::Halt> {
        match op {
            Op::Read(key) => self.read(key)?,
            Op::Look(key) => {
                self.look(key)?;
            }
            Op::Peek(key) => {
                self.state.load(key)?;
            }
            Op::Late(first, second) => self.late(first, |_| second)?,
            Op::Chase(group) => self.late(Key::Group(group), |word| member(group, word))?,
            Op::Put(key, word) => self.pending.push((key, None, Change::set(word))),
            Op::Keep(key) => self.pending.push((key, None, Change::set(self.accumulator))),
            Op::Count(key) => {
                let word = self.look(key)?;
                self.pending.push((key, None, Change::set(word.wrapping_add(1))));
            }
            Op::Credit(key, amount) => self.pending.push((key, None, Change::step(amount as i64))),
            Op::Debit(key, amount) => return self.take(key, amount, false),
            Op::Spend(key, amount) => return self.take(key, amount, true),
            Op::Fill(key, amount) => return self.fill(key, amount),
            Op::Follow(group) => {
                let word = self.look(Key::Group(group))?;
                self.read(member(group, word))?;
            }
            Op::Branch(key, leave) => {
                if self.look(key)? % 2 == 1 {
                    return Ok(Next::Leave(leave));
                }
            }
            Op::Clear(group) => self.clear(group),
            Op::Panic(key, word) => {
                if self.look(key)? == word {
                    // As `panic!`, without the process's panic hook: it is expected here.
                    std::panic::resume_unwind(Box::new(format!("{key:?} is {word}")));
                }
            }
        }
        Ok(Next::Go)
    }

    fn learn(&mut self, word: u64) {
        self.accumulator = self.accumulator.wrapping_mul(31).wrapping_add(word) % 1_000_003;
    }

    /// The value with the transaction's own writes.
    fn own(&self, key: Key, mut value: Value) -> Value {
        let own = self.pending.iter().filter(|(written, ..)| *written == key);
        own.for_each(|(_, _, change)| change.apply(&mut value));
        value
    }

    fn has_cleared(&self, key: Key) -> bool {
        let shadow = Toy::shadow(&key);
        self.pending.iter().any(|(written, _, change)| change.clears && Some(*written) == shadow)
    }

    fn read(&mut self, key: Key) -> Result<(), S::Halt> {
        let value = if self.has_cleared(key) { Toy::hidden(&key) } else { self.state.read(key)? };
        let value = self.own(key, value);
        self.learn(value.word);
        self.learn(value.balance);
        Ok(())
    }

    fn look(&mut self, key: Key) -> Result<u64, S::Halt> {
        let mut own = self.pending.iter().rev().filter(|(written, ..)| *written == key);
        let word = match own.find_map(|(_, _, change)| change.word) {
            Some(word) => word,
            None if self.has_cleared(key) => Toy::hidden(&key).word,
            None => {
                let (handle, value) = self.state.load(key)?;
                self.state.observe(handle, Seen::Word(value.word));
                value.word
            }
        };
        self.learn(word);
        Ok(word)
    }

    fn late(&mut self, first: Key, second: impl FnOnce(u64) -> Key) -> Result<(), S::Halt> {
        let (handle, value) = self.state.load(first)?;
        (self.between)();
        self.read(second(value.word))?;
        self.state.observe(handle, Seen::Word(value.word));
        self.learn(value.word);
        Ok(())
    }

    /// Takes `amount` from a balance. With `by_bound` the step's own bound is all that is relied upon when it is there.
    fn take(&mut self, key: Key, amount: u64, by_bound: bool) -> Result<Next, S::Halt> {
        let cleared = self.has_cleared(key);
        let (handle, value) = if cleared { (None, Toy::hidden(&key)) } else { self.state.load(key)? };
        let enough = self.own(key, value).balance >= amount;
        let need = self.need(key, amount);
        if !cleared && need > 0 {
            match (enough, by_bound) {
                (true, true) => self.bounds.push((handle, Seen::AtLeast(need as u64))),
                (true, false) => self.state.observe(handle, Seen::AtLeast(need as u64)),
                (false, _) => self.state.observe(handle, Seen::LessThan(need as u64)),
            }
        }
        if !enough {
            return Ok(Next::Poor);
        }
        // A bound speaks of the value below the transaction: it cannot judge what follows an own clear.
        let bounded = by_bound && !cleared;
        let step = -(amount as i64);
        self.pending.push((key, handle, if bounded { Change::bounded(step) } else { Change::step(step) }));
        Ok(Next::Go)
    }

    fn fill(&mut self, key: Key, amount: u64) -> Result<Next, S::Halt> {
        let cleared = self.has_cleared(key);
        let (handle, value) = if cleared { (None, Toy::hidden(&key)) } else { self.state.load(key)? };
        let room = CAP as i64 - amount as i64 + self.need(key, 0);
        if self.own(key, value).balance + amount <= CAP {
            self.bounds.extend((!cleared).then_some((handle, Seen::LessThan(room as u64 + 1))));
            let step = amount as i64;
            self.pending.push((key, handle, if cleared { Change::step(step) } else { Change::bounded(step) }));
            return Ok(Next::Go);
        }
        if !cleared && room >= 0 {
            self.state.observe(handle, Seen::AtLeast(room as u64 + 1));
        }
        Ok(Next::Poor)
    }

    /// What the state must hold of a balance so that `amount` is there, own steps considered.
    fn need(&self, key: Key, amount: u64) -> i64 {
        let own = self.pending.iter().filter(|(written, ..)| *written == key).map(|(_, _, change)| change.step);
        amount as i64 - own.sum::<i64>()
    }

    fn clear(&mut self, group: u8) {
        self.confess();
        self.pending.retain(|(key, ..)| Toy::shadow(key) != Some(Key::Group(group)));
        self.pending.push((Key::Group(group), None, Change::clear(self.accumulator)));
    }

    /// Says what bounded steps relied upon, before they are taken back.
    fn confess(&mut self) {
        self.bounds.drain(..).for_each(|(handle, seen)| self.state.observe(handle, seen));
    }

    /// Hands the write set over. A transaction that turned out poor takes its steps back, but it relied on their bounds.
    fn hand_over(&mut self, backwards: bool, poor: bool) {
        let mut writes = std::mem::take(&mut self.pending);
        if poor {
            self.confess();
            writes.retain(|(_, _, change)| change.word.is_some() && !change.clears);
        }
        if backwards {
            // Last key first; the changes of one key stay in order.
            let keys = writes.iter().map(|(key, ..)| *key).collect::<std::collections::BTreeSet<_>>();
            for key in keys.into_iter().rev() {
                let own = writes.iter().filter(|(written, ..)| *written == key);
                own.for_each(|(key, handle, change)| self.state.write(*key, *handle, *change));
            }
            return;
        }
        writes.into_iter().for_each(|(key, handle, change)| self.state.write(key, handle, change));
    }
}

/// What happens between the operations of a transaction: nothing, or other workers' steps.
pub(crate) trait Pause: Clone + Sync {
    /// Comes before each operation and at the end of an attempt.
    fn pause(&self) {}
}

/// Nothing happens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoPause;

impl Pause for NoPause {}

/// Builds workers that pause between operations.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Factory<B>(pub(crate) B);

impl<B: Pause> WorkerFactory<Toy> for Factory<B> {
    type Worker = ToyWorker<B>;

    fn build(&self) -> Self::Worker {
        ToyWorker(self.0.clone())
    }
}

/// Runs toy transactions.
#[derive(Debug)]
pub(crate) struct ToyWorker<B>(B);

impl<B: Pause> Worker<Toy> for ToyWorker<B> {
    fn execute(&mut self, transaction: &Transaction, view: &mut View<Toy>) -> Result<Output, Interrupt<Unreadable>> {
        // As revm does: the view leaves its borrow for the length of the attempt.
        let mut own = view.take();
        let output = Machine::run(&mut own, transaction, || self.0.pause());
        *view = own;
        output
    }

    /// Takes what it finds for what it will find. Of some it cannot tell.
    fn foretell(
        &mut self,
        transaction: &Transaction,
        view: &mut View<Toy>,
    ) -> Result<Option<Output>, Interrupt<Unreadable>> {
        if transaction.ops.len() % 4 == 3 {
            return Ok(None);
        }
        if view.is_over_known_writes() {
            return Machine::run(view, transaction, || self.0.pause()).map(Some);
        }
        let mut own = Ahead(view.take());
        let output = Machine::run(&mut own, transaction, || self.0.pause());
        *view = own.0;
        output.map(Some)
    }
}
