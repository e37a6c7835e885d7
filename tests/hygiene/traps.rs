//! `docs/traps.md` names tests that exist, and some for every trap.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    finding::{Finding, assert_none, lines},
    project::{self, File},
};

const PAGE: &str = "docs/traps.md";
/// Traps that the page is about.
const TRAPS: usize = 25;

/// The names of tests in a source.
fn tests_of(source: &str) -> BTreeSet<String> {
    let attributed = source.split("#[test]").skip(1);
    let name = |rest: &str| {
        let name = rest.split_once("fn ")?.1.split('(').next()?;
        Some(name.trim().to_owned())
    };
    attributed.filter_map(name).collect()
}

fn unheld(page: &File, tests: &BTreeSet<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut held: BTreeMap<usize, usize> = BTreeMap::new();
    for (line, text) in page.lines() {
        let mut cells = text.trim_matches('|').split('|').map(str::trim);
        let Some(trap) = cells.next().and_then(|cell| cell.parse().ok()) else { continue };
        let Some(named) = cells.nth(1) else { continue };
        for name in named.split('`').skip(1).step_by(2) {
            if tests.contains(name) {
                *held.entry(trap).or_default() += 1;
            } else {
                findings.push(Finding::at(&page.path, line, format!("names {name}, which is no test")));
            }
        }
    }
    let missing = (1..=TRAPS).filter(|trap| !held.contains_key(trap));
    findings.extend(missing.map(|trap| Finding::in_file(&page.path, format!("trap {trap} has no test"))));
    findings
}

#[test]
fn every_trap_has_tests_that_exist() {
    let tests = project::rust_files().iter().flat_map(|file| tests_of(&file.text)).collect();
    assert_none(&unheld(&project::read(PAGE), &tests));
}

#[test]
fn tests_that_do_not_exist_and_traps_without_any_are_found() {
    let row = |trap: usize| format!("| {trap} | what goes wrong | `is_there` |");
    let rows: Vec<String> = (1..=TRAPS).map(row).collect();
    let tests = tests_of("#[test]\nfn is_there() {}\nfn is_no_test() {}");
    assert_eq!(lines(&unheld(&File::made_up(PAGE, &rows.join("\n")), &tests)), [] as [usize; 0]);
    let unknown = rows.join("\n").replacen("is_there", "is_no_test", 1);
    assert_eq!(lines(&unheld(&File::made_up(PAGE, &unknown), &tests)), [1, 0]);
    assert_eq!(lines(&unheld(&File::made_up(PAGE, &rows[1..].join("\n")), &tests)), [0]);
}
