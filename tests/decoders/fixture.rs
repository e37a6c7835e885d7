//! The files of a fixture, plain and compressed, and genesis files.

use std::{collections::BTreeMap, fs, path::Path};

use flate2::{Compression, write::GzEncoder};
use rand::Rng;
use ropewalk_replay::{
    fixture::{Chains, Fixture},
    ground::Ground,
};
use serde_json::{Value, json};

use crate::{
    damage::{arbitrary, damaged, misshapen},
    rounds,
};

type Files = BTreeMap<&'static str, Value>;

/// A small fixture with every file that there may be.
fn files() -> Files {
    let folder = ropewalk_tests::workspace().join("fixtures/erc20");
    let read = |name: &str| -> Value {
        let text = fs::read(folder.join(name)).expect("a fixture of the repository");
        serde_json::from_slice(&text).expect("JSON")
    };
    let mut block = read("1/block.json");
    // Few transactions are quicker; the root would not be theirs.
    block["transactions"].as_array_mut().expect("transactions").truncate(12);
    block.as_object_mut().expect("a block").remove("transactionsRoot");
    let node = format!("0xf8{}", "51".repeat(60));
    [
        ("genesis.json", read("genesis.json")),
        ("fixture.json", json!({ "complete": true, "genesis": "genesis.json" })),
        ("block.json", block),
        ("prestate.json", read("1/prestate.json")),
        ("block_hashes.json", read("1/block_hashes.json")),
        ("receipts.json", json!([{ "status": "0x1", "cumulativeGasUsed": "0x5208", "logs": [] }])),
        ("uncles.json", json!([])),
        ("witness.json", json!({ "state": [node, "0x80"], "codes": ["0x60"], "headers": ["0xc0"] })),
    ]
    .into()
}

/// Reads a fixture and, where that succeeds, executes it. Whatever comes of it is a value.
fn replay(folder: &Path) -> bool {
    match Fixture::read(folder, &mut Chains::default()) {
        Ok(mut fixture) => {
            let _ = Ground::prepare(&mut fixture).map(|(_, truth)| truth.map_err(|error| error.to_string()));
            true
        }
        Err(error) => {
            let said = error.to_string();
            assert!(!said.contains('\n') && said.len() < 4_000, "{said}");
            false
        }
    }
}

fn write(folder: &Path, name: &str, bytes: &[u8]) {
    fs::write(folder.join(name), bytes).expect("a writable folder");
}

#[test]
fn no_content_of_its_files_makes_the_reader_of_fixtures_panic() {
    let files = files();
    let folder = tempfile::tempdir().expect("a temporary directory");
    let folder = folder.path();
    let write_all = |but: &str| {
        for (name, content) in files.iter().filter(|(name, _)| **name != but) {
            write(folder, name, content.to_string().as_bytes());
        }
    };
    let (mut read, mut refused) = (0, 0);
    rounds(1_500, |random| {
        // Half of them without the witness, which would otherwise hide what is wrong with the prestate.
        let with_witness = random.random_ratio(1, 3);
        let at = random.random_range(0..files.len());
        let (name, content) = files.iter().nth(at).expect("in range");
        write_all(name);
        let bytes = match random.random_range(0..8) {
            0 => arbitrary(random),
            1 | 2 => damaged(content.to_string().as_bytes(), random),
            _ => misshapen(content, random).to_string().into_bytes(),
        };
        write(folder, name, &bytes);
        if !with_witness {
            fs::remove_file(folder.join("witness.json")).expect("it was written");
        }
        match replay(folder) {
            true => read += 1,
            false => refused += 1,
        }
    });
    assert!(read > 20 && refused > 200, "{read} read, {refused} refused");
}

#[test]
fn a_compressed_file_that_is_torn_or_damaged_is_refused() {
    let files = files();
    let folder = tempfile::tempdir().expect("a temporary directory");
    for (name, content) in files.iter().filter(|(name, _)| !matches!(**name, "block.json" | "witness.json")) {
        write(folder.path(), name, content.to_string().as_bytes());
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    serde_json::to_writer(&mut encoder, &files["block.json"]).expect("written to memory");
    let compressed = encoder.finish().expect("written to memory");
    rounds(1_000, |random| {
        write(folder.path(), "block.json.gz", &damaged(&compressed, random));
        replay(folder.path());
    });
    write(folder.path(), "block.json.gz", &compressed[..compressed.len() / 2]);
    assert!(!replay(folder.path()));
}
