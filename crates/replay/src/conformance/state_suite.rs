//! State tests as suites write them: an environment, a transaction with variants, what each variant leads to.

use std::collections::BTreeMap;

use alloy_eips::eip2930::AccessList;
use alloy_primitives::{Address, B256, Bytes};
use serde::{Deserialize, Deserializer};

use super::suite::{Accounts, Configuration, Hex, Number};

/// One transaction, executed by itself.
#[derive(Debug)]
pub(super) struct StateTest {
    /// What each variant leads to, by network.
    pub(super) posts: BTreeMap<String, Vec<Post>>,
    pub(super) configuration: Configuration,
    pub(super) environment: Environment,
    pub(super) transaction: Template,
    pub(super) pre: Accounts,
}

/// The block around the transaction.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Environment {
    pub(super) current_coinbase: Address,
    pub(super) current_gas_limit: Number,
    pub(super) current_number: Number,
    pub(super) current_timestamp: Number,
    #[serde(default)]
    pub(super) current_difficulty: Number,
    pub(super) current_random: Option<Number>,
    pub(super) current_base_fee: Option<Number>,
    pub(super) current_excess_blob_gas: Option<Number>,
    pub(super) previous_hash: Option<B256>,
    pub(super) slot_number: Option<Number>,
}

/// The transaction with the lists that variants choose from.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Template {
    pub(super) nonce: Number,
    #[serde(default, deserialize_with = "recipient")]
    pub(super) to: Option<Address>,
    pub(super) sender: Option<Address>,
    pub(super) secret_key: Option<B256>,
    pub(super) data: Vec<Hex>,
    pub(super) gas_limit: Vec<Number>,
    /// Some suites write values that no transaction can hold; they stay text.
    pub(super) value: Vec<String>,
    pub(super) gas_price: Option<Number>,
    pub(super) max_fee_per_gas: Option<Number>,
    pub(super) max_priority_fee_per_gas: Option<Number>,
    pub(super) access_lists: Option<Vec<Option<AccessList>>>,
    pub(super) max_fee_per_blob_gas: Option<Number>,
    pub(super) blob_versioned_hashes: Option<Vec<B256>>,
}

/// What one variant leads to.
#[derive(Debug, Deserialize)]
pub(super) struct Post {
    /// Root of the state afterwards.
    pub(super) hash: B256,
    /// Hash of the logs.
    pub(super) logs: B256,
    pub(super) indexes: Indexes,
    /// The signed transaction.
    pub(super) txbytes: Option<Bytes>,
    /// Under which names the transaction must be refused.
    #[serde(rename = "expectException")]
    pub(super) expected: Option<String>,
    /// The state afterwards.
    pub(super) state: Option<Accounts>,
}

/// Which variant it is.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Indexes {
    pub(super) data: usize,
    pub(super) gas: usize,
    pub(super) value: usize,
}

/// Contract creation is written as an empty text.
fn recipient<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Address>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
    match text.as_str() {
        "" | "0x" => Ok(None),
        text => text.parse().map(Some).map_err(serde::de::Error::custom),
    }
}
