//! `ropewalk db verify`: the root of every account and slot in a database, against the one that its head says.

use alloy_primitives::{B256, keccak256};
use ropewalk_block::CancelToken;
use ropewalk_state::{StateError, StateReader};
use ropewalk_store::{Store, StoreReader};
use serde::Serialize;

use super::{DbError, HeadLine};
use crate::{
    arguments::DbPlace,
    flat_trie::{FlatState, rebuild},
    report::{Progress, print, print_json},
    status::Status,
};

/// What was found.
#[derive(Debug, Serialize)]
struct VerifyLine {
    head: Option<HeadLine>,
    /// Root of what is there.
    state_root: B256,
    accounts: u64,
    slots: u64,
    /// What is wrong, nothing where all is right.
    findings: Vec<String>,
}

/// Recomputes the root and compares.
pub(super) fn verify(store: &Store, place: &DbPlace, interrupt: &CancelToken) -> Result<Status, DbError> {
    let reader = store.reader();
    let progress = Progress::of_bytes(u64::from(u32::MAX));
    let mut findings = Vec::new();
    let found = rebuild(
        &reader,
        |_| (),
        |key, account, so_far| {
            if account.has_code() {
                findings.extend(wrong_code(&reader, &account.code_hash)?);
            }
            // Keys are hashes, so their first bytes tell how far it is.
            let position = u32::from_be_bytes([key[0], key[1], key[2], key[3]]);
            progress.reach(position.into(), format!("{} accounts, {} slots", so_far.accounts, so_far.slots));
            if interrupt.is_cancelled() { Err(DbError::Interrupted) } else { Ok(()) }
        },
    );
    progress.finish();
    let FlatState { root, accounts, slots } = found?;
    match store.head().map(|head| head.state_root) {
        Some(Some(expected)) if expected != root => {
            findings.push(format!("the state has the root {root}, the head says {expected}"));
        }
        Some(Some(_)) => {}
        Some(None) => findings.push("the state is a part of a block's state: there is no root to compare".to_owned()),
        None => findings.push("the database is empty: there is no root to compare".to_owned()),
    }
    let status = if findings.is_empty() { Status::Verified } else { Status::Mismatch };
    for finding in &findings {
        progress.say(&format!("mismatch: {}: {finding}", place.db.display()));
    }
    let line = VerifyLine { head: store.head().map(HeadLine::from), state_root: root, accounts, slots, findings };
    if place.json {
        print_json(&line)?;
    } else {
        let verdict = if status == Status::Verified { "verified" } else { "not verified" };
        print(&format!("{verdict}: {accounts} accounts and {slots} slots have the root {root}"))?;
    }
    Ok(status)
}

/// What is wrong with the code of an account.
fn wrong_code(reader: &StoreReader, hash: &B256) -> Result<Option<String>, DbError> {
    match reader.code(hash) {
        Ok(code) if keccak256(&code) == *hash => Ok(None),
        Ok(_) => Ok(Some(format!("code {hash} has another hash"))),
        Err(StateError::MissingCode(_)) => Ok(Some(format!("code {hash} is missing"))),
        Err(error) => Err(error.into()),
    }
}
