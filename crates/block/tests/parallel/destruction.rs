//! Traps 2, 3 and 12: contracts that are destroyed, before and after EIP-6780, and what comes to their addresses later.

use alloy_primitives::{Address, U256};
use revm::bytecode::opcode as op;

use crate::{
    assembler::{CallKind, Code, create2_address},
    case::check,
    transaction::{Tx, call, create, pay},
    world::*,
};

const SALT: u64 = 77;

/// What the phoenix does, by the first byte of its input; without input it takes money.
pub(crate) mod command {
    pub(crate) const DIE: u8 = 1;
    pub(crate) const COUNT: u8 = 2;
    pub(crate) const TELL: u8 = 3;
}

/// A contract that counts in slot 0, tells its count and its slot 5, and dies.
fn phoenix() -> Code {
    Code::new()
        .on_input(command::DIE, Code::new().destroy(DAVE))
        .on_input(command::COUNT, Code::new().increment(0))
        .on_input(command::TELL, Code::new().sload(0).log_top().sload(5).log_top())
}

fn egg() -> Code {
    Code::new().sstore(0, 100).deploying(&phoenix())
}

/// Where the nest lays the egg.
pub(crate) fn bird() -> Address {
    create2_address(FIRST, SALT, &egg())
}

/// A world with a nest: a contract that lays the egg when it is called.
fn nest() -> World {
    World::new().contract(FIRST, &Code::new().create2(&egg(), 0, SALT).log_top())
}

/// A world in which the bird is there already, with storage of its own.
pub(crate) fn hatched() -> World {
    nest().funded(bird(), 50, &phoenix()).slot(bird(), 0, 7).slot(bird(), 5, 9)
}

pub(crate) fn lay(sender: Address) -> Tx {
    call(sender, FIRST)
}

pub(crate) fn tell(sender: Address, command: u8) -> Tx {
    call(sender, bird()).input([command])
}

pub(crate) fn die(sender: Address) -> Tx {
    tell(sender, command::DIE)
}

fn told(numbers: [u64; 2]) -> Vec<U256> {
    numbers.into_iter().map(U256::from).collect()
}

/// Forks in which there is CREATE2 and any contract can be destroyed for good.
fn mortal() -> impl Iterator<Item = Fork> {
    Fork::Petersburg.onwards().filter(|fork| *fork < Fork::Cancun)
}

#[test]
fn a_contract_that_is_destroyed_and_laid_again_starts_with_empty_storage() {
    let transactions = [tell(ALICE, command::COUNT), die(BOB), lay(ALICE), tell(CAROL, command::TELL)];
    for fork in mortal() {
        let checked = check(fork, &hatched(), &transactions).somebody_conflicts();
        assert_eq!(checked.logged(3), told([100, 0]), "{fork:?}");
        assert!(checked.outcome.changes.account(&bird()).is_some_and(|change| change.storage_cleared));
    }
    for fork in Fork::Cancun.onwards() {
        let checked = check(fork, &hatched(), &transactions);
        assert_eq!((checked.logged(2), checked.logged(3)), (vec![U256::ZERO], told([8, 9])), "{fork:?}");
    }
}

#[test]
fn a_contract_is_laid_and_destroyed_again_and_again() {
    let round = [lay(ALICE), tell(BOB, command::COUNT), tell(CAROL, command::TELL), die(DAVE)];
    let transactions = [round.clone(), round.clone(), round].concat();
    for fork in mortal() {
        let checked = check(fork, &nest(), &transactions).somebody_conflicts();
        assert_eq!([2, 6, 10].map(|index| checked.logged(index)), [101, 101, 101].map(|count| told([count, 0])));
        assert_eq!(checked.account(bird()), None);
    }
    for fork in Fork::Cancun.onwards() {
        let checked = check(fork, &nest(), &transactions);
        assert_eq!([2, 6, 10].map(|index| checked.logged(index)), [101, 102, 103].map(|count| told([count, 0])));
    }
}

#[test]
fn a_contract_ends_a_block_laid_again_after_several_deaths() {
    for fork in Fork::Petersburg.onwards() {
        let transactions =
            [die(ALICE), lay(BOB), die(CAROL), lay(DAVE), tell(ALICE, command::COUNT), die(BOB), lay(CAROL)];
        check(fork, &hatched(), &transactions);
        check(fork, &nest(), &transactions);
    }
}

#[test]
fn a_destroyed_contract_is_called_without_effect_and_destroyed_only_once() {
    let transactions = [die(ALICE), die(BOB), tell(CAROL, command::TELL), tell(DAVE, command::COUNT)];
    for fork in mortal() {
        let checked = check(fork, &hatched(), &transactions).somebody_conflicts();
        assert_eq!((checked.logged(2), checked.account(bird())), (vec![], None));
    }
    for fork in Fork::Cancun.onwards() {
        let checked = check(fork, &hatched(), &transactions);
        assert_eq!((checked.logged(2), checked.slot(bird(), 0)), (told([7, 9]), U256::from(8)));
    }
}

#[test]
fn a_payment_to_a_destroyed_contract_makes_a_plain_account() {
    let look = Code::new().balance(bird()).log_top().address(bird()).op(op::EXTCODESIZE).log_top();
    let world = hatched().contract(SECOND, &look);
    let transactions = [die(ALICE), pay(BOB, bird(), 6), call(CAROL, SECOND)];
    for fork in mortal() {
        let checked = check(fork, &world, &transactions).somebody_conflicts();
        assert_eq!(checked.logged(2), told([6, 0]), "{fork:?}");
        let account = checked.account(bird()).expect("it was paid");
        assert_eq!((account.nonce, account.balance, account.has_code()), (0, U256::from(6), false));
        assert_eq!(checked.slot(bird(), 5), U256::ZERO);
    }
    for fork in Fork::Cancun.onwards() {
        check(fork, &world, &transactions);
    }
}

#[test]
fn a_payment_before_and_after_the_destruction_goes_to_the_heir_and_to_the_address() {
    let transactions =
        [pay(ALICE, bird(), 4), die(BOB), pay(CAROL, bird(), 5), lay(ALICE), die(BOB), pay(CAROL, bird(), 1)];
    for fork in Fork::Petersburg.onwards() {
        check(fork, &hatched(), &transactions);
        check(fork, &nest(), &transactions);
    }
}

#[test]
fn eip6780_a_contract_destroyed_in_the_transaction_that_creates_it_is_gone_in_every_fork() {
    // The creator lays the egg, talks to the bird and lets it die, all in one transaction.
    let order = |command: u8| {
        let call = Code::new().push(U256::from(command) << 248).push(0).op(op::MSTORE);
        let call = call.push(0).push(0).push(1).push(0).push(0).address(create2_address(SECOND, SALT, &egg()));
        call.push(100_000).op(op::CALL).op(op::POP)
    };
    let creator = Code::new().create2(&egg(), 0, SALT).log_top().then(order(command::COUNT));
    let creator = creator.then(order(command::TELL)).then(order(command::DIE)).then(order(command::TELL));
    let world = World::new().contract(SECOND, &creator);
    let bird = create2_address(SECOND, SALT, &egg());
    for fork in Fork::Petersburg.onwards() {
        // Twice, so that the second finds the address free again, and once more with money on it.
        let transactions = [call(ALICE, SECOND), call(BOB, SECOND), pay(CAROL, bird, 9), call(DAVE, SECOND)];
        let checked = check(fork, &world, &transactions);
        assert_eq!(checked.account(bird), None, "{fork:?}");
        assert_eq!([0, 1, 3].map(|index| checked.logged(index).len()), [5, 5, 5], "{fork:?}");
    }
}

#[test]
fn eip6780_created_in_this_block_is_not_created_in_this_transaction() {
    let transactions = [lay(ALICE), tell(BOB, command::COUNT), die(CAROL), tell(ALICE, command::TELL)];
    for fork in Fork::Cancun.onwards() {
        let checked = check(fork, &nest(), &transactions).somebody_conflicts();
        assert_eq!(checked.logged(3), told([101, 0]));
    }
}

/// A contract of which the code is another each time it is laid (a metamorphic contract).
#[test]
fn a_metamorphic_contract_runs_the_code_it_was_last_laid_with() {
    let (mask, other) = (Address::repeat_byte(0x71), Address::repeat_byte(0x72));
    // Init code that asks its creator what to become.
    let init = Code::new()
        .push(32)
        .push(0)
        .push(0)
        .push(0)
        .push(0)
        .op(op::CALLER)
        .push(50_000)
        .op(op::CALL)
        .op(op::POP)
        .push(0)
        .op(op::MLOAD)
        .op(op::EXTCODESIZE)
        .op(op::DUP1)
        .push(0)
        .push(0)
        .push(0)
        .op(op::MLOAD)
        .op(op::EXTCODECOPY)
        .push(0)
        .op(op::RETURN);
    let changing = create2_address(THIRD, SALT, &init);
    let answer = Code::new().sload(0).push(0).op(op::MSTORE).push(32).push(0).op(op::RETURN);
    let lay = Code::new().op(op::CALLDATASIZE).op(op::ISZERO).when(answer).push(0).op(op::CALLDATALOAD).store(0);
    let lay = lay.create2(&init, 0, SALT).log_top();
    let dying = |word: u64| Code::new().sload(0).log_top().sstore(0, word).push(word).log_top().destroy(DAVE);
    let world = World::new().contract(THIRD, &lay).contract(mask, &dying(1)).contract(other, &dying(2));
    let become_like = |sender, model: Address| call(sender, THIRD).input(model.into_word());
    for fork in Fork::Petersburg.onwards() {
        let transactions = [
            become_like(ALICE, mask),
            call(BOB, changing),
            become_like(CAROL, other),
            call(DAVE, changing),
            become_like(ALICE, mask),
            call(BOB, changing),
        ];
        let checked = check(fork, &world, &transactions).somebody_conflicts();
        if fork < Fork::Cancun {
            assert_eq!([1, 3, 5].map(|index| checked.logged(index)), [1, 2, 1].map(|word| told([0, word])), "{fork:?}");
        }
    }
}

/// Trap 3: what is learnt from a destroyed account is an observation too.
#[test]
fn nothing_read_of_a_destroyed_contract_is_taken_for_granted_when_it_comes_back() {
    let look = Code::new().call(CallKind::Call, bird(), 0).log_top();
    let look = look.balance(bird()).log_top().address(bird()).op(op::EXTCODEHASH).log_top();
    let world = hatched().contract(SECOND, &look);
    for fork in Fork::Petersburg.onwards() {
        for transactions in [
            vec![die(ALICE), call(BOB, SECOND)],
            vec![die(ALICE), lay(BOB), call(CAROL, SECOND)],
            vec![die(ALICE), lay(BOB), tell(ALICE, command::COUNT), tell(CAROL, command::TELL), call(DAVE, SECOND)],
            vec![die(ALICE), pay(BOB, bird(), 1), lay(CAROL), call(DAVE, SECOND), tell(ALICE, command::TELL)],
        ] {
            check(fork, &world, &transactions);
        }
    }
}

#[test]
fn destruction_in_favour_of_oneself_of_nobody_and_of_another_that_dies_too() {
    let itself = Code::new().op(op::ADDRESS).op(op::SELFDESTRUCT);
    for fork in Fork::ALL {
        let world = World::new()
            .funded(FIRST, 5, &itself)
            .funded(SECOND, 6, &Code::new().destroy(THIRD))
            .funded(THIRD, 7, &Code::new().destroy(NOBODY))
            .contract(NEWCOMER, &Code::new().destroy(Address::repeat_byte(0xee)));
        let transactions = [call(ALICE, FIRST).value(1), call(BOB, SECOND), call(CAROL, THIRD), call(DAVE, NEWCOMER)];
        check(fork, &world, &transactions);
        let reversed = [call(CAROL, THIRD), call(BOB, SECOND), call(ALICE, FIRST).value(1), call(DAVE, SECOND)];
        check(fork, &world, &reversed);
    }
}

#[test]
fn a_contract_destroyed_twice_in_one_transaction_and_paid_between() {
    let twice = Code::new().pay(SECOND, 0).pay(SECOND, 3).pay(SECOND, 0).balance(SECOND).log_top();
    for fork in Fork::ALL {
        let world = World::new().funded(FIRST, 50, &twice).funded(SECOND, 5, &Code::new().destroy(NOBODY));
        check(fork, &world, &[pay(ALICE, FIRST, 1).gas(500_000), call(BOB, FIRST), pay(CAROL, SECOND, 2)]);
    }
}

#[test]
fn a_destruction_that_is_reverted_did_not_happen() {
    let undone = Code::new().call(CallKind::Call, SECOND, 3).log_top().fail();
    let outer = Code::new().call(CallKind::Call, FIRST, 0).log_top().balance(SECOND).log_top();
    for fork in Fork::ALL {
        let world = World::new()
            .contract(THIRD, &outer)
            .funded(FIRST, 50, &undone)
            .funded(SECOND, 5, &Code::new().sload(1).log_top().destroy(NOBODY))
            .slot(SECOND, 1, 8);
        check(fork, &world, &[call(ALICE, THIRD), call(BOB, SECOND), call(CAROL, THIRD)]);
    }
}

#[test]
fn init_code_that_destroys_its_contract_leaves_nothing_but_the_nonce_of_its_creator() {
    let init = Code::new().sstore(1, 2).destroy(NOBODY);
    for fork in Fork::ALL {
        let transactions = [create(ALICE, &init).value(5), create(BOB, &init), pay(CAROL, ALICE.create(0), 3)];
        let checked = check(fork, &World::new(), &transactions);
        assert_eq!((checked.balance(NOBODY), checked.account(BOB.create(7))), (U256::from(5), None));
    }
}
