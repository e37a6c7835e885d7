//! State tests as suites write them: an environment, a transaction with variants, what each variant leads to.

use std::collections::BTreeMap;

use alloy_consensus::{
    SignableTransaction, TxEip1559, TxEip2930, TxEip4844, TxEip4844Variant, TxEnvelope, TxLegacy,
    crypto::secp256k1::{recover_signer, sign_message},
};
use alloy_eips::eip2930::AccessList;
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256};
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

impl Template {
    /// A variant with its sender, for tests that do not hold the signed transaction. The signature means nothing. `None`
    /// where the indexes lead nowhere, a number does not fit, or nobody sends it.
    pub(super) fn variant(&self, indexes: Indexes, chain_id: u64) -> Option<(TxEnvelope, Address)> {
        let key_owner = |key: B256| {
            let signature = sign_message(key, B256::ZERO).ok()?;
            recover_signer(&signature, B256::ZERO).ok()
        };
        let sender = self.sender.or_else(|| self.secret_key.and_then(key_owner))?;
        let nonce = self.nonce.to_u64()?;
        let gas_limit = self.gas_limit.get(indexes.gas)?.to_u64()?;
        let input: Bytes = self.data.get(indexes.data)?.0.clone().into();
        let value = self.value.get(indexes.value)?;
        let value: U256 = serde_json::from_value::<Number>(value.as_str().into()).ok()?.0;
        let to = self.to.map_or(TxKind::Create, TxKind::Call);
        let price = |number: Option<Number>| number.map_or(Some(0), |number| u128::try_from(number.0).ok());
        let access_list = self.access_lists.as_ref().map(|lists| lists.get(indexes.data).cloned().flatten());
        let gas_price = price(self.gas_price)?;
        let max_fee_per_gas = price(self.max_fee_per_gas)?;
        let max_priority_fee_per_gas = price(self.max_priority_fee_per_gas)?;
        let transaction = match (self.max_fee_per_gas, access_list) {
            (None, None) => seal(TxLegacy { chain_id: None, nonce, gas_price, gas_limit, to, value, input }),
            (None, Some(list)) => {
                let access_list = list.unwrap_or_default();
                seal(TxEip2930 { chain_id, nonce, gas_price, gas_limit, to, value, access_list, input })
            }
            (Some(_), list) => {
                let access_list = list.flatten().unwrap_or_default();
                match &self.blob_versioned_hashes {
                    None => seal(TxEip1559 {
                        chain_id,
                        nonce,
                        gas_limit,
                        max_fee_per_gas,
                        max_priority_fee_per_gas,
                        to,
                        value,
                        access_list,
                        input,
                    }),
                    Some(hashes) => seal::<TxEip4844Variant>(TxEip4844Variant::TxEip4844(TxEip4844 {
                        chain_id,
                        nonce,
                        gas_limit,
                        max_fee_per_gas,
                        max_priority_fee_per_gas,
                        to: self.to?,
                        value,
                        access_list,
                        blob_versioned_hashes: hashes.clone(),
                        max_fee_per_blob_gas: price(self.max_fee_per_blob_gas)?,
                        input,
                    })),
                }
            }
        };
        Some((transaction, sender))
    }
}

fn seal<T>(transaction: T) -> TxEnvelope
where
    T: SignableTransaction<Signature>,
    TxEnvelope: From<alloy_consensus::Signed<T>>,
{
    transaction.into_signed(Signature::new(U256::ONE, U256::ONE, false)).into()
}

/// Contract creation is written as an empty text.
fn recipient<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Address>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
    match text.as_str() {
        "" | "0x" => Ok(None),
        text => text.parse().map(Some).map_err(serde::de::Error::custom),
    }
}
