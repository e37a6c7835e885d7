//! The first law: in parallel as in order, for every list, thread count, schedule and mode.

use std::{num::NonZeroUsize, sync::LazyLock};

use proptest::prelude::*;

use super::{Outcome, Trial, lists, trial::Entry};
use crate::{Decision, Engine, Finished, Frontier, Inline, Position, RunOptions, Schedule, Shortcuts, View};

static ENGINES: LazyLock<Vec<Engine>> = LazyLock::new(|| {
    let engine = |threads| Engine::new(NonZeroUsize::new(threads).unwrap()).unwrap();
    [1, 2, 3, 8].map(engine).into()
});

fn options() -> impl Strategy<Value = RunOptions> {
    let frontier = prop_oneof![Just(Frontier::Eager), Just(Frontier::Never)];
    let schedule = prop_oneof![
        2 => Just(Schedule::Normal),
        1 => any::<u64>().prop_map(|seed| Schedule::Adversarial { seed }),
    ];
    let window = prop_oneof![Just(0), Just(1), Just(3), Just(64), Just(u32::MAX)];
    let multiple = prop_oneof![Just(0), Just(1), Just(3), Just(u32::MAX)];
    let inline = prop_oneof![
        1 => Just(Inline::Automatic),
        2 => Just(Inline::Below(0)),
        1 => (0..60u64).prop_map(Inline::Below),
    ];
    let shortcuts = any::<[bool; 5]>().prop_map(|[lanes, large_first, commits_at_once, foretells, waits_in_reads]| {
        Shortcuts { lanes, large_first, commits_at_once, foretells, waits_in_reads }
    });
    (frontier, schedule, any::<bool>(), window, multiple, inline, shortcuts).prop_map(
        |(frontier, schedule, record, window_per_worker, speculation_multiple, inline, shortcuts)| RunOptions {
            frontier,
            schedule,
            record,
            known_writes: false,
            speculation_multiple,
            inline,
            window_per_worker,
            cancel: None,
            shortcuts,
        },
    )
}

/// The serial outcome as a run with these options sees it. One difference is allowed: the serial twin records always.
fn serially(trial: &Trial, options: &RunOptions) -> Outcome {
    trial.serially(options.record)
}

fn is_left_out(entry: &Entry) -> bool {
    let (Entry::Admitted(_, decision) | Entry::Committed { decision, .. }) = entry;
    *decision != Decision::Keep
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn serial_twin_equals_a_plain_loop(trial in lists::trials(24)) {
        prop_assert_eq!(trial.serially(false), trial.plainly());
    }

    #[test]
    fn parallel_equals_serial(trial in lists::trials(24), runs in prop::collection::vec(options(), 2..5)) {
        for options in &runs {
            let serial = serially(&trial, options);
            for engine in ENGINES.iter() {
                let (parallel, finished) = trial.in_parallel(engine, options);
                prop_assert_eq!(&parallel, &serial, "{} threads, {:?}, {:?}", engine.threads(), options, finished);
                let conflicts = finished.iter().flat_map(|finished| &finished.conflicts);
                prop_assert!(conflicts.clone().all(|conflict| conflict.writer < conflict.reader), "{:?}", finished);
            }
        }
    }

    #[test]
    fn over_right_known_writes_parallel_equals_serial_and_nothing_runs_twice(
        trial in lists::trials(24),
        runs in prop::collection::vec(options(), 2..5),
    ) {
        let trial = Trial { broken: false, ..trial };
        let said = trial.said();
        for options in &runs {
            let serial = serially(&trial, options);
            let options = RunOptions { known_writes: true, ..options.clone() };
            for engine in ENGINES.iter() {
                let (parallel, finished, memory) = trial.over(Some(said.clone()), engine, &options);
                let told = (&parallel.entries, &parallel.ending);
                prop_assert_eq!(told, (&serial.entries, &serial.ending), "{} threads, {:?}", engine.threads(), options);
                let mut after = View::committed(memory, Position(trial.list.len() as u32 + 1), false);
                for (key, (value, _)) in &serial.committed {
                    prop_assert_eq!(after.read(key), Ok(*value), "{:?} after {} threads", key, engine.threads());
                }
                // What is left out may be speculated upon all the same, and fault or panic there; nothing is said of it.
                let left_out = serial.entries.iter().any(is_left_out);
                if let Some(Finished { stopped_at: None, stats, .. }) = finished.filter(|_| !left_out) {
                    prop_assert_eq!(stats.aborts, 0, "{} threads, {:?}", engine.threads(), options);
                }
            }
        }
    }

    #[test]
    fn outcome_of_long_lists_does_not_depend_on_the_threads(trial in lists::trials(150), options in options()) {
        let serial = serially(&trial, &options);
        for engine in &ENGINES[1..] {
            let (parallel, finished) = trial.in_parallel(engine, &options);
            prop_assert_eq!(&parallel, &serial, "{} threads, {:?}", engine.threads(), finished);
        }
    }
}
