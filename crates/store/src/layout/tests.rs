//! Each value has one form in bytes, and no bytes can make a decoder panic.

use proptest::{collection::vec, option, prelude::*};

use super::*;

fn any_hash() -> impl Strategy<Value = B256> {
    any::<[u8; 32]>().prop_map(B256::new)
}

/// Numbers of all lengths in bytes, not only long ones.
fn any_number() -> impl Strategy<Value = U256> {
    (any::<[u8; 32]>(), 0_usize..=256).prop_map(|(bytes, shift)| U256::from_be_bytes(bytes).wrapping_shr(shift))
}

prop_compose! {
    fn any_account()(nonce in any_number(), balance in any_number(), code in option::of(any_hash())) -> Account {
        Account { nonce: nonce.wrapping_to(), balance, code_hash: code.unwrap_or(KECCAK256_EMPTY) }
    }
}

proptest! {
    #[test]
    fn account_comes_back_as_it_went(account in any_account()) {
        prop_assert_eq!(decode_account(&encode_account(&account)), Ok(account));
    }

    #[test]
    fn slot_comes_back_as_it_went(value in any_number()) {
        match encode_slot(&value) {
            Some(bytes) => prop_assert_eq!(decode_slot(&bytes), Ok(value)),
            None => prop_assert_eq!(value, U256::ZERO),
        }
    }

    #[test]
    fn head_and_block_come_back_as_they_went(
        number: u64, hash in any_hash(), parent_hash in option::of(any_hash()), state_root in option::of(any_hash()),
    ) {
        let head = Head { number, hash, state_root };
        let meta = BlockMeta { hash, parent_hash, state_root };
        prop_assert_eq!(Head::decode(&head.encode()), Ok(head));
        prop_assert_eq!(BlockMeta::decode(&meta.encode()), Ok(meta));
    }

    #[test]
    fn bytes_that_decode_are_the_bytes_that_would_be_written(bytes in vec(any::<u8>(), 0..110)) {
        if let Ok(account) = decode_account(&bytes) {
            prop_assert_eq!(encode_account(&account), bytes.clone());
        }
        if let Ok(value) = decode_slot(&bytes) {
            prop_assert_eq!(encode_slot(&value), Some(bytes.clone()));
        }
        if let Ok(incarnation) = StorageIncarnation::decode(&bytes) {
            prop_assert_eq!(&incarnation.encode()[..], &bytes[..]);
        }
        if let Ok(head) = Head::decode(&bytes) {
            prop_assert_eq!(head.encode(), bytes.clone());
        }
        if let Ok(meta) = BlockMeta::decode(&bytes) {
            prop_assert_eq!(meta.encode(), bytes.clone());
        }
        let _ = (decode_hash(&bytes), decode_layout_version(&bytes));
    }

    /// Arbitrary bytes rarely pass the first check; a damaged value passes most of them.
    #[test]
    fn a_damaged_value_is_refused_or_reads_as_another_value(
        account in any_account(), at: prop::sample::Index, flip in 1_u8.., cut in 0_usize..4,
    ) {
        let mut bytes = encode_account(&account);
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        bytes.truncate(bytes.len().saturating_sub(cut));
        if let Ok(other) = decode_account(&bytes) {
            prop_assert_eq!(encode_account(&other), bytes);
        }
    }
}

#[test]
fn every_other_form_of_a_value_is_refused() {
    assert_eq!(decode_account(&[]), Err(DecodeError::Length { found: 0, least: 1, most: 73 }));
    assert_eq!(decode_account(&[0x20]), Err(DecodeError::Header(0x20)));
    assert_eq!(decode_account(&[0x09]), Err(DecodeError::Header(0x09)));
    assert_eq!(decode_account(&[0x01, 0]), Err(DecodeError::LeadingZeros));
    assert_eq!(decode_account(&[0x00, 0, 1]), Err(DecodeError::LeadingZeros));
    assert_eq!(decode_account(&[0x10]), Err(DecodeError::Length { found: 1, least: 33, most: 65 }));
    let no_code = [&[HAS_CODE][..], KECCAK256_EMPTY.as_slice()].concat();
    assert_eq!(decode_account(&no_code), Err(DecodeError::EmptyCodeHash));
    assert_eq!(decode_slot(&[]), Err(DecodeError::Length { found: 0, least: 1, most: 32 }));
    assert_eq!(decode_slot(&[0]), Err(DecodeError::Zero));
    assert_eq!(decode_slot(&[0, 1]), Err(DecodeError::LeadingZeros));
    assert_eq!(StorageIncarnation::decode(&[0; 8]), Err(DecodeError::Zero));
    assert_eq!(BlockMeta::decode(&[4; 33]), Err(DecodeError::Header(4)));
    assert_eq!(Head::decode(&[0; 41]), Err(DecodeError::Length { found: 41, least: 40, most: 72 }));
}

#[test]
fn empty_account_is_written_and_differs_from_an_absent_one() {
    assert_eq!(encode_account(&Account::EMPTY), [0]);
}

#[test]
fn plain_account_takes_few_bytes() {
    let account = Account { nonce: 5, balance: U256::from(10).pow(U256::from(18)), code_hash: KECCAK256_EMPTY };
    assert_eq!(encode_account(&account), [0x01, 5, 0x0d, 0xe0, 0xb6, 0xb3, 0xa7, 0x64, 0, 0]);
}

#[test]
fn slots_of_one_incarnation_share_a_prefix_that_no_other_has() {
    let account = account_key(&Address::repeat_byte(1));
    let first = StorageIncarnation::default();
    let second = first.next().expect("the first is not the last");
    let prefix = storage_prefix(&account, first);
    assert!(storage_key(&prefix, &U256::MAX).starts_with(&prefix));
    assert_ne!(prefix, storage_prefix(&account, second));
    assert_eq!(StorageIncarnation(u64::MAX).next(), None);
}

#[test]
fn columns_are_listed_in_the_order_of_their_discriminants() {
    for (at, column) in Column::ALL.into_iter().enumerate() {
        assert_eq!(column as usize, at, "{}", column.name());
    }
}
