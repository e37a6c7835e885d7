//! The command line on access lists: written beside fixtures, followed, and refused where they are wrong.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

fn ropewalk(arguments: &[&str], path: &Path) -> Output {
    let run = Command::new(env!("CARGO_BIN_EXE_ropewalk")).arg("replay").arg(path).args(arguments).output();
    run.expect("the binary runs")
}

/// A copy of some of the project's own fixtures.
fn fixtures() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
    for entry in fs::read_dir(source).expect("readable") {
        let set = entry.expect("readable").path();
        if set.join("generate.json").exists() {
            copy(&set, &directory.path().join(set.file_name().expect("a name")));
        }
    }
    directory
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("writable");
    for entry in fs::read_dir(from).expect("readable") {
        let path = entry.expect("readable").path();
        let place = to.join(path.file_name().expect("a name"));
        if path.is_dir() { copy(&path, &place) } else { assert!(fs::copy(&path, &place).is_ok()) }
    }
}

/// A fixture whose list is short.
fn first_block(root: &Path) -> PathBuf {
    root.join("payments").join("1")
}

fn standard_error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn blocks_are_verified_along_the_lists_that_were_written_for_them() {
    let directory = fixtures();
    let written = ropewalk(&["--write-access-lists"], directory.path());
    assert_eq!(written.status.code(), Some(0), "{}", standard_error(&written));
    for threads in ["1", "2", "8"] {
        for schedule in ["normal", "adversarial:5"] {
            let arguments = [
                "--mode",
                "access-list",
                "--threads",
                threads,
                "--schedule",
                schedule,
                "--inline-below",
                "0",
                "--json",
            ];
            let run = ropewalk(&arguments, directory.path());
            assert_eq!(run.status.code(), Some(0), "{arguments:?}: {}", standard_error(&run));
            let lines: Vec<Value> = String::from_utf8_lossy(&run.stdout)
                .lines()
                .map(|line| serde_json::from_str(line).expect("a line of JSON"))
                .collect();
            let aborts: u64 = lines.iter().filter_map(|line| line["aborts"].as_u64()).sum();
            assert_eq!(aborts, 0, "{arguments:?}");
            assert!(lines.len() > 4, "{lines:?}");
        }
    }
}

#[test]
fn fixture_without_a_list_is_unusable_and_the_file_is_named() {
    let directory = fixtures();
    let run = ropewalk(&["--mode", "access-list"], &first_block(directory.path()));
    assert_eq!(run.status.code(), Some(2));
    assert!(standard_error(&run).contains("access_list.json"), "{}", standard_error(&run));
}

#[test]
fn list_with_a_wrong_nonce_makes_the_block_invalid_at_that_transaction() {
    let directory = fixtures();
    let block = first_block(directory.path());
    assert_eq!(ropewalk(&["--write-access-lists"], &block).status.code(), Some(0));
    let path = block.join("access_list.json");
    let mut list: Value = serde_json::from_slice(&fs::read(&path).expect("written plain")).expect("JSON");
    list.as_object_mut().expect("an object").remove("hash");
    let accounts = list["accounts"].as_array_mut().expect("accounts");
    let account = accounts.iter_mut().find(|account| account["nonceChanges"][0].is_object()).expect("a sender");
    let change = account["nonceChanges"][0].as_object_mut().expect("a change");
    let nonce = change.iter_mut().find(|(name, _)| !name.to_lowercase().contains("index")).expect("the nonce").1;
    *nonce = "0x77".into();
    let address = account["address"].as_str().expect("an address").to_lowercase();
    fs::write(&path, serde_json::to_vec(&list).expect("JSON")).expect("writable");

    let run = ropewalk(&["--mode", "access-list"], &block);
    let message = standard_error(&run);
    assert_eq!(run.status.code(), Some(1), "{message}");
    assert!(message.to_lowercase().contains(&address), "{message}");
    assert!(message.contains("the nonce (119)"), "{message}");
}
