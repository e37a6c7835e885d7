//! Where threads come from.

use std::{num::NonZeroUsize, ops::Range};

use crate::sync::{Arc, Mutex};

/// Runs workers on threads: the caller's pool, or one built once and kept. Never rayon's global pool silently.
#[derive(Debug, Clone)]
pub struct Engine {
    threads: NonZeroUsize,
    pool: Option<Arc<rayon::ThreadPool>>,
}

impl Engine {
    /// An engine of `threads` workers with a pool of its own: the thread that starts a run is one of them, so the pool
    /// has one thread less. One worker needs no pool.
    ///
    /// # Errors
    /// When the operating system gives no threads.
    pub fn new(threads: NonZeroUsize) -> Result<Self, rayon::ThreadPoolBuildError> {
        let helpers = threads.get() - 1;
        let named = |index| format!("ropewalk-{}", index + 1);
        let pool = match helpers {
            0 => None,
            _ => Some(Arc::new(rayon::ThreadPoolBuilder::new().num_threads(helpers).thread_name(named).build()?)),
        };
        Ok(Self { threads, pool })
    }

    /// An engine of `threads` workers on the caller's pool, plus the thread that starts a run. The pool may be busy or
    /// smaller: no step waits for a worker that has not started. The call itself returns once the pool has got round to the
    /// workers that it was asked for, so a pool must not have all its threads wait for this very run.
    #[must_use]
    pub fn on_pool(threads: NonZeroUsize, pool: Arc<rayon::ThreadPool>) -> Self {
        Self { threads, pool: Some(pool) }
    }

    /// Most workers that a run has.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads.get()
    }

    /// Parts that `count` things are split into: one for each thread, but none of less than `least`.
    #[must_use]
    pub fn parts(&self, count: usize, least: usize) -> usize {
        (count / least.max(1)).clamp(1, self.threads())
    }

    /// Splits `0..count` into its [parts](Self::parts), and hands each to `work` on a thread of its own, the first on this
    /// one. Returns what came of them, in order.
    ///
    /// # Panics
    /// When `work` does.
    pub fn in_parts<T: Send>(&self, count: usize, least: usize, work: impl Fn(Range<usize>) -> T + Sync) -> Vec<T> {
        let parts = self.parts(count, least);
        if parts == 1 {
            return vec![work(0..count)];
        }
        let results: Vec<Mutex<Option<T>>> = (0..parts).map(|_| Mutex::new(None)).collect();
        self.scatter(parts, |part| {
            let result = work(part * count / parts..(part + 1) * count / parts);
            results[part].lock().replace(result);
        });
        results.into_iter().map(|result| result.into_inner().expect("every part was worked on")).collect()
    }

    /// Gives the pool's threads something to do that is nothing: they get up for it, and look around for more before they
    /// lie down again.
    #[cfg(not(feature = "shuttle"))]
    pub(crate) fn knock(&self, workers: usize) {
        if let Some(pool) = &self.pool {
            (1..workers).for_each(|_| pool.spawn(|| ()));
        }
    }

    /// Shuttle's threads are made when they are needed.
    #[cfg(feature = "shuttle")]
    pub(crate) fn knock(&self, _: usize) {}

    /// Runs `work` once per worker number below `workers`, number 0 on this thread, and returns when all have ended.
    #[cfg(not(feature = "shuttle"))]
    pub(crate) fn scatter(&self, workers: usize, work: impl Fn(usize) + Sync) {
        let Some(pool) = self.pool.as_ref().filter(|_| workers > 1) else { return work(0) };
        let work = &work;
        pool.in_place_scope(|scope| {
            (1..workers).for_each(|number| scope.spawn(move |_| work(number)));
            work(0);
        });
    }

    /// The same on shuttle's threads.
    #[cfg(feature = "shuttle")]
    pub(crate) fn scatter(&self, workers: usize, work: impl Fn(usize) + Sync) {
        if self.pool.is_none() || workers == 1 {
            return work(0);
        }
        let work = &work;
        shuttle::thread::scope(|scope| {
            (1..workers).for_each(|number| drop(scope.spawn(move || work(number))));
            work(0);
        });
    }
}
