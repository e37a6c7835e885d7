//! The repository held to its own rules, as an ordinary test, so that `cargo test` tells the whole truth.
//!
//! Each rule is a function from files to [findings](finding::Finding), tested below the rule on small bad inputs, and
//! one test that applies it to the repository and wants no findings. Rules about crates look at manifests
//! ([`manifest`]) and at code without its comments and literals ([`rust`]); rules about wording look at every line.
//!
//! - [`walls`]: which crate may depend on what, name what, know what.
//! - [`manners`]: file lengths, module names, marks of unfinished work, words, paths, links.
//! - [`traps`]: every trap that is known has tests.
//! - [`contents`]: what is tracked: sizes, fixture hashes, lock files, decision records.

mod finding;
mod manifest;
mod project;
mod rust;

mod contents;
mod manners;
mod traps;
mod walls;
