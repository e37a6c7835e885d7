//! Made-up changes: accounts that come, change, go and return, with slots and code.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256};
use rand::{Rng, RngCore};
use rand_chacha::ChaCha8Rng;
use ropewalk_state::{Account, AccountChange, Changes, MemoryState, SlotChange, StateReader};

/// Accounts that blocks meet again and again.
const REGULARS: u64 = 40;

/// Accounts that there may be in all.
const ACCOUNTS: u64 = 400;

/// Slots of an account, and of those few that have many.
const SLOTS: u64 = 10;
const MANY_SLOTS: u64 = 250;

/// How many different codes there are.
const CODES: u64 = 24;

/// How much a block changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    /// Nothing at all.
    Nothing,
    /// Some accounts.
    Usual,
    /// So many that the block's batch goes over several blocks of the log.
    Large,
    /// A state to begin with.
    Whole,
}

/// Changes in normal form to this state.
pub(crate) fn changes(random: &mut ChaCha8Rng, state: &MemoryState, size: Size) -> Changes {
    let (count, of) = match size {
        Size::Nothing => (0, REGULARS),
        Size::Usual => (random.random_range(1..8), REGULARS),
        Size::Large => (random.random_range(60..150), ACCOUNTS),
        Size::Whole => (150, ACCOUNTS),
    };
    let mut changes = Changes::default();
    let mut accounts = BTreeMap::new();
    for _ in 0..count {
        let n = random.random_range(0..of);
        accounts.insert(n, account_change(random, state, n, &mut changes.codes));
    }
    changes.accounts = accounts.into_values().collect();
    changes.normalize();
    let gained = |change: &AccountChange| {
        let hash = change.after?.code_hash;
        change.before.is_none_or(|before| before.code_hash != hash).then_some(hash)
    };
    let gained: BTreeSet<B256> = changes.accounts.iter().filter_map(gained).collect();
    changes.codes.retain(|hash, _| gained.contains(hash));
    changes
}

/// The addresses that made-up blocks know.
pub(crate) fn addresses() -> impl Iterator<Item = Address> {
    (0..ACCOUNTS).map(address)
}

fn address(n: u64) -> Address {
    Address::from_word(keccak256(n.to_be_bytes()))
}

/// The slots that an account of made-up blocks may have.
pub(crate) fn slots() -> impl Iterator<Item = U256> {
    (0..MANY_SLOTS).map(U256::from)
}

/// Code number `n`: from a few bytes to a few thousand.
fn code(n: u64) -> Bytes {
    let block = keccak256([b"code".as_slice(), &n.to_be_bytes()].concat());
    block.iter().copied().cycle().take(1 + (n * n * 11) as usize).collect::<Vec<u8>>().into()
}

/// The codes that made-up blocks know, by their hashes.
pub(crate) fn codes() -> impl Iterator<Item = (B256, Bytes)> {
    (0..CODES).map(code).map(|code| (keccak256(&code), code))
}

fn account_change(
    random: &mut ChaCha8Rng,
    state: &MemoryState,
    n: u64,
    codes: &mut BTreeMap<B256, Bytes>,
) -> AccountChange {
    let address = address(n);
    let before = state.account(&address).expect("the state is whole");
    let fate = random.random_range(0..10);
    let (destroyed, returns) = (before.is_some() && fate < 3, fate < 1);
    if destroyed && !returns {
        return AccountChange { address, before, after: None, storage_cleared: true, slots: Vec::new() };
    }
    let mut after = before.filter(|_| !destroyed).unwrap_or(Account::EMPTY);
    after.nonce += random.random_range(0..3);
    after.balance = U256::from(random.next_u64() >> random.random_range(0..64));
    if random.random_bool(0.25) {
        let code = code(random.random_range(0..CODES));
        after.code_hash = keccak256(&code);
        codes.insert(after.code_hash, code);
    } else if random.random_bool(0.1) {
        after.code_hash = KECCAK256_EMPTY;
    }
    let starts_empty = destroyed || before.is_none();
    let slots = slot_changes(random, n, |slot| match starts_empty {
        true => U256::ZERO,
        false => state.storage(&address, slot).expect("the state is whole"),
    });
    AccountChange { address, before, after: Some(after), storage_cleared: destroyed, slots }
}

fn slot_changes(random: &mut ChaCha8Rng, n: u64, before: impl Fn(&U256) -> U256) -> Vec<SlotChange> {
    let (of, most) = if n.is_multiple_of(13) { (MANY_SLOTS, 60) } else { (SLOTS, 5) };
    let mut slots = BTreeMap::new();
    for _ in 0..random.random_range(0..most) {
        let slot = U256::from(random.random_range(0..of));
        let after = match random.random_range(0..4) {
            0 => U256::ZERO,
            1 => U256::from_be_bytes(keccak256(random.next_u64().to_be_bytes()).0),
            _ => U256::from(random.random_range(0..u64::MAX)),
        };
        slots.insert(slot, SlotChange { slot, before: before(&slot), after });
    }
    slots.into_values().collect()
}
