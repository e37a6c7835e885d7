//! Which slots a call will look at, learned from those before.
//!
//! Where the state is slow to answer, whoever knows what will be looked at reads it in one go. Of a contract's function most of
//! that is known from its former calls: some slots are the same for all of them (who owns it, a pool's reserves), and others lie
//! where compilers put mappings, at the hash of a key and the mapping's own place; the key is mostly the sender or an argument.
//! So a slot is noted by how it came about, as far as that can be told from the hashes that the worker has made. Functions are
//! told apart by code and selector: contracts of the same code look in the same places of their own.
//! A wrong answer costs a read and nothing else.
//!
//! - S1 Memory is bounded: a fixed number of functions, a newcomer takes the place of another, and a number of slots of each.
//! - S2 Which functions share a place is decided by a keyed hash, and a function is compared in full.
//! - S3 What is known ages: after [`MOST_USES`] calls a function is forgotten, and learned anew.

use std::{
    hash::BuildHasher,
    sync::{Mutex, MutexGuard, PoisonError},
};

use alloy_primitives::{Address, B256, U256, keccak256};
use foldhash::quality::RandomState;
use revm::context::TxEnv;

use crate::{EvmKey, calls::called, hashes::Hashes};

/// Functions that are remembered.
const PLACES: usize = 1 << 10;
/// Accounts and slots that are remembered of each, a few hundred bytes each at the most.
const MOST_SITES: usize = 32;
/// Calls after which a function is forgotten.
const MOST_USES: u32 = 1 << 12;

/// Hashes inside each other: a mapping of mappings takes two.
const MOST_NESTED: u32 = 2;
/// Slots behind a hash: the fields of what a mapping holds.
const MOST_BEHIND: u64 = 16;
/// Numbers below this one are a contract's own, whatever else they are: the places of its mappings.
const FEW: u64 = 1 << 16;
/// Arguments that are looked through.
const MOST_ARGUMENTS: usize = 32;

/// Accounts and slots that calls look at. Kept from block to block, shared by all workers.
pub struct CallSlots {
    hasher: RandomState,
    places: Box<[Mutex<Option<Function>>]>,
}

/// A function of all contracts that have its code.
struct Function {
    code_hash: B256,
    selector: [u8; 4],
    sites: Vec<Site>,
    uses: u32,
}

/// Where a call looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    contract: Word,
    /// `None` is the account itself.
    slot: Option<Word>,
}

/// How a word comes about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    /// It is always this.
    Fixed(U256),
    /// The sender's address.
    Sender,
    /// The address of the contract that is called.
    Target,
    /// One of the arguments.
    Argument(u16),
    /// So far behind the hash of two others.
    Hash(Box<[Word; 2]>, u64),
}

impl Word {
    /// Tells how a word came about in a call.
    fn of(word: U256, tx: &TxEnv, hashes: &Hashes, nested: u32) -> Self {
        if word < U256::from(FEW) {
            return Self::Fixed(word);
        }
        if word == U256::from_be_bytes(tx.caller.into_word().0) {
            return Self::Sender;
        }
        if target(tx) == Some(word) {
            return Self::Target;
        }
        if let Some(at) = (0..MOST_ARGUMENTS).find(|at| argument(tx, *at) == Some(word)) {
            return Self::Argument(at as u16);
        }
        let input = if nested < MOST_NESTED { hashes.input_before(word, MOST_BEHIND) } else { None };
        let Some((input, behind)) = input else { return Self::Fixed(word) };
        let half = |at: usize| {
            let (_, half) = input.split_at(at);
            Self::of(U256::from_be_slice(&half[..32]), tx, hashes, nested + 1)
        };
        match [half(0), half(32)] {
            [Self::Fixed(_), Self::Fixed(_)] => Self::Fixed(word),
            halves => Self::Hash(Box::new(halves), behind),
        }
    }

    /// The word in another call, if that has as many arguments.
    fn in_call(&self, tx: &TxEnv) -> Option<U256> {
        Some(match self {
            Self::Fixed(word) => *word,
            Self::Sender => tx.caller.into_word().into(),
            Self::Target => target(tx)?,
            Self::Argument(at) => argument(tx, usize::from(*at))?,
            Self::Hash(halves, behind) => {
                let [first, second] = &**halves;
                let halves = [first.in_call(tx)?.to_be_bytes::<32>(), second.in_call(tx)?.to_be_bytes()];
                U256::from_be_bytes(keccak256(halves.as_flattened()).0).wrapping_add(U256::from(*behind))
            }
        })
    }
}

fn target(tx: &TxEnv) -> Option<U256> {
    Some(tx.kind.to()?.into_word().into())
}

/// An argument of a call, as compilers lay them out.
fn argument(tx: &TxEnv, at: usize) -> Option<U256> {
    let word = tx.data.get(4 + 32 * at..)?.first_chunk::<32>()?;
    Some(U256::from_be_bytes(*word))
}

impl Site {
    fn of(key: &EvmKey, tx: &TxEnv, hashes: &Hashes) -> Self {
        let (EvmKey::Account(address) | EvmKey::StorageEmpty(address) | EvmKey::Slot(address, _)) = key;
        let word = |word| Word::of(word, tx, hashes, 0);
        let slot = if let EvmKey::Slot(_, slot) = key { Some(word(*slot)) } else { None };
        Self { contract: word(address.into_word().into()), slot }
    }

    /// Where another call of the function looks.
    pub fn in_call(&self, tx: &TxEnv) -> Option<EvmKey> {
        let contract = self.contract.in_call(tx)?.to_be_bytes::<32>();
        let (empty, address) = contract.split_at(12);
        if empty.iter().any(|byte| *byte != 0) {
            return None;
        }
        let address = Address::from_slice(address);
        Some(match &self.slot {
            None => EvmKey::Account(address),
            Some(slot) => EvmKey::Slot(address, slot.in_call(tx)?),
        })
    }
}

impl CallSlots {
    /// Nothing is known yet.
    #[must_use]
    pub fn new() -> Self {
        Self { hasher: RandomState::default(), places: (0..PLACES).map(|_| Mutex::new(None)).collect() }
    }

    /// Forgets everything.
    pub fn forget(&self) {
        self.places.iter().for_each(|place| *lock(place) = None);
    }

    /// Where a transaction will look that calls a contract of this code, if calls like it were seen.
    pub fn expected(&self, code_hash: &B256, tx: &TxEnv) -> Vec<EvmKey> {
        let Some((_, selector)) = called(tx) else { return Vec::new() };
        let mut place = lock(self.place(code_hash, selector));
        let Some(function) = place.as_mut().filter(|known| known.is(code_hash, selector)) else { return Vec::new() };
        let expected = function.sites.iter().filter_map(|site| site.in_call(tx)).collect();
        function.uses += 1;
        if function.uses > MOST_USES {
            *place = None;
        }
        expected
    }

    /// Notes where a transaction looked, calling a contract of this code, that nobody had foreseen. Returns what was not known
    /// before.
    pub(crate) fn note(&self, code_hash: &B256, tx: &TxEnv, looked_at: &[EvmKey], hashes: &Hashes) -> Vec<Site> {
        let Some((_, selector)) = called(tx) else { return Vec::new() };
        let mut place = lock(self.place(code_hash, selector));
        if !place.as_ref().is_some_and(|known| known.is(code_hash, selector)) {
            *place = Some(Function { code_hash: *code_hash, selector: *selector, sites: Vec::new(), uses: 0 });
        }
        let mut new = Vec::new();
        let Some(function) = &mut *place else { return new };
        let foreseen: Vec<_> = function.sites.iter().map(|site| site.in_call(tx)).collect();
        for key in looked_at.iter().filter(|key| !foreseen.contains(&Some(**key))) {
            if function.sites.len() == MOST_SITES {
                break;
            }
            let site = Site::of(key, tx, hashes);
            if !function.sites.contains(&site) {
                function.sites.push(site.clone());
                new.push(site);
            }
        }
        new
    }

    fn place(&self, code_hash: &B256, selector: &[u8; 4]) -> &Mutex<Option<Function>> {
        &self.places[self.hasher.hash_one((code_hash, selector)) as usize % PLACES]
    }
}

impl Function {
    fn is(&self, code_hash: &B256, selector: &[u8; 4]) -> bool {
        self.code_hash == *code_hash && self.selector == *selector
    }
}

/// Whatever a panic left there is as good as nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for CallSlots {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for CallSlots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let known = self.places.iter().filter(|place| lock(place).is_some()).count();
        f.debug_struct("CallSlots").field("known", &known).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
