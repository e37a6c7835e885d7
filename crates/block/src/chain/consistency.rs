//! What must hold between the parts of a chain specification.
//!
//! Forks build on each other, so none may activate before the one it builds on. A specification that says otherwise
//! is refused, because running it would silently give the rules of neither fork.

use alloy_eips::{eip7594::MAX_BLOBS_PER_TX_FUSAKA, eip7840::BLOB_BASE_COST, eip7840::BlobParams};
use alloy_hardforks::{EthereumChainHardforks, EthereumHardfork, EthereumHardforks, ForkCondition};
use alloy_primitives::U256;

/// Forks that activate by number, each building on the one before.
const BY_NUMBER: [EthereumHardfork; 9] = [
    EthereumHardfork::Homestead,
    EthereumHardfork::Tangerine,
    EthereumHardfork::SpuriousDragon,
    EthereumHardfork::Byzantium,
    EthereumHardfork::Constantinople,
    EthereumHardfork::Petersburg,
    EthereumHardfork::Istanbul,
    EthereumHardfork::Berlin,
    EthereumHardfork::London,
];

/// Forks that activate by time, each building on the one before.
const BY_TIME: [EthereumHardfork; 5] = [
    EthereumHardfork::Shanghai,
    EthereumHardfork::Cancun,
    EthereumHardfork::Prague,
    EthereumHardfork::Osaka,
    EthereumHardfork::Amsterdam,
];

/// Forks that change blob parameters only (EIP-7892), each after the one before and after Osaka.
const BLOB_ONLY: [EthereumHardfork; 6] = [
    EthereumHardfork::Osaka,
    EthereumHardfork::Bpo1,
    EthereumHardfork::Bpo2,
    EthereumHardfork::Bpo3,
    EthereumHardfork::Bpo4,
    EthereumHardfork::Bpo5,
];

/// A chain specification that cannot be executed by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainSpecError {
    /// A fork activates while the one it builds on never does.
    #[error("{fork} is activated without {missing}")]
    MissingFork {
        /// The fork that is activated.
        fork: EthereumHardfork,
        /// The fork that it builds on.
        missing: EthereumHardfork,
    },
    /// A fork activates before the one it builds on.
    #[error("{fork} is activated at {at}, before {earlier} at {earlier_at}")]
    ForkOrder {
        /// The fork that is too early.
        fork: EthereumHardfork,
        /// Its block number or time in seconds.
        at: u64,
        /// The fork that it builds on.
        earlier: EthereumHardfork,
        /// That fork's block number or time in seconds.
        earlier_at: u64,
    },
    /// A fork that activates by block number is given a time, or the other way round.
    #[error("{fork} cannot be activated by {condition:?}")]
    WrongCondition {
        /// Which fork.
        fork: EthereumHardfork,
        /// What was given.
        condition: ForkCondition,
    },
    /// Blocks between Constantinople and Petersburg have rules that the EVM in use does not model.
    #[error("Constantinople at block {constantinople} without Petersburg is not supported")]
    PlainConstantinople {
        /// Block number of Constantinople.
        constantinople: u64,
    },
    /// The EVM in use does not know the fork's rules.
    #[error("{0} is not supported")]
    UnsupportedFork(EthereumHardfork),
    /// The configuration names a fork that does not exist here.
    #[error("fork {name} is unknown")]
    UnknownFork {
        /// Key in the configuration.
        name: String,
    },
    /// EIP-155 and EIP-158 are one fork here, Spurious Dragon.
    #[error("eip155Block is {eip155:?} and eip158Block is {eip158:?}")]
    SplitSpuriousDragon {
        /// Block number of EIP-155.
        eip155: Option<u64>,
        /// Block number of EIP-158.
        eip158: Option<u64>,
    },
    /// Blocks are sealed, and therefore rewarded, by rules that are not Ethereum's.
    #[error("consensus {engine} is not supported before the merge")]
    UnsupportedConsensus {
        /// Key in the configuration.
        engine: &'static str,
    },
    /// A fork activates that takes its blob parameters from the configuration, and there are none.
    #[error("{0} has no blob parameters")]
    MissingBlobParams(EthereumHardfork),
    /// Blob parameters are given for something that has none.
    #[error("blob parameters are given for {name}")]
    UnknownBlobParams {
        /// Key in the configuration.
        name: String,
    },
    /// Blob parameters cannot be computed with: the target is above the maximum, or the update fraction is zero.
    #[error("blob parameters of {fork} have target {target}, maximum {max} and update fraction {update_fraction}")]
    BlobParams {
        /// Which fork.
        fork: EthereumHardfork,
        /// Target number of blobs in a block.
        target: u64,
        /// Maximum number of blobs in a block.
        max: u64,
        /// Update fraction of the blob base fee.
        update_fraction: u128,
    },
}

/// Checks that forks activate in the way and in the order that their rules need.
pub(super) fn check_forks(forks: &EthereumChainHardforks) -> Result<(), ChainSpecError> {
    if forks.ethereum_fork_activation(EthereumHardfork::Bogota) != ForkCondition::Never {
        return Err(ChainSpecError::UnsupportedFork(EthereumHardfork::Bogota));
    }
    check_order(forks, &BY_NUMBER, |condition| match condition {
        ForkCondition::Block(number) => Some(number),
        _ => None,
    })?;
    let time = |condition: ForkCondition| condition.as_timestamp();
    check_order(forks, &BY_TIME, time)?;
    check_order(forks, &BLOB_ONLY, time)?;
    check_merge(forks)?;

    let at = |fork| forks.ethereum_fork_activation(fork).block_number();
    match (at(EthereumHardfork::Constantinople), at(EthereumHardfork::Petersburg)) {
        (Some(constantinople), petersburg) if petersburg != Some(constantinople) => {
            Err(ChainSpecError::PlainConstantinople { constantinople })
        }
        _ => Ok(()),
    }
}

/// Checks one line of forks, each of which needs the one before. `point` is where a condition activates, `None` where
/// it is not of the kind that this line of forks has.
fn check_order(
    forks: &EthereumChainHardforks,
    line: &[EthereumHardfork],
    point: impl Fn(ForkCondition) -> Option<u64>,
) -> Result<(), ChainSpecError> {
    let mut earlier: Option<(EthereumHardfork, u64)> = None;
    let mut missing = None;
    for fork in line {
        let condition = forks.ethereum_fork_activation(*fork);
        if condition == ForkCondition::Never {
            missing = missing.or(Some(*fork));
            continue;
        }
        let at = point(condition).ok_or(ChainSpecError::WrongCondition { fork: *fork, condition })?;
        if let Some(missing) = missing {
            return Err(ChainSpecError::MissingFork { fork: *fork, missing });
        }
        if let Some((earlier, earlier_at)) = earlier
            && at < earlier_at
        {
            return Err(ChainSpecError::ForkOrder { fork: *fork, at, earlier, earlier_at });
        }
        earlier = Some((*fork, at));
    }
    Ok(())
}

/// Proof of stake needs London; the forks that activate by time need proof of stake.
fn check_merge(forks: &EthereumChainHardforks) -> Result<(), ChainSpecError> {
    let activated = |fork| forks.ethereum_fork_activation(fork) != ForkCondition::Never;
    let paris = forks.ethereum_fork_activation(EthereumHardfork::Paris);
    if paris.is_timestamp() {
        return Err(ChainSpecError::WrongCondition { fork: EthereumHardfork::Paris, condition: paris });
    }
    for (fork, needed) in
        [(EthereumHardfork::Paris, EthereumHardfork::London), (EthereumHardfork::Shanghai, EthereumHardfork::Paris)]
    {
        if activated(fork) && !activated(needed) {
            return Err(ChainSpecError::MissingFork { fork, missing: needed });
        }
    }
    Ok(())
}

/// The blob parameters of each activated fork that has some, ascending by time: those given, or else those that the
/// fork's own EIP defines.
pub(super) fn blob_schedule(
    forks: &EthereumChainHardforks,
    given: &[(EthereumHardfork, BlobParams)],
) -> Result<Vec<(u64, BlobParams)>, ChainSpecError> {
    let mut schedule = Vec::new();
    for fork in EthereumHardfork::VARIANTS {
        let given = given.iter().find(|(of, _)| of == fork).map(|(_, params)| per_transaction_rules(*fork, *params));
        let Some(time) = forks.ethereum_fork_activation(*fork).as_timestamp() else { continue };
        let params = match (given, fork) {
            (Some(params), _) => params,
            (None, EthereumHardfork::Cancun) => BlobParams::cancun(),
            (None, EthereumHardfork::Prague) => BlobParams::prague(),
            (None, EthereumHardfork::Osaka) => BlobParams::osaka(),
            (None, EthereumHardfork::Bpo1) => BlobParams::bpo1(),
            (None, EthereumHardfork::Bpo2) => BlobParams::bpo2(),
            (None, EthereumHardfork::Bpo3 | EthereumHardfork::Bpo4 | EthereumHardfork::Bpo5) => {
                return Err(ChainSpecError::MissingBlobParams(*fork));
            }
            (None, _) => continue,
        };
        check_blob_params(*fork, &params)?;
        schedule.push((time, params));
    }
    // Stable: of forks that activate together the later one holds.
    schedule.sort_by_key(|(time, _)| *time);
    Ok(schedule)
}

/// A schedule entry says nothing about what Osaka added: blobs per transaction (EIP-7594) and the reserve price
/// (EIP-7918).
fn per_transaction_rules(fork: EthereumHardfork, params: BlobParams) -> BlobParams {
    if fork < EthereumHardfork::Osaka {
        params.with_max_blobs_per_tx(params.max_blob_count).with_blob_base_cost(0)
    } else {
        params.with_max_blobs_per_tx(MAX_BLOBS_PER_TX_FUSAKA).with_blob_base_cost(BLOB_BASE_COST)
    }
}

fn check_blob_params(fork: EthereumHardfork, params: &BlobParams) -> Result<(), ChainSpecError> {
    let BlobParams { target_blob_count: target, max_blob_count: max, update_fraction, .. } = *params;
    // Blob gas is counted in 64 bits with 2^17 gas for each blob.
    let countable = U256::from(max) << 17 <= U256::from(u64::MAX);
    if target > max || max == 0 || update_fraction == 0 || !countable {
        return Err(ChainSpecError::BlobParams { fork, target, max, update_fraction });
    }
    Ok(())
}
