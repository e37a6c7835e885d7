//! States of real blocks, where the recorded blocks are at hand.
//!
//! They are looked for under `ROPEWALK_SHARED`, or in `shared` beside the workspace; without them the tests say that
//! they are skipped. Every recorded witness must prove exactly what the recorded prestate says, and give the next
//! block's state root wherever the block is so simple that its changes can be written down here.

#![expect(clippy::unwrap_used, reason = "a recording that cannot be read fails the test that needs it")]

use std::{
    collections::BTreeMap,
    env,
    fs::{self, File},
    io::{self, BufReader, Read, Write},
    path::{Path, PathBuf},
};

use alloy_consensus::Header;
use alloy_genesis::Genesis;
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_rlp::Decodable;
use flate2::read::GzDecoder;
use ropewalk_state::{Account, AccountChange, Changes, Completeness, MemoryState, StateReader, Witness};
use serde::{Deserialize, de::DeserializeOwned};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RecordedWitness {
    state: Vec<Bytes>,
    codes: Vec<Bytes>,
    headers: Vec<Bytes>,
    state_root: Option<B256>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RecordedAccount {
    balance: U256,
    #[serde(default)]
    nonce: u64,
    code: Option<Bytes>,
    code_hash: Option<B256>,
    #[serde(default)]
    storage: BTreeMap<B256, B256>,
}

/// The part of a block that an empty block's changes depend on.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RecordedBlock {
    miner: Address,
    state_root: B256,
    transactions: Vec<serde_json::Value>,
    uncles: Vec<B256>,
}

fn recordings() -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared");
    let shared = env::var_os("ROPEWALK_SHARED").map_or_else(|| PathBuf::from(beside), PathBuf::from);
    let fixtures = shared.join("fixtures");
    if fixtures.is_dir() {
        return Some(fixtures);
    }
    // Past the test harness, which keeps what a passing test prints to itself.
    let line = format!("SKIPPED: there are no recorded blocks at {}\n", fixtures.display());
    io::stderr().write_all(line.as_bytes()).expect("standard error is there");
    None
}

/// Reads `name` or `name.gz` of a directory, `None` where it has neither.
fn read_json<T: DeserializeOwned>(directory: &Path, name: &str) -> Option<T> {
    let plain = directory.join(name);
    let packed = directory.join(format!("{name}.gz"));
    let reader: Box<dyn Read> = if plain.exists() {
        Box::new(File::open(plain).unwrap())
    } else if packed.exists() {
        Box::new(GzDecoder::new(File::open(packed).unwrap()))
    } else {
        return None;
    };
    Some(serde_json::from_reader(BufReader::new(reader)).unwrap())
}

/// The directories of recorded blocks that have a witness, with the block's number.
fn witnessed_blocks(fixtures: &Path) -> Vec<(u64, PathBuf)> {
    let mut blocks: Vec<(u64, PathBuf)> = fs::read_dir(fixtures.join("mainnet"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| ["witness.json", "witness.json.gz"].iter().any(|name| path.join(name).exists()))
        .map(|path| (path.file_name().unwrap().to_str().unwrap().parse().unwrap(), path))
        .collect();
    blocks.sort();
    blocks
}

fn witness(number: u64, directory: &Path) -> Witness {
    let recorded: RecordedWitness = read_json(directory, "witness.json").unwrap();
    let headers = recorded.headers.iter().map(|rlp| Header::decode(&mut &rlp[..]).unwrap());
    let parent = headers.into_iter().find(|header| header.number + 1 == number);
    let root = parent.map(|header| header.state_root).or(recorded.state_root).unwrap();
    Witness::new(root, recorded.state, recorded.codes, [])
}

fn assert_proves(witness: &Witness, address: Address, recorded: &RecordedAccount, context: &str) {
    let account = witness.account(&address).unwrap_or_else(|error| panic!("{context}: {error}"));
    // A prestate does not tell an empty account from an absent one.
    let found = account.unwrap_or_default();
    assert_eq!((found.nonce, found.balance), (recorded.nonce, recorded.balance), "{context}");
    if let Some(code) = recorded.code.as_ref().filter(|code| !code.is_empty()) {
        assert_eq!(witness.code(&found.code_hash).unwrap(), *code, "{context}");
    }
    if let Some(hash) = recorded.code_hash {
        assert_eq!(found.code_hash, hash, "{context}");
    }
    for (slot, value) in &recorded.storage {
        let found = witness.storage(&address, &(*slot).into());
        let found = found.unwrap_or_else(|error| panic!("{context}, slot {slot}: {error}"));
        assert_eq!(B256::from(found), *value, "{context}, slot {slot}");
    }
}

#[test]
fn recorded_witnesses_prove_the_recorded_prestates() {
    let Some(fixtures) = recordings() else { return };
    for (number, directory) in witnessed_blocks(&fixtures) {
        let witness = witness(number, &directory);
        let prestate: Option<BTreeMap<Address, RecordedAccount>> = read_json(&directory, "prestate.json");
        for (address, recorded) in prestate.unwrap_or_default() {
            assert_proves(&witness, address, &recorded, &format!("block {number}, account {address}"));
        }
    }
}

#[test]
fn reward_of_a_recorded_block_without_transactions_leads_to_its_state_root() {
    let Some(fixtures) = recordings() else { return };
    let mut checked = 0;
    for (number, directory) in witnessed_blocks(&fixtures) {
        let block: RecordedBlock = read_json(&directory, "block.json").unwrap();
        if number >= 4_370_000 || !block.transactions.is_empty() || !block.uncles.is_empty() {
            continue;
        }
        let witness = witness(number, &directory);
        let before = witness.account(&block.miner).unwrap();
        let mut after = before.unwrap_or_default();
        after.balance += U256::from(5_000_000_000_000_000_000u64);
        let miner = AccountChange {
            address: block.miner,
            before,
            after: Some(after),
            storage_cleared: false,
            slots: Vec::new(),
        };
        let changes = Changes { accounts: vec![miner], ..Changes::default() };
        assert_eq!(witness.state_root_after(&changes).unwrap(), block.state_root, "block {number}");
        checked += 1;
    }
    assert!(checked > 0, "no recorded block was that simple");
}

#[test]
fn recorded_prestates_written_back_leave_the_root_as_it_was() {
    let Some(fixtures) = recordings() else { return };
    for (number, directory) in witnessed_blocks(&fixtures) {
        let witness = witness(number, &directory);
        let prestate: Option<BTreeMap<Address, RecordedAccount>> = read_json(&directory, "prestate.json");
        let mut changes = Changes::default();
        for (address, recorded) in prestate.unwrap_or_default() {
            let Some(account) = witness.account(&address).unwrap() else { continue };
            let slot = |(slot, value): (&B256, &B256)| {
                let value = (*value).into();
                ropewalk_state::SlotChange { slot: (*slot).into(), before: value, after: value }
            };
            changes.accounts.push(AccountChange {
                address,
                before: Some(account),
                after: Some(account),
                storage_cleared: false,
                slots: recorded.storage.iter().map(slot).collect(),
            });
        }
        assert_eq!(witness.state_root_after(&changes).unwrap(), witness.state_root(), "block {number}");
    }
}

#[test]
fn genesis_of_mainnet_has_its_state_root() {
    let Some(fixtures) = recordings() else { return };
    let genesis: Genesis = read_json(&fixtures.join("era1"), "genesis-mainnet.json").unwrap();
    let mut state = MemoryState::new(Completeness::Assumed);
    for (address, account) in genesis.alloc {
        let code_hash = account.code.map_or(Account::EMPTY.code_hash, |code| state.insert_code(code));
        let nonce = account.nonce.unwrap_or_default();
        state.insert_account(address, Some(Account { nonce, balance: account.balance, code_hash }));
        for (slot, value) in account.storage.unwrap_or_default() {
            state.insert_slot(address, slot.into(), value.into());
        }
    }
    let header: B256 = "0xd7f8974fb5ac78d9ac099b9ad5018bedc2ce0a72dad1827a1709da30580f0544".parse().unwrap();
    assert_eq!(state.state_root(), header);
}
