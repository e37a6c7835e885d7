//! Changesets come back as they went, and no bytes can make the decoder panic or take memory that is not there.

use alloy_primitives::KECCAK256_EMPTY;
use proptest::{collection::vec, option, prelude::*};

use super::*;

fn any_word() -> impl Strategy<Value = U256> {
    (any::<[u8; 32]>(), 0_usize..=256).prop_map(|(bytes, shift)| U256::from_be_bytes(bytes).wrapping_shr(shift))
}

prop_compose! {
    fn any_account()(nonce: u64, balance in any_word(), code in option::of(any::<[u8; 32]>())) -> Account {
        Account { nonce, balance, code_hash: code.map_or(KECCAK256_EMPTY, B256::new) }
    }
}

prop_compose! {
    fn any_former()(
        address: [u8; 20],
        account in option::of(option::of(any_account())),
        incarnation in option::of(any::<[u8; 8]>()),
        slots in vec((any_word(), any_word()), 0..5),
    ) -> FormerAccount {
        let incarnation = incarnation.map(StorageIncarnation::from_raw);
        FormerAccount { address: Address::new(address), account, incarnation, slots }
    }
}

prop_compose! {
    fn any_changeset()(
        dropped_hash in option::of(any::<[u8; 32]>()),
        codes in vec(any::<[u8; 32]>(), 0..3),
        accounts in vec(any_former(), 0..5),
    ) -> Changeset {
        let codes = codes.into_iter().map(B256::new).collect();
        Changeset { dropped_hash: dropped_hash.map(B256::new), codes, accounts }
    }
}

proptest! {
    #[test]
    fn changeset_comes_back_as_it_went(changeset in any_changeset()) {
        prop_assert_eq!(Changeset::decode(&changeset.encode()), Ok(changeset));
    }

    #[test]
    fn any_bytes_are_refused_or_are_the_one_form_of_a_changeset(bytes in vec(any::<u8>(), 0..200)) {
        if let Ok(changeset) = Changeset::decode(&bytes) {
            prop_assert_eq!(changeset.encode(), bytes);
        }
    }

    #[test]
    fn damaged_changeset_is_refused_or_is_the_one_form_of_another(
        changeset in any_changeset(), at: prop::sample::Index, with: u8,
    ) {
        let mut bytes = changeset.encode();
        let at = at.index(bytes.len());
        bytes[at] = with;
        if let Ok(changeset) = Changeset::decode(&bytes) {
            prop_assert_eq!(changeset.encode(), bytes);
        }
    }

    #[test]
    fn cut_changeset_is_refused(changeset in any_changeset(), at: prop::sample::Index) {
        let bytes = changeset.encode();
        prop_assert!(Changeset::decode(&bytes[..at.index(bytes.len())]).is_err());
    }
}

#[test]
fn announced_and_missing_parts_take_no_memory() {
    let bytes = [&[0][..], &u32::MAX.to_be_bytes(), &[0; 64]].concat();
    assert!(matches!(Changeset::decode(&bytes), Err(DecodeError::Length { .. })));
}

#[test]
fn account_that_existed_and_does_not_differ_is_refused() {
    let former = FormerAccount { address: Address::ZERO, account: None, incarnation: None, slots: Vec::new() };
    let mut bytes = Changeset { accounts: vec![former], ..Changeset::default() }.encode();
    let header = 1 + 4 + 4 + 20;
    bytes[header] = EXISTED;
    assert_eq!(Changeset::decode(&bytes), Err(DecodeError::Header(EXISTED)));
}
