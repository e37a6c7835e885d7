//! Two outcomes of one block, side by side: what is the first thing in which they differ?
//!
//! Outcomes of two executions are compared by [`ropewalk_block::first_difference`]. Here is what only a replay compares:
//! verdicts, recorded receipts, and what a database gives back.

use std::{error::Error, fmt};

use alloy_consensus::{ReceiptEnvelope, TxReceipt};
use alloy_primitives::{B256, Log};
use ropewalk_block::{BlockError, BlockOutcome, first_difference};
use ropewalk_state::Changes;

use crate::fixture::RecordedReceipt;

/// The first thing in which a block's outcome differs from what it is checked against.
#[derive(Debug, Clone, PartialEq)]
pub enum Difference {
    /// One run accepts the block and the other does not, or they reject it for different reasons.
    Verdict {
        /// What the checked run says.
        ours: String,
        /// What it is checked against.
        theirs: String,
    },
    /// A part of a receipt.
    Receipt {
        /// Index of the transaction.
        transaction: usize,
        /// Which part.
        part: ReceiptPart,
        /// The value in the checked run.
        ours: String,
        /// What it is checked against.
        theirs: String,
    },
    /// Anything else in the outcome.
    Outcome(ropewalk_block::Difference),
    /// The database's head is not the block.
    Head {
        /// The database's head.
        found: Option<B256>,
        /// The block's hash.
        expected: B256,
    },
}

/// A part of a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceiptPart {
    /// The transaction's type.
    Type,
    /// Whether the transaction succeeded.
    Status,
    /// Gas used up to and including the transaction.
    CumulativeGasUsed,
    /// Number of logs.
    LogCount,
    /// The log with this index in the transaction.
    Log(usize),
    /// The bloom filter of the logs.
    Bloom,
}

/// Compares two runs of one block, whether they gave an outcome or not.
pub fn results(
    ours: Result<&BlockOutcome, &BlockError>,
    theirs: Result<&BlockOutcome, &BlockError>,
) -> Option<Difference> {
    let said = |result: Result<&BlockOutcome, &BlockError>| match result {
        Ok(_) => "valid".to_owned(),
        Err(error) => chain_of(error),
    };
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => outcomes(ours, theirs),
        (Err(ours), Err(theirs)) if ours.agrees_with(theirs) => None,
        _ => Some(Difference::Verdict { ours: said(ours), theirs: said(theirs) }),
    }
}

/// Compares two outcomes field by field.
pub fn outcomes(ours: &BlockOutcome, theirs: &BlockOutcome) -> Option<Difference> {
    let difference = first_difference(ours, theirs)?;
    let ropewalk_block::Difference::Receipt(index, our, their) = &difference else {
        return Some(Difference::Outcome(difference));
    };
    receipts(*index, our, their).or(Some(Difference::Outcome(difference)))
}

/// Compares what a database gives back with what a block changed.
pub(crate) fn stored(found: Changes, expected: &Changes) -> Option<Difference> {
    let outcome = |changes| BlockOutcome { changes, ..BlockOutcome::default() };
    outcomes(&outcome(found), &outcome(expected.clone()))
}

/// Compares receipts with recorded ones; statuses that are not recorded are passed over.
pub(crate) fn recorded_receipts(ours: &[ReceiptEnvelope], theirs: &[RecordedReceipt]) -> Option<Difference> {
    let pair = |(transaction, (our, their)): (usize, (&ReceiptEnvelope, &RecordedReceipt))| {
        let at = Receipt { transaction };
        at.differ(ReceiptPart::Status, &our.status(), &their.status().unwrap_or(our.status()))
            .or_else(|| {
                let part = ReceiptPart::CumulativeGasUsed;
                at.differ(part, &our.cumulative_gas_used(), &their.cumulative_gas_used())
            })
            .or_else(|| at.logs(our.logs(), &their.logs()))
    };
    let first = ours.iter().zip(theirs).enumerate().find_map(pair);
    let count = || ropewalk_block::Difference::ReceiptCount(ours.len(), theirs.len());
    first.or_else(|| (ours.len() != theirs.len()).then(|| Difference::Outcome(count())))
}

fn receipts(transaction: usize, our: &ReceiptEnvelope, their: &ReceiptEnvelope) -> Option<Difference> {
    let at = Receipt { transaction };
    at.differ(ReceiptPart::Type, &our.tx_type(), &their.tx_type())
        .or_else(|| at.differ(ReceiptPart::Status, &our.status(), &their.status()))
        .or_else(|| at.differ(ReceiptPart::CumulativeGasUsed, &our.cumulative_gas_used(), &their.cumulative_gas_used()))
        .or_else(|| at.logs(our.logs(), their.logs()))
        .or_else(|| at.differ(ReceiptPart::Bloom, &our.bloom(), &their.bloom()))
}

/// One receipt that is compared.
#[derive(Clone, Copy)]
struct Receipt {
    transaction: usize,
}

impl Receipt {
    fn differ<T: PartialEq + fmt::Display>(self, part: ReceiptPart, ours: &T, theirs: &T) -> Option<Difference> {
        let Self { transaction } = self;
        let (ours, theirs) = (ours != theirs).then(|| (ours.to_string(), theirs.to_string()))?;
        Some(Difference::Receipt { transaction, part, ours, theirs })
    }

    fn logs(self, ours: &[Log], theirs: &[Log]) -> Option<Difference> {
        self.differ(ReceiptPart::LogCount, &ours.len(), &theirs.len()).or_else(|| {
            let index = ours.iter().zip(theirs).position(|(our, their)| our != their)?;
            let show = |log: &Log| format!("{} {:?} {}", log.address, log.topics(), log.data.data);
            self.differ(ReceiptPart::Log(index), &show(&ours[index]), &show(&theirs[index]))
        })
    }
}

/// An error with all its causes, on one line.
pub(crate) fn chain_of(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        // A transparent layer says what its cause says.
        if !line.ends_with(&message) {
            line.push_str(": ");
            line.push_str(&message);
        }
        cause = error.source();
    }
    line.replace(['\n', '\r'], " ")
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Verdict { ours, theirs } => write!(f, "verdict: {ours} here, {theirs} there"),
            Self::Receipt { transaction, part, ours, theirs } => {
                write!(f, "receipt of transaction {transaction}: {part}: {ours} here, {theirs} there")
            }
            Self::Outcome(difference) => difference.fmt(f),
            Self::Head { found: Some(found), expected } => write!(f, "head: {found} here, {expected} there"),
            Self::Head { found: None, expected } => write!(f, "head: none here, {expected} there"),
        }
    }
}

impl fmt::Display for ReceiptPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type => f.write_str("type"),
            Self::Status => f.write_str("status"),
            Self::CumulativeGasUsed => f.write_str("cumulative gas used"),
            Self::LogCount => f.write_str("number of logs"),
            Self::Log(index) => write!(f, "log {index}"),
            Self::Bloom => f.write_str("bloom"),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy_consensus::{Receipt as ConsensusReceipt, TxType};
    use alloy_primitives::{Address, Bytes};
    use ropewalk_block::InvalidBlock;

    use super::*;

    fn receipt(status: bool, gas: u64, logs: usize) -> ReceiptEnvelope {
        let log = |byte| Log::new_unchecked(Address::repeat_byte(byte as u8), Vec::new(), Bytes::new());
        let logs = (0..logs).map(log).collect();
        let receipt = ConsensusReceipt { status: status.into(), cumulative_gas_used: gas, logs };
        ReceiptEnvelope::from_typed(TxType::Legacy, receipt)
    }

    fn outcome(receipts: Vec<ReceiptEnvelope>) -> BlockOutcome {
        BlockOutcome { receipts, ..BlockOutcome::default() }
    }

    fn part(ours: ReceiptEnvelope, theirs: ReceiptEnvelope) -> Option<ReceiptPart> {
        match outcomes(&outcome(vec![ours]), &outcome(vec![theirs]))? {
            Difference::Receipt { transaction: 0, part, .. } => Some(part),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn the_part_of_a_receipt_that_differs_is_named() {
        assert_eq!(part(receipt(true, 1, 1), receipt(true, 1, 1)), None);
        assert_eq!(part(receipt(true, 1, 1), receipt(false, 1, 1)), Some(ReceiptPart::Status));
        assert_eq!(part(receipt(true, 1, 1), receipt(true, 2, 1)), Some(ReceiptPart::CumulativeGasUsed));
        assert_eq!(part(receipt(true, 1, 1), receipt(true, 1, 2)), Some(ReceiptPart::LogCount));
    }

    #[test]
    fn recorded_receipts_are_compared_one_by_one() {
        let json = r#"[{"status":"0x1","cumulativeGasUsed":"0x1","logs":[]}]"#;
        let recorded: Vec<RecordedReceipt> = serde_json::from_str(json).expect("well-formed");
        assert_eq!(recorded_receipts(&[receipt(true, 1, 0)], &recorded), None);
        let difference = recorded_receipts(&[receipt(true, 2, 0)], &recorded).expect("they differ");
        let line = "receipt of transaction 0: cumulative gas used: 2 here, 1 there";
        assert_eq!(difference.to_string(), line);
        assert!(recorded_receipts(&[], &recorded).is_some());
    }

    #[test]
    fn verdicts_are_compared_with_their_reasons() {
        let invalid = BlockError::from(InvalidBlock::MissingParentBeaconRoot);
        let valid = BlockOutcome::default();
        assert_eq!(results(Err(&invalid), Err(&invalid)), None);
        let difference = results(Ok(&valid), Err(&invalid)).expect("they differ").to_string();
        assert_eq!(
            difference,
            "verdict: valid here, block is invalid: parent beacon block root is missing (EIP-4788) there"
        );
    }
}
