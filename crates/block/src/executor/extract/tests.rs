//! Whatever the order in which a block's cells are found, its changes come out in normal form.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::btree_map, prelude::*};
use ropewalk_state::{Completeness, MemoryState};

use super::*;

/// Few addresses, some of which begin alike: neither eight nor nineteen bytes tell them apart.
fn address() -> impl Strategy<Value = Address> {
    (0..3u8, 0..3u8, 0..3u8).prop_map(|(first, ninth, last)| {
        let mut address = Address::repeat_byte(7);
        (address[0], address[8], address[19]) = (first * 127, ninth, last);
        address
    })
}

/// Small numbers and large ones.
fn slot() -> impl Strategy<Value = U256> {
    prop_oneof![
        (0..4u64).prop_map(U256::from),
        (0..4u64).prop_map(|number| U256::MAX - U256::from(number) * U256::from(3))
    ]
}

fn account() -> impl Strategy<Value = Option<Account>> {
    let some = (0..2u64, 0..3u64).prop_map(|(nonce, balance)| Account {
        nonce,
        balance: U256::from(balance),
        ..Account::default()
    });
    proptest::option::weighted(0.8, some)
}

#[derive(Debug, Clone)]
struct Said {
    written: BTreeMap<Address, (Option<Account>, Option<Account>, bool)>,
    unwritten: BTreeMap<Address, Option<Account>>,
    slots: BTreeMap<(Address, U256), (u64, u64)>,
}

fn said() -> impl Strategy<Value = Said> {
    let written = btree_map(address(), (account(), account(), any::<bool>()), 0..20);
    let unwritten = btree_map(address(), account(), 0..20);
    let slots = btree_map((address(), slot()), (0..3u64, 0..3u64), 0..120);
    (written, unwritten, slots).prop_map(|(written, unwritten, slots)| {
        let unwritten = unwritten.into_iter().filter(|(address, _)| !written.contains_key(address)).collect();
        Said { written, unwritten, slots }
    })
}

impl Said {
    /// In an order that hangs on `seed`.
    fn found(&self, seed: u64) -> InRange {
        let written = |(address, (before, after, clears)): (&Address, &(Option<Account>, Option<Account>, bool))| {
            Written { address: *address, before: *before, after: *after, storage_cleared: *clears && before.is_some() }
        };
        let slot = |((address, slot), (before, after)): (&(Address, U256), &(u64, u64))| {
            (*address, SlotChange { slot: *slot, before: U256::from(*before), after: U256::from(*after) })
        };
        let mut found = InRange {
            accounts: self.written.iter().map(written).collect(),
            slots: self.slots.iter().map(slot).collect(),
            unwritten: self.unwritten.iter().map(|(address, account)| (*address, *account)).collect(),
        };
        shuffle(&mut found.accounts, seed);
        shuffle(&mut found.slots, seed);
        shuffle(&mut found.unwritten, seed);
        found
    }

    /// By the rules of the normal form, one account after the other.
    fn expected(&self) -> Changes {
        let addresses: BTreeSet<Address> =
            self.written.keys().copied().chain(self.slots.keys().map(|(address, _)| *address)).collect();
        let change = |address: Address| {
            let as_before = self.unwritten.get(&address).copied().flatten();
            let (before, after, clears) = self.written.get(&address).copied().unwrap_or((as_before, as_before, false));
            let own = self.slots.iter().filter(|((of, _), _)| *of == address);
            let slot = |((_, slot), (before, after)): (&(Address, U256), &(u64, u64))| SlotChange {
                slot: *slot,
                before: U256::from(*before),
                after: U256::from(*after),
            };
            let storage_cleared = clears && before.is_some();
            let mut change = AccountChange { address, before, after, storage_cleared, slots: own.map(slot).collect() };
            if change.storage_starts_empty() {
                change.slots.iter_mut().for_each(|slot| slot.before = U256::ZERO);
            }
            change
        };
        let mut changes = Changes { accounts: addresses.into_iter().map(change).collect(), ..Changes::default() };
        changes.normalize();
        changes
    }
}

/// Fisher and Yates, by a linear congruential generator.
fn shuffle<T>(all: &mut [T], seed: u64) {
    let mut state = seed | 1;
    for at in (1..all.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        all.swap(at, (state >> 33) as usize % (at + 1));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_found_in_any_order_comes_out_in_normal_form(said in said(), seed: u64) {
        let nothing = MemoryState::new(Completeness::Assumed);
        let mut merged = Vec::new();
        said.found(seed).merge(&nothing, &mut merged).expect("what is not there is absent");
        prop_assert_eq!(Changes { accounts: merged, ..Changes::default() }, said.expected());
    }
}

#[test]
fn addresses_that_are_no_hashes_are_sorted_all_the_same() {
    let last = |number: u16| {
        let mut address = Address::ZERO;
        address[18..].copy_from_slice(&number.to_be_bytes());
        address
    };
    let mut addresses: Vec<Address> = (0..500).map(last).collect();
    shuffle(&mut addresses, 5);
    let places = in_order(&addresses, |address| address);
    assert!(places.iter().map(|place| addresses[place.at]).eq((0..500).map(last)));
}
