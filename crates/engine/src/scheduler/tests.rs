//! The scheduler alone: its invariants, and what it hands out in which order.

use super::*;

mod protocol;

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
        foretells: true,
        after: vec![None; count],
        meets: vec![false; count],
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
    scheduler.report(executed(1), []);
    scheduler.report(executed(3), [TxIndex(1).position()]);
    scheduler.report(committed(0), []);
    assert_eq!(scheduler.next(), commit(1), "it is dirty, but its turn has come");
    assert_eq!(scheduler.next(), None, "2 runs, 3 is done, 1 is being committed");
}

#[test]
fn what_takes_no_time_is_foretold_in_groups_that_the_frontier_waits_for() {
    let foretell = |index, count| Some(Task::Foretell { index: TxIndex(index), count });
    let foretold = |index, count, told| Report::Foretold { index: TxIndex(index), count, told };
    let most = foretelling::MOST_FORETOLD;
    let mut plan = plan(most as usize + 4, 4);
    plan.weights[1..].fill((1, 0));
    plan.weights[most as usize + 2] = (1, 1);
    plan.large_first = false;
    let mut scheduler = Scheduler::new(plan);
    assert_eq!((scheduler.next(), scheduler.next()), (commit(0), foretell(1, most)));
    assert_eq!(scheduler.next(), foretell(most + 1, 1), "one more, then comes something else");
    assert_eq!((scheduler.next(), scheduler.next()), (execute(most + 2), foretell(most + 3, 1)));
    scheduler.report(committed(0), []);
    assert_eq!(scheduler.next(), None, "1 is being foretold");
    scheduler.report(foretold(1, most, 0b10), []);
    assert_eq!(scheduler.next(), commit(1), "nothing was told of it, so it is run at the frontier");
    scheduler.report(committed(1), []);
    assert_eq!(scheduler.next(), commit(2));
    scheduler.assert_sound();
}

#[test]
fn a_helper_that_is_alone_leaves_a_few_transactions_that_take_no_time_to_the_frontier() {
    let least = foretelling::LEAST_ALONE;
    for (in_a_row, expected) in [(least - 1, None), (least, Some(Task::Foretell { index: TxIndex(1), count: least }))] {
        let mut plan = plan(in_a_row as usize + 1, 2);
        plan.weights[1..].fill((1, 0));
        let mut scheduler = Scheduler::new(plan);
        assert_eq!((scheduler.next(), scheduler.next()), (commit(0), expected), "{in_a_row}");
        scheduler.assert_sound();
    }
}

#[test]
fn nobody_who_waits_for_a_transaction_goes_on_when_it_is_foretold() {
    let mut plan = plan(3, 4);
    plan.weights[1] = (1, 0);
    plan.after[2] = Some(1);
    let mut scheduler = Scheduler::new(plan);
    assert_eq!(scheduler.next(), commit(0));
    assert_eq!(scheduler.next(), Some(Task::Foretell { index: TxIndex(1), count: 1 }));
    assert_eq!(scheduler.next(), None, "2 waits for 1");
    scheduler.report(Report::Foretold { index: TxIndex(1), count: 1, told: 1 }, []);
    assert_eq!(scheduler.next(), None, "nobody sees what 1 will write");
    scheduler.report(committed(0), []);
    assert_eq!(scheduler.next(), commit(1));
    scheduler.report(committed(1), []);
    assert_eq!(scheduler.next(), commit(2));
    scheduler.assert_sound();
}

#[test]
fn commit_role_is_given_to_one_worker_at_a_time() {
    let mut scheduler = handed_out(3);
    for index in 1..3 {
        scheduler.report(executed(index), []);
    }
    assert_eq!(scheduler.next(), None);
    scheduler.report(committed(0), []);
    assert_eq!((scheduler.next(), scheduler.next()), (commit(1), None));
}

#[test]
fn waiter_is_ready_when_its_writer_has_executed() {
    let mut scheduler = handed_out(4);
    scheduler.report(waiting(3, 1), []);
    assert_eq!(scheduler.next(), None);
    scheduler.report(executed(2), []);
    assert_eq!(scheduler.next(), None, "it waits for 1, not for 2");
    scheduler.report(executed(1), []);
    let task = scheduler.next();
    assert!(matches!(task, Some(Task::Execute { index: TxIndex(3), incarnation: Incarnation(1), .. })), "{task:?}");
}

#[test]
fn waiter_whose_writer_has_executed_meanwhile_does_not_wait() {
    let mut scheduler = handed_out(4);
    scheduler.report(executed(1), []);
    scheduler.report(waiting(3, 1), []);
    assert!(matches!(scheduler.next(), Some(Task::Execute { index: TxIndex(3), .. })));
}

#[test]
fn waiter_is_ready_when_its_writer_is_left_to_the_frontier_and_committed() {
    let mut scheduler = handed_out(3);
    scheduler.report(waiting(2, 1), []);
    scheduler.report(Report::Deferred { index: TxIndex(1) }, []);
    assert_eq!(scheduler.next(), None);
    scheduler.report(committed(0), []);
    assert!(matches!(scheduler.next(), Some(Task::Commit { index: TxIndex(1), .. })));
    scheduler.report(committed(1), []);
    assert!(matches!(scheduler.next(), Some(Task::Commit { index: TxIndex(2), .. })));
}

#[test]
#[should_panic(expected = "transaction 1 waits for 2, which does not come before it")]
fn lower_never_waits_for_higher() {
    handed_out(3).report(waiting(1, 2), []);
}

#[test]
#[should_panic(expected = "transaction 1 is committed out of order")]
fn nothing_is_committed_out_of_order() {
    handed_out(3).report(committed(1), []);
}

#[test]
fn transaction_waits_for_the_one_before_it_in_its_lane() {
    let mut plan = plan(4, 4);
    plan.after[2] = Some(1);
    let mut scheduler = Scheduler::new(plan);
    assert_eq!([scheduler.next(), scheduler.next(), scheduler.next()], [commit(0), execute(1), execute(3)]);
    assert_eq!(scheduler.next(), None);
    scheduler.report(executed(1), []);
    assert_eq!(scheduler.next(), execute(2));
}

#[test]
fn nothing_beyond_the_window_is_speculated_on() {
    let mut scheduler = Scheduler::new(Plan { window_per_worker: 2, ..plan(10, 3) });
    let tasks = std::array::from_fn(|_| scheduler.next());
    assert_eq!(tasks, [commit(0), execute(1), execute(2), execute(3), execute(4), None]);
    scheduler.report(committed(0), []);
    assert_eq!(scheduler.next(), execute(5), "1 runs; the window has moved by one");
}

#[test]
fn what_the_budget_does_not_cover_is_left_to_the_frontier() {
    let weights = [1, 4, 4, 2].map(|weight| (weight, 1)).to_vec();
    let mut scheduler = Scheduler::new(Plan { weights, speculation_multiple: 1, ..plan(4, 4) });
    let tasks = std::array::from_fn(|_| scheduler.next());
    assert_eq!(tasks, [commit(0), execute(1), execute(2), execute(3), None], "10 of 11 are spent");
    scheduler.report(Report::Aborted { index: TxIndex(3), on: None }, []);
    assert_eq!(scheduler.next(), None, "1 is left, 3 weighs 2");
    for index in 1..3 {
        scheduler.report(executed(index), []);
    }
    for index in 0..3 {
        scheduler.report(committed(index), []);
        let task = scheduler.next();
        assert!(matches!(task, Some(Task::Commit { index: next, .. }) if next.0 == index + 1), "{task:?}");
    }
}

#[test]
fn what_is_not_worth_another_worker_is_left_to_the_frontier() {
    let mut plan = plan(4, 4);
    plan.weights[1].1 = 0;
    plan.foretells = false;
    let mut scheduler = Scheduler::new(plan);
    let tasks = std::array::from_fn(|_| scheduler.next());
    assert_eq!(tasks, [commit(0), execute(2), execute(3), None]);
    scheduler.report(committed(0), []);
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
                scheduler.report(Report::Executed { index }, []);
                executed += 1;
            }
        }
        scheduler.report(failed(index), []);
    }
    assert!(executed < 50, "{executed} of 1000 were speculated on though none held");
    assert!(woken <= executed + 10, "{woken} wake-ups for {executed} tasks");
}

#[test]
fn hook_is_asked_once_where_the_frontier_runs_as_an_incarnation() {
    let mut scheduler = Scheduler::new(Plan { frontier: Frontier::Never, ..plan(1, 1) });
    assert_eq!(scheduler.next(), commit(0));
    scheduler.report(Report::Missing { index: TxIndex(0) }, []);
    let last_word = |task| matches!(task, Some(Task::Execute { index: TxIndex(0), last_word: true, .. }));
    assert!(last_word(scheduler.next()));
    scheduler.report(executed(0), []);
    assert!(matches!(scheduler.next(), Some(Task::Commit { admitted: true, .. })));
    scheduler.report(Report::Invalid { index: TxIndex(0) }, []);
    assert!(last_word(scheduler.next()));
    scheduler.report(executed(0), []);
    assert!(matches!(scheduler.next(), Some(Task::Commit { admitted: true, .. })));
    scheduler.report(committed(0), []);
    assert_eq!(scheduler.next(), Some(Task::Finish));
}

#[test]
fn stopped_scheduler_has_nothing_more_to_do() {
    let mut scheduler = handed_out(3);
    scheduler.stop();
    assert_eq!(scheduler.next(), Some(Task::Finish));
    scheduler.report(executed(1), [TxIndex(2).position()]);
    assert_eq!(scheduler.next(), Some(Task::Finish));
}

#[test]
fn large_transaction_is_begun_before_it_is_all_that_is_left() {
    let mut plan = plan(10, 2);
    plan.weights[8].1 = 16;
    let mut scheduler = Scheduler::new(plan);
    assert_eq!(scheduler.next(), commit(0));
    // 25 in all, which is not much more than it is itself.
    assert_eq!(scheduler.next(), execute(8), "its time has come at once");
    assert_eq!(scheduler.report(committed(0), []), None);
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
    assert_eq!(scheduler.report(committed(0), []), None);
    assert_eq!(scheduler.commit_at_once(TxIndex(1)), commit(1));
    assert_eq!(scheduler.commit_at_once(TxIndex(1)), None, "there is one commit role");
    scheduler.assert_sound();
    assert_eq!(scheduler.report(committed(1), []), None);
    scheduler.stop();
    assert_eq!(scheduler.commit_at_once(TxIndex(2)), None, "the run is over");
}
