//! The store among killed processes, cut power, damaged files and full disks.
//!
//! `ROPEWALK_SEED` says at which seed to begin, `ROPEWALK_KILLS` and `ROPEWALK_CUTS` how long to go on (docs/crashes.md).

mod damage;
mod kills;
mod limits;
mod power;
mod setting;
