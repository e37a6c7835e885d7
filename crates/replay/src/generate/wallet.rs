//! Accounts whose keys the generator knows, and addresses that nobody has a key for.
//!
//! Keys are derived from the seed by hashing, so anyone can spend from them: they are good for generated chains only.

use alloy_consensus::crypto::secp256k1::{recover_signer, sign_message};
use alloy_primitives::{Address, B256, Keccak256, Signature, keccak256};
use rayon::prelude::*;

/// A private key and the address it controls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wallet {
    secret: B256,
    /// The account that the key controls.
    pub(crate) address: Address,
}

impl Wallet {
    /// The wallet number `index` of those who play `role`.
    pub(crate) fn derive(seed: u64, role: &str, index: u64) -> Self {
        let mut secret = label(seed, role, index);
        // All but 2^-128 of all hashes are valid keys; the next hash is taken for the others.
        loop {
            // The public key is recovered from a signature: the one way to it that needs no curve library of our own.
            let probe = sign_message(secret, B256::ZERO).ok();
            if let Some(address) = probe.and_then(|signature| recover_signer(&signature, B256::ZERO).ok()) {
                return Self { secret, address };
            }
            secret = keccak256(secret);
        }
    }

    /// Wallets `from..from + count` of those who play `role`, derived on all threads.
    pub(crate) fn derive_many(seed: u64, role: &str, from: u64, count: usize) -> Vec<Self> {
        (0..count as u64).into_par_iter().map(|offset| Self::derive(seed, role, from + offset)).collect()
    }

    /// Signs a hash (RFC 6979, low `s`): the same hash always gives the same signature.
    pub(crate) fn sign(&self, hash: B256) -> Signature {
        sign_message(self.secret, hash).expect("derive keeps valid keys only")
    }
}

/// The address number `index` of those who play `role` and never send anything.
pub(crate) fn address(seed: u64, role: &str, index: u64) -> Address {
    Address::from_word(label(seed, role, index))
}

/// A hash of its own for everything that has a name: keys, addresses, random header fields.
pub(crate) fn label(seed: u64, role: &str, index: u64) -> B256 {
    let mut hasher = Keccak256::new();
    hasher.update(b"ropewalk label");
    hasher.update(seed.to_be_bytes());
    hasher.update(index.to_be_bytes());
    hasher.update(role.as_bytes());
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_recovers_to_its_wallet() {
        let wallet = Wallet::derive(7, "payer", 3);
        let hash = B256::repeat_byte(0x11);
        let signature = wallet.sign(hash);
        assert_eq!(recover_signer(&signature, hash).ok(), Some(wallet.address));
        assert_eq!(wallet.sign(hash), signature);
    }

    #[test]
    fn derived_in_parallel_equals_derived_one_by_one() {
        let many = Wallet::derive_many(7, "payer", 2, 5);
        let single: Vec<_> = (2..7).map(|index| Wallet::derive(7, "payer", index)).collect();
        assert_eq!(many, single);
    }
}
