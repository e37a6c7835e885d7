//! A chain's rules by block: which forks are active, how blobs are priced, where deposits come from.
//!
//! [`ChainSpec`] is built in for mainnet, Sepolia, Holesky and Hoodi, read from a geth genesis file
//! ([`from_genesis`](ChainSpec::from_genesis)) or from the name of a test suite's network
//! ([`by_network`](ChainSpec::by_network)), or put together from single activations
//! ([`from_forks`](ChainSpec::from_forks)). A specification that exists is consistent: forks activate in order, every
//! blob parameter set can be computed with, and nothing is asked for that the EVM in use does not model.
//!
//! A chain that merged at a terminal total difficulty does not say at which block that was. Where the number is not
//! known, [`for_block`](ChainSpec::for_block) settles it from the header: a block without difficulty is one of
//! proof-of-stake (EIP-3675).

mod consistency;
mod genesis;
mod network;

use std::borrow::Cow;

use alloy_consensus::Header;
use alloy_eips::{eip6110::MAINNET_DEPOSIT_CONTRACT_ADDRESS, eip7840::BlobParams};
use alloy_evm::{EvmEnv, eth::spec::EthExecutorSpec};
use alloy_hardforks::{EthereumChainHardforks, EthereumHardfork, EthereumHardforks, ForkCondition};
use alloy_primitives::{Address, address};
use revm::primitives::hardfork::SpecId;

pub use consistency::ChainSpecError;
pub use network::NetworkError;

/// The rules of one chain.
#[derive(Debug, Clone)]
pub struct ChainSpec {
    chain_id: u64,
    /// When each fork activates, by its number: a block asks some thirty times, which is much of what a small one takes.
    activations: Vec<ForkCondition>,
    /// Blob parameters with the time (seconds) from which on they hold, ascending; of equal times the last one holds.
    blob_schedule: Vec<(u64, BlobParams)>,
    deposit_contract: Option<Address>,
}

/// A chain whose specification is built in.
struct BuiltIn {
    chain_id: u64,
    /// What the chain is called, the usual name first.
    names: &'static [&'static str],
    chain: fn() -> ChainSpec,
}

const BUILT_IN: [BuiltIn; 4] = [
    BuiltIn { chain_id: 1, names: &["mainnet", "ethereum"], chain: ChainSpec::mainnet },
    BuiltIn { chain_id: 11_155_111, names: &["sepolia"], chain: ChainSpec::sepolia },
    BuiltIn { chain_id: 17_000, names: &["holesky"], chain: ChainSpec::holesky },
    BuiltIn { chain_id: 560_048, names: &["hoodi"], chain: ChainSpec::hoodi },
];

impl ChainSpec {
    /// Number of the first proof-of-stake block of a chain that names a terminal total difficulty, while that number is
    /// not known.
    pub const UNKNOWN_MERGE_BLOCK: u64 = u64::MAX;

    /// Ethereum mainnet.
    pub fn mainnet() -> Self {
        Self::built_in(1, &EthereumChainHardforks::mainnet(), MAINNET_DEPOSIT_CONTRACT_ADDRESS)
    }

    /// The Sepolia test network.
    pub fn sepolia() -> Self {
        let deposit_contract = address!("0x7f02c3e3c98b133055b8b348b2ac625669ed295d");
        Self::built_in(11_155_111, &EthereumChainHardforks::sepolia(), deposit_contract)
    }

    /// The Holesky test network.
    pub fn holesky() -> Self {
        let deposit_contract = address!("0x4242424242424242424242424242424242424242");
        Self::built_in(17_000, &EthereumChainHardforks::holesky(), deposit_contract)
    }

    /// The Hoodi test network.
    pub fn hoodi() -> Self {
        let deposit_contract = address!("0x00000000219ab540356cbb839cbe05303d7705fa");
        Self::built_in(560_048, &EthereumChainHardforks::hoodi(), deposit_contract)
    }

    /// The built-in chain with this id, if there is one.
    pub fn by_chain_id(chain_id: u64) -> Option<Self> {
        BUILT_IN.iter().find(|built_in| built_in.chain_id == chain_id).map(|built_in| (built_in.chain)())
    }

    /// The built-in chain of this name (`mainnet`, `sepolia`, `holesky`, `hoodi`), if there is one. Case is ignored.
    pub fn by_name(name: &str) -> Option<Self> {
        let is_named = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
        BUILT_IN.iter().find(|built_in| is_named(built_in.names)).map(|built_in| (built_in.chain)())
    }

    /// A chain with the given activations. A fork that is not named never activates; blob parameters that are not
    /// given are those that the fork itself defines.
    ///
    /// # Errors
    /// When the activations contradict each other, blob parameters are missing or cannot be computed with, or a fork
    /// is asked for that the EVM in use does not model.
    pub fn from_forks(
        chain_id: u64,
        forks: impl IntoIterator<Item = (EthereumHardfork, ForkCondition)>,
        blob_params: impl IntoIterator<Item = (EthereumHardfork, BlobParams)>,
        deposit_contract: Option<Address>,
    ) -> Result<Self, ChainSpecError> {
        let forks = EthereumChainHardforks::new(forks);
        consistency::check_forks(&forks)?;
        let blob_schedule = consistency::blob_schedule(&forks, &blob_params.into_iter().collect::<Vec<_>>())?;
        Ok(Self { chain_id, activations: activations(&forks), blob_schedule, deposit_contract })
    }

    fn built_in(chain_id: u64, forks: &EthereumChainHardforks, deposit_contract: Address) -> Self {
        let blob_schedule =
            consistency::blob_schedule(forks, &[]).expect("each fork of a built-in chain defines its blob parameters");
        let activations = activations(forks);
        Self { chain_id, activations, blob_schedule, deposit_contract: Some(deposit_contract) }
    }

    /// The chain id of EIP-155.
    pub fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// The chain's usual name, for built-in chains.
    pub fn name(&self) -> Option<&'static str> {
        BUILT_IN.iter().find(|built_in| built_in.chain_id == self.chain_id).map(|built_in| built_in.names[0])
    }

    /// Blob parameters at `timestamp` (seconds); `None` before Cancun.
    pub fn blob_params(&self, timestamp: u64) -> Option<BlobParams> {
        self.blob_schedule.iter().rev().find(|(from, _)| timestamp >= *from).map(|(_, params)| *params)
    }

    /// The chain as far as it concerns this block: with the merge settled where its block number is not known.
    pub fn for_block(&self, header: &Header) -> Cow<'_, Self> {
        let ForkCondition::TTD { activation_block_number, fork_block, total_difficulty } =
            self.ethereum_fork_activation(EthereumHardfork::Paris)
        else {
            return Cow::Borrowed(self);
        };
        if activation_block_number != Self::UNKNOWN_MERGE_BLOCK || header.number == 0 || !header.difficulty.is_zero() {
            return Cow::Borrowed(self);
        }
        let merge = ForkCondition::TTD { activation_block_number: header.number, fork_block, total_difficulty };
        let mut settled = self.clone();
        settled.activations[EthereumHardfork::Paris as usize] = merge;
        Cow::Owned(settled)
    }

    /// What the EVM needs to know about the block and its fork.
    pub fn evm_env(&self, header: &Header) -> EvmEnv<SpecId> {
        let chain = self.for_block(header);
        EvmEnv::for_eth_block(header, chain.as_ref(), self.chain_id, self.blob_params(header.timestamp))
    }

    /// Name of the latest fork that is active in this block: `Frontier`, `DAO`, `BPO2`, ...
    pub fn fork_name(&self, header: &Header) -> &'static str {
        let chain = self.for_block(header);
        let latest = EthereumHardfork::VARIANTS.iter().rev().find(|fork| {
            chain.ethereum_fork_activation(**fork).active_at_timestamp_or_number(header.timestamp, header.number)
        });
        match latest {
            None => EthereumHardfork::Frontier.name(),
            Some(EthereumHardfork::Dao) => "DAO",
            Some(EthereumHardfork::Tangerine) => "TangerineWhistle",
            Some(EthereumHardfork::Bpo1) => "BPO1",
            Some(EthereumHardfork::Bpo2) => "BPO2",
            Some(EthereumHardfork::Bpo3) => "BPO3",
            Some(EthereumHardfork::Bpo4) => "BPO4",
            Some(EthereumHardfork::Bpo5) => "BPO5",
            Some(fork) => fork.name(),
        }
    }
}

impl EthereumHardforks for ChainSpec {
    fn ethereum_fork_activation(&self, fork: EthereumHardfork) -> ForkCondition {
        self.activations.get(fork as usize).copied().unwrap_or(ForkCondition::Never)
    }
}

/// When each fork that there is activates, by its number.
fn activations(forks: &EthereumChainHardforks) -> Vec<ForkCondition> {
    let last = EthereumHardfork::VARIANTS.iter().map(|fork| *fork as usize).max().unwrap_or_default();
    let mut activations = vec![ForkCondition::Never; last + 1];
    for fork in EthereumHardfork::VARIANTS {
        activations[*fork as usize] = forks.ethereum_fork_activation(*fork);
    }
    activations
}

impl EthExecutorSpec for ChainSpec {
    fn deposit_contract_address(&self) -> Option<Address> {
        self.deposit_contract
    }
}

#[cfg(test)]
mod tests {
    use alloy_evm::{eth::spec::EthSpec, spec};
    use alloy_primitives::U256;

    use super::*;

    /// Headers on both sides of every activation.
    fn boundaries(chain: &impl EthereumHardforks) -> Vec<Header> {
        let points = EthereumHardfork::VARIANTS.iter().flat_map(|fork| {
            let activation = chain.ethereum_fork_activation(*fork);
            let late = u64::from(u32::MAX);
            let by_number = activation.block_number().map(|number| [(number.saturating_sub(1), 0), (number, 0)]);
            let by_time = activation.as_timestamp().map(|time| [(late, time.saturating_sub(1)), (late, time)]);
            by_number.into_iter().chain(by_time).flatten()
        });
        let header =
            |(number, timestamp)| Header { number, timestamp, difficulty: U256::from(1), ..Default::default() };
        points.map(header).collect()
    }

    fn assert_same_rules(ours: &ChainSpec, theirs: &EthSpec) {
        for header in boundaries(theirs) {
            let at = (header.number, header.timestamp);
            assert_eq!(ours.evm_env(&header).cfg_env.spec, spec(theirs, &header), "at {at:?}");
            for fork in EthereumHardfork::VARIANTS {
                assert_eq!(ours.ethereum_fork_activation(*fork), theirs.ethereum_fork_activation(*fork));
            }
        }
        assert_eq!(ours.deposit_contract_address(), theirs.deposit_contract_address());
    }

    #[test]
    fn built_in_chains_have_the_forks_of_alloys_specification_on_both_sides_of_each_activation() {
        assert_same_rules(&ChainSpec::mainnet(), &EthSpec::mainnet());
        assert_same_rules(&ChainSpec::sepolia(), &EthSpec::sepolia());
        assert_same_rules(&ChainSpec::holesky(), &EthSpec::holesky());
    }

    #[test]
    fn hoodi_starts_at_cancun_and_knows_its_deposit_contract() {
        let hoodi = ChainSpec::hoodi();
        let at = |timestamp| Header { number: 1, timestamp, ..Default::default() };
        assert_eq!(hoodi.fork_name(&at(1)), "Cancun");
        assert_eq!(hoodi.fork_name(&at(1_742_999_832)), "Prague");
        assert_eq!(hoodi.fork_name(&at(1_762_955_544)), "BPO2");
        assert_eq!(hoodi.deposit_contract_address(), Some(MAINNET_DEPOSIT_CONTRACT_ADDRESS));
    }

    #[test]
    fn built_in_chains_are_found_by_id_and_by_name() {
        for BuiltIn { chain_id: id, names, .. } in BUILT_IN {
            assert_eq!(ChainSpec::by_chain_id(id).expect("by id").chain_id(), id);
            for name in names {
                assert_eq!(ChainSpec::by_name(&name.to_uppercase()).expect("by name").chain_id(), id);
            }
            assert_eq!(ChainSpec::by_name(names[0]).expect("by name").name(), Some(names[0]));
        }
        assert!(ChainSpec::by_chain_id(5).is_none());
        assert!(ChainSpec::by_name("goerli").is_none());
    }

    #[test]
    fn mainnet_blob_parameters_follow_the_forks() {
        let mainnet = ChainSpec::mainnet();
        let counts = |time| mainnet.blob_params(time).map(|params| (params.target_blob_count, params.max_blob_count));
        assert_eq!(counts(1_710_338_134), None);
        assert_eq!(counts(1_710_338_135), Some((3, 6)));
        assert_eq!(counts(1_746_612_311), Some((6, 9)));
        assert_eq!(counts(1_764_798_551), Some((6, 9)));
        assert_eq!(counts(1_765_290_071), Some((10, 15)));
        assert_eq!(counts(1_767_747_671), Some((14, 21)));
        let bpo2 = mainnet.blob_params(u64::MAX).expect("after BPO2");
        assert_eq!((bpo2.update_fraction, bpo2.max_blobs_per_tx), (11_684_671, 6));
    }

    #[test]
    fn fork_names_are_those_of_the_latest_active_fork() {
        let name = |number, timestamp| {
            ChainSpec::mainnet().fork_name(&Header {
                number,
                timestamp,
                difficulty: U256::from(1),
                ..Default::default()
            })
        };
        assert_eq!(name(0, 0), "Frontier");
        assert_eq!(name(1_919_999, 0), "Homestead");
        assert_eq!(name(1_920_000, 0), "DAO");
        assert_eq!(name(2_463_000, 0), "TangerineWhistle");
        assert_eq!(name(7_280_000, 0), "Petersburg");
        assert_eq!(name(15_537_394, 1_663_224_162), "Paris");
        assert_eq!(name(24_476_005, 1_770_000_000), "BPO2");
    }

    #[test]
    fn a_merge_of_unknown_block_is_settled_by_the_headers_difficulty() {
        let merge = ForkCondition::TTD {
            activation_block_number: ChainSpec::UNKNOWN_MERGE_BLOCK,
            fork_block: None,
            total_difficulty: U256::from(1000),
        };
        let forks = EthereumHardfork::mainnet().map(|(fork, condition)| match fork {
            EthereumHardfork::Paris => (fork, merge),
            _ => (fork, condition),
        });
        let chain = ChainSpec::from_forks(1337, forks, [], None).expect("consistent");
        let header = Header { number: 20_000_000, difficulty: U256::from(1), ..Default::default() };
        assert_eq!(chain.fork_name(&header), "GrayGlacier");
        assert!(!chain.for_block(&header).is_paris_active_at_block(header.number));

        let merged = Header { difficulty: U256::ZERO, ..header };
        assert_eq!(chain.fork_name(&merged), "Paris");
        assert_eq!(chain.evm_env(&merged).cfg_env.spec, SpecId::MERGE);
        assert!(chain.for_block(&merged).is_paris_active_at_block(merged.number));
    }
}
