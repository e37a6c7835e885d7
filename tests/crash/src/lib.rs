//! The store among killed processes, cut power, damaged files and full disks (docs/crashes.md).
//!
//! What is done to a store follows from a seed, so that any process can say what it must hold:
//!
//! | module | holds |
//! |---|---|
//! | [`chain`] | made-up blocks, what happens to them, and the points that a store passes on the way |
//! | [`work`] | a store that goes along a chain |
//! | [`judge`] | whether what a directory holds is exactly one of the points that it may hold |
//! | [`child`] | the other process, as the one that starts it sees it |
//! | [`journal`] | what a process asked of the file system, as the layer `layer/journal.c` wrote it down |
//! | [`limit`] | a store that is to work with too little space, or too few handles |
//! | [`disk`] | what a disk may hold after a power cut at any moment of a journal |
//!
//! The binary `crash-child` is the other process; the tests are in `tests/`.

#![expect(clippy::missing_panics_doc, reason = "a harness may panic: its tests fail then")]

pub mod chain;
pub mod child;
pub mod disk;
pub mod journal;
pub mod judge;
pub mod limit;
pub mod work;

mod draw;
