//! The `ropewalk` binary.

use std::process::ExitCode;

use ropewalk_replay::command_line;

/// Execution allocates many small objects on many threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    command_line()
}
