//! The public suites' files: one JSON object, a test under each key.
//!
//! Two forms are read, in the spelling of today's suites and of the older ones:
//!
//! | form | told by | holds |
//! |---|---|---|
//! | blockchain test | `blocks` | genesis and pre-state, blocks as RLP, the last block's hash, the state after it |
//! | state test | `post` | an environment, one transaction with variants, the root after each by fork |
//!
//! What a test says about its blocks besides their bytes (their transactions and receipts in JSON) is not read.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use alloy_primitives::{Address, B256, Bytes, U256};
use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, Visitor},
};
use serde_json::Value;

use super::state_suite::StateTest;

/// What a file says of one test.
#[derive(Debug, Deserialize)]
#[serde(expecting = "a test")]
pub(super) struct RecordedTest {
    network: Option<String>,
    #[serde(rename = "genesisRLP")]
    genesis_rlp: Option<Hex>,
    #[serde(rename = "genesisBlockHeader")]
    genesis_header: Option<RecordedHeader>,
    pre: Option<Accounts>,
    #[serde(rename = "postState")]
    post_state: Option<Accounts>,
    #[serde(rename = "postStateHash")]
    post_state_hash: Option<B256>,
    lastblockhash: Option<B256>,
    blocks: Option<Vec<RecordedBlock>>,
    #[serde(default)]
    config: Configuration,
    // State tests.
    env: Option<super::state_suite::Environment>,
    transaction: Option<super::state_suite::Template>,
    post: Option<BTreeMap<String, Vec<super::state_suite::Post>>>,
    // Other forms, which are told apart from files that are no tests at all.
    #[serde(rename = "engineNewPayloads")]
    engine: Option<IgnoredAny>,
    #[serde(rename = "txbytes")]
    transaction_bytes: Option<IgnoredAny>,
}

/// One test of a file.
#[derive(Debug)]
pub(super) enum Test {
    /// A chain of blocks.
    Blockchain(Box<BlockchainTest>),
    /// One transaction.
    State(Box<StateTest>),
    /// A test of a form that is about something else than executing blocks.
    Other(&'static str),
}

/// A chain of blocks to be imported one by one.
#[derive(Debug)]
pub(super) struct BlockchainTest {
    pub(super) network: String,
    pub(super) configuration: Configuration,
    pub(super) genesis_rlp: Vec<u8>,
    /// Hash that the genesis header is said to have.
    pub(super) genesis_hash: Option<B256>,
    pub(super) pre: Accounts,
    pub(super) blocks: Vec<RecordedBlock>,
    pub(super) last_block_hash: B256,
    pub(super) post_state: Option<Accounts>,
    pub(super) post_state_hash: Option<B256>,
}

/// What a test says about its chain besides the network's name.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Configuration {
    #[serde(default)]
    pub(super) chainid: Option<Number>,
    #[serde(default, rename = "blobSchedule")]
    pub(super) blob_schedule: BTreeMap<String, BlobEntry>,
}

/// Blob parameters of one fork.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct BlobEntry {
    pub(super) target: Number,
    pub(super) max: Number,
    #[serde(rename = "baseFeeUpdateFraction")]
    pub(super) base_fee_update_fraction: Number,
}

/// A block of a blockchain test.
#[derive(Debug, Default)]
pub(super) struct RecordedBlock {
    /// The block's bytes. Text that is not hexadecimal stands for bytes that are no block.
    pub(super) rlp: Vec<u8>,
    /// The header's hash; a block without a header is one that must be rejected.
    pub(super) hash: Option<B256>,
    /// Under which names the block must be rejected, by key; empty for a valid block.
    pub(super) expected: Vec<(String, String)>,
    /// The block access list (EIP-7928), as it stands in the file.
    pub(super) access_list: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct RecordedHeader {
    hash: Option<B256>,
}

/// Accounts by address; `None` for one that must not be there.
pub(super) type Accounts = BTreeMap<Address, Option<RecordedAccount>>;

/// An account in a pre-state or post-state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct RecordedAccount {
    #[serde(default)]
    pub(super) balance: Number,
    #[serde(default)]
    pub(super) nonce: Number,
    #[serde(default)]
    pub(super) code: Bytes,
    #[serde(default)]
    pub(super) storage: BTreeMap<Number, Number>,
}

impl RecordedAccount {
    /// The nonce, if it fits 64 bits.
    pub(super) fn nonce(&self) -> Option<u64> {
        self.nonce.to_u64()
    }
}

/// A number in hexadecimal or decimal text, or a JSON number. Suites write zero as `0x00`, `0x0`, `0x` and `0`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Number(pub(super) U256);

impl Number {
    /// The number in 64 bits, if it fits.
    pub(super) fn to_u64(self) -> Option<u64> {
        u64::try_from(self.0).ok()
    }
}

/// Bytes in hexadecimal text.
#[derive(Debug, Clone, Default)]
pub(super) struct Hex(pub(super) Vec<u8>);

/// Reads the tests of a file.
///
/// # Errors
/// When it is not JSON, or not a file of tests.
pub(super) fn read(text: &[u8]) -> Result<Vec<(String, Test)>, SuiteError> {
    let mut json = serde_json::Deserializer::from_slice(text);
    let tests: BTreeMap<String, RecordedTest> = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| SuiteError::Json { path: error.path().to_string(), source: error.into_inner() })?;
    json.end().map_err(|source| SuiteError::Json { path: ".".to_owned(), source })?;
    let test = |(name, recorded): (String, RecordedTest)| match recorded.into_test() {
        Ok(test) => Ok((name, test)),
        Err(missing) => Err(SuiteError::NotATest { name, missing }),
    };
    tests.into_iter().map(test).collect()
}

/// Why a file holds no tests.
#[derive(Debug, thiserror::Error)]
pub(super) enum SuiteError {
    /// It is not JSON, or of another shape.
    #[error("not a file of tests: at {path}")]
    Json {
        /// Where.
        path: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A test lacks what makes it one.
    #[error("{name:?} is not a test: it has no {missing}")]
    NotATest {
        /// The test's key.
        name: String,
        /// What is missing.
        missing: &'static str,
    },
}

impl RecordedTest {
    fn into_test(self) -> Result<Test, &'static str> {
        if self.engine.is_some() {
            return Ok(Test::Other("engine test"));
        }
        if let Some(blocks) = self.blocks {
            return Ok(Test::Blockchain(Box::new(BlockchainTest {
                network: self.network.ok_or("network")?,
                configuration: self.config,
                genesis_rlp: self.genesis_rlp.ok_or("genesisRLP")?.0,
                genesis_hash: self.genesis_header.and_then(|header| header.hash),
                pre: self.pre.ok_or("pre")?,
                blocks,
                last_block_hash: self.lastblockhash.ok_or("lastblockhash")?,
                post_state: self.post_state,
                post_state_hash: self.post_state_hash,
            })));
        }
        if self.transaction_bytes.is_some() {
            return Ok(Test::Other("transaction test"));
        }
        Ok(Test::State(Box::new(StateTest {
            posts: self.post.ok_or("blocks or post")?,
            configuration: self.config,
            environment: self.env.ok_or("env")?,
            transaction: self.transaction.ok_or("transaction")?,
            pre: self.pre.ok_or("pre")?,
        })))
    }
}

impl RecordedBlock {
    /// The names under which the block must be rejected on `network`; `None` for a valid block.
    pub(super) fn expected_on(&self, network: &str) -> Option<Vec<&str>> {
        let applies = |suffix: &str| suffix.is_empty() || suffix == "ALL" || suffix == network;
        let applying = self.expected.iter().filter(|(suffix, _)| applies(suffix));
        let names: Vec<&str> = applying.flat_map(|(_, names)| names.split('|')).map(str::trim).collect();
        (self.hash.is_none() || !names.is_empty()).then_some(names)
    }
}

impl<'de> Deserialize<'de> for RecordedBlock {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;

        impl<'de> Visitor<'de> for Keys {
            type Value = RecordedBlock;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a block")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RecordedBlock, A::Error> {
                let mut block = RecordedBlock::default();
                let mut has_bytes = false;
                while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                    match &*key {
                        "rlp" => {
                            block.rlp = map.next_value::<Hex>()?.0;
                            has_bytes = true;
                        }
                        "blockHeader" => {
                            block.hash = map.next_value::<Option<RecordedHeader>>()?.and_then(|header| header.hash);
                        }
                        "blockAccessList" => block.access_list = map.next_value()?,
                        "rlp_decoded" => {
                            let decoded: Option<Decoded> = map.next_value()?;
                            block.access_list = block.access_list.or(decoded.and_then(|decoded| decoded.access_list));
                        }
                        other => match other.strip_prefix("expectException") {
                            Some(suffix) => block.expected.push((suffix.to_owned(), map.next_value()?)),
                            None => drop(map.next_value::<IgnoredAny>()?),
                        },
                    }
                }
                if has_bytes { Ok(block) } else { Err(A::Error::missing_field("rlp")) }
            }
        }

        deserializer.deserialize_map(Keys)
    }
}

/// What an invalid block looks like to those who wrote it.
#[derive(Debug, Deserialize)]
struct Decoded {
    #[serde(rename = "blockAccessList")]
    access_list: Option<Value>,
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of at most 256 bits, hexadecimal with 0x or decimal")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Number, E> {
                Ok(Number(U256::from(number)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Number, E> {
                let (digits, radix) = text.strip_prefix("0x").map_or((text, 10), |digits| (digits, 16));
                if digits.is_empty() && radix == 16 {
                    return Ok(Number(U256::ZERO));
                }
                let parsed = U256::from_str_radix(digits, radix);
                parsed.map(Number).map_err(|_| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_any(Text)
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Ok(Self(alloy_primitives::hex::decode(&*text).unwrap_or_default()))
    }
}
