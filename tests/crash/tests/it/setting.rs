//! What the tests are told from outside, and how they tell what they saw.

use std::{env, io::Write, path::PathBuf};

/// Past the test harness, which keeps what a passing test prints to itself.
pub(crate) fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).expect("standard error is there");
}

/// A number from the environment.
pub(crate) fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// The seed to begin with.
pub(crate) fn seed() -> u64 {
    number("ROPEWALK_SEED").unwrap_or(1)
}

/// The other process. `ROPEWALK_CHILD` names another than the one that was built last, for long runs of copies.
pub(crate) fn child() -> PathBuf {
    env::var_os("ROPEWALK_CHILD").map_or_else(|| env!("CARGO_BIN_EXE_crash-child").into(), PathBuf::from)
}

/// A directory for one store and what belongs to it.
pub(crate) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}
