//! Where ropewalk and the specification part, in words.

use std::collections::{BTreeMap, BTreeSet};

use alloy_consensus::{ReceiptEnvelope, TxReceipt};
use alloy_primitives::U64;
use ropewalk_block::BlockError;
use ropewalk_state::StateReader;

use crate::{
    case::Case,
    fork::Fork,
    ours::{Prepared, Result, Way},
    theirs::{Answer, SpecifiedAccount, SpecifiedReceipt},
};

/// The first difference of any way, if there is one.
pub(crate) fn of_any_way(case: &Case, theirs: &Answer, seed: u64) -> Option<String> {
    let prepared = Prepared::new(case);
    let of_ways = Way::all(seed).find_map(|way| {
        let difference = of_way(&prepared.run(way), theirs)?;
        Some(format!("{way:?}: {difference}"))
    });
    of_ways.or_else(|| of_roots(&prepared, case, theirs))
}

fn of_way(ours: &std::result::Result<Result, BlockError>, theirs: &Answer) -> Option<String> {
    let Result { outcome, state } = match (ours, &theirs.block_exception) {
        (Err(error), None) => return Some(format!("ropewalk refuses a valid block: {error:?}")),
        (Err(error), Some(_)) => {
            return error.as_invalid().is_none().then(|| format!("ropewalk fails otherwise: {error:?}"));
        }
        (Ok(_), Some(reason)) => return Some(format!("ropewalk takes a block that is invalid: {reason}")),
        (Ok(result), None) => result,
    };
    let skipped: Vec<usize> = outcome.skipped.iter().map(|skipped| skipped.index).collect();
    // The tool tells those first that it cannot even decode.
    let rejected: BTreeSet<usize> = theirs.rejected.iter().map(|rejected| rejected.index).collect();
    if !skipped.iter().eq(&rejected) {
        return Some(format!("other transactions are left out: {:?}, not {:?}", outcome.skipped, theirs.rejected));
    }
    if outcome.receipts.len() != theirs.receipts.len() {
        return Some(format!("{} receipts, not {}", outcome.receipts.len(), theirs.receipts.len()));
    }
    let pairs = outcome.receipts.iter().zip(&theirs.receipts).enumerate();
    let receipts =
        pairs.filter_map(|(at, (ours, theirs))| Some(format!("receipt {at}: {}", of_receipt(ours, theirs)?)));
    if let Some(difference) = receipts.take(1).next() {
        return Some(difference);
    }
    let figures = [
        ("gas used", outcome.gas_used.to_string(), theirs.gas_used.to_string()),
        ("bloom", outcome.logs_bloom().to_string(), theirs.logs_bloom.to_string()),
        ("state root", state.state_root().to_string(), theirs.state_root.to_string()),
    ];
    if let Some((name, ours, theirs)) = figures.into_iter().find(|(_, ours, theirs)| ours != theirs) {
        return Some(format!("{name}: {ours}, not {theirs}"));
    }
    match theirs.requests_hash {
        Some(hash) if hash != outcome.requests_hash() => {
            Some(format!("requests: {:?}, whose hash is not {hash}", outcome.requests))
        }
        _ => None,
    }
}

fn of_receipt(ours: &ReceiptEnvelope, theirs: &SpecifiedReceipt) -> Option<String> {
    if theirs.succeeded.is_some_and(|succeeded| succeeded != ours.status()) {
        return Some(format!("success {}, not {:?}", ours.status(), theirs.succeeded));
    }
    let (gas, wanted) = (ours.cumulative_gas_used(), theirs.cumulative_gas_used.to::<u64>());
    if gas != wanted {
        return Some(format!("cumulative gas {gas}, not {wanted}"));
    }
    let logs = ours.logs().iter().map(|log| (log.address, log.topics(), &log.data.data));
    let wanted = theirs.logs.iter().map(|log| (log.address, log.topics.as_slice(), &log.data));
    if !logs.eq(wanted) {
        return Some(format!("logs {:?}, not {:?}", ours.logs(), theirs.logs));
    }
    (ours.bloom() != theirs.bloom).then(|| "bloom of equal logs".to_owned())
}

/// Before Byzantium, the state root after each transaction; from then on, the root of the receipts.
fn of_roots(prepared: &Prepared, case: &Case, theirs: &Answer) -> Option<String> {
    if theirs.block_exception.is_some() {
        return None;
    }
    if case.fork >= Fork::Byzantium {
        // The specification's tool numbers receipts by what it was given: with a transaction left out, its trie has gaps.
        let root = prepared.run(Way::PLAIN).ok()?.outcome.receipts_root();
        let counts = theirs.rejected.is_empty() && root != theirs.receipts_root;
        return counts.then(|| format!("receipts root: {root}, not {}", theirs.receipts_root));
    }
    let kept = (0..case.transactions.len()).filter(|at| theirs.rejected.iter().all(|rejected| rejected.index != *at));
    kept.zip(&theirs.receipts).find_map(|(at, receipt)| match prepared.has_root_after(at + 1, receipt.post_state) {
        Ok(true) => None,
        Ok(false) => Some(format!("the state root after transaction {at} is not {:?}", receipt.post_state)),
        Err(error) => Some(format!("cut off after transaction {at} the block fails: {error:?}")),
    })
}

/// The accounts that differ after the block, for a report.
pub(crate) fn of_accounts(case: &Case, theirs: &Answer) -> Vec<String> {
    let (Ok(Result { state, .. }), Some(wanted)) = (Prepared::new(case).run(Way::PLAIN), &theirs.alloc) else {
        return Vec::new();
    };
    let ours = state.iter_accounts().map(|(address, account)| {
        let code = if account.has_code() {
            state.code(&account.code_hash).expect("code of an account")
        } else {
            Default::default()
        };
        let storage = state.iter_slots(&address).map(|(slot, value)| (slot.into(), value)).collect();
        let nonce = U64::from(account.nonce);
        (address, SpecifiedAccount { nonce, balance: account.balance, code, storage })
    });
    let ours: BTreeMap<_, _> = ours.collect();
    let addresses: BTreeSet<_> = ours.keys().chain(wanted.keys()).collect();
    let differing = addresses.into_iter().filter(|address| ours.get(*address) != wanted.get(*address));
    differing.map(|address| format!("{address}: {:?}, not {:?}", ours.get(address), wanted.get(address))).collect()
}
