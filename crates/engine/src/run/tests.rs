//! Claims about one run, with workers stepped by hand where the order of steps matters.

use std::sync::Mutex;

use super::*;
use crate::{
    AbortCause, CellId, Incarnation, Interrupt, View,
    toy::{
        Clerk, Key, Op, Outcome, Rule, Toy, Transaction, Trial, WORD,
        machine::{Factory, NoPause},
        trial::{self, Entry, Verdict},
    },
};

const A: Key = Key::Member(0, 0);
const B: Key = Key::Member(0, 1);
const C: Key = Key::Member(1, 0);
/// A broken base state cannot read it; it is the member that word 3 names.
const FRAGILE: Key = Key::Member(0, 3);
const GROUP: Key = Key::Group(0);

#[derive(Debug, Default)]
struct Log(Mutex<Vec<Event>>);

impl Probe for Log {
    fn event(&self, _: usize, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

type ToyRunner<'a> = Runner<'a, 'a, Toy, Factory<NoPause>, Clerk<'a>, Log>;

/// What came of a run, and how.
struct Told {
    outcome: Outcome,
    stats: Stats,
    events: Vec<Event>,
}

impl Told {
    /// Attempts of a transaction.
    fn executions(&self, of: u32) -> usize {
        let is_execution = |event: &&Event| matches!(event, Event::Execute { index, .. } if index.0 == of);
        self.events.iter().filter(is_execution).count()
    }

    /// Where in the order of events one of them happened first.
    fn when(&self, wanted: Event) -> Option<usize> {
        self.events.iter().position(|event| *event == wanted)
    }

    /// Where in the order of events, and at which key, a transaction first aborted for a reason.
    fn aborted(&self, of: TxIndex, reason: AbortCause) -> Option<(usize, CellId)> {
        self.events.iter().enumerate().find_map(|(at, event)| match event {
            Event::Aborted { index, cause, cell, .. } if (*index, *cause) == (of, reason) => Some((at, (*cell)?)),
            _ => None,
        })
    }

    fn aborts_because(&self, wanted: AbortCause) -> usize {
        self.events.iter().filter(|event| matches!(event, Event::Aborted { cause, .. } if *cause == wanted)).count()
    }
}

/// Steps three workers in the order that `order` wants, then in turns to the end. The outcome must be the serial one.
fn stepped(trial: &Trial, options: &RunOptions, order: impl FnOnce(&mut [ToyRunner<'_>])) -> Told {
    let memory = trial.memory();
    let (ledger, log) = (Mutex::default(), Log::default());
    let mut clerk = Clerk { rule: trial.rule, ledger: &ledger, curious: options.record };
    let run = Run::new(&memory, &trial.list, &Factory(NoPause), &mut clerk, options, &log, Crew::Of(3));
    let mut runners = Vec::from([0, 1, 2].map(|number| Runner::simulated(&run, number)));
    order(&mut runners);
    while runners.iter_mut().map(Runner::step).filter(|step| *step == Step::Finished).count() < runners.len() {}
    drop(runners);
    let finished = run.finish();
    let stats = run.scheduler().stats;
    let ending = finished.map(|finished| finished.stopped_at);
    let entries = std::mem::take(&mut ledger.lock().unwrap().entries);
    let outcome = Outcome { entries, ending, committed: trial::committed(&memory) };
    assert_eq!(outcome, trial.serially(options.record));
    Told { outcome, stats, events: log.0.into_inner().unwrap() }
}

/// In turns from the start.
fn in_turns(trial: &Trial, options: &RunOptions) -> Told {
    stepped(trial, options, |_| {})
}

/// One whole task: claimed, carried out, published, reported.
fn task(runner: &mut ToyRunner<'_>) {
    steps(runner, 3);
}

fn steps(runner: &mut ToyRunner<'_>, count: usize) {
    for _ in 0..count {
        let _step = runner.step();
    }
}

fn adversarial(seed: u64) -> RunOptions {
    RunOptions { schedule: Schedule::Adversarial { seed }, ..RunOptions::default() }
}

fn never() -> RunOptions {
    RunOptions { frontier: Frontier::Never, ..RunOptions::default() }
}

fn trial<const N: usize>(list: [&[Op]; N]) -> Trial {
    let transaction = |ops: &[Op]| Transaction { ops: ops.to_vec(), ..Transaction::default() };
    Trial::new(list.map(transaction))
}

/// Transaction 2 runs before 1, which it depends on, and 3 reads what it wrote. Then 1 runs, and 2 is found wrong; while
/// it is, 4 comes to read the same key.
fn overtaken(first: Op, second: Op) -> Told {
    let trial = trial([&[], &[first], &[Op::Look(A), second], &[Op::Read(B)], &[Op::Read(B)]]);
    stepped(&trial, &RunOptions::default(), |runners| {
        let [frontier, writer, reader] = runners else { unreachable!("there are three runners") };
        assert_eq!((frontier.step(), writer.step()), (Step::Worked, Step::Worked), "0 and 1 are taken");
        task(reader);
        task(reader);
        // 1 is published, 2 looked at again; the report is still to come.
        steps(writer, 4);
        steps(reader, 3);
    })
}

#[test]
fn reader_of_an_estimate_waits_for_its_writer() {
    let told = overtaken(Op::Put(A, 1), Op::Keep(B));
    let index = TxIndex(4);
    let (met, place) = told.aborted(index, AbortCause::Dependency(TxIndex(2))).expect("it met the estimate");
    let (_, cause) = told.aborted(TxIndex(2), AbortCause::Invalid(WORD)).expect("the writer was found wrong");
    assert_ne!(place, cause, "what 4 waited for is B, what 2 was wrong about is A");
    let rewritten = Event::Executed { index: TxIndex(2), incarnation: Incarnation(1) };
    let again = Event::Execute { index, incarnation: Incarnation(1), speculative: true };
    let order = [Some(met), told.when(rewritten), told.when(again)];
    assert!(order.is_sorted(), "{:?}", told.events);
    assert_eq!((told.stats.dependencies, told.executions(4)), (1, 2), "{:?}", told.events);
}

#[test]
fn equal_value_written_again_aborts_nobody() {
    let told = overtaken(Op::Put(A, 1), Op::Put(B, 7));
    assert_eq!((told.executions(2), told.executions(3)), (2, 1), "{:?}", told.events);
    assert_eq!(told.aborts_because(AbortCause::Invalid(WORD)), 1, "{:?}", told.events);
}

#[test]
fn write_of_the_value_that_was_there_aborts_nobody() {
    let told = overtaken(Op::Put(A, 0), Op::Keep(B));
    assert_eq!(told.stats.aborts, 0, "{:?}", told.events);
}

#[test]
fn write_to_another_field_aborts_nobody() {
    let told = overtaken(Op::Credit(A, 5), Op::Keep(B));
    assert_eq!(told.stats.aborts, 0, "{:?}", told.events);
    assert_eq!(told.stats.validations, 0, "nobody is even looked at again: {:?}", told.events);
}

#[test]
fn commuting_credits_do_not_abort() {
    let credits = Trial::new(vec![Transaction::from([Op::Credit(A, 3), Op::Credit(B, 1)]); 20]);
    for seed in 0..10 {
        let told = in_turns(&credits, &adversarial(seed));
        assert_eq!((told.stats.aborts, told.stats.speculations), (0, 20), "{:?}", told.stats);
        assert_eq!(told.outcome.committed[&A].0.balance, 60);
    }
}

#[test]
fn bound_observation_survives_a_credit() {
    let debits: [fn(Key, u64) -> Op; 2] = [Op::Debit, Op::Spend];
    for debit in debits {
        let mut trial = trial([&[Op::Credit(A, 3)], &[debit(A, 10)], &[Op::Credit(A, 1)], &[debit(A, 10)]]);
        trial.values.get_mut(&A).unwrap().balance = 30;
        let told = in_turns(&trial, &adversarial(0));
        assert_eq!((told.stats.aborts, told.stats.speculations), (0, 4), "{:?}", told.stats);
    }
}

#[test]
fn bound_observation_falls_where_the_bound_is_passed() {
    let debits: [fn(Key, u64) -> Op; 2] = [Op::Debit, Op::Spend];
    for debit in debits {
        let mut trial = trial([&[debit(A, 20)], &[debit(A, 20)], &[Op::Credit(A, 15)]]);
        trial.values.get_mut(&A).unwrap().balance = 30;
        let told = in_turns(&trial, &adversarial(0));
        assert_eq!([0, 1, 2].map(|index| told.executions(index)), [1, 2, 1], "{:?}", told.events);
        assert_eq!(told.outcome.committed[&A].0.balance, 25);
    }
}

#[test]
fn upper_bound_is_kept_as_the_lower_is() {
    let mut trial = trial([&[Op::Credit(A, 30)], &[Op::Fill(A, 30)], &[Op::Fill(A, 20)]]);
    trial.values.get_mut(&A).unwrap().balance = 50;
    let told = in_turns(&trial, &adversarial(0));
    assert_eq!([0, 1, 2].map(|index| told.executions(index)), [1, 2, 1], "{:?}", told.events);
    assert_eq!(told.outcome.committed[&A].0.balance, 100);
}

#[test]
fn frontier_run_is_never_validated() {
    let list = vec![Transaction::from([Op::Read(A), Op::Count(A)]); 30];
    for options in [RunOptions { speculation_multiple: 0, ..RunOptions::default() }, RunOptions::default()] {
        let told = in_turns(&Trial::new(list.clone()), &RunOptions { window_per_worker: 0, ..options });
        let stats = Stats { workers: 3, committed: 30, frontier_runs: 30, committed_cost: 60, ..Stats::default() };
        assert_eq!(told.stats, stats);
    }
}

#[test]
fn observations_of_frontier_runs_are_recorded_when_asked_for() {
    let chain = Trial::new(vec![Transaction::from([Op::Count(A)]); 5]);
    for record in [false, true] {
        let told = in_turns(&chain, &RunOptions { record, window_per_worker: 0, ..RunOptions::default() });
        let seen = told.outcome.entries.iter().filter_map(|entry| match entry {
            Entry::Committed { observations, .. } => Some(observations.len()),
            Entry::Admitted(..) => None,
        });
        assert!(seen.clone().all(|count| count == usize::from(record)), "{:?}", seen.collect::<Vec<_>>());
    }
}

#[test]
fn serial_chain_executes_each_transaction_once_where_its_lane_is_known() {
    let count = Transaction { lane: Some(1), ..Transaction::from([Op::Count(A)]) };
    let stats = in_turns(&Trial::new(vec![count; 200]), &RunOptions::default()).stats;
    assert_eq!((stats.frontier_runs + stats.speculations, stats.aborts), (200, 0), "{stats:?}");
}

#[test]
fn serial_chain_without_a_hint_costs_no_more_than_the_budget() {
    let chain = Trial::new(vec![Transaction::from([Op::Count(A)]); 200]);
    for multiple in [0, 1, 2, 3] {
        let told = in_turns(&chain, &RunOptions { speculation_multiple: multiple, ..RunOptions::default() });
        let executions: usize = (0..200).map(|index| told.executions(index)).sum();
        assert!(executions <= 200 * (1 + multiple as usize), "{:?}", told.stats);
        assert_eq!(told.stats.wasted_cost + 200, executions as u64, "every execution is accounted for");
    }
}

#[test]
fn adversarial_schedule_runs_every_dependent_transaction_twice() {
    let mut star = vec![Transaction::from([Op::Count(A)])];
    star.resize(20, Transaction::from([Op::Look(A), Op::Count(B)]));
    star.iter_mut().skip(1).for_each(|transaction| transaction.ops.truncate(1));
    for seed in 0..20 {
        let told = in_turns(&Trial::new(star.clone()), &adversarial(seed));
        let executions: Vec<_> = (0..20).map(|index| told.executions(index)).collect();
        assert_eq!((executions[0], executions[1..].to_vec()), (1, vec![2; 19]), "seed {seed}: {:?}", told.stats);
    }
    let chain = Trial::new(vec![Transaction::from([Op::Count(A)]); 20]);
    for seed in 0..20 {
        let told = in_turns(&chain, &adversarial(seed));
        assert_eq!(told.executions(0), 1, "nothing comes before the first");
        assert!((1..20).all(|index| told.executions(index) >= 2), "seed {seed}: {:?}", told.events);
    }
}

#[test]
fn speculation_budget_is_never_exceeded() {
    let chain = Trial::new(vec![Transaction::from([Op::Count(A), Op::Count(B)]); 60]);
    for multiple in [0, 1, 2, 3] {
        let told = in_turns(&chain, &RunOptions { speculation_multiple: multiple, ..RunOptions::default() });
        let speculative = |event: &&Event| matches!(event, Event::Execute { speculative: true, .. });
        let spent = 2 * told.events.iter().filter(speculative).count() as u32;
        assert!(spent <= multiple * 120, "{spent} of {}: {:?}", multiple * 120, told.stats);
    }
}

#[test]
fn fault_of_a_speculative_incarnation_is_not_an_error() {
    let mut trial = trial([&[Op::Put(GROUP, 0)], &[Op::Follow(0)]]);
    trial.values.get_mut(&GROUP).unwrap().word = 3;
    trial.broken = true;
    let told = in_turns(&trial, &adversarial(0));
    assert_eq!((told.outcome.ending, told.stats.failures), (Ok(None), 1), "{:?}", told.events);
}

#[test]
fn fault_met_only_by_validation_is_not_an_error() {
    // 2 reads a fragile key where 1 has hidden it, which 1 did only because it ran before 0; 2 chose that key by a word
    // that 0 has changed since.
    let mut trial = trial([&[Op::Put(C, 1), Op::Put(GROUP, 0)], &[Op::Branch(C, 1), Op::Clear(0)], &[Op::Chase(0)]]);
    trial.values.get_mut(&GROUP).unwrap().word = 3;
    trial.broken = true;
    for options in [RunOptions::default(), never()] {
        let told = stepped(&trial, &options, |runners| {
            steps(&mut runners[0], 2);
            task(&mut runners[1]);
            task(&mut runners[1]);
        });
        assert_eq!(told.outcome.ending, Ok(None), "{:?}", told.events);
    }
}

#[test]
fn fault_at_the_frontier_names_the_transaction() {
    let mut trial = trial([&[Op::Count(A)], &[Op::Read(FRAGILE)], &[Op::Count(A)]]);
    trial.broken = true;
    for options in [RunOptions::default(), never(), adversarial(1)] {
        let ending = in_turns(&trial, &options).outcome.ending;
        assert!(matches!(ending, Err(RunError::Fault { index: TxIndex(1), .. })), "{ending:?}");
    }
}

#[test]
fn fault_of_a_blind_write_comes_before_its_commit() {
    let mut trial = trial([&[Op::Count(A)], &[Op::Credit(FRAGILE, 1)]]);
    trial.broken = true;
    for options in [RunOptions::default(), never(), adversarial(1)] {
        let told = in_turns(&trial, &options);
        assert!(matches!(told.outcome.ending, Err(RunError::Fault { index: TxIndex(1), .. })));
        assert_eq!(told.outcome.entries.last(), Some(&Entry::Admitted(TxIndex(1), Decision::Keep)));
    }
}

#[test]
fn panic_at_the_frontier_names_the_transaction() {
    let mut trial = trial([&[Op::Count(A)], &[Op::Count(A)], &[Op::Panic(A, 2)], &[Op::Count(A)]]);
    for options in [RunOptions::default(), never(), adversarial(1)] {
        let error = in_turns(&trial, &options).outcome.ending.unwrap_err();
        assert!(matches!(error, RunError::Panicked { index: TxIndex(2), .. }), "{error}");
        assert!(error.to_string().contains(&format!("{A:?} is 2")), "{error}");
    }
    // The same panic, seen only by incarnations that come too early.
    trial.list[2].ops = vec![Op::Panic(A, 0)];
    for seed in 0..10 {
        let told = in_turns(&trial, &adversarial(seed));
        assert_eq!(told.outcome.ending, Ok(None));
        assert!(told.aborts_because(AbortCause::Panic) >= 1, "{:?}", told.events);
    }
}

#[test]
fn transaction_that_is_not_admitted_may_panic_as_it_likes() {
    let mut trial = trial([&[Op::Count(A), Op::Count(A)], &[Op::Panic(B, 0), Op::Count(A)], &[]]);
    trial.rule = Rule { limit: Some(2), ..Rule::default() };
    for options in [RunOptions::default(), never(), adversarial(1)] {
        assert_eq!(in_turns(&trial, &options).outcome.ending, Ok(None));
    }
}

/// Transaction 1 of 4 has an output that the rule does not like.
fn disliked(on_unlucky: Verdict) -> Trial {
    let mut trial = trial([
        &[Op::Put(A, 1)],
        &[Op::Look(C), Op::Put(A, 2), Op::Credit(B, 5), Op::Clear(0)],
        &[Op::Look(A), Op::Look(B), Op::Count(B)],
        &[Op::Put(C, 9)],
    ]);
    trial.values.get_mut(&C).unwrap().word = 2;
    trial.rule = Rule { unlucky: Some(33), on_unlucky, ..Rule::default() };
    trial
}

#[test]
fn skip_leaves_no_trace() {
    let skipped = disliked(Verdict::Skip);
    let mut without = skipped.clone();
    without.list[1] = Transaction::default();
    for options in [RunOptions::default(), never(), adversarial(1), adversarial(2)] {
        let told = in_turns(&skipped, &options);
        assert_eq!(told.outcome.committed, without.plainly().committed);
        let outputs = |outcome: &Outcome| -> Vec<_> {
            let is_later = |entry: &&Entry| matches!(entry, Entry::Committed { index, .. } if index.0 > 1);
            outcome.entries.iter().filter(is_later).cloned().collect()
        };
        assert_eq!(outputs(&told.outcome), outputs(&without.serially(false)));
    }
}

#[test]
fn stop_commits_nothing_at_or_above() {
    let stopped = disliked(Verdict::Stop);
    let below = Trial { list: stopped.list[..1].to_vec(), ..stopped.clone() };
    for options in [RunOptions::default(), never(), adversarial(1), adversarial(2)] {
        let told = in_turns(&stopped, &options);
        assert_eq!(told.outcome.ending, Ok(Some(TxIndex(1))));
        assert_eq!(told.outcome.committed, below.plainly().committed);
    }
}

#[test]
fn views_of_what_is_committed_work_after_an_early_end() {
    let stopped = disliked(Verdict::Stop);
    let engine = Engine::new(std::num::NonZeroUsize::MIN).unwrap();
    let memory = stopped.memory();
    let ledger = Mutex::default();
    let mut clerk = Clerk { rule: stopped.rule, ledger: &ledger, curious: false };
    let finished = engine.run(&memory, &stopped.list, &Factory(NoPause), &mut clerk, &RunOptions::default());
    assert_eq!(finished.unwrap().stopped_at, Some(TxIndex(1)));
    let mut view = View::committed(Arc::clone(&memory), TxIndex(1).position(), false);
    let word: Result<_, Interrupt<_>> = view.read(&A).map(|value| value.word);
    assert_eq!(word, Ok(1));
}
