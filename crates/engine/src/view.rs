//! One attempt's window on multi-version memory: what it reads, and the read and write sets that it leaves.
//!
//! A view resolves reads at its transaction's position. A speculative view records what was observed, so that the
//! commit can judge it; a view at the frontier reads committed values, which need no judgement, and records only when
//! asked to (an access list or a witness is made from observations).
//!
//! An attempt that was begun before its time waits here, when it comes to the key where it is expected to meet a lower
//! transaction that is running ([`Dispatch`]).
//!
//! A speculative attempt that learns on the way that its transaction has become the lowest uncommitted one checks what
//! it observed so far, and ends at once when something of it no longer holds. What it goes on to read is committed, but
//! a worker may still make observations of what it loaded before: the commit validates it like any other.

use std::fmt;

use crate::{
    CellId, Incarnation, Memory, Observation, Position, Program, TxIndex, Written,
    dirty::Dirty,
    memory::{Estimates, Look, Reads, Unresolved, Write, Wrong, write_once},
    run::{Dispatch, Meeting},
    scheduler::Outlook,
    sync::Arc,
    table::Known,
};

/// Why an attempt cannot go on. A worker passes it on; it is never a result of the transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interrupt<F> {
    /// Something that the attempt observed no longer holds.
    Stale,
    /// The attempt read what an aborted incarnation of a lower transaction wrote, and had better wait for the next.
    Dependency(TxIndex),
    /// The run is over.
    Stopped,
    /// The base state failed.
    Fault(F),
}

/// Names a key within one view's memory, and when it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handle {
    cell: CellId,
    seen: u32,
}

/// How far what a view reads can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// A guess: observations are recorded and judged at the commit.
    Speculative,
    /// Committed values.
    Frontier,
}

/// Why a view has its memory.
const PUT_BACK: &str = "a view that was taken is put back before it is used";

/// Of a key that was not looked at: no count of changes comes so far.
const NEVER_SEEN: u32 = u32::MAX;

/// Reads between two looks at the frontier. The transactions of tests are short and look more often.
const READS_PER_LOOK: u32 = if cfg!(test) { 2 } else { 16 };

/// What a view is told about the run it belongs to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ViewOptions {
    /// Whether the frontier records observations too.
    pub(crate) record: bool,
    /// Whether a speculative attempt checks itself when its turn has come.
    pub(crate) check_when_due: bool,
}

/// Where a worker's attempts wait for others.
pub(crate) struct Attendance {
    pub(crate) dispatch: Arc<Dispatch>,
    pub(crate) worker: usize,
    /// Whether the worker has its thread to itself.
    pub(crate) parks: bool,
}

/// One attempt's access to the state.
pub struct View<P: Program> {
    /// `None` only in the husk that [`take`](Self::take) leaves.
    memory: Option<Arc<Memory<P>>>,
    options: ViewOptions,
    position: Position,
    incarnation: Incarnation,
    standing: Standing,
    /// What had been observed when the transaction's turn came was found to hold.
    checked: bool,
    /// What had been observed and was found not to.
    pub(crate) failed: Option<Wrong>,
    /// Where an aborted write of a lower transaction was met.
    pub(crate) met: Option<CellId>,
    attendance: Option<Attendance>,
    /// Where the attempt is to wait for a lower transaction, until it has.
    meeting: Option<Meeting>,
    /// Whether it has.
    waited: bool,
    /// Reads until the frontier is looked at again: the committing worker writes it all the time, and a look costs both.
    until_look: u32,
    pub(crate) reads: Reads<P>,
    pub(crate) writes: Vec<Write<P>>,
    known: Known,
}

impl<P: Program> View<P> {
    pub(crate) fn new(memory: Arc<Memory<P>>, options: ViewOptions, attendance: Option<Attendance>) -> Self {
        // Outside of runs few keys are named.
        let known = attendance.as_ref().map_or_else(Known::default, |there| memory.known(there.dispatch.workers()));
        Self { memory: Some(memory), attendance, known, ..Self::husk(options) }
    }

    /// A view of the committed values at `position`, for what runs in order before and after the transactions.
    /// Nothing it writes is seen by anybody until [`commit`](Self::commit).
    ///
    /// With `record` it keeps its observations for whoever asks for its [effects](Self::effects).
    pub fn committed(memory: Arc<Memory<P>>, position: Position, record: bool) -> Self {
        let mut view = Self::new(memory, ViewOptions { record, check_when_due: false }, None);
        view.position = position;
        view
    }

    /// What was observed and written through a [committed](Self::committed) view since its last commit, or in an attempt. What
    /// an attempt finds below it is a guess, but in a run over [known writes](crate::KnownWrites).
    pub fn effects(&self) -> Effects<'_, P> {
        Effects { memory: self.memory(), position: self.position, reads: &self.reads, writes: &self.writes }
    }

    /// Makes what was written through a [committed](Self::committed) view part of the committed values.
    ///
    /// # Errors
    /// A fault, when the base state fails.
    ///
    /// # Panics
    /// When called by a worker inside a run: the engine commits transactions, in order.
    pub fn commit(&mut self) -> Result<(), P::Fault> {
        assert_eq!(self.standing, Standing::Frontier, "an attempt at {:?} does not commit itself", self.position);
        self.prepare()?;
        let folded = self.memory().fold(self.position, &self.writes, &mut Dirty::default());
        self.reads.clear();
        self.writes.clear();
        folded.map_err(Unresolved::into_fault)
    }

    /// Reads what [`commit`](Self::commit) takes from the base state, so that it cannot fail half-way.
    pub(crate) fn prepare(&self) -> Result<(), P::Fault> {
        self.memory().prepare(self.position, &self.writes).map_err(Unresolved::into_fault)
    }

    /// Moves the view out, leaving a husk. A worker whose state handle outlives the borrow it was given (revm's
    /// database is owned by its EVM) takes the view for the length of the attempt and puts it back after.
    #[must_use]
    pub fn take(&mut self) -> Self {
        let options = self.options;
        std::mem::replace(self, Self::husk(options))
    }

    fn husk(options: ViewOptions) -> Self {
        Self {
            memory: None,
            options,
            position: Position(0),
            incarnation: Incarnation(0),
            standing: Standing::Frontier,
            checked: false,
            failed: None,
            met: None,
            attendance: None,
            meeting: None,
            waited: false,
            until_look: READS_PER_LOOK,
            reads: Reads::default(),
            writes: Vec::new(),
            known: Known::default(),
        }
    }

    fn intern(&mut self, key: &P::Key) -> CellId {
        let memory = self.memory.as_ref().expect(PUT_BACK);
        memory.intern_knowing(key, &mut self.known)
    }

    fn memory(&self) -> &Arc<Memory<P>> {
        self.memory.as_ref().expect(PUT_BACK)
    }

    /// Whether it lies over [known writes](crate::KnownWrites): what is read is what the transaction is judged by.
    pub fn is_over_known_writes(&self) -> bool {
        self.memory().is_over_known_writes()
    }

    /// Whether observations are kept. Where they are not, a worker may spare itself making them: on committed values, and over
    /// [known writes](crate::KnownWrites), nobody judges an attempt by them.
    pub fn is_recording(&self) -> bool {
        self.options.record || self.standing == Standing::Speculative && !self.is_over_known_writes()
    }

    /// Where the key of a handle is among the [known writes](crate::KnownWrites).
    pub fn place(&self, handle: Handle) -> Option<u32> {
        self.memory().place(handle.cell)
    }

    /// A handle to write to `key` by, without looking at its value.
    pub fn handle(&mut self, key: &P::Key) -> Handle {
        Handle { cell: self.intern(key), seen: NEVER_SEEN }
    }

    pub(crate) fn begin(
        &mut self,
        index: TxIndex,
        incarnation: Incarnation,
        standing: Standing,
        meeting: Option<Meeting>,
    ) {
        self.position = index.position();
        self.incarnation = incarnation;
        self.standing = standing;
        self.meeting = meeting;
        (self.checked, self.failed, self.met, self.waited) = (false, None, None, false);
        self.until_look = READS_PER_LOOK;
        self.reads.clear();
        self.writes.clear();
    }

    /// The lower transaction that an attempt was to wait for, if it ended without having come to where they meet.
    pub(crate) fn missed(&mut self) -> Option<Meeting> {
        self.meeting.take()
    }

    /// Whether the attempt was held up until a lower transaction had written what it reads: the time that it took says nothing.
    pub fn has_waited(&self) -> bool {
        self.waited
    }

    /// Where in the block the attempt stands.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Which attempt of its transaction this is.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Whether the attempt may turn out wrong. Never to be made visible in a result (I6).
    pub fn is_speculative(&self) -> bool {
        self.standing == Standing::Speculative
    }

    /// The best known value of `key`, without relying on it: what is made of the value is to be
    /// [observed](Self::observe). Writes of the attempt itself are not in it.
    ///
    /// # Errors
    /// An interrupt, to be passed on.
    pub fn load<R>(
        &mut self,
        key: &P::Key,
        with: impl FnOnce(&P::Value) -> R,
    ) -> Result<(Handle, R), Interrupt<P::Fault>> {
        self.keep_up()?;
        let cell = self.intern(key);
        self.meet(cell)?;
        let loaded = self.memory().resolve(cell, self.position, Estimates::Take, |value, seen| (with(value), seen));
        let (value, seen) = loaded.map_err(Interrupt::from)?;
        Ok((Handle { cell, seen }, value))
    }

    /// Reads `key` and relies on all of its value.
    ///
    /// # Errors
    /// An interrupt, to be passed on.
    pub fn read(&mut self, key: &P::Key) -> Result<P::Value, Interrupt<P::Fault>> {
        self.read_in_place(key, P::Value::clone).map(|(_, value)| value)
    }

    /// The same, handed to `with`; a handle tells where the key is.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_in_place<R>(
        &mut self,
        key: &P::Key,
        with: impl FnOnce(&P::Value) -> R,
    ) -> Result<(Handle, R), Interrupt<P::Fault>> {
        self.keep_up()?;
        let cell = self.intern(key);
        self.meet(cell)?;
        let records = self.is_recording();
        let loaded = self.memory().resolve(cell, self.position, Estimates::Refuse, |value, seen| {
            (with(value), records.then(|| P::Observation::exact(value)), seen)
        });
        if let Err(Unresolved::Estimate(_)) = loaded {
            self.met = Some(cell);
        }
        let (read, observation, seen) = loaded.map_err(Interrupt::from)?;
        if let Some(observation) = observation {
            self.reads.push(cell, seen, observation);
        }
        Ok((Handle { cell, seen }, read))
    }

    /// Whether the value of a handle's key before the block is known to [hide](Program::hides) what it shadows. A fact, whatever
    /// the attempt has read: there is nothing to observe.
    pub fn hides_before(&self, handle: Handle) -> bool {
        self.memory().hides_before(handle.cell)
    }

    /// Relies on `observation` of a loaded key.
    pub fn observe(&mut self, handle: Handle, observation: P::Observation) {
        if self.is_recording() {
            self.reads.push(handle.cell, handle.seen, observation);
        }
    }

    /// Relies on `observation` of a key, whether or not it is true of what was loaded.
    pub fn expect(&mut self, handle: Handle, observation: P::Observation) {
        self.observe(Handle { seen: NEVER_SEEN, ..handle }, observation);
    }

    /// Changes a key. Deltas of one attempt to one key take effect in the order written.
    pub fn write(&mut self, key: &P::Key, delta: P::Delta) {
        let cell = self.intern(key);
        self.writes.push(Write { cell, seen: NEVER_SEEN, delta });
    }

    /// Changes a loaded key. A [bounded](crate::Delta::is_bounded) change must fit the value that was loaded, with the attempt's
    /// own earlier changes of the key made.
    pub fn write_to(&mut self, handle: Handle, delta: P::Delta) {
        self.writes.push(Write { cell: handle.cell, seen: handle.seen, delta });
    }

    /// Waits where the attempt meets a lower transaction, if this is there.
    fn meet(&mut self, cell: CellId) -> Result<(), Interrupt<P::Fault>> {
        let Some(Meeting { with, .. }) = self.meeting.take_if(|meeting| meeting.cell == cell) else { return Ok(()) };
        let Some(Attendance { dispatch, worker, parks }) = &self.attendance else { return Ok(()) };
        self.waited = true;
        match dispatch.wait_for(with, *worker, *parks) {
            Outlook::Past => Ok(()),
            Outlook::Running | Outlook::Pending => Err(Interrupt::Dependency(with)),
            Outlook::Over => Err(Interrupt::Stopped),
        }
    }

    /// Ends an attempt that nobody needs, or whose turn has come and that is wrong already.
    fn keep_up(&mut self) -> Result<(), Interrupt<P::Fault>> {
        if self.memory().is_stopped() {
            return Err(Interrupt::Stopped);
        }
        let due = self.standing == Standing::Speculative && self.options.check_when_due && !self.checked;
        if !due {
            return Ok(());
        }
        self.until_look -= 1;
        if self.until_look > 0 {
            return Ok(());
        }
        self.until_look = READS_PER_LOOK;
        if self.memory().frontier() == self.position {
            self.failed = self.memory().validate(self.position, &self.reads, &[], &[]).map_err(Interrupt::from)?;
            if self.failed.is_some() {
                return Err(Interrupt::Stale);
            }
            self.checked = true;
        }
        Ok(())
    }
}

impl<F> From<Unresolved<F>> for Interrupt<F> {
    fn from(unresolved: Unresolved<F>) -> Self {
        match unresolved {
            Unresolved::Estimate(writer) => Self::Dependency(writer),
            Unresolved::Fault(fault) => Self::Fault(fault),
        }
    }
}

/// What a transaction that is being committed observed and wrote.
pub struct Effects<'a, P: Program> {
    pub(crate) memory: &'a Memory<P>,
    pub(crate) position: Position,
    pub(crate) reads: &'a Reads<P>,
    pub(crate) writes: &'a [Write<P>],
}

impl<'a, P: Program> Effects<'a, P> {
    /// Its observations, in the order made. Empty for a frontier run unless recording was asked for.
    pub fn observations(&self) -> impl Iterator<Item = (&'a P::Key, &'a P::Observation)> {
        let memory = self.memory;
        self.reads.iter().map(move |(Look { cell, .. }, observation)| (memory.key(cell), observation))
    }

    /// Its write set, in the order written.
    pub fn writes(&self) -> impl Iterator<Item = (&'a P::Key, &'a P::Delta)> {
        let memory = self.memory;
        self.writes.iter().map(move |write| (memory.key(write.cell), &write.delta))
    }

    /// Its write set in the order written, each key by a handle, if it writes to none of them twice.
    pub fn single_writes(&self) -> Option<impl Iterator<Item = (Handle, &'a P::Delta)> + use<'a, P>> {
        let handle = |write: &'a Write<P>| (Handle { cell: write.cell, seen: NEVER_SEEN }, &write.delta);
        write_once(self.writes).then(|| self.writes.iter().map(handle))
    }

    /// The key of a handle.
    pub fn key(&self, handle: Handle) -> &'a P::Key {
        self.memory.key(handle.cell)
    }

    /// Where the key of a handle is among the [known writes](crate::KnownWrites), and its value before the block, where somebody
    /// needed to know it.
    pub fn place_and_base(&self, handle: Handle) -> (Option<u32>, Option<&'a P::Value>) {
        self.memory.place_and_base(handle.cell)
    }

    /// The value of `key` below the transaction.
    ///
    /// # Errors
    /// A fault, when the base state fails.
    pub fn below(&self, key: &P::Key) -> Result<P::Value, P::Fault> {
        let cell = self.memory.intern(key);
        let below = self.memory.resolve(cell, self.position, Estimates::Take, |value, _| value.clone());
        below.map_err(Unresolved::into_fault)
    }

    /// What it does to each key that it writes, in the order of first writes. What lies below is committed, so that
    /// this is exact.
    ///
    /// # Errors
    /// A fault, when the base state fails.
    pub fn written(&self) -> Result<Vec<Written<'a, P>>, P::Fault> {
        let mut written = Vec::with_capacity(self.writes.len());
        self.each_written(|Handle { cell, .. }, before, after| {
            written.push(Written { key: self.memory.key(cell), before: before.clone(), after: after.clone() });
        })?;
        Ok(written)
    }

    /// The same, handed to `with`: each key by a handle, its value below the transaction and that with the writes made.
    ///
    /// # Errors
    /// As [`written`](Self::written).
    pub fn each_written(&self, mut with: impl FnMut(Handle, &P::Value, &P::Value)) -> Result<(), P::Fault> {
        let with = |cell, before: &_, after: &_| with(Handle { cell, seen: NEVER_SEEN }, before, after);
        self.memory.each_written(self.position, self.writes, with).map_err(Unresolved::into_fault)
    }

    /// The same for those of its [single writes](Self::single_writes) that have these numbers.
    ///
    /// # Errors
    /// As [`written`](Self::written).
    ///
    /// # Panics
    /// For a number that no write has.
    pub fn each_written_of(
        &self,
        numbers: &[usize],
        mut with: impl FnMut(Handle, &P::Value, &P::Value),
    ) -> Result<(), P::Fault> {
        let with = |cell, before: &_, after: &_| with(Handle { cell, seen: NEVER_SEEN }, before, after);
        self.memory.each_written_of(self.position, self.writes, numbers, with).map_err(Unresolved::into_fault)
    }
}

impl<P: Program> fmt::Debug for Effects<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Effects").field("reads", &self.reads.len()).field("writes", &self.writes.len()).finish()
    }
}

impl<P: Program> fmt::Debug for View<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View")
            .field("position", &self.position)
            .field("incarnation", &self.incarnation)
            .field("standing", &self.standing)
            .finish_non_exhaustive()
    }
}
