//! What the engine must not contain, read from its sources.

#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::{fs, path::Path};

/// Sources of the library, without tests.
fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let name = path.strip_prefix(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).unwrap().display().to_string();
        let is_test = ["tests.rs", "toy", "simulation.rs", "interleavings.rs"].iter().any(|test| name.contains(test));
        match (path.is_dir(), is_test) {
            (true, false) => sources(&path, found),
            (false, false) => {
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("\n#[cfg(test)]").next().unwrap_or_default().to_owned();
                found.push((name, code));
            }
            _ => {}
        }
    }
}

/// Lines of code outside of `allowed` that hold one of `words`.
fn lines_with(words: &[&str], allowed: &str) -> Vec<String> {
    let mut found = Vec::new();
    sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut found);
    assert!(found.len() > 15, "the sources were found: {}", found.len());
    let lines = found.iter().filter(|(name, _)| name != allowed).flat_map(|(name, code)| {
        let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        code.filter(|line| words.iter().any(|word| line.contains(word))).map(move |line| format!("{name}: {line}"))
    });
    lines.collect()
}

#[test]
fn shared_state_enters_through_one_module() {
    let words = ["std::sync", "sync::{", "std::thread", "core::sync", "loom", "parking_lot", "shuttle::sync"];
    let lines = lines_with(&words, "sync.rs");
    let lines: Vec<_> =
        lines.iter().filter(|line| !line.contains("crate::sync") && !line.contains("    sync::{")).collect();
    assert_eq!(lines, Vec::<&String>::new());
}

#[test]
fn engine_knows_no_clock_environment_or_terminal() {
    let words = ["Instant", "SystemTime", "env::", "println!", "eprintln!", "tracing", "log::"];
    assert_eq!(lines_with(&words, ""), Vec::<String>::new());
}

#[test]
fn engine_has_not_heard_of_accounts() {
    let words = ["revm", "alloy", "rocksdb", "Address", "U256", "B256", "gas"];
    assert_eq!(lines_with(&words, ""), Vec::<String>::new());
}
