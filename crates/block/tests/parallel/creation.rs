//! Trap 14: whether a contract can be created hangs on nonce, code and storage of the address, and on its creator.

use alloy_primitives::{Address, U256};
use revm::bytecode::opcode as op;

use crate::{
    assembler::{CallKind, Code, create2_address},
    case::{Case, check},
    transaction::{call, create, pay},
    world::*,
};

fn one() -> Vec<U256> {
    vec![U256::ONE]
}

fn word(address: Address) -> U256 {
    U256::from_be_bytes(address.into_word().0)
}

/// A contract that tells its slot 1.
fn telling() -> Code {
    Code::new().sload(1).log_top()
}

fn init() -> Code {
    Code::new().sstore(1, 2).deploying(&telling())
}

#[test]
fn a_contract_is_called_by_the_transactions_after_its_creation() {
    for fork in Fork::ALL {
        let created = BOB.create(7);
        let transactions = [call(ALICE, created), create(BOB, &init()), call(CAROL, created), pay(DAVE, created, 5)];
        let checked = check(fork, &World::new(), &transactions).somebody_conflicts();
        assert_eq!([0, 2, 3].map(|index| checked.logged(index).len()), [0, 1, 1]);
        assert_eq!(checked.balance(created), U256::from(5));
    }
}

#[test]
fn contracts_of_one_factory_get_their_addresses_in_block_order() {
    let factory = Code::new().create(&init(), 0).log_top();
    for fork in Fork::ALL {
        let world = World::new().contract(FIRST, &factory);
        let checked =
            check(fork, &world, &[call(ALICE, FIRST), call(BOB, FIRST), call(CAROL, FIRST)]).somebody_conflicts();
        let logged: Vec<_> = (0..3).flat_map(|index| checked.logged(index)).collect();
        assert_eq!(logged, [1, 2, 3].map(|nonce| word(FIRST.create(nonce))));
    }
}

#[test]
fn the_creator_counts_its_nonce_although_the_creation_fails() {
    let failing = Code::new().create(&Code::new().fail(), 0).log_top().create(&init(), 0).log_top();
    for fork in Fork::ALL {
        let world = World::new().contract(FIRST, &failing);
        let checked = check(fork, &world, &[call(ALICE, FIRST).gas(8_000_000), call(BOB, FIRST).gas(8_000_000)]);
        // Before EIP-150 the failing creation takes all the gas there is.
        assert_eq!(checked.successes(), [fork >= Fork::Tangerine; 2]);
        check(fork, &world, &[create(ALICE, &Code::new().fail()), create(ALICE, &init())]);
    }
}

#[test]
fn an_address_that_was_paid_before_its_creation_keeps_the_money() {
    let look = Code::new().op(op::ADDRESS).op(op::BALANCE).log_top().deploying(&telling());
    for fork in Fork::ALL {
        let created = BOB.create(7);
        let transactions = [pay(ALICE, created, 5), create(BOB, &init()).value(6), pay(CAROL, created, 7)];
        let checked = check(fork, &World::new(), &transactions);
        assert_eq!(checked.balance(created), U256::from(18));
        let transactions = [pay(ALICE, created, 5), create(BOB, &look).value(6)];
        let checked = check(fork, &World::new(), &transactions).somebody_conflicts();
        assert_eq!(checked.logged(1), [U256::from(11)]);
    }
}

#[test]
fn a_creation_with_more_value_than_its_creator_has_fails_without_a_nonce() {
    let factory = Code::new().create(&init(), 10).log_top();
    for fork in Fork::ALL {
        let world = World::new().funded(FIRST, 4, &factory).funded(SECOND, 6, &Code::new().destroy(FIRST));
        let checked = check(fork, &world, &[call(ALICE, FIRST), call(BOB, SECOND), call(CAROL, FIRST)]);
        assert_eq!(checked.logged(0), [U256::ZERO]);
        assert_eq!(checked.logged(2), [word(FIRST.create(1))], "{fork:?}");
    }
}

#[test]
fn code_that_is_deployed_again_costs_what_it_cost_before() {
    let other = Code::new().sstore(1, 3).deploying(&Code::new().sload(2).log_top());
    let factory = [init(), other, init(), init()].iter().fold(Code::new(), |code, init| code.create(init, 0).log_top());
    let failing = Code::new().create(&init(), 0).log_top().fail();
    // Of some of them the gas ends within the second creation, or just before what it deploys is paid for.
    let gas = (0..60).map(|step| 60_000 + 1_700 * step).chain([900_000; 3]);
    for fork in Fork::ALL {
        let world = World::new().contract(FIRST, &factory).contract(SECOND, &failing);
        let mut transactions: Vec<_> = gas.clone().map(|gas| call(BOB, FIRST).gas(gas)).collect();
        transactions.insert(0, call(ALICE, SECOND).gas(900_000));
        transactions.extend([create(ALICE, &init()), call(ALICE, FIRST).gas(900_000)]);
        let checked = check(fork, &world, &transactions);
        assert!((1..60).any(|index| checked.logged(index).len() < 4 || checked.logged(index).contains(&U256::ZERO)));
        let made = checked.logged(transactions.len() - 1).into_iter().map(|made| Address::from_word(made.into()));
        let codes: Vec<_> = made.map(|made| checked.account(made).expect("it was made").code_hash).collect();
        assert_eq!(codes, [codes[0], codes[1], codes[0], codes[0]]);
        assert_ne!(codes[0], codes[1]);
    }
}

#[test]
fn create_collides_with_a_nonce() {
    for fork in Fork::ALL {
        let world = World::new().account(BOB.create(7), 1, 0);
        let checked = check(fork, &world, &[create(BOB, &init()), create(BOB, &init())]);
        assert_eq!(checked.successes(), [false, true]);
    }
}

#[test]
fn create_collides_with_code() {
    for fork in Fork::ALL {
        let mut world = World::new().contract(BOB.create(7), &telling());
        let account =
            ropewalk_state::StateReader::account(&world.state, &BOB.create(7)).expect("known").expect("there");
        world.state.insert_account(BOB.create(7), Some(ropewalk_state::Account { nonce: 0, ..account }));
        let checked = check(fork, &world, &[create(BOB, &init()), create(BOB, &init())]);
        assert_eq!(checked.successes(), [false, true]);
    }
}

/// EIP-7610 is ours: revm creates over the storage, the rules do not.
#[test]
fn eip7610_create_collides_with_storage() {
    for fork in Fork::ALL {
        for taken in [World::new().empty(BOB.create(7)), World::new().account(BOB.create(7), 0, 3)] {
            let world = taken.slot(BOB.create(7), 9, 9);
            let transactions = [create(BOB, &init()), create(BOB, &init()), pay(ALICE, BOB.create(7), 1)];
            let checked = Case::new(fork, &world, &transactions).check_without_oracle();
            assert_eq!(checked.successes(), [false, true, true], "{fork:?}");
            assert_eq!((checked.gas_used(0), checked.slot(BOB.create(7), 9)), (1_000_000, U256::from(9)), "{fork:?}");
            assert_eq!(checked.account(BOB).expect("there").nonce, 9);
        }
    }
}

#[test]
fn eip7610_a_collision_with_storage_takes_the_gas_of_the_inner_creation_and_its_creators_nonce() {
    let factory = Code::new().create(&init(), 0).log_top();
    for fork in Fork::Tangerine.onwards() {
        let world = World::new().contract(FIRST, &factory).account(FIRST.create(1), 0, 3).slot(FIRST.create(1), 9, 9);
        let case = Case::new(fork, &world, &[call(ALICE, FIRST), call(BOB, FIRST)]);
        let checked = case.check_without_oracle();
        let logged = [0, 1].map(|index| checked.logged(index));
        assert_eq!(logged, [vec![U256::ZERO], vec![word(FIRST.create(2))]], "{fork:?}");
        assert!(checked.gas_used(0) > 900_000);
    }
}

/// Storage that a lower transaction has cleared, or never made, is no collision; storage that it left alone is.
#[test]
fn eip7610_storage_is_looked_at_as_the_transactions_before_left_it() {
    let touch_when = |on: bool| {
        let touch = || Code::new().pay(BOB.create(7), 0);
        let (yes, no) = if on { (touch(), Code::new()) } else { (Code::new(), touch()) };
        Code::new().on_input(1, Code::new().sstore(0, 1).op(op::STOP)).sload(0).branch(yes, no)
    };
    for fork in Fork::ALL {
        for on in [true, false] {
            let world = World::new().empty(BOB.create(7)).slot(BOB.create(7), 9, 9).contract(FIRST, &touch_when(on));
            let transactions = [call(ALICE, FIRST).input([1]), call(CAROL, FIRST), create(BOB, &init())];
            let checked = Case::new(fork, &world, &transactions).check_without_oracle();
            // The touch deletes the empty account, and its storage with it.
            assert_eq!(checked.successes()[2], on && fork >= Fork::SpuriousDragon, "{fork:?} {on}");
        }
    }
}

/// A payment brings the account back, the storage stays gone.
#[test]
fn eip7610_storage_that_went_with_its_account_does_not_come_back_with_a_payment() {
    let touch = Code::new().pay(BOB.create(7), 0);
    for fork in Fork::SpuriousDragon.onwards() {
        let world = World::new().empty(BOB.create(7)).slot(BOB.create(7), 9, 9).contract(FIRST, &touch);
        let transactions = [call(ALICE, FIRST), pay(CAROL, BOB.create(7), 5), create(BOB, &init())];
        let checked = Case::new(fork, &world, &transactions).check_without_oracle();
        assert_eq!(checked.successes(), [true; 3], "{fork:?}");
        let reversed = [pay(CAROL, BOB.create(7), 5), call(ALICE, FIRST), create(BOB, &init())];
        let checked = Case::new(fork, &world, &reversed).check_without_oracle();
        assert_eq!(checked.successes(), [true, true, false], "{fork:?}");
    }
}

#[test]
fn of_two_equal_create2_the_second_collides() {
    let factory = Code::new().create2(&init(), 0, 5).log_top();
    let created = create2_address(FIRST, 5, &init());
    for fork in Fork::Petersburg.onwards() {
        let world = World::new().contract(FIRST, &factory);
        let transactions = [call(ALICE, FIRST), call(BOB, FIRST), call(CAROL, created)];
        let checked = check(fork, &world, &transactions).somebody_conflicts();
        assert_eq!([0, 1].map(|index| checked.logged(index)), [vec![word(created)], vec![U256::ZERO]]);
    }
}

#[test]
fn create2_collides_with_nonce_code_and_storage_and_not_with_a_balance() {
    let factory = Code::new().create2(&init(), 0, 5).log_top();
    let created = create2_address(FIRST, 5, &init());
    for fork in Fork::Petersburg.onwards() {
        let world = World::new().contract(FIRST, &factory);
        let free = check(fork, &world.clone().account(created, 0, 4), &[call(ALICE, FIRST), pay(BOB, created, 1)]);
        assert_eq!((free.logged(0), free.balance(created)), (vec![word(created)], U256::from(5)));
        for taken in [world.clone().account(created, 1, 0), world.clone().contract(created, &telling())] {
            let checked = check(fork, &taken, &[call(ALICE, FIRST), call(BOB, FIRST)]);
            assert_eq!(checked.logged(0), [U256::ZERO]);
        }
        let taken = world.account(created, 0, 4).slot(created, 1, 1);
        let checked = Case::new(fork, &taken, &[call(ALICE, FIRST), call(BOB, FIRST)]).check_without_oracle();
        assert_eq!([0, 1].map(|index| checked.logged(index)), [vec![U256::ZERO], vec![U256::ZERO]]);
    }
}

#[test]
fn a_contract_whose_nonce_is_at_the_end_creates_nothing() {
    let factory = Code::new().create(&init(), 0).log_top();
    for fork in Fork::ALL {
        let mut world = World::new().contract(FIRST, &factory);
        let account = ropewalk_state::StateReader::account(&world.state, &FIRST).expect("known").expect("there");
        world.state.insert_account(FIRST, Some(ropewalk_state::Account { nonce: u64::MAX - 1, ..account }));
        let checked = check(fork, &world, &[call(ALICE, FIRST), call(BOB, FIRST), call(CAROL, FIRST)]);
        let logged = [0, 1, 2].map(|index| checked.logged(index));
        let last = word(FIRST.create(u64::MAX - 1));
        assert_eq!(logged, [vec![last], vec![U256::ZERO], vec![U256::ZERO]], "{fork:?}");
    }
}

#[test]
fn contracts_create_contracts_in_their_init_code_and_call_them() {
    let inner = init();
    let outer = Code::new().create(&inner, 0).log_top().call(CallKind::Call, BOB.create(7).create(1), 0).log_top();
    let outer = outer.deploying(&Code::new().call(CallKind::DelegateCall, BOB.create(7).create(1), 0).log_top());
    for fork in Fork::SpuriousDragon.onwards() {
        let transactions = [create(BOB, &outer), call(ALICE, BOB.create(7)), call(CAROL, BOB.create(7).create(1))];
        let checked = check(fork, &World::new(), &transactions).somebody_conflicts();
        assert_eq!(checked.logged(1), [U256::ZERO, U256::ONE], "{fork:?}");
    }
    // Before EIP-161 contracts begin with nonce 0.
    for fork in Fork::SpuriousDragon.earlier() {
        check(
            fork,
            &World::new(),
            &[create(BOB, &outer), call(ALICE, BOB.create(7)), call(CAROL, BOB.create(7).create(0))],
        );
    }
}

#[test]
fn code_that_is_deployed_twice_is_known_to_both_contracts() {
    for fork in Fork::ALL {
        let transactions =
            [create(ALICE, &init()), create(BOB, &init()), call(CAROL, ALICE.create(0)), call(DAVE, BOB.create(7))];
        let checked = check(fork, &World::new(), &transactions);
        assert_eq!(checked.outcome.changes.codes.len(), 1);
        assert_eq!([2, 3].map(|index| checked.logged(index)), [[U256::from(2)], [U256::from(2)]]);
    }
}

#[test]
fn a_callee_that_appears_in_the_block_is_found_by_every_kind_of_call() {
    let created = BOB.create(7);
    for (since, kind) in [
        (Fork::Frontier, CallKind::Call),
        (Fork::Frontier, CallKind::CallCode),
        (Fork::Homestead, CallKind::DelegateCall),
        (Fork::Byzantium, CallKind::StaticCall),
    ] {
        let runtime = Code::new().push(1).push(0).op(op::MSTORE).push(32).push(0).op(op::RETURN);
        let ask = Code::new().call(kind, created, 0).log_top().address(created).op(op::EXTCODESIZE).log_top();
        for fork in since.onwards() {
            let world = World::new().contract(FIRST, &ask);
            let transactions = [call(ALICE, FIRST), create(BOB, &Code::new().deploying(&runtime)), call(CAROL, FIRST)];
            let checked = check(fork, &world, &transactions).somebody_conflicts();
            assert_eq!(checked.logged(0)[..1], one());
            assert_eq!(checked.logged(2), [U256::ONE, U256::from(runtime.bytes().len())]);
        }
    }
}
