//! The files of the repository: those that git tracks, and new ones that it does not ignore.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A text file with its path from the root of the repository, separated by `/`.
#[derive(Debug, Clone)]
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    /// A file made up for a test of a rule.
    pub(crate) fn made_up(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// Its lines with their numbers from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(at, line)| (at + 1, line))
    }
}

/// Where a path of the repository is on this machine.
pub(crate) fn on_disk(path: &str) -> PathBuf {
    ropewalk_tests::workspace().join(path)
}

/// The paths of all files of the repository, sorted.
pub(crate) fn paths() -> Vec<String> {
    let mut paths = listed_by_git().unwrap_or_else(|| {
        let mut found = Vec::new();
        walk(&ropewalk_tests::workspace(), "", &mut found);
        found
    });
    paths.retain(|path| on_disk(path).is_file());
    paths.sort_unstable();
    paths.dedup();
    paths
}

/// The files of the repository whose path the filter takes, as text.
pub(crate) fn files(wanted: impl Fn(&str) -> bool) -> Vec<File> {
    paths().into_iter().filter(|path| wanted(path)).map(|path| read(&path)).collect()
}

/// All Rust sources.
pub(crate) fn rust_files() -> Vec<File> {
    files(|path| path.ends_with(".rs"))
}

/// What people of the project wrote: sources, manifests, scripts and pages, not licences, lock files or recorded data.
pub(crate) fn written_files() -> Vec<File> {
    const ENDINGS: [&str; 5] = [".rs", ".toml", ".md", ".sol", ".js"];
    files(|path| ENDINGS.iter().any(|ending| path.ends_with(ending)) || path == "Makefile" || path.starts_with(".ci/"))
}

/// One file as text.
pub(crate) fn read(path: &str) -> File {
    let bytes = fs::read(on_disk(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    File { path: path.to_owned(), text: String::from_utf8_lossy(&bytes).into_owned() }
}

fn listed_by_git() -> Option<Vec<String>> {
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").args(arguments).current_dir(ropewalk_tests::workspace()).output().ok()?;
    let listed: Vec<String> =
        String::from_utf8(output.stdout).ok()?.split_terminator('\0').map(str::to_owned).collect();
    (output.status.success() && !listed.is_empty()).then_some(listed)
}

/// For a tree without git, such as an unpacked archive.
fn walk(folder: &Path, path: &str, found: &mut Vec<String>) {
    const SKIPPED: [&str; 3] = [".git", "target", "node_modules"];
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries.map(|entry| entry.unwrap_or_else(|error| panic!("{}: {error}", folder.display()))) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let below = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
        if !entry.path().is_dir() {
            found.push(below);
        } else if !SKIPPED.contains(&name.as_str()) {
            walk(&entry.path(), &below, found);
        }
    }
}

#[test]
fn the_listing_holds_this_file_however_it_is_made() {
    let this = "tests/hygiene/project.rs".to_owned();
    assert!(paths().contains(&this));
    let mut walked = Vec::new();
    walk(&ropewalk_tests::workspace(), "", &mut walked);
    assert!(walked.contains(&this));
}
