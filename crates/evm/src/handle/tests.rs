//! What an attempt notes of an account is enough: wherever it holds, the same attempt goes the same way.

use proptest::prelude::*;
use ropewalk_engine::{Memory, Position};
use ropewalk_state::{Completeness, MemoryState};

use super::*;
use crate::{AccountDelta, ReaderBase, translate::balance_step};

/// Something that an attempt does with one balance.
#[derive(Debug, Clone, Copy)]
enum Deed {
    /// Pays, if it can.
    Pay(U256),
    /// Is paid, if there is room.
    BePaid(U256),
    /// Looks whether the account is empty.
    LookWhetherEmpty,
    /// Looks at the balance.
    Look,
}

/// What came of a deed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Done(bool),
    Balance(U256),
}

fn amount() -> impl Strategy<Value = U256> {
    (0..12u64).prop_map(U256::from)
}

fn balance() -> impl Strategy<Value = U256> {
    prop_oneof![3 => (0..24u64).prop_map(U256::from), 1 => (0..24u64).prop_map(|less| U256::MAX - U256::from(less))]
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        4 => amount().prop_map(Deed::Pay),
        4 => amount().prop_map(Deed::BePaid),
        1 => Just(Deed::LookWhetherEmpty),
        1 => Just(Deed::Look),
    ];
    proptest::collection::vec(deed, 0..6)
}

/// Does the deeds in order, from a balance; notes what they rely upon where there is a note.
fn act(deeds: &[Deed], from: U256, nonce: u64, mut note: Option<&mut Loaded>) -> (Vec<Found>, U256) {
    let mut balance = from;
    let found = deeds.iter().map(|deed| match *deed {
        Deed::Pay(amount) => {
            if let Some(loaded) = &mut note {
                loaded.observe_covers(balance, amount);
            }
            let left = balance.checked_sub(amount);
            balance = left.unwrap_or(balance);
            Found::Done(left.is_some())
        }
        Deed::BePaid(amount) => {
            if let Some(loaded) = &mut note {
                loaded.observe_room(balance, amount);
            }
            let risen = balance.checked_add(amount);
            balance = risen.unwrap_or(balance);
            Found::Done(risen.is_some())
        }
        Deed::LookWhetherEmpty => {
            let info = AccountInfo { balance, nonce, ..AccountInfo::default() };
            if let Some(loaded) = &mut note {
                loaded.observe_emptiness(&info);
            }
            Found::Done(info.is_empty())
        }
        Deed::Look => {
            if let Some(loaded) = &mut note {
                loaded.observe_balance();
            }
            Found::Balance(balance)
        }
    });
    (found.collect(), balance)
}

fn view() -> View<EvmProgram> {
    let base = ReaderBase::new(Arc::new(MemoryState::new(Completeness::Assumed)));
    View::committed(Arc::new(Memory::new(base, 8)), Position(1), false)
}

fn loaded(mut view: View<EvmProgram>, balance: U256, nonce: u64) -> Loaded {
    let handle = view.handle(&EvmKey::Account(Address::ZERO));
    Loaded::new(handle, true, balance, nonce, KECCAK256_EMPTY, None)
}

fn value(balance: U256, nonce: u64) -> AccountValue {
    AccountValue { exists: true, balance, nonce, ..AccountValue::ABSENT }
}

/// The observation and the delta that an attempt leaves.
fn attempt(deeds: &[Deed], from: U256, nonce: u64) -> (Vec<Found>, AccountObservation, AccountDelta) {
    let mut note = loaded(view(), from, nonce);
    let (found, end) = act(deeds, from, nonce, Some(&mut note));
    let delta = AccountDelta { balance: balance_step(&mut note, end), ..AccountDelta::NONE };
    note.rely_on_room();
    (found, note.observation, delta)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn wherever_the_observation_holds_the_attempt_decides_the_same(
        deeds in deeds(), seen in balance(), true_one in balance(), nonce in 0..2u64,
    ) {
        let (found, observation, delta) = attempt(&deeds, seen, nonce);
        let mut committed = value(true_one, nonce);
        if observation.holds(&committed) && delta.fits(&committed) {
            let (truly_found, truly_left) = act(&deeds, true_one, nonce, None);
            prop_assert_eq!(found, truly_found);
            delta.apply(&mut committed);
            prop_assert_eq!(committed.balance, truly_left);
        }
    }

    #[test]
    fn the_observation_holds_of_what_was_seen(deeds in deeds(), seen in balance(), nonce in 0..2u64) {
        let (_, observation, delta) = attempt(&deeds, seen, nonce);
        prop_assert!(observation.holds(&value(seen, nonce)));
        prop_assert!(delta.fits(&value(seen, nonce)));
    }

    /// Bounds and nothing more: what cannot decide anything else is not held against an attempt.
    #[test]
    fn payments_alone_bear_any_balance_that_decides_them_alike(
        amounts in proptest::collection::vec(amount(), 0..5), seen in 0..40u64, true_one in 0..40u64,
    ) {
        let deeds: Vec<_> = amounts.into_iter().map(Deed::Pay).collect();
        let (seen, true_one) = (U256::from(seen), U256::from(true_one));
        let (found, observation, delta) = attempt(&deeds, seen, 1);
        let alike = found == act(&deeds, true_one, 1, None).0;
        let committed = value(true_one, 1);
        prop_assert_eq!(observation.holds(&committed) && delta.fits(&committed), alike);
    }
}

#[test]
fn an_account_with_a_nonce_is_not_empty_whatever_its_balance() {
    let mut note = loaded(view(), U256::ZERO, 3);
    note.observe_emptiness(&AccountInfo { nonce: 3, ..AccountInfo::default() });
    assert_eq!(note.observation, AccountObservation { bare: Some(false), ..AccountObservation::NONE });
}

#[test]
fn credits_alone_observe_nothing() {
    let (_, observation, delta) =
        attempt(&[Deed::BePaid(U256::from(5)), Deed::BePaid(U256::from(6))], U256::from(1), 0);
    assert_eq!((observation, delta), (AccountObservation::NONE, AccountDelta::credit(U256::from(11))));
}

#[test]
fn passing_on_what_was_paid_observes_only_that_there_was_room() {
    let (_, observation, delta) = attempt(&[Deed::BePaid(U256::from(5)), Deed::Pay(U256::from(5))], U256::ZERO, 0);
    assert_eq!(observation.balance, BalanceRange { least: U256::ZERO, most: U256::MAX - U256::from(5) });
    assert_eq!(delta, AccountDelta::NONE);
}
