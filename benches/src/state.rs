//! Made-up states and blocks over them, as large as one likes, in the memory of one entry.
//!
//! Account n has the address whose first bytes are a mix of n, so that hashes spread; every hundredth is a contract with a
//! hundred slots, so there are as many slots as accounts. A block gives new balances to accounts drawn from all over the
//! state, and for every ten of them writes four slots of contracts.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, U256, keccak256};
use ropewalk_state::{Account, AccountChange, Changes, SlotChange};
use ropewalk_store::BaseEntry;

/// Slots of a contract, and accounts for each contract.
const SLOTS: u64 = 100;

/// A state with so many accounts, and as many slots.
#[derive(Debug, Clone, Copy)]
pub struct MadeUp {
    /// Number of accounts.
    pub accounts: u64,
}

impl MadeUp {
    /// All entries, in no order that hashes know.
    pub fn entries(self) -> impl Iterator<Item = BaseEntry> {
        (0..self.accounts).flat_map(|n| {
            let slots = if n.is_multiple_of(SLOTS) { SLOTS } else { 0 };
            let account = BaseEntry::Account { address: address(n), account: account(n, 0) };
            let slots = (0..slots).map(move |slot| BaseEntry::Slot {
                address: address(n),
                slot: U256::from(slot),
                value: value(n, slot, 0),
            });
            std::iter::once(account).chain(slots)
        })
    }

    /// The address of account n.
    pub fn address(self, n: u64) -> Address {
        address(n % self.accounts)
    }

    /// What block `number` does when it changes so many accounts; `before` says which block changed an account or a slot
    /// last.
    pub fn block(self, number: u64, changed: u64, before: &mut BTreeMap<(u64, u64), u64>) -> Changes {
        let mut touched: BTreeMap<u64, Vec<SlotChange>> = BTreeMap::new();
        for at in 0..changed {
            touched.entry(mix(number, at) % self.accounts).or_default();
        }
        for at in 0..changed * 4 / 10 {
            let contract = mix(number, changed + at) % self.accounts.div_ceil(SLOTS) * SLOTS;
            let slot = mix(at, number) % SLOTS;
            let slots = touched.entry(contract).or_default();
            if slots.iter().all(|change| change.slot != U256::from(slot)) {
                let last = before.insert((contract, slot), number).unwrap_or(0);
                let (before, after) = (value(contract, slot, last), value(contract, slot, number));
                slots.push(SlotChange { slot: U256::from(slot), before, after });
            }
        }
        let mut changes = Changes::default();
        for (n, slots) in touched {
            let last = before.insert((n, u64::MAX), number).unwrap_or(0);
            let (before, after) = (Some(account(n, last)), Some(account(n, number)));
            changes.accounts.push(AccountChange { address: address(n), before, after, storage_cleared: false, slots });
        }
        changes.normalize();
        changes
    }
}

/// Hash of block `number` of a made-up chain.
pub fn block_hash(number: u64) -> B256 {
    keccak256(number.to_be_bytes())
}

fn address(n: u64) -> Address {
    let mut bytes = [0; 20];
    bytes[..8].copy_from_slice(&mix(n, 7).to_be_bytes());
    bytes[12..].copy_from_slice(&n.to_be_bytes());
    Address::new(bytes)
}

fn account(n: u64, block: u64) -> Account {
    let balance = U256::from(1_000_000_000_000_000_000_u64 + n) + U256::from(block);
    Account { nonce: n % 50 + block, balance, ..Account::EMPTY }
}

fn value(n: u64, slot: u64, block: u64) -> U256 {
    U256::from(mix(n, slot).max(1)) + U256::from(block)
}

/// A number that says nothing about the two it was made of (splitmix64).
pub fn mix(seed: u64, at: u64) -> u64 {
    let mut mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(at.wrapping_mul(0xd1b5_4a32_d192_ed03));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
