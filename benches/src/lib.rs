//! The benchmarks' own allocator: the one that the `ropewalk` binary uses.
//!
//! Every benchmark checks that the parallel result equals the sequential one before it times either.

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

pub mod state;

/// How a benchmark's name says with how many threads it ran.
pub fn thread_counts() -> [usize; 2] {
    [1, 2]
}
