//! A naive state to compare with: ordered maps, roots rebuilt from nothing by alloy.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_trie::{Nibbles, TrieAccount, root};
use proptest::{collection, prelude::*};

use crate::{
    Account, AccountChange, Changes, Completeness, MemoryState, SlotChange, StateReader, Witness,
    trie::reference_trie::{self, Leaves},
};

/// Number of addresses and of slots that states and blocks use.
const ADDRESSES: u8 = 12;
const SLOTS: u8 = 8;

pub(crate) fn addresses() -> Vec<Address> {
    (0..ADDRESSES).map(Address::repeat_byte).collect()
}

pub(crate) fn slots() -> Vec<U256> {
    (0..SLOTS).map(U256::from).collect()
}

/// Something that a block does.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Set(Address, Account),
    /// Nothing happens to an account that does not exist.
    Store(Address, U256, U256),
    Destroy(Address),
}

fn step() -> impl Strategy<Value = Step> {
    let address = || prop::sample::select(addresses());
    let slot = prop::sample::select(slots());
    let value = prop_oneof![Just(U256::ZERO), (1u64..100).prop_map(U256::from), Just(U256::MAX)];
    let account = (0u64..3, 0u64..1000, 0u8..3).prop_map(|(nonce, balance, code)| Account {
        nonce,
        balance: U256::from(balance),
        code_hash: if code == 0 { alloy_primitives::KECCAK256_EMPTY } else { keccak256([code]) },
    });
    prop_oneof![
        3 => (address(), account).prop_map(|(address, account)| Step::Set(address, account)),
        6 => (address(), slot, value).prop_map(|(address, slot, value)| Step::Store(address, slot, value)),
        1 => address().prop_map(Step::Destroy),
    ]
}

/// A block: what its transactions do, in order.
pub(crate) fn block() -> impl Strategy<Value = Vec<Step>> {
    collection::vec(step(), 0..40)
}

/// Every account with its slots that are not zero.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct World(BTreeMap<Address, (Account, BTreeMap<U256, U256>)>);

impl World {
    pub(crate) fn after(block: &[Step]) -> Self {
        let mut world = Self::default();
        world.play(block);
        world
    }

    /// Plays a block and returns what it changed.
    pub(crate) fn play(&mut self, block: &[Step]) -> Changes {
        self.play_slots(block, SLOTS.into())
    }

    /// Plays a block that uses the first `count` slots of accounts.
    pub(crate) fn play_slots(&mut self, block: &[Step], count: u64) -> Changes {
        let before = self.clone();
        let mut destroyed = BTreeSet::new();
        for step in block {
            match step {
                Step::Set(address, account) => self.0.entry(*address).or_default().0 = *account,
                Step::Store(address, slot, value) => {
                    let Some((_, storage)) = self.0.get_mut(address) else { continue };
                    storage.insert(*slot, *value);
                    storage.retain(|_, value| !value.is_zero());
                }
                Step::Destroy(address) => {
                    self.0.remove(address);
                    destroyed.insert(*address);
                }
            }
        }
        let mut changes = Changes::default();
        for address in addresses() {
            let cleared = destroyed.contains(&address) && before.account(&address).is_some();
            changes.accounts.push(before.difference(self, address, cleared, count));
        }
        changes.codes = (1..3).map(|code| (keccak256([code]), Bytes::from(vec![code]))).collect();
        // In an order that is not the normal one.
        changes.accounts.reverse();
        changes.normalize();
        changes
    }

    fn difference(&self, after: &Self, address: Address, storage_cleared: bool, count: u64) -> AccountChange {
        let slot = |slot| SlotChange { slot, before: self.slot(&address, &slot), after: after.slot(&address, &slot) };
        let exists = after.account(&address).is_some();
        AccountChange {
            address,
            before: self.account(&address),
            after: after.account(&address),
            storage_cleared,
            slots: (0..count).rev().filter(|_| exists).map(U256::from).map(slot).collect(),
        }
    }

    pub(crate) fn account(&self, address: &Address) -> Option<Account> {
        self.0.get(address).map(|(account, _)| *account)
    }

    pub(crate) fn slot(&self, address: &Address, slot: &U256) -> U256 {
        self.0.get(address).and_then(|(_, storage)| storage.get(slot)).copied().unwrap_or_default()
    }

    pub(crate) fn storage_is_empty(&self, address: &Address) -> bool {
        self.0.get(address).is_none_or(|(_, storage)| storage.is_empty())
    }

    pub(crate) fn root(&self) -> B256 {
        root::state_root_unhashed(self.trie_accounts())
    }

    fn trie_accounts(&self) -> impl Iterator<Item = (Address, TrieAccount)> {
        self.0.iter().map(|(address, (account, storage))| {
            let slots = storage.iter().map(|(slot, value)| (B256::from(*slot), *value));
            let storage_root = root::storage_root_unhashed(slots);
            (*address, TrieAccount::new(account.nonce, account.balance, storage_root, account.code_hash))
        })
    }

    /// The state in maps; with `Claimed`, every address and slot is recorded.
    pub(crate) fn memory(&self, completeness: Completeness) -> MemoryState {
        let mut memory = MemoryState::new(completeness);
        for address in addresses() {
            memory.insert_account(address, self.account(&address));
            slots().iter().for_each(|slot| memory.insert_slot(address, *slot, self.slot(&address, slot)));
        }
        memory
    }

    /// The nodes of the tries, on the way to these addresses and to every slot of theirs.
    pub(crate) fn nodes(&self, addresses: &[Address]) -> Vec<Bytes> {
        let keys: Vec<B256> = addresses.iter().map(keccak256).collect();
        let accounts: Leaves =
            self.trie_accounts().map(|(address, account)| (keccak256(address), alloy_rlp::encode(account))).collect();
        let (_, mut nodes) = reference_trie::proofs(&accounts, &keys);
        let slots: Vec<B256> = slots().iter().map(|slot| keccak256(B256::from(*slot))).collect();
        for (_, storage) in addresses.iter().filter_map(|address| self.0.get(address)) {
            let leaf = |(slot, value): (&U256, &U256)| (keccak256(B256::from(*slot)), alloy_rlp::encode(value));
            nodes.extend(reference_trie::proofs(&storage.iter().map(leaf).collect(), &slots).1);
        }
        nodes
    }

    /// Every node of the tries that stands by itself, by trie and path.
    pub(crate) fn nodes_by_path(&self) -> BTreeMap<(Option<B256>, Nibbles), Bytes> {
        let accounts: Leaves =
            self.trie_accounts().map(|(address, account)| (keccak256(address), alloy_rlp::encode(account))).collect();
        let mut nodes: BTreeMap<_, _> =
            reference_trie::nodes(&accounts).into_iter().map(|(path, rlp)| ((None, path), rlp)).collect();
        for (address, (_, storage)) in &self.0 {
            let leaf = |(slot, value): (&U256, &U256)| (keccak256(B256::from(*slot)), alloy_rlp::encode(value));
            let storage = reference_trie::nodes(&storage.iter().map(leaf).collect());
            nodes.extend(storage.into_iter().map(|(path, rlp)| ((Some(keccak256(address)), path), rlp)));
        }
        nodes
    }

    /// A witness that proves every address and slot.
    pub(crate) fn witness(&self) -> Witness {
        Witness::new(self.root(), self.nodes(&addresses()), [], [])
    }

    /// Asks `reader` for everything, one by one and in batches.
    pub(crate) fn assert_read_by(&self, reader: &impl StateReader) {
        let addresses = addresses();
        for address in &addresses {
            assert_eq!(reader.account(address).unwrap(), self.account(address), "{address}");
            assert_eq!(reader.storage_is_empty(address).unwrap(), self.storage_is_empty(address), "{address}");
        }
        let accounts: Vec<_> = addresses.iter().map(|address| self.account(address)).collect();
        assert_eq!(reader.accounts(&addresses).unwrap(), accounts);
        let keys: Vec<_> =
            addresses.iter().flat_map(|address| slots().into_iter().map(|slot| (*address, slot))).collect();
        let values: Vec<_> = keys.iter().map(|(address, slot)| self.slot(address, slot)).collect();
        assert_eq!(reader.storages(&keys).unwrap(), values);
        for ((address, slot), value) in keys.iter().zip(&values) {
            assert_eq!(reader.storage(address, slot).unwrap(), *value, "{address} {slot}");
        }
    }
}
