use proptest::prelude::*;

use super::*;
use crate::{
    StateReader, Witness,
    model::{self, World},
    trie::{NoNodes, StateTrie},
};

proptest! {
    #[test]
    fn recorded_nodes_prove_every_read_and_the_root_after_every_change(start in model::block(), block in model::block()) {
        let mut world = World::after(&start);
        let before = world.clone();
        let source = before.witness();
        let changes = world.play(&block);
        let reads = model::addresses().into_iter().map(|address| (address, model::slots()));
        let nodes = prove(&source, before.root(), reads, &changes).unwrap();
        let witness = Witness::new(before.root(), nodes, [], []);
        before.assert_read_by(&witness);
        prop_assert_eq!(witness.state_root_after(&changes).unwrap(), world.root());
    }

    #[test]
    fn nodes_recorded_for_changes_alone_are_enough_for_their_root(start in model::block(), block in model::block()) {
        let mut world = World::after(&start);
        let before = world.clone();
        let changes = world.play(&block);
        let unread: [(Address, Vec<U256>); 0] = [];
        let nodes = prove(&before.witness(), before.root(), unread, &changes).unwrap();
        let hashes: Vec<B256> = nodes.iter().map(alloy_primitives::keccak256).collect();
        prop_assert!(hashes.is_sorted_by(|a, b| a < b), "each node once, ascending by hash");
        let witness = Witness::new(before.root(), nodes, [], []);
        prop_assert_eq!(witness.state_root_after(&changes).unwrap(), world.root());
        for change in &changes.accounts {
            prop_assert_eq!(witness.account(&change.address).unwrap(), before.account(&change.address));
        }
    }
}

#[test]
fn state_that_neither_was_read_nor_changes_is_proven_by_its_root_node() {
    let world = World::after(&[model::Step::Set(model::addresses()[0], crate::Account::EMPTY)]);
    let unread: [(Address, Vec<U256>); 0] = [];
    let nodes = prove(&world.witness(), world.root(), unread, &Changes::default()).unwrap();
    assert!(nodes.iter().eq(world.nodes_by_path().values()), "{nodes:?}");
}

#[test]
fn source_that_lacks_a_node_proves_nothing() {
    let trie = StateTrie::new(NoNodes, B256::repeat_byte(1));
    let error = prove(&trie, trie.root(), [(model::addresses()[0], model::slots())], &Changes::default()).unwrap_err();
    assert!(matches!(error, StateError::MissingNode { account: None, path } if path.is_empty()));
}
