//! State tests: one transaction by itself.

use super::{executors::Engines, state_suite::StateTest, verdict::Verdict};

/// What became of a variant, with remarks.
type Judged = (Verdict, Vec<String>);

/// Runs every variant of a test on every network it names: gives the network, the variant's name and what became of it.
pub(super) fn run(
    test: &StateTest,
    _engines: &Engines,
    _guarded: fn(Box<dyn FnOnce() -> Judged>) -> Judged,
) -> Vec<(String, String, Judged)> {
    let skipped = || (Verdict::Skipped { reason: "state tests".to_owned() }, Vec::new());
    test.posts.keys().map(|network| (network.clone(), String::new(), skipped())).collect()
}
