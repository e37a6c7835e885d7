//! An outcome against what its header claims.
//!
//! Not every claim can be checked: a recording may lack the field, a fork may not have it yet, and some of what a header
//! claims only a whole state, or a record of the block, can tell ([`Computed`]). What cannot be checked is [`Check::Unknown`], which
//! is neither good nor bad.

use std::fmt;

use alloy_consensus::Header;
use alloy_hardforks::EthereumHardforks;
use alloy_primitives::{B256, Bloom};

use crate::{BlockOutcome, ChainSpec};

/// What a header claims about the outcome of its block. `None` where it claims nothing, or the recording lacks it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Claims {
    /// Gas used by the block.
    pub gas_used: Option<u64>,
    /// Root of the trie of receipts.
    pub receipts_root: Option<B256>,
    /// Union of the receipts' blooms.
    pub logs_bloom: Option<Bloom>,
    /// Hash of the requests (EIP-7685).
    pub requests_hash: Option<B256>,
    /// Blob gas used by the block (EIP-4844).
    pub blob_gas_used: Option<u64>,
    /// Hash of the block's access list (EIP-7928).
    pub access_list_hash: Option<B256>,
    /// Root of the state after the block.
    pub state_root: Option<B256>,
}

/// What an outcome does not say by itself. `None` where it was not computed, or cannot be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Computed {
    /// Root of the state after the block.
    pub state_root: Option<B256>,
    /// Root of the state after each transaction, which receipts before Byzantium hold.
    pub transaction_roots: Option<Vec<B256>>,
    /// Hash of the block's access list (EIP-7928).
    pub access_list_hash: Option<B256>,
}

impl Claims {
    /// Everything that a complete header claims.
    pub fn of(header: &Header) -> Self {
        Self {
            gas_used: Some(header.gas_used),
            receipts_root: Some(header.receipts_root),
            logs_bloom: Some(header.logs_bloom),
            requests_hash: header.requests_hash,
            blob_gas_used: header.blob_gas_used,
            access_list_hash: header.block_access_list_hash,
            state_root: Some(header.state_root),
        }
    }
}

/// Result of comparing one claim with the outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check<T> {
    /// The claim holds.
    Ok,
    /// The claim does not hold.
    Mismatch {
        /// What the header claims.
        expected: T,
        /// What execution gave.
        found: T,
    },
    /// There is nothing to compare, or nothing to compare it with.
    Unknown,
}

/// A [`Check`] without its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// The claim holds.
    Ok,
    /// The claim does not hold.
    Mismatch,
    /// The claim cannot be checked.
    Unknown,
}

/// The checks of one block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checks {
    /// Gas used by the block.
    pub gas_used: Check<u64>,
    /// Root of the trie of receipts; known from Byzantium on, and before it where the root after each transaction is.
    pub receipts_root: Check<B256>,
    /// Union of the receipts' blooms.
    pub logs_bloom: Check<Bloom>,
    /// Hash of the requests; known from Prague on.
    pub requests_hash: Check<B256>,
    /// Blob gas used by the block; known from Cancun on.
    pub blob_gas_used: Check<u64>,
    /// Hash of the access list; known where a record of the block was asked for.
    pub access_list_hash: Check<B256>,
    /// Root of the state after the block; known where one could be computed.
    pub state_root: Check<B256>,
}

/// Compares an outcome, and what was computed besides, with the claims of the block's header.
pub fn validate(
    chain: &ChainSpec,
    header: &Header,
    claims: &Claims,
    outcome: &BlockOutcome,
    computed: &Computed,
) -> Checks {
    let has_status_receipts = chain.is_byzantium_active_at_block(header.number);
    let has_requests = chain.is_prague_active_at_timestamp(header.timestamp);
    let has_blobs = chain.is_cancun_active_at_timestamp(header.timestamp);
    Checks {
        gas_used: Check::of(claims.gas_used, || Some(outcome.gas_used)),
        receipts_root: Check::of(claims.receipts_root, || match &computed.transaction_roots {
            _ if has_status_receipts => Some(outcome.receipts_root()),
            Some(roots) => outcome.receipts_root_with_states(roots),
            None => None,
        }),
        logs_bloom: Check::of(claims.logs_bloom, || Some(outcome.logs_bloom())),
        requests_hash: Check::of(claims.requests_hash, || has_requests.then(|| outcome.requests_hash())),
        blob_gas_used: Check::of(claims.blob_gas_used, || has_blobs.then_some(outcome.blob_gas_used)),
        access_list_hash: Check::of(claims.access_list_hash, || computed.access_list_hash),
        state_root: Check::of(claims.state_root, || computed.state_root),
    }
}

impl<T: PartialEq> Check<T> {
    /// Compares a claim with what was found. Where nothing is claimed nothing is computed.
    fn of(expected: Option<T>, found: impl FnOnce() -> Option<T>) -> Self {
        let Some((expected, found)) = expected.and_then(|expected| Some((expected, found()?))) else {
            return Self::Unknown;
        };
        if expected == found { Self::Ok } else { Self::Mismatch { expected, found } }
    }
}

impl<T> Check<T> {
    /// The result without its values.
    pub fn status(&self) -> Status {
        match self {
            Self::Ok => Status::Ok,
            Self::Mismatch { .. } => Status::Mismatch,
            Self::Unknown => Status::Unknown,
        }
    }
}

impl Checks {
    /// Each check's name, as in the header's JSON with underscores, and its result.
    pub fn statuses(&self) -> [(&'static str, Status); 7] {
        [
            ("gas_used", self.gas_used.status()),
            ("receipts_root", self.receipts_root.status()),
            ("logs_bloom", self.logs_bloom.status()),
            ("requests_hash", self.requests_hash.status()),
            ("blob_gas_used", self.blob_gas_used.status()),
            ("access_list_hash", self.access_list_hash.status()),
            ("state_root", self.state_root.status()),
        ]
    }

    /// Whether no claim is known to be wrong.
    pub fn hold(&self) -> bool {
        self.statuses().iter().all(|(_, status)| *status != Status::Mismatch)
    }

    /// The wrong claims, one line each, with both values.
    pub fn mismatches(&self) -> Vec<String> {
        let lines = [
            line("gas_used", &self.gas_used),
            line("receipts_root", &self.receipts_root),
            line("logs_bloom", &self.logs_bloom),
            line("requests_hash", &self.requests_hash),
            line("blob_gas_used", &self.blob_gas_used),
            line("access_list_hash", &self.access_list_hash),
            line("state_root", &self.state_root),
        ];
        lines.into_iter().flatten().collect()
    }
}

fn line<T: fmt::Display>(name: &str, check: &Check<T>) -> Option<String> {
    match check {
        Check::Mismatch { .. } => Some(format!("{name}: {check}")),
        Check::Ok | Check::Unknown => None,
    }
}

impl<T: fmt::Display> fmt::Display for Check<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mismatch { expected, found } => write!(f, "the header says {expected}, execution gives {found}"),
            Self::Ok | Self::Unknown => self.status().fmt(f),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Mismatch => "mismatch",
            Self::Unknown => "unknown",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRAGUE: u64 = 1_746_612_311;

    /// A header of mainnet that claims what an empty block gives.
    fn header(number: u64, timestamp: u64) -> Header {
        Header {
            number,
            timestamp,
            requests_hash: Some(BlockOutcome::default().requests_hash()),
            blob_gas_used: Some(0),
            ..Default::default()
        }
    }

    fn checks(header: &Header, claims: Claims, state_root: Option<B256>) -> Checks {
        let computed = Computed { state_root, ..Computed::default() };
        validate(&ChainSpec::mainnet(), header, &claims, &BlockOutcome::default(), &computed)
    }

    fn unknown(checks: &Checks) -> Vec<&'static str> {
        let statuses = checks.statuses().into_iter();
        statuses.filter(|(_, status)| *status == Status::Unknown).map(|(name, _)| name).collect()
    }

    #[test]
    fn claims_that_hold_are_ok_and_forks_decide_what_is_known() {
        let cases: [(u64, u64, &[&str]); 3] = [
            (4_369_999, 0, &["receipts_root", "requests_hash", "blob_gas_used", "access_list_hash", "state_root"]),
            (4_370_000, 0, &["requests_hash", "blob_gas_used", "access_list_hash", "state_root"]),
            (23_000_000, PRAGUE, &["access_list_hash", "state_root"]),
        ];
        for (number, timestamp, expected) in cases {
            let header = header(number, timestamp);
            let checks = checks(&header, Claims::of(&header), None);
            assert!(checks.hold(), "{:?}", checks.mismatches());
            assert_eq!(unknown(&checks), expected);
        }
    }

    #[test]
    fn each_wrong_claim_is_named_with_both_values() {
        let header = header(23_000_000, PRAGUE);
        let claims = Claims { gas_used: Some(7), state_root: Some(B256::ZERO), ..Claims::of(&header) };
        let checks = checks(&header, claims, Some(B256::repeat_byte(1)));
        assert!(!checks.hold());
        assert_eq!(checks.gas_used, Check::Mismatch { expected: 7, found: 0 });
        assert_eq!(checks.mismatches()[0], "gas_used: the header says 7, execution gives 0");
        assert_eq!(checks.mismatches().len(), 2);
    }

    #[test]
    fn a_field_that_the_recording_lacks_is_unknown() {
        let checks = checks(&header(23_000_000, PRAGUE), Claims::default(), Some(B256::ZERO));
        assert!(checks.hold());
        assert_eq!(unknown(&checks).len(), 7);
    }
}
