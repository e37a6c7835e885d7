//! Chains by the names of the public test suites' networks.
//!
//! | name | means |
//! |---|---|
//! | `Berlin` | Berlin and every fork before it from genesis on |
//! | `BerlinToLondonAt5` | Berlin from genesis, London at block 5 |
//! | `ShanghaiToCancunAtTime15k` | Shanghai from genesis, Cancun at second 15000 |
//! | `ArrowGlacierToParisAtDiffC0000` | proof of stake behind a total difficulty of 0xc0000 |
//!
//! The names are read by this grammar, not from a list, so that a suite may have a transition that no suite had before.
//! Forks between the two of a transition come with the second one, except for those that only delay the ice age, which
//! no test is long enough to meet. The DAO fork is a part of no other fork: only a transition to it has it.

use alloy_eips::eip7840::BlobParams;
use alloy_hardforks::{EthereumHardfork as Fork, ForkCondition};
use alloy_primitives::U256;

use super::{ChainSpec, ChainSpecError};

/// Forks that activate by number or total difficulty, in order.
const BY_NUMBER: [Fork; 14] = [
    Fork::Frontier,
    Fork::Homestead,
    Fork::Tangerine,
    Fork::SpuriousDragon,
    Fork::Byzantium,
    Fork::Constantinople,
    Fork::Petersburg,
    Fork::Istanbul,
    Fork::MuirGlacier,
    Fork::Berlin,
    Fork::London,
    Fork::ArrowGlacier,
    Fork::GrayGlacier,
    Fork::Paris,
];

/// Forks that activate by time, in order.
const BY_TIME: [Fork; 10] = [
    Fork::Shanghai,
    Fork::Cancun,
    Fork::Prague,
    Fork::Osaka,
    Fork::Bpo1,
    Fork::Bpo2,
    Fork::Bpo3,
    Fork::Bpo4,
    Fork::Bpo5,
    Fork::Amsterdam,
];

/// Blob-parameter forks that Amsterdam does not build upon.
const BESIDE_AMSTERDAM: [Fork; 3] = [Fork::Bpo3, Fork::Bpo4, Fork::Bpo5];

/// Names of forks that are not alloy's own.
const OTHER_NAMES: [(&str, Fork); 7] = [
    ("EIP150", Fork::Tangerine),
    ("TangerineWhistle", Fork::Tangerine),
    ("EIP158", Fork::SpuriousDragon),
    ("ConstantinopleFix", Fork::Petersburg),
    ("Merge", Fork::Paris),
    ("DAOFork", Fork::Dao),
    ("DAO", Fork::Dao),
];

/// Why a network has no chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// The name follows no known form, or names a fork that does not exist here.
    #[error("network {name:?} is unknown")]
    Unknown {
        /// The name.
        name: String,
    },
    /// The network is known and cannot be executed by.
    #[error(transparent)]
    Chain(#[from] ChainSpecError),
}

/// A network's name, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    from: Fork,
    to: Option<(Fork, ForkCondition)>,
}

impl ChainSpec {
    /// The chain of a public test suite's network. `blob_params` are those that the test names; for forks that it does not
    /// name they are the forks' own.
    ///
    /// # Errors
    /// When the name is not one of a network, or the network's rules are not supported.
    pub fn by_network(
        name: &str,
        chain_id: u64,
        blob_params: impl IntoIterator<Item = (Fork, BlobParams)>,
    ) -> Result<Self, NetworkError> {
        let network = Network::read(name).ok_or_else(|| NetworkError::Unknown { name: name.to_owned() })?;
        Ok(Self::from_forks(chain_id, network.activations(), blob_params, None)?)
    }

    /// The fork of this name, in the spelling of a test suite or of a geth genesis file. Case is ignored.
    pub fn fork_by_name(name: &str) -> Option<Fork> {
        let other = OTHER_NAMES.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
        other.map(|(_, fork)| *fork).or_else(|| name.parse().ok())
    }
}

impl Network {
    fn read(name: &str) -> Option<Self> {
        if let Some(from) = ChainSpec::fork_by_name(name) {
            return Some(Self { from, to: None });
        }
        let (forks, at) = name.rsplit_once("At")?;
        // A fork's own name may hold "To"; the pair of names decides.
        forks.match_indices("To").find_map(|(position, separator)| {
            let from = ChainSpec::fork_by_name(&forks[..position])?;
            let to = ChainSpec::fork_by_name(&forks[position + separator.len()..])?;
            Some(Self { from, to: Some((to, activation(to, at)?)) })
        })
    }

    /// When each fork activates.
    fn activations(self) -> Vec<(Fork, ForkCondition)> {
        let mut activations: Vec<_> = builds_upon(self.from).map(|fork| (fork, genesis(fork))).collect();
        let Some((to, condition)) = self.to else { return activations };
        let between = builds_upon(to).filter(|fork| builds_upon(self.from).all(|has| has != *fork));
        for fork in between.filter(|fork| *fork != to).collect::<Vec<_>>() {
            let with_it = if kind(fork) == kind(to) { condition } else { genesis(fork) };
            activations.push((fork, with_it));
        }
        activations.push((to, condition));
        activations
    }
}

/// The fork and all it builds upon.
fn builds_upon(fork: Fork) -> impl Iterator<Item = Fork> {
    let forks = BY_NUMBER.into_iter().chain(BY_TIME).filter(move |earlier| *earlier <= fork);
    forks.filter(move |earlier| fork < Fork::Amsterdam || !BESIDE_AMSTERDAM.contains(earlier))
}

/// How a fork activates: by number, by total difficulty or by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Difficulty,
    Time,
}

fn kind(fork: Fork) -> Kind {
    match fork {
        Fork::Paris => Kind::Difficulty,
        fork if BY_TIME.contains(&fork) => Kind::Time,
        _ => Kind::Number,
    }
}

fn genesis(fork: Fork) -> ForkCondition {
    match kind(fork) {
        Kind::Number => ForkCondition::ZERO_BLOCK,
        Kind::Difficulty => {
            ForkCondition::TTD { activation_block_number: 0, fork_block: None, total_difficulty: U256::ZERO }
        }
        Kind::Time => ForkCondition::ZERO_TIMESTAMP,
    }
}

/// When the second fork of a transition activates: `5`, `Time15k`, `Time15000`, `DiffC0000`.
fn activation(fork: Fork, at: &str) -> Option<ForkCondition> {
    match kind(fork) {
        Kind::Number => at.parse().ok().map(ForkCondition::Block),
        Kind::Difficulty => {
            let total_difficulty = U256::from_str_radix(at.strip_prefix("Diff")?, 16).ok()?;
            let activation_block_number = ChainSpec::UNKNOWN_MERGE_BLOCK;
            Some(ForkCondition::TTD { activation_block_number, fork_block: None, total_difficulty })
        }
        Kind::Time => {
            let time = at.strip_prefix("Time")?;
            let (digits, factor) = time.strip_suffix('k').map_or((time, 1), |thousands| (thousands, 1000));
            digits.parse::<u64>().ok()?.checked_mul(factor).map(ForkCondition::Timestamp)
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy_consensus::Header;

    use super::*;

    fn fork_at(network: &str, number: u64, timestamp: u64, difficulty: u64) -> &'static str {
        let chain = ChainSpec::by_network(network, 1, []).unwrap_or_else(|error| panic!("{network}: {error}"));
        let header = Header { number, timestamp, difficulty: U256::from(difficulty), ..Default::default() };
        chain.fork_name(&header)
    }

    #[test]
    fn a_single_fork_holds_from_genesis_on() {
        let names = ["Frontier", "Homestead", "EIP150", "EIP158", "Byzantium", "ConstantinopleFix", "Istanbul"];
        let forks = names.map(|name| fork_at(name, 0, 0, 1));
        let expected =
            ["Frontier", "Homestead", "TangerineWhistle", "SpuriousDragon", "Byzantium", "Petersburg", "Istanbul"];
        assert_eq!(forks, expected);
        for name in ["Berlin", "London", "Shanghai", "Cancun", "Prague", "Osaka", "BPO1", "BPO2", "Amsterdam"] {
            assert_eq!(fork_at(name, 1, 0, 0), name);
        }
        assert_eq!(fork_at("Merge", 1, 0, 0), "Paris");
    }

    #[test]
    fn a_transition_is_before_and_after_its_point() {
        let cases = [
            ("FrontierToHomesteadAt5", "Frontier", "Homestead"),
            ("HomesteadToDaoAt5", "Homestead", "DAO"),
            ("HomesteadToEIP150At5", "Homestead", "TangerineWhistle"),
            ("EIP158ToByzantiumAt5", "SpuriousDragon", "Byzantium"),
            ("ByzantiumToConstantinopleFixAt5", "Byzantium", "Petersburg"),
            ("BerlinToLondonAt5", "Berlin", "London"),
        ];
        for (network, before, after) in cases {
            assert_eq!((fork_at(network, 4, 0, 1), fork_at(network, 5, 0, 1)), (before, after), "{network}");
        }
        let cases = [
            ("ParisToShanghaiAtTime15k", "Paris", "Shanghai"),
            ("OsakaToBPO1AtTime15k", "Osaka", "BPO1"),
            ("BPO1ToBPO2AtTime15k", "BPO1", "BPO2"),
            ("BPO2ToAmsterdamAtTime15000", "BPO2", "Amsterdam"),
        ];
        for (network, before, after) in cases {
            let at = |time| fork_at(network, 1, time, 0);
            assert_eq!((at(14_999), at(15_000)), (before, after), "{network}");
        }
    }

    #[test]
    fn a_terminal_total_difficulty_is_read_and_no_block_named() {
        let network = "ArrowGlacierToParisAtDiffC0000";
        assert_eq!(fork_at(network, 3, 0, 1), "GrayGlacier");
        assert_eq!(fork_at(network, 3, 0, 0), "Paris");
        let chain = ChainSpec::by_network(network, 1, []).expect("a network");
        let terminal = alloy_hardforks::EthereumHardforks::ethereum_fork_activation(&chain, Fork::Paris).ttd();
        assert_eq!(terminal, Some(U256::from(0xc0000)));
    }

    #[test]
    fn plain_constantinople_and_names_that_mean_nothing_are_errors() {
        let plain = ChainSpec::by_network("Constantinople", 1, []);
        assert_eq!(
            plain.map(|chain| chain.chain_id()),
            Err(ChainSpecError::PlainConstantinople { constantinople: 0 }.into())
        );
        for name in ["", "At5", "ToAt5", "Atlantis", "BerlinToLondonAt", "BerlinToLondonAtTime5", "ParisToShanghaiAt5"]
        {
            assert!(matches!(ChainSpec::by_network(name, 1, []), Err(NetworkError::Unknown { .. })), "{name}");
        }
    }
}
