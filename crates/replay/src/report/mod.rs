//! What a run has to say: figures, tables for people, lines of JSON for programs.
//!
//! Results go to standard output, everything else (errors, remarks, progress, logs) to standard error, so that the one
//! can be piped without the other.

pub(crate) mod bench;
pub(crate) mod chain;
mod figure;
mod progress;
pub(crate) mod replay;
pub(crate) mod simulate;
mod table;

use std::io::{self, Write};

pub(crate) use figure::{Figure, counted, fixed, geometric_mean, grouped, milliseconds};
pub(crate) use progress::Progress;
use serde::Serialize;
pub(crate) use table::{Side, Table};

/// Writes one line to standard output, at once.
///
/// # Errors
/// When standard output is closed or full.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        stdout.write_all(b"\n")?;
    }
    stdout.flush()
}

/// Writes one JSON object on a line of standard output.
///
/// # Errors
/// When standard output is closed or full.
pub(crate) fn print_json(object: &impl Serialize) -> io::Result<()> {
    print(&serde_json::to_string(object)?)
}
