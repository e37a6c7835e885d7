//! Calls to a node, with retries.

use std::{io, thread, time::Duration};

use alloy_primitives::{Address, B256, Bytes, U64, U256};
use alloy_provider::{Provider, RootProvider};
use alloy_rpc_client::RpcClient;
use alloy_transport::{TransportError, TransportErrorKind};
use reqwest::Url;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json, value::RawValue};
use tokio::runtime::{Builder, Runtime};

use super::{
    error::FetchError,
    transport::{BoundedHttp, LIMIT_ANSWER_BYTES},
};

/// Attempts at one call.
const MOST_ATTEMPTS: u32 = 6;
/// What is waited after the first failure; each further one doubles it.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// Longest wait, whatever the node asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// JSON-RPC's code for a method that is not there.
const METHOD_NOT_FOUND: i64 = -32601;

/// A node that is asked over JSON-RPC. Calls block.
#[derive(Debug)]
pub(super) struct Node {
    runtime: Runtime,
    provider: RootProvider,
}

/// The part of `eth_getProof` that tells about an account as a whole.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Proof {
    storage_hash: B256,
}

impl Node {
    /// A node at `address`; nothing is asked yet.
    ///
    /// # Errors
    /// When the address is none.
    pub(super) fn connect(address: &str) -> Result<Self, FetchError> {
        Self::with_limit(address, LIMIT_ANSWER_BYTES)
    }

    fn with_limit(address: &str, limit_bytes: usize) -> Result<Self, FetchError> {
        let not_one = || FetchError::Address { address: address.to_owned() };
        let url: Url = address.parse().map_err(|_| not_one())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(not_one());
        }
        let runtime = Builder::new_current_thread().enable_all().build().map_err(FetchError::Setup)?;
        let transport =
            BoundedHttp::new(url, limit_bytes).map_err(|error| FetchError::Setup(io::Error::other(error)))?;
        Ok(Self { runtime, provider: RootProvider::new(RpcClient::new(transport, false)) })
    }

    /// Calls a method until it answers or fails for good.
    ///
    /// # Errors
    /// As the last attempt failed.
    pub(super) fn call(&self, method: &'static str, parameters: &Value) -> Result<Box<RawValue>, FetchError> {
        let mut wait = FIRST_WAIT;
        for attempt in 1.. {
            let answer = self.runtime.block_on(self.provider.raw_request(method.into(), parameters));
            let error: TransportError = match answer {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if is_missing(&error) {
                return Err(FetchError::MissingMethod { method, needed: "here" });
            }
            if attempt == MOST_ATTEMPTS || !is_passing(&error) {
                return Err(FetchError::Call { method, source: Box::new(error) });
            }
            let asked = error.as_transport_err().and_then(TransportErrorKind::retry_after).unwrap_or_default();
            tracing::debug!(method, attempt, %error, "asked again");
            thread::sleep(wait.max(asked).min(LONGEST_WAIT));
            wait *= 2;
        }
        unreachable!("the last attempt returns")
    }

    /// Calls a method and reads its answer.
    ///
    /// # Errors
    /// As [`call`](Self::call), and when the answer is not a `T`.
    pub(super) fn ask<T: DeserializeOwned>(&self, method: &'static str, parameters: &Value) -> Result<T, FetchError> {
        let answer = self.call(method, parameters)?;
        serde_json::from_str(answer.get()).map_err(|source| FetchError::Malformed { method, source })
    }

    pub(super) fn chain_id(&self) -> Result<u64, FetchError> {
        Ok(self.ask::<U64>("eth_chainId", &json!([]))?.to())
    }

    pub(super) fn balance(&self, address: Address, number: u64) -> Result<U256, FetchError> {
        self.ask("eth_getBalance", &json!([address, U64::from(number)]))
    }

    pub(super) fn nonce(&self, address: Address, number: u64) -> Result<u64, FetchError> {
        Ok(self.ask::<U64>("eth_getTransactionCount", &json!([address, U64::from(number)]))?.to())
    }

    pub(super) fn code(&self, address: Address, number: u64) -> Result<Bytes, FetchError> {
        self.ask("eth_getCode", &json!([address, U64::from(number)]))
    }

    pub(super) fn slot(&self, address: Address, slot: U256, number: u64) -> Result<U256, FetchError> {
        let value: B256 = self.ask("eth_getStorageAt", &json!([address, slot, U64::from(number)]))?;
        Ok(value.into())
    }

    pub(super) fn storage_root(&self, address: Address, number: u64) -> Result<B256, FetchError> {
        let proof: Proof = self.ask("eth_getProof", &json!([address, [], U64::from(number)]))?;
        Ok(proof.storage_hash)
    }

    pub(super) fn block_hash(&self, number: u64) -> Result<Option<B256>, FetchError> {
        #[derive(Deserialize)]
        struct Hashed {
            hash: B256,
        }
        let block: Option<Hashed> = self.ask("eth_getBlockByNumber", &json!([U64::from(number), false]))?;
        Ok(block.map(|block| block.hash))
    }
}

fn is_missing(error: &TransportError) -> bool {
    error.as_error_resp().is_some_and(|answer| {
        let says = |words: &str| answer.message.to_lowercase().contains(words);
        answer.code == METHOD_NOT_FOUND || (says("method") && (says("not found") || says("does not exist")))
    })
}

/// Whether trying again may help: connections that break, nodes that are busy.
fn is_passing(error: &TransportError) -> bool {
    match error {
        TransportError::ErrorResp(answer) => answer.is_retry_err(),
        TransportError::Transport(TransportErrorKind::HttpError(error)) => {
            matches!(error.status, 408 | 429 | 500 | 502 | 503 | 504)
        }
        TransportError::Transport(error) => !error.is_non_retryable(),
        _ => false,
    }
}
