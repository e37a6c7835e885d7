//! Tests side by side: one lane for each core, each with engines of its own.
//!
//! A lane is a thread that takes the next test when it has done one. What a test does on rayon (recovering senders,
//! computing roots) stays on the lane's thread, which is a pool of one; the engines bring their own threads, which park
//! when they have nothing to do. So lanes never wait for each other. The queue is short: whoever reads files waits for
//! the lanes, and memory does not grow with the suite.

use std::{
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use rayon::{ThreadPool, ThreadPoolBuilder};
use ropewalk_block::{CancelToken, CodeCache, Schedule, Shortcuts};

use super::{
    blockchain,
    executors::{Engines, Lists},
    pack::Pack,
    state_suite::StateTest,
    state_test,
    suite::BlockchainTest,
    summary::{Found, Summary},
    verdict::{Failure, Verdict},
};
use crate::session::NoThreads;

/// Tests that wait for a lane, at most.
const QUEUED_TESTS: usize = 64;

/// A test to be run.
#[derive(Debug)]
pub(super) enum Job {
    /// A blockchain test.
    Blockchain(Found, Box<BlockchainTest>),
    /// A state test with all its variants.
    State(Found, Box<StateTest>),
    /// Tests joined into one block.
    Pack(Found, Box<Pack>),
}

/// Where tests are queued.
#[derive(Debug)]
pub(super) struct Queue(SyncSender<Job>);

impl Queue {
    /// Queues a test, and waits while the queue is full.
    pub(super) fn push(&self, job: Job) {
        // Nobody takes tests any more when the run has ended; then the test is not wanted either.
        let _ = self.0.send(job);
    }
}

/// The lanes with their engines.
#[derive(Debug)]
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    threads: Vec<usize>,
}

#[derive(Debug)]
struct Lane {
    pool: ThreadPool,
    engines: Engines,
}

impl Lanes {
    /// One lane for each core.
    ///
    /// # Errors
    /// When threads cannot be started.
    pub(super) fn new(
        threads: &[NonZeroUsize],
        schedule: Schedule,
        shortcuts: Shortcuts,
        lists: Lists,
        interrupt: &CancelToken,
    ) -> Result<Self, NoThreads> {
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let codes = Arc::new(CodeCache::default());
        let lane = |index: usize| {
            let name = move |_| format!("ropewalk-lane-{index}");
            let pool = ThreadPoolBuilder::new().num_threads(1).thread_name(name).build();
            let pool = pool.map_err(|source| NoThreads { threads: 1, source })?;
            let engines = Engines::new(threads, schedule, shortcuts, lists, Arc::clone(&codes), interrupt.clone())?;
            Ok(Lane { pool, engines })
        };
        let lanes = (0..cores).map(lane).collect::<Result<_, _>>()?;
        Ok(Self { lanes, threads: threads.iter().map(|threads| threads.get()).collect() })
    }

    /// Runs what `feed` queues, and returns when all of it is done.
    pub(super) fn run(&self, summary: &Summary, feed: impl FnOnce(&Queue)) {
        let (sender, receiver) = sync_channel(QUEUED_TESTS);
        let receiver = Mutex::new(receiver);
        thread::scope(|scope| {
            for lane in &self.lanes {
                let (receiver, threads) = (&receiver, &self.threads);
                scope.spawn(move || lane.pool.install(|| lane.work(receiver, summary, threads)));
            }
            feed(&Queue(sender));
        });
    }
}

impl Lane {
    fn work(&self, receiver: &Mutex<Receiver<Job>>, summary: &Summary, threads: &[usize]) {
        loop {
            let next = match receiver.lock() {
                Ok(receiver) => receiver.recv(),
                Err(_) => return,
            };
            match next {
                Ok(Job::Blockchain(found, test)) => {
                    let (verdict, remarks) = guarded(|| blockchain::run(&test, &self.engines));
                    summary.add(&found, &test.network, threads, verdict, &remarks);
                }
                Ok(Job::State(found, test)) => {
                    for variant in state_test::variants(&test) {
                        let name = format!("{}{variant}", found.test);
                        let found = Found { file: Arc::clone(&found.file), test: name };
                        let (verdict, remarks) = guarded(|| state_test::run(&test, variant, &self.engines));
                        summary.add(&found, variant.network, threads, verdict, &remarks);
                    }
                }
                Ok(Job::Pack(found, pack)) => {
                    let (verdict, remarks) = guarded(|| (pack.run(&self.engines), Vec::new()));
                    summary.add_pack(pack.tests() as u64);
                    summary.add(&found, &pack.network, threads, verdict, &remarks);
                }
                Err(_) => return,
            }
        }
    }
}

/// Runs a test; a panic is its failure and not the end of the others.
fn guarded(run: impl FnOnce() -> (Verdict, Vec<String>)) -> (Verdict, Vec<String>) {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let message = panic.downcast_ref::<&str>().map(|message| (*message).to_owned());
        let message = message.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        let failure = Box::new(Failure::Broken(format!("the program panicked: {message}")));
        (Verdict::Failed { threads: None, failure }, Vec::new())
    })
}
