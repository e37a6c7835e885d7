//! Seeded simulation: the production workers, on one thread, in any order.
//!
//! A seed makes a list, options, a number of workers and an order of steps. Between the operations of an attempt other
//! workers make steps too, nested in it, so that the state moves under an attempt's feet. After every step the
//! invariants are checked as far as they can be seen from outside:
//!
//! - I1, I3, I6: what the hook was told is a beginning of what the serial twin's hook was told, and the committed values
//!   are those of the serial twin at the same transaction, whatever speculation has left elsewhere
//! - I2: the frontier moves by one transaction at a time, with the hook's decisions; one worker holds the commit role
//! - I4: whoever is blocked is blocked on a lower transaction that can go on, and never is everybody idle
//!
//! A failure prints its seed; `ROPEWALK_SEED=<seed>` runs that one alone.

use std::{
    collections::BTreeMap,
    mem::ManuallyDrop,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, OnceLock},
};

use crate::{
    AbortCause, CancelToken, Event, Frontier, Memory, Probe, RunError, RunOptions, Schedule, Shortcuts, TxIndex,
    run::{Crew, Run, Runner, Step},
    toy::{
        Clerk, Key, Ledger, Outcome, Toy, Trial, Value, lists,
        machine::{Factory, Pause},
        trial,
    },
};

/// Steps after which a simulation is taken to go round in circles.
const MOST_STEPS: u32 = 200_000;

#[test]
fn every_order_of_steps_keeps_the_invariants() {
    simulate_all(0..3_000, |seed, random| simulate(seed, &lists::from_seed(seed, 12), &any_options(random)));
}

#[test]
fn long_lists_keep_the_invariants() {
    simulate_all(0..150, |seed, random| simulate(seed, &lists::from_seed(seed, 60), &any_options(random)));
}

#[test]
fn attempts_that_the_frontier_overtakes_keep_the_invariants() {
    simulate_all(0..2_000, |seed, _| simulate(seed, &lists::hot_from_seed(seed, 6), &RunOptions::default()));
}

fn simulate_all(seeds: std::ops::Range<u64>, simulate: impl Fn(u64, &mut Random)) {
    let simulate = |seed| simulate(seed, &mut Random(!seed));
    match std::env::var("ROPEWALK_SEED") {
        Ok(seed) => simulate(seed.parse().expect("ROPEWALK_SEED is a number")),
        Err(_) => seeds.for_each(simulate),
    }
}

fn simulate(seed: u64, trial: &Trial, options: &RunOptions) {
    let mut random = Random(seed ^ 0x5851_f42d_4c95_7f2d);
    let workers = 1 + random.below(5) as usize;
    let expected = Expected::of(trial, options);
    let cancel_at = random.below(60) as u32;

    let genesis = trial.genesis();
    let memory = Arc::new(Memory::new(Arc::clone(&genesis), 8));
    let (ledger, roles) = (Mutex::default(), Roles { mode: mode(options), committing: Mutex::default() });
    let mut clerk = Clerk { rule: trial.rule, ledger: &ledger, curious: options.record };
    let unrest = [2, 5, 9][random.below(3) as usize];
    let driver = ManuallyDrop::new(Driver::new(random, unrest, cancel_at));
    let factory = Factory(Others(&driver));
    let run = Run::new(&memory, &trial.list, &factory, &mut clerk, options, &roles, Crew::Of(workers));
    let checked = Mutex::new(Checked { entries: 0, frontier: 0 });
    let stage = Stage { run: &run, memory: &memory, ledger: &ledger, expected: &expected, checked };
    driver.stage.get_or_init(|| stage);
    let failure = driver.drive(workers);
    drop(driver.dismiss());
    if let Some(failure) = failure {
        panic!("seed {seed}: {failure}\n{workers} workers, {options:?}\n{}", trial.in_lines());
    }
    let ending = run.finish().map(|finished| finished.stopped_at);
    let entries = ledger.into_inner().unwrap().entries;
    let outcome = Outcome { entries, ending, committed: trial::committed(&memory) };
    expected.check_end(&outcome, seed);
    assert!(genesis.most_reads() <= 1, "seed {seed}: a key was read {} times", genesis.most_reads());
}

fn any_options(random: &mut Random) -> RunOptions {
    let schedule = match random.below(3) {
        0 => Schedule::Adversarial { seed: random.next() },
        _ => Schedule::Normal,
    };
    RunOptions {
        frontier: [Frontier::Eager, Frontier::Never][random.below(2) as usize],
        schedule,
        record: random.below(2) == 0,
        speculation_multiple: [0, 1, 3, 100][random.below(4) as usize],
        window_per_worker: [0, 1, 2, 64][random.below(4) as usize],
        cancel: (random.below(10) == 0).then(CancelToken::new),
        shortcuts: Shortcuts {
            lanes: random.below(4) > 0,
            large_first: random.below(4) > 0,
            commits_at_once: random.below(4) > 0,
            foretells: random.below(4) > 0,
            waits_in_reads: random.below(4) > 0,
        },
        ..RunOptions::default()
    }
}

/// How the frontier is run with these options.
fn mode(options: &RunOptions) -> Frontier {
    if options.schedule == Schedule::Normal { options.frontier } else { Frontier::Never }
}

/// What the serial twin says.
struct Expected {
    outcome: Outcome,
    /// Committed values before each transaction that was reached, by the number of decisions before it.
    prefixes: BTreeMap<u32, BTreeMap<Key, (Value, bool)>>,
}

impl Expected {
    fn of(trial: &Trial, options: &RunOptions) -> Self {
        let outcome = trial.serially(options.record);
        let prefix = |count: usize| {
            let list = trial.list[..count].to_vec();
            (count as u32, Trial { list, ..trial.clone() }.serially(false).committed)
        };
        Self { prefixes: (0..=trial.list.len()).map(prefix).collect(), outcome }
    }

    fn check_end(&self, found: &Outcome, seed: u64) {
        let Err(RunError::Cancelled { index }) = found.ending else {
            assert_eq!(*found, self.outcome, "seed {seed}");
            return;
        };
        let decided = Ledger::decided_in(&found.entries);
        assert_eq!(index, TxIndex(decided), "seed {seed}: cancelled after {decided} transactions");
        assert_eq!(found.committed, self.prefixes[&decided], "seed {seed}: cancelled before {index}");
    }
}

/// Who holds the commit role. With [`Frontier::Never`] a commit runs no attempt and is over within its step, so there is
/// nothing to watch.
struct Roles {
    mode: Frontier,
    committing: Mutex<Option<usize>>,
}

impl Probe for Roles {
    fn event(&self, worker: usize, event: Event) {
        let mut committing = self.committing.lock().unwrap();
        match event {
            Event::Commit { index } if self.mode == Frontier::Eager => {
                assert_eq!(*committing, None, "worker {worker} commits {index} while another does");
                *committing = Some(worker);
            }
            Event::Committed { index } if self.mode == Frontier::Eager => {
                assert_eq!(*committing, Some(worker), "worker {worker} committed {index} without the role");
                *committing = None;
            }
            Event::Aborted { index, cause: AbortCause::Dependency(on), .. } => {
                assert!(on < index, "I4: {index} waits for {on}");
            }
            _ => {}
        }
    }
}

type SimulatedRun<'d> = Run<'d, Toy, Factory<Others<'d>>, Clerk<'d>, Roles>;
type SimulatedRunner<'d> = Runner<'d, 'd, Toy, Factory<Others<'d>>, Clerk<'d>, Roles>;

/// What there is to look at between steps.
struct Stage<'d> {
    run: &'d SimulatedRun<'d>,
    memory: &'d Arc<Memory<Toy>>,
    ledger: &'d Mutex<Ledger>,
    expected: &'d Expected,
    checked: Mutex<Checked>,
}

struct Checked {
    entries: usize,
    frontier: u32,
}

impl Stage<'_> {
    fn check(&self) {
        self.run.scheduler().assert_sound();
        let ledger = self.ledger.lock().unwrap();
        let mut checked = self.checked.lock().unwrap();
        let (found, expected) = (&ledger.entries[checked.entries..], &self.expected.outcome.entries);
        let expected = expected.get(checked.entries..ledger.entries.len());
        assert_eq!(Some(found), expected, "I1: what the hook was told after {} calls", checked.entries);
        checked.entries = ledger.entries.len();

        let decided = Ledger::decided_in(&ledger.entries);
        let frontier = self.memory.frontier().0 - 1;
        assert_eq!(frontier, decided, "I2: the frontier stands where the hook's decisions are");
        assert!(frontier - checked.frontier <= 1, "I2: the frontier went from {} to {frontier}", checked.frontier);
        checked.frontier = frontier;
        let committed = trial::committed(self.memory);
        assert_eq!(committed, self.expected.prefixes[&decided], "I1, I6: values committed before {decided}");
    }
}

/// Makes the workers step.
struct Driver<'d> {
    stage: OnceLock<Stage<'d>>,
    /// A runner that is on the stack is not in its place.
    runners: Mutex<Vec<Option<SimulatedRunner<'d>>>>,
    random: Mutex<Random>,
    /// Of ten pauses within attempts, those after which another worker steps.
    unrest: u64,
    steps: Mutex<u32>,
    /// Step at which the run is cancelled, if its options let it be.
    cancel_at: u32,
    /// The first broken invariant. An attempt around the step catches panics, so it is kept here.
    failure: Mutex<Option<String>>,
}

impl<'d> Driver<'d> {
    fn new(random: Random, unrest: u64, cancel_at: u32) -> Self {
        Self {
            stage: OnceLock::new(),
            runners: Mutex::default(),
            random: Mutex::new(random),
            unrest,
            steps: Mutex::new(0),
            cancel_at,
            failure: Mutex::new(None),
        }
    }

    fn stage(&self) -> &Stage<'d> {
        self.stage.get().expect("the stage is set before anybody steps")
    }

    /// Steps until all have finished. Returns what went wrong.
    fn drive(&'d self, workers: usize) -> Option<String> {
        let run = self.stage().run;
        *self.runners.lock().unwrap() = (0..workers).map(|number| Some(Runner::simulated(run, number))).collect();
        let (mut finished, mut idle) = (vec![false; workers], vec![false; workers]);
        while finished.contains(&false) {
            let number = self.below(workers as u64) as usize;
            match self.step(number) {
                Some(Step::Worked) => idle.fill(false),
                Some(Step::Idle) => idle[number] = true,
                Some(Step::Finished) => {
                    finished[number] = true;
                    idle.fill(false);
                }
                None => return self.failure.lock().unwrap().take(),
            }
            if idle.iter().zip(&finished).all(|(idle, finished)| *idle || *finished) && finished.contains(&false) {
                return Some("I4: everybody is idle and nothing is finished".to_owned());
            }
        }
        self.failure.lock().unwrap().take()
    }

    /// Ends all workers.
    fn dismiss(&self) -> Vec<Option<SimulatedRunner<'d>>> {
        std::mem::take(&mut *self.runners.lock().unwrap())
    }

    /// Lets one worker step, and checks. `None` when something is wrong.
    fn step(&self, number: usize) -> Option<Step> {
        let mut runner = self.runners.lock().unwrap()[number].take()?;
        let stepped = catch_unwind(AssertUnwindSafe(|| {
            self.count();
            let step = runner.step();
            self.stage().check();
            step
        }));
        self.runners.lock().unwrap()[number] = Some(runner);
        let mut failure = self.failure.lock().unwrap();
        match stepped {
            Ok(step) if failure.is_none() => Some(step),
            Ok(_) => None,
            Err(payload) => {
                let message = payload.downcast_ref::<String>().cloned();
                failure.get_or_insert(message.unwrap_or_else(|| "a panic without message".to_owned()));
                None
            }
        }
    }

    fn count(&self) {
        let mut steps = self.steps.lock().unwrap();
        *steps += 1;
        assert!(*steps < MOST_STEPS, "I4: no end after {steps} steps");
        if *steps == self.cancel_at {
            self.stage().run.cancel();
        }
    }

    fn below(&self, bound: u64) -> u64 {
        self.random.lock().unwrap().below(bound)
    }
}

/// Between the operations of one worker's attempt, other workers step.
#[derive(Clone, Copy)]
struct Others<'d>(&'d Driver<'d>);

impl Pause for Others<'_> {
    fn pause(&self) {
        let driver = self.0;
        while driver.below(10) < driver.unrest && driver.failure.lock().unwrap().is_none() {
            let workers = driver.runners.lock().unwrap().len();
            // Whoever is on the stack already does not step.
            driver.step(driver.below(workers as u64) as usize);
        }
    }
}

/// Sebastiano Vigna's splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
