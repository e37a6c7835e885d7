//! Generated fixtures on disk: the same options give the same files, and the committed sets are what their options say.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use flate2::read::GzDecoder;
use ropewalk_replay::{
    fixture::{WriteError, write_chain},
    generate::{GenerateOptions, Generator, Workload},
};

/// Writes a chain to `out`.
fn write(options: GenerateOptions, out: &Path) -> Result<(), WriteError> {
    write_chain(Generator::new(options).expect("valid options"), out, |_| ())
}

/// Every file under `root`, by path.
fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("a readable directory") {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                directories.push(path);
            } else {
                let bytes = fs::read(&path).expect("a readable file");
                files.insert(path.strip_prefix(root).expect("under the root").to_owned(), bytes);
            }
        }
    }
    files
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let directory = directory();
    for workload in [Workload::Payments, Workload::Erc20, Workload::Exchange, Workload::Mixed] {
        let options = GenerateOptions { blocks: 2, hot: 0.3, depth: 2, ..GenerateOptions::new(workload) };
        let outs = ["one", "two"].map(|name| directory.path().join(format!("{workload:?}-{name}")));
        for out in &outs {
            write(options, out).expect("a writable directory");
        }
        assert_eq!(files(&outs[0]), files(&outs[1]));
        let other = directory.path().join(format!("{workload:?}-other"));
        write(GenerateOptions { seed: 1, ..options }, &other).expect("a writable directory");
        assert_ne!(files(&outs[0]), files(&other));
    }
}

#[test]
fn large_files_are_compressed_without_a_trace_of_time_or_machine() {
    let directory = directory();
    let out = directory.path().join("out");
    write(GenerateOptions { txs: 400, ..GenerateOptions::new(Workload::Payments) }, &out).expect("writable");
    let files = files(&out);
    let names: Vec<&str> = files.keys().filter_map(|path| path.to_str()).collect();
    let expected = [
        "1/block.json.gz",
        "1/block_hashes.json",
        "1/fixture.json",
        "1/prestate.json",
        "generate.json",
        "genesis.json",
    ];
    assert_eq!(names, expected);
    // Magic and method; no flags, so no name; no time; best compression; unknown system.
    assert_eq!(files[Path::new("1/block.json.gz")][..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255]);
}

#[test]
fn an_occupied_place_is_left_alone() {
    let directory = directory();
    let options = GenerateOptions::new(Workload::Payments);
    let out = directory.path().join("out");
    fs::create_dir(&out).expect("writable");
    write(options, &out).expect("an empty directory is free");
    let before = files(&out);
    assert!(matches!(write(options, &out), Err(WriteError::Occupied(path)) if path == out));
    assert_eq!(files(&out), before);
    let file = out.join("genesis.json");
    assert!(matches!(write(options, &file), Err(WriteError::Occupied(path)) if path == file));
}

#[test]
fn the_committed_sets_are_what_their_options_give() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
    let directory = directory();
    let mut sets = 0;
    for entry in fs::read_dir(fixtures).expect("a readable directory") {
        let set = entry.expect("a readable entry").path();
        let Ok(options) = fs::read(set.join("generate.json")) else { continue };
        let options: GenerateOptions = serde_json::from_slice(&options).expect("options");
        let out = directory.path().join(set.file_name().expect("a name"));
        write(options, &out).expect("a writable directory");
        let (committed, generated) = (files(&set), files(&out));
        assert_eq!(committed.keys().collect::<Vec<_>>(), generated.keys().collect::<Vec<_>>(), "{}", set.display());
        for (path, bytes) in &committed {
            // Another version of the compressor may give other bytes for the same content.
            assert!(plain(path, bytes) == plain(path, &generated[path]), "{} {}", set.display(), path.display());
        }
        sets += 1;
    }
    assert!(sets >= 4, "one set for each workload, not {sets}");
}

fn plain(path: &Path, bytes: &[u8]) -> Vec<u8> {
    if path.extension().is_none_or(|extension| extension != "gz") {
        return bytes.to_owned();
    }
    let mut plain = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut plain).expect("valid gzip");
    plain
}
