use alloy_trie::nodes::{BranchNode, LeafNode};
use proptest::{collection, prelude::*};

use super::*;
use crate::model::{self, World};

const ALICE: Address = Address::repeat_byte(1);
const BOB: Address = Address::repeat_byte(2);

proptest! {
    #[test]
    fn reads_equal_the_state_that_the_nodes_prove(start in model::block()) {
        let world = World::after(&start);
        world.assert_read_by(&world.witness());
    }

    #[test]
    fn root_after_changes_is_the_root_of_the_changed_state(start in model::block(), block in model::block()) {
        let mut world = World::after(&start);
        let witness = world.witness();
        let changes = world.play(&block);
        prop_assert_eq!(witness.state_root_after(&changes).unwrap(), world.root());
    }

    #[test]
    fn witness_of_the_touched_accounts_gives_the_right_root_or_names_the_missing_node(
        start in model::block(),
        block in model::block(),
    ) {
        let mut world = World::after(&start);
        let (root, before) = (world.root(), world.clone());
        let changes = world.play(&block);
        let touched: Vec<_> = changes.accounts.iter().map(|change| change.address).collect();
        let witness = Witness::new(root, before.nodes(&touched), [], []);
        match witness.state_root_after(&changes) {
            Ok(root) => prop_assert_eq!(root, world.root()),
            Err(error) => prop_assert!(matches!(error, StateError::MissingNode { .. }), "{error}"),
        }
        let removes_nothing = changes.accounts.iter().all(|change| {
            change.after.is_some() && change.slots.iter().all(|slot| !slot.after.is_zero())
        });
        if removes_nothing {
            prop_assert!(witness.state_root_after(&changes).is_ok());
        }
    }

    #[test]
    fn read_without_a_node_is_right_or_names_the_missing_node(
        start in model::block(),
        kept in collection::vec(any::<bool>(), 100),
    ) {
        let world = World::after(&start);
        let nodes = world.nodes(&model::addresses());
        let some = nodes.into_iter().zip(&kept).filter_map(|(node, kept)| kept.then_some(node));
        let witness = Witness::new(world.root(), some, [], []);
        for address in model::addresses() {
            match witness.account(&address) {
                Ok(account) => prop_assert_eq!(account, world.account(&address)),
                Err(error) => prop_assert!(matches!(error, StateError::MissingNode { account: None, .. }), "{error}"),
            }
            for slot in model::slots() {
                match witness.storage(&address, &slot) {
                    Ok(value) => prop_assert_eq!(value, world.slot(&address, &slot)),
                    Err(error) => prop_assert!(matches!(error, StateError::MissingNode { .. }), "{error}"),
                }
            }
        }
    }

    #[test]
    fn arbitrary_bytes_as_the_root_node_are_never_more_than_malformed(
        bytes in collection::vec(any::<u8>(), 0..80),
        block in model::block(),
    ) {
        let bytes = Bytes::from(bytes);
        let witness = Witness::new(keccak256(&bytes), [bytes], [], []);
        let is_refusal = |error| matches!(error, StateError::MalformedNode { .. } | StateError::MissingNode { .. });
        for address in model::addresses() {
            prop_assert!(witness.account(&address).err().is_none_or(is_refusal));
            prop_assert!(witness.storage(&address, &U256::ZERO).err().is_none_or(is_refusal));
        }
        let changes = World::default().play(&block);
        prop_assert!(witness.state_root_after(&changes).err().is_none_or(is_refusal));
    }
}

/// A witness of a state with one account, whose leaf holds `value`.
fn witness_of_leaf(value: Vec<u8>, storage: Vec<Bytes>) -> Witness {
    let leaf: Bytes = alloy_rlp::encode(LeafNode::new(Nibbles::unpack(keccak256(ALICE)), value)).into();
    Witness::new(keccak256(&leaf), storage.into_iter().chain([leaf]), [], [])
}

#[test]
fn one_leaf_proves_its_account_and_the_absence_of_every_other() {
    let account = TrieAccount::new(3, U256::from(4), EMPTY_ROOT_HASH, B256::repeat_byte(5));
    let witness = witness_of_leaf(alloy_rlp::encode(account), vec![]);
    let expected = Account { nonce: 3, balance: U256::from(4), code_hash: B256::repeat_byte(5) };
    assert_eq!(witness.account(&ALICE).unwrap(), Some(expected));
    assert_eq!(witness.storage(&ALICE, &U256::from(1)).unwrap(), U256::ZERO);
    assert!(witness.storage_is_empty(&ALICE).unwrap());
    assert_eq!(witness.account(&BOB).unwrap(), None);
    assert_eq!(witness.storage(&BOB, &U256::from(1)).unwrap(), U256::ZERO);
    assert!(witness.storage_is_empty(&BOB).unwrap());
}

#[test]
fn leaf_that_is_no_account_is_malformed_at_its_full_path() {
    let path = Nibbles::unpack(keccak256(ALICE));
    let mut trailing = alloy_rlp::encode(TrieAccount::default());
    trailing.push(0);
    for value in [vec![1], vec![0xc0], trailing] {
        let witness = witness_of_leaf(value, vec![]);
        let error = witness.account(&ALICE).unwrap_err();
        assert!(matches!(error, StateError::MalformedNode { account: None, path: p } if p == path), "{error}");
        let changes = World::default().play(&[]);
        assert_eq!(witness.state_root_after(&changes).unwrap(), witness.state_root());
    }
}

#[test]
fn missing_storage_node_names_the_account_and_the_path() {
    let account = TrieAccount::new(0, U256::ZERO, B256::repeat_byte(9), B256::ZERO);
    let witness = witness_of_leaf(alloy_rlp::encode(account), vec![]);
    let error = witness.storage(&ALICE, &U256::from(1)).unwrap_err();
    let hash = Some(keccak256(ALICE));
    assert!(matches!(&error, StateError::MissingNode { account, path } if *account == hash && path.is_empty()));
    assert!(!witness.storage_is_empty(&ALICE).unwrap());
}

#[test]
fn stored_zero_is_malformed() {
    let key = Nibbles::unpack(keccak256(B256::ZERO));
    let zero: Bytes = alloy_rlp::encode(LeafNode::new(key, alloy_rlp::encode(U256::ZERO))).into();
    let account = TrieAccount::new(0, U256::ZERO, keccak256(&zero), B256::ZERO);
    let witness = witness_of_leaf(alloy_rlp::encode(account), vec![zero]);
    let error = witness.storage(&ALICE, &U256::ZERO).unwrap_err();
    assert!(matches!(error, StateError::MalformedNode { account: Some(_), path } if path == key));
}

#[test]
fn superfluous_and_malformed_nodes_do_no_harm() {
    let world = World::after(&[model::Step::Set(ALICE, Account::EMPTY)]);
    let junk = [
        Bytes::new(),
        Bytes::from_static(&[0x80]),
        Bytes::from_static(&[0xff; 40]),
        alloy_rlp::encode(BranchNode::default()).into(),
    ];
    let nodes = world.nodes(&[ALICE]).into_iter().chain(junk);
    world.assert_read_by(&Witness::new(world.root(), nodes, [], []));
}

#[test]
fn empty_state_needs_no_nodes() {
    let mut world = World::default();
    let witness = Witness::new(EMPTY_ROOT_HASH, [], [], []);
    world.assert_read_by(&witness);
    let changes = world.play(&[model::Step::Set(ALICE, Account::EMPTY)]);
    assert_eq!(witness.state_root_after(&changes).unwrap(), world.root());
}

#[test]
fn code_is_known_by_its_own_hash_and_block_hashes_by_number() {
    let code = Bytes::from_static(&[0x60, 0x00]);
    let witness = Witness::new(EMPTY_ROOT_HASH, [], [code.clone()], [(5, B256::repeat_byte(5))]);
    assert_eq!(witness.code(&keccak256(&code)).unwrap(), code);
    assert!(matches!(witness.code(&B256::ZERO), Err(StateError::MissingCode(B256::ZERO))));
    assert_eq!(witness.block_hash(5).unwrap(), B256::repeat_byte(5));
    assert!(matches!(witness.block_hash(6), Err(StateError::MissingBlockHash(6))));
}
