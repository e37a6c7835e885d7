//! The scheduler alone: its invariants, what it hands out in which order, and every protocol that workers could follow.

use proptest::{collection::vec, prelude::*};

use super::*;

impl Scheduler {
    /// Whether a transaction may have been left to the committing worker because its turn comes next.
    fn is_due(&self, index: u32) -> bool {
        index <= self.frontier + 1
    }

    /// Checks what must hold between any two reports.
    pub(crate) fn assert_sound(&self) {
        assert!(self.frontier <= self.count(), "the frontier {} is beyond {}", self.frontier, self.count());
        for (index, transaction) in (0..).zip(&self.transactions) {
            let committed = transaction.phase == Phase::Committed;
            assert_eq!(committed, index < self.frontier, "I2: {index} is {transaction:?} before {}", self.frontier);
            match transaction.phase {
                Phase::Blocked => {
                    let waits_for = |lower: &u32| self.transaction(*lower).waiters.contains(&index);
                    let blocker = (0..index).filter(waits_for).find(|lower| !self.is_past(*lower));
                    assert!(blocker.is_some(), "I4: {index} is blocked, but on nobody below it that is to run");
                }
                Phase::Ready => {
                    let queued = self.ready.iter().any(|Reverse(queued)| *queued == index) || self.is_due(index);
                    assert!(queued, "I4: {index} is ready but not queued");
                }
                Phase::Executed if transaction.dirty => {
                    let noted = self.recheck.contains(&index) || self.is_due(index);
                    assert!(noted, "{index} is dirty but not to be looked at again");
                }
                _ => {}
            }
        }
        if self.committing && !self.stopped {
            assert_eq!(self.transaction(self.frontier).phase, Phase::Running, "the frontier is being committed");
        }
    }
}

fn plan(count: usize, workers: u32) -> Plan {
    Plan {
        weights: vec![(1, 1); count],
        large_first: true,
        after: vec![None; count],
        workers,
        window_per_worker: 64,
        frontier: Frontier::Eager,
        adversary: None,
        speculation_multiple: 3,
    }
}

const FIRST: Incarnation = Incarnation(0);

fn commit(index: u32) -> Option<Task> {
    Some(Task::Commit { index: TxIndex(index), incarnation: FIRST, admitted: false })
}

fn execute(index: u32) -> Option<Task> {
    Some(Task::Execute { index: TxIndex(index), incarnation: FIRST, last_word: false, withhold: false })
}

fn committed(index: u32) -> Report {
    Report::Committed { index: TxIndex(index), speculated: false, wasted: false, cost: 1 }
}

fn executed(index: u32) -> Report {
    Report::Executed { index: TxIndex(index) }
}

fn waiting(index: u32, on: u32) -> Report {
    Report::Aborted { index: TxIndex(index), on: Some(TxIndex(on)) }
}

/// A scheduler that has handed out the commit of 0 and the execution of all others.
fn handed_out(count: usize) -> Scheduler {
    let mut scheduler = Scheduler::new(plan(count, 4));
    assert_eq!(scheduler.next(), commit(0));
    (1..count as u32).for_each(|index| assert_eq!(scheduler.next(), execute(index)));
    assert_eq!(scheduler.next(), None);
    scheduler
}

#[test]
fn lowest_transaction_comes_before_anything_else() {
    let mut scheduler = handed_out(4);
    scheduler.report(executed(1), &[]);
    scheduler.report(executed(3), &[TxIndex(1).position()]);
    scheduler.report(committed(0), &[]);
    assert_eq!(scheduler.next(), commit(1), "it is dirty, but its turn has come");
    assert_eq!(scheduler.next(), None, "2 runs, 3 is done, 1 is being committed");
}

#[test]
fn commit_role_is_given_to_one_worker_at_a_time() {
    let mut scheduler = handed_out(3);
    for index in 1..3 {
        scheduler.report(executed(index), &[]);
    }
    assert_eq!(scheduler.next(), None);
    scheduler.report(committed(0), &[]);
    assert_eq!((scheduler.next(), scheduler.next()), (commit(1), None));
}

#[test]
fn waiter_is_ready_when_its_writer_has_executed() {
    let mut scheduler = handed_out(4);
    scheduler.report(waiting(3, 1), &[]);
    assert_eq!(scheduler.next(), None);
    scheduler.report(executed(2), &[]);
    assert_eq!(scheduler.next(), None, "it waits for 1, not for 2");
    scheduler.report(executed(1), &[]);
    let task = scheduler.next();
    assert!(matches!(task, Some(Task::Execute { index: TxIndex(3), incarnation: Incarnation(1), .. })), "{task:?}");
}

#[test]
fn waiter_whose_writer_has_executed_meanwhile_does_not_wait() {
    let mut scheduler = handed_out(4);
    scheduler.report(executed(1), &[]);
    scheduler.report(waiting(3, 1), &[]);
    assert!(matches!(scheduler.next(), Some(Task::Execute { index: TxIndex(3), .. })));
}

#[test]
fn waiter_is_ready_when_its_writer_is_left_to_the_frontier_and_committed() {
    let mut scheduler = handed_out(3);
    scheduler.report(waiting(2, 1), &[]);
    scheduler.report(Report::Deferred { index: TxIndex(1) }, &[]);
    assert_eq!(scheduler.next(), None);
    scheduler.report(committed(0), &[]);
    assert!(matches!(scheduler.next(), Some(Task::Commit { index: TxIndex(1), .. })));
    scheduler.report(committed(1), &[]);
    assert!(matches!(scheduler.next(), Some(Task::Commit { index: TxIndex(2), .. })));
}

#[test]
#[should_panic(expected = "transaction 1 waits for 2, which does not come before it")]
fn lower_never_waits_for_higher() {
    handed_out(3).report(waiting(1, 2), &[]);
}

#[test]
#[should_panic(expected = "transaction 1 is committed out of order")]
fn nothing_is_committed_out_of_order() {
    handed_out(3).report(committed(1), &[]);
}

#[test]
fn transaction_waits_for_the_one_before_it_in_its_lane() {
    let mut plan = plan(4, 4);
    plan.after[2] = Some(1);
    let mut scheduler = Scheduler::new(plan);
    assert_eq!([scheduler.next(), scheduler.next(), scheduler.next()], [commit(0), execute(1), execute(3)]);
    assert_eq!(scheduler.next(), None);
    scheduler.report(executed(1), &[]);
    assert_eq!(scheduler.next(), execute(2));
}

#[test]
fn nothing_beyond_the_window_is_speculated_on() {
    let mut scheduler = Scheduler::new(Plan { window_per_worker: 2, ..plan(10, 3) });
    let tasks = std::array::from_fn(|_| scheduler.next());
    assert_eq!(tasks, [commit(0), execute(1), execute(2), execute(3), execute(4), None]);
    scheduler.report(committed(0), &[]);
    assert_eq!(scheduler.next(), execute(5), "1 runs; the window has moved by one");
}

#[test]
fn what_the_budget_does_not_cover_is_left_to_the_frontier() {
    let weights = [1, 4, 4, 2].map(|weight| (weight, 1)).to_vec();
    let mut scheduler = Scheduler::new(Plan { weights, speculation_multiple: 1, ..plan(4, 4) });
    let tasks = std::array::from_fn(|_| scheduler.next());
    assert_eq!(tasks, [commit(0), execute(1), execute(2), execute(3), None], "10 of 11 are spent");
    scheduler.report(Report::Aborted { index: TxIndex(3), on: None }, &[]);
    assert_eq!(scheduler.next(), None, "1 is left, 3 weighs 2");
    for index in 1..3 {
        scheduler.report(executed(index), &[]);
    }
    for index in 0..3 {
        scheduler.report(committed(index), &[]);
        let task = scheduler.next();
        assert!(matches!(task, Some(Task::Commit { index: next, .. }) if next.0 == index + 1), "{task:?}");
    }
}

#[test]
fn what_is_not_worth_another_worker_is_left_to_the_frontier() {
    let mut plan = plan(4, 4);
    plan.weights[1].1 = 0;
    let mut scheduler = Scheduler::new(plan);
    let tasks = std::array::from_fn(|_| scheduler.next());
    assert_eq!(tasks, [commit(0), execute(2), execute(3), None]);
    scheduler.report(committed(0), &[]);
    assert_eq!(scheduler.next(), commit(1));
}

#[test]
fn speculation_that_fails_stops_and_wakes_nobody() {
    let mut scheduler = Scheduler::new(plan(1_000, 2));
    let failed = |index| Report::Committed { index: TxIndex(index), speculated: false, wasted: true, cost: 1 };
    let (mut woken, mut executed) = (0, 0);
    for index in 0..1_000 {
        assert!(matches!(scheduler.next(), Some(Task::Commit { .. })));
        // The other worker looks for work as long as it is told that there is some.
        if scheduler.has_work() {
            woken += 1;
            if let Some(Task::Execute { index, .. }) = scheduler.next() {
                scheduler.report(Report::Executed { index }, &[]);
                executed += 1;
            }
        }
        scheduler.report(failed(index), &[]);
    }
    assert!(executed < 50, "{executed} of 1000 were speculated on though none held");
    assert!(woken <= executed + 10, "{woken} wake-ups for {executed} tasks");
}

#[test]
fn hook_is_asked_once_where_the_frontier_runs_as_an_incarnation() {
    let mut scheduler = Scheduler::new(Plan { frontier: Frontier::Never, ..plan(1, 1) });
    assert_eq!(scheduler.next(), commit(0));
    scheduler.report(Report::Missing { index: TxIndex(0) }, &[]);
    let last_word = |task| matches!(task, Some(Task::Execute { index: TxIndex(0), last_word: true, .. }));
    assert!(last_word(scheduler.next()));
    scheduler.report(executed(0), &[]);
    assert!(matches!(scheduler.next(), Some(Task::Commit { admitted: true, .. })));
    scheduler.report(Report::Invalid { index: TxIndex(0) }, &[]);
    assert!(last_word(scheduler.next()));
    scheduler.report(executed(0), &[]);
    assert!(matches!(scheduler.next(), Some(Task::Commit { admitted: true, .. })));
    scheduler.report(committed(0), &[]);
    assert_eq!(scheduler.next(), Some(Task::Finish));
}

#[test]
fn stopped_scheduler_has_nothing_more_to_do() {
    let mut scheduler = handed_out(3);
    scheduler.stop();
    assert_eq!(scheduler.next(), Some(Task::Finish));
    scheduler.report(executed(1), &[TxIndex(2).position()]);
    assert_eq!(scheduler.next(), Some(Task::Finish));
}

/// What workers may do, as far as the scheduler lets them.
#[derive(Debug, Clone, Copy)]
struct Choice {
    /// Whether to claim, if a worker is free.
    claims: bool,
    /// Which of the tasks in hand is reported.
    which: usize,
    /// What is reported.
    what: u8,
    other: u32,
}

fn choices() -> impl Strategy<Value = Vec<Choice>> {
    let choice = (any::<bool>(), any::<usize>(), any::<u8>(), any::<u32>())
        .prop_map(|(claims, which, what, other)| Choice { claims, which, what, other });
    vec(choice, 20..300)
}

fn plans() -> impl Strategy<Value = Plan> {
    let lanes = vec(prop::option::weighted(0.3, any::<prop::sample::Index>()), 1..20);
    let frontier = prop_oneof![Just(Frontier::Eager), Just(Frontier::Never)];
    let adversary = prop::option::weighted(0.3, any::<u64>());
    (lanes, 1..5u32, 0..4u32, frontier, adversary, 0..4u32).prop_map(
        |(lanes, workers, window_per_worker, frontier, adversary, speculation_multiple)| {
            let after = |(index, lane): (usize, &Option<prop::sample::Index>)| {
                lane.filter(|_| index > 0).map(|lane| lane.index(index) as u32)
            };
            Plan {
                weights: (0..lanes.len() as u64)
                    .map(|index| (1 + index % 3, if index % 5 == 4 { 0 } else { 1 + index % 7 }))
                    .collect(),
                large_first: lanes.len().is_multiple_of(2),
                after: lanes.iter().enumerate().map(after).collect(),
                workers,
                window_per_worker,
                frontier: if adversary.is_some() { Frontier::Never } else { frontier },
                adversary,
                speculation_multiple,
            }
        },
    )
}

/// Workers that hold tasks and report whatever a worker could.
struct Workers {
    scheduler: Scheduler,
    plan: Plan,
    in_hand: Vec<Task>,
    /// Weight of speculative incarnations that were handed out, but for those of the frontier and the first wave.
    spent: u64,
}

impl Workers {
    fn new(plan: Plan) -> Self {
        Self { scheduler: Scheduler::new(plan.clone()), plan, in_hand: Vec::new(), spent: 0 }
    }

    /// Takes a task, if there is one. Returns whether there was.
    fn claim(&mut self) -> bool {
        let is_worth_waking_for = self.scheduler.has_work();
        let task = self.scheduler.next();
        let is_fresh = matches!(task, Some(Task::Execute { incarnation: FIRST, last_word: false, .. }));
        assert!(task.is_none() || is_fresh || is_worth_waking_for, "nobody would have been woken for {task:?}");
        task.is_some_and(|task| self.take(task))
    }

    fn take(&mut self, task: Task) -> bool {
        if let Task::Execute { index, last_word: false, withhold: false, .. } = task {
            self.spent += self.plan.weights[index.at()].0;
        }
        if task != Task::Finish {
            self.in_hand.push(task);
        }
        task != Task::Finish
    }

    fn report(&mut self, choice: Choice) {
        if self.in_hand.is_empty() {
            return;
        }
        let task = self.in_hand.swap_remove(choice.which % self.in_hand.len());
        let (report, about) = self.report_on(task, choice);
        let count = self.plan.weights.len() as u32;
        // What a worker has published concerns higher transactions, or its own.
        let dirty = (about..count).filter(|index| (choice.other >> (index % 32)) & 1 == 1);
        let dirty: Vec<_> = dirty.map(|index| TxIndex(index).position()).collect();
        if let Some(task) = self.scheduler.report(report, &dirty) {
            self.take(task);
        }
    }

    fn report_on(&self, task: Task, choice: Choice) -> (Report, u32) {
        match task {
            Task::Execute { index, withhold: true, .. } if choice.what < 200 => (Report::Executed { index }, index.0),
            Task::Execute { index, last_word, .. } => {
                let on = (index.0 > 0 && !last_word).then(|| TxIndex(choice.other % index.0.max(1)));
                let report = match choice.what {
                    0..100 => Report::Executed { index },
                    100..180 => Report::Aborted { index, on },
                    180..220 => Report::Aborted { index, on: None },
                    _ if last_word => Report::Executed { index },
                    _ => Report::Deferred { index },
                };
                (report, index.0)
            }
            Task::Validate { index, .. } => (Report::Validated { index, holds: choice.what < 128 }, index.0),
            Task::Commit { index, admitted, .. } => {
                let report = match (self.plan.frontier, choice.what) {
                    (Frontier::Never, 0..60) if !admitted => Report::Missing { index },
                    (Frontier::Never, 60..100) => Report::Invalid { index },
                    _ => {
                        let (speculated, wasted) = (choice.what.is_multiple_of(2), choice.what.is_multiple_of(3));
                        Report::Committed { index, speculated, wasted, cost: 1 }
                    }
                };
                (report, index.0)
            }
            Task::PublishAll => (Report::PublishedAll, 0),
            Task::Finish => unreachable!("nobody keeps it in hand"),
        }
    }

    /// Whether the next report is that of a commit.
    fn is_committing(&self) -> bool {
        matches!(self.in_hand.first(), Some(Task::Commit { .. }))
    }

    fn check(&self) {
        self.scheduler.assert_sound();
        let total: u64 = self.plan.weights.iter().map(|(weight, _)| weight).sum();
        let budget = total * u64::from(self.plan.speculation_multiple);
        assert!(self.spent <= budget, "S4: {} of {budget} are spent", self.spent);
        let commits = self.in_hand.iter().filter(|task| matches!(task, Task::Commit { .. })).count();
        assert!(commits <= 1, "S3: {:?}", self.in_hand);
        let index = |task: &Task| match task {
            Task::Execute { index, .. } | Task::Validate { index, .. } | Task::Commit { index, .. } => Some(*index),
            Task::PublishAll | Task::Finish => None,
        };
        let mut indices: Vec<_> = self.in_hand.iter().filter_map(index).collect();
        indices.sort_unstable();
        assert!(
            indices.windows(2).all(|pair| pair[0] < pair[1]),
            "one transaction is in two hands: {:?}",
            self.in_hand
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_workers_report_somebody_can_go_on(plan in plans(), choices in choices()) {
        let mut workers = Workers::new(plan);
        for choice in choices {
            let is_free = workers.in_hand.len() < workers.plan.workers as usize;
            if !(choice.claims && is_free && workers.claim()) {
                workers.report(choice);
            }
            workers.check();
        }
        // From here on everything goes well: it must come to an end.
        let well = Choice { claims: true, which: 0, what: 101, other: 0 };
        let mut rounds = 0;
        while !workers.scheduler.is_over() {
            let claimed = workers.claim();
            prop_assert!(claimed || !workers.in_hand.is_empty(), "I4: nobody can go on: {:?}", workers.scheduler);
            workers.report(Choice { what: if workers.is_committing() { 101 } else { 0 }, ..well });
            workers.check();
            rounds += 1;
            prop_assert!(rounds < 10_000, "I4: no end: {:?}", workers.scheduler);
        }
        prop_assert_eq!(workers.scheduler.stats.committed as usize, workers.plan.weights.len());
    }
}

#[test]
fn large_transaction_is_begun_before_it_is_all_that_is_left() {
    let mut plan = plan(10, 2);
    plan.weights[8].1 = 16;
    let mut scheduler = Scheduler::new(plan);
    assert_eq!(scheduler.next(), commit(0));
    // 25 in all, which is not much more than it is itself.
    assert_eq!(scheduler.next(), execute(8), "its time has come at once");
    assert_eq!(scheduler.report(committed(0), &[]), None);
    assert_eq!(scheduler.next(), commit(1), "the frontier comes before everything");
    scheduler.assert_sound();
}

#[test]
fn large_transaction_waits_while_there_is_much_before_it() {
    let mut plan = plan(100, 2);
    plan.weights[90].1 = 8;
    let mut scheduler = Scheduler::new(plan);
    assert_eq!(scheduler.next(), commit(0));
    assert_eq!(scheduler.next(), execute(1), "24 of 107 are the last that it can be begun before");
}

#[test]
fn of_several_large_transactions_the_largest_is_begun_first() {
    let mut plan = plan(40, 2);
    (plan.weights[5].1, plan.weights[30].1, plan.weights[35].1) = (10, 40, 10);
    let mut scheduler = Scheduler::new(plan);
    assert_eq!(scheduler.next(), commit(0));
    // 97 in all: no time for the others yet, and the largest is not behind them.
    assert_eq!(scheduler.next(), execute(30));
}

#[test]
fn executed_frontier_is_committed_by_whoever_executed_it() {
    let mut scheduler = Scheduler::new(plan(3, 2));
    assert_eq!(scheduler.next(), commit(0));
    assert_eq!(scheduler.next(), execute(1));
    assert_eq!(scheduler.commit_at_once(TxIndex(1)), None, "transaction 0 is being committed");
    assert_eq!(scheduler.report(committed(0), &[]), None);
    assert_eq!(scheduler.commit_at_once(TxIndex(1)), commit(1));
    assert_eq!(scheduler.commit_at_once(TxIndex(1)), None, "there is one commit role");
    scheduler.assert_sound();
    assert_eq!(scheduler.report(committed(1), &[]), None);
    scheduler.stop();
    assert_eq!(scheduler.commit_at_once(TxIndex(2)), None, "the run is over");
}
