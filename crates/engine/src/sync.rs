//! The only place where state shared between threads enters the engine.
//!
//! Everything else names atomics, locks and condition variables through this module, so that the production code
//! itself runs under shuttle: with the `shuttle` feature the same names are shuttle's, whose scheduler owns every
//! interleaving. A lock whose holder panicked is entered all the same: a panic of a transaction is caught before it
//! reaches a lock, and a panic of the engine ends the run.

#[cfg(not(feature = "shuttle"))]
pub(crate) use std::sync::{
    Condvar as RawCondvar, Mutex as RawMutex, MutexGuard as Guard,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
};

#[cfg(feature = "shuttle")]
pub(crate) use shuttle::sync::{
    Condvar as RawCondvar, Mutex as RawMutex, MutexGuard as Guard,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
};

// A cell that is set once never blocks here: values are made before they are set, so the standard one serves both.
pub(crate) use std::{
    sync::{Arc, OnceLock, PoisonError},
    thread::panicking,
};

/// A mutex without poisoning.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(RawMutex<T>);

impl<T> Mutex<T> {
    /// A mutex around `value`.
    pub(crate) fn new(value: T) -> Self {
        Self(RawMutex::new(value))
    }

    /// Waits for the lock and takes it.
    pub(crate) fn lock(&self) -> Guard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value, while nobody else can have the lock.
    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value, when nobody else can have the lock any more.
    pub(crate) fn into_inner(self) -> T {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A condition variable; waiting parks the thread, it never spins.
#[derive(Debug, Default)]
pub(crate) struct Condvar(RawCondvar);

impl Condvar {
    /// Gives the lock back, parks until woken, takes the lock again. May wake without reason.
    pub(crate) fn wait<'a, T>(&self, guard: Guard<'a, T>) -> Guard<'a, T> {
        self.0.wait(guard).unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes one parked thread, if there is one.
    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    /// Wakes every parked thread.
    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// Keeps what is written often away from what is read often: two cache lines, because lines are fetched in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Padded<T>(pub(crate) T);

/// Begins a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Line<T>(pub(crate) T);
