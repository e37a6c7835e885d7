//! Block-STM as the paper has it (arXiv:2203.06871, algorithms 1 to 5), on the same recorded transactions and by the same
//! costs.
//!
//! Two counters hand out executions and validations in order, a validation before an execution. A read takes the version
//! of the highest lower transaction; one that an aborted incarnation left makes the reader wait for the next. A validation
//! compares versions, not values: an incarnation that is run again aborts whoever read it. An account is one location, and
//! every transaction that changes a balance reads it; the fees of the block's beneficiary alone are left out, as
//! implementations collect them at the end. Nothing commits before the end, and idle threads poll for free.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap},
};

use alloy_primitives::Address;
use ropewalk_block::{EvmKey, TxIndex};

use super::{costs::Costs, script::Script};

/// What the simulation knows of one transaction.
#[derive(Debug, Clone, Default)]
struct Plain {
    /// Locations by the time that they are looked at, in nanoseconds from the beginning.
    reads: Vec<(f64, usize)>,
    writes: Vec<usize>,
    duration: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Ready,
    Executing,
    Executed,
    Aborting,
}

/// Who wrote a version, and in which attempt.
type Version = (usize, u32);

#[derive(Debug, Clone, Copy)]
enum Doing {
    /// Looking for a task.
    Looking,
    /// In the middle of an attempt: the next read, and when it began.
    Executing {
        index: usize,
        read: usize,
        begun: f64,
    },
    /// Its writes are being made visible.
    Publishing {
        index: usize,
    },
    Validating {
        index: usize,
        incarnation: u32,
    },
}

/// A time that can be ordered: no time here is not a number.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Time(f64);

impl Eq for Time {}

impl PartialOrd for Time {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Time {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

struct Textbook<'a> {
    costs: &'a Costs,
    transactions: Vec<Plain>,
    status: Vec<Status>,
    incarnations: Vec<u32>,
    /// What each transaction's last attempt read, and which version it was.
    read: Vec<Vec<(usize, Option<Version>)>>,
    waiters: Vec<Vec<usize>>,
    /// By location: versions by transaction, and whether an aborted attempt left them.
    memory: Vec<BTreeMap<usize, (u32, bool)>>,
    next_execution: usize,
    next_validation: usize,
    doing: Vec<Doing>,
    events: BinaryHeap<Reverse<(Time, usize)>>,
    idle: BTreeSet<usize>,
    last: f64,
}

/// Nanoseconds that so many threads take.
pub(super) fn textbook(scripts: &[Script], beneficiary: Address, costs: &Costs, workers: usize) -> f64 {
    let mut ids: HashMap<EvmKey, usize> = HashMap::new();
    let mut id = |key: &EvmKey| {
        let next = ids.len();
        *ids.entry(*key).or_insert(next)
    };
    let fees = EvmKey::Account(beneficiary);
    let plain = |(index, script): (usize, &Script)| {
        let duration = costs.execution(TxIndex(index as u32), true);
        let looks = script.looks.iter().filter(|look| look.is_written && look.key != fees);
        let mut reads: Vec<(f64, usize)> = looks.map(|look| (look.at * duration, id(&look.key))).collect();
        let mut writes: Vec<usize> =
            script.writes.iter().map(|(key, _)| key).filter(|key| **key != fees).map(&mut id).collect();
        writes.sort_unstable();
        writes.dedup();
        let known: BTreeSet<usize> = reads.iter().map(|(_, location)| *location).collect();
        // What is changed without being observed is read all the same: at the end, at the latest.
        reads.extend(writes.iter().filter(|location| !known.contains(location)).map(|location| (duration, *location)));
        Plain { reads, writes, duration }
    };
    let transactions: Vec<Plain> = scripts.iter().enumerate().map(plain).collect();
    let count = transactions.len();
    let mut simulation = Textbook {
        costs,
        status: vec![Status::Ready; count],
        incarnations: vec![0; count],
        read: vec![Vec::new(); count],
        waiters: vec![Vec::new(); count],
        memory: vec![BTreeMap::new(); ids.len()],
        transactions,
        next_execution: 0,
        next_validation: 0,
        doing: vec![Doing::Looking; workers],
        events: BinaryHeap::new(),
        idle: BTreeSet::new(),
        last: 0.0,
    };
    for worker in 0..workers {
        simulation.at(if worker == 0 { 0.0 } else { costs.start }, worker);
    }
    simulation.run()
}

impl Textbook<'_> {
    fn run(mut self) -> f64 {
        while let Some(Reverse((Time(now), worker))) = self.events.pop() {
            match self.doing[worker] {
                Doing::Looking => self.look_for_task(now, worker),
                Doing::Executing { index, read, begun } => self.go_on(now, worker, index, read, begun),
                Doing::Publishing { index } => self.finish_execution(now, worker, index),
                Doing::Validating { index, incarnation } => self.finish_validation(now, worker, index, incarnation),
            }
        }
        self.last
    }

    fn at(&mut self, time: f64, worker: usize) {
        self.events.push(Reverse((Time(time), worker)));
    }

    /// Whoever polls finds out at once.
    fn tell(&mut self, now: f64) {
        for worker in std::mem::take(&mut self.idle) {
            self.at(now, worker);
        }
    }

    fn look_for_task(&mut self, now: f64, worker: usize) {
        let count = self.transactions.len();
        loop {
            if self.next_validation < self.next_execution {
                let index = self.next_validation;
                self.next_validation += 1;
                if index < count && self.status[index] == Status::Executed {
                    return self.validate(now + self.costs.claim, worker, index);
                }
            } else if self.next_execution < count {
                let index = self.next_execution;
                self.next_execution += 1;
                if self.status[index] == Status::Ready {
                    return self.execute(now + self.costs.claim, worker, index);
                }
            } else {
                self.idle.insert(worker);
                return;
            }
        }
    }

    fn execute(&mut self, now: f64, worker: usize, index: usize) {
        self.status[index] = Status::Executing;
        self.read[index].clear();
        self.doing[worker] = Doing::Executing { index, read: 0, begun: now };
        self.next_event(worker, index, 0, now);
    }

    fn next_event(&mut self, worker: usize, index: usize, read: usize, begun: f64) {
        let Plain { reads, duration, .. } = &self.transactions[index];
        let after = reads.get(read).map_or(*duration, |(at, _)| *at);
        self.at(begun + after, worker);
    }

    fn validate(&mut self, now: f64, worker: usize, index: usize) {
        self.doing[worker] = Doing::Validating { index, incarnation: self.incarnations[index] };
        self.at(now + self.costs.validate, worker);
    }

    /// The version that a transaction finds at a location, and whether an aborted attempt left it.
    fn version(&self, location: usize, index: usize) -> Option<(Version, bool)> {
        let (writer, (incarnation, estimate)) = self.memory[location].range(..index).next_back()?;
        Some(((*writer, *incarnation), *estimate))
    }

    fn go_on(&mut self, now: f64, worker: usize, index: usize, read: usize, begun: f64) {
        let Some((_, location)) = self.transactions[index].reads.get(read).copied() else {
            self.doing[worker] = Doing::Publishing { index };
            return self.at(now + self.costs.publish, worker);
        };
        match self.version(location, index) {
            Some(((writer, _), true)) if self.status[writer] != Status::Executed => {
                self.status[index] = Status::Aborting;
                self.waiters[writer].push(index);
                self.doing[worker] = Doing::Looking;
                self.at(now, worker);
            }
            version => {
                self.read[index].push((location, version.map(|(version, _)| version)));
                self.doing[worker] = Doing::Executing { index, read: read + 1, begun };
                self.next_event(worker, index, read + 1, begun);
            }
        }
    }

    fn finish_execution(&mut self, now: f64, worker: usize, index: usize) {
        let incarnation = self.incarnations[index];
        let writes = std::mem::take(&mut self.transactions[index].writes);
        for location in &writes {
            self.memory[*location].insert(index, (incarnation, false));
        }
        let is_new = incarnation == 0 && !writes.is_empty();
        self.transactions[index].writes = writes;
        self.status[index] = Status::Executed;
        self.last = now;
        for waiter in std::mem::take(&mut self.waiters[index]) {
            self.again(waiter);
        }
        self.doing[worker] = Doing::Looking;
        self.tell(now);
        if self.next_validation > index {
            if !is_new {
                return self.validate(now, worker, index);
            }
            self.next_validation = index;
        }
        self.at(now, worker);
    }

    /// The next attempt of a transaction may be claimed.
    fn again(&mut self, index: usize) {
        self.incarnations[index] += 1;
        self.status[index] = Status::Ready;
        self.next_execution = self.next_execution.min(index);
    }

    fn finish_validation(&mut self, now: f64, worker: usize, index: usize, incarnation: u32) {
        self.last = now;
        self.doing[worker] = Doing::Looking;
        let is_current = self.status[index] == Status::Executed && self.incarnations[index] == incarnation;
        let holds = |(location, seen): &(usize, Option<Version>)| match self.version(*location, index) {
            Some((version, estimate)) => *seen == Some(version) && !estimate,
            None => seen.is_none(),
        };
        if !is_current || self.read[index].iter().all(holds) {
            return self.at(now, worker);
        }
        for location in self.transactions[index].writes.clone() {
            self.memory[location].insert(index, (incarnation, true));
        }
        self.incarnations[index] += 1;
        self.status[index] = Status::Ready;
        self.next_validation = self.next_validation.min(index + 1);
        self.tell(now);
        if self.next_execution > index {
            self.execute(now + self.costs.claim, worker, index);
        } else {
            self.at(now, worker);
        }
    }
}
