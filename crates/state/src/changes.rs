//! What a block did to the state, with what is needed to undo it.
//!
//! [`Changes`] is a normal form: two executions of a block did the same if and only if their changes are equal. It is
//! sorted, holds differences only, and says the same thing in one way:
//!
//! - `accounts` ascends by address, `slots` by slot, `codes` by hash; nothing occurs twice.
//! - An account is listed when it differs before and after, when its storage was cleared, or when a slot differs.
//! - `storage_cleared` is set when an account that existed before the block was destroyed in it. Its storage then
//!   starts empty: `slots` holds what was written after the clear and is not zero, each with `before` zero.
//! - Otherwise a slot is listed when `before != after`.
//! - `codes` holds the code of every `after` whose hash differs from `before`.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, Bytes, Keccak256, U256};

use crate::Account;

/// The difference between the state before a block and after it, in normal form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Changed accounts, ascending by address.
    pub accounts: Vec<AccountChange>,
    /// Code that accounts hold after the block and did not before, by hash.
    pub codes: BTreeMap<B256, Bytes>,
}

/// The difference that a block made to one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountChange {
    /// Which account.
    pub address: Address,
    /// The account before the block; `None` where there was none.
    pub before: Option<Account>,
    /// The account after the block; `None` where there is none.
    pub after: Option<Account>,
    /// The account existed before the block and lost its whole storage in it.
    pub storage_cleared: bool,
    /// Changed slots, ascending by slot.
    pub slots: Vec<SlotChange>,
}

/// The difference that a block made to one storage slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotChange {
    /// Which slot.
    pub slot: U256,
    /// Value before the block; zero where the storage was cleared in the block.
    pub before: U256,
    /// Value after the block.
    pub after: U256,
}

impl AccountChange {
    /// Whether no slot keeps a value from before the block: the account was not there, or lost its storage.
    pub fn storage_starts_empty(&self) -> bool {
        self.storage_cleared || self.before.is_none()
    }

    /// Whether the account ends as it began.
    pub fn is_noop(&self) -> bool {
        self.before == self.after && !self.storage_cleared && self.slots.is_empty()
    }
}

impl Changes {
    /// Brings unsorted changes without repetition into normal form.
    pub fn normalize(&mut self) {
        for change in &mut self.accounts {
            if change.storage_cleared {
                change.slots.iter_mut().for_each(|slot| slot.before = U256::ZERO);
            }
            change.slots.retain(|slot| slot.before != slot.after);
            change.slots.sort_unstable_by_key(|slot| slot.slot);
        }
        self.accounts.retain(|change| !change.is_noop());
        self.accounts.sort_unstable_by_key(|change| change.address);
    }

    /// The change of one account, if the block changed it.
    pub fn account(&self, address: &Address) -> Option<&AccountChange> {
        let at = self.accounts.binary_search_by_key(address, |change| change.address).ok()?;
        Some(&self.accounts[at])
    }

    /// Keccak-256 over the changes, for comparison with other tools.
    ///
    /// The hashed bytes are the concatenation, over `accounts` in order, of: address (20 bytes); one byte `1` followed
    /// by nonce (8 bytes, big endian), balance (32 bytes, big endian) and code hash (32 bytes), or one byte `0` where
    /// the account is gone; one byte for `storage_cleared`; the number of slots (8 bytes, big endian); and for each
    /// slot its key and its value after the block (32 bytes each, big endian).
    pub fn hash(&self) -> B256 {
        let mut hasher = Keccak256::new();
        for change in &self.accounts {
            hasher.update(change.address);
            match &change.after {
                Some(account) => {
                    hasher.update([1]);
                    hasher.update(account.nonce.to_be_bytes());
                    hasher.update(account.balance.to_be_bytes::<32>());
                    hasher.update(account.code_hash);
                }
                None => hasher.update([0]),
            }
            hasher.update([u8::from(change.storage_cleared)]);
            hasher.update((change.slots.len() as u64).to_be_bytes());
            for slot in &change.slots {
                hasher.update(slot.slot.to_be_bytes::<32>());
                hasher.update(slot.after.to_be_bytes::<32>());
            }
        }
        hasher.finalize()
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::keccak256;

    use super::*;

    fn slot(slot: u64, before: u64, after: u64) -> SlotChange {
        SlotChange { slot: U256::from(slot), before: U256::from(before), after: U256::from(after) }
    }

    fn change(byte: u8, slots: Vec<SlotChange>) -> AccountChange {
        AccountChange {
            address: Address::repeat_byte(byte),
            before: Some(Account::EMPTY),
            after: Some(Account::EMPTY),
            storage_cleared: false,
            slots,
        }
    }

    #[test]
    fn normal_form_is_sorted_and_holds_differences_only() {
        let created = AccountChange { before: None, ..change(1, vec![]) };
        let unchanged = change(2, vec![slot(1, 7, 7)]);
        let stored = change(3, vec![slot(9, 0, 1), slot(4, 5, 5), slot(2, 3, 0)]);
        let mut changes = Changes { accounts: vec![stored, unchanged, created.clone()], ..Changes::default() };
        changes.normalize();
        assert_eq!(changes.accounts, [created, change(3, vec![slot(2, 3, 0), slot(9, 0, 1)])]);
    }

    #[test]
    fn cleared_storage_lists_what_was_written_afterwards_whatever_was_there_before() {
        let cleared = |slots| AccountChange { storage_cleared: true, ..change(1, slots) };
        let mut changes = Changes { accounts: vec![cleared(vec![slot(1, 5, 0), slot(2, 6, 6)])], ..Changes::default() };
        changes.normalize();
        assert_eq!(changes.accounts, [cleared(vec![slot(2, 0, 6)])]);
    }

    #[test]
    fn account_is_found_by_its_address() {
        let accounts = vec![change(1, vec![slot(1, 0, 1)]), change(3, vec![slot(1, 0, 1)])];
        let changes = Changes { accounts, ..Changes::default() };
        assert_eq!(changes.account(&Address::repeat_byte(3)), Some(&changes.accounts[1]));
        assert_eq!(changes.account(&Address::repeat_byte(2)), None);
    }

    #[test]
    fn hash_is_over_the_documented_bytes() {
        let gone = AccountChange { after: None, storage_cleared: true, ..change(1, vec![]) };
        let accounts = vec![gone, change(2, vec![slot(1, 0, 5)])];
        let changes = Changes { accounts, ..Changes::default() };
        let mut bytes = Vec::new();
        bytes.extend([1; 20]);
        bytes.extend([0, 1]);
        bytes.extend([0; 8]);
        bytes.extend([2; 20]);
        bytes.push(1);
        bytes.extend([0; 8 + 32]);
        bytes.extend(Account::EMPTY.code_hash);
        bytes.push(0);
        bytes.extend([0, 0, 0, 0, 0, 0, 0, 1]);
        bytes.extend(B256::with_last_byte(1));
        bytes.extend(B256::with_last_byte(5));
        assert_eq!(changes.hash(), keccak256(bytes));
        assert_eq!(Changes::default().hash(), keccak256([]));
    }
}
