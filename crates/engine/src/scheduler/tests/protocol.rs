//! Every protocol that workers could follow.

use proptest::{collection::vec, prelude::*};

use super::*;

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
                foretells: lanes.len() % 4 < 3,
                large_first: lanes.len().is_multiple_of(2),
                after: lanes.iter().enumerate().map(after).collect(),
                meets: (0..lanes.len()).map(|index| index % 4 > 0).collect(),
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
    /// Tasks whose attempts wait for a lower transaction.
    held_up: Vec<Task>,
    /// Weight of speculative incarnations that were handed out, but for those of the frontier and the first wave.
    spent: u64,
}

impl Workers {
    fn new(plan: Plan) -> Self {
        Self { scheduler: Scheduler::new(plan.clone()), plan, in_hand: Vec::new(), held_up: Vec::new(), spent: 0 }
    }

    /// Takes a task, if there is one. Returns whether there was.
    fn claim(&mut self) -> bool {
        let is_worth_waking_for = self.scheduler.has_work();
        let task = self.scheduler.next();
        let is_fresh = matches!(
            task,
            Some(
                Task::Execute { incarnation: FIRST, last_word: false, .. }
                    | Task::Begin { incarnation: FIRST, .. }
                    | Task::Foretell { .. }
            )
        );
        assert!(task.is_none() || is_fresh || is_worth_waking_for, "nobody would have been woken for {task:?}");
        task.is_some_and(|task| self.take(task))
    }

    fn take(&mut self, task: Task) -> bool {
        if let Task::Execute { index, last_word: false, withhold: false, .. } | Task::Begin { index, .. } = task {
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
        if let Task::Begin { index, .. } = task
            && choice.what >= 128
            && self.waits(index)
        {
            return self.held_up.push(task);
        }
        let (report, about) = self.report_on(task, choice);
        let count = self.plan.weights.len() as u32;
        // What a worker has published concerns higher transactions, or its own.
        let dirty = (about..count).filter(|index| (choice.other >> (index % 32)) & 1 == 1);
        let dirty: Vec<_> = dirty.map(|index| TxIndex(index).position()).collect();
        if let Some(task) = self.scheduler.report(report, dirty) {
            self.take(task);
        }
        for worker in std::mem::take(&mut self.scheduler.answered) {
            let is_of = |task: &Task| matches!(task, Task::Begin { index, .. } if index.0 == worker);
            let at = self.held_up.iter().position(is_of).expect("who is woken has waited");
            self.in_hand.push(self.held_up.swap_remove(at));
        }
    }

    /// Whether an attempt comes to wait for the transaction that it follows.
    fn waits(&mut self, index: TxIndex) -> bool {
        let on = TxIndex(self.plan.after[index.at()].expect("what is begun early follows another"));
        let waits = self.scheduler.outlook(on) == Outlook::Running;
        if waits {
            self.scheduler.attend(on, index.0);
        }
        waits
    }

    fn report_on(&self, task: Task, choice: Choice) -> (Report, u32) {
        match task {
            Task::Execute { index, withhold: true, .. } if choice.what < 200 => (Report::Executed { index }, index.0),
            Task::Begin { index, incarnation } => {
                let as_other = Task::Execute { index, incarnation, last_word: false, withhold: false };
                self.report_on(as_other, choice)
            }
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
            Task::Foretell { index, count } => {
                (Report::Foretold { index, count, told: u64::from(choice.other) }, index.0)
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
        let indices = |task: &Task| match task {
            Task::Execute { index, .. }
            | Task::Begin { index, .. }
            | Task::Validate { index, .. }
            | Task::Commit { index, .. } => index.0..index.0 + 1,
            Task::Foretell { index, count } => index.0..index.0 + count,
            Task::PublishAll | Task::Finish => 0..0,
        };
        let mut indices: Vec<u32> = self.in_hand.iter().chain(&self.held_up).flat_map(indices).collect();
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
            let is_free = workers.in_hand.len() + workers.held_up.len() < workers.plan.workers as usize;
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
