use proptest::prelude::*;

use super::*;
use crate::{
    Completeness, MemoryState,
    model::{self, Step, World},
};

const ALICE: Address = Address::repeat_byte(1);

proptest! {
    #[test]
    fn stacked_blocks_read_as_the_state_after_them(start in model::block(), blocks in prop::collection::vec(model::block(), 0..5)) {
        let mut world = World::after(&start);
        let mut overlay = Overlay::new(world.memory(Completeness::Claimed));
        for block in &blocks {
            // Storage emptied slot by slot is the one thing that an overlay cannot tell.
            let block: Vec<_> = block.iter().filter(|step| !matches!(step, Step::Store(_, _, U256::ZERO))).cloned().collect();
            overlay.push(Arc::new(world.play(&block)));
            world.assert_read_by(&overlay);
        }
    }
}

fn store(slot: u64, value: u64) -> Step {
    Step::Store(ALICE, U256::from(slot), U256::from(value))
}

/// An overlay over a state in which Alice has slots 1 and 2, with a layer for each block.
fn overlay(blocks: &[&[Step]]) -> Overlay<MemoryState> {
    let mut world = World::after(&[Step::Set(ALICE, Account::EMPTY), store(1, 11), store(2, 22)]);
    let mut overlay = Overlay::new(world.memory(Completeness::Claimed));
    blocks.iter().for_each(|block| overlay.push(Arc::new(world.play(block))));
    overlay
}

fn read(overlay: &Overlay<MemoryState>) -> [u64; 3] {
    [1u64, 2, 3].map(|slot| overlay.storage(&ALICE, &U256::from(slot)).unwrap().to())
}

#[test]
fn cleared_storage_hides_the_base_and_older_layers() {
    let recreate = [Step::Destroy(ALICE), Step::Set(ALICE, Account::EMPTY), store(2, 99)];
    assert_eq!(read(&overlay(&[&[store(3, 33)]])), [11, 22, 33]);
    assert_eq!(read(&overlay(&[&[store(3, 33)], &recreate])), [0, 99, 0]);
    assert_eq!(read(&overlay(&[&[store(3, 33)], &recreate, &[store(1, 1)]])), [1, 99, 0]);
}

#[test]
fn destroyed_account_is_absent_and_stays_without_storage_when_created_anew() {
    let destroyed = overlay(&[&[Step::Destroy(ALICE)]]);
    assert_eq!(destroyed.account(&ALICE).unwrap(), None);
    assert_eq!(read(&destroyed), [0, 0, 0]);
    assert!(destroyed.storage_is_empty(&ALICE).unwrap());
    let anew = overlay(&[&[Step::Destroy(ALICE)], &[Step::Set(ALICE, Account::EMPTY)]]);
    assert_eq!(anew.account(&ALICE).unwrap(), Some(Account::EMPTY));
    assert_eq!(read(&anew), [0, 0, 0]);
    assert!(anew.storage_is_empty(&ALICE).unwrap());
}

#[test]
fn storage_emptied_slot_by_slot_does_not_count_as_empty() {
    let emptied = overlay(&[&[store(1, 0), store(2, 0)]]);
    assert_eq!(read(&emptied), [0, 0, 0]);
    assert!(!emptied.storage_is_empty(&ALICE).unwrap());
}

#[test]
fn code_and_block_hashes_come_from_the_layers_first() {
    let code = Bytes::from_static(&[0xfe]);
    let hash = alloy_primitives::keccak256(&code);
    let mut base = MemoryState::new(Completeness::Assumed);
    let known = base.insert_code(Bytes::from_static(&[0x00]));
    base.insert_block_hash(1, B256::repeat_byte(1));
    let mut overlay = Overlay::new(base);
    assert!(matches!(overlay.code(&hash), Err(StateError::MissingCode(missing)) if missing == hash));
    overlay.push(Arc::new(Changes { codes: [(hash, code.clone())].into(), ..Changes::default() }));
    overlay.insert_block_hash(2, B256::repeat_byte(2));
    assert_eq!(overlay.code(&hash).unwrap(), code);
    assert_eq!(overlay.code(&known).unwrap(), Bytes::from_static(&[0x00]));
    assert_eq!(overlay.block_hash(1).unwrap(), B256::repeat_byte(1));
    assert_eq!(overlay.block_hash(2).unwrap(), B256::repeat_byte(2));
    assert!(matches!(overlay.block_hash(3), Err(StateError::MissingBlockHash(3))));
    assert!(overlay.base().code(&hash).is_err());
}
