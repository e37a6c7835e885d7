//! What became of a test.

use std::fmt;

use alloy_eips::eip8282::{BUILDER_DEPOSIT_CONTRACT_ADDRESS, BUILDER_EXIT_CONTRACT_ADDRESS};
use alloy_primitives::{Address, B256};
use ropewalk_block::import::{ImportError, OutcomeFault};

use super::accounts::StateDifference;
use crate::compare::chain_of;

/// What became of a test.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Everything that the test expects holds, at every number of threads.
    Passed,
    /// Something does not.
    Failed {
        /// Number of threads at which it did not; `None` where it was not yet about threads.
        threads: Option<usize>,
        /// What.
        failure: Box<Failure>,
    },
    /// The oracle fails the test in the same way: the EVM in use has other rules than the test.
    OracleFails {
        /// What does not hold.
        failure: Box<Failure>,
    },
    /// The test was not run.
    Skipped {
        /// Why.
        reason: String,
    },
    /// The user ended the run.
    Interrupted,
}

/// What a test expects and does not find.
#[derive(Debug)]
pub(super) enum Failure {
    /// The genesis block cannot be made of what the test says about it.
    Genesis(String),
    /// An account of the pre-state has a nonce of more than 64 bits.
    Nonce(Address),
    /// Something of the test is nothing that can be executed.
    Unusable(String),
    /// A valid block is rejected.
    Rejected {
        /// Place of the block in the test, from 0.
        block: usize,
        /// Why.
        error: ImportError,
        /// Where the state parts from the expected one, if the test says what that is.
        difference: Option<StateDifference>,
    },
    /// An invalid block is imported.
    Imported {
        /// Place of the block in the test, from 0.
        block: usize,
        /// The names under which it should be rejected.
        expected: Vec<String>,
    },
    /// An invalid block is rejected for another reason.
    OtherReason {
        /// Place of the block in the test, from 0.
        block: usize,
        /// The names under which it should be rejected.
        expected: Vec<String>,
        /// Why it was rejected.
        error: ImportError,
    },
    /// A rejected block leaves a trace.
    Trace {
        /// Place of the block in the test, from 0.
        block: usize,
    },
    /// A block has another hash than the test says.
    BlockHash {
        /// Place of the block in the test, from 0.
        block: usize,
        /// Hash of its bytes.
        found: B256,
        /// What the test says.
        expected: B256,
    },
    /// Another block is the head in the end.
    Head {
        /// Our head.
        found: B256,
        /// The expected one.
        expected: B256,
    },
    /// The state in the end is another one.
    State(StateDifference),
    /// The root of the state in the end is another one.
    StateRoot {
        /// Our root.
        found: B256,
        /// The expected one.
        expected: B256,
        /// Where the state parts from the expected one, if the test says what that is.
        difference: Option<StateDifference>,
    },
    /// The logs of a state test are others.
    Logs {
        /// Hash of our logs.
        found: B256,
        /// The expected one.
        expected: B256,
    },
    /// The program did what it must not.
    Broken(String),
}

impl Failure {
    /// Whether a block is rejected because its access list hashes to something else.
    pub(super) fn is_about_access_list_hash(&self) -> bool {
        match self {
            Self::Rejected { error, .. } | Self::OtherReason { error, .. } => {
                matches!(error, ImportError::Outcome(OutcomeFault::AccessListHash { .. }))
            }
            _ => false,
        }
    }

    /// The rule that differs, in few words, and where it comes from if that is known.
    pub(super) fn rule(&self) -> String {
        let rule = self.rule_alone();
        let builders = [BUILDER_DEPOSIT_CONTRACT_ADDRESS, BUILDER_EXIT_CONTRACT_ADDRESS];
        match builders.iter().any(|contract| rule.contains(&contract.to_string())) {
            true => format!("{rule} (a contract of EIP-8282, which the test is older than)"),
            false => rule,
        }
    }

    fn rule_alone(&self) -> String {
        match self {
            Self::Rejected { error: ImportError::Execution(error), .. } => {
                chain_of(error).replacen("block is invalid: ", "", 1)
            }
            Self::Rejected { error: ImportError::Outcome(fault), difference, .. } => match difference {
                Some(difference) => format!("{}; {difference}", chain_of(fault)),
                None => chain_of(fault),
            },
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Genesis(problem) => write!(f, "genesis: {problem}"),
            Self::Nonce(address) => write!(f, "pre-state: the nonce of {address} has more than 64 bits"),
            Self::Unusable(problem) => f.write_str(problem),
            Self::Rejected { block, error, difference } => {
                write!(f, "block {block} is valid and was rejected: {}", chain_of(error))?;
                difference.iter().try_for_each(|difference| write!(f, "; {difference}"))
            }
            Self::Imported { block, expected } => {
                write!(f, "block {block} is invalid and was imported; expected: {}", names(expected))
            }
            Self::OtherReason { block, expected, error } => {
                write!(f, "block {block} was rejected for: {}; expected: {}", chain_of(error), names(expected))
            }
            Self::Trace { block } => write!(f, "block {block} was rejected and changed the head or its state"),
            Self::BlockHash { block, found, expected } => {
                write!(f, "block {block} has the hash {found}, expected {expected}")
            }
            Self::Head { found, expected } => write!(f, "the head is {found}, expected {expected}"),
            Self::State(difference) => write!(f, "{difference}"),
            Self::StateRoot { found, expected, difference } => {
                write!(f, "the state root is {found}, expected {expected}")?;
                difference.iter().try_for_each(|difference| write!(f, "; {difference}"))
            }
            Self::Logs { found, expected } => write!(f, "the logs hash to {found}, expected {expected}"),
            Self::Broken(problem) => f.write_str(problem),
        }
    }
}

fn names(expected: &[String]) -> String {
    if expected.is_empty() { "any reason".to_owned() } else { expected.join(" or ") }
}
