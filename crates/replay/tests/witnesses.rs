//! The command line on witnesses: written beside the blocks of a whole chain, and enough to replay each of them alone.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

fn ropewalk(arguments: &[&str], path: &Path) -> Output {
    let (command, rest) = arguments.split_first().expect("a command");
    Command::new(env!("CARGO_BIN_EXE_ropewalk")).arg(command).arg(path).args(rest).output().expect("the binary runs")
}

fn standard_error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A generated chain with its genesis, and a witness beside each of its blocks.
fn chain_with_witnesses() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let root = directory.path().join("chain");
    let out = root.to_str().expect("text");
    let generate = ["generate", "mixed", "--blocks", "3", "--txs", "8", "--out", out];
    let made = Command::new(env!("CARGO_BIN_EXE_ropewalk")).args(generate).output().expect("the binary runs");
    assert!(made.status.success(), "{}", standard_error(&made));
    let written = ropewalk(&["replay", "--write-witness"], &root);
    assert_eq!(written.status.code(), Some(0), "{}", standard_error(&written));
    (directory, root)
}

/// What a replay of one block alone, away from its chain and its prestate, says.
fn replay_alone(block: &Path, damage: impl FnOnce(&mut Value)) -> Output {
    let alone = tempfile::tempdir().expect("a temporary directory");
    let place = alone.path().join("block");
    fs::create_dir(&place).expect("writable");
    for entry in fs::read_dir(block).expect("readable") {
        let path = entry.expect("readable").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("text");
        if !name.starts_with("prestate") && !name.starts_with("fixture") {
            fs::copy(&path, place.join(name)).expect("writable");
        }
    }
    let manifest = fs::read(block.join("fixture.json")).expect("readable");
    let mut manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
    if let Some(genesis) = manifest.get("genesis").and_then(Value::as_str) {
        manifest["genesis"] = block.join(genesis).to_str().expect("text").into();
    }
    fs::write(place.join("fixture.json"), manifest.to_string()).expect("writable");
    let file = place.join("witness.json");
    let mut witness: Value = serde_json::from_slice(&fs::read(&file).expect("a witness")).expect("JSON");
    damage(&mut witness);
    fs::write(file, witness.to_string()).expect("writable");
    ropewalk(&["replay", "--json", "--inline-below", "0", "--threads", "2"], &place)
}

#[test]
fn each_block_replays_alone_over_its_witness_to_its_headers_state_root() {
    let (_directory, root) = chain_with_witnesses();
    for number in 1..=3 {
        let run = replay_alone(&root.join(number.to_string()), |_| ());
        assert_eq!(run.status.code(), Some(0), "block {number}: {}", standard_error(&run));
        let text = String::from_utf8_lossy(&run.stdout).into_owned();
        let line: Value = serde_json::from_str(text.lines().next().expect("a line")).expect("JSON");
        assert_eq!(line["checks"]["state_root"], "ok", "{line}");
    }
}

#[test]
fn a_witness_that_lacks_a_node_or_holds_another_is_refused_and_named() {
    let (_directory, root) = chain_with_witnesses();
    let damages: [fn(&mut Value); 3] = [
        |witness| drop(witness["state"].as_array_mut().expect("nodes").pop()),
        |witness| witness["state"] = Value::Array(Vec::new()),
        |witness| witness["state"][0] = "0xzz".into(),
    ];
    for damage in damages {
        let run = replay_alone(&root.join("2"), damage);
        assert_ne!(run.status.code(), Some(0), "{run:?}");
        let error = standard_error(&run);
        assert!(error.contains("block") && (error.contains("witness") || error.contains("trie node")), "{error}");
    }
}
