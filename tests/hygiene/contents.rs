//! What the repository holds besides sources: how large, where from, and whether it is still what it was.

use std::{collections::BTreeMap, fs};

use sha2::{Digest, Sha256};

use crate::{
    finding::{Finding, assert_none},
    project::{self, File, on_disk},
};

/// Largest file that is tracked, in bytes.
const LARGEST_FILE_BYTES: u64 = 2 << 20;

const SUMS: &str = "fixtures/SHA256SUMS";
/// The only places that packages come from.
const REGISTRIES: [(&str, &str, &str); 2] = [
    ("Cargo.lock", "source = \"", "registry+https://github.com/rust-lang/crates.io-index\""),
    ("package-lock.json", "\"resolved\": \"", "https://registry.npmjs.org/"),
];

fn too_large(path: &str, size_bytes: u64) -> Option<Finding> {
    let problem = || format!("{size_bytes} bytes, at most {LARGEST_FILE_BYTES}: compress it, or keep it elsewhere");
    (size_bytes > LARGEST_FILE_BYTES).then(|| Finding::in_file(path, problem()))
}

/// Compares the list of sums with the files of the folder, given as path (from that folder) and sum.
fn wrong_sums(list: &File, found: &BTreeMap<String, String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut listed = BTreeMap::new();
    for (number, line) in list.lines() {
        let Some((sum, path)) = line.split_once("  ") else {
            findings.push(Finding::at(&list.path, number, "not of the form `<sha-256>  <path>`"));
            continue;
        };
        match found.get(path) {
            None => findings.push(Finding::at(&list.path, number, format!("{path} is listed and not there"))),
            Some(now) if now != sum => {
                findings.push(Finding::at(&list.path, number, format!("{path} has the sum {now}, not {sum}")));
            }
            Some(_) => {}
        }
        listed.insert(path, number);
    }
    let missing = found.keys().filter(|path| !listed.contains_key(path.as_str()));
    findings.extend(missing.map(|path| Finding::in_file(&list.path, format!("{path} is not listed"))));
    findings
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Lines of a lock file that take a package from somewhere else.
fn other_registries(lock: &File) -> Vec<Finding> {
    let name = lock.path.rsplit('/').next().unwrap_or_default();
    let Some((_, marker, registry)) = REGISTRIES.iter().find(|(file, ..)| *file == name) else {
        return Vec::new();
    };
    let found = lock.lines().filter_map(|(number, line)| {
        let source = line.trim_start().strip_prefix(marker)?;
        (!source.starts_with(registry)).then(|| Finding::at(&lock.path, number, format!("a package from {source}")))
    });
    found.collect()
}

/// Decision records are numbered without a gap, and each has its three parts.
fn incomplete_records(records: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, record) in records.iter().enumerate() {
        let name = record.path.rsplit('/').next().unwrap_or_default();
        let number = format!("{:04}-", at + 1);
        if !name.starts_with(&number) {
            findings.push(Finding::in_file(&record.path, format!("the next record is {number}...")));
        }
        for part in ["## Context", "## Decision", "## Consequences"] {
            if !record.text.lines().any(|line| line == part) {
                findings.push(Finding::in_file(&record.path, format!("has no part `{part}`")));
            }
        }
    }
    findings
}

#[test]
fn no_tracked_file_is_larger_than_2_mib() {
    let sizes = project::paths().into_iter().map(|path| {
        let size_bytes = fs::metadata(on_disk(&path)).unwrap_or_else(|error| panic!("{path}: {error}")).len();
        too_large(&path, size_bytes)
    });
    assert_none(&sizes.flatten().collect::<Vec<_>>());
}

#[test]
fn fixtures_are_what_their_sums_say() {
    let in_fixtures = |path: &String| {
        path.strip_prefix("fixtures/").filter(|_| path != SUMS && !path.ends_with(".md")).map(str::to_owned)
    };
    let paths: Vec<String> = project::paths().iter().filter_map(in_fixtures).collect();
    if paths.is_empty() {
        return;
    }
    assert!(on_disk(SUMS).is_file(), "{SUMS} is missing; `make sums` writes it");
    let sum = |path: &String| sha256(&fs::read(on_disk(&format!("fixtures/{path}"))).unwrap_or_default());
    let found = paths.iter().map(|path| (path.clone(), sum(path))).collect();
    let findings = wrong_sums(&project::read(SUMS), &found);
    if !findings.is_empty() {
        eprintln!("where the change was meant, `make sums` writes the list anew");
    }
    assert_none(&findings);
}

#[test]
fn every_locked_package_comes_from_a_public_registry() {
    let locks = project::files(|path| path.ends_with("Cargo.lock") || path.ends_with("package-lock.json"));
    assert!(!locks.is_empty(), "Cargo.lock is part of the repository");
    assert_none(&locks.iter().flat_map(other_registries).collect::<Vec<_>>());
}

#[test]
fn decision_records_are_numbered_and_have_their_three_parts() {
    let records = project::files(|path| path.starts_with("docs/decisions/") && path.ends_with(".md"));
    assert_none(&incomplete_records(&records));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::lines;

    #[test]
    fn a_file_over_the_limit_is_found() {
        assert_eq!(too_large("a", LARGEST_FILE_BYTES), None);
        assert!(too_large("a", LARGEST_FILE_BYTES + 1).is_some());
    }

    #[test]
    fn changed_missing_and_unlisted_fixtures_are_found() {
        let found = [("same", "1"), ("changed", "2"), ("unlisted", "3")];
        let found = found.map(|(path, sum)| (path.to_owned(), sum.to_owned())).into();
        let list = File::made_up(SUMS, "1  same\n9  changed\n5  gone\nnonsense");
        assert_eq!(lines(&wrong_sums(&list, &found)), [2, 3, 4, 0]);
    }

    #[test]
    fn sums_are_those_of_sha256() {
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn packages_from_elsewhere_are_found() {
        let cargo =
            "source = \"registry+https://github.com/rust-lang/crates.io-index\"\nsource = \"git+https://a.b/c\"";
        assert_eq!(lines(&other_registries(&File::made_up("Cargo.lock", cargo))), [2]);
        let npm = "  \"resolved\": \"https://registry.npmjs.org/a.tgz\"\n  \"resolved\": \"http://mirror.local/a.tgz\"";
        assert_eq!(lines(&other_registries(&File::made_up("fixtures/package-lock.json", npm))), [2]);
    }

    #[test]
    fn a_gap_between_records_and_a_missing_part_are_found() {
        let text = "# 1\n## Context\n## Decision\n## Consequences\n";
        let records =
            [File::made_up("docs/decisions/0001-a.md", text), File::made_up("docs/decisions/0003-b.md", text)];
        assert_eq!(incomplete_records(&records).len(), 1);
        assert_eq!(incomplete_records(&records[..1]), []);
        assert_eq!(
            incomplete_records(&[File::made_up("docs/decisions/0001-a.md", "## Context\n## Decision\n")]).len(),
            1
        );
    }
}
