use alloy_primitives::U256;
use proptest::{collection, prelude::*};

use super::*;
use crate::{
    model::{self, World},
    trie::tests::NodesByPath,
};

proptest! {
    #[test]
    fn nodes_kept_by_path_are_those_of_a_fresh_build_after_every_block(
        start in model::block(),
        blocks in collection::vec(model::block(), 1..8),
    ) {
        let mut world = World::after(&start);
        let mut nodes = NodesByPath(world.nodes_by_path());
        for block in &blocks {
            let root = world.root();
            let changes = world.play(block);
            let (after, updates) = update_state_root(&nodes, root, &changes).unwrap();
            prop_assert_eq!(after, world.root());
            prop_assert_eq!(state_root_after(&nodes, root, &changes).unwrap(), after);
            nodes.update(updates);
            prop_assert_eq!(&nodes.0, &world.nodes_by_path());
        }
    }
}

#[test]
fn storage_that_is_filled_and_emptied_leaves_no_node_behind() {
    let address = model::addresses()[3];
    let store = |value: u64| -> Vec<model::Step> {
        (0..200).map(|slot| model::Step::Store(address, U256::from(slot), U256::from(value))).collect()
    };
    let mut world = World::after(&[model::Step::Set(address, Account::EMPTY)]);
    let empty = world.nodes_by_path();
    let mut nodes = NodesByPath(empty.clone());
    for value in [u64::MAX, 1, 0] {
        let root = world.root();
        let changes = world.play_slots(&store(value), 200);
        let (after, updates) = update_state_root(&nodes, root, &changes).unwrap();
        assert_eq!(after, world.root());
        nodes.update(updates);
        assert_eq!(nodes.0, world.nodes_by_path(), "every slot is {value}");
    }
    assert_eq!(nodes.0, empty);
}
