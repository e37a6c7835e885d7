//! A store that can be made to wait, fail or panic, and chains of changes through it.

use std::sync::{
    Arc,
    mpsc::{Receiver, Sender, channel},
};

use alloy_primitives::{Address, U256, keccak256};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::ThreadPoolBuilder;
use ropewalk_state::{
    Account, AccountChange, BlockCommit, Completeness, MemoryState, SlotChange, StateReader, StateStore, StateWriter,
};

use super::*;

/// What the store is to do with a block.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    Fail,
    WrongRoot,
    Panic,
}

/// A store in maps. Where it has a gate, each commit waits until it is let through.
struct Store {
    state: MemoryState,
    blocks: Vec<u64>,
    fault: Option<(u64, Fault)>,
    gate: Option<Receiver<()>>,
}

impl Store {
    fn new(fault: Option<(u64, Fault)>) -> Self {
        Self { state: MemoryState::new(Completeness::Assumed), blocks: Vec::new(), fault, gate: None }
    }

    fn gated() -> (Self, Sender<()>) {
        let (open, gate) = channel();
        (Self { gate: Some(gate), ..Self::new(None) }, open)
    }
}

impl StateWriter for Store {
    fn commit_block(&mut self, block: &BlockCommit<'_>) -> Result<(), StateError> {
        if let Some(gate) = &self.gate {
            // The test has ended when nobody opens any more.
            let _ = gate.recv();
        }
        let (expected, found) = (block.state_root, B256::ZERO);
        match self.fault.filter(|(number, _)| *number == block.number) {
            Some((number, Fault::WrongRoot)) => return Err(StateError::WrongStateRoot { number, expected, found }),
            Some((number, Fault::Fail)) => return Err(StateError::MissingBlockHash(number)),
            Some((number, Fault::Panic)) => panic!("the store gives up at block {number}"),
            None => {}
        }
        self.state.commit_block(block)?;
        self.blocks.push(block.number);
        Ok(())
    }
}

impl StateStore for Store {
    type Snapshot = MemoryState;

    fn snapshot(&self) -> MemoryState {
        self.state.clone()
    }
}

fn hash(number: u64) -> B256 {
    keccak256(number.to_be_bytes())
}

fn genesis() -> Tip {
    Tip { number: 0, hash: hash(0), state_root: B256::ZERO }
}

fn pipeline(store: Store, backlog: usize) -> Pipeline<Store> {
    let pool = ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    let options = PipelineOptions { backlog: NonZeroUsize::new(backlog).expect("above zero") };
    Pipeline::new(store, genesis(), Arc::new(pool), options).expect("a thread")
}

fn address(byte: u8) -> Address {
    Address::repeat_byte(byte)
}

/// Changes on top of `state`: accounts made, changed, emptied, destroyed and made again.
fn changes(state: &dyn StateReader, random: &mut ChaCha8Rng) -> Changes {
    let mut changes = Changes::default();
    for byte in 1..6 {
        let address = address(byte);
        let before = state.account(&address).expect("in memory");
        let (after, storage_cleared) = match random.random_range(0..6) {
            0 => (before, false),
            1 if before.is_some() => (None, true),
            fate => {
                (Some(Account { nonce: random.random_range(0..9), ..Account::EMPTY }), fate == 2 && before.is_some())
            }
        };
        let slot = |slot: u64, random: &mut ChaCha8Rng| {
            let slot = U256::from(slot);
            let before = if storage_cleared { U256::ZERO } else { state.storage(&address, &slot).expect("in memory") };
            SlotChange { slot, before, after: U256::from(random.random_range(0..3_u64)) }
        };
        let slots = if after.is_some() { (0..4).map(|key| slot(key, random)).collect() } else { Vec::new() };
        changes.accounts.push(AccountChange { address, before, after, storage_cleared, slots });
    }
    changes.normalize();
    changes
}

fn block(number: u64, changes: Changes) -> ExecutedBlock {
    let (hash, parent_hash) = (hash(number), hash(number - 1));
    ExecutedBlock { number, hash, parent_hash, state_root: B256::ZERO, changes: Arc::new(changes) }
}

fn empty(number: u64) -> ExecutedBlock {
    block(number, Changes::default())
}

/// Everything that the changes above touch, as a reader sees it.
fn seen(state: &dyn StateReader) -> Vec<(Option<Account>, bool, Vec<U256>)> {
    let slots = |address| (0..4).map(|slot| state.storage(&address, &U256::from(slot)).expect("in memory")).collect();
    let of = |address| {
        let account = state.account(&address).expect("in memory");
        (account, state.storage_is_empty(&address).expect("in memory") || account.is_some(), slots(address))
    };
    (1..6).map(address).map(of).collect()
}

#[test]
fn a_chain_reads_and_ends_as_it_does_without_the_pipeline() {
    for seed in 0..60_u64 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut plain = Store::new(None);
        let mut pipeline = pipeline(Store::new(None), 1 + (seed % 5) as usize);
        for number in 1..=20 {
            let state = pipeline.state();
            assert_eq!(seen(&*state), seen(&plain.state), "seed {seed}, before block {number}");
            assert_eq!(state.block_hash(number - 1).ok(), (number > 1).then(|| hash(number - 1)), "seed {seed}");
            let changes = changes(&*state, &mut random);
            let next = block(number, changes.clone());
            let commit = BlockCommit {
                number,
                hash: next.hash,
                parent_hash: next.parent_hash,
                state_root: B256::ZERO,
                changes: &changes,
            };
            plain.commit_block(&commit).expect("in memory");
            pipeline.push(next).expect("the store takes it");
            if random.random_ratio(1, 6) {
                assert_eq!(seen(&*pipeline.drain().expect("the store takes all")), seen(&plain.state), "seed {seed}");
                assert_eq!(pipeline.committed(), number);
            }
        }
        assert_eq!(pipeline.stats().pushed, 20);
        let (store, ended) = pipeline.finish();
        ended.expect("the store takes all");
        assert_eq!(store.blocks, (1..=20).collect::<Vec<_>>(), "seed {seed}");
        assert_eq!(seen(&store.state), seen(&plain.state), "seed {seed}");
    }
}

#[test]
fn a_push_waits_while_the_backlog_is_full() {
    let (store, open) = Store::gated();
    let mut pipeline = pipeline(store, 2);
    pipeline.push(empty(1)).expect("there is room");
    pipeline.push(empty(2)).expect("there is room");
    let (pushed, has_pushed) = channel();
    let pusher = thread::spawn(move || {
        pipeline.push(empty(3)).expect("there is room in the end");
        pushed.send(pipeline.stats()).expect("the test listens");
        pipeline
    });
    assert!(has_pushed.recv_timeout(Duration::from_millis(50)).is_err(), "three blocks do not fit into two places");
    open.send(()).expect("the store waits");
    let stats = has_pushed.recv().expect("there is room now");
    assert_eq!(stats.deepest, 2);
    assert!(stats.waited >= Duration::from_millis(40), "{stats:?}");
    (0..2).for_each(|_| open.send(()).expect("the store waits"));
    let (store, ended) = pusher.join().expect("it does not panic").finish();
    ended.expect("the store takes all");
    assert_eq!(store.blocks, [1, 2, 3]);
}

#[test]
fn the_first_block_that_cannot_be_committed_ends_it_and_is_named() {
    for fault in [Fault::Fail, Fault::WrongRoot, Fault::Panic] {
        for backlog in [1, 3] {
            let mut pipeline = pipeline(Store::new(Some((5, fault))), backlog);
            let error = (1..100).find_map(|number| pipeline.push(empty(number)).err()).expect("block 5 fails");
            let PipelineError::Commit(failure) = error else { panic!("{error}") };
            assert_eq!((failure.number, failure.hash), (5, hash(5)), "{fault:?}");
            match fault {
                Fault::WrongRoot => assert!(matches!(failure.source, StateError::WrongStateRoot { number: 5, .. })),
                Fault::Fail => assert!(matches!(failure.source, StateError::MissingBlockHash(5))),
                Fault::Panic => {
                    let StateError::Source(source) = &failure.source else { panic!("{failure}") };
                    assert_eq!(source.to_string(), "the store panicked: the store gives up at block 5");
                }
            }
            assert!(
                pipeline
                    .push(ExecutedBlock { parent_hash: pipeline.tip().hash, ..empty(pipeline.tip().number + 1) })
                    .is_err()
            );
            assert_eq!(pipeline.drain().expect_err("it has ended").number, 5);
            let (store, ended) = pipeline.finish();
            assert_eq!(ended.expect_err("block 5 failed").number, 5);
            assert_eq!(store.blocks, [1, 2, 3, 4], "nothing after the failure, and all before it");
        }
    }
}

#[test]
fn a_block_that_does_not_follow_is_refused_and_the_pipeline_goes_on() {
    let mut pipeline = pipeline(Store::new(None), 2);
    for wrong in [empty(2), ExecutedBlock { parent_hash: hash(7), ..empty(1) }] {
        let error = pipeline.push(wrong).expect_err("it does not follow");
        assert!(matches!(error, PipelineError::NotExtending { tip, .. } if tip == genesis()), "{error}");
    }
    pipeline.push(empty(1)).expect("it follows");
    let (store, ended) = pipeline.finish();
    ended.expect("the store takes all");
    assert_eq!(store.blocks, [1]);
}

#[test]
fn a_pipeline_that_is_dropped_ends_after_the_block_under_way() {
    let (store, open) = Store::gated();
    let mut pipeline = pipeline(store, 3);
    (1..=3).for_each(|number| pipeline.push(empty(number)).expect("there is room"));
    let dropper = thread::spawn(move || drop(pipeline));
    open.send(()).expect("the store waits");
    // One block was let through; the others are given up, or let through by the gate that goes.
    drop(open);
    dropper.join().expect("it does not panic");
}

#[test]
fn an_unused_pipeline_gives_its_store_back() {
    let (store, ended) = pipeline(Store::new(None), 1).finish();
    ended.expect("nothing was to be done");
    assert!(store.blocks.is_empty());
}
