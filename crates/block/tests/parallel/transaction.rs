//! Transactions with senders and no signatures.

use std::{collections::HashMap, sync::Arc};

use alloy_consensus::{SignableTransaction, TxEip1559, TxEip2930, TxEip4844, TxEip7702, TxEnvelope, TxLegacy};
use alloy_eips::{
    eip2930::{AccessList, AccessListItem},
    eip7702::{Authorization, RecoveredAuthority, RecoveredAuthorization, SignedAuthorization},
};
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256};
use revm::context_interface::either::Either;
use ropewalk_block::BlockTransaction;
use ropewalk_state::StateReader;

use crate::{assembler::Code, world::World};

/// Price of a unit of gas where nothing else is said, in wei: a tip of 3 from London on.
pub(crate) const GAS_PRICE: u128 = 10;

/// A transaction to be put into a block.
#[derive(Debug, Clone)]
pub(crate) struct Tx {
    pub(crate) sender: Address,
    nonce: Option<u64>,
    to: TxKind,
    value: U256,
    gas: u64,
    /// Most that is paid per unit of gas, in wei.
    price: u128,
    /// Most that the beneficiary gets per unit, where the transaction says so.
    tip: Option<u128>,
    input: Bytes,
    access_list: Option<AccessList>,
    authorizations: Vec<RecoveredAuthorization>,
    blobs: usize,
}

/// A payment of plain value.
pub(crate) fn pay(from: Address, to: Address, value: impl TryInto<U256, Error: std::fmt::Debug>) -> Tx {
    Tx::new(from, TxKind::Call(to)).value(value).gas(100_000)
}

/// A call without value. Its input means nothing: a call without input passes for a payment, and payments are not
/// speculated on in production.
pub(crate) fn call(from: Address, to: Address) -> Tx {
    Tx::new(from, TxKind::Call(to)).input([0xff])
}

/// The creation of a contract.
pub(crate) fn create(from: Address, init: &Code) -> Tx {
    Tx::new(from, TxKind::Create).input(init.bytes())
}

/// Lets `authority`, at this nonce, delegate to `target`.
pub(crate) fn authorization(authority: Address, nonce: u64, target: Address) -> RecoveredAuthorization {
    let inner = Authorization { chain_id: U256::ONE, address: target, nonce };
    RecoveredAuthorization::new_unchecked(inner, RecoveredAuthority::Valid(authority))
}

impl Tx {
    fn new(sender: Address, to: TxKind) -> Self {
        Self {
            sender,
            nonce: None,
            to,
            value: U256::ZERO,
            gas: 1_000_000,
            price: GAS_PRICE,
            tip: None,
            input: Bytes::new(),
            access_list: None,
            authorizations: Vec::new(),
            blobs: 0,
        }
    }

    /// With this nonce instead of the sender's next.
    pub(crate) fn nonce(mut self, nonce: u64) -> Self {
        self.nonce = Some(nonce);
        self
    }

    pub(crate) fn value(mut self, value: impl TryInto<U256, Error: std::fmt::Debug>) -> Self {
        self.value = value.try_into().expect("a value of 256 bits");
        self
    }

    /// With this gas limit.
    pub(crate) fn gas(mut self, limit: u64) -> Self {
        self.gas = limit;
        self
    }

    /// With this price per unit of gas, in wei.
    pub(crate) fn price(mut self, price: u128) -> Self {
        self.price = price;
        self
    }

    /// With this tip per unit of gas, in wei (EIP-1559).
    pub(crate) fn tip(mut self, tip: u128) -> Self {
        self.tip = Some(tip);
        self
    }

    pub(crate) fn input(mut self, input: impl Into<Bytes>) -> Self {
        self.input = input.into();
        self
    }

    /// With an access list (EIP-2930).
    pub(crate) fn warm(mut self, address: Address, slots: &[u64]) -> Self {
        let storage_keys = slots.iter().map(|slot| B256::from(U256::from(*slot))).collect();
        self.access_list.get_or_insert_default().0.push(AccessListItem { address, storage_keys });
        self
    }

    /// With authorizations (EIP-7702).
    pub(crate) fn authorizing(mut self, authorizations: impl IntoIterator<Item = RecoveredAuthorization>) -> Self {
        self.authorizations.extend(authorizations);
        self
    }

    /// With blobs (EIP-4844).
    pub(crate) fn blobs(mut self, count: usize) -> Self {
        self.blobs = count;
        self
    }

    fn envelope(&self, nonce: u64) -> TxEnvelope {
        let Self { to, value, gas: gas_limit, price, ref input, .. } = *self;
        let (input, signature) = (input.clone(), Signature::test_signature());
        let access_list = self.access_list.clone().unwrap_or_default();
        let (max_fee_per_gas, max_priority_fee_per_gas) = (price, self.tip.unwrap_or(price));
        let callee = || to.to().copied().expect("only a call can be of this type");
        if !self.authorizations.is_empty() {
            let sign = |authorization: &RecoveredAuthorization| {
                SignedAuthorization::new_unchecked((**authorization).clone(), 0, U256::ONE, U256::ONE)
            };
            let transaction = TxEip7702 {
                chain_id: 1,
                nonce,
                gas_limit,
                max_fee_per_gas,
                max_priority_fee_per_gas,
                to: callee(),
                value,
                access_list,
                authorization_list: self.authorizations.iter().map(sign).collect(),
                input,
            };
            return transaction.into_signed(signature).into();
        }
        if self.blobs > 0 {
            let mut blob_hash = B256::repeat_byte(0xbb);
            blob_hash[0] = 1;
            let transaction = TxEip4844 {
                chain_id: 1,
                nonce,
                gas_limit,
                max_fee_per_gas,
                max_priority_fee_per_gas,
                to: callee(),
                value,
                access_list,
                blob_versioned_hashes: vec![blob_hash; self.blobs],
                max_fee_per_blob_gas: 1000,
                input,
            };
            return transaction.into_signed(signature).into();
        }
        if self.tip.is_some() {
            let transaction = TxEip1559 {
                chain_id: 1,
                nonce,
                gas_limit,
                max_fee_per_gas,
                max_priority_fee_per_gas,
                to,
                value,
                access_list,
                input,
            };
            return transaction.into_signed(signature).into();
        }
        if self.access_list.is_some() {
            let transaction =
                TxEip2930 { chain_id: 1, nonce, gas_price: price, gas_limit, to, value, access_list, input };
            return transaction.into_signed(signature).into();
        }
        let transaction = TxLegacy { chain_id: None, nonce, gas_price: price, gas_limit, to, value, input };
        transaction.into_signed(signature).into()
    }

    /// The transaction as an executor takes it; authorities are taken as given.
    fn recovered(&self, nonce: u64) -> BlockTransaction {
        let recovered = alloy_consensus::transaction::Recovered::new_unchecked(self.envelope(nonce), self.sender);
        let mut transaction = BlockTransaction::new(recovered);
        if !self.authorizations.is_empty() {
            let env = Arc::make_mut(&mut transaction.env);
            env.authorization_list = self.authorizations.iter().cloned().map(Either::Right).collect();
        }
        transaction
    }
}

/// The transactions of a block. A sender's nonces count on from the state before it, or from the last one given.
pub(crate) fn recovered(world: &World, transactions: &[Tx]) -> Vec<BlockTransaction> {
    let mut next: HashMap<Address, u64> = HashMap::new();
    let numbered = transactions.iter().map(|transaction| {
        let account = world.state.account(&transaction.sender).ok().flatten().unwrap_or_default();
        let next = next.entry(transaction.sender).or_insert(account.nonce);
        let nonce = transaction.nonce.unwrap_or(*next);
        *next = nonce.wrapping_add(1);
        transaction.recovered(nonce)
    });
    numbered.collect()
}
