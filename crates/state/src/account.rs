//! One account without its storage.

use alloy_primitives::{B256, KECCAK256_EMPTY, U256};

/// An account that exists: nonce, balance and the hash of its code.
///
/// Absence is `Option::None` around it. Before EIP-161 an account that exists and is empty differs from an absent one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Account {
    /// Number of transactions sent, or of contracts created.
    pub nonce: u64,
    /// Balance in wei.
    pub balance: U256,
    /// Keccak-256 of the code; [`KECCAK256_EMPTY`] where there is none.
    pub code_hash: B256,
}

impl Account {
    /// An account that exists with nothing in it.
    pub const EMPTY: Self = Self { nonce: 0, balance: U256::ZERO, code_hash: KECCAK256_EMPTY };

    /// Empty as EIP-161 defines it: no nonce, no balance, no code. Storage does not count.
    pub fn is_empty(&self) -> bool {
        self.nonce == 0 && self.balance.is_zero() && !self.has_code()
    }

    /// Whether the account holds code (a delegation designator of EIP-7702 is code).
    pub fn has_code(&self) -> bool {
        self.code_hash != KECCAK256_EMPTY
    }
}

impl Default for Account {
    fn default() -> Self {
        Self::EMPTY
    }
}
