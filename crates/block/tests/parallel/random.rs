//! Random blocks: whatever transactions do to each other, every way gives what the oracle gives.
//!
//! `ROPEWALK_CASES` says how many blocks are tried (a few hundred where it is not set), `ROPEWALK_SEED` at which seed to
//! begin. A failure prints its seed and the smallest block that was found to fail in the same way.

use std::{sync::Arc, time::Duration};

use alloy_primitives::{Address, B256, Bytes, U256};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use ropewalk_block::{Frontier, Schedule, first_difference};
use ropewalk_state::{Account, MemoryState, StateError, StateReader};

use crate::{
    case::{Case, Way},
    programs::random_case,
};

const CASES: u64 = 300;
/// Attempts to see a failure again that hangs on the timing of threads.
const AGAIN: usize = 30;

/// A state that takes its time, so that threads meet in other ways.
struct Slow {
    state: MemoryState,
    most_microseconds: u64,
}

impl Slow {
    fn wait(&self, salt: u8) {
        let time = self.most_microseconds * u64::from(salt % 4) / 3;
        if time > 0 {
            std::thread::sleep(Duration::from_micros(time));
        }
    }
}

impl StateReader for Slow {
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError> {
        self.wait(address[19]);
        self.state.account(address)
    }

    fn storage(&self, address: &Address, slot: &U256) -> Result<U256, StateError> {
        self.wait(address[0] ^ slot.byte(0));
        self.state.storage(address, slot)
    }

    fn storage_is_empty(&self, address: &Address) -> Result<bool, StateError> {
        self.state.storage_is_empty(address)
    }

    fn code(&self, hash: &B256) -> Result<Bytes, StateError> {
        self.state.code(hash)
    }

    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        self.state.block_hash(number)
    }
}

/// The ways that a random block goes.
fn ways(random: &mut ChaCha8Rng) -> Vec<Way> {
    let (eager, never) = (Frontier::Eager, Frontier::Never);
    let mut ways: Vec<_> =
        [1, 2, 4, 8].map(|threads| Way { threads, frontier: eager, schedule: Schedule::Normal }).to_vec();
    ways.extend([1, 2, 8].map(|threads| Way { threads, frontier: never, schedule: Schedule::Normal }));
    for threads in [1, 1, 2, 4] {
        let schedule = Schedule::Adversarial { seed: random.random() };
        ways.push(Way { threads, frontier: never, schedule });
    }
    ways
}

/// What is wrong with one way, if anything.
fn wrong(case: &Case, way: Way, reader: &Arc<dyn StateReader>) -> Option<String> {
    let block = case.block();
    let theirs = case.oracle(&block, &case.world.state);
    match (case.execute(way, &block, Arc::clone(reader)), theirs) {
        (Ok(ours), Ok(theirs)) => {
            let difference = first_difference(&ours.outcome, &theirs).map(|difference| format!("{difference:#?}"));
            difference.or_else(|| (ours.outcome != theirs).then(|| "unequal without a difference".to_owned()))
        }
        (Err(ours), Err(theirs)) => (!ours.agrees_with(&theirs)).then(|| format!("{ours:?}, not {theirs:?}")),
        (ours, theirs) => Some(format!("{:?}, not {:?}", ours.map(|ours| ours.outcome), theirs)),
    }
}

/// Leaves out transactions as long as the case stays wrong.
fn smallest(mut case: Case, way: Way, reader: &Arc<dyn StateReader>) -> Case {
    let mut at = 0;
    while at < case.transactions.len() {
        let mut smaller = case.clone();
        smaller.transactions.remove(at);
        let stays = (0..AGAIN).any(|_| wrong(&smaller, way, reader).is_some());
        if stays {
            case = smaller;
        } else {
            at += 1;
        }
    }
    case
}

fn check_seed(seed: u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let case = random_case(&mut random);
    let state = case.world.state.clone();
    let most_microseconds = if random.random_ratio(1, 6) { random.random_range(1..60) } else { 0 };
    let reader: Arc<dyn StateReader> = Arc::new(Slow { state, most_microseconds });
    for way in ways(&mut random) {
        let Some(difference) = wrong(&case, way, &reader) else { continue };
        let Case { world, transactions, header, invalid, .. } = smallest(case, way, &reader);
        panic!(
            "ROPEWALK_SEED={seed} {way:?} {invalid:?}: {difference}\nleft with {} transactions, beneficiary {}: \
             {transactions:#?}\non {world:#?}",
            transactions.len(),
            header.beneficiary,
        );
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

#[test]
fn random_blocks_do_in_every_way_what_they_do_in_order() {
    let first = setting("ROPEWALK_SEED").unwrap_or(0);
    let cases = setting("ROPEWALK_CASES").unwrap_or(CASES);
    (first..first + cases).for_each(check_seed);
}
