//! The scheduler behind its lock, and those who wait there: workers for something to do, attempts for what they are about to
//! read.
//!
//! An attempt waits only for a lower transaction that somebody runs. Of those that wait for each other so the lowest waits
//! for nobody, and whatever it comes to, the worker that runs it reports it here and wakes the others (I4).

use crate::{
    Turns, TxIndex,
    scheduler::{Outlook, Scheduler},
    sync::{Arc, Condvar, Guard, Mutex, Padded},
};

/// What the workers of a run, and their attempts, meet at.
pub(crate) struct Dispatch {
    scheduler: Padded<Mutex<Scheduler>>,
    /// Signalled, with `scheduler` held, when parked workers may find work.
    work: Condvar,
    /// One for each worker: signalled, with `scheduler` held, when what its attempt waits for has come to something.
    results: Vec<Condvar>,
    turns: Option<Arc<dyn Turns>>,
}

impl Dispatch {
    pub(crate) fn new(scheduler: Scheduler, workers: usize, turns: Option<Arc<dyn Turns>>) -> Self {
        let results = (0..workers).map(|_| Condvar::default()).collect();
        Self { scheduler: Padded(Mutex::new(scheduler)), work: Condvar::default(), results, turns }
    }

    /// Number of workers.
    pub(crate) fn workers(&self) -> usize {
        self.results.len()
    }

    pub(crate) fn lock(&self) -> Guard<'_, Scheduler> {
        self.scheduler.0.lock()
    }

    pub(crate) fn turns(&self) -> Option<&dyn Turns> {
        self.turns.as_deref()
    }

    /// Tells parked workers that there may be work, one of them or all. The scheduler's lock is held.
    pub(crate) fn wake(&self, all: bool) {
        match &self.turns {
            Some(turns) => turns.wake(all),
            None if all => self.work.notify_all(),
            None => self.work.notify_one(),
        }
    }

    /// Ends the run: whoever waits for anything goes on, and ends.
    pub(crate) fn stop(&self) {
        let mut scheduler = self.lock();
        scheduler.stop();
        self.wake(true);
        (0..self.results.len()).for_each(|worker| self.resume(worker));
    }

    /// Wakes the attempts that waited for what was reported last. The scheduler's lock is held, and is the caller's.
    pub(crate) fn answer(&self, scheduler: &mut Scheduler) {
        for worker in scheduler.answered.drain(..) {
            self.resume(worker as usize);
        }
    }

    fn resume(&self, worker: usize) {
        match &self.turns {
            Some(turns) => turns.resume(worker),
            None => self.results[worker].notify_one(),
        }
    }

    /// Parks a worker until it is woken.
    pub(crate) fn park<'g>(&'g self, worker: usize, scheduler: Guard<'g, Scheduler>) -> Guard<'g, Scheduler> {
        match &self.turns {
            None => self.work.wait(scheduler),
            Some(turns) => {
                drop(scheduler);
                turns.park(worker);
                self.lock()
            }
        }
    }

    /// Holds up a worker's attempt until what the transaction `on` writes can be seen, or is not about to be written. Where
    /// workers share a thread, which `parks` tells, nobody is held up.
    pub(crate) fn wait_for(&self, on: TxIndex, worker: usize, parks: bool) -> Outlook {
        let mut scheduler = self.lock();
        loop {
            let outlook = scheduler.outlook(on);
            if outlook != Outlook::Running || !parks {
                return outlook;
            }
            scheduler.attend(on, worker as u32);
            scheduler = match &self.turns {
                None => self.results[worker].wait(scheduler),
                Some(turns) => {
                    drop(scheduler);
                    turns.pause(worker);
                    self.lock()
                }
            };
        }
    }
}
