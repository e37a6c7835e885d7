//! The other process: it goes along a chain until it is killed, and says how far it has come.
//!
//! ```text
//! crash-child work DIRECTORY SEED DURABILITY DONE [telling | ending ACTION STEP TIMES]
//! crash-child limited DIRECTORY SEED LIMIT
//! crash-child hold DIRECTORY      opens the store, says so, and keeps it open until its input ends
//! crash-child examine SEED       reads names of directories, and says what each holds of the chain to be damaged
//! ```

#![expect(clippy::print_stderr, reason = "what goes wrong here is told to whoever runs the tests")]

use std::{
    io::Write,
    path::Path,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use ropewalk_crash_tests::{
    chain::Chain,
    child::{Manner, Orders},
    judge::{Judge, Wrong},
    limit::{self, Limit},
    work::Work,
};
use ropewalk_store::{Probe, Step, Store, StoreError, StoreOptions};
use rustix::process::{Signal, getpid, kill_process};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.split_first() {
        Some((mode, rest)) if mode == "work" => Orders::parse(rest).map(|orders| work(&orders)),
        Some((mode, [directory, seed, limit])) if mode == "limited" => {
            let parsed = seed.parse().ok().zip(limit.parse().ok());
            parsed.map(|(seed, limit)| limited(Path::new(directory), seed, limit))
        }
        Some((mode, [directory])) if mode == "hold" => Some(hold(Path::new(directory))),
        Some((mode, [seed])) if mode == "examine" => seed.parse().ok().map(examine),
        _ => None,
    };
    match result {
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(error)) => {
            eprintln!("crash-child: {error}: {error:?}");
            ExitCode::FAILURE
        }
        None => {
            eprintln!("crash-child: not understood: {arguments:?}");
            ExitCode::from(2)
        }
    }
}

/// One write for each line, so that a line is said or it is not.
fn say(line: &str) {
    let line = format!("{line}\n");
    // Nobody listens any more: the end is near.
    let _ = std::io::stdout().lock().write_all(line.as_bytes());
}

fn work(orders: &Orders) -> Result<(), StoreError> {
    let chain = Chain::draw(orders.seed, orders.durability);
    let probe = Arc::new(Obedient { manner: orders.manner, action: AtomicUsize::new(0), times: AtomicU32::new(0) });
    let mut work = Work::open(&orders.directory, &chain, orders.done, Arc::clone(&probe) as Arc<dyn Probe>)?;
    say("open");
    loop {
        probe.action.store(work.done(), Ordering::Relaxed);
        if !work.act()? {
            break;
        }
        say(&format!("{} done", work.done()));
    }
    work.close();
    say("end");
    Ok(())
}

/// Opens the store, whatever it holds, and keeps it open until its input ends.
fn hold(directory: &Path) -> Result<(), StoreError> {
    let store = Store::open(directory, &StoreOptions::default())?;
    say(&format!("open {:?}", store.head().map(|head| head.number)));
    let _ = std::io::stdin().lines().count();
    Ok(())
}

fn limited(directory: &Path, seed: u64, limit: Limit) -> Result<(), StoreError> {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let judge =
        Judge::of(Chain::to_damage(seed), scratch.path()).unwrap_or_else(|wrong| panic!("undisturbed: {wrong}"));
    match limit::endure(&judge, directory, limit, &mut ChaCha8Rng::seed_from_u64(seed)) {
        Ok(endured) => say(&format!("{endured:?}")),
        Err(wrong) => panic!("seed {seed}, too little {limit}: {wrong}"),
    }
    Ok(())
}

fn examine(seed: u64) -> Result<(), StoreError> {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let judge =
        Judge::of(Chain::to_damage(seed), scratch.path()).unwrap_or_else(|wrong| panic!("undisturbed: {wrong}"));
    for directory in std::io::stdin().lines().map_while(Result::ok) {
        let possible = 0..=judge.chain().points.len() - 1;
        let answer = match judge.judge(Path::new(&directory), possible) {
            Ok(found) => format!("point {} {}", found.point, found.lost.map_or(-1, |lost| lost.last as i64)),
            Err(wrong) => match &wrong {
                Wrong::Refused(error) => match wrong.store_error() {
                    Some(error) => format!("refused {error:?}"),
                    None => format!("refused {error:?}"),
                },
                Wrong::Unsound(findings) => format!("unsound {findings:?}"),
                Wrong::Misleading(what) => format!("misleading {what}"),
            },
        };
        say(&answer.replace('\n', " "));
    }
    Ok(())
}

/// A probe that does what the orders say. It hears of every step on the thread that acts.
struct Obedient {
    manner: Manner,
    /// The action that is going on.
    action: AtomicUsize,
    /// How often it has come to the step at which to end.
    times: AtomicU32,
}

impl Probe for Obedient {
    fn reached(&self, step: Step) {
        match self.manner {
            Manner::Quiet => {}
            Manner::Telling => say(&format!("step {}", step.name())),
            Manner::EndingAt { action, step: last, times } => {
                let there = step == last && self.action.load(Ordering::Relaxed) == action;
                if there && self.times.fetch_add(1, Ordering::Relaxed) + 1 == times {
                    kill_process(getpid(), Signal::KILL).expect("a process may kill itself");
                }
            }
        }
    }
}
