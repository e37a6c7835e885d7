//! `ropewalk db verify`: a database held against itself, and its root against the one that its head says.

use alloy_primitives::B256;
use ropewalk_block::CancelToken;
use ropewalk_store::{Store, Verified, VerifyStep};
use serde::Serialize;

use super::{DbError, HeadLine};
use crate::{
    arguments::DbPlace,
    report::{Progress, counted, print, print_json},
    status::Status,
};

/// What was found.
#[derive(Debug, Serialize)]
struct VerifyLine {
    sound: bool,
    head: Option<HeadLine>,
    /// Root of the accounts and slots that are there.
    state_root: B256,
    accounts: u64,
    slots: u64,
    /// Trie nodes that belong to them.
    nodes: u64,
    /// Storages that accounts lost and no read reaches any more.
    stale_storages: u64,
    /// What is wrong, the first of it.
    findings: Vec<String>,
    findings_total: u64,
}

/// Verifies and says what was found. A database without a root to compare with cannot be verified.
pub(super) fn verify(store: &Store, place: &DbPlace, interrupt: &CancelToken) -> Result<Status, DbError> {
    let progress = Progress::of_bytes(WHOLE);
    let verified = store.verify(&mut |step| match step {
        VerifyStep::State { accounts, slots, share } => {
            progress.reach(share.into(), format!("{accounts} accounts, {slots} slots"));
        }
        VerifyStep::Leftovers { storages } => progress.reach(WHOLE, format!("{storages} storages looked through")),
    });
    progress.finish();
    let verified = verified?;
    if interrupt.is_cancelled() {
        return Err(DbError::Interrupted);
    }
    let has_root = store.head().is_some_and(|head| head.state_root.is_some());
    let status = match verified.is_sound() {
        true if has_root => Status::Verified,
        true => Status::Input,
        false => Status::Mismatch,
    };
    if !has_root {
        progress.say(&format!("error: {}: there is no whole state, and so no root to compare", place.db.display()));
    }
    let line = VerifyLine::of(verified, status);
    for finding in &line.findings {
        progress.say(&format!("mismatch: {}: {finding}", place.db.display()));
    }
    match place.json {
        true => print_json(&line)?,
        false => print(&line.text())?,
    }
    Ok(status)
}

/// The store speaks of shares of a state in 65,536ths.
const WHOLE: u64 = 1 << 16;

impl VerifyLine {
    fn of(verified: Verified, status: Status) -> Self {
        let Verified { head, state_root, accounts, slots, nodes, stale_storages, findings, findings_total } = verified;
        let findings = findings.iter().map(ToString::to_string).collect();
        let (sound, head) = (status == Status::Verified, head.map(HeadLine::from));
        Self { sound, head, state_root, accounts, slots, nodes, stale_storages, findings, findings_total }
    }

    fn text(&self) -> String {
        let Self { state_root, findings_total, .. } = self;
        let verdict = match *findings_total {
            0 if self.sound => "verified".to_owned(),
            0 => "not verified".to_owned(),
            total => format!("not verified, {}", counted(total, "finding")),
        };
        let counts = [counted(self.accounts, "account"), counted(self.slots, "slot"), counted(self.nodes, "trie node")];
        format!("{verdict}: {} with the root {state_root}", counts.join(", "))
    }
}
