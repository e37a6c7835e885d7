//! The production code under shuttle: whole runs of few transactions, with every interleaving left to shuttle.
//!
//! Shuttle owns every lock, condition variable, atomic and thread of a run (see `sync`), so a lost wake-up is a deadlock
//! that it reports, and a failing schedule is printed and can be replayed. Half of the schedules are drawn at random,
//! half by PCT (Burckhardt et al., ASPLOS 2010), which finds what needs few but particular changes of thread.
//! Expected outcomes come from a plain loop over a map, which uses nothing of the engine.

use std::{
    num::NonZeroUsize,
    sync::{LazyLock, Mutex},
};

use crate::{
    CancelToken, Engine, Frontier, Inline, RunError, RunOptions, Schedule, TxIndex,
    sync::Arc,
    toy::{
        Clerk, Key, Ledger, Op, Outcome, Rule, Transaction, Trial, lists,
        machine::{Factory, NoPause},
        trial::{self, Verdict},
    },
};

const A: Key = Key::Member(0, 0);
const B: Key = Key::Member(0, 1);
const FRAGILE: Key = Key::Member(0, 3);
const GROUP: Key = Key::Group(0);

/// Schedules per case and kind.
const SCHEDULES: usize = if cfg!(debug_assertions) { 300 } else { 1_000 };

static ENGINES: LazyLock<[Engine; 2]> =
    LazyLock::new(|| [2, 3].map(|threads| Engine::new(NonZeroUsize::new(threads).unwrap()).unwrap()));

/// Runs `body` under many schedules.
fn explore(schedules: usize, body: impl Fn() + Clone + Send + Sync + 'static) {
    shuttle::check_random(body.clone(), schedules);
    shuttle::check_pct(body, schedules, 3);
}

/// However little a list is worth, all threads are to take part.
fn modes() -> [RunOptions; 3] {
    let eager = RunOptions { inline: Inline::Below(0), ..RunOptions::default() };
    let never = RunOptions { frontier: Frontier::Never, ..eager.clone() };
    let adversarial = RunOptions { schedule: Schedule::Adversarial { seed: 7 }, ..eager.clone() };
    [eager, never, adversarial]
}

/// Whatever the schedule, the outcome is that of the plain loop.
fn equals_serial(trial: &Trial, schedules: usize) {
    let expected = Arc::new(trial.plainly());
    for (engine, options) in ENGINES.iter().flat_map(|engine| modes().map(|options| (engine, options))) {
        let (trial, engine, expected) = (trial.clone(), engine.clone(), Arc::clone(&expected));
        explore(schedules, move || {
            let (outcome, finished) = trial.in_parallel(&engine, &options);
            assert_eq!(outcome, *expected, "{finished:?}");
        });
    }
}

fn list<const N: usize>(list: [&[Op]; N]) -> Trial {
    Trial::new(list.map(|ops| Transaction { ops: ops.to_vec(), ..Transaction::default() }))
}

#[test]
fn chain_is_executed_in_order() {
    equals_serial(&list([&[Op::Count(A)], &[Op::Count(A)], &[Op::Count(A)], &[Op::Count(A)]]), SCHEDULES);
}

#[test]
fn nobody_is_left_parked() {
    let lane = Transaction { lane: Some(1), ..Transaction::from([Op::Count(A)]) };
    equals_serial(&Trial::new(vec![lane; 3]), SCHEDULES);
    equals_serial(&list([&[], &[]]), SCHEDULES);
}

#[test]
fn attempts_that_wait_inside_a_read_are_woken() {
    let follower = |lower, ops: &[Op]| Transaction {
        follows: Some(lower),
        meets: Some(A),
        ..Transaction { ops: ops.to_vec(), ..Transaction::default() }
    };
    let chain = [follower(1, &[Op::Look(B), Op::Count(A)]), follower(2, &[Op::Count(A)])];
    let with = |second: Transaction| {
        let [third, fourth] = chain.clone();
        Trial::new([Transaction::from([Op::Put(B, 2)]), second, third, fourth])
    };
    equals_serial(&with(Transaction::from([Op::Count(A)])), SCHEDULES);
    // Whom they wait for gives up as long as it is not its turn.
    equals_serial(&with(Transaction::from([Op::Count(A), Op::Panic(B, 0)])), SCHEDULES);
}

#[test]
fn readers_of_estimates_are_woken() {
    let list = list([&[Op::Put(A, 1)], &[Op::Look(A), Op::Keep(B)], &[Op::Read(B)], &[Op::Read(B), Op::Read(A)]]);
    equals_serial(&list, SCHEDULES);
}

#[test]
fn clears_hide_exactly_what_is_older() {
    let list = list([
        &[Op::Put(A, 1), Op::Credit(B, 2)],
        &[Op::Clear(0), Op::Credit(B, 1)],
        &[Op::Read(A), Op::Read(B), Op::Count(A)],
        &[Op::Read(A)],
    ]);
    equals_serial(&list, SCHEDULES);
}

#[test]
fn bounds_are_kept() {
    let mut list =
        list([&[Op::Credit(A, 3)], &[Op::Spend(A, 5)], &[Op::Debit(A, 5)], &[Op::Fill(A, 96), Op::Put(B, 1)]]);
    list.values.get_mut(&A).unwrap().balance = 4;
    equals_serial(&list, SCHEDULES);
}

#[test]
fn late_observations_are_judged() {
    let mut list = list([&[Op::Put(GROUP, 1)], &[Op::Chase(0), Op::Count(B)], &[Op::Late(B, GROUP), Op::Keep(A)]]);
    list.values.get_mut(&GROUP).unwrap().word = 2;
    equals_serial(&list, SCHEDULES);
}

#[test]
fn failures_are_named_in_block_order() {
    let mut list = list([&[Op::Count(A)], &[Op::Count(A), Op::Panic(A, 7)], &[Op::Panic(A, 2)], &[Op::Read(FRAGILE)]]);
    list.broken = true;
    equals_serial(&list, SCHEDULES);
    list.list[2] = Transaction::from([Op::Panic(A, 1)]);
    equals_serial(&list, SCHEDULES);
}

#[test]
fn skipped_and_stopped_leave_no_trace() {
    for on_unlucky in [Verdict::Skip, Verdict::Stop] {
        let mut list = list([&[Op::Put(A, 1)], &[Op::Look(B), Op::Put(A, 2)], &[Op::Look(A)], &[Op::Count(A)]]);
        list.values.get_mut(&B).unwrap().word = 2;
        list.rule = Rule { unlucky: Some(33), on_unlucky, ..Rule::default() };
        equals_serial(&list, SCHEDULES);
    }
}

#[test]
fn cancellation_at_any_moment_releases_every_thread() {
    let list = list([&[Op::Count(A)], &[Op::Count(B)], &[Op::Count(A), Op::Read(B)]]);
    let prefixes: Vec<Outcome> = (0..=3).map(|count| Trial::new(&list.list[..count]).plainly()).collect();
    let prefixes = Arc::new(prefixes);
    for (engine, options) in ENGINES.iter().flat_map(|engine| modes().map(|options| (engine, options))) {
        let (list, engine, prefixes) = (list.clone(), engine.clone(), Arc::clone(&prefixes));
        explore(SCHEDULES, move || {
            let token = CancelToken::new();
            let options = RunOptions { cancel: Some(token.clone()), ..options.clone() };
            let canceller = shuttle::thread::spawn(move || token.cancel());
            let memory = list.memory();
            let ledger = Mutex::default();
            let mut clerk = Clerk { rule: list.rule, ledger: &ledger, curious: false };
            let finished = engine.run(&memory, &list.list, &Factory(NoPause), &mut clerk, &options);
            canceller.join().expect("cancelling does not fail");
            let decided = Ledger::decided_in(&ledger.lock().unwrap().entries);
            match finished {
                Ok(_) => assert_eq!(decided, 3),
                Err(error) => assert_eq!(error, RunError::Cancelled { index: TxIndex(decided) }),
            }
            assert_eq!(trial::committed(&memory), prefixes[decided as usize].committed);
        });
    }
}

#[test]
fn any_short_list_equals_the_plain_loop() {
    for seed in 0..SCHEDULES as u64 / 4 {
        let trial = lists::from_seed(seed, 5);
        // One transaction is one worker's, and leaves nothing to interleave.
        if trial.list.len() > 1 {
            println!("seed {seed}");
            equals_serial(&trial, 12);
        }
    }
}
