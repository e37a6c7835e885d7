//! Chains through a pipeline: the same as without one, whenever commits happen, fail or end.

use std::{
    error::Error,
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Weak, mpsc},
    thread,
    time::Duration,
};

use alloy_primitives::{Address, B256, U256};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use revm::bytecode::opcode as op;
use ropewalk_block::{
    BlockOutcome, Frontier, InvalidBlock, Schedule, first_difference,
    import::{ImportError, OutcomeFault},
    pipeline::{CommitFailure, ExecutedBlock, Pipeline, PipelineError, PipelineOptions},
};
use ropewalk_state::{Changes, MemoryState, StateError, StateReader};

use crate::{
    assembler::Code,
    case::{Case, Way},
    chain::{Chain, Link},
    destruction::{bird, command, die, hatched, lay, tell},
    ledger::{Act, Book, Ledger, roots_pool},
    programs::random_chain,
    transaction::{Tx, call, pay},
    world::*,
};

/// Random chains that are tried.
const CHAINS: u64 = 30;

fn options(backlog: usize) -> PipelineOptions {
    PipelineOptions { backlog: NonZeroUsize::new(backlog).expect("room for a block") }
}

fn pipeline(ledger: Ledger, backlog: usize) -> Pipeline<Ledger> {
    let tip = ledger.tip();
    Pipeline::new(ledger, tip, roots_pool(2), options(backlog)).expect("the system gives a thread")
}

fn way(threads: usize) -> Way {
    Way { threads, frontier: Frontier::Eager, schedule: Schedule::Normal }
}

/// Payments to one account, one block each: nothing but a chain.
fn payments(blocks: usize) -> Chain {
    let list = |index: usize| vec![pay(ALICE, NOBODY, index as u64 + 1), pay(BOB, NEWCOMER, 1)];
    let lists: Vec<_> = (0..blocks).map(list).collect();
    Chain::new(&Case::new(Fork::Prague, &World::new(), &[]), &lists)
}

/// A contract that has storage, dies, comes again, counts and dies, each in a block of its own; and one that tells the
/// hash of the block before.
fn deaths(fork: Fork) -> Chain {
    let hashes = Code::new().push(1).op(op::NUMBER).op(op::SUB).op(op::BLOCKHASH).log_top();
    let world = hatched().contract(SECOND, &hashes);
    let ask = |sender| vec![call(sender, SECOND), tell(sender, command::TELL)];
    let lists: [Vec<Tx>; 6] = [
        [vec![tell(ALICE, command::COUNT)], ask(BOB)].concat(),
        [vec![die(CAROL)], ask(BOB)].concat(),
        [ask(BOB), vec![lay(ALICE), tell(CAROL, command::COUNT)], ask(DAVE)].concat(),
        [ask(BOB), vec![pay(ALICE, bird(), 3), die(CAROL)]].concat(),
        [vec![lay(ALICE), die(CAROL)], ask(BOB)].concat(),
        [ask(BOB), vec![lay(ALICE)], ask(DAVE)].concat(),
    ];
    Chain::new(&Case::new(fork, &world, &[]), &lists)
}

/// Everything that can be read of `ours` must be what is read of `expected`.
#[track_caller]
fn assert_same_state(ours: &dyn StateReader, expected: &MemoryState, what: &str) {
    let addresses: Vec<Address> =
        expected.iter_accounts().map(|(address, _)| address).chain([NOBODY, bird()]).collect();
    let slots: Vec<_> = addresses.iter().flat_map(|address| (0..8).map(|slot| (*address, U256::from(slot)))).collect();
    for address in &addresses {
        let account = ours.account(address).expect("readable");
        assert_eq!(account, expected.account(address).expect("readable"), "{what}: account {address}");
        // Storage that a living contract emptied slot by slot counts as there, and nobody can tell.
        if account.is_none_or(|account| account.code_hash == ropewalk_state::Account::EMPTY.code_hash) {
            let empty = expected.storage_is_empty(address).expect("readable");
            assert_eq!(ours.storage_is_empty(address).expect("readable"), empty, "{what}: storage of {address}");
        }
    }
    for (address, slot) in &slots {
        let value = expected.storage(address, slot).expect("readable");
        assert_eq!(ours.storage(address, slot).expect("readable"), value, "{what}: slot {slot} of {address}");
    }
    assert_eq!(
        ours.accounts(&addresses).expect("readable"),
        expected.accounts(&addresses).expect("readable"),
        "{what}"
    );
    assert_eq!(ours.storages(&slots).expect("readable"), expected.storages(&slots).expect("readable"), "{what}");
    for (hash, code) in expected.iter_codes() {
        assert_eq!(ours.code(&hash).expect("readable"), code, "{what}");
    }
    for (number, hash) in expected.iter_block_hashes() {
        assert_eq!(ours.block_hash(number).expect("readable"), hash, "{what}: block {number}");
    }
}

/// The ledger must hold the first blocks of the chain, and nothing else.
#[track_caller]
fn assert_holds(ledger: &Ledger, book: &Book, chain: &Chain, blocks: usize, what: &str) {
    let expected: Vec<_> = chain.links[..blocks].iter().map(|link| (link.number(), link.block.hash)).collect();
    assert_eq!(book.committed(), expected, "{what}");
    assert_same_state(ledger.state(), chain.before(blocks), what);
    assert_eq!(ledger.tip().state_root, chain.before(blocks).state_root(), "{what}");
}

/// Executes a link on the pipeline's state; its outcome must be the oracle's.
#[track_caller]
fn execute(pipeline: &mut Pipeline<Ledger>, chain: &Chain, way: Way, link: &Link, what: &str) {
    let ours = pipeline.execute(&chain.case.executor(way), &link.block);
    let ours = ours.unwrap_or_else(|error| panic!("{what}: {error:?}")).outcome;
    // The changes have gone with the block.
    let ours = BlockOutcome { changes: link.outcome.changes.clone(), ..ours };
    assert_eq!(first_difference(&ours, &link.outcome), None, "{what}: block {}", link.number());
}

#[test]
fn a_random_chain_does_in_every_pipeline_what_it_does_in_order() {
    for seed in 0..CHAINS {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let (case, lists) = random_chain(&mut random, 7);
        let chain = Chain::new(&case, &lists);
        for (threads, backlog) in [(1, 1), (1, 3), (2, 1), (2, 4), (4, 2), (8, 16)] {
            let what = format!("seed {seed}, {threads} threads, backlog {backlog}");
            let (ledger, book) = Ledger::new(&chain.case.world.state);
            let mut pipeline = pipeline(ledger, backlog);
            for link in &chain.links {
                if random.random_ratio(1, 5) {
                    assert_same_state(&*pipeline.drain().expect("drained"), chain.before(at(link)), &what);
                }
                execute(&mut pipeline, &chain, way(threads), link, &what);
            }
            let (ledger, ended) = pipeline.finish();
            assert!(ended.is_ok(), "{what}: {ended:?}");
            assert_holds(&ledger, &book, &chain, chain.links.len(), &what);
        }
    }
}

/// Index of a link in its chain.
fn at(link: &Link) -> usize {
    (link.number() - NUMBER) as usize
}

/// All ways in which commits can come between executions: how many blocks are committed before each block is executed.
fn interleavings(blocks: usize, backlog: usize) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for executed in 0..blocks {
        let mut longer = Vec::new();
        for sequence in all {
            let least = executed.saturating_sub(backlog - 1).max(sequence.last().copied().unwrap_or(0));
            longer.extend((least..=executed).map(|committed| [&sequence[..], &[committed]].concat()));
        }
        all = longer;
    }
    all
}

#[test]
fn a_contract_dies_and_returns_the_same_whatever_is_committed_meanwhile() {
    for fork in [Fork::Istanbul, Fork::Osaka] {
        let chain = deaths(fork);
        let blocks = chain.links.len();
        for backlog in [1, 2, blocks] {
            let interleavings = interleavings(blocks, backlog);
            assert!(backlog == 1 || interleavings.len() > 30, "{}", interleavings.len());
            for interleaving in interleavings {
                let what = format!("{fork:?}, backlog {backlog}, committed {interleaving:?}");
                let (ledger, book) = Ledger::new(&chain.case.world.state);
                book.allow(NUMBER - 1);
                let mut pipeline = pipeline(ledger, backlog);
                for (link, committed) in chain.links.iter().zip(interleaving) {
                    book.allow(NUMBER - 1 + committed as u64);
                    match at(link) == committed {
                        true => drop(pipeline.drain().expect("drained")),
                        // Once the next block is under way, those before it are committed.
                        false => book.wait_for(NUMBER + committed as u64),
                    }
                    assert_eq!(pipeline.committed(), NUMBER - 1 + committed as u64, "{what}");
                    let parent = pipeline.state().expect("running");
                    assert_same_state(&*parent, chain.before(at(link)), &what);
                    assert_same_state(&*pipeline.snapshot(), chain.before(committed), &what);
                    execute(&mut pipeline, &chain, way(2), link, &what);
                    // What was handed out stays what it was.
                    assert_same_state(&*parent, chain.before(at(link)), &what);
                }
                book.allow(u64::MAX);
                let (ledger, ended) = pipeline.finish();
                assert!(ended.is_ok(), "{what}: {ended:?}");
                assert_holds(&ledger, &book, &chain, blocks, &what);
            }
        }
    }
}

#[test]
fn whoever_pushes_waits_while_the_backlog_is_full_and_memory_is_bounded_by_it() {
    let chain = payments(10);
    for backlog in [1, 2, 4] {
        let (ledger, book) = Ledger::new(&chain.case.world.state);
        book.allow(NUMBER - 1);
        let mut pipeline = pipeline(ledger, backlog);
        let (pushed, pushes) = mpsc::channel();
        let links = chain.links.clone();
        let pusher = thread::spawn(move || {
            let mut held: Vec<Weak<Changes>> = Vec::new();
            for link in &links {
                let block = link.executed();
                held.push(Arc::downgrade(&block.changes));
                pipeline.push(block).expect("running");
                let alive = held.iter().filter(|changes| changes.strong_count() > 0).count();
                // The committer lets go of a block right after it made room for another.
                assert!(alive <= backlog + 1, "{alive} blocks are held");
                pushed.send(link.number()).expect("somebody listens");
            }
            pipeline
        });
        for index in 0..backlog {
            assert_eq!(pushes.recv().expect("there is room"), NUMBER + index as u64);
        }
        for number in NUMBER + backlog as u64..NUMBER + 10 {
            pushes.recv_timeout(Duration::from_millis(20)).expect_err("there is no room");
            book.allow(number - backlog as u64);
            assert_eq!(pushes.recv().expect("there is room again"), number);
        }
        book.allow(u64::MAX);
        let pipeline = pusher.join().expect("no panic");
        pipeline.drain().expect("drained");
        let stats = pipeline.stats();
        assert_eq!((stats.pushed, stats.deepest), (10, backlog));
        assert!(stats.waited >= Duration::from_millis(20), "{stats:?}");
        let (ledger, ended) = pipeline.finish();
        ended.expect("all are committed");
        assert_holds(&ledger, &book, &chain, 10, "afterwards");
    }
}

/// What a failed commit says: the block, and whether it is the failure that was made.
#[track_caller]
fn assert_names(failure: &CommitFailure, link: &Link, act: Option<Act>) {
    let at = (link.number(), link.block.hash);
    assert_eq!((failure.number, failure.hash), at);
    match (&failure.source, act) {
        (StateError::MissingBlockHash(number), Some(Act::Fail)) => assert_eq!(*number, at.0),
        (StateError::WrongStateRoot { number, expected, .. }, None) => {
            assert_eq!((*number, *expected), (at.0, link.block.header.state_root));
        }
        (StateError::Source(source), Some(Act::Panic | Act::PanicLate)) => {
            let message = source.to_string();
            assert!(message.starts_with("the store panicked: no") && message.contains(&at.0.to_string()), "{message}");
        }
        (source, act) => panic!("{act:?}: {source:?}"),
    }
    assert_eq!(failure.to_string(), format!("block {} ({}) cannot be committed", at.0, at.1));
    assert!(failure.source().is_some());
}

/// The failed commit that a block was refused for.
#[track_caller]
fn failure(error: PipelineError) -> CommitFailure {
    match error {
        PipelineError::Commit(failure) => failure,
        other => panic!("{other:?}"),
    }
}

/// A chain in which the block with this index claims a root that is not its own.
fn with_wrong_root(mut chain: Chain, index: usize) -> Chain {
    let mut parent = None;
    for link in &mut chain.links[index..] {
        let header = &mut link.block.header;
        match parent {
            None => header.state_root = B256::repeat_byte(1),
            Some(parent) => header.parent_hash = parent,
        }
        link.block.hash = header.hash_slow();
        parent = Some(link.block.hash);
    }
    chain
}

#[test]
fn a_block_that_is_not_taken_stops_the_pipeline_at_the_last_good_block() {
    const BLOCKS: usize = 7;
    for bad in 0..BLOCKS {
        for act in [None, Some(Act::Fail), Some(Act::Panic), Some(Act::PanicLate)] {
            let chain = if act.is_none() { with_wrong_root(payments(BLOCKS), bad) } else { payments(BLOCKS) };
            for backlog in [1, 2, 4, 16] {
                let what = format!("{act:?} at {bad}, backlog {backlog}");
                let acts = act.map(|act| (chain.links[bad].number(), act));
                let (ledger, book) = Ledger::with_acts(&chain.case.world.state, acts);
                let mut pipeline = pipeline(ledger, backlog);
                let ended = chain.links.iter().find_map(|link| pipeline.push(link.executed()).err()).map(failure);
                let ended = ended.or_else(|| pipeline.drain().err()).expect("it ends");
                assert_names(&ended, &chain.links[bad], act);
                let again = pipeline.push(chain.links[0].executed()).expect_err("nothing is taken any more");
                assert_names(&failure(again), &chain.links[bad], act);
                let again = pipeline.execute(&chain.case.executor(way(1)), &chain.links[0].block);
                assert_names(&failure(again.expect_err("nothing is executed any more")), &chain.links[bad], act);
                assert_names(&pipeline.state().err().expect("no state to go on from"), &chain.links[bad], act);
                assert_names(&pipeline.drain().expect_err("nothing to wait for"), &chain.links[bad], act);
                assert_same_state(&*pipeline.snapshot(), chain.before(bad), &what);
                assert_eq!(pipeline.committed() + 1, chain.links[bad].number());
                let (ledger, ended) = pipeline.finish();
                assert_names(&ended.expect_err("it is told at the end"), &chain.links[bad], act);
                // The store did take a block when it panics afterwards.
                let held = bad + usize::from(act == Some(Act::PanicLate));
                assert_holds(&ledger, &book, &chain, held, &what);
            }
        }
    }
}

#[test]
fn whoever_waits_for_room_hears_of_the_failure() {
    let chain = payments(3);
    for act in [Act::Fail, Act::Panic] {
        let (ledger, book) = Ledger::with_acts(&chain.case.world.state, [(NUMBER, act)]);
        book.allow(NUMBER - 1);
        let mut pipeline = pipeline(ledger, 1);
        pipeline.push(chain.links[0].executed()).expect("there is room");
        thread::scope(|scope| {
            let waiting = scope.spawn(|| pipeline.push(chain.links[1].executed()));
            thread::sleep(Duration::from_millis(20));
            book.allow(u64::MAX);
            let error = waiting.join().expect("no panic").expect_err("it is not taken");
            assert_names(&failure(error), &chain.links[0], Some(act));
        });
    }
}

#[test]
fn a_pipeline_that_is_dropped_ends_with_a_whole_block() {
    let chain = payments(6);
    for pushed in 0..=6 {
        let (ledger, book) = Ledger::new(&chain.case.world.state);
        book.allow(NUMBER - 1);
        let mut pipeline = pipeline(ledger, 6);
        for link in &chain.links[..pushed] {
            pipeline.push(link.executed()).expect("there is room");
        }
        let dropped = thread::scope(|scope| {
            let dropping = scope.spawn(|| drop(pipeline));
            book.allow(u64::MAX);
            dropping.join()
        });
        dropped.expect("no panic");
        // How many there are depends on when the drop came; that nobody goes on does not.
        let committed = book.committed();
        let expected: Vec<_> = chain.links[..pushed].iter().map(|link| (link.number(), link.block.hash)).collect();
        assert_eq!(committed[..], expected[..committed.len()]);
        assert_eq!(Arc::strong_count(&book), 1, "the thread and its store are gone");
    }
}

#[test]
fn a_pipeline_is_dropped_by_a_panic_of_its_caller_and_after_a_failure() {
    let chain = payments(4);
    let (ledger, book) = Ledger::new(&chain.case.world.state);
    let mut running = pipeline(ledger, 4);
    let panicked = catch_unwind(AssertUnwindSafe(move || {
        for link in &chain.links {
            running.push(link.executed()).expect("there is room");
        }
        panic!("the caller gives up");
    }));
    assert!(panicked.is_err());
    assert_eq!(Arc::strong_count(&book), 1, "the thread and its store are gone");

    let chain = payments(1);
    let (ledger, _) = Ledger::with_acts(&chain.case.world.state, [(NUMBER, Act::Panic)]);
    let mut stopped = pipeline(ledger, 1);
    stopped.push(chain.links[0].executed()).expect("there is room");
    assert!(stopped.drain().is_err());
    drop(stopped);
}

#[test]
fn a_block_that_does_not_extend_the_last_one_is_refused_and_the_pipeline_goes_on() {
    let chain = payments(3);
    let (ledger, book) = Ledger::new(&chain.case.world.state);
    let mut pipeline = pipeline(ledger, 2);
    pipeline.push(chain.links[0].executed()).expect("it extends the head");
    let skips = chain.links[2].executed();
    let numbered_wrong = ExecutedBlock { number: NUMBER + 7, ..chain.links[1].executed() };
    for block in [chain.links[0].executed(), skips, numbered_wrong] {
        let (of, with) = (block.number, block.parent_hash);
        match pipeline.push(block) {
            Err(PipelineError::NotExtending { number, parent_hash, tip }) => {
                assert_eq!((number, parent_hash), (of, with));
                assert_eq!((tip.number, tip.hash), (NUMBER, chain.links[0].block.hash));
            }
            other => panic!("{other:?}"),
        }
    }
    for link in &chain.links[1..] {
        execute(&mut pipeline, &chain, way(2), link, "afterwards");
    }
    let (ledger, ended) = pipeline.finish();
    ended.expect("all are committed");
    assert_holds(&ledger, &book, &chain, 3, "afterwards");
}

#[test]
fn a_block_that_is_not_what_its_header_claims_is_refused_when_those_before_it_are_committed() {
    let chain = payments(4);
    let (ledger, book) = Ledger::new(&chain.case.world.state);
    let mut pipeline = pipeline(ledger, 4);
    let mut bent = chain.links[2].block.clone();
    bent.header.gas_used += 1;
    bent.hash = bent.header.hash_slow();
    let mut invalid = chain.links[2].block.clone();
    invalid.transactions.swap(0, 1);
    invalid.transactions.push(invalid.transactions[0].clone());
    let executor = chain.case.executor(way(2));
    for link in &chain.links[..2] {
        execute(&mut pipeline, &chain, way(2), link, "before");
    }
    match pipeline.execute(&executor, &bent) {
        Err(PipelineError::Refused { number, hash, source, outcome }) => {
            assert_eq!(outcome.expect("there is one").receipts, chain.links[2].outcome.receipts);
            assert_eq!((number, hash), (NUMBER + 2, bent.hash));
            assert!(matches!(*source, ImportError::Outcome(OutcomeFault::GasUsed { .. })), "{source:?}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(book.committed().len(), 2, "the verdict comes after those on the blocks before");
    match pipeline.execute(&executor, &invalid) {
        Err(PipelineError::Refused { source, .. }) => {
            let ImportError::Execution(error) = *source else { panic!("{source:?}") };
            assert!(matches!(error.as_invalid(), Some(InvalidBlock::Transaction { index: 2, .. })), "{error:?}");
        }
        other => panic!("{other:?}"),
    }
    for link in &chain.links[2..] {
        execute(&mut pipeline, &chain, way(2), link, "afterwards");
    }
    let (ledger, ended) = pipeline.finish();
    ended.expect("all are committed");
    assert_holds(&ledger, &book, &chain, 4, "afterwards");
}

#[test]
fn no_block_is_judged_on_top_of_one_that_is_wrong() {
    let chain = with_wrong_root(payments(3), 1);
    let (ledger, book) = Ledger::new(&chain.case.world.state);
    book.allow(NUMBER);
    let mut pipeline = pipeline(ledger, 4);
    for link in &chain.links[..2] {
        execute(&mut pipeline, &chain, way(2), link, "on trust");
    }
    let mut bent = chain.links[2].block.clone();
    bent.header.gas_used += 1;
    let executor = chain.case.executor(way(2));
    let error = thread::scope(|scope| {
        let judged = scope.spawn(|| pipeline.execute(&executor, &bent).expect_err("two blocks are wrong"));
        book.allow(u64::MAX);
        judged.join().expect("no panic")
    });
    assert_names(&failure(error), &chain.links[1], None);
}
