//! From drafts in block order to signed transactions.

use std::collections::HashMap;

use alloy_consensus::{
    SignableTransaction, TxEip1559, TxEip2930, TxEip4844, TxEip4844Variant, TxEip7702, TxEnvelope, TxLegacy,
};
use alloy_eips::eip7702::{Authorization, SignedAuthorization};
use alloy_primitives::{Address, TxKind, U256};
use rayon::prelude::*;

use super::{
    genesis::CHAIN_ID,
    plan::{Draft, Form},
    wallet::Wallet,
};

/// What a blob transaction offers per unit of blob gas. The price stays at its minimum of 1 wei.
const BLOB_FEE_WEI: u128 = 1_000;

/// A draft whose place in the block has settled its nonces.
struct Numbered {
    draft: Draft,
    nonce: u64,
    /// Nonce of the account that delegates, when the delegation is applied.
    authority_nonce: u64,
}

/// Numbers the drafts in order, which moves `nonces` on, and signs them on all threads.
pub(crate) fn sign(drafts: Vec<Draft>, nonces: &mut HashMap<Address, u64>) -> Vec<TxEnvelope> {
    let mut take = |account: Address| {
        let nonce = nonces.entry(account).or_default();
        *nonce += 1;
        *nonce - 1
    };
    let number = |draft: Draft| {
        let nonce = take(draft.sender.address);
        // A sender that delegates its own account has its nonce raised twice: first as the sender, then as authority.
        let authority_nonce = match draft.form {
            Form::SetCode { authority, .. } => take(authority.address),
            _ => 0,
        };
        Numbered { draft, nonce, authority_nonce }
    };
    let numbered: Vec<Numbered> = drafts.into_iter().map(number).collect();
    numbered.into_par_iter().map(Numbered::sign).collect()
}

impl Numbered {
    fn sign(self) -> TxEnvelope {
        let Self { draft, nonce, authority_nonce } = self;
        let Draft { sender, to, value, input, limit_gas: gas_limit, fees, form } = draft;
        let (chain_id, access_list) = (CHAIN_ID, Default::default());
        let (max_fee_per_gas, max_priority_fee_per_gas) = (fees.max_wei, fees.tip_wei);
        match form {
            Form::Legacy => {
                let (chain_id, gas_price) = (Some(chain_id), fees.max_wei);
                seal(TxLegacy { chain_id, nonce, gas_price, gas_limit, to, value, input }, sender)
            }
            Form::AccessList(access_list) => {
                let gas_price = fees.max_wei;
                seal(TxEip2930 { chain_id, nonce, gas_price, gas_limit, to, value, access_list, input }, sender)
            }
            Form::DynamicFee => seal(
                TxEip1559 {
                    chain_id,
                    nonce,
                    gas_limit,
                    max_fee_per_gas,
                    max_priority_fee_per_gas,
                    to,
                    value,
                    access_list,
                    input,
                },
                sender,
            ),
            Form::Blobs(blob_versioned_hashes) => seal::<TxEip4844Variant>(
                TxEip4844Variant::TxEip4844(TxEip4844 {
                    chain_id,
                    nonce,
                    gas_limit,
                    max_fee_per_gas,
                    max_priority_fee_per_gas,
                    to: callee(to),
                    value,
                    access_list,
                    blob_versioned_hashes,
                    max_fee_per_blob_gas: BLOB_FEE_WEI,
                    input,
                }),
                sender,
            ),
            Form::SetCode { authority, delegate } => seal(
                TxEip7702 {
                    chain_id,
                    nonce,
                    gas_limit,
                    max_fee_per_gas,
                    max_priority_fee_per_gas,
                    to: callee(to),
                    value,
                    access_list,
                    authorization_list: vec![authorize(authority, delegate, authority_nonce)],
                    input,
                },
                sender,
            ),
        }
    }
}

fn seal<T>(tx: T, sender: Wallet) -> TxEnvelope
where
    T: SignableTransaction<alloy_primitives::Signature>,
    TxEnvelope: From<alloy_consensus::Signed<T>>,
{
    let signature = sender.sign(tx.signature_hash());
    tx.into_signed(signature).into()
}

fn authorize(authority: Wallet, address: Address, nonce: u64) -> SignedAuthorization {
    let authorization = Authorization { chain_id: U256::from(CHAIN_ID), address, nonce };
    let signature = authority.sign(authorization.signature_hash());
    authorization.into_signed(signature)
}

/// The target of a form that cannot create a contract.
fn callee(to: TxKind) -> Address {
    to.to().copied().expect("plans give blobs and delegations a target")
}
