//! Ropewalk against Ethereum's executable specification.
//!
//! ```text
//! seed -> plan -> case -+-> the specification, one Python process     -> answer -+
//!                       +-> ropewalk at 1, 2, 8 threads, two schedules -> result -+-> equal, or
//!                                                                                  a smaller plan that is not
//! ```
//!
//! Random blocks of every fork: receipts (before Byzantium with the state root after each transaction), logs, gas,
//! requests, the transactions that are left out, and the state root must be what the specification says. A block that
//! is not is made smaller and printed as a case; a case kept under `cases/` holds the specification's answer and is run
//! with and without Python.
//!
//! `ROPEWALK_SPECIFICATION_SECONDS` says for how long (docs/specification.md), `ROPEWALK_SEED` at which seed to begin.

mod case;
mod difference;
mod draw;
mod draw_transactions;
mod fork;
mod ours;
mod plan;
mod program;
mod smallest;
mod theirs;

use std::{
    collections::BTreeSet,
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use alloy_primitives::U64;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::{
    case::Kept,
    draw::Ground,
    fork::Fork,
    plan::Plan,
    theirs::{Answer, Specification},
};

/// Blocks of each fork that are compared where no time is given.
const BLOCKS_PER_FORK: u64 = 12;

/// Past the test harness, which keeps what a passing test prints to itself.
fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).expect("standard error is there");
}

/// The specification, or a line that says why there is none.
fn specification() -> Option<Specification> {
    Specification::start().map_err(|lack| say(&format!("SKIPPED: the executable specification: {lack}"))).ok()
}

fn setting(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// The block of a seed; forks take turns.
fn plan(seed: u64) -> Plan {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let fork = Fork::ALL[(seed % Fork::ALL.len() as u64) as usize];
    Ground::new(&mut random, fork).plan()
}

/// What is wrong with a block, if anything. A block that the specification cannot run says nothing.
fn wrong(plan: &Plan, specification: &mut Specification, seed: u64) -> Option<String> {
    let case = plan.case();
    let theirs = specification.answer(&case, false).ok()?;
    difference::of_any_way(&case, &theirs, seed)
}

#[track_caller]
fn report(plan: Plan, specification: &mut Specification, seed: u64) -> ! {
    let smallest = smallest::smallest(plan, |plan| wrong(plan, specification, seed).is_some());
    let case = smallest.case();
    let expected = specification.answer(&case, true).expect("it had an answer a moment ago");
    let difference = difference::of_any_way(&case, &expected, seed);
    let accounts = difference::of_accounts(&case, &expected);
    let kept = Kept { case, expected: Answer { alloc: None, ..expected } };
    let text = serde_json::to_string_pretty(&kept).expect("a case can be written");
    panic!(
        "ROPEWALK_SEED={seed}: {}\naccounts:\n{}\n{smallest:#?}\nto be kept under tests/specification/cases:\n{text}",
        difference.unwrap_or_default(),
        accounts.join("\n"),
    );
}

#[test]
fn random_blocks_of_every_fork_come_to_what_the_specification_says() {
    let Some(mut specification) = specification() else { return };
    let first = setting("ROPEWALK_SEED").unwrap_or(0);
    let deadline =
        setting("ROPEWALK_SPECIFICATION_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let enough = BLOCKS_PER_FORK * Fork::ALL.len() as u64;
    let (mut compared, mut transactions, mut left_out, mut unanswered) = (0_u64, 0, 0, 0_u64);
    for seed in first.. {
        let over = deadline.map_or(compared + unanswered >= enough, |deadline| Instant::now() >= deadline);
        if over {
            break;
        }
        let plan = plan(seed);
        let case = plan.case();
        let theirs = match specification.answer(&case, false) {
            Ok(theirs) => theirs,
            Err(crash) => {
                say(&format!("ROPEWALK_SEED={seed}: the specification has no answer: {crash}"));
                unanswered += 1;
                continue;
            }
        };
        compared += 1;
        transactions += theirs.receipts.len();
        left_out += theirs.rejected.len();
        if difference::of_any_way(&case, &theirs, seed).is_some() {
            report(plan, &mut specification, seed);
        }
    }
    say(&format!(
        "specification: {compared} blocks from seed {first} on, {transactions} transactions and {left_out} left out, \
         all equal; {unanswered} blocks that it has no answer to"
    ));
    assert!(unanswered * 100 <= compared, "{unanswered} blocks without an answer, {compared} with one");
}

/// The kept cases with their names.
fn kept_cases() -> Vec<(String, Kept)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("specification/cases");
    let files = fs::read_dir(&folder).expect("the folder of kept cases");
    let mut paths: Vec<_> = files.map(|file| file.expect("a kept case").path()).collect();
    paths.sort_unstable();
    let read = |path: &PathBuf| {
        let (name, text) = (path.display().to_string(), fs::read_to_string(path).expect("a readable file"));
        let kept = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, kept)
    };
    paths.iter().map(read).collect()
}

#[test]
fn kept_cases_come_to_what_the_specification_says() {
    let mut specification = specification();
    for (name, Kept { case, expected }) in kept_cases() {
        if let Some(specification) = &mut specification {
            assert_eq!(specification.answer(&case, false), Ok(expected.clone()), "{name}: the specification itself");
        }
        if let Some(difference) = difference::of_any_way(&case, &expected, 0) {
            panic!("{name}: {difference}");
        }
    }
}

#[test]
fn there_is_a_kept_case_of_every_fork() {
    let forks: BTreeSet<Fork> = kept_cases().into_iter().map(|(_, kept)| kept.case.fork).collect();
    assert!(forks.iter().eq(&Fork::ALL), "{forks:?}");
}

/// The comparison itself: an answer that is wrong in one place does not pass.
#[test]
fn an_answer_that_is_wrong_in_one_place_is_noticed() {
    type Wrong = (&'static str, fn(&mut Answer));
    let wrong: [Wrong; 9] = [
        ("state root", |answer| answer.state_root.0[0] ^= 1),
        ("gas used", |answer| answer.gas_used += U64::ONE),
        ("bloom", |answer| answer.logs_bloom.0[0] ^= 1),
        ("cumulative gas", |answer| answer.receipts[0].cumulative_gas_used += U64::ONE),
        ("logs", |answer| {
            answer.receipts.iter_mut().for_each(|receipt| receipt.logs.clear());
        }),
        ("left out", |answer| {
            answer.rejected.pop();
        }),
        ("receipts", |answer| {
            answer.receipts.pop();
        }),
        ("success or root", |answer| {
            let receipt = &mut answer.receipts[0];
            receipt.succeeded = receipt.succeeded.map(|succeeded| !succeeded);
            receipt.post_state = receipt.post_state.map(|root| !root);
        }),
        ("valid", |answer| answer.block_exception = Some("invalid".to_owned())),
    ];
    for (name, Kept { case, expected }) in kept_cases() {
        for (part, spoil) in wrong {
            let mut spoilt = expected.clone();
            spoil(&mut spoilt);
            if spoilt != expected {
                assert!(difference::of_any_way(&case, &spoilt, 0).is_some(), "{name}: {part}");
            }
        }
    }
}
