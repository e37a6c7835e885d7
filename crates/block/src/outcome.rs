//! What executing a block gave.

use alloy_consensus::{Eip658Value, ReceiptEnvelope, TxReceipt, proofs::calculate_receipt_root};
use alloy_eips::eip7685::Requests;
use alloy_evm::block::BlockExecutionResult;
use alloy_primitives::{B256, Bloom};
use revm::database::BundleState;
use ropewalk_state::Changes;

use crate::{TransactionFault, bundle_from_changes};

/// The outcome of one block. Two executors agree about a block when these are equal.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BlockOutcome {
    /// Receipts with cumulative gas and bloom, one for each transaction that was kept, in block order. Before
    /// Byzantium too they hold a status and not the intermediate state root.
    pub receipts: Vec<ReceiptEnvelope>,
    /// Requests to the consensus layer (EIP-7685); empty before Prague.
    pub requests: Requests,
    /// Gas used by the block.
    pub gas_used: u64,
    /// Blob gas used by the block; zero before Cancun.
    pub blob_gas_used: u64,
    /// What the block did to the state.
    pub changes: Changes,
    /// Transactions that were left out, ascending by index. Always empty when invalid transactions are rejected.
    pub skipped: Vec<SkippedTransaction>,
}

/// A transaction that a builder left out, because it could not be part of the block at its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedTransaction {
    /// Its index among the transactions that were given.
    pub index: usize,
    /// What was wrong with it.
    pub fault: TransactionFault,
}

/// What an invalid transaction means for its block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum InvalidTransactions {
    /// It makes the block invalid: what a verifier wants.
    #[default]
    Reject,
    /// It is skipped and reported: what a builder wants.
    Skip,
}

impl BlockOutcome {
    /// Root of the trie of receipts. From Byzantium on it must equal the header's.
    pub fn receipts_root(&self) -> B256 {
        calculate_receipt_root(&self.receipts)
    }

    /// Root of the trie of receipts before Byzantium, where each receipt holds the state root after its transaction.
    /// `None` where there are not as many roots as receipts.
    pub fn receipts_root_with_states(&self, state_roots: &[B256]) -> Option<B256> {
        if state_roots.len() != self.receipts.len() {
            return None;
        }
        let with_state = |(receipt, root): (&ReceiptEnvelope, &B256)| {
            let mut inner = receipt.as_receipt_with_bloom()?.clone();
            inner.receipt.status = Eip658Value::PostState(*root);
            Some(ReceiptEnvelope::Legacy(inner))
        };
        let receipts: Vec<_> = self.receipts.iter().zip(state_roots).map(with_state).collect::<Option<_>>()?;
        Some(calculate_receipt_root(&receipts))
    }

    /// Union of the receipts' blooms.
    pub fn logs_bloom(&self) -> Bloom {
        self.receipts.iter().fold(Bloom::ZERO, |bloom, receipt| bloom | receipt.bloom())
    }

    /// Hash of the requests as a header from Prague on holds it (EIP-7685).
    pub fn requests_hash(&self) -> B256 {
        self.requests.requests_hash()
    }

    /// The changes as revm's bundle, with the reverts of this block.
    pub fn bundle_state(&self) -> BundleState {
        bundle_from_changes(&self.changes)
    }

    /// The outcome in the types that clients built on revm and alloy-evm exchange. Skipped transactions are dropped.
    pub fn into_execution_result(self) -> (BlockExecutionResult<ReceiptEnvelope>, BundleState) {
        let bundle = self.bundle_state();
        let Self { receipts, requests, gas_used, blob_gas_used, .. } = self;
        (BlockExecutionResult { receipts, requests, gas_used, blob_gas_used }, bundle)
    }
}

#[cfg(test)]
mod tests {
    use alloy_consensus::{Receipt, TxType};
    use alloy_eips::eip2718::Encodable2718;
    use alloy_primitives::{Address, Bytes, Log, b256, keccak256};

    use super::*;

    fn receipt(tx_type: TxType, cumulative_gas_used: u64, address: u8) -> ReceiptEnvelope {
        let log = Log::new_unchecked(Address::with_last_byte(address), vec![B256::with_last_byte(1)], Bytes::new());
        let receipt = Receipt { status: true.into(), cumulative_gas_used, logs: vec![log] };
        ReceiptEnvelope::from_typed(tx_type, receipt)
    }

    #[test]
    fn an_empty_block_has_the_root_of_an_empty_trie() {
        let empty = b256!("0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421");
        assert_eq!(BlockOutcome::default().receipts_root(), empty);
        assert_eq!(BlockOutcome::default().logs_bloom(), Bloom::ZERO);
    }

    /// One receipt: the trie is a single leaf. Its key is the RLP of index 0, one byte 0x80, so the path has two
    /// nibbles and the leaf's hex prefix is 0x20 0x80.
    #[test]
    fn the_receipts_root_of_one_receipt_is_the_hash_of_its_leaf() {
        let receipt = receipt(TxType::Eip1559, 21_000, 1);
        let value = receipt.encoded_2718();
        assert!(value.len() > 255, "the lengths below take two bytes");
        let string = [&[0xb9][..], &(value.len() as u16).to_be_bytes(), &value].concat();
        let payload = [&[0x82, 0x20, 0x80][..], &string].concat();
        let leaf = [&[0xf9][..], &(payload.len() as u16).to_be_bytes(), &payload].concat();
        let outcome = BlockOutcome { receipts: vec![receipt], ..Default::default() };
        assert_eq!(outcome.receipts_root(), keccak256(leaf));
    }

    #[test]
    fn the_blocks_bloom_is_the_union_of_the_receipts_blooms() {
        let (first, second) = (receipt(TxType::Legacy, 1, 1), receipt(TxType::Eip2930, 2, 2));
        let union = first.bloom() | second.bloom();
        assert_ne!(first.bloom(), second.bloom());
        assert_eq!(BlockOutcome { receipts: vec![first, second], ..Default::default() }.logs_bloom(), union);
    }

    #[test]
    fn no_requests_hash_to_the_hash_of_nothing() {
        let empty = b256!("0xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(BlockOutcome::default().requests_hash(), empty);
    }
}
