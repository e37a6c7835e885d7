//! A store belongs to one process at a time, and a dead process holds nothing.
//!
//! Run with `--hold DIRECTORY`, this binary plays the other process: it opens the store there, says so, and waits to be
//! killed. Without, it runs the tests.

#![expect(clippy::print_stdout, reason = "it is the harness, and the other process speaks through its output")]

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
};

use alloy_primitives::B256;
use ropewalk_state::{BlockCommit, Changes, trie::EMPTY_ROOT_HASH};
use ropewalk_store::{Store, StoreError, StoreOptions};

const HOLD: &str = "--hold";
const COMMITTED: &str = "committed";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, path] = arguments.as_slice()
        && flag == HOLD
    {
        hold(Path::new(path));
        return ExitCode::SUCCESS;
    }
    a_store_open_in_another_process_is_locked_until_that_process_dies();
    println!("a_store_open_in_another_process_is_locked_until_that_process_dies ... ok");
    ExitCode::SUCCESS
}

/// Opens the store, commits genesis and keeps it open until killed.
fn hold(path: &Path) {
    let mut store = Store::open(path, &StoreOptions::default()).expect("the store opens");
    let changes = Changes::default();
    store.commit_block(&genesis(&changes)).expect("genesis is committed");
    println!("{COMMITTED}");
    // The parent never writes: this returns when the parent is gone, should it fail to kill us.
    let _ = std::io::stdin().read(&mut [0]);
}

fn genesis(changes: &Changes) -> BlockCommit<'_> {
    BlockCommit { number: 0, hash: B256::repeat_byte(1), parent_hash: B256::ZERO, state_root: EMPTY_ROOT_HASH, changes }
}

fn a_store_open_in_another_process_is_locked_until_that_process_dies() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut child = spawn_holder(directory.path());

    match Store::open(directory.path(), &StoreOptions::default()) {
        Err(StoreError::Locked { path }) => assert_eq!(path, directory.path()),
        other => panic!("expected the store to be locked, got {other:?}"),
    }

    child.kill().expect("the child is killed");
    child.wait().expect("the child ends");
    let store = Store::open(directory.path(), &StoreOptions::default()).expect("the lock died with its owner");
    assert_eq!(store.head().map(|head| head.hash), Some(B256::repeat_byte(1)), "a kill loses no committed block");
}

/// Starts the other process and waits until it has committed.
fn spawn_holder(path: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().expect("the test binary has a path"))
        .arg(HOLD)
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the child starts");
    let mut line = String::new();
    let stdout = child.stdout.as_mut().expect("stdout is piped");
    BufReader::new(stdout).read_line(&mut line).expect("the child speaks");
    assert_eq!(line.trim(), COMMITTED);
    child
}
