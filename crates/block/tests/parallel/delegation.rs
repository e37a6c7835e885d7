//! Trap 5: accounts that delegate to code (EIP-7702), and what authorizations do to senders of later transactions.

use alloy_primitives::{Address, U256};
use revm::{bytecode::opcode as op, context_interface::result::InvalidTransaction};
use ropewalk_block::TransactionFault;

use crate::{
    assembler::{CallKind, Code},
    case::{Case, check, check_invalid},
    transaction::{Tx, authorization, call, create, pay},
    world::*,
};

/// Accounts that authorize and need not be there.
const AUTHORITY: Address = Address::repeat_byte(0x7a);
const OTHER: Address = Address::repeat_byte(0x7b);

fn forks() -> impl Iterator<Item = Fork> {
    Fork::Prague.onwards()
}

/// A world with two contracts to delegate to: each counts in its own slot and says who it is.
fn world() -> World {
    let counting = |slot| Code::new().increment(slot).push(slot).log_top().sload(slot).log_top();
    World::new().contract(FIRST, &counting(1)).contract(SECOND, &counting(2))
}

/// A transaction that does nothing but let `authority` delegate.
fn delegate(sender: Address, authority: Address, nonce: u64, target: Address) -> Tx {
    call(sender, NOBODY).authorizing([authorization(authority, nonce, target)])
}

fn words<const N: usize>(words: [u64; N]) -> Vec<U256> {
    words.into_iter().map(U256::from).collect()
}

#[test]
fn a_delegated_account_runs_its_delegates_code_on_its_own_storage() {
    for fork in forks() {
        let transactions =
            [call(BOB, AUTHORITY), delegate(ALICE, AUTHORITY, 0, FIRST), call(BOB, AUTHORITY), call(CAROL, AUTHORITY)];
        let checked = check(fork, &world(), &transactions).somebody_conflicts();
        assert_eq!(
            [0, 2, 3].map(|index| checked.logged(index)),
            [words([]), words([1, 1]), words([1, 2])].map(Vec::from)
        );
        assert_eq!((checked.slot(AUTHORITY, 1), checked.slot(FIRST, 1)), (U256::from(2), U256::ZERO));
    }
}

/// Code that is there is replaced by other code: not only code that appears is news.
#[test]
fn a_new_delegation_replaces_the_old_one_and_storage_survives_it() {
    for fork in forks() {
        let world = world().delegated(AUTHORITY, 3, FIRST).slot(AUTHORITY, 1, 10);
        let transactions = [
            call(BOB, AUTHORITY),
            delegate(ALICE, AUTHORITY, 3, SECOND),
            call(BOB, AUTHORITY),
            delegate(ALICE, AUTHORITY, 4, FIRST),
            call(CAROL, AUTHORITY),
        ];
        let checked = check(fork, &world, &transactions).somebody_conflicts();
        assert_eq!([0, 2, 4].map(|index| checked.logged(index)), [words([1, 11]), words([2, 1]), words([1, 12])]);
    }
}

#[test]
fn clearing_a_delegation_leaves_no_code() {
    let look = Code::new().address(AUTHORITY).op(op::EXTCODESIZE).log_top();
    let look = look.address(AUTHORITY).op(op::EXTCODEHASH).log_top();
    for fork in forks() {
        let world = world().delegated(AUTHORITY, 3, FIRST).contract(THIRD, &look);
        let transactions =
            [call(BOB, THIRD), delegate(ALICE, AUTHORITY, 3, Address::ZERO), call(CAROL, AUTHORITY), call(BOB, THIRD)];
        let checked = check(fork, &world, &transactions).somebody_conflicts();
        assert_eq!(
            (checked.logged(0)[0], checked.logged(2), checked.logged(3)[0]),
            (U256::from(23), vec![], U256::ZERO)
        );
        assert!(!checked.account(AUTHORITY).expect("there").has_code());
    }
}

#[test]
fn a_delegation_is_made_and_cleared_in_one_transaction() {
    for fork in forks() {
        let both = [authorization(AUTHORITY, 0, FIRST), authorization(AUTHORITY, 1, Address::ZERO)];
        let checked = check(fork, &world(), &[call(ALICE, AUTHORITY).authorizing(both), call(BOB, AUTHORITY)]);
        assert_eq!((checked.logged(0), checked.account(AUTHORITY).expect("there").nonce), (vec![], 2));
        let twice = [authorization(AUTHORITY, 0, FIRST), authorization(AUTHORITY, 1, SECOND)];
        let checked = check(fork, &world(), &[call(ALICE, AUTHORITY).authorizing(twice), call(BOB, AUTHORITY)]);
        assert_eq!([0, 1].map(|index| checked.logged(index)), [words([2, 1]), words([2, 2])]);
    }
}

/// The transaction counts the nonce once, its authorization once more.
#[test]
fn a_self_sponsored_authorization_moves_the_senders_nonce_by_two() {
    for fork in forks() {
        let transactions = [
            delegate(ALICE, ALICE, 1, FIRST),
            pay(ALICE, NOBODY, 1).nonce(2),
            call(BOB, ALICE),
            delegate(ALICE, ALICE, 4, SECOND).nonce(3),
            pay(ALICE, NOBODY, 1).nonce(5),
            call(BOB, ALICE),
        ];
        let checked = check(fork, &world(), &transactions).somebody_conflicts();
        assert_eq!(checked.account(ALICE).expect("there").nonce, 6);
        assert_eq!([2, 5].map(|index| checked.logged(index)), [words([1, 1]), words([2, 1])]);
    }
}

#[test]
fn somebody_elses_authorization_moves_the_nonce_of_a_later_sender() {
    for fork in forks() {
        let delegation = delegate(ALICE, CAROL, 0, FIRST);
        check(fork, &world(), &[delegation.clone(), pay(CAROL, NOBODY, 1).nonce(1)]).somebody_conflicts();
        let (index, fault) = check_invalid(fork, &world(), &[delegation.clone(), pay(CAROL, NOBODY, 1).nonce(0)]);
        let fault_expected = TransactionFault::Invalid(InvalidTransaction::NonceTooLow { tx: 0, state: 1 });
        assert_eq!((index, fault), (1, fault_expected));
        // Without the authorization, which comes too late, the nonce is too high.
        let (index, _) = check_invalid(fork, &world(), &[pay(CAROL, NOBODY, 1).nonce(1), delegation]);
        assert_eq!(index, 0);
    }
}

#[test]
fn a_builder_skips_whom_somebody_elses_authorization_has_overtaken_and_goes_on() {
    for fork in forks() {
        let transactions = [
            delegate(ALICE, CAROL, 0, FIRST),
            pay(CAROL, NOBODY, 1).nonce(0),
            pay(CAROL, NOBODY, 2).nonce(1),
            pay(BOB, CAROL, 4).gas(200_000),
        ];
        let checked = Case::new(fork, &world(), &transactions).skipping().check();
        assert_eq!(checked.outcome.skipped.iter().map(|skipped| skipped.index).collect::<Vec<_>>(), [1]);
        assert_eq!(checked.balance(NOBODY), U256::from(2));
    }
}

/// A delegated account that creates a contract has its own nonce moved by whoever called it.
#[test]
fn a_creation_by_a_delegated_account_moves_its_nonce_as_a_sender() {
    let creating = Code::new().create(&Code::new().log(3), 0).log_top();
    for fork in forks() {
        let world = world().contract(THIRD, &creating).delegated(CAROL, 4, THIRD);
        check(fork, &world, &[call(ALICE, CAROL), pay(CAROL, NOBODY, 1).nonce(5)]).somebody_conflicts();
        let (index, _) = check_invalid(fork, &world, &[call(ALICE, CAROL), pay(CAROL, NOBODY, 1).nonce(4)]);
        assert_eq!(index, 1);
        let checked = check(fork, &world, &[call(CAROL, CAROL), create(CAROL, &Code::new().log(1)).nonce(6)]);
        assert_eq!(checked.account(CAROL).expect("there").nonce, 7);
    }
}

#[test]
fn a_delegated_account_sends_and_is_paid_like_any_other() {
    for fork in forks() {
        let world = world().delegated(CAROL, 4, FIRST);
        let transactions = [
            pay(CAROL, NOBODY, 5),
            pay(ALICE, CAROL, 6).gas(200_000),
            pay(CAROL, CAROL, 7).gas(200_000),
            call(BOB, CAROL),
        ];
        let checked = check(fork, &world, &transactions);
        assert_eq!(checked.slot(CAROL, 1), U256::from(3));
    }
}

#[test]
fn a_delegated_account_loses_its_money_to_whoever_its_code_pays() {
    let giving = Code::new().call(CallKind::Call, NOBODY, RICH - ETHER).log_top();
    for fork in forks() {
        let world = world().contract(THIRD, &giving);
        let poor = pay(CAROL, NOBODY, 2 * ETHER).nonce(1);
        let transactions = [delegate(ALICE, CAROL, 0, THIRD), call(BOB, CAROL)];
        let checked = check(fork, &world, &[transactions.to_vec(), vec![pay(CAROL, NOBODY, 5).nonce(1)]].concat());
        assert_eq!(checked.logged(1), words([1]));
        let (index, _) = check_invalid(fork, &world, &[transactions.to_vec(), vec![poor.clone()]].concat());
        assert_eq!(index, 2);
        check(fork, &world, &[delegate(ALICE, CAROL, 0, THIRD), poor, call(BOB, CAROL)]);
    }
}

/// An authority that is there gets a part of the authorization's price back.
#[test]
fn the_refund_for_an_authority_hangs_on_its_existence() {
    for fork in forks() {
        let (first, second) = (delegate(ALICE, AUTHORITY, 0, FIRST), delegate(BOB, OTHER, 0, FIRST));
        let transactions = [first, pay(CAROL, OTHER, 1), second];
        let checked = check(fork, &world(), &transactions).somebody_conflicts();
        // The refund is bounded by a fifth of the gas.
        assert!(checked.gas_used(0) > checked.gas_used(2), "{} {}", checked.gas_used(0), checked.gas_used(2));
    }
}

#[test]
fn authorizations_that_do_not_fit_are_passed_over() {
    for fork in forks() {
        let wrong = [
            authorization(AUTHORITY, 1, FIRST),
            authorization(AUTHORITY, u64::MAX, FIRST),
            authorization(THIRD, 1, FIRST),
            authorization(BOB, 6, FIRST),
            authorization(BOB, 8, FIRST),
        ];
        let world = world().contract(THIRD, &Code::new().log(9));
        let transactions =
            [call(ALICE, NOBODY).authorizing(wrong), pay(BOB, NOBODY, 1), call(CAROL, AUTHORITY), call(DAVE, THIRD)];
        let checked = check(fork, &world, &transactions);
        assert_eq!((checked.account(AUTHORITY), checked.logged(3)), (None, words([9])));
    }
}

#[test]
fn an_authorization_fits_because_a_lower_transaction_has_moved_the_nonce() {
    for fork in forks() {
        let transactions =
            [pay(BOB, NOBODY, 1), delegate(ALICE, BOB, 8, FIRST), call(CAROL, BOB), pay(BOB, NOBODY, 1).nonce(9)];
        let checked = check(fork, &world(), &transactions).somebody_conflicts();
        assert_eq!(checked.logged(2), words([1, 1]));
    }
}

#[test]
fn authorizations_outlive_the_failure_of_their_transaction() {
    for fork in forks() {
        let world = world().contract(THIRD, &Code::new().revert());
        let failing = call(ALICE, THIRD).authorizing([authorization(AUTHORITY, 0, FIRST)]);
        let checked = check(fork, &world, &[failing, call(BOB, AUTHORITY)]).somebody_conflicts();
        assert_eq!((checked.successes(), checked.logged(1)), (vec![false, true], words([1, 1])));
    }
}

#[test]
fn a_delegation_to_what_a_lower_transaction_creates_runs_it() {
    let init = Code::new().deploying(&Code::new().log(5));
    for fork in forks() {
        let created = BOB.create(7);
        let transactions = [delegate(ALICE, AUTHORITY, 0, created), create(BOB, &init), call(CAROL, AUTHORITY)];
        let checked = check(fork, &world(), &transactions).somebody_conflicts();
        assert_eq!(checked.logged(2), words([5]));
    }
}

#[test]
fn a_delegation_to_a_delegated_account_or_to_itself_runs_nothing() {
    for fork in forks() {
        let world = world().delegated(CAROL, 4, FIRST);
        let transactions = [
            delegate(ALICE, AUTHORITY, 0, CAROL),
            call(BOB, AUTHORITY),
            delegate(ALICE, OTHER, 0, OTHER),
            call(BOB, OTHER),
            delegate(ALICE, CAROL, 4, Address::with_last_byte(2)),
            call(BOB, CAROL),
        ];
        check(fork, &world, &transactions);
    }
}

#[test]
fn contracts_call_delegated_accounts_in_every_way() {
    let ask = |kind| Code::new().call(kind, AUTHORITY, 0).log_top();
    let all = ask(CallKind::Call).then(ask(CallKind::CallCode)).then(ask(CallKind::DelegateCall));
    let all = all.then(ask(CallKind::StaticCall));
    for fork in forks() {
        let world = world().contract(THIRD, &all);
        let transactions = [
            call(BOB, THIRD),
            delegate(ALICE, AUTHORITY, 0, FIRST),
            call(BOB, THIRD),
            delegate(ALICE, AUTHORITY, 1, SECOND),
            call(BOB, THIRD),
            delegate(ALICE, AUTHORITY, 2, Address::ZERO),
            call(BOB, THIRD),
        ];
        check(fork, &world, &transactions).somebody_conflicts();
    }
}

#[test]
fn a_delegated_account_that_destroys_itself_gives_its_money_away_and_stays() {
    for fork in forks() {
        let world = world().contract(THIRD, &Code::new().destroy(NOBODY)).delegated(CAROL, 4, THIRD);
        let checked = check(fork, &world, &[call(ALICE, CAROL), call(BOB, CAROL), pay(ALICE, CAROL, 5).gas(200_000)]);
        assert_eq!(checked.balance(NOBODY), U256::from(RICH + 5));
        assert!(checked.account(CAROL).expect("there").has_code());
    }
}

#[test]
fn the_beneficiary_is_delegated() {
    let giving = Code::new().op(op::SELFBALANCE).pay_top(NOBODY).log_top();
    for fork in forks() {
        let world = world().contract(THIRD, &giving);
        let transactions = [
            pay(ALICE, NOBODY, 1),
            delegate(ALICE, MINER, 0, THIRD),
            pay(BOB, NOBODY, 1),
            call(CAROL, MINER),
            pay(DAVE, NOBODY, 1),
        ];
        check(fork, &world, &transactions).somebody_conflicts();
    }
}
