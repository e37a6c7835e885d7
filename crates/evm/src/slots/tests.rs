use alloy_primitives::{Bytes, TxKind};

use super::*;

const TOKEN: Address = Address::repeat_byte(0xee);
const CODE: B256 = B256::repeat_byte(0xc0);

fn word(byte: u8) -> U256 {
    Address::repeat_byte(byte).into_word().into()
}

fn call(selector: u8, caller: u8, arguments: &[U256]) -> TxEnv {
    let mut data = vec![selector; 4];
    arguments.iter().for_each(|argument| data.extend(argument.to_be_bytes::<32>()));
    let caller = Address::repeat_byte(caller);
    TxEnv { caller, kind: TxKind::Call(TOKEN), data: Bytes::from(data), ..TxEnv::default() }
}

/// The slot of a mapping's entry, hashed by the worker on the way.
fn entry(hashes: &mut Hashes, key: U256, mapping: U256) -> U256 {
    let input = [key.to_be_bytes::<32>(), mapping.to_be_bytes()];
    hashes.keccak256(input.as_flattened()).into()
}

fn slot(slot: U256) -> EvmKey {
    EvmKey::Slot(TOKEN, slot)
}

#[test]
fn slots_of_a_transfer_are_foreseen_for_other_parties() {
    let (slots, mut hashes) = (CallSlots::new(), Hashes::new());
    let (seen, next) = (call(1, 1, &[word(2), U256::from(5)]), call(1, 3, &[word(4), U256::from(6)]));
    assert_eq!(slots.expected(&CODE, &seen), []);
    let mut balance = |of| slot(entry(&mut hashes, word(of), U256::from(7)));
    let looked_at = [balance(1), balance(2), slot(U256::from(1 << 20))];
    let expected = [balance(3), balance(4), slot(U256::from(1 << 20))];
    assert_eq!(slots.note(&CODE, &seen, &looked_at, &hashes).len(), 3);
    assert_eq!(slots.expected(&CODE, &next), expected);
    assert_eq!(slots.note(&CODE, &next, &expected, &hashes), [], "all of it was foreseen");
    assert_eq!(slots.expected(&CODE, &call(2, 3, &[word(4)])), [], "of another function nothing is known");
    assert_eq!(slots.expected(&CODE, &call(1, 3, &[])), [expected[0], expected[2]], "there is no such argument");
}

#[test]
fn slots_of_mappings_of_mappings_and_behind_a_hash_are_foreseen() {
    let (slots, mut hashes) = (CallSlots::new(), Hashes::new());
    let mut allowance = |owner, spender| {
        let inner = entry(&mut hashes, word(owner), U256::from(1));
        slot(entry(&mut hashes, word(spender), inner) + U256::from(2))
    };
    let (looked_at, expected) = (allowance(2, 1), allowance(4, 3));
    slots.note(&CODE, &call(1, 1, &[word(2)]), &[looked_at], &hashes);
    assert_eq!(slots.expected(&CODE, &call(1, 3, &[word(4)])), [expected]);
}

#[test]
fn slots_of_another_contract_of_the_same_code_are_foreseen_in_that_one() {
    let (slots, mut hashes) = (CallSlots::new(), Hashes::new());
    let seen = call(1, 1, &[]);
    let other = Address::repeat_byte(0xdd);
    let next = TxEnv { kind: TxKind::Call(other), ..call(1, 1, &[]) };
    let held = |of: Address, hashes: &mut Hashes| {
        EvmKey::Slot(Address::repeat_byte(9), entry(hashes, of.into_word().into(), U256::ONE))
    };
    let looked_at = [slot(U256::from(3)), EvmKey::Account(TOKEN), held(TOKEN, &mut hashes)];
    let expected = [EvmKey::Slot(other, U256::from(3)), EvmKey::Account(other), held(other, &mut hashes)];
    slots.note(&CODE, &seen, &looked_at, &hashes);
    assert_eq!(slots.expected(&CODE, &next), expected);
    assert_eq!(slots.expected(&B256::repeat_byte(0xc1), &next), [], "another code");
}

#[test]
fn accounts_that_are_arguments_are_foreseen_and_words_that_are_no_addresses_are_not() {
    let (slots, hashes) = (CallSlots::new(), Hashes::new());
    let account = |byte| EvmKey::Account(Address::repeat_byte(byte));
    slots.note(&CODE, &call(1, 1, &[word(2)]), &[account(2), account(9)], &hashes);
    assert_eq!(slots.expected(&CODE, &call(1, 3, &[word(4)])), [account(4), account(9)]);
    assert_eq!(slots.expected(&CODE, &call(1, 3, &[U256::MAX])), [account(9)]);
}

#[test]
fn small_numbers_are_a_contracts_own_even_where_an_argument_is_the_same() {
    let (slots, hashes) = (CallSlots::new(), Hashes::new());
    slots.note(&CODE, &call(1, 1, &[U256::from(3)]), &[slot(U256::from(3))], &hashes);
    assert_eq!(slots.expected(&CODE, &call(1, 1, &[U256::from(4)])), [slot(U256::from(3))]);
}

#[test]
fn what_is_known_of_a_function_is_bounded_and_ages() {
    let (slots, hashes) = (CallSlots::new(), Hashes::new());
    let many: Vec<_> = (0..2 * MOST_SITES as u64).map(|at| slot(U256::from(at))).collect();
    let tx = call(1, 1, &[]);
    assert_eq!(slots.note(&CODE, &tx, &many, &hashes).len(), MOST_SITES);
    for _ in 0..=MOST_USES {
        assert_eq!(slots.expected(&CODE, &tx), many[..MOST_SITES]);
    }
    assert_eq!(slots.expected(&CODE, &tx), []);
    slots.note(&CODE, &tx, &many[..1], &hashes);
    slots.forget();
    assert_eq!(slots.expected(&CODE, &tx), []);
}
