//! What a transaction looked at: the raw material of access lists (EIP-7928) and of witnesses.
//!
//! revm's journal holds every account and slot that a transaction came by, whether or not the frame that did so reverted,
//! and nothing that it merely could have come by: an entry of an EIP-2930 list is warm, not accessed. So the accesses of
//! a transaction are what its finalised journal holds. Where they are not asked for, nothing is collected.

use alloy_primitives::{Address, U256};
use revm::state::{Account, EvmState};
use smallvec::SmallVec;

use crate::{EvmKey, StateHandle};

/// The accounts and slots that a transaction or a system call looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accesses {
    /// Ascending by address.
    pub accounts: Vec<AccountAccess>,
    /// Number of the oldest block whose hash was asked for (BLOCKHASH).
    pub oldest_block_hash: Option<u64>,
}

/// How an account was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountAccess {
    /// Which account.
    pub address: Address,
    /// Whether its code decided something: it ran, or was looked at.
    pub code: bool,
    /// Slots that were read or written, ascending.
    pub slots: Vec<U256>,
}

impl AccountAccess {
    /// An access of the account alone.
    pub const fn of(address: Address) -> Self {
        Self { address, code: false, slots: Vec::new() }
    }
}

impl Accesses {
    /// Accesses of accounts alone, in any order; an account may be named more than once.
    pub fn of_accounts(addresses: impl IntoIterator<Item = Address>) -> Self {
        let mut accounts: Vec<_> = addresses.into_iter().map(AccountAccess::of).collect();
        accounts.sort_unstable_by_key(|access| access.address);
        accounts.dedup_by_key(|access| access.address);
        Self { accounts, oldest_block_hash: None }
    }

    /// What a finalised journal holds. `handle` knows what was made of the accounts.
    pub(crate) fn of_journal(state: &EvmState, handle: &mut StateHandle) -> Self {
        let access = |(address, account): (&Address, &Account)| {
            let mut slots: Vec<U256> = account.storage.keys().copied().collect();
            slots.sort_unstable();
            let code = handle.loaded(address).is_some_and(|loaded| loaded.observation.code_hash.is_some());
            AccountAccess { address: *address, code, slots }
        };
        let mut accounts: Vec<_> = state.iter().map(access).collect();
        accounts.sort_unstable_by_key(|access| access.address);
        Self { accounts, oldest_block_hash: handle.oldest_block_hash() }
    }

    /// Adds what others looked at.
    pub fn merge(&mut self, others: impl IntoIterator<Item = Self>) {
        for other in others {
            self.oldest_block_hash = match (self.oldest_block_hash, other.oldest_block_hash) {
                (Some(ours), Some(theirs)) => Some(ours.min(theirs)),
                (ours, theirs) => ours.or(theirs),
            };
            self.accounts.extend(other.accounts);
        }
        self.accounts.sort_by_key(|access| access.address);
        self.accounts.dedup_by(|later, earlier| {
            let same = later.address == earlier.address;
            if same {
                earlier.code |= later.code;
                earlier.slots.append(&mut later.slots);
            }
            same
        });
        for access in &mut self.accounts {
            access.slots.sort_unstable();
            access.slots.dedup();
        }
    }
}

/// What a transaction looked at in a run over known writes: where these name it. Nothing is put in order for it, and what the
/// transaction wrote to may be missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    /// Places of the accounts and slots, each once.
    pub named: SmallVec<[u32; 12]>,
    /// Accounts and slots that are not named.
    pub unnamed: Vec<EvmKey>,
}

impl Places {
    /// Adds where something is named that was looked at.
    pub(crate) fn add(&mut self, place: Option<u32>, key: impl FnOnce() -> EvmKey) {
        match place {
            Some(place) => self.named.push(place),
            None => self.unnamed.push(key()),
        }
    }

    /// Makes of what was noted whenever the state was asked for something what a finalised journal holds: slots of a contract that
    /// is being made come into it without anybody asking. Where the two are not of a size, what was noted does not count.
    pub(crate) fn complete(&mut self, journal: &EvmState, handle: &mut StateHandle) {
        let asked_for = |account: &Account| 1 + if account.is_created() { 0 } else { account.storage.len() };
        if self.named.len() + self.unnamed.len() == journal.values().map(asked_for).sum::<usize>() {
            let created = journal.iter().filter(|(_, account)| account.is_created());
            created.for_each(|(address, account)| self.add_slots(address, account, handle));
            return;
        }
        self.clear();
        for (address, account) in journal {
            let key = EvmKey::Account(*address);
            self.add(handle.place_of(&key), || key);
            self.add_slots(address, account, handle);
        }
    }

    fn add_slots(&mut self, address: &Address, account: &Account, handle: &mut StateHandle) {
        for slot in account.storage.keys() {
            let key = EvmKey::Slot(*address, *slot);
            self.add(handle.place_of(&key), || key);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.named.clear();
        self.unnamed.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(byte: u8, code: bool, slots: &[u64]) -> AccountAccess {
        let slots = slots.iter().copied().map(U256::from).collect();
        AccountAccess { address: Address::with_last_byte(byte), code, slots }
    }

    #[test]
    fn merged_accesses_name_each_account_and_slot_once_in_order() {
        let mut ours =
            Accesses { accounts: vec![access(1, false, &[3, 7]), access(4, true, &[])], oldest_block_hash: Some(9) };
        let theirs =
            Accesses { accounts: vec![access(1, true, &[5, 7]), access(2, false, &[])], oldest_block_hash: Some(8) };
        ours.merge([theirs]);
        let expected = vec![access(1, true, &[3, 5, 7]), access(2, false, &[]), access(4, true, &[])];
        assert_eq!(ours, Accesses { accounts: expected, oldest_block_hash: Some(8) });
    }
}
