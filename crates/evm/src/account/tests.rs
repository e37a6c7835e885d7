//! Laws of values, deltas and observations, on accounts small enough to meet every case.

use proptest::prelude::*;

use super::*;

/// Amounts near nothing, and near all there can be.
fn amount() -> impl Strategy<Value = U256> {
    prop_oneof![4 => (0..6u64).prop_map(U256::from), 1 => (0..6u64).prop_map(|less| U256::MAX - U256::from(less))]
}

fn hash() -> impl Strategy<Value = B256> {
    prop_oneof![Just(KECCAK256_EMPTY), Just(B256::repeat_byte(1)), Just(B256::repeat_byte(2))]
}

prop_compose! {
    /// What is not empty exists.
    fn value()(
        exists: bool, balance in amount(), nonce in 0..3u64, code_hash in hash(), destroyed: bool,
    ) -> AccountValue {
        let value = AccountValue { exists, balance, nonce, code_hash, code: None, destroyed };
        AccountValue { exists: exists || !value.is_empty(), ..value }
    }
}

fn step() -> impl Strategy<Value = BalanceStep> {
    prop_oneof![
        Just(BalanceStep::Keep),
        amount().prop_map(BalanceStep::Credit),
        amount().prop_map(BalanceStep::Debit),
        amount().prop_map(BalanceStep::Set),
    ]
}

prop_compose! {
    fn delta()(
        balance in step(),
        nonce in proptest::option::of(0..3u64),
        code in proptest::option::of(hash().prop_map(|hash| NewCode::new(hash, None))),
        existence in prop_oneof![Just(Existence::Derived), Just(Existence::Present), Just(Existence::Absent)],
        clears_storage: bool,
    ) -> AccountDelta {
        AccountDelta { balance, nonce, code, existence, clears_storage }
    }
}

prop_compose! {
    fn observation()(
        bounds in proptest::option::of((amount(), amount())),
        nonce in proptest::option::of(0..3u64),
        code_hash in proptest::option::of(hash()),
        bare in proptest::option::of(any::<bool>()),
        exists in proptest::option::of(any::<bool>()),
    ) -> AccountObservation {
        let balance = bounds.map_or(BalanceRange::ANY, |(one, other)| {
            BalanceRange { least: one.min(other), most: one.max(other) }
        });
        AccountObservation { balance, nonce, code_hash, bare, exists }
    }
}

fn applied(delta: &AccountDelta, value: &AccountValue) -> AccountValue {
    let mut value = value.clone();
    delta.apply(&mut value);
    value
}

/// The fields in which two values differ.
fn different(one: &AccountValue, other: &AccountValue) -> Fields {
    let fields = [
        (one.balance != other.balance, field::BALANCE),
        (one.nonce != other.nonce, field::NONCE),
        (one.code_hash != other.code_hash, field::CODE),
        (one.exists != other.exists, field::EXISTENCE),
    ];
    fields.into_iter().filter(|(differs, _)| *differs).fold(0, |fields, (_, field)| fields | field)
}

proptest! {
    #[test]
    fn what_is_observed_exactly_holds_of_the_value_and_of_none_that_differs(one in value(), other in value()) {
        let exact = AccountObservation::exact(&one);
        prop_assert!(exact.holds(&one));
        prop_assert_eq!(exact.holds(&other), different(&one, &other) == 0);
    }

    /// A write that touches none of an observation's fields leaves it as it is: nobody has to look again.
    #[test]
    fn a_delta_that_shares_no_field_with_an_observation_does_not_change_it(
        value in value(), delta in delta(), observation in observation(),
    ) {
        if delta.fields() & observation.fields() == 0 {
            prop_assert_eq!(observation.holds(&value), observation.holds(&applied(&delta, &value)), "{:?}", value);
        }
    }

    #[test]
    fn a_delta_changes_no_field_but_its_own_and_existence(value in value(), delta in delta()) {
        let changed = different(&value, &applied(&delta, &value));
        prop_assert_eq!(changed & !(delta.fields() | field::EXISTENCE), 0);
    }

    #[test]
    fn steps_that_fit_in_any_order_commute(value in value(), one in step(), other in step()) {
        let is_step = |step: &BalanceStep| !matches!(step, BalanceStep::Set(_));
        prop_assume!(is_step(&one) && is_step(&other));
        let [one, other] = [one, other].map(|balance| AccountDelta { balance, ..AccountDelta::NONE });
        let fits_after = |first: &AccountDelta, second: &AccountDelta| second.fits(&applied(first, &value));
        if one.fits(&value) && other.fits(&value) && fits_after(&one, &other) && fits_after(&other, &one) {
            let orders = [(&one, &other), (&other, &one)].map(|(first, second)| applied(second, &applied(first, &value)));
            prop_assert_eq!(orders[0].balance, orders[1].balance);
        }
    }

    #[test]
    fn whatever_is_not_empty_after_a_derived_delta_exists(value in value(), delta in delta()) {
        let after = applied(&AccountDelta { existence: Existence::Derived, ..delta }, &value);
        prop_assert!(after.exists || after.is_empty());
    }
}

#[test]
fn a_destroyed_account_that_is_paid_is_there_again_and_known_to_have_been_destroyed() {
    let rich = AccountValue { exists: true, balance: U256::from(9), nonce: 4, ..AccountValue::ABSENT };
    let gone = applied(&AccountDelta::DESTROY, &rich);
    assert_eq!((gone.account(), gone.destroyed, gone.is_empty()), (None, true, true));
    let back = applied(&AccountDelta::credit(U256::from(2)), &gone);
    assert_eq!(back.account(), Some(Account { balance: U256::from(2), ..Account::EMPTY }));
    assert!(back.destroyed);
}

#[test]
fn a_credit_fits_when_there_is_room_for_it() {
    let nearly_full = AccountValue { exists: true, balance: U256::MAX - U256::from(5), ..AccountValue::ABSENT };
    assert!(AccountDelta::credit(U256::from(5)).fits(&nearly_full));
    assert!(!AccountDelta::credit(U256::from(6)).fits(&nearly_full));
}

#[test]
fn before_eip161_an_empty_account_is_made_present_and_stays_so() {
    let touched = AccountDelta { existence: Existence::Present, ..AccountDelta::NONE };
    let there = applied(&touched, &AccountValue::ABSENT);
    assert_eq!(there.account(), Some(Account::EMPTY));
    assert_eq!(applied(&AccountDelta::NONE, &there), there);
}
