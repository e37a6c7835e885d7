//! A block whose senders are known.
//!
//! Signatures are the only part of a block that can be checked without its state, and a costly one, so they are
//! recovered ahead of execution and in parallel, the authorizations of EIP-7702 included. What comes out holds the
//! EVM's view of each transaction behind an [`Arc`], ready to be executed any number of times.

use std::sync::Arc;

use alloy_consensus::{
    Block, Header, TxEnvelope,
    crypto::SECP256K1N_HALF,
    transaction::{Recovered, SignerRecoverable},
};
use alloy_eips::eip4895::Withdrawals;
use alloy_evm::FromRecoveredTx;
use alloy_hardforks::EthereumHardforks;
use alloy_primitives::{Address, B256};
use rayon::prelude::*;
use revm::context::TxEnv;

use crate::{BlockError, ChainSpec, InvalidBlock, SignatureFault};

/// A transaction of a block with its sender.
#[derive(Debug, Clone)]
pub struct BlockTransaction {
    /// The transaction and its sender.
    pub recovered: Recovered<TxEnvelope>,
    /// The transaction as the EVM takes it, authorities of EIP-7702 recovered.
    pub env: Arc<TxEnv>,
}

/// A block whose senders are known: what an executor takes in.
#[derive(Debug, Clone)]
pub struct RecoveredBlock {
    /// The header.
    pub header: Header,
    /// The block's hash, which a recording with an incomplete header knows better than the header does.
    pub hash: B256,
    /// The transactions in block order.
    pub transactions: Vec<BlockTransaction>,
    /// Headers of the ommers.
    pub ommers: Vec<Header>,
    /// Withdrawals, from Shanghai on.
    pub withdrawals: Option<Withdrawals>,
}

/// Recovers the sender of every transaction. The block's hash is computed where it is not given.
///
/// The work is spread over the rayon pool that this is called in ([`rayon::ThreadPool::install`]). Called from outside
/// of any pool it stays on the calling thread: the global pool is never used without having been asked for.
///
/// # Errors
/// When a signature is not valid under the block's fork; the error names the first such transaction.
pub fn recover(chain: &ChainSpec, block: Block<TxEnvelope>, hash: Option<B256>) -> Result<RecoveredBlock, BlockError> {
    let Block { header, body } = block;
    let rules = SignatureRules::at(chain, header.number);
    let in_pool = rayon::current_thread_index().is_some();
    // All results are collected before the first error is looked for, so that the error does not depend on timing.
    let recovered: Vec<_> = if in_pool {
        body.transactions.into_par_iter().map(|transaction| rules.recover(transaction)).collect()
    } else {
        body.transactions.into_iter().map(|transaction| rules.recover(transaction)).collect()
    };
    let named =
        |(index, result): (usize, Result<_, _>)| result.map_err(|fault| InvalidBlock::Signature { index, fault });
    let transactions = recovered.into_iter().enumerate().map(named).collect::<Result<Vec<_>, _>>()?;
    let hash = hash.unwrap_or_else(|| header.hash_slow());
    Ok(RecoveredBlock { header, hash, transactions, ommers: body.ommers, withdrawals: body.withdrawals })
}

impl BlockTransaction {
    /// A transaction whose sender is known.
    pub fn new(recovered: Recovered<TxEnvelope>) -> Self {
        let env = Arc::new(TxEnv::from_recovered_tx(recovered.inner(), recovered.signer()));
        Self { recovered, env }
    }

    /// Who sent it.
    pub fn sender(&self) -> Address {
        self.recovered.signer()
    }
}

impl RecoveredBlock {
    /// A block whose senders are taken as given, one for each transaction: some recordings leave signatures out. The
    /// block's hash is computed where it is not given.
    ///
    /// # Errors
    /// When there are not as many senders as transactions.
    pub fn with_senders(
        block: Block<TxEnvelope>,
        senders: Vec<Address>,
        hash: Option<B256>,
    ) -> Result<Self, BlockError> {
        let Block { header, body } = block;
        let (transactions, given) = (body.transactions.len(), senders.len());
        if transactions != given {
            return Err(InvalidBlock::SenderCount { transactions, senders: given }.into());
        }
        let known = |(transaction, sender)| BlockTransaction::new(Recovered::new_unchecked(transaction, sender));
        let transactions = body.transactions.into_iter().zip(senders).map(known).collect();
        let hash = hash.unwrap_or_else(|| header.hash_slow());
        Ok(Self { header, hash, transactions, ommers: body.ommers, withdrawals: body.withdrawals })
    }
}

/// What a fork asks of signatures.
#[derive(Debug, Clone, Copy)]
struct SignatureRules {
    /// EIP-2: of the two values of `s` only the lower is valid.
    low_s: bool,
    /// EIP-155: a legacy signature may commit to a chain id.
    chain_id: bool,
}

impl SignatureRules {
    fn at(chain: &ChainSpec, number: u64) -> Self {
        Self {
            low_s: chain.is_homestead_active_at_block(number),
            chain_id: chain.is_spurious_dragon_active_at_block(number),
        }
    }

    fn recover(self, transaction: TxEnvelope) -> Result<BlockTransaction, SignatureFault> {
        if self.low_s && transaction.signature().s() > SECP256K1N_HALF {
            return Err(SignatureFault::HighS);
        }
        let commits_to_chain = transaction.as_legacy().is_some_and(|legacy| legacy.tx().chain_id.is_some());
        if commits_to_chain && !self.chain_id {
            return Err(SignatureFault::ReplayProtected);
        }
        let sender = transaction.recover_signer_unchecked().map_err(|_| SignatureFault::Unrecoverable)?;
        Ok(BlockTransaction::new(Recovered::new_unchecked(transaction, sender)))
    }
}

#[cfg(test)]
mod tests {
    use alloy_consensus::{BlockBody, SignableTransaction, TxEip7702, TxLegacy, crypto::secp256k1::sign_message};
    use alloy_eips::eip7702::Authorization;
    use alloy_primitives::{Signature, U256, uint};
    use revm::context_interface::either::Either;

    use super::*;

    /// Order of the curve: `s` and `order - s` sign the same.
    const ORDER: U256 = uint!(0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141_U256);
    const KEY: B256 = B256::with_last_byte(1);

    fn signer() -> Address {
        let message = B256::repeat_byte(3);
        let signature = sign_message(KEY, message).expect("a signature");
        signature.recover_address_from_prehash(&message).expect("an address")
    }

    fn legacy(nonce: u64, chain_id: Option<u64>) -> TxEnvelope {
        let transaction = TxLegacy { chain_id, nonce, gas_limit: 21_000, ..Default::default() };
        let signature = sign_message(KEY, transaction.signature_hash()).expect("a signature");
        transaction.into_signed(signature).into()
    }

    fn resigned(transaction: &TxEnvelope, change: impl FnOnce(&Signature) -> Signature) -> TxEnvelope {
        let legacy = transaction.as_legacy().expect("legacy");
        legacy.tx().clone().into_signed(change(legacy.signature())).into()
    }

    fn high_s(signature: &Signature) -> Signature {
        Signature::new(signature.r(), ORDER - signature.s(), !signature.v())
    }

    fn block(number: u64, transactions: Vec<TxEnvelope>) -> Block<TxEnvelope> {
        let header = Header { number, ..Default::default() };
        Block { header, body: BlockBody { transactions, ..Default::default() } }
    }

    fn fault(number: u64, transactions: Vec<TxEnvelope>) -> Option<(usize, SignatureFault)> {
        match recover(&ChainSpec::mainnet(), block(number, transactions), None) {
            Ok(_) => None,
            Err(BlockError::Invalid(InvalidBlock::Signature { index, fault })) => Some((index, fault)),
            Err(other) => panic!("another error: {other:?}"),
        }
    }

    #[test]
    fn senders_are_the_same_in_a_pool_and_outside_of_one() {
        let block = block(15_000_000, (0..50).map(|nonce| legacy(nonce, Some(1))).collect());
        let chain = ChainSpec::mainnet();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("a pool");
        let inside = pool.install(|| recover(&chain, block.clone(), None)).expect("recovered");
        let outside = recover(&chain, block.clone(), None).expect("recovered");
        assert_eq!(inside.hash, block.header.hash_slow());
        for (nonce, (inside, outside)) in inside.transactions.iter().zip(&outside.transactions).enumerate() {
            assert_eq!((inside.sender(), outside.sender()), (signer(), signer()));
            assert_eq!((inside.env.nonce, inside.env.caller), (nonce as u64, signer()));
        }
    }

    #[test]
    fn a_bad_signature_names_the_first_transaction_that_has_one() {
        let bad = resigned(&legacy(9, Some(1)), |signature| Signature::new(U256::ZERO, signature.s(), signature.v()));
        let transactions = vec![legacy(0, Some(1)), legacy(1, Some(1)), bad.clone(), legacy(3, Some(1)), bad];
        assert_eq!(fault(15_000_000, transactions), Some((2, SignatureFault::Unrecoverable)));
    }

    #[test]
    fn eip2_high_s_is_refused_from_homestead_on_and_gives_the_same_sender_before() {
        let high = resigned(&legacy(0, None), high_s);
        assert_eq!(fault(1_150_000, vec![high.clone()]), Some((0, SignatureFault::HighS)));
        let early = recover(&ChainSpec::mainnet(), block(1_149_999, vec![high]), None).expect("valid in Frontier");
        assert_eq!(early.transactions[0].sender(), signer());
    }

    #[test]
    fn eip155_chain_id_is_refused_before_spurious_dragon() {
        assert_eq!(fault(2_674_999, vec![legacy(0, Some(1))]), Some((0, SignatureFault::ReplayProtected)));
        assert_eq!(fault(2_675_000, vec![legacy(0, Some(1))]), None);
    }

    #[test]
    fn eip7702_authorities_are_recovered_and_a_bad_one_is_kept_as_invalid() {
        let authorization = Authorization { chain_id: U256::ONE, address: Address::with_last_byte(9), nonce: 4 };
        let signature = sign_message(KEY, authorization.signature_hash()).expect("a signature");
        let good = authorization.clone().into_signed(signature);
        let bad = authorization.into_signed(high_s(&signature));
        let transaction = TxEip7702 { chain_id: 1, authorization_list: vec![good, bad], ..Default::default() };
        let signature = sign_message(KEY, transaction.signature_hash()).expect("a signature");
        let block = block(22_500_000, vec![transaction.into_signed(signature).into()]);
        let recovered = recover(&ChainSpec::mainnet(), block, None).expect("recovered");
        let authority = |index: usize| match &recovered.transactions[0].env.authorization_list[index] {
            Either::Left(_) => panic!("authority {index} is not recovered"),
            Either::Right(recovered) => recovered.authority(),
        };
        assert_eq!(authority(0), Some(signer()));
        assert_eq!(authority(1), None);
    }

    #[test]
    fn given_senders_are_taken_as_they_are_and_counted() {
        let sender = Address::with_last_byte(7);
        let hash = B256::repeat_byte(8);
        let given = RecoveredBlock::with_senders(block(1, vec![legacy(0, None)]), vec![sender], Some(hash));
        let given = given.expect("as many senders as transactions");
        assert_eq!((given.transactions[0].sender(), given.hash), (sender, hash));

        let error = RecoveredBlock::with_senders(block(1, vec![legacy(0, None)]), vec![], None).expect_err("too few");
        assert_eq!(error.as_invalid(), Some(&InvalidBlock::SenderCount { transactions: 1, senders: 0 }));
    }
}
