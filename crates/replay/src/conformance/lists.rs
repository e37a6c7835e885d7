//! Block access lists (EIP-7928) as suites write them beside a block.

use alloy_eip7928::{
    AccountChanges, BalanceChange, BlockAccessIndex, CodeChange, NonceChange, SlotChanges, StorageChange,
};
use alloy_primitives::{Address, Bytes};
use ropewalk_block::AccessList;
use serde::Deserialize;
use serde_json::Value;

use super::suite::Number;

/// An account of a list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Account {
    address: Address,
    #[serde(default)]
    storage_changes: Vec<Slot>,
    #[serde(default)]
    storage_reads: Vec<Number>,
    #[serde(default)]
    balance_changes: Vec<Change<Number>>,
    #[serde(default)]
    nonce_changes: Vec<Change<Number>>,
    #[serde(default)]
    code_changes: Vec<Change<Bytes>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Slot {
    slot: Number,
    #[serde(alias = "changes")]
    slot_changes: Vec<Change<Number>>,
}

/// A value after a position.
#[derive(Debug, Deserialize)]
struct Change<T> {
    #[serde(rename = "blockAccessIndex", alias = "txIndex", alias = "index")]
    position: Number,
    #[serde(rename = "value", alias = "postBalance", alias = "postNonce", alias = "newCode", alias = "postValue")]
    value: T,
}

/// The list, in the order in which it is written; `None` where it is not of a list's shape, or a number does not fit its
/// place.
pub(super) fn read(json: &Value) -> Option<AccessList> {
    let accounts = Vec::<Account>::deserialize(json).ok()?;
    let accounts = accounts.into_iter().map(account).collect::<Option<Vec<_>>>()?;
    Some(AccessList { accounts, extension: None })
}

fn account(account: Account) -> Option<AccountChanges> {
    let slot = |slot: Slot| {
        let change = |change: Change<Number>| Some(StorageChange::new(position(change.position)?, change.value.0));
        Some(SlotChanges::new(slot.slot.0, all(slot.slot_changes, change)?))
    };
    Some(AccountChanges {
        address: account.address,
        storage_changes: all(account.storage_changes, slot)?,
        storage_reads: account.storage_reads.into_iter().map(|slot| slot.0).collect(),
        balance_changes: all(account.balance_changes, |change| {
            Some(BalanceChange::new(position(change.position)?, change.value.0))
        })?,
        nonce_changes: all(account.nonce_changes, |change| {
            Some(NonceChange::new(position(change.position)?, change.value.to_u64()?))
        })?,
        code_changes: all(account.code_changes, |change| {
            Some(CodeChange::new(position(change.position)?, change.value))
        })?,
    })
}

fn position(number: Number) -> Option<BlockAccessIndex> {
    number.to_u64().map(BlockAccessIndex::new)
}

fn all<T, U>(items: Vec<T>, each: impl FnMut(T) -> Option<U>) -> Option<Vec<U>> {
    items.into_iter().map(each).collect()
}
