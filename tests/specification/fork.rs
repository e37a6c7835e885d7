//! The forks that are compared, and what a block of each looks like.

use std::sync::Arc;

use ropewalk_block::ChainSpec;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Number of the block that is executed; the DAO fork happens in it.
pub(crate) const NUMBER: u64 = 300;

/// A fork, by the name that the specification's transition tool knows it by.
///
/// Forks that only moved the difficulty bomb are left out. Constantinople is the one without EIP-1283, as both sides
/// have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Fork {
    Frontier,
    Homestead,
    #[serde(rename = "DaoFork")]
    Dao,
    TangerineWhistle,
    SpuriousDragon,
    Byzantium,
    ConstantinopleFix,
    Istanbul,
    Berlin,
    London,
    Paris,
    Shanghai,
    Cancun,
    Prague,
    Osaka,
    #[serde(rename = "BPO1")]
    Bpo1,
    #[serde(rename = "BPO2")]
    Bpo2,
}

impl Fork {
    pub(crate) const ALL: [Self; 17] = [
        Self::Frontier,
        Self::Homestead,
        Self::Dao,
        Self::TangerineWhistle,
        Self::SpuriousDragon,
        Self::Byzantium,
        Self::ConstantinopleFix,
        Self::Istanbul,
        Self::Berlin,
        Self::London,
        Self::Paris,
        Self::Shanghai,
        Self::Cancun,
        Self::Prague,
        Self::Osaka,
        Self::Bpo1,
        Self::Bpo2,
    ];

    /// A chain that has been at this fork from its first block on; the DAO fork happens in the block itself.
    pub(crate) fn chain(self) -> Arc<ChainSpec> {
        let activations: [(Self, &str, u64); 17] = [
            (Self::Homestead, "homesteadBlock", 0),
            (Self::Dao, "daoForkBlock", if self == Self::Dao { NUMBER } else { 0 }),
            (Self::TangerineWhistle, "eip150Block", 0),
            (Self::SpuriousDragon, "eip155Block", 0),
            (Self::SpuriousDragon, "eip158Block", 0),
            (Self::Byzantium, "byzantiumBlock", 0),
            (Self::ConstantinopleFix, "constantinopleBlock", 0),
            (Self::ConstantinopleFix, "petersburgBlock", 0),
            (Self::Istanbul, "istanbulBlock", 0),
            (Self::Berlin, "berlinBlock", 0),
            (Self::London, "londonBlock", 0),
            (Self::Paris, "terminalTotalDifficulty", 0),
            (Self::Shanghai, "shanghaiTime", 0),
            (Self::Cancun, "cancunTime", 0),
            (Self::Prague, "pragueTime", 0),
            (Self::Osaka, "osakaTime", 0),
            (Self::Bpo1, "bpo1Time", 0),
        ];
        let active = activations.iter().filter(|(fork, ..)| *fork <= self);
        let mut config: Map<String, Value> = active.map(|(_, key, at)| ((*key).to_owned(), json!(at))).collect();
        if self == Self::Bpo2 {
            config.insert("bpo2Time".to_owned(), json!(0));
        }
        config.insert("daoForkSupport".to_owned(), json!(self >= Self::Dao));
        config.insert("chainId".to_owned(), json!(1));
        let genesis = serde_json::from_value(json!({ "config": config })).expect("a genesis file");
        Arc::new(ChainSpec::from_genesis(&genesis).expect("a consistent chain"))
    }
}
