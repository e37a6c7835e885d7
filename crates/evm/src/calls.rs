//! What a transaction calls, where that is worth remembering.

use std::hash::Hasher;

use alloy_primitives::Address;
use revm::context::TxEnv;

/// Gas of a transaction that leaves none for code (Yellow Paper, appendix G).
pub(crate) const GAS_OF_PAYMENT: u64 = 21_000;

/// What value is sent with that says nothing: a contract has one function for it.
const NOTHING_SAID: [u8; 4] = [0; 4];

/// The contract and the selector that a transaction calls. Creations call none, and neither does what can only be a payment;
/// where value is sent with gas for code, somebody seems to know that there is some.
pub(crate) fn called(tx: &TxEnv) -> Option<(&Address, &[u8; 4])> {
    let to = tx.kind.to()?;
    if tx.data.is_empty() {
        return (tx.gas_limit > GAS_OF_PAYMENT).then_some((to, &NOTHING_SAID));
    }
    Some((to, tx.data.first_chunk()?))
}

/// An address word by word, with a number of half a word behind it, for hashers: a slice of bytes is hashed with a loop and a length.
#[inline]
pub(crate) fn words(address: &Address, behind: u32) -> [u64; 3] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, rest @ ..] = address.0.0;
    let (first, second) = ([a, b, c, d, e, f, g, h], [i, j, k, l, m, n, o, p]);
    let last = u64::from(u32::from_ne_bytes(rest)) | u64::from(behind) << 32;
    [u64::from_ne_bytes(first), u64::from_ne_bytes(second), last]
}

/// Hashes a contract and a selector.
pub(crate) fn hash_called<H: Hasher>((to, selector): (&Address, &[u8; 4]), state: &mut H) {
    words(to, u32::from_ne_bytes(*selector)).into_iter().for_each(|word| state.write_u64(word));
}
