use alloy_primitives::keccak256;
use proptest::prelude::*;

use super::*;
use crate::{
    model::{self, World},
    trie::{tests::NodesByPath, update_state_root},
};

/// The account as `world` has it, with every slot.
fn as_in(world: &World, address: &alloy_primitives::Address) -> AccountUpdate {
    let slot = |slot: U256| (keccak256(slot.to_be_bytes::<32>()), world.slot(address, &slot));
    AccountUpdate {
        key: keccak256(address),
        account: world.account(address),
        slots: model::slots().into_iter().map(slot).collect(),
        storage_root: None,
    }
}

proptest! {
    #[test]
    fn setting_what_a_block_changed_leads_back_to_the_root_and_the_nodes_before_it(
        start in model::block(),
        block in model::block(),
    ) {
        let before = World::after(&start);
        let mut after = before.clone();
        let changes = after.play(&block);
        let mut nodes = NodesByPath(after.nodes_by_path());
        let updates: Vec<_> = changes.accounts.iter().map(|change| as_in(&before, &change.address)).collect();
        let (root, updates) = set_accounts(&nodes, after.root(), &updates).unwrap();
        prop_assert_eq!(root, before.root());
        nodes.update(updates);
        prop_assert_eq!(&nodes.0, &before.nodes_by_path());
        let (again, _) = update_state_root(&nodes, root, &changes).unwrap();
        prop_assert_eq!(again, after.root());
    }
}

#[test]
fn a_storage_that_is_given_by_its_root_takes_the_place_of_the_present_one() {
    let address = model::addresses()[1];
    let world = |value: u64| {
        let store = model::Step::Store(address, U256::from(1), U256::from(value));
        World::after(&[model::Step::Set(address, Account::EMPTY), store])
    };
    let (before, after) = (world(7), world(8));
    let nodes = NodesByPath(after.nodes_by_path());
    let former = NodesByPath(before.nodes_by_path());
    let leaf = crate::trie::account(&former, before.root(), &address).unwrap().unwrap();
    let emptied = |slot: U256| (keccak256(slot.to_be_bytes::<32>()), U256::ZERO);
    let update = AccountUpdate {
        key: keccak256(address),
        account: before.account(&address),
        slots: model::slots().into_iter().map(emptied).collect(),
        storage_root: Some(leaf.storage_root),
    };
    let (root, updates) = set_accounts(&nodes, after.root(), &[update]).unwrap();
    assert_eq!(root, before.root());
    assert!(updates.storage[&keccak256(address)].nodes.values().all(Option::is_none), "the present storage is gone");
}
