//! `ropewalk import` and `ropewalk db`: chains from files into a database, through the command line.

mod archive;
mod chain;
mod cut;
mod database;
mod history;
mod made;
mod pipeline;
