//! A header against its parent.

use alloy_consensus::Header;
use alloy_hardforks::{EthereumHardfork, EthereumHardforks, ForkCondition};
use alloy_primitives::{B256, U256};

use super::{
    HeaderFault, HeaderField, difficulty, eip1559,
    eip3675::{self, Consensus, consensus_after},
    eip4844, gas_limit,
};
use crate::ChainSpec;

/// Most bytes of extra data.
const MOST_EXTRA_DATA_BYTES: usize = 32;
/// What the first blocks of the DAO fork say in their extra data (EIP-779).
const DAO_EXTRA_DATA: &[u8] = b"dao-hard-fork";
/// How many blocks say so.
const DAO_EXTRA_DATA_BLOCKS: u64 = 10;

/// The block that another one extends.
#[derive(Debug, Clone, Copy)]
pub struct Parent<'a> {
    /// Its hash.
    pub hash: B256,
    /// Its header.
    pub header: &'a Header,
    /// Sum of the difficulties from genesis to it, where that is known. It decides where proof of stake begins on a chain
    /// that names a terminal total difficulty and no block; a header's difficulty has to do where it is not known.
    pub total_difficulty: Option<U256>,
}

/// Checks a header against the block that it extends.
///
/// # Errors
/// Names the first rule that the header breaks.
pub fn check_header(chain: &ChainSpec, header: &Header, parent: &Parent<'_>) -> Result<(), HeaderFault> {
    let (expected, found) = (parent.hash, header.parent_hash);
    if found != expected {
        return Err(HeaderFault::ParentHash { expected, found });
    }
    let by_difficulty = if header.difficulty.is_zero() { Consensus::Stake } else { Consensus::Work };
    let consensus = consensus_after(chain, header.number, parent.total_difficulty).unwrap_or(by_difficulty);
    if consensus == Consensus::Work {
        eip3675::check_not_early(chain, header, parent.total_difficulty)?;
    }
    check_successor(chain, header, parent.header, consensus)
}

/// Checks everything that follows from the parent's header and the consensus.
pub(super) fn check_successor(
    chain: &ChainSpec,
    header: &Header,
    parent: &Header,
    consensus: Consensus,
) -> Result<(), HeaderFault> {
    let expected = U256::from(parent.number) + U256::ONE;
    if U256::from(header.number) != expected {
        return Err(HeaderFault::Number { expected, found: header.number });
    }
    if header.timestamp <= parent.timestamp {
        return Err(HeaderFault::Timestamp { parent: parent.timestamp, found: header.timestamp });
    }
    check_fields(chain, header)?;
    check_extra_data(chain, header)?;
    match consensus {
        Consensus::Work => difficulty::check_difficulty(chain, header, parent)?,
        Consensus::Stake => eip3675::check_stake(header)?,
    }
    gas_limit::check_gas_limit(chain, header, parent)?;
    eip1559::check_base_fee(chain, header, parent)?;
    eip4844::check_blob_gas(chain, header, parent)
}

/// Checks that the header has the fields of its fork and no others.
fn check_fields(chain: &ChainSpec, header: &Header) -> Result<(), HeaderFault> {
    let time = header.timestamp;
    let (shanghai, cancun) = (chain.is_shanghai_active_at_timestamp(time), chain.is_cancun_active_at_timestamp(time));
    let amsterdam = chain.is_amsterdam_active_at_timestamp(time);
    let fields = [
        (HeaderField::BaseFee, header.base_fee_per_gas.is_some(), chain.is_london_active_at_block(header.number)),
        (HeaderField::WithdrawalsRoot, header.withdrawals_root.is_some(), shanghai),
        (HeaderField::BlobGasUsed, header.blob_gas_used.is_some(), cancun),
        (HeaderField::ExcessBlobGas, header.excess_blob_gas.is_some(), cancun),
        (HeaderField::ParentBeaconRoot, header.parent_beacon_block_root.is_some(), cancun),
        (HeaderField::RequestsHash, header.requests_hash.is_some(), chain.is_prague_active_at_timestamp(time)),
        (HeaderField::AccessListHash, header.block_access_list_hash.is_some(), amsterdam),
        (HeaderField::SlotNumber, header.slot_number.is_some(), amsterdam),
    ];
    for (field, is_there, belongs_there) in fields {
        match (is_there, belongs_there) {
            (false, true) => return Err(HeaderFault::MissingField(field)),
            (true, false) => return Err(HeaderFault::UnexpectedField(field)),
            _ => {}
        }
    }
    Ok(())
}

fn check_extra_data(chain: &ChainSpec, header: &Header) -> Result<(), HeaderFault> {
    let found = header.extra_data.len();
    if found > MOST_EXTRA_DATA_BYTES {
        return Err(HeaderFault::ExtraDataSize { most: MOST_EXTRA_DATA_BYTES, found });
    }
    let ForkCondition::Block(dao) = chain.ethereum_fork_activation(EthereumHardfork::Dao) else { return Ok(()) };
    let says_so = header.number.checked_sub(dao).is_some_and(|since| since < DAO_EXTRA_DATA_BLOCKS);
    match says_so && *header.extra_data != *DAO_EXTRA_DATA {
        true => Err(HeaderFault::DaoExtraData { found: header.extra_data.clone() }),
        false => Ok(()),
    }
}
