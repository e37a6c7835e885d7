//! A chain specification out of a geth genesis file.
//!
//! The `config` object is read as geth reads it: Petersburg follows Constantinople where it is not named, the DAO fork
//! happens only with `daoForkSupport`, `mergeNetsplitBlock` is about peers and says nothing about rules. What geth
//! would ignore and what would change results here, such as a fork of a name nobody knows, is an error.

use alloy_eips::eip7840::BlobParams;
use alloy_genesis::{ChainConfig, Genesis};
use alloy_hardforks::{EthereumHardfork, EthereumHardforks, ForkCondition};
use alloy_primitives::U256;

use super::{ChainSpec, ChainSpecError};

impl ChainSpec {
    /// The chain that a geth genesis file describes.
    ///
    /// # Errors
    /// When its configuration names an unknown fork, contradicts itself, or asks for rules that are not supported.
    pub fn from_genesis(genesis: &Genesis) -> Result<Self, ChainSpecError> {
        let config = &genesis.config;
        check_unknown(config)?;
        check_consensus(config)?;
        if config.eip155_block != config.eip158_block {
            return Err(ChainSpecError::SplitSpuriousDragon {
                eip155: config.eip155_block,
                eip158: config.eip158_block,
            });
        }
        let mut forks =
            vec![(EthereumHardfork::Frontier, ForkCondition::ZERO_BLOCK), (EthereumHardfork::Paris, merge(config))];
        forks.extend(by_number(config).into_iter().filter_map(|(fork, at)| Some((fork, ForkCondition::Block(at?)))));
        forks.extend(by_time(config).into_iter().filter_map(|(fork, at)| Some((fork, ForkCondition::Timestamp(at?)))));
        Self::from_forks(config.chain_id, forks, blob_params(config)?, config.deposit_contract_address)
    }
}

fn by_number(config: &ChainConfig) -> [(EthereumHardfork, Option<u64>); 13] {
    [
        (EthereumHardfork::Homestead, config.homestead_block),
        (EthereumHardfork::Dao, config.dao_fork_block.filter(|_| config.dao_fork_support)),
        (EthereumHardfork::Tangerine, config.eip150_block),
        (EthereumHardfork::SpuriousDragon, config.eip155_block),
        (EthereumHardfork::Byzantium, config.byzantium_block),
        (EthereumHardfork::Constantinople, config.constantinople_block),
        (EthereumHardfork::Petersburg, config.petersburg_block.or(config.constantinople_block)),
        (EthereumHardfork::Istanbul, config.istanbul_block),
        (EthereumHardfork::MuirGlacier, config.muir_glacier_block),
        (EthereumHardfork::Berlin, config.berlin_block),
        (EthereumHardfork::London, config.london_block),
        (EthereumHardfork::ArrowGlacier, config.arrow_glacier_block),
        (EthereumHardfork::GrayGlacier, config.gray_glacier_block),
    ]
}

fn by_time(config: &ChainConfig) -> [(EthereumHardfork, Option<u64>); 11] {
    [
        (EthereumHardfork::Shanghai, config.shanghai_time),
        (EthereumHardfork::Cancun, config.cancun_time),
        (EthereumHardfork::Prague, config.prague_time),
        (EthereumHardfork::Osaka, config.osaka_time),
        (EthereumHardfork::Bpo1, config.bpo1_time),
        (EthereumHardfork::Bpo2, config.bpo2_time),
        (EthereumHardfork::Bpo3, config.bpo3_time),
        (EthereumHardfork::Bpo4, config.bpo4_time),
        (EthereumHardfork::Bpo5, config.bpo5_time),
        (EthereumHardfork::Amsterdam, config.amsterdam_time),
        (EthereumHardfork::Bogota, config.bogota_time),
    ]
}

/// When proof of stake begins. Only a terminal total difficulty of zero tells the block; a built-in chain's is known.
fn merge(config: &ChainConfig) -> ForkCondition {
    let Some(total_difficulty) = config.terminal_total_difficulty else {
        return if config.terminal_total_difficulty_passed { ForkCondition::ZERO_BLOCK } else { ForkCondition::Never };
    };
    let built_in = ChainSpec::by_chain_id(config.chain_id)
        .map(|chain| chain.ethereum_fork_activation(EthereumHardfork::Paris))
        .filter(|merge| merge.ttd() == Some(total_difficulty));
    if let Some(merge) = built_in {
        return merge;
    }
    let activation_block_number = if total_difficulty.is_zero() { 0 } else { ChainSpec::UNKNOWN_MERGE_BLOCK };
    ForkCondition::TTD { activation_block_number, fork_block: config.merge_netsplit_block, total_difficulty }
}

/// Proof of authority pays no rewards, so its blocks would get wrong balances before the merge.
fn check_consensus(config: &ChainConfig) -> Result<(), ChainSpecError> {
    if config.parlia.is_some() {
        return Err(ChainSpecError::UnsupportedConsensus { engine: "parlia" });
    }
    let merged = config.terminal_total_difficulty == Some(U256::ZERO) || config.terminal_total_difficulty_passed;
    if config.clique.is_some() && !merged {
        return Err(ChainSpecError::UnsupportedConsensus { engine: "clique" });
    }
    Ok(())
}

/// Every key that looks like a fork must be one that is known.
fn check_unknown(config: &ChainConfig) -> Result<(), ChainSpecError> {
    let is_fork = |key: &str| key.ends_with("Block") || key.ends_with("Time");
    match config.extra_fields.iter().find(|(key, value)| is_fork(key) && !value.is_null()) {
        Some((key, _)) => Err(ChainSpecError::UnknownFork { name: key.clone() }),
        None => Ok(()),
    }
}

/// The `blobSchedule` object. Parameters of a fork that never activates are read and not used, as in geth.
fn blob_params(config: &ChainConfig) -> Result<Vec<(EthereumHardfork, BlobParams)>, ChainSpecError> {
    let has_blob_params = |fork: &EthereumHardfork| *fork >= EthereumHardfork::Cancun;
    let entry = |(name, params): (&String, &BlobParams)| match name.parse::<EthereumHardfork>() {
        Ok(fork) if has_blob_params(&fork) => Ok((fork, *params)),
        _ => Err(ChainSpecError::UnknownBlobParams { name: name.clone() }),
    };
    config.blob_schedule.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use std::{io::Write, path::PathBuf};

    use alloy_consensus::Header;
    use alloy_eips::eip7840::BLOB_BASE_COST;
    use alloy_evm::eth::spec::EthExecutorSpec;
    use alloy_primitives::{Address, address};
    use serde_json::{Value, json};

    use super::*;

    /// A merged chain with everything up to Prague from its first block on.
    fn config() -> Value {
        json!({
            "chainId": 1337, "homesteadBlock": 0, "eip150Block": 0, "eip155Block": 0, "eip158Block": 0,
            "byzantiumBlock": 0, "constantinopleBlock": 0, "istanbulBlock": 0, "berlinBlock": 0, "londonBlock": 0,
            "terminalTotalDifficulty": 0, "shanghaiTime": 0, "cancunTime": 0, "pragueTime": 100,
            "blobSchedule": {
                "cancun": {"target": 3, "max": 6, "baseFeeUpdateFraction": 3338477},
                "prague": {"target": 7, "max": 11, "baseFeeUpdateFraction": 5000000}
            }
        })
    }

    fn chain(changes: &Value) -> Result<ChainSpec, ChainSpecError> {
        let mut config = config();
        let keys = config.as_object_mut().expect("an object");
        for (key, value) in changes.as_object().expect("an object") {
            match value {
                Value::Null => keys.remove(key),
                value => keys.insert(key.clone(), value.clone()),
            };
        }
        let genesis = serde_json::from_value(json!({"config": config})).expect("a genesis file");
        ChainSpec::from_genesis(&genesis)
    }

    fn at(number: u64, timestamp: u64) -> Header {
        Header { number, timestamp, difficulty: U256::from(1), ..Default::default() }
    }

    #[test]
    fn a_small_genesis_gives_its_forks_and_blob_schedule() {
        let chain =
            chain(&json!({"depositContractAddress": "0x4242424242424242424242424242424242424242"})).expect("valid");
        assert_eq!(chain.chain_id(), 1337);
        assert_eq!(chain.name(), None);
        assert_eq!(chain.fork_name(&at(1, 99)), "Cancun");
        assert_eq!(chain.fork_name(&at(1, 100)), "Prague");
        let prague = chain.blob_params(100).expect("Prague");
        assert_eq!((prague.target_blob_count, prague.max_blob_count, prague.max_blobs_per_tx), (7, 11, 11));
        let deposits: Address = address!("0x4242424242424242424242424242424242424242");
        assert_eq!(chain.deposit_contract_address(), Some(deposits));
    }

    #[test]
    fn blob_parameters_from_osaka_on_keep_osakas_limit_per_transaction() {
        let schedule = json!({
            "osaka": {"target": 6, "max": 9, "baseFeeUpdateFraction": 5007716},
            "bpo3": {"target": 20, "max": 30, "baseFeeUpdateFraction": 16000000}
        });
        let times =
            json!({"osakaTime": 200, "bpo1Time": 300, "bpo2Time": 400, "bpo3Time": 500, "blobSchedule": schedule});
        let chain = chain(&times).expect("valid");
        let last = chain.blob_params(500).expect("BPO3");
        assert_eq!((last.max_blob_count, last.max_blobs_per_tx, last.blob_base_cost), (30, 6, BLOB_BASE_COST));
        assert_eq!(chain.fork_name(&at(1, 500)), "BPO3");
        assert_eq!(chain.blob_params(399), Some(BlobParams::bpo1()));
    }

    #[test]
    fn the_dao_fork_happens_only_where_it_is_supported() {
        let dao = |support: bool| {
            let chain = chain(&json!({"daoForkBlock": 5, "daoForkSupport": support})).expect("valid");
            chain.ethereum_fork_activation(EthereumHardfork::Dao)
        };
        assert_eq!(dao(true), ForkCondition::Block(5));
        assert_eq!(dao(false), ForkCondition::Never);
    }

    #[test]
    fn petersburg_follows_constantinople_where_it_is_not_named() {
        let petersburg = chain(&json!({})).expect("valid").ethereum_fork_activation(EthereumHardfork::Petersburg);
        assert_eq!(petersburg, ForkCondition::Block(0));
    }

    #[test]
    fn a_terminal_difficulty_above_zero_leaves_the_merge_to_the_headers() {
        let chain = chain(&json!({"terminalTotalDifficulty": 1000, "mergeNetsplitBlock": 3})).expect("valid");
        assert!(!chain.is_paris_active_at_block(1_000_000));
        let merged = Header { number: 7, ..Default::default() };
        assert!(chain.for_block(&merged).is_paris_active_at_block(7));
    }

    #[test]
    fn inconsistent_configurations_are_refused_with_what_is_wrong() {
        use EthereumHardfork::*;
        let cases = [
            (json!({"berlinBlock": null}), ChainSpecError::MissingFork { fork: London, missing: Berlin }),
            (
                json!({"istanbulBlock": 7, "berlinBlock": 6, "londonBlock": 8}),
                ChainSpecError::ForkOrder { fork: Berlin, at: 6, earlier: Istanbul, earlier_at: 7 },
            ),
            (json!({"cancunTime": null}), ChainSpecError::MissingFork { fork: Prague, missing: Cancun }),
            (
                json!({"cancunTime": 101}),
                ChainSpecError::ForkOrder { fork: Prague, at: 100, earlier: Cancun, earlier_at: 101 },
            ),
            (json!({"terminalTotalDifficulty": null}), ChainSpecError::MissingFork { fork: Shanghai, missing: Paris }),
            (json!({"eip158Block": 1}), ChainSpecError::SplitSpuriousDragon { eip155: Some(0), eip158: Some(1) }),
            (
                json!({"petersburgBlock": 9, "istanbulBlock": 9, "berlinBlock": 9, "londonBlock": 9}),
                ChainSpecError::PlainConstantinople { constantinople: 0 },
            ),
            (json!({"verkleTime": 7}), ChainSpecError::UnknownFork { name: "verkleTime".to_owned() }),
            (json!({"bogotaTime": 700}), ChainSpecError::UnsupportedFork(Bogota)),
            (
                json!({"osakaTime": 200, "bpo1Time": 200, "bpo2Time": 200, "bpo3Time": 200}),
                ChainSpecError::MissingBlobParams(Bpo3),
            ),
            (json!({"osakaTime": 200, "bpo2Time": 200}), ChainSpecError::MissingFork { fork: Bpo2, missing: Bpo1 }),
            (
                json!({"blobSchedule": {"shanghai": {"target": 3, "max": 6, "baseFeeUpdateFraction": 1}}}),
                ChainSpecError::UnknownBlobParams { name: "shanghai".to_owned() },
            ),
            (
                json!({"blobSchedule": {"cancun": {"target": 3, "max": 6, "baseFeeUpdateFraction": 0}}}),
                ChainSpecError::BlobParams { fork: Cancun, target: 3, max: 6, update_fraction: 0 },
            ),
            (
                json!({"blobSchedule": {"prague": {"target": 9, "max": 6, "baseFeeUpdateFraction": 1}}}),
                ChainSpecError::BlobParams { fork: Prague, target: 9, max: 6, update_fraction: 1 },
            ),
            (
                json!({"terminalTotalDifficulty": 9, "clique": {"period": 1, "epoch": 8}}),
                ChainSpecError::UnsupportedConsensus { engine: "clique" },
            ),
        ];
        for (changes, expected) in cases {
            assert_eq!(chain(&changes).map(|chain| chain.chain_id()), Err(expected), "{changes}");
        }
    }

    /// The real genesis file of mainnet, where the shared fixtures are there.
    #[test]
    fn the_mainnet_genesis_file_describes_the_built_in_chain() {
        let shared = std::env::var_os("ROPEWALK_SHARED").map(PathBuf::from);
        let shared = shared.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"));
        let path = shared.join("fixtures/era1/genesis-mainnet.json");
        let Ok(text) = std::fs::read_to_string(&path) else {
            // Past the test harness, which keeps what a passing test prints to itself.
            let line = format!("SKIPPED: there is no {}\n", path.display());
            std::io::stderr().write_all(line.as_bytes()).expect("standard error is there");
            return;
        };
        let genesis: Genesis = serde_json::from_str(&text).expect("a genesis file");
        let (read, built_in) = (ChainSpec::from_genesis(&genesis).expect("mainnet"), ChainSpec::mainnet());
        for fork in EthereumHardfork::VARIANTS {
            assert_eq!(read.ethereum_fork_activation(*fork), built_in.ethereum_fork_activation(*fork), "{fork}");
        }
        assert_eq!(read.blob_schedule, built_in.blob_schedule);
        assert_eq!(read.deposit_contract_address(), built_in.deposit_contract_address());
        assert_eq!(read.chain_id(), 1);
    }
}
