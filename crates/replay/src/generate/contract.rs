//! The project's own contracts, as compiled into `fixtures/contracts/artifacts`.
//!
//! Generated states hold them without a deployment: runtime code and storage are set directly. Where a variable lives
//! is read from the artifact's storage layout, never written down here a second time.

use std::{collections::BTreeMap, sync::LazyLock};

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use serde::Deserialize;

/// ERC-20 token.
pub(crate) static TOKEN: LazyLock<Contract> =
    LazyLock::new(|| Contract::parse(include_str!("../../../../fixtures/contracts/artifacts/Token.json")));
/// Constant-product pool over two tokens.
pub(crate) static EXCHANGE: LazyLock<Contract> =
    LazyLock::new(|| Contract::parse(include_str!("../../../../fixtures/contracts/artifacts/Exchange.json")));
/// Code for accounts that delegate (EIP-7702).
pub(crate) static ACCOUNT: LazyLock<Contract> =
    LazyLock::new(|| Contract::parse(include_str!("../../../../fixtures/contracts/artifacts/Account.json")));

/// One compiled contract.
#[derive(Debug)]
pub(crate) struct Contract {
    /// Code of a deployed instance.
    pub(crate) runtime: Bytes,
    /// Code that deploys an instance; constructor arguments follow it.
    pub(crate) creation: Bytes,
    variables: BTreeMap<String, Variable>,
}

/// Where a state variable lives.
#[derive(Debug, Clone, Copy)]
struct Variable {
    slot: U256,
    offset_bytes: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Artifact {
    bytecode: Bytes,
    deployed_bytecode: Bytes,
    storage_layout: Vec<LayoutEntry>,
}

#[derive(Deserialize)]
struct LayoutEntry {
    label: String,
    slot: String,
    offset: usize,
}

impl Contract {
    fn parse(artifact: &str) -> Self {
        let artifact: Artifact = serde_json::from_str(artifact).expect("artifacts are compiled in, and tested");
        let variables = artifact.storage_layout.into_iter().map(|entry| {
            let slot = U256::from_str_radix(&entry.slot, 10).expect("artifacts are compiled in, and tested");
            (entry.label, Variable { slot, offset_bytes: entry.offset })
        });
        Self { runtime: artifact.deployed_bytecode, creation: artifact.bytecode, variables: variables.collect() }
    }

    /// Slot of a state variable.
    pub(crate) fn slot(&self, variable: &str) -> U256 {
        self.variable(variable).slot
    }

    /// Slot of the element of a mapping; several keys address a nested mapping, the outermost first.
    pub(crate) fn element(&self, mapping: &str, keys: &[Address]) -> U256 {
        keys.iter().fold(self.slot(mapping), |slot, key| {
            let mut preimage = [0u8; 64];
            preimage[..32].copy_from_slice(key.into_word().as_slice());
            preimage[32..].copy_from_slice(&slot.to_be_bytes::<32>());
            keccak256(preimage).into()
        })
    }

    /// `value` moved to where `variable` sits within its slot.
    pub(crate) fn packed(&self, variable: &str, value: U256) -> U256 {
        value << (8 * self.variable(variable).offset_bytes)
    }

    fn variable(&self, name: &str) -> Variable {
        *self.variables.get(name).expect("the generator names variables of its own contracts")
    }
}

/// Call data: the selector of `signature` and the arguments, one word each.
pub(crate) fn call(signature: &str, arguments: &[B256]) -> Bytes {
    let mut data = keccak256(signature)[..4].to_vec();
    arguments.iter().for_each(|word| data.extend_from_slice(word.as_slice()));
    data.into()
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{address, hex};

    use super::*;

    #[test]
    fn every_artifact_holds_code() {
        for contract in [&TOKEN, &EXCHANGE, &ACCOUNT] {
            assert!(!contract.runtime.is_empty());
            assert!(contract.creation.len() > contract.runtime.len());
        }
    }

    #[test]
    fn reserves_share_one_slot_and_do_not_overlap() {
        assert_eq!(EXCHANGE.slot("reserve0"), EXCHANGE.slot("reserve1"));
        assert_eq!(EXCHANGE.packed("reserve0", U256::from(1)), U256::from(1));
        assert_eq!(EXCHANGE.packed("reserve1", U256::from(1)), U256::from(1) << 112);
    }

    #[test]
    fn a_mapping_element_is_the_hash_of_key_and_slot() {
        let owner = address!("0x00000000000000000000000000000000000000aa");
        let mut preimage = [0u8; 64];
        preimage[31] = 0xaa;
        preimage[63] = 1;
        assert_eq!(TOKEN.element("balanceOf", &[owner]), U256::from_be_bytes(keccak256(preimage).0));
        assert_ne!(TOKEN.element("allowance", &[owner, owner]), TOKEN.element("allowance", &[owner]));
    }

    #[test]
    fn call_data_is_a_selector_and_words() {
        let owner = address!("0x00000000000000000000000000000000000000aa");
        let data = call("transfer(address,uint256)", &[owner.into_word(), U256::from(5).into()]);
        assert_eq!(data[..4], hex!("a9059cbb"));
        assert_eq!(data.len(), 68);
        assert_eq!(data[67], 5);
    }
}
