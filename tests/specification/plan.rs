//! A block before its nonces, signatures and bytecode are settled: what is drawn and made smaller.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use alloy_consensus::{
    SignableTransaction, Signed, TxEip1559, TxEip2930, TxEip4844, TxEip4844Variant, TxEip7702, TxEnvelope, TxLegacy,
    crypto::secp256k1::sign_message,
};
use alloy_eips::{
    eip2930::{AccessList, AccessListItem},
    eip4895::Withdrawal,
    eip7702::{Authorization, SignedAuthorization},
};
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U64, U256};

use crate::{
    case::{Case, CaseAccount, Ommer, encoded},
    fork::Fork,
    ours::{Prepared, Way},
    program::{Action, Init, bytecode},
};

/// The key of an account that signs; its number is the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key(pub(crate) u8);

/// What an account holds as code.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum PlannedCode {
    None,
    Program(Vec<Action>),
    Bytes(Bytes),
}

/// An account before the block.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PlannedAccount {
    pub(crate) address: Address,
    pub(crate) nonce: u64,
    pub(crate) balance: U256,
    pub(crate) code: PlannedCode,
    pub(crate) storage: BTreeMap<u64, U256>,
}

/// Whom a transaction calls, and with what.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Target {
    Call(Address, Bytes),
    Create(usize),
}

/// Lets the holder of a key delegate (EIP-7702).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PlannedAuthorization {
    pub(crate) authority: Key,
    /// Instead of the authority's next.
    pub(crate) nonce: Option<u64>,
    pub(crate) chain_id: u64,
    pub(crate) to: Address,
}

/// What a transaction has beyond a legacy one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Form {
    Legacy { protected: bool },
    AccessList,
    DynamicFee { tip: u128 },
    Blobs { tip: u128, count: usize, max_fee: u128 },
    Delegations { tip: u128, authorizations: Vec<PlannedAuthorization> },
}

/// A transaction without its nonce.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PlannedTransaction {
    pub(crate) sender: Key,
    /// Instead of the sender's next.
    pub(crate) nonce: Option<u64>,
    pub(crate) target: Target,
    pub(crate) value: U256,
    pub(crate) gas_limit: u64,
    /// Most that is paid for a unit of gas, in wei.
    pub(crate) price: u128,
    pub(crate) form: Form,
    pub(crate) access_list: Vec<(Address, Vec<u64>)>,
}

/// A block on a state.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    pub(crate) fork: Fork,
    pub(crate) beneficiary: Address,
    pub(crate) gas_limit: u64,
    pub(crate) base_fee: u64,
    pub(crate) excess_blob_gas: u64,
    pub(crate) ommers: Vec<Ommer>,
    pub(crate) withdrawals: Vec<Withdrawal>,
    pub(crate) accounts: Vec<PlannedAccount>,
    /// Accounts that the fork cannot do without.
    pub(crate) system: Vec<PlannedAccount>,
    pub(crate) inits: Vec<Init>,
    pub(crate) transactions: Vec<PlannedTransaction>,
}

impl Key {
    fn secret(self) -> B256 {
        B256::with_last_byte(self.0)
    }

    pub(crate) fn address(self) -> Address {
        let message = B256::repeat_byte(3);
        self.sign(message).recover_address_from_prehash(&message).expect("a signature of ours")
    }

    fn sign(self, hash: B256) -> Signature {
        sign_message(self.secret(), hash).expect("a key that is not zero")
    }
}

impl Plan {
    /// The block with everything settled.
    ///
    /// Nonces count on from the state before the block. A transaction that cannot be part of the block takes none, so
    /// that those of the same sender that follow still can; which ones that are, an execution tells.
    pub(crate) fn case(&self) -> Case {
        let mut left_out = BTreeSet::new();
        loop {
            let case = self.numbered(&left_out);
            let Ok(result) = Prepared::new(&case).run(Way::PLAIN) else { return case };
            // One at a time: those behind it may only have been numbered past it.
            match result.outcome.skipped.iter().find(|skipped| !left_out.contains(&skipped.index)) {
                Some(first) => left_out.insert(first.index),
                None => return case,
            };
        }
    }

    fn numbered(&self, left_out: &BTreeSet<usize>) -> Case {
        let mut nonces = Nonces(self.accounts.iter().map(|account| (account.address, account.nonce)).collect());
        let sign = |(at, transaction): (usize, &PlannedTransaction)| {
            let mut passing = nonces.clone();
            let signed = encoded(&transaction.signed(&mut passing, &self.inits));
            if !left_out.contains(&at) {
                nonces = passing;
            }
            signed
        };
        Case {
            fork: self.fork,
            beneficiary: self.beneficiary,
            gas_limit: self.gas_limit,
            base_fee: self.base_fee,
            excess_blob_gas: self.excess_blob_gas,
            ommers: self.ommers.clone(),
            withdrawals: self.withdrawals.clone(),
            alloc: self
                .accounts
                .iter()
                .chain(&self.system)
                .map(|account| (account.address, account.settled(&self.inits)))
                .collect(),
            transactions: self.transactions.iter().enumerate().map(sign).collect(),
        }
    }
}

/// The next nonce of everybody, as far as that can be told without running anything.
#[derive(Debug, Clone)]
struct Nonces(HashMap<Address, u64>);

impl Nonces {
    fn next(&self, address: Address) -> u64 {
        self.0.get(&address).copied().unwrap_or_default()
    }

    /// Takes a nonce, if it is the next one.
    fn take(&mut self, address: Address, nonce: u64) {
        if nonce == self.next(address) {
            self.0.insert(address, nonce.wrapping_add(1));
        }
    }
}

impl PlannedAccount {
    fn settled(&self, inits: &[Init]) -> CaseAccount {
        let code = match &self.code {
            PlannedCode::None => Bytes::new(),
            PlannedCode::Program(actions) => bytecode(actions, inits),
            PlannedCode::Bytes(bytes) => bytes.clone(),
        };
        let slot = |(slot, value): (&u64, &U256)| (B256::from(U256::from(*slot)), B256::from(*value));
        let storage = self.storage.iter().map(slot).collect();
        CaseAccount { nonce: U64::from(self.nonce), balance: self.balance, code, storage }
    }
}

impl PlannedTransaction {
    fn signed(&self, nonces: &mut Nonces, inits: &[Init]) -> TxEnvelope {
        let sender = self.sender.address();
        let nonce = self.nonce.unwrap_or(nonces.next(sender));
        nonces.take(sender, nonce);
        let Self { value, gas_limit, price, .. } = *self;
        let (to, input) = match &self.target {
            Target::Call(to, input) => (TxKind::Call(*to), input.clone()),
            Target::Create(init) => (TxKind::Create, inits.get(*init).map(Init::bytes).unwrap_or_default()),
        };
        let callee = to.to().copied().unwrap_or_default();
        let (chain_id, access_list) = (1, self.listed());
        let (max_fee_per_gas, gas_price) = (price, price);
        match &self.form {
            Form::Legacy { protected } => {
                let chain_id = protected.then_some(1);
                self.seal(TxLegacy { chain_id, nonce, gas_price, gas_limit, to, value, input })
            }
            Form::AccessList => {
                self.seal(TxEip2930 { chain_id, nonce, gas_price, gas_limit, to, value, access_list, input })
            }
            Form::DynamicFee { tip } => self.seal(TxEip1559 {
                chain_id,
                nonce,
                gas_limit,
                max_fee_per_gas,
                max_priority_fee_per_gas: *tip,
                to,
                value,
                access_list,
                input,
            }),
            Form::Blobs { tip, count, max_fee } => {
                self.seal::<TxEip4844Variant>(TxEip4844Variant::TxEip4844(TxEip4844 {
                    chain_id,
                    nonce,
                    gas_limit,
                    max_fee_per_gas,
                    max_priority_fee_per_gas: *tip,
                    to: callee,
                    value,
                    access_list,
                    blob_versioned_hashes: (0..*count).map(blob_hash).collect(),
                    max_fee_per_blob_gas: *max_fee,
                    input,
                }))
            }
            Form::Delegations { tip, authorizations } => self.seal(TxEip7702 {
                chain_id,
                nonce,
                gas_limit,
                max_fee_per_gas,
                max_priority_fee_per_gas: *tip,
                to: callee,
                value,
                access_list,
                authorization_list: authorizations.iter().map(|planned| planned.signed(nonces)).collect(),
                input,
            }),
        }
    }

    fn listed(&self) -> AccessList {
        let item = |(address, slots): &(Address, Vec<u64>)| AccessListItem {
            address: *address,
            storage_keys: slots.iter().map(|slot| B256::from(U256::from(*slot))).collect(),
        };
        AccessList(self.access_list.iter().map(item).collect())
    }

    fn seal<T>(&self, transaction: T) -> TxEnvelope
    where
        T: SignableTransaction<Signature>,
        TxEnvelope: From<Signed<T>>,
    {
        let signature = self.sender.sign(transaction.signature_hash());
        transaction.into_signed(signature).into()
    }
}

impl PlannedAuthorization {
    fn signed(&self, nonces: &mut Nonces) -> SignedAuthorization {
        let authority = self.authority.address();
        let nonce = self.nonce.unwrap_or(nonces.next(authority));
        if self.chain_id <= 1 {
            nonces.take(authority, nonce);
        }
        let authorization = Authorization { chain_id: U256::from(self.chain_id), address: self.to, nonce };
        let signature = self.authority.sign(authorization.signature_hash());
        authorization.into_signed(signature)
    }
}

fn blob_hash(at: usize) -> B256 {
    let mut hash = B256::repeat_byte(0xbb);
    (hash[0], hash[31]) = (1, at as u8);
    hash
}
