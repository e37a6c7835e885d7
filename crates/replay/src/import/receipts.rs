//! Where a block's receipts part from those that an archive has of it.

use std::fmt;

use alloy_consensus::{ReceiptEnvelope, TxReceipt};

/// The first receipt that is not the archive's, and the first field of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReceiptDifference {
    /// Transaction index.
    pub(crate) index: usize,
    /// What differs.
    pub(crate) field: &'static str,
}

impl fmt::Display for ReceiptDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "its receipt {} differs from the archive's in {}", self.index, self.field)
    }
}

/// Compares receipts from execution with an archive's. Status and state root are told apart by the root of all receipts
/// alone: before Byzantium an archive has the one and execution gives the other.
pub(super) fn first_difference(ours: &[ReceiptEnvelope], archive: &[ReceiptEnvelope]) -> Option<ReceiptDifference> {
    let differs = |(index, (ours, theirs)): (usize, (&ReceiptEnvelope, &ReceiptEnvelope))| {
        let status = |receipt: &ReceiptEnvelope| match receipt.status_or_post_state().as_post_state() {
            None => Some(receipt.status()),
            Some(_) => None,
        };
        let field = if ours.tx_type() != theirs.tx_type() {
            "type"
        } else if ours.cumulative_gas_used() != theirs.cumulative_gas_used() {
            "cumulative gas"
        } else if ours.logs() != theirs.logs() {
            "logs"
        } else if ours.bloom() != theirs.bloom() {
            "bloom"
        } else if status(ours).zip(status(theirs)).is_some_and(|(ours, theirs)| ours != theirs) {
            "status"
        } else {
            return None;
        };
        Some(ReceiptDifference { index, field })
    };
    let count = || {
        let index = ours.len().min(archive.len());
        (ours.len() != archive.len()).then_some(ReceiptDifference { index, field: "being there" })
    };
    ours.iter().zip(archive).enumerate().find_map(differs).or_else(count)
}

#[cfg(test)]
mod tests {
    use alloy_consensus::{Receipt, TxType};

    use super::*;

    fn receipt(success: bool, cumulative_gas_used: u64) -> ReceiptEnvelope {
        let receipt = Receipt { status: success.into(), cumulative_gas_used, logs: Vec::new() };
        ReceiptEnvelope::from_typed(TxType::Legacy, receipt)
    }

    #[test]
    fn the_first_receipt_that_differs_is_named_with_its_field() {
        let ours = [receipt(true, 1), receipt(true, 2)];
        assert_eq!(first_difference(&ours, &ours), None);
        let found =
            |theirs: &[ReceiptEnvelope]| first_difference(&ours, theirs).map(|found| (found.index, found.field));
        assert_eq!(found(&[receipt(true, 1), receipt(false, 2)]), Some((1, "status")));
        assert_eq!(found(&[receipt(true, 3), receipt(false, 2)]), Some((0, "cumulative gas")));
        assert_eq!(found(&ours[..1]), Some((1, "being there")));
    }
}
