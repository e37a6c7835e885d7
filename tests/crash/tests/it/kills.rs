//! Processes that are killed, at any moment and at every named step.

use std::{collections::BTreeMap, os::unix::process::ExitStatusExt, path::Path, time::Duration};

use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use ropewalk_crash_tests::{
    chain::{At, Chain},
    child::{self, Fate, Manner, Moment, Orders},
    judge::{Found, Judge},
    work,
};
use ropewalk_store::{Durability, Step};

use crate::setting::{child, number, say, scratch, seed};

const SIGKILL: i32 = 9;

/// Kills where no number is given.
const KILLS: u64 = 30;

/// What a kill costs is the same at every durability: nothing.
const DURABILITIES: [Durability; 3] = [
    Durability::EveryBlock,
    Durability::EveryBlocks(std::num::NonZeroU32::new(3).expect("it is three")),
    Durability::OperatingSystem,
];

#[derive(Debug, Default)]
struct Tally {
    kills: u64,
    chains: u64,
    unfinished_loads: u64,
    without_tries: u64,
    unwound: u64,
}

/// A chain in a directory, with a process after the other that continues it.
struct Trial {
    seed: u64,
    durability: Durability,
    judge: Judge,
    directory: tempfile::TempDir,
    done: usize,
}

impl Trial {
    fn new(seed: u64) -> Self {
        let durability = DURABILITIES[(seed % 3) as usize];
        let judge = Judge::of(Chain::draw(seed, durability), scratch().path());
        let judge = judge.unwrap_or_else(|wrong| panic!("seed {seed}, undisturbed: {wrong}"));
        Self { seed, durability, judge, directory: scratch(), done: 0 }
    }

    fn store(&self) -> &Path {
        self.directory.path()
    }

    fn left(&self) -> usize {
        self.judge.chain().actions.len() - self.done
    }

    /// Where to kill the next process: at a step that had fewer kills than others.
    fn next_step(&self, random: &mut ChaCha8Rng, counts: &BTreeMap<Step, u64>) -> Option<Manner> {
        let rest = self.done..self.judge.chain().actions.len();
        let steps = rest.flat_map(|action| self.judge.steps(action).iter().map(move |step| (action, *step)));
        let mut steps: Vec<(usize, Step)> = steps.collect();
        if let Some((action, step)) = steps.iter().find(|(_, step)| counts[step] == 0).copied() {
            return Some(Manner::EndingAt { action, step, times: 1 });
        }
        // Nothing new is to come, and so the chain may last a little.
        steps.retain(|(action, _)| *action < self.done + 12);
        let fewest = steps.iter().map(|(_, step)| counts[step]).min()?;
        let fewest: Vec<_> = steps.iter().filter(|(_, step)| counts[step] == fewest).collect();
        let (action, step) = **fewest.choose(random)?;
        // What was killed in the middle of the next action may have left some of its steps behind.
        let left = |found: &&(usize, Step)| **found == (action, step) && action > self.done;
        let often = steps.iter().filter(left).count().max(1) as u32;
        Some(Manner::EndingAt { action, step, times: random.random_range(1..=often) })
    }

    /// Continues in another process until `moment`.
    fn work(&self, manner: Manner, moment: Moment) -> Fate {
        let (directory, seed, durability) = (self.store().to_owned(), self.seed, self.durability);
        let orders = Orders { directory, seed, durability, done: self.done, manner };
        let fate = child::run(&mut child::command(&child(), &orders), self.done, moment);
        let killed = fate.status.signal() == Some(SIGKILL);
        assert!(killed || fate.ended, "seed {seed}: from action {} on: {:?}", self.done, fate.status);
        fate
    }

    /// What the last process left must be where it said it was, and good for everything.
    fn judge(&mut self, fate: &Fate, random: &mut ChaCha8Rng, tally: &mut Tally) -> Found {
        let (seed, from) = (self.seed, self.done);
        let at = || format!("seed {seed}, from action {from} on, killed when {} were over", fate.done);
        let found = self.judge.judge(self.store(), self.judge.chain().possible(fate.done));
        let found = found.unwrap_or_else(|wrong| panic!("{}: {wrong}", at()));
        assert_eq!(found.lost, None, "{}", at());
        let point = self.judge.chain().points[found.point];
        tally.unfinished_loads += u64::from(matches!(point.at, At::Loading(_)));
        tally.without_tries += u64::from(matches!(point.at, At::WithoutTries(_)));
        work::repair(self.store(), self.judge.chain(), point.at).unwrap_or_else(|error| panic!("{}: {error}", at()));
        if matches!(point.at, At::Block(_)) && random.random_bool(0.25) {
            let blocks = random.random_range(1..6);
            let unwound = self.judge.back_and_forth(self.store(), blocks);
            tally.unwound += unwound.unwrap_or_else(|wrong| panic!("{}, then unwound: {wrong}", at()));
        }
        self.done = point.done;
        found
    }

    /// Continues to the end, where everything must be as if nothing had happened.
    fn finish(&mut self, random: &mut ChaCha8Rng, tally: &mut Tally) {
        let fate = self.work(Manner::Quiet, Moment::Never);
        assert!(fate.ended, "seed {}: nobody killed it: {:?}", self.seed, fate.status);
        self.judge(&fate, random, tally);
        assert_eq!(self.left(), 0, "seed {}", self.seed);
        tally.chains += 1;
    }
}

fn moment(random: &mut ChaCha8Rng, done: usize) -> Moment {
    match random.random_range(0..4) {
        0 => Moment::AfterStart(Duration::from_micros(random.random_range(0..60_000))),
        1 => Moment::AfterDone(done + 1, Duration::from_micros(random.random_range(0..4_000))),
        2 => Moment::AfterDone(done + random.random_range(1..12), Duration::ZERO),
        _ => Moment::AfterDone(done + random.random_range(1..12), Duration::from_micros(random.random_range(0..9_000))),
    }
}

#[test]
fn a_process_killed_at_any_moment_loses_nothing_that_it_said_and_halves_nothing() {
    let (first, kills) = (seed(), number("ROPEWALK_KILLS").unwrap_or(KILLS));
    say(&format!("kills at random moments: {kills} from seed {first} on"));
    let mut tally = Tally::default();
    for seed in first.. {
        if tally.kills >= kills {
            break;
        }
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut trial = Trial::new(seed);
        while trial.left() > 0 && tally.kills < kills {
            let fate = trial.work(Manner::Quiet, moment(&mut random, trial.done));
            tally.kills += u64::from(!fate.ended);
            trial.judge(&fate, &mut random, &mut tally);
        }
        trial.finish(&mut random, &mut tally);
    }
    say(&format!("kills at random moments: {tally:?}"));
}

#[test]
fn a_process_killed_at_any_step_loses_nothing_that_it_said_and_halves_nothing() {
    let (first, kills) = (seed(), number("ROPEWALK_KILLS").unwrap_or(KILLS));
    say(&format!("kills at steps: {kills} from seed {first} on"));
    let mut tally = Tally::default();
    let mut counts: BTreeMap<Step, u64> = Step::ALL.into_iter().map(|step| (step, 0)).collect();
    for seed in first.. {
        if tally.kills >= kills {
            break;
        }
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut trial = Trial::new(seed);
        while let Some(manner) = trial.next_step(&mut random, &counts).filter(|_| tally.kills < kills) {
            let fate = trial.work(manner, Moment::Never);
            assert!(!fate.ended, "seed {seed}, from action {} on: did not come to {manner:?}", trial.done);
            let Manner::EndingAt { step, .. } = manner else { unreachable!("it is one that ends") };
            counts.entry(step).and_modify(|count| *count += 1);
            tally.kills += 1;
            trial.judge(&fate, &mut random, &mut tally);
        }
        trial.finish(&mut random, &mut tally);
    }
    let never: Vec<&str> = counts.iter().filter(|(_, count)| **count == 0).map(|(step, _)| step.name()).collect();
    assert!(never.is_empty() || kills < KILLS, "nothing was killed at {never:?}");
    let counts: Vec<String> = counts.iter().map(|(step, count)| format!("{} {count}", step.name())).collect();
    say(&format!("kills at steps: {tally:?}: {}", counts.join(", ")));
}
