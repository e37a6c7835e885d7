//! The store as its users see it: blocks, snapshots, opening, and a model beside it.

mod blocks;
mod chain;
mod content;
mod exporting;
mod loading;
mod model;
mod opening;
mod tries;
mod unwinding;
mod verifying;
