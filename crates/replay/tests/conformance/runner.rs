//! The binary, run on files.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

/// What a run said.
#[derive(Debug)]
pub(crate) struct Report {
    /// One object for each test.
    pub(crate) lines: Vec<Value>,
    /// The last line's content.
    pub(crate) summary: Value,
    /// Standard error.
    pub(crate) errors: String,
    /// Exit status.
    pub(crate) exit: i32,
}

impl Report {
    pub(crate) fn statuses(&self) -> Vec<&str> {
        self.lines.iter().filter_map(|line| line["status"].as_str()).collect()
    }
}

/// Runs the suites under `paths`.
pub(crate) fn run(paths: &[impl AsRef<Path>], options: &[&str]) -> Report {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ropewalk"));
    command.arg("conformance").arg("--json").args(options);
    command.args(paths.iter().map(AsRef::as_ref));
    let output = command.output().expect("the binary runs");
    let text = String::from_utf8(output.stdout).expect("output is text");
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
    let last = lines.pop().expect("there is a last line");
    Report {
        lines,
        summary: last["summary"].clone(),
        errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        exit: output.status.code().expect("it exits"),
    }
}

/// Runs files with these names and contents.
pub(crate) fn run_files(files: &[(&str, String)], options: &[&str]) -> Report {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let paths: Vec<_> = files.iter().map(|(name, _)| directory.path().join(name)).collect();
    for (path, (_, text)) in paths.iter().zip(files) {
        fs::write(path, text).expect("a writable directory");
    }
    run(&paths, options)
}
