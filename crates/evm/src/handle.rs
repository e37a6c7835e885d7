//! revm's database over a view, and the notes of what an attempt observed.
//!
//! The handle owns the view for the length of an attempt, because revm's EVM owns its database and lives longer than
//! any block. It remembers every account that was loaded, and gathers per account one observation that grows as the EVM
//! makes use of the account; [`StateHandle::finish`] hands them to the view. Slots are read exactly, at once.
//!
//! Bounds are put in terms of the balance that was *loaded*: an attempt that has itself moved value computes with
//! `loaded + own`, so "the journal's balance covers x" says "the loaded balance is at least `loaded - (journal - x)`".

use std::{collections::HashMap, sync::Arc};

use alloy_primitives::{Address, B256, KECCAK256_EMPTY, U256};
use revm::{
    Database,
    bytecode::Bytecode,
    database_interface::DBErrorMarker,
    state::{Account, AccountInfo, EvmState},
};
use ropewalk_engine::{Handle, Interrupt, View};
use ropewalk_state::{StateError, StateReader};

use crate::{
    AccountObservation, AccountValue, BalanceRange, CodeCache, EvmDelta, EvmKey, EvmObservation, EvmProgram, EvmValue,
    Places, deployed::Deployed, hashes::Hashes, own_codes::OwnCodes,
};

/// Why the database could not answer: an interrupt of the attempt, on its way through revm.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the attempt was interrupted")]
pub struct HandleError(pub(crate) InterruptKind);

/// What interrupted.
#[derive(Debug, Clone)]
pub(crate) struct InterruptKind(pub(crate) Interrupt<StateError>);

impl PartialEq for InterruptKind {
    /// By kind; revm compares errors only in tests.
    fn eq(&self, other: &Self) -> bool {
        std::mem::discriminant(&self.0) == std::mem::discriminant(&other.0)
    }
}

impl Eq for InterruptKind {}

impl DBErrorMarker for HandleError {}

impl From<Interrupt<StateError>> for HandleError {
    fn from(interrupt: Interrupt<StateError>) -> Self {
        Self(InterruptKind(interrupt))
    }
}

/// One of an attempt's notes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoteId(usize);

/// An account that the attempt loaded.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) handle: Handle,
    pub(crate) exists: bool,
    pub(crate) balance: U256,
    pub(crate) nonce: u64,
    pub(crate) code_hash: B256,
    /// The code, where it was deployed in this block.
    code: Option<Bytecode>,
    pub(crate) observation: AccountObservation,
    /// The most that the attempt had it above the loaded balance, unless a delta says so: there must be room for it.
    pub(crate) peak: U256,
}

impl Loaded {
    fn new(handle: Handle, exists: bool, balance: U256, nonce: u64, code_hash: B256, code: Option<Bytecode>) -> Self {
        let (observation, peak) = (AccountObservation::NONE, U256::ZERO);
        Self { handle, exists, balance, nonce, code_hash, code, observation, peak }
    }

    pub(crate) fn is_bare(&self) -> bool {
        self.nonce == 0 && self.code_hash == KECCAK256_EMPTY
    }

    /// Relies on the balance in full.
    pub(crate) fn observe_balance(&mut self) {
        self.observation.balance = BalanceRange::exactly(self.balance);
    }

    /// Relies on the journal's balance, `journal`, covering `amount`, or on its failing to.
    pub(crate) fn observe_covers(&mut self, journal: U256, amount: U256) {
        let range = &mut self.observation.balance;
        match journal.checked_sub(amount) {
            Some(spare) => range.least = range.least.max(self.balance.saturating_sub(spare)),
            None => {
                let short = amount - journal - U256::from(1);
                range.most = range.most.min(self.balance.saturating_add(short));
            }
        }
    }

    /// Relies on the journal's balance, `journal`, having room for `amount` more, or on its having none.
    pub(crate) fn observe_room(&mut self, journal: U256, amount: U256) {
        match journal.checked_add(amount) {
            Some(risen) => self.peak = self.peak.max(risen.saturating_sub(self.balance)),
            None => self.observe_balance(),
        }
    }

    /// Relies on there being room for the peak, where no delta does.
    fn rely_on_room(&mut self) {
        let most = &mut self.observation.balance.most;
        *most = (*most).min(U256::MAX - self.peak);
    }

    /// Relies on whether the account, as the journal has it, is empty.
    pub(crate) fn observe_emptiness(&mut self, info: &AccountInfo) {
        let journal_bare = info.nonce == 0 && info.is_empty_code_hash();
        if !self.is_bare() {
            self.observation.bare = Some(false);
        } else if journal_bare {
            self.observation.bare = Some(true);
            if info.balance.is_zero() {
                self.observe_balance();
            } else if info.balance <= self.balance {
                self.observe_covers(info.balance, U256::from(1));
            }
        }
    }

    pub(crate) fn observe_nonce(&mut self) {
        self.observation.nonce = Some(self.nonce);
    }

    pub(crate) fn observe_code(&mut self) {
        self.observation.code_hash = Some(self.code_hash);
    }

    pub(crate) fn observe_existence(&mut self) {
        self.observation.exists = Some(self.exists);
    }

    /// Relies on all of it.
    pub(crate) fn observe_all(&mut self) {
        self.observe_balance();
        self.observe_nonce();
        self.observe_code();
        self.observe_existence();
        self.observation.bare = Some(self.is_bare());
    }
}

/// What a block's transactions read besides the state that they change.
struct Source {
    reader: Arc<dyn StateReader>,
    codes: Arc<CodeCache>,
}

/// Accounts that a transaction comes by, mostly.
const FEW: usize = 8;

/// revm's database for one worker.
pub struct StateHandle {
    /// There only while an attempt runs.
    view: Option<View<EvmProgram>>,
    /// Where code and block hashes come from; there while the worker has a block.
    source: Option<Source>,
    /// Whether observations are kept. On committed state nobody asks for them, and notes are not worth their cost.
    recording: bool,
    /// The accounts that were loaded; where nothing is recorded, those that were touched, once the transaction is over.
    loaded: Vec<Loaded>,
    by_address: HashMap<Address, u32, foldhash::fast::RandomState>,
    /// The first accounts that were loaded, where nothing is recorded: looking through a few takes less than a table does.
    first: Vec<(Address, Handle)>,
    /// Where what was asked for is among the known writes, where somebody wants to know that.
    places: Option<Box<Places>>,
    /// Number of the oldest block whose hash the attempt asked for.
    oldest_block_hash: Option<u64>,
    /// What interrupted the attempt. A precompile can make a result of the error that it was given; nothing that comes
    /// after an interrupt counts.
    interrupt: Option<Interrupt<StateError>>,
    /// Hashes that the block's transactions made on this thread.
    pub(crate) hashes: Hashes,
    /// Code that was looked at on this thread,
    codes: OwnCodes,
    /// and code that the block's transactions deployed on it.
    pub(crate) deployed: Deployed,
}

impl StateHandle {
    /// A handle without a block.
    pub(crate) fn new() -> Self {
        Self {
            view: None,
            source: None,
            recording: false,
            loaded: Vec::new(),
            by_address: HashMap::default(),
            first: Vec::new(),
            places: None,
            oldest_block_hash: None,
            interrupt: None,
            hashes: Hashes::new(),
            codes: OwnCodes::new(),
            deployed: Deployed::default(),
        }
    }

    /// Takes a block's code and block hashes.
    pub(crate) fn attach(&mut self, reader: Arc<dyn StateReader>, codes: Arc<CodeCache>) {
        self.source = Some(Source { reader, codes });
    }

    /// Gives up all that is of a block.
    pub(crate) fn let_go(&mut self) {
        (self.view, self.source, self.interrupt, self.places) = (None, None, None, None);
        self.loaded.clear();
        self.by_address.clear();
        self.hashes.forget();
        self.deployed.forget();
    }

    fn source(&self) -> &Source {
        self.source.as_ref().expect("transactions run only while the worker has a block")
    }

    /// Takes the view for an attempt, and what is to hold the places of all that it asks for, if they are wanted.
    pub(crate) fn begin(&mut self, view: View<EvmProgram>, places: Option<Box<Places>>) {
        self.recording = view.is_recording();
        self.view = Some(view);
        self.loaded.clear();
        self.by_address.clear();
        self.first.clear();
        (self.oldest_block_hash, self.interrupt, self.places) = (None, None, places);
    }

    /// Whether the attempt was interrupted.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupt.is_some()
    }

    /// Records what was observed and gives the view back, with what interrupted the attempt.
    pub(crate) fn finish(&mut self) -> (View<EvmProgram>, Option<Interrupt<StateError>>) {
        let mut view = self.view.take().expect("an attempt begins before it finishes");
        let kept = if self.recording { &mut self.loaded[..] } else { &mut [] };
        for loaded in kept {
            loaded.rely_on_room();
            if loaded.observation != AccountObservation::NONE {
                let observation = std::mem::replace(&mut loaded.observation, AccountObservation::NONE);
                view.observe(loaded.handle, EvmObservation::Account(observation));
            }
        }
        (view, self.interrupt.take())
    }

    /// Makes up the note of a touched account where none was made before: revm remembers what it was.
    pub(crate) fn note_touched(&mut self, address: &Address, account: &Account) {
        if self.recording || self.by_address.contains_key(address) {
            return;
        }
        let loaded = self.made_up(address, account);
        self.note(*address, loaded);
    }

    /// A touched account's note, which is made up where none was made before. Asked once for each account, when the transaction
    /// is over: what is made up now is not found by address.
    ///
    /// # Panics
    /// Where notes are kept and this account has none: revm touches what it has loaded.
    pub(crate) fn note_of(&mut self, address: &Address, account: &Account) -> NoteId {
        if let Some(at) = self.by_address.get(address) {
            return NoteId(*at as usize);
        }
        if self.recording {
            unreachable!("revm touched {address} without loading it");
        }
        let loaded = self.made_up(address, account);
        self.loaded.push(loaded);
        NoteId(self.loaded.len() - 1)
    }

    /// A note that was asked for.
    pub(crate) fn noted(&mut self, note: NoteId) -> &mut Loaded {
        &mut self.loaded[note.0]
    }

    /// What would have been noted of an account when revm loaded it.
    fn made_up(&mut self, address: &Address, account: &Account) -> Loaded {
        let AccountInfo { balance, nonce, code_hash, .. } = account.original_info();
        let (handle, exists) = (self.handle_of(address), !account.is_loaded_as_not_existing());
        Loaded::new(handle, exists, balance, nonce, code_hash, None)
    }

    fn handle_of(&mut self, address: &Address) -> Handle {
        match self.first.iter().find(|(other, _)| other == address) {
            Some((_, handle)) => *handle,
            None => self.view().handle(&EvmKey::Account(*address)),
        }
    }

    fn note(&mut self, address: Address, loaded: Loaded) -> usize {
        let at = self.loaded.len();
        self.by_address.insert(address, at as u32);
        self.loaded.push(loaded);
        at
    }

    /// Whether there are any notes: on committed state there are none, and looking for them is not worth its cost.
    pub(crate) fn has_notes(&self) -> bool {
        !self.loaded.is_empty()
    }

    /// The note of an account, if it was loaded.
    pub(crate) fn loaded(&mut self, address: &Address) -> Option<&mut Loaded> {
        let at = *self.by_address.get(address)?;
        Some(&mut self.loaded[at as usize])
    }

    /// Where known writes name a key.
    pub(crate) fn place_of(&mut self, key: &EvmKey) -> Option<u32> {
        let handle = match key {
            EvmKey::Account(address) => self.handle_of(address),
            key => self.view().handle(key),
        };
        self.view().place(handle)
    }

    /// Notes where known writes name what is asked for, where that is wanted.
    fn note_place(&mut self, handle: Handle, key: impl FnOnce() -> EvmKey) {
        if let (Some(places), Some(view)) = (&mut self.places, &self.view) {
            places.add(view.place(handle), key);
        }
    }

    /// What was noted of places.
    pub(crate) fn take_places(&mut self) -> Option<Box<Places>> {
        self.places.take()
    }

    /// Relies on everything that was loaded.
    pub(crate) fn observe_everything(&mut self) {
        self.loaded.iter_mut().for_each(Loaded::observe_all);
    }

    /// Relies on the emptiness of everything that was loaded.
    pub(crate) fn observe_all_emptiness(&mut self, state: &EvmState) {
        for (address, at) in &self.by_address {
            if let Some(Account { info, .. }) = state.get(address) {
                self.loaded[*at as usize].observe_emptiness(info);
            }
        }
    }

    /// Number of the oldest block whose hash the attempt asked for.
    pub(crate) fn oldest_block_hash(&self) -> Option<u64> {
        self.oldest_block_hash
    }

    /// Whether an address has no storage, as an observation (EIP-7610).
    pub(crate) fn storage_is_empty(&mut self, address: Address) -> Result<bool, HandleError> {
        match self.uninterrupted(|handle| handle.view().read(&EvmKey::StorageEmpty(address)))? {
            EvmValue::StorageEmpty(empty) => Ok(empty),
            other => unreachable!("the storage emptiness of {address} is {other:?}"),
        }
    }

    /// Whether an account is known not to have existed before the block.
    pub(crate) fn did_not_exist(&mut self, account: Handle) -> bool {
        self.view().hides_before(account)
    }

    pub(crate) fn write(&mut self, key: &EvmKey, delta: EvmDelta) {
        self.view().write(key, delta);
    }

    pub(crate) fn write_to(&mut self, handle: Handle, delta: EvmDelta) {
        self.view().write_to(handle, delta);
    }

    fn view(&mut self) -> &mut View<EvmProgram> {
        self.view.as_mut().expect("revm asks for state only during an attempt")
    }

    /// Asks for something, unless the attempt was interrupted before, and remembers an interrupt.
    fn uninterrupted<T>(
        &mut self,
        ask: impl FnOnce(&mut Self) -> Result<T, Interrupt<StateError>>,
    ) -> Result<T, HandleError> {
        let asked = match &self.interrupt {
            Some(interrupt) => return Err(interrupt.clone().into()),
            None => ask(self),
        };
        asked.map_err(|interrupt| {
            self.interrupt = Some(interrupt.clone());
            interrupt.into()
        })
    }

    /// A loaded account as revm takes it, with its code where that is at hand.
    fn info(&mut self, at: usize) -> Option<AccountInfo> {
        let Loaded { exists, balance, nonce, code_hash, ref code, .. } = self.loaded[at];
        let code = code.clone();
        exists.then(|| self.with_code(balance, nonce, code_hash, code))
    }

    /// The account with its code, where that is at hand.
    fn with_code(&mut self, balance: U256, nonce: u64, code_hash: B256, code: Option<Bytecode>) -> AccountInfo {
        let code = match code {
            _ if code_hash == KECCAK256_EMPTY => Some(self.codes.empty.clone()),
            Some(code) => Some(code),
            None => self.code_at_hand(&code_hash),
        };
        AccountInfo { code, ..AccountInfo::new(balance, nonce, code_hash, self.codes.empty.clone()) }
    }

    fn code_at_hand(&mut self, hash: &B256) -> Option<Bytecode> {
        if let Some(own) = self.codes.get(hash) {
            return Some(own);
        }
        let shared = self.source().codes.get(hash)?;
        Some(self.codes.keep(hash, &shared))
    }

    fn load_code(&mut self, hash: &B256) -> Result<Bytecode, Interrupt<StateError>> {
        if let Some(own) = self.codes.get(hash) {
            return Ok(own);
        }
        let Source { reader, codes } = self.source();
        let shared = codes.get_or_load(hash, &**reader).map_err(Interrupt::Fault)?;
        Ok(self.codes.keep(hash, &shared))
    }

    fn load(&mut self, address: Address) -> Result<(Handle, AccountValue), Interrupt<StateError>> {
        self.view().load(&EvmKey::Account(address), |value| match value {
            EvmValue::Account(value) => AccountValue::clone(value),
            other => unreachable!("the account {address} is {other:?}"),
        })
    }
}

impl Database for StateHandle {
    type Error = HandleError;

    /// The same answer however often it is asked: a precompile may ask again for what the journal has.
    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, HandleError> {
        if let Some(at) = self.by_address.get(&address) {
            return Ok(self.info(*at as usize));
        }
        let (handle, value) = self.uninterrupted(|handle| handle.load(address))?;
        self.note_place(handle, || EvmKey::Account(address));
        let AccountValue { exists, balance, nonce, code_hash, code, .. } = value;
        if !self.recording {
            if self.first.len() < FEW {
                self.first.push((address, handle));
            }
            return Ok(exists.then(|| self.with_code(balance, nonce, code_hash, code)));
        }
        let at = self.note(address, Loaded::new(handle, exists, balance, nonce, code_hash, code));
        Ok(self.info(at))
    }

    fn code_by_hash(&mut self, hash: B256) -> Result<Bytecode, HandleError> {
        if hash == KECCAK256_EMPTY {
            return Ok(self.codes.empty.clone());
        }
        self.uninterrupted(|handle| handle.load_code(&hash))
    }

    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, HandleError> {
        let key = EvmKey::Slot(address, slot);
        let value = |value: &EvmValue| match value {
            EvmValue::Slot(value) => *value,
            other => unreachable!("slot {slot} of {address} is {other:?}"),
        };
        let (handle, value) = self.uninterrupted(|handle| handle.view().read_in_place(&key, value))?;
        self.note_place(handle, || key);
        Ok(value)
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, HandleError> {
        self.oldest_block_hash = Some(self.oldest_block_hash.map_or(number, |oldest| oldest.min(number)));
        self.uninterrupted(|handle| handle.source().reader.block_hash(number).map_err(Interrupt::Fault))
    }
}

impl std::fmt::Debug for StateHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateHandle").field("view", &self.view).field("loaded", &self.loaded).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
