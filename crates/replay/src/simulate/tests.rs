//! Transactions whose times are known: what the clock must come to.

use std::{collections::HashMap, num::NonZeroUsize, sync::Arc};

use alloy_primitives::{Address, U256};
use ropewalk_block::{EvmKey, Footprint, Footprints};
use ropewalk_engine::{Engine, Inline, Memory, RunOptions, TxIndex};
use ropewalk_evm::{AccountDelta, AccountObservation, AccountValue, EvmDelta, EvmObservation, EvmValue};

use super::{
    Before, KeepAll, Scripted,
    clock::VirtualClock,
    costs::Costs,
    script::{Actors, Script, scripts},
    textbook::textbook,
};

/// Nanoseconds of every transaction.
const EACH: f64 = 1_000_000.0;

fn slot(number: u64) -> EvmKey {
    EvmKey::Slot(Address::repeat_byte(1), U256::from(number))
}

/// Transactions that count up the slots of a list, each its own.
fn counters(slots: &[u64]) -> Footprints {
    let mut counts: HashMap<u64, u64> = HashMap::new();
    let mut footprints = Footprints::default();
    for number in slots {
        let count = counts.entry(*number).or_default();
        let before = U256::from(*count);
        footprints.before.entry(slot(*number)).or_insert(EvmValue::Slot(before));
        *count += 1;
        footprints.transactions.push(Footprint {
            observations: vec![(slot(*number), EvmObservation::Slot(before))],
            writes: vec![(slot(*number), EvmDelta::Slot(before + U256::from(1)))],
            gas_used: 50_000,
            weight: 50_000,
            effort: EACH as u64,
            lane: None,
        });
    }
    footprints
}

/// Virtual time of the engine, over that of one transaction; the slots are read after `read_at` of it.
fn engine_time(slots: &[u64], read_at: f64, workers: usize, costs: &Costs) -> f64 {
    let footprints = counters(slots);
    let arrivals: Vec<_> = slots.iter().map(|number| HashMap::from([(slot(*number), read_at)])).collect();
    time_of(&scripts(&footprints, &arrivals), footprints, workers, costs)
}

fn time_of(scripts: &[Script], footprints: Footprints, workers: usize, costs: &Costs) -> f64 {
    let clock = VirtualClock::new(workers, costs.clone());
    let memory = Arc::new(Memory::<Scripted>::new(Before(Arc::new(footprints.before)), 16));
    let engine = Engine::new(NonZeroUsize::new(workers).expect("there are workers")).expect("threads start");
    let options = RunOptions { inline: Inline::Below(0), ..RunOptions::default() };
    let ran = engine.run_probed(&memory, scripts, &Actors(&clock), &mut KeepAll, &options, &clock);
    ran.expect("nothing can fail");
    clock.end_of_all() / EACH
}

fn free(count: usize) -> Costs {
    Costs { executions: vec![(EACH, EACH); count], ..Costs::default() }
}

#[test]
fn independent_transactions_take_their_share_of_a_worker() {
    let slots: Vec<u64> = (0..48).collect();
    for workers in [1, 2, 3, 8, 16] {
        let time = engine_time(&slots, 0.5, workers, &free(48));
        let least = (48.0 / workers as f64).ceil();
        assert!((least..least + 0.001).contains(&time), "{workers} workers took {time} of {least}");
    }
}

#[test]
fn a_chain_takes_as_long_as_in_order() {
    for workers in [1, 2, 8] {
        let time = engine_time(&[7; 20], 0.0, workers, &free(20));
        assert!((19.999..20.001).contains(&time), "{workers} workers took {time}");
    }
}

#[test]
fn what_is_read_late_overlaps_with_what_is_written_before() {
    let time = engine_time(&[7, 7], 0.9, 2, &free(2));
    let overlapping = 1.1;
    assert!((1.0..=2.0).contains(&time), "took {time}, at best {overlapping}");
}

#[test]
fn who_waits_inside_a_read_overlaps_with_what_is_written_before() {
    let footprints = counters(&[7; 20]);
    let arrivals = vec![HashMap::from([(slot(7), 0.9)]); 20];
    let mut scripts = scripts(&footprints, &arrivals);
    for (index, script) in scripts.iter_mut().enumerate().skip(1) {
        (script.follows, script.meets) = (Some(TxIndex(index as u32 - 1)), Some(slot(7)));
    }
    // One after the other, but for the nine tenths of each that come before the read.
    let time = time_of(&scripts, footprints, 20, &free(20));
    assert!((2.899..2.901).contains(&time), "took {time}");
}

#[test]
fn a_credit_of_another_amount_breaks_no_bound() {
    let account = EvmKey::Account(Address::repeat_byte(2));
    let mut footprints = counters(&[7, 7, 8]);
    footprints
        .before
        .insert(account, EvmValue::Account(Box::new(AccountValue { exists: true, ..AccountValue::from(None) })));
    let credit = AccountDelta::credit(U256::from(5));
    // The second reads what the first has not written yet, and credits the account; the third only needs it to exist.
    footprints.transactions[1].writes.push((account, EvmDelta::Account(credit)));
    let exists = AccountObservation { exists: Some(true), ..AccountObservation::NONE };
    footprints.transactions[2].observations.push((account, EvmObservation::Account(exists)));
    let arrivals = [(slot(7), 0.0), (slot(7), 0.0), (account, 0.9)].map(|look| HashMap::from([look]));
    let half = EACH / 2.0;
    let costs = Costs { executions: vec![(EACH, EACH), (half, half), (EACH, EACH)], ..Costs::default() };
    let time = time_of(&scripts(&footprints, &arrivals), footprints, 3, &costs);
    assert!((1.499..1.501).contains(&time), "took {time}: only the second was wrong");
}

#[test]
fn the_same_simulation_comes_to_the_same_time() {
    let slots: Vec<u64> = (0..60).map(|number| number * number % 13).collect();
    let costs = Costs { claim: 100.0, publish: 300.0, commit: 500.0, wake: 5_000.0, ..free(60) };
    let times: Vec<f64> = (0..5).map(|_| engine_time(&slots, 0.3, 7, &costs)).collect();
    assert!(times.windows(2).all(|pair| pair[0] == pair[1]), "{times:?}");
}

#[test]
fn steps_cost_what_they_are_said_to() {
    let costs = Costs { claim: 0.01 * EACH, commit: 0.1 * EACH, ..free(10) };
    let time = engine_time(&(0..10).collect::<Vec<_>>(), 0.0, 1, &costs);
    assert!((11.09..11.13).contains(&time), "ten transactions, commits and claims took {time}");
}

#[test]
fn what_nobody_could_see_before_costs_more_to_commit() {
    let costs = Costs { fold: 0.05 * EACH, ..free(10) };
    // One worker makes each at the frontier; two publish some of them.
    let time = |workers| engine_time(&(0..10).collect::<Vec<_>>(), 0.0, workers, &costs);
    assert!((10.49..10.51).contains(&time(1)), "took {}", time(1));
    assert!((5.0..5.5).contains(&time(2)), "took {}", time(2));
}

#[test]
fn textbook_takes_its_share_of_independent_work_and_runs_dependent_work_again() {
    let time = |slots: &[u64], workers| {
        let footprints = counters(slots);
        let arrivals: Vec<_> = slots.iter().map(|number| HashMap::from([(slot(*number), 0.5)])).collect();
        let scripts = scripts(&footprints, &arrivals);
        textbook(&scripts, Address::ZERO, &free(slots.len()), workers) / EACH
    };
    let independent: Vec<u64> = (0..48).collect();
    assert_eq!([1, 2, 16].map(|workers| time(&independent, workers)), [48.0, 24.0, 3.0]);
    assert_eq!(time(&[7; 6], 1), 6.0, "alone nothing is run twice");
    assert!(time(&[7; 6], 4) >= 4.0, "a chain cannot be broken: {}", time(&[7; 6], 4));
}
