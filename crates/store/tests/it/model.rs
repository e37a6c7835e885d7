//! Random blocks beside a plain map, compared after each step.

use std::{collections::BTreeMap, path::Path};

use alloy_primitives::{Address, Bytes, KECCAK256_EMPTY, U256, keccak256};
use proptest::{collection::vec, prelude::*};
use ropewalk_state::{Account, AccountChange, Changes, Completeness, MemoryState, SlotChange, StateReader};
use ropewalk_store::{BaseEntry, Head, Store, StoreOptions, StoreReader};

use crate::{
    chain::{address, block_hash, extend, options, verified, word},
    content::{Content, content, pruned},
};

/// How many blocks can be unwound.
const KEPT: u64 = 5;
const ADDRESSES: u8 = 5;
const SLOTS: u64 = 4;

/// A state in the plainest form. Slots are not zero.
#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    accounts: BTreeMap<Address, Account>,
    slots: BTreeMap<(Address, U256), U256>,
    codes: Vec<Bytes>,
}

/// What happens to one account in a block.
#[derive(Debug, Clone)]
enum Fate {
    Write { nonce: u64, balance: u64, code: Option<u8>, slots: Vec<(u64, u64)> },
    Destroy,
    Recreate { nonce: u64, slots: Vec<(u64, u64)> },
}

#[derive(Debug, Clone)]
enum Step {
    /// Commit a block in which these accounts meet these fates; the last fate of an account counts.
    Commit(Vec<(u8, Fate)>),
    /// Go so many blocks back, or as many as can be.
    Unwind(u64),
    /// Close and open the store.
    Reopen,
    /// Clear the store and load its own content again, as the base of a block further on; said to be a whole state or a
    /// part of one.
    Reload { whole: bool },
    /// Take a snapshot to be compared at the end, whatever comes in between.
    Snapshot,
}

fn fate() -> impl Strategy<Value = Fate> {
    let slots = || vec((0..SLOTS, prop_oneof![Just(0), 1..4_u64, Just(u64::MAX)]), 0..4);
    prop_oneof![
        5 => (0..3_u64, any::<u64>(), prop::option::of(0..3_u8), slots())
            .prop_map(|(nonce, balance, code, slots)| Fate::Write { nonce, balance, code, slots }),
        2 => Just(Fate::Destroy),
        2 => (0..3_u64, slots()).prop_map(|(nonce, slots)| Fate::Recreate { nonce, slots }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => vec((0..ADDRESSES, fate()), 0..5).prop_map(Step::Commit),
        2 => (0..7_u64).prop_map(Step::Unwind),
        2 => Just(Step::Reopen),
        2 => any::<bool>().prop_map(|whole| Step::Reload { whole }),
        1 => Just(Step::Snapshot),
    ]
}

impl Model {
    /// The changes in normal form that these fates make, applied to the model as well.
    fn apply(&mut self, fates: &[(u8, Fate)]) -> Changes {
        let before = self.clone();
        let mut changes = Changes::default();
        let fates: BTreeMap<u8, &Fate> = fates.iter().map(|(n, fate)| (*n, fate)).collect();
        for (n, fate) in fates {
            let address = address(n);
            let existed = before.accounts.contains_key(&address);
            let (after, slots) = match fate {
                Fate::Write { nonce, balance, code, slots } => {
                    let code_hash = code.map_or(KECCAK256_EMPTY, |code| self.add_code(code, &mut changes));
                    (Some(Account { nonce: *nonce, balance: word(*balance), code_hash }), &slots[..])
                }
                Fate::Destroy => (None, &[][..]),
                Fate::Recreate { nonce, slots } => (Some(Account { nonce: *nonce, ..Account::EMPTY }), &slots[..]),
            };
            let storage_cleared = existed && !matches!(fate, Fate::Write { .. });
            if storage_cleared {
                self.slots.retain(|(owner, _), _| *owner != address);
            }
            let slots = slots.iter().map(|(slot, after)| (word(*slot), word(*after))).collect::<BTreeMap<_, _>>();
            let slots = slots.into_iter().map(|(slot, after)| self.write_slot(address, slot, after)).collect();
            match after {
                Some(account) => self.accounts.insert(address, account),
                None => self.accounts.remove(&address),
            };
            let before = before.accounts.get(&address).copied();
            changes.accounts.push(AccountChange { address, before, after, storage_cleared, slots });
        }
        changes.normalize();
        changes
    }

    fn write_slot(&mut self, address: Address, slot: U256, after: U256) -> SlotChange {
        let before = match after.is_zero() {
            true => self.slots.remove(&(address, slot)),
            false => self.slots.insert((address, slot), after),
        };
        SlotChange { slot, before: before.unwrap_or_default(), after }
    }

    fn add_code(&mut self, code: u8, changes: &mut Changes) -> alloy_primitives::B256 {
        let bytes = Bytes::from(vec![0x60, code]);
        let hash = keccak256(&bytes);
        changes.codes.insert(hash, bytes.clone());
        self.codes.push(bytes);
        hash
    }

    fn state_root(&self) -> alloy_primitives::B256 {
        let mut state = MemoryState::new(Completeness::Assumed);
        self.accounts.iter().for_each(|(address, account)| state.insert_account(*address, Some(*account)));
        self.slots.iter().for_each(|((address, slot), value)| state.insert_slot(*address, *slot, *value));
        state.state_root()
    }

    /// The store is sound, and has the root of this state where it holds a whole one.
    fn compare_root(&self, store: &Store) -> Result<(), TestCaseError> {
        let verified = verified(store);
        prop_assert_eq!(&verified.findings, &[]);
        prop_assert_eq!(verified.state_root, self.state_root());
        if let Some(root) = store.head().and_then(|head| head.state_root) {
            prop_assert_eq!(root, verified.state_root);
        }
        Ok(())
    }

    fn entries(&self) -> Vec<BaseEntry> {
        let accounts = self.accounts.iter().map(|(a, account)| BaseEntry::Account { address: *a, account: *account });
        let slots = self.slots.iter();
        let slots = slots.map(|((a, slot), value)| BaseEntry::Slot { address: *a, slot: *slot, value: *value });
        let codes = self.codes.iter().cloned().map(BaseEntry::Code);
        slots.chain(codes).chain(accounts).collect()
    }

    /// Asks a reader everything, one by one and in batches.
    fn compare(&self, reader: &StoreReader) -> Result<(), TestCaseError> {
        let addresses: Vec<Address> = (0..ADDRESSES).map(address).collect();
        let slots: Vec<_> = addresses.iter().flat_map(|a| (0..SLOTS).map(|slot| (*a, word(slot)))).collect();
        let accounts: Vec<_> = addresses.iter().map(|a| self.accounts.get(a).copied()).collect();
        let values: Vec<_> = slots.iter().map(|key| self.slots.get(key).copied().unwrap_or_default()).collect();
        prop_assert_eq!(&reader.accounts(&addresses).expect("the store answers"), &accounts);
        prop_assert_eq!(&reader.storages(&slots).expect("the store answers"), &values);
        for (a, expected) in addresses.iter().zip(accounts) {
            prop_assert_eq!(reader.account(a).expect("the store answers"), expected);
            let empty = !self.slots.keys().any(|(owner, _)| owner == a);
            prop_assert_eq!(reader.storage_is_empty(a).expect("the store answers"), empty, "storage of {}", a);
        }
        for ((a, slot), expected) in slots.iter().zip(values) {
            prop_assert_eq!(reader.storage(a, slot).expect("the store answers"), expected);
        }
        for code in &self.codes {
            prop_assert_eq!(&reader.code(&keccak256(code)).expect("the store answers"), code);
        }
        Ok(())
    }
}

/// With memtables this small, most blocks go through sorted files, their filters and compactions.
fn open(path: &Path) -> Store {
    let options =
        StoreOptions { memtable_bytes: 16 << 10, node_cache_bytes: 4 << 10, changesets_kept: KEPT, ..options() };
    Store::open(path, &options).expect("the store opens")
}

fn reload(store: &mut Store, model: &Model, whole: bool) {
    let number = store.head().map_or(0, |head| head.number + 10);
    store.clear().expect("the store is cleared");
    let base = Head { number, hash: block_hash(number), state_root: whole.then(|| model.state_root()) };
    store.load_base(&base, model.entries()).expect("the content is loaded again");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn store_equals_a_plain_map_after_every_step(steps in vec(step(), 1..24)) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut store = Some(open(directory.path()));
        let mut model = Model::default();
        // What was after each block that can still be gone back to, the head's last.
        let mut past: Vec<(Model, Content)> = Vec::new();
        let mut snapshots = Vec::new();
        for step in &steps {
            let open_store = store.as_mut().expect("the store is open between steps");
            match step {
                Step::Commit(fates) => {
                    extend(open_store, &model.apply(fates)).expect("the block is committed");
                    past.push((model.clone(), content(open_store)));
                }
                Step::Unwind(blocks) => {
                    let Some(head) = open_store.head() else { continue };
                    let possible = head.number - open_store.first_reachable().expect("there is a head");
                    prop_assert_eq!(possible, KEPT.min(past.len() as u64 - 1));
                    let blocks = possible.min(*blocks);
                    open_store.unwind_to(head.number - blocks).expect("it is unwound");
                    past.truncate(past.len() - blocks as usize);
                    let (then, content_then) = past.last().expect("the block gone back to").clone();
                    let last_pruned = open_store.first_reachable().expect("there is a head");
                    prop_assert_eq!(content(open_store), pruned(content_then, last_pruned));
                    model = then;
                    // What was pruned does not come back.
                    let reachable = (head.number - blocks - last_pruned) as usize;
                    past.drain(..past.len() - 1 - reachable);
                }
                Step::Reload { whole } => {
                    if open_store.head().is_none() {
                        continue;
                    }
                    reload(open_store, &model, *whole);
                    past = vec![(model.clone(), content(open_store))];
                }
                Step::Snapshot => snapshots.push((open_store.reader(), model.clone())),
                Step::Reopen => {
                    let head = open_store.head();
                    for (reader, model) in snapshots.drain(..) {
                        model.compare(&reader)?;
                    }
                    drop(store.take());
                    prop_assert_eq!(store.insert(open(directory.path())).head(), head);
                }
            }
            let open_store = store.as_ref().expect("the store is open between steps");
            model.compare(&open_store.reader())?;
            model.compare_root(open_store)?;
        }
        for (reader, model) in snapshots {
            model.compare(&reader)?;
        }
    }
}
