//! The engine as its embedder meets it: whose threads it runs on, how it ends, what it tells.

#![cfg(not(feature = "shuttle"))]
#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::{
    collections::BTreeMap,
    fmt,
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::{Arc, Condvar, Mutex, mpsc},
    thread,
    time::Duration,
};

use ropewalk_engine::{
    Base, CancelToken, CommitHook, Decision, Effects, Engine, Event, Frontier, Inline, Interrupt, Memory, Position,
    Probe, Program, RunError, RunOptions, Schedule, TxIndex, View, Worker, WorkerFactory,
};

mod words;

use words::{Exactly, Set};

/// Transactions are closures over numbered counters.
struct Tape;

type Attempt = Box<dyn Fn(&mut View<Tape>) -> Result<u64, Interrupt<Torn>> + Send + Sync>;

/// The tape cannot be read at this key.
#[derive(Debug, Clone, PartialEq)]
struct Torn(u32);

impl fmt::Display for Torn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "torn at {}", self.0)
    }
}

impl std::error::Error for Torn {}

impl Program for Tape {
    type Key = u32;
    type Value = u64;
    type Delta = Set;
    type Observation = Exactly;
    type Transaction = Attempt;
    type Output = u64;
    type Fault = Torn;

    fn hidden(_: &u32) -> u64 {
        unreachable!("no key has a shadow")
    }
}

/// A worker that may not leave its thread, as revm's EVM may not.
struct Reel(Rc<()>);

impl Worker<Tape> for Reel {
    fn execute(&mut self, attempt: &Attempt, view: &mut View<Tape>) -> Result<u64, Interrupt<Torn>> {
        let _held = Rc::clone(&self.0);
        attempt(view)
    }
}

struct Reels;

impl WorkerFactory<Tape> for Reels {
    type Worker = Reel;

    fn build(&self) -> Reel {
        Reel(Rc::new(()))
    }
}

/// Everything is zero before the block; key 99 is torn. Reads are slow and counted.
#[derive(Default)]
struct Slow(Mutex<BTreeMap<u32, u32>>);

impl Base<Tape> for Arc<Slow> {
    fn read(&self, key: &u32) -> Result<u64, Torn> {
        *self.0.lock().unwrap().entry(*key).or_insert(0) += 1;
        thread::sleep(Duration::from_micros(200));
        if *key == 99 { Err(Torn(*key)) } else { Ok(0) }
    }
}

/// Notes outputs, and calls back after each.
struct Hook<F>(Vec<u64>, F);

impl<F: FnMut(TxIndex) -> Decision + Send> CommitHook<Tape> for Hook<F> {
    fn commit_transaction(&mut self, index: TxIndex, output: u64, _: Effects<'_, Tape>) -> Decision {
        let decision = (self.1)(index);
        if decision == Decision::Keep {
            self.0.push(output);
        }
        decision
    }
}

fn keeps() -> Hook<fn(TxIndex) -> Decision> {
    Hook(Vec::new(), |_| Decision::Keep)
}

fn engine(threads: usize) -> Engine {
    Engine::new(NonZeroUsize::new(threads).unwrap()).unwrap()
}

fn pool(threads: usize) -> Arc<rayon::ThreadPool> {
    Arc::new(rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap())
}

fn on_pool(threads: usize, pool: &Arc<rayon::ThreadPool>) -> Engine {
    Engine::on_pool(NonZeroUsize::new(threads).unwrap(), Arc::clone(pool))
}

fn memory() -> Arc<Memory<Tape>> {
    Arc::new(Memory::new(Arc::<Slow>::default(), 8))
}

/// Reads a key, yields what it read, and counts it up.
fn count(key: u32) -> Attempt {
    Box::new(move |view| {
        let value = view.read(&key)?;
        view.write(&key, Set(value + 1));
        Ok(value)
    })
}

/// Counts up one of three keys in turn: some of it in parallel, some of it not.
fn counts(length: u32) -> Vec<Attempt> {
    (0..length).map(|index| count(index % 3)).collect()
}

fn check_counts(engine: &Engine, length: u32) {
    let mut hook = keeps();
    let finished = engine.run(&memory(), &counts(length), &Reels, &mut hook, &RunOptions::default());
    assert_eq!(finished.unwrap().stopped_at, None);
    assert_eq!(hook.0, (0..length).map(|index| u64::from(index / 3)).collect::<Vec<_>>());
}

#[test]
fn pool_may_have_fewer_threads_than_workers() {
    for threads in [1, 2] {
        check_counts(&on_pool(8, &pool(threads)), 100);
    }
}

#[test]
fn run_does_not_need_a_pool_that_is_busy() {
    let pool = pool(1);
    let (release, busy) = mpsc::channel::<()>();
    pool.spawn(move || busy.recv().unwrap_or(()));
    let mut hook = Hook(Vec::new(), |index: TxIndex| {
        if index.0 == 99 {
            release.send(()).unwrap();
        }
        Decision::Keep
    });
    on_pool(4, &pool).run(&memory(), &counts(100), &Reels, &mut hook, &RunOptions::default()).unwrap();
    assert_eq!(hook.0.len(), 100, "all were committed while the pool's thread did something else");
}

#[test]
fn run_may_start_on_a_thread_of_the_pool_it_uses() {
    let pool = pool(2);
    let engine = on_pool(4, &pool);
    pool.install(|| check_counts(&engine, 60));
    pool.scope(|scope| (0..6).for_each(|_| scope.spawn(|_| check_counts(&engine, 60))));
}

#[test]
fn runs_share_a_pool() {
    let engine = engine(4);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..5).for_each(|_| check_counts(&engine, 60)));
        }
    });
}

#[test]
fn threads_work_together() {
    let begun = Arc::default();
    let list = [meets(&begun), meets(&begun)];
    let mut hook = keeps();
    let finished = engine(2).run(&memory(), &list, &Reels, &mut hook, &RunOptions::default()).unwrap();
    assert_eq!((finished.stats.workers, hook.0), (2, vec![1, 1]));
}

/// Ends when another like it has begun, or after ten seconds. Yields whether one has.
fn meets(begun: &Arc<(Mutex<u32>, Condvar)>) -> Attempt {
    let begun = Arc::clone(begun);
    Box::new(move |_| {
        let (count, changed) = &*begun;
        *count.lock().unwrap() += 1;
        changed.notify_all();
        let guard = count.lock().unwrap();
        let waited = changed.wait_timeout_while(guard, Duration::from_secs(10), |count| *count < 2).unwrap();
        Ok(u64::from(!waited.1.timed_out()))
    })
}

#[test]
fn parked_worker_is_woken_when_there_is_work_again() {
    // While 0 takes its time, the other worker comes to the end of the window and parks. Then there are transactions
    // again that only two workers together can end.
    let begun = Arc::default();
    let slow: Attempt = Box::new(|_| {
        thread::sleep(Duration::from_millis(100));
        Ok(0)
    });
    let quick = || -> Attempt { Box::new(|_| Ok(0)) };
    let list = [slow, quick(), quick(), meets(&begun), meets(&begun), meets(&begun)];
    let options = RunOptions { window_per_worker: 2, ..RunOptions::default() };
    let mut hook = keeps();
    engine(2).run(&memory(), &list, &Reels, &mut hook, &options).unwrap();
    assert_eq!(hook.0, [0, 0, 0, 1, 1, 1]);
}

#[test]
fn small_list_runs_on_the_calling_thread_alone() {
    let here = thread::current().id();
    let is_here: Attempt = Box::new(move |_| Ok(u64::from(thread::current().id() == here)));
    let mut hook = keeps();
    let options = RunOptions { inline: Inline::Below(10), ..RunOptions::default() };
    let list =
        std::iter::repeat_with(|| -> Attempt { Box::new(move |_| Ok(u64::from(thread::current().id() == here))) });
    let list: Vec<_> = std::iter::once(is_here).chain(list.take(8)).collect();
    let finished = engine(4).run(&memory(), &list, &Reels, &mut hook, &options).unwrap();
    assert_eq!((finished.stats.workers, hook.0), (1, vec![1; 9]));
}

#[test]
fn empty_list_is_finished() {
    let finished = engine(4).run(&memory(), &[], &Reels, &mut keeps(), &RunOptions::default()).unwrap();
    assert_eq!((finished.stopped_at, finished.stats.committed), (None, 0));
}

#[test]
fn base_state_is_read_once_per_key() {
    for threads in [1, 8] {
        let base = Arc::<Slow>::default();
        let memory = Arc::new(Memory::new(Arc::clone(&base), 8));
        let list: Vec<_> = (0..300).map(|index| count(index * 7 % 5)).collect();
        engine(threads).run(&memory, &list, &Reels, &mut keeps(), &RunOptions::default()).unwrap();
        assert_eq!(*base.0.lock().unwrap(), (0..5).map(|key| (key, 1)).collect());
    }
}

#[test]
fn what_comes_before_and_after_is_committed_in_order() {
    let memory = memory();
    let mut before = View::committed(Arc::clone(&memory), Position(0), false);
    before.write(&0, Set(40));
    before.commit().unwrap();
    let list: Vec<_> = (0..50).map(|_| count(0)).collect();
    engine(3).run(&memory, &list, &Reels, &mut keeps(), &RunOptions::default()).unwrap();
    let mut after = View::committed(Arc::clone(&memory), Position(51), false);
    let value = after.read(&0).unwrap();
    after.write(&0, Set(value + 1_000));
    after.commit().unwrap();
    let mut all = Vec::new();
    memory.for_each_committed(|found| all.push((*found.key, found.base.copied(), *found.value)));
    assert_eq!(all, [(0, Some(0), 1_090)]);
}

/// Transaction 30 of 200 cancels the run.
#[test]
fn cancellation_releases_every_thread() {
    let engine = engine(8);
    for schedule in [Schedule::Normal, Schedule::Adversarial { seed: 5 }] {
        let token = CancelToken::new();
        let options = RunOptions { cancel: Some(token.clone()), schedule, ..RunOptions::default() };
        let mut list: Vec<_> = (0..200).map(|_| count(0)).collect();
        list[30] = Box::new(move |_| {
            token.cancel();
            Ok(0)
        });
        let (memory, mut hook) = (memory(), keeps());
        let error = engine.run(&memory, &list, &Reels, &mut hook, &options).unwrap_err();
        let RunError::Cancelled { index } = error else { panic!("{error}") };
        assert_eq!(index.at(), hook.0.len(), "as many are committed as come before the named one");
        let mut committed = None;
        memory.for_each_committed(|found| committed = Some(*found.value));
        let counted = hook.0.len() - usize::from(hook.0.len() > 30);
        assert_eq!(committed.unwrap_or(0), counted as u64, "nothing above {index} is committed");
    }
    check_counts(&engine, 30);
}

#[test]
fn run_that_was_cancelled_before_it_began_asks_nobody() {
    let token = CancelToken::new();
    token.cancel();
    let options = RunOptions { cancel: Some(token), ..RunOptions::default() };
    let mut hook = keeps();
    let error = engine(2).run(&memory(), &counts(9), &Reels, &mut hook, &options).unwrap_err();
    assert_eq!((error, hook.0.len()), (RunError::Cancelled { index: TxIndex(0) }, 0));
}

/// The options under which everything ends the same way.
fn modes() -> [RunOptions; 3] {
    let never = RunOptions { frontier: Frontier::Never, ..RunOptions::default() };
    let adversarial = RunOptions { schedule: Schedule::Adversarial { seed: 3 }, ..RunOptions::default() };
    [RunOptions::default(), never, adversarial]
}

#[test]
fn first_failure_in_block_order_is_the_one_that_is_named() {
    let engine = engine(8);
    for options in modes().iter().cycle().take(60) {
        let mut list = counts(60);
        list[20] = Box::new(|view| view.read(&99));
        // As `panic!`, without the message on the terminal.
        list[10] = Box::new(|_| std::panic::resume_unwind(Box::new("the tape is stuck")));
        let mut hook = keeps();
        let error = engine.run(&memory(), &list, &Reels, &mut hook, options).unwrap_err();
        let message = "the tape is stuck".to_owned();
        assert_eq!(error, RunError::Panicked { index: TxIndex(10), message });
        assert_eq!(error.to_string(), "executing transaction 10 panicked: the tape is stuck");
        assert_eq!(hook.0.len(), 10);
        list[10] = count(1);
        let error = engine.run(&memory(), &list, &Reels, &mut keeps(), options).unwrap_err();
        assert_eq!(error, RunError::Fault { index: TxIndex(20), source: Torn(99) });
        assert_eq!(error.to_string(), "the state source failed transaction 20");
    }
}

#[test]
fn stop_comes_before_failures_above_it() {
    for options in modes() {
        let mut list = counts(60);
        list[12] = Box::new(|_| std::panic::resume_unwind(Box::new("never heard of")));
        let stops = |index: TxIndex| if index.0 == 11 { Decision::Stop } else { Decision::Keep };
        let mut hook = Hook(Vec::new(), stops);
        let finished = engine(4).run(&memory(), &list, &Reels, &mut hook, &options).unwrap();
        assert_eq!((finished.stopped_at, hook.0.len()), (Some(TxIndex(11)), 11));
    }
}

#[test]
fn panic_of_the_hook_is_the_callers_and_releases_every_thread() {
    let engine = engine(8);
    for options in modes() {
        let stumbles = |index: TxIndex| -> Decision {
            if index.0 == 7 {
                std::panic::resume_unwind(Box::new("the hook stumbled"));
            }
            Decision::Keep
        };
        let mut hook = Hook(Vec::new(), stumbles);
        let run = || engine.run(&memory(), &counts(60), &Reels, &mut hook, &options);
        assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
        assert_eq!(hook.0.len(), 7);
        check_counts(&engine, 30);
    }
}

/// Notes what was committed, and every event.
#[derive(Default)]
struct Listener(Mutex<Vec<Event>>);

impl Probe for Listener {
    fn event(&self, _: usize, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

#[test]
fn probe_hears_of_one_commit_per_transaction_in_order() {
    for options in modes() {
        let skips = |index: TxIndex| if index.0.is_multiple_of(5) { Decision::Skip } else { Decision::Keep };
        let (listener, mut hook) = (Listener::default(), Hook(Vec::new(), skips));
        let finished = engine(8).run_probed(&memory(), &counts(80), &Reels, &mut hook, &options, &listener).unwrap();
        let events = listener.0.into_inner().unwrap();
        let committed = events.iter().filter_map(|event| match event {
            Event::Committed { index } => Some(index.0),
            _ => None,
        });
        assert!(committed.eq(0..80));
        let started = events.iter().filter(|event| matches!(event, Event::Execute { .. })).count();
        let ended = events.iter().filter(|event| matches!(event, Event::Executed { .. })).count();
        let cut_short = started - ended;
        assert!(cut_short <= finished.stats.aborts as usize, "{cut_short} of {:?}", finished.stats);
    }
}
