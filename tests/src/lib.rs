//! What the tests that span crates share: where the repository is, and where real blocks are, if they are.
//!
//! Tests themselves are targets of their own: `hygiene/` holds the repository to its own rules, the others run crates
//! together. Real blocks are not part of the repository; a test that wants them asks [`shared`] and, where the answer
//! is none, says so in a line and passes.

use std::{env, path::PathBuf};

/// The root of the repository: the one that the tests run for, whichever clone built the artefacts that they share.
#[must_use]
pub fn workspace() -> PathBuf {
    let package = env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    package.join("..")
}

/// The folder with material that is too large for the repository (`fixtures/mainnet/<number>/`), if it is here.
///
/// `ROPEWALK_SHARED` names it; without that it is `shared`, beside the repository.
#[must_use]
pub fn shared() -> Option<PathBuf> {
    let folder = env::var_os("ROPEWALK_SHARED").map_or_else(|| workspace().join("../shared"), PathBuf::from);
    folder.is_dir().then_some(folder)
}

/// The README's examples, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
