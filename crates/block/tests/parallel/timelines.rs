//! What an embedder sees of an execution: who did what when, what aborted where, what depends on what.

use alloy_primitives::U256;
use ropewalk_block::{AbortCause, EvmKey, ExecutorOptions, Metrics, Recorder, Step, TxIndex, field};

use crate::{
    assembler::Code,
    case::{BLIND, Case, Way},
    transaction::call,
    world::*,
};

/// Four senders who all count in one slot.
fn contended() -> Case {
    let world = World::new().contract(FIRST, &Code::new().increment(1));
    Case::new(Fork::Prague, &world, &[ALICE, BOB, CAROL, DAVE].map(|sender| call(sender, FIRST)))
}

const SLOT: EvmKey = EvmKey::Slot(FIRST, U256::ONE);

#[test]
fn aborts_of_a_blind_run_name_the_slot_that_everybody_counts_in() {
    let case = contended();
    let options = ExecutorOptions { locations: true, ..case.options(BLIND) };
    let recorder = Recorder::new(1, 10_000);
    let executed = case.executor_with(BLIND, options).execute_probed(&case.block(), case.reader(), &recorder);
    let execution = executed.expect("a valid block");
    let (timeline, locations) = (recorder.finish(), execution.locations.expect("asked for"));
    let aborts: Vec<_> = timeline.aborts().collect();
    assert_eq!(aborts.len(), execution.stats.aborts as usize, "{aborts:?}");
    assert!(aborts.len() >= 3, "all but the first were wrong: {aborts:?}");
    for abort in aborts {
        assert_eq!(abort.cause, AbortCause::Invalid(field::SLOT));
        assert_eq!(locations.key(abort.cell.expect("an observation is of a key")), SLOT);
    }
    let metrics = Metrics::new();
    metrics.add_execution(&execution.outcome, &execution.stats, timeline.duration);
    metrics.add_timeline(&timeline);
    let line = format!("ropewalk_invalid_observations_total{{location=\"slot\"}} {}", execution.stats.aborts);
    assert!(metrics.encode().lines().any(|each| each == line), "{line}: {}", metrics.encode());
}

#[test]
fn every_timeline_commits_every_transaction_once_in_order() {
    let case = contended();
    for way in Way::all(0..3) {
        let recorder = Recorder::new(way.threads, 10_000);
        let executed = case.executor(way).execute_probed(&case.block(), case.reader(), &recorder);
        executed.expect("a valid block");
        let timeline = recorder.finish();
        let mut commits: Vec<_> =
            timeline.spans().filter(|span| span.complete && matches!(span.step, Step::Commit { .. })).collect();
        commits.sort_by_key(|span| span.end);
        let order: Vec<_> = commits.iter().filter_map(|span| span.step.index()).collect();
        assert_eq!(order, (0..4).map(TxIndex).collect::<Vec<_>>(), "{way:?}");
        assert_eq!(timeline.dropped_events, 0);
        for spans in &timeline.workers {
            assert!(spans.windows(2).all(|pair| pair[0].begin <= pair[1].begin), "{way:?}: {spans:?}");
        }
    }
}

#[test]
fn dependencies_name_the_slot_that_they_go_through() {
    let case = contended();
    let options = ExecutorOptions { dependencies: true, locations: true, ..case.options(BLIND) };
    let executed = case.executor_with(BLIND, options).execute(&case.block(), case.reader());
    let execution = executed.expect("a valid block");
    let (dependencies, locations) =
        (execution.dependencies.expect("asked for"), execution.locations.expect("asked for"));
    let links: Vec<_> = dependencies.links().iter().map(|link| (link.index.0, link.on.0, link.fields)).collect();
    assert_eq!(links, [(1, 0, field::SLOT), (2, 1, field::SLOT), (3, 2, field::SLOT)]);
    assert!(dependencies.links().iter().all(|link| locations.key(link.cell) == SLOT));
    assert_eq!(dependencies.critical_chain(&[1.0; 4]), (0..4).map(TxIndex).collect::<Vec<_>>());
}

#[test]
fn nothing_is_kept_for_locations_that_nobody_asked_for() {
    let case = contended();
    let execution = case.execute(BLIND, &case.block(), case.reader()).expect("a valid block");
    assert!(execution.locations.is_none());
}
