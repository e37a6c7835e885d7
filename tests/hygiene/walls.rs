//! Which crate may depend on what, and which source may name what (docs/architecture.md, "Crates and walls").

use crate::{
    finding::{Finding, assert_none},
    manifest::{self, Kind, Package},
    project::{self, File},
    rust,
};

/// One crate and its place.
struct Place {
    package: &'static str,
    /// The crates of the workspace that it may build upon.
    upon: &'static [&'static str],
    /// Beginnings of the names of packages that its wall keeps out.
    keeps_out: &'static [&'static str],
}

const PLACES: [Place; 6] = [
    Place {
        package: "ropewalk-engine",
        upon: &[],
        keeps_out: &[
            "alloy",
            "revm",
            "op-",
            "rocksdb",
            "librocksdb",
            "serde_json",
            "clap",
            "tracing",
            "log",
            "metrics",
        ],
    },
    Place {
        package: "ropewalk-state",
        upon: &[],
        keeps_out: &["revm", "alloy-evm", "op-", "rocksdb", "librocksdb", "serde_json", "clap", "indicatif"],
    },
    Place {
        package: "ropewalk-evm",
        upon: &["ropewalk-engine", "ropewalk-state"],
        keeps_out: &["rocksdb", "librocksdb", "alloy-hardforks", "alloy-genesis", "serde_json", "clap", "indicatif"],
    },
    Place {
        package: "ropewalk-block",
        upon: &["ropewalk-engine", "ropewalk-evm", "ropewalk-state"],
        keeps_out: &["rocksdb", "librocksdb", "serde_json", "clap", "indicatif", "tracing-subscriber"],
    },
    Place {
        package: "ropewalk-store",
        upon: &["ropewalk-state"],
        keeps_out: &["revm", "alloy-evm", "alloy-hardforks", "op-", "serde_json", "clap", "indicatif"],
    },
    Place {
        package: "ropewalk-replay",
        upon: &["ropewalk-engine", "ropewalk-state", "ropewalk-evm", "ropewalk-block", "ropewalk-store"],
        keeps_out: &["rocksdb", "librocksdb"],
    },
];

/// Packages that only some may depend on, for whatever purpose: RocksDB, and what compiles it.
const RESERVED: [(&str, &[&str]); 5] = [
    ("rocksdb", &["ropewalk-store"]),
    ("librocksdb-sys", &["ropewalk-store"]),
    ("ropewalk-store", &["ropewalk-replay", "ropewalk-tests", "ropewalk-crash-tests", "ropewalk-benches"]),
    ("mimalloc", &["ropewalk-replay", "ropewalk-benches"]),
    ("tikv-jemallocator", &["ropewalk-replay", "ropewalk-benches"]),
];

/// Whether a rule is about test modules too.
#[derive(PartialEq, Eq)]
enum Tests {
    /// It is about what is compiled into the library.
    Free,
    /// It is about every line.
    Bound,
}

/// Names that sources in one place may not use.
struct Ban {
    /// Beginnings of the paths that it is about.
    within: &'static [&'static str],
    /// Beginnings of paths that it is not about.
    except: &'static [&'static str],
    tests: Tests,
    names: &'static [&'static str],
    instead: &'static str,
}

const SHARING: Ban = Ban {
    within: &["crates/engine/src/"],
    except: &["crates/engine/src/sync.rs", "crates/engine/src/sync/"],
    tests: Tests::Free,
    names: &[
        "std::sync",
        "std::thread",
        "std::*",
        "std::self",
        "core::sync",
        "core::*",
        "core::self",
        "alloc::sync",
        "crossbeam..",
        "parking_lot..",
        "dashmap",
        "loom",
    ],
    instead: "atomics, locks and threads enter the engine through its `sync` module, which shuttle can replace",
};

const POOL: Ban = Ban {
    within: &["crates/engine/src/"],
    except: &["crates/engine/src/sync.rs", "crates/engine/src/sync/", "crates/engine/src/pool.rs"],
    tests: Tests::Free,
    names: &["rayon", "rayon_core", "shuttle"],
    instead: "threads come from `pool` alone, rayon's or shuttle's; a step never asks for one",
};

const OUTSIDE_WORLD: Ban = Ban {
    within: &["crates/engine/src/"],
    except: &[],
    tests: Tests::Free,
    names: &[
        "std::time",
        "core::time",
        "std::env",
        "std::fs",
        "std::io",
        "std::net",
        "std::process",
        "tracing",
        "log",
        "metrics",
        "print",
        "println",
        "eprint",
        "eprintln",
        "dbg",
    ],
    instead: "the engine has no clock, environment or output: a client's `Probe` does",
};

const ADAPTER: Ban = Ban {
    within: &["crates/block/src/", "crates/replay/src/"],
    except: &["crates/block/src/oracle.rs", "crates/block/src/oracle/"],
    tests: Tests::Free,
    names: &["revm::handler", "revm::interpreter", "revm::Database..", "Handler", "Journal.."],
    instead: "revm's handler, journal and database are the business of the `evm` crate",
};

const HEADERS: Ban = Ban {
    within: &["crates/evm/src/"],
    except: &[],
    tests: Tests::Free,
    names: &["alloy_consensus::Header", "alloy_consensus::Block..", "Receipt..", "Withdrawal..", "EthereumHardfork.."],
    instead: "headers, receipts and fork schedules are the business of the `block` crate",
};

const ORACLE: Ban = Ban {
    within: &[""],
    except: &["crates/block/src/oracle.rs", "crates/block/src/oracle/"],
    tests: Tests::Bound,
    names: &["EthBlockExecutor.."],
    instead: "the oracle alone runs alloy-evm's block executor; ask `ropewalk_block::oracle`",
};

const LIBRARIES: Ban = Ban {
    within: &["crates/state/src/", "crates/evm/src/", "crates/block/src/"],
    except: &[],
    tests: Tests::Free,
    names: &["std::env", "std::fs", "std::net", "std::process", "println", "eprintln", "print", "eprint"],
    instead: "configuration is passed in, files belong to `store` and `replay`, the terminal to `replay`",
};

const STORE_WORLD: Ban = Ban {
    within: &["crates/store/src/"],
    except: &[],
    tests: Tests::Free,
    names: &["std::env", "std::net", "std::process", "println", "eprintln", "print", "eprint", "revm", "alloy_evm"],
    instead: "the store knows bytes on disk: no execution, no environment, no terminal",
};

const SPINNING: Ban = Ban {
    within: &["crates/"],
    except: &["crates/engine/src/sync.rs", "crates/engine/src/sync/"],
    tests: Tests::Free,
    names: &["yield_now", "spin_loop"],
    instead: "a thread with nothing to do parks",
};

/// Words of the chain that the engine's code has not heard of; as a whole name or as a part of one.
const CHAIN_WORDS: [&str; 11] =
    ["account", "accounts", "address", "addresses", "gas", "wei", "fee", "fees", "nonce", "evm", "ethereum"];

fn out_of_place(package: &Package) -> Vec<Finding> {
    let Some(place) = PLACES.iter().find(|place| place.package == package.name) else {
        return Vec::new();
    };
    let is_engine = place.package == "ropewalk-engine";
    let mut findings = Vec::new();
    for dependency in package.dependencies.iter().filter(|dependency| dependency.kind == Kind::Build || is_engine) {
        let name = dependency.package.as_str();
        if name.starts_with("ropewalk") && !place.upon.contains(&name) {
            findings.push(Finding::in_file(&package.path, format!("{name} is not below {}", package.name)));
        }
        if let Some(family) = place.keeps_out.iter().find(|family| name.starts_with(**family)) {
            findings.push(Finding::in_file(&package.path, format!("{name}: its wall keeps `{family}` out")));
        }
    }
    findings
}

fn reserved_for_others(package: &Package) -> Vec<Finding> {
    let breaks = |name: &str| {
        RESERVED.iter().find(|(reserved, owners)| *reserved == name && !owners.contains(&package.name.as_str()))
    };
    let dependencies = package.dependencies.iter().filter_map(|dependency| breaks(&dependency.package));
    let problem = |name, owners: &[&str]| format!("only {} may depend on {name}", owners.join(", "));
    dependencies.map(|(name, owners)| Finding::in_file(&package.path, problem(*name, owners))).collect()
}

fn not_from_workspace(package: &Package) -> Vec<Finding> {
    let own = package.dependencies.iter().filter(|dependency| !dependency.from_workspace);
    own.map(|dependency| {
        let problem = format!("{}: versions are set once, in the workspace's manifest", dependency.package);
        Finding::in_file(&package.path, problem)
    })
    .collect()
}

fn banned_names(file: &File, ban: &Ban) -> Vec<Finding> {
    let below = |beginnings: &[&str]| beginnings.iter().any(|beginning| file.path.starts_with(beginning));
    let is_test = file.path.ends_with("/tests.rs") || file.path.contains("/tests/");
    if !below(ban.within) || below(ban.except) || (is_test && ban.tests == Tests::Free) {
        return Vec::new();
    }
    let text = if ban.tests == Tests::Free { rust::without_tests(&file.text) } else { &file.text };
    let mut findings = Vec::new();
    for path in rust::paths(text) {
        if ban.names.iter().any(|name| path.matches(name)) {
            let problem = format!("`{}`: {}", path.segments.join("::"), ban.instead);
            findings.push(Finding::at(&file.path, path.line, problem));
        }
    }
    findings
}

fn chain_words(file: &File) -> Vec<Finding> {
    if !file.path.starts_with("crates/engine/src/") {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for path in rust::paths(&file.text) {
        for name in &path.segments {
            if let Some(word) = words_of(name).into_iter().find(|word| CHAIN_WORDS.contains(&word.as_str())) {
                let problem =
                    format!("`{name}`: the engine knows keys, values and order, and has not heard of `{word}`");
                findings.push(Finding::at(&file.path, path.line, problem));
            }
        }
    }
    findings
}

/// The words that a name in snake case, camel case or capitals is made of, in small letters.
fn words_of(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before_is_small = false;
    for c in name.chars() {
        if c == '_' || (c.is_uppercase() && before_is_small) {
            words.push(String::new());
        }
        if c != '_' {
            words.last_mut().expect("there is a word from the start").extend(c.to_lowercase());
        }
        before_is_small = c.is_lowercase();
    }
    words
}

fn apply_to_packages(rule: impl Fn(&Package) -> Vec<Finding>) {
    assert_none(&manifest::packages().iter().flat_map(rule).collect::<Vec<_>>());
}

fn apply_to_sources(rule: impl Fn(&File) -> Vec<Finding>) {
    assert_none(&project::rust_files().iter().flat_map(rule).collect::<Vec<_>>());
}

fn apply_ban(ban: &Ban) {
    let files = project::rust_files();
    let test_only = rust::test_only_modules(&files);
    let is_free = |file: &File| ban.tests == Tests::Free && test_only.iter().any(|module| module.holds(&file.path));
    let checked = files.iter().filter(|file| !is_free(file));
    assert_none(&checked.flat_map(|file| banned_names(file, ban)).collect::<Vec<_>>());
}

#[test]
fn crates_depend_only_on_what_their_walls_let_in() {
    apply_to_packages(out_of_place);
}

#[test]
fn only_the_store_links_rocksdb_and_only_the_edges_name_the_store() {
    apply_to_packages(reserved_for_others);
}

#[test]
fn versions_of_dependencies_are_set_once() {
    apply_to_packages(not_from_workspace);
}

#[test]
fn every_package_takes_the_lints_of_the_workspace() {
    apply_to_packages(|package| match package.workspace_lints {
        true => Vec::new(),
        false => vec![Finding::in_file(&package.path, "wants `[lints]` with `workspace = true`")],
    });
}

#[test]
fn every_crate_has_its_place() {
    let named: Vec<String> = manifest::packages().into_iter().map(|package| package.name).collect();
    for place in &PLACES {
        assert!(named.iter().any(|name| name == place.package), "{} is gone", place.package);
    }
    let edges = ["ropewalk-tests", "ropewalk-crash-tests", "ropewalk-benches"];
    for name in &named {
        let known = edges.contains(&name.as_str()) || PLACES.iter().any(|place| place.package == name);
        assert!(known, "{name} has no place in the table of walls");
    }
}

#[test]
fn the_engine_shares_state_between_threads_only_in_its_sync_module() {
    apply_ban(&SHARING);
}

#[test]
fn the_engine_asks_for_threads_only_in_its_pool_module() {
    apply_ban(&POOL);
}

#[test]
fn the_engine_has_no_clock_environment_or_output() {
    apply_ban(&OUTSIDE_WORLD);
}

#[test]
fn the_engine_has_not_heard_of_the_chain() {
    apply_to_sources(chain_words);
}

#[test]
fn no_thread_spins() {
    apply_ban(&SPINNING);
}

#[test]
fn only_the_oracle_names_alloys_block_executor() {
    apply_ban(&ORACLE);
}

#[test]
fn only_the_evm_adapter_names_revms_handler_journal_and_database() {
    apply_ban(&ADAPTER);
}

#[test]
fn the_evm_adapter_knows_no_headers_receipts_or_fork_schedules() {
    apply_ban(&HEADERS);
}

#[test]
fn libraries_are_configured_by_arguments_and_leave_the_outside_world_to_others() {
    for ban in [&LIBRARIES, &STORE_WORLD] {
        apply_ban(ban);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::finding::lines;

    fn package(name: &str, dependencies: &str) -> Package {
        let text = format!("[package]\nname = \"{name}\"\n{dependencies}");
        Package::read(&File::made_up("made/up/Cargo.toml", &text), &BTreeMap::new())
    }

    #[test]
    fn a_dependency_upwards_is_found() {
        assert_eq!(out_of_place(&package("ropewalk-evm", "[dependencies]\nropewalk-block = \"1\"")).len(), 1);
        assert_eq!(out_of_place(&package("ropewalk-state", "[build-dependencies]\nropewalk-engine = \"1\"")).len(), 1);
        assert_eq!(out_of_place(&package("ropewalk-block", "[dependencies]\nropewalk-evm = \"1\"")), []);
    }

    #[test]
    fn a_dependency_that_a_wall_keeps_out_is_found() {
        assert_eq!(out_of_place(&package("ropewalk-engine", "[dependencies]\nalloy-primitives = \"1\"")).len(), 1);
        assert_eq!(out_of_place(&package("ropewalk-engine", "[dev-dependencies]\nrevm = \"1\"")).len(), 1);
        assert_eq!(out_of_place(&package("ropewalk-state", "[dependencies]\nrevm-primitives = \"1\"")).len(), 1);
        assert_eq!(out_of_place(&package("ropewalk-state", "[dependencies]\nalloy-primitives = \"1\"")), []);
        assert_eq!(out_of_place(&package("ropewalk-block", "[dev-dependencies]\nserde_json = \"1\"")), []);
    }

    #[test]
    fn rocksdb_and_the_store_are_found_in_the_wrong_hands_even_for_tests() {
        assert_eq!(
            reserved_for_others(&package("ropewalk-block", "[dev-dependencies]\nropewalk-store = \"1\"")).len(),
            1
        );
        assert_eq!(reserved_for_others(&package("ropewalk-tests", "[dev-dependencies]\nrocksdb = \"1\"")).len(), 1);
        assert_eq!(reserved_for_others(&package("ropewalk-tests", "[dev-dependencies]\nropewalk-store = \"1\"")), []);
    }

    #[test]
    fn a_version_of_its_own_is_found() {
        assert_eq!(not_from_workspace(&package("a", "[dependencies]\nb = \"1\"\nc.workspace = true")).len(), 1);
    }

    #[test]
    fn shared_state_is_found_however_it_is_imported() {
        let imports =
            ["use std::{fmt, sync::Arc};", "use std::sync as s;", "fn f() { std::thread::park() }", "use std::*;"];
        for import in imports {
            let found = banned_names(&File::made_up("crates/engine/src/memory.rs", import), &SHARING);
            assert_eq!(lines(&found), [1], "{import}");
            assert_eq!(banned_names(&File::made_up("crates/engine/src/sync.rs", import), &SHARING), []);
            assert_eq!(banned_names(&File::made_up("crates/store/src/lib.rs", import), &SHARING), []);
        }
        let in_tests = "use std::fmt;\n#[cfg(test)]\nmod tests {\nuse std::thread;\n}";
        assert_eq!(banned_names(&File::made_up("crates/engine/src/memory.rs", in_tests), &SHARING), []);
        let innocent = "use crate::sync::AtomicU64; // std::sync stays outside\nuse std::fmt;";
        assert_eq!(banned_names(&File::made_up("crates/engine/src/memory.rs", innocent), &SHARING), []);
    }

    #[test]
    fn clocks_and_output_are_found() {
        let source = "use std::fmt;\nuse std::time::Instant;\nfn f() { println!(\"now\") }";
        let found = banned_names(&File::made_up("crates/engine/src/worker.rs", source), &OUTSIDE_WORLD);
        assert_eq!(lines(&found), [2, 3]);
    }

    #[test]
    fn the_block_executor_is_found_outside_of_the_oracle() {
        let source = "use alloy_evm::eth::{EthBlockExecutionCtx, EthBlockExecutorFactory};";
        assert_eq!(lines(&banned_names(&File::made_up("tests/tests/a.rs", source), &ORACLE)), [1]);
        assert_eq!(banned_names(&File::made_up("crates/block/src/oracle.rs", source), &ORACLE), []);
    }

    #[test]
    fn headers_are_found_in_the_adapter_and_variants_of_that_name_are_not() {
        let source = "use alloy_consensus::{Header, Transaction};\nfn f() { EVMError::Header }\nstruct ReceiptBuilder;";
        assert_eq!(lines(&banned_names(&File::made_up("crates/evm/src/a.rs", source), &HEADERS)), [1, 3]);
    }

    #[test]
    fn words_of_the_chain_are_found_in_code_and_not_in_prose() {
        let source =
            "/// Like gas, but abstract.\nfn gas_used() {}\nstruct FeeCap;\nconst MAX_GAS: u64 = 1;\nfn gasket() {}";
        assert_eq!(lines(&chain_words(&File::made_up("crates/engine/src/a.rs", source))), [2, 3, 4]);
    }
}
