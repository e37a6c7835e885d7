//! A virtual clock: workers of the engine take turns by it, and their steps cost what steps were measured to cost.
//!
//! Every worker has a time of its own. The one with the least goes on, alone, until it waits for a later time; so everything
//! happens in the order of virtual time, on however few cores, and in the same way each time. Among equals the lower number
//! goes first. The scheduler's lock is held by one worker at a time: who comes while it is held waits.

use std::{
    collections::HashSet,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use ropewalk_engine::{Event, Probe, Turns, TxIndex};

use super::costs::Costs;

/// Makes workers take turns, and says when it is.
#[derive(Debug, Clone)]
pub(super) struct VirtualClock(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    costs: Costs,
    state: Mutex<State>,
    /// One for each worker: signalled when its turn comes.
    turns: Vec<Condvar>,
}

#[derive(Debug, Default)]
struct State {
    workers: Vec<Timed>,
    /// Whose turn it is.
    current: Option<usize>,
    begun: usize,
    /// When the scheduler's lock is free.
    lock_free: f64,
    /// Parked workers, the longest parked first.
    parked: Vec<usize>,
    /// Transactions that somebody has foretold.
    foretold: HashSet<TxIndex>,
    /// Workers whose attempts wait for what others run.
    paused: Vec<usize>,
}

/// A worker's time, in nanoseconds.
#[derive(Debug, Clone, Copy, Default)]
struct Timed {
    now: f64,
    is_ready: bool,
    before: Before,
    /// When the attempt under way began, and how long it takes.
    attempt: (f64, f64),
    /// Whether what it commits was made for it.
    runs: bool,
}

/// What a worker did last, which decides what the way to its next step costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Before {
    /// It reported something.
    #[default]
    Reported,
    /// It executed this.
    Executed(TxIndex),
    /// It is in the middle of a commit.
    Committing,
}

impl VirtualClock {
    pub(super) fn new(workers: usize, costs: Costs) -> Self {
        let state = State { workers: vec![Timed::default(); workers], ..State::default() };
        let turns = (0..workers).map(|_| Condvar::new()).collect();
        Self(Arc::new(Shared { costs, state: Mutex::new(state), turns }))
    }

    /// When the last worker ended, in nanoseconds.
    pub(super) fn end_of_all(&self) -> f64 {
        self.0.lock().workers.iter().map(|worker| worker.now).fold(0.0, f64::max)
    }

    /// Waits until this part of the attempt that the worker whose turn it is has under way is over.
    pub(super) fn reach(&self, part: f64) {
        let state = self.0.lock();
        let Some(worker) = state.current else { return };
        let (begun, duration) = state.workers[worker].attempt;
        let until = begun + part * duration;
        self.0.wait_until(state, worker, until);
    }

    /// Lets the time pass that the worker whose turn it is takes to foretell a transaction.
    pub(super) fn foretell(&self, index: TxIndex) {
        let state = self.0.lock();
        let Some(worker) = state.current else { return };
        let until = state.workers[worker].now + self.0.costs.execution(index, true);
        self.0.wait_until(state, worker, until);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the turn away until it is later.
    fn wait_until(&self, mut state: MutexGuard<'_, State>, worker: usize, time: f64) {
        state.workers[worker].now = state.workers[worker].now.max(time);
        state.workers[worker].is_ready = true;
        self.pass_on(&mut state);
        self.wait_for_turn(state, worker);
    }

    fn wait_for_turn(&self, mut state: MutexGuard<'_, State>, worker: usize) {
        while state.current != Some(worker) {
            state = self.turns[worker].wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Gives the turn to the worker with the least time.
    fn pass_on(&self, state: &mut State) {
        let ready = state.workers.iter().enumerate().filter(|(_, worker)| worker.is_ready);
        let next = ready.min_by(|(_, left), (_, right)| left.now.total_cmp(&right.now)).map(|(worker, _)| worker);
        if state.current != next {
            state.current = next;
            if let Some(next) = next {
                self.turns[next].notify_one();
            }
        }
    }

    /// Time at which a worker has gone through the scheduler, whose lock it holds for so long.
    fn through_scheduler(state: &mut State, from: f64, hold: f64) -> f64 {
        let until = from.max(state.lock_free) + hold;
        state.lock_free = until;
        until
    }

    /// Charges the way from the last step to the next, and what the next costs before it takes effect.
    fn charge(&self, mut state: MutexGuard<'_, State>, worker: usize, commits: Option<TxIndex>, step: f64) {
        let costs = &self.costs;
        let Timed { now, before, .. } = state.workers[worker];
        let on_the_way = match before {
            Before::Committing => 0.0,
            Before::Executed(index) if commits == Some(index) => costs.hand_over,
            Before::Executed(_) => costs.publish,
            Before::Reported => 0.0,
        };
        let claims = before == Before::Reported || matches!(before, Before::Executed(index) if commits != Some(index));
        let ready = now + on_the_way;
        let until = if claims { Self::through_scheduler(&mut state, ready, costs.claim) } else { ready };
        self.wait_until(state, worker, until + step);
    }
}

impl Shared {
    fn event(&self, worker: usize, event: Event) {
        let mut state = self.lock();
        match event {
            Event::Execute { index, speculative, .. } => {
                self.charge(state, worker, None, 0.0);
                let mut state = self.lock();
                let now = state.workers[worker].now;
                state.workers[worker].attempt = (now, self.costs.execution(index, speculative));
                state.workers[worker].runs = true;
            }
            Event::Executed { index, .. } => {
                // A frontier run goes on to its commit, which was paid for.
                if state.workers[worker].before != Before::Committing {
                    state.workers[worker].before = Before::Executed(index);
                }
            }
            Event::Commit { index } => {
                let is_unseen =
                    state.workers[worker].before == Before::Executed(index) || state.foretold.contains(&index);
                let fold = if is_unseen { self.costs.fold } else { 0.0 };
                self.charge(state, worker, Some(index), self.costs.commit + fold);
                let mut state = self.lock();
                (state.workers[worker].before, state.workers[worker].runs) = (Before::Committing, false);
            }
            Event::Foretell { index, count } => {
                state.foretold.extend((index.0..index.0 + count).map(TxIndex));
                self.charge(state, worker, None, 0.0);
                self.lock().workers[worker].before = Before::Reported;
            }
            Event::Validate { .. } => {
                self.charge(state, worker, None, self.costs.validate);
                self.lock().workers[worker].before = Before::Reported;
            }
            Event::Committed { .. } => {
                let Timed { now, runs, .. } = state.workers[worker];
                if runs {
                    self.wait_until(state, worker, now + self.costs.fold);
                    state = self.lock();
                }
                state.workers[worker].before = Before::Reported;
            }
            Event::Validated { .. } => state.workers[worker].before = Before::Reported,
            Event::Aborted { .. } => {
                if state.workers[worker].before != Before::Committing {
                    state.workers[worker].before = Before::Reported;
                }
            }
            Event::Foretold | Event::Wait | Event::Wake => {}
        }
    }
}

impl Probe for VirtualClock {
    fn event(&self, worker: usize, event: Event) {
        self.0.event(worker, event);
    }

    fn turns(&self) -> Option<Arc<dyn Turns>> {
        Some(Arc::clone(&self.0) as Arc<dyn Turns>)
    }
}

impl Turns for Shared {
    fn begin(&self, worker: usize, workers: usize) {
        let mut state = self.lock();
        let start = if worker == 0 { 0.0 } else { self.costs.start };
        (state.workers[worker].now, state.workers[worker].is_ready) = (start, true);
        state.begun += 1;
        if state.begun == workers {
            self.pass_on(&mut state);
        }
        self.wait_for_turn(state, worker);
    }

    fn park(&self, worker: usize) {
        let mut state = self.lock();
        state.workers[worker].is_ready = false;
        // What led to nothing was looked for all the same.
        let now = state.workers[worker].now;
        state.workers[worker].now = Self::through_scheduler(&mut state, now, self.costs.claim);
        state.workers[worker].before = Before::Reported;
        state.parked.push(worker);
        self.pass_on(&mut state);
        assert!(state.current.is_some(), "I4: every worker is parked and nothing is finished");
        self.wait_for_turn(state, worker);
    }

    fn wake(&self, all: bool) {
        let mut state = self.lock();
        // Nobody's turn it is only when something went wrong; then all are to end.
        let from = state.current.map_or(0.0, |waker| state.workers[waker].now + self.costs.wake);
        let count = if all { state.parked.len() } else { 1.min(state.parked.len()) };
        let woken: Vec<usize> = state.parked.drain(..count).collect();
        for worker in woken {
            let timed = &mut state.workers[worker];
            (timed.now, timed.is_ready) = (timed.now.max(from), true);
        }
    }

    fn pause(&self, worker: usize) {
        let mut state = self.lock();
        state.workers[worker].is_ready = false;
        let from = state.workers[worker].now;
        // It asks with the lock held, as whoever claims does.
        state.workers[worker].now = Self::through_scheduler(&mut state, from, self.costs.claim);
        state.paused.push(worker);
        self.pass_on(&mut state);
        assert!(state.current.is_some(), "I4: every worker waits and nothing is finished");
        self.wait_for_turn(state, worker);
        let mut state = self.lock();
        let timed = &mut state.workers[worker];
        // The rest of the attempt is as long as it was.
        timed.attempt.0 += timed.now - from;
    }

    fn resume(&self, worker: usize) {
        let mut state = self.lock();
        if let Some(at) = state.paused.iter().position(|paused| *paused == worker) {
            state.paused.swap_remove(at);
            let from = state.current.map_or(0.0, |waker| state.workers[waker].now + self.costs.wake);
            let timed = &mut state.workers[worker];
            (timed.now, timed.is_ready) = (timed.now.max(from), true);
        }
    }

    fn end(&self, worker: usize) {
        let mut state = self.lock();
        state.workers[worker].is_ready = false;
        self.pass_on(&mut state);
    }
}
