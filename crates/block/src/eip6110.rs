//! [EIP-6110](https://eips.ethereum.org/EIPS/eip-6110): deposits are read from the logs of the deposit contract.
//!
//! The data of such a log is the ABI encoding of five byte strings. The contract always emits it in one layout; a log of
//! any other layout makes the block invalid:
//!
//! | field | offset, in word | size at | content at | bytes |
//! |---|---|---|---|---|
//! | public key | 0 | 160 | 192 | 48 |
//! | withdrawal credentials | 1 | 256 | 288 | 32 |
//! | amount | 2 | 320 | 352 | 8 |
//! | signature | 3 | 384 | 416 | 96 |
//! | index | 4 | 512 | 544 | 8 |

use alloy_consensus::ReceiptEnvelope;
use alloy_evm::eth::{eip6110::MAINNET_DEPOSIT_CONTRACT_ADDRESS, spec::EthExecutorSpec};
use alloy_primitives::{B256, Bytes, Log, U256, b256};

use crate::{BlockError, ChainSpec, InvalidBlock};

pub(crate) use alloy_evm::eth::eip6110::DEPOSIT_REQUEST_TYPE;

/// First topic of the event, Keccak-256 of `DepositEvent(bytes,bytes,bytes,bytes,bytes)`. Other logs of the contract are
/// no deposits.
const DEPOSIT_EVENT: B256 = b256!("0x649bbc62d0e31342afea4e5cd82d4049e7e1ee912fc0889aa790803be39038c5");

/// Size of the event's data in bytes.
const DATA_BYTES: usize = 576;

/// Where each field's size stands, and how large it is, in bytes.
const FIELDS: [(usize, usize); 5] = [(160, 48), (256, 32), (320, 8), (384, 96), (512, 8)];

const WORD_BYTES: usize = 32;

/// The deposit requests of a block, 192 bytes each, in the order of its logs.
///
/// # Errors
/// When a log of the deposit contract does not hold a deposit; the error names the transaction that emitted it.
pub(crate) fn deposits(chain: &ChainSpec, receipts: &[ReceiptEnvelope]) -> Result<Bytes, BlockError> {
    let contract = chain.deposit_contract_address().unwrap_or(MAINNET_DEPOSIT_CONTRACT_ADDRESS);
    let is_deposit = |log: &&Log| log.address == contract && log.topics().first() == Some(&DEPOSIT_EVENT);
    let mut deposits = Vec::new();
    for (index, receipt) in receipts.iter().enumerate() {
        for log in receipt.logs().iter().filter(is_deposit) {
            append(&log.data.data, &mut deposits).ok_or(InvalidBlock::Deposit { transaction: Some(index) })?;
        }
    }
    Ok(deposits.into())
}

/// Appends the fields of an event; `None` where its data has another layout.
fn append(data: &[u8], deposits: &mut Vec<u8>) -> Option<()> {
    if data.len() != DATA_BYTES {
        return None;
    }
    for (field, (size_at, size_bytes)) in FIELDS.into_iter().enumerate() {
        let content_at = size_at + WORD_BYTES;
        let is_laid_out =
            word(data, field * WORD_BYTES) == U256::from(size_at) && word(data, size_at) == U256::from(size_bytes);
        if !is_laid_out {
            return None;
        }
        deposits.extend_from_slice(&data[content_at..content_at + size_bytes]);
    }
    Some(())
}

fn word(data: &[u8], at: usize) -> U256 {
    U256::from_be_slice(&data[at..at + WORD_BYTES])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An event whose fields are filled with their own numbers.
    fn event() -> Vec<u8> {
        let mut data = vec![0; DATA_BYTES];
        for (field, (size_at, size_bytes)) in FIELDS.into_iter().enumerate() {
            data[field * 32 + 30..field * 32 + 32].copy_from_slice(&(size_at as u16).to_be_bytes());
            data[size_at + 31] = size_bytes as u8;
            data[size_at + 32..size_at + 32 + size_bytes].fill(field as u8 + 1);
        }
        data
    }

    #[test]
    fn a_deposit_is_its_fields_without_what_is_between_them() {
        let mut deposits = Vec::new();
        assert_eq!(append(&event(), &mut deposits), Some(()));
        let expected = [vec![1; 48], vec![2; 32], vec![3; 8], vec![4; 96], vec![5; 8]].concat();
        assert_eq!(deposits, expected);
    }

    #[test]
    fn any_other_layout_is_no_deposit() {
        let layout = (0..160).chain(FIELDS.iter().flat_map(|(size_at, _)| *size_at..size_at + 32));
        for at in layout {
            let mut bent = event();
            bent[at] ^= 1;
            assert_eq!(append(&bent, &mut Vec::new()), None, "byte {at} is part of the layout");
        }
        assert_eq!(append(&event()[..575], &mut Vec::new()), None);
        assert_eq!(append(&[event(), vec![0]].concat(), &mut Vec::new()), None);
    }
}
