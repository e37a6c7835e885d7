//! Bytes to a block.
//!
//! A block is one list: header, transactions, ommers and, from Shanghai on, withdrawals. It is read part by part, so that
//! an error names the part. Reading is linear in the input: no length in the bytes is believed before the bytes are
//! there, and nothing nests deeper than a transaction's access list.

use alloy_consensus::{Block, BlockBody, Header, TxEip4844Variant, TxEnvelope};
use alloy_eips::{
    eip2718::{Decodable2718, Eip2718Error},
    eip4895::Withdrawals,
};
use alloy_primitives::{B256, keccak256};
use alloy_rlp::{Decodable, Error, Header as RlpHeader};

use super::MalformedBlock;

/// A block as it was read, with what only its bytes tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodedBlock {
    /// The block.
    pub block: Block<TxEnvelope>,
    /// Hash of the header's bytes: the block's hash.
    pub hash: B256,
    /// Size of the block in RLP, in bytes.
    pub size_bytes: usize,
}

/// Reads a block from its RLP, of which nothing may be left over.
///
/// # Errors
/// Names the first part that cannot be read.
pub fn decode_block(rlp: &[u8]) -> Result<DecodedBlock, MalformedBlock> {
    let mut rest = rlp;
    let mut parts = list(&mut rest).map_err(MalformedBlock::Structure)?;
    nothing_follows(rest)?;

    let before = parts;
    let header = Header::decode(&mut parts).map_err(MalformedBlock::Header)?;
    let hash = keccak256(&before[..before.len() - parts.len()]);
    let transactions = transactions(list(&mut parts).map_err(MalformedBlock::Structure)?)?;
    let ommers = ommers(list(&mut parts).map_err(MalformedBlock::Structure)?)?;
    let withdrawals = match parts.is_empty() {
        true => None,
        false => Some(Withdrawals::decode(&mut parts).map_err(MalformedBlock::Withdrawals)?),
    };
    nothing_follows(parts)?;
    let block = Block { header, body: BlockBody { transactions, ommers, withdrawals } };
    Ok(DecodedBlock { block, hash, size_bytes: rlp.len() })
}

/// The payload of the list at the beginning of `bytes`, which move on behind it.
fn list<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], Error> {
    RlpHeader::decode_bytes(bytes, true)
}

fn nothing_follows(rest: &[u8]) -> Result<(), MalformedBlock> {
    match rest.len() {
        0 => Ok(()),
        extra_bytes => Err(MalformedBlock::TrailingBytes { extra_bytes }),
    }
}

fn transactions(mut items: &[u8]) -> Result<Vec<TxEnvelope>, MalformedBlock> {
    let mut transactions = Vec::new();
    while !items.is_empty() {
        let index = transactions.len();
        transactions.push(transaction(index, &mut items)?);
    }
    Ok(transactions)
}

/// A legacy transaction is a list, any other a string that begins with its type (EIP-2718).
fn transaction(index: usize, items: &mut &[u8]) -> Result<TxEnvelope, MalformedBlock> {
    let malformed = |tx_type, source| MalformedBlock::Transaction { index, tx_type, source };
    let is_legacy = items.first().is_some_and(|first| *first >= alloy_rlp::EMPTY_LIST_CODE);
    let mut bytes = if is_legacy {
        let mut behind = *items;
        RlpHeader::decode_bytes(&mut behind, true).map_err(|source| malformed(None, source))?;
        let bytes = &items[..items.len() - behind.len()];
        *items = behind;
        bytes
    } else {
        RlpHeader::decode_bytes(items, false).map_err(|source| malformed(None, source))?
    };
    let tx_type = bytes.first().copied().filter(|_| !is_legacy);
    let decoded = TxEnvelope::decode_2718(&mut bytes).map_err(|error| malformed(tx_type, rlp_error(error)))?;
    if !bytes.is_empty() {
        return Err(malformed(tx_type, Error::UnexpectedLength));
    }
    match &decoded {
        TxEnvelope::Eip4844(signed) if matches!(signed.tx(), TxEip4844Variant::TxEip4844WithSidecar(_)) => {
            Err(MalformedBlock::TransactionWithBlobs { index })
        }
        TxEnvelope::Legacy(_) if !is_legacy => Err(malformed(tx_type, Error::UnexpectedString)),
        _ => Ok(decoded),
    }
}

fn rlp_error(error: Eip2718Error) -> Error {
    match error {
        Eip2718Error::RlpError(error) => error,
        _ => Error::Custom("unknown transaction type"),
    }
}

fn ommers(mut items: &[u8]) -> Result<Vec<Header>, MalformedBlock> {
    let mut ommers = Vec::new();
    while !items.is_empty() {
        let index = ommers.len();
        let ommer = Header::decode(&mut items).map_err(|source| MalformedBlock::Ommer { index, source })?;
        ommers.push(ommer);
    }
    Ok(ommers)
}

#[cfg(test)]
mod tests {
    use alloy_consensus::{SignableTransaction, TxEip1559, TxLegacy};
    use alloy_primitives::{Signature, U256};
    use alloy_rlp::Encodable;

    use super::*;

    fn signature() -> Signature {
        Signature::new(U256::from(1), U256::from(2), false)
    }

    fn block() -> Block<TxEnvelope> {
        let legacy = TxLegacy { nonce: 1, ..Default::default() }.into_signed(signature());
        let typed = TxEip1559 { nonce: 2, ..Default::default() }.into_signed(signature());
        let body = BlockBody {
            transactions: vec![legacy.into(), typed.into()],
            ommers: vec![Header { number: 7, ..Default::default() }],
            withdrawals: Some(Withdrawals::default()),
        };
        let header =
            Header { base_fee_per_gas: Some(1), withdrawals_root: Some(B256::ZERO), number: 8, ..Default::default() };
        Block { header, body }
    }

    fn encoded() -> Vec<u8> {
        let mut rlp = Vec::new();
        block().encode(&mut rlp);
        rlp
    }

    #[test]
    fn a_block_is_read_back_with_its_hash_and_size() {
        let decoded = decode_block(&encoded()).expect("a block");
        assert_eq!((decoded.hash, decoded.size_bytes), (block().header.hash_slow(), encoded().len()));
        assert_eq!(decoded.block, block());
    }

    #[test]
    fn bytes_after_the_block_are_an_error() {
        let longer = [encoded(), vec![0]].concat();
        assert_eq!(decode_block(&longer), Err(MalformedBlock::TrailingBytes { extra_bytes: 1 }));
    }

    #[test]
    fn every_torn_or_bent_block_is_an_error_or_another_block_and_never_a_panic() {
        let whole = encoded();
        for length in 0..whole.len() {
            assert!(decode_block(&whole[..length]).is_err(), "{length} bytes are no block");
        }
        for at in 0..whole.len() {
            for byte in [0x00, 0x7f, 0x80, 0xb7, 0xbf, 0xc0, 0xf7, 0xff] {
                let mut bent = whole.clone();
                bent[at] = byte;
                let _ = decode_block(&bent);
            }
        }
    }

    #[test]
    fn the_part_that_cannot_be_read_is_named() {
        let parts = |header: &[u8], rest: &[u8]| {
            let mut rlp = Vec::new();
            RlpHeader { list: true, payload_length: header.len() + rest.len() }.encode(&mut rlp);
            [&rlp, header, rest].concat()
        };
        let header = alloy_rlp::encode(Header::default());
        let case = |header: &[u8], rest: &[u8]| decode_block(&parts(header, rest)).expect_err("malformed");
        assert!(matches!(decode_block(&[0x80]), Err(MalformedBlock::Structure(_))));
        assert!(matches!(case(&[0xc0], &[0xc0, 0xc0]), MalformedBlock::Header(_)));
        assert!(matches!(case(&header, &[0xc0]), MalformedBlock::Structure(_)));
        // A transaction of type 5, and one of no type at all.
        let unknown = case(&header, &[0xc3, 0x82, 0x05, 0xc0, 0xc0]);
        assert!(matches!(unknown, MalformedBlock::Transaction { index: 0, tx_type: Some(5), .. }), "{unknown:?}");
        let empty = case(&header, &[0xc1, 0x80, 0xc0]);
        assert!(matches!(empty, MalformedBlock::Transaction { index: 0, tx_type: None, .. }), "{empty:?}");
        assert!(matches!(case(&header, &[0xc0, 0xc1, 0xc0]), MalformedBlock::Ommer { index: 0, .. }));
        assert!(matches!(case(&header, &[0xc0, 0xc0, 0x05]), MalformedBlock::Withdrawals(_)));
        assert!(matches!(case(&header, &[0xc0, 0xc0, 0xc0, 0xc0]), MalformedBlock::TrailingBytes { extra_bytes: 1 }));
    }
}
