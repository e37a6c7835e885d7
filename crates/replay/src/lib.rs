//! Feeds recorded blocks through the engine and reports: fixtures, the command line, the `ropewalk` binary.
//!
//! ```text
//! fixture    files -> Fixture: a block with senders, and the state before it
//! ground     Fixture -> the state in memory, and what the oracle says
//! run        the oracle and the engine, timed
//! compare    what is the first difference?
//! fetch      a node -> fixtures
//! trace      what each worker did, for Perfetto
//! simulate   the engine on more workers than there are cores
//! page       what became of blocks, as one HTML file
//! persist    verified blocks into RocksDB, and back
//! conformance  the public suites
//! import     history and chains from files into a database
//! db         what a database holds, and whether it is right
//! report     tables for people, lines of JSON for programs
//! ```
//!
//! Nothing here changes a result. This crate alone knows JSON, arguments, the terminal and exit codes.

pub mod fetch;
pub mod fixture;
pub mod generate;

pub mod compare;
pub mod ground;
pub mod persist;

mod arguments;
mod bench;
mod cause;
mod conformance;
mod db;
mod import;
mod make;
mod page;
mod recording;
mod replay;
mod report;
mod run;
mod session;
mod simulate;
mod status;
mod trace;
mod whole_file;

use std::{
    io::{self, IsTerminal, Write},
    process::{self, ExitCode},
};

use clap::Parser;
use ropewalk_block::CancelToken;
use tracing_subscriber::EnvFilter;

use arguments::{Arguments, Command};
use status::Status;

/// What the `ropewalk` binary does: reads the arguments of the process, does what they say, and gives the exit status.
///
/// Usage errors end the process with status 2, `--help` and `--version` with 0.
pub fn command_line() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(error) = start_log(&arguments.log) {
        complain(&format!("--log {}: {error}", arguments.log));
        return Status::Input.into();
    }
    let interrupt = CancelToken::new();
    if let Err(error) = end_on_signal(interrupt.clone()) {
        // Without a handler a signal ends the process at once, which leaves temporary files and harms nothing else.
        tracing::warn!(%error, "cannot handle signals");
    }
    let done = match &arguments.command {
        Command::Replay(arguments) => replay::replay(arguments, interrupt),
        Command::Bench(arguments) => bench::bench(arguments, interrupt),
        Command::Simulate(arguments) => simulate::simulate(arguments, interrupt),
        Command::Report(arguments) => page::report(arguments, interrupt),
        Command::Generate(arguments) => make::generate(arguments, &interrupt),
        Command::Conformance(arguments) => conformance::conformance(arguments, &interrupt),
        Command::Fetch(arguments) => fetch::command(arguments, &interrupt),
        Command::Import(arguments) => import::import(arguments, &interrupt),
        Command::Db(arguments) => db::db(arguments, &interrupt),
    };
    let status = done.unwrap_or_else(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Status::OutputClosed,
        _ => {
            complain(&format!("cannot write standard output: {error}"));
            Status::Input
        }
    });
    status.into()
}

fn start_log(filter: &str) -> Result<(), tracing_subscriber::filter::ParseError> {
    let filter = EnvFilter::builder().parse(filter)?;
    let colours = io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colours);
    // Somebody who embeds the command line may have a log of their own.
    let _ = log.without_time().try_init();
    Ok(())
}

/// The first signal ends the run between two executions, so that temporary files go; the second ends the process.
fn end_on_signal(interrupt: CancelToken) -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(move || {
        if interrupt.is_cancelled() {
            end_now();
        }
        interrupt.cancel();
    })
}

#[expect(clippy::disallowed_methods, reason = "asked twice, the user wants it at once; a database survives that")]
fn end_now() {
    process::exit(Status::Interrupted.code().into());
}

fn complain(message: &str) {
    let _ = writeln!(io::stderr(), "error: {message}");
}
