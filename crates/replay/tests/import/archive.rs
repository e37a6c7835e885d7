//! era1 archives made of the generated chain, to be bent.

use std::io::Write;

use alloy_consensus::{Block, ReceiptEnvelope, TxEnvelope};
use alloy_primitives::{B256, U256};
use sha2::{Digest, Sha256};
use snap::write::FrameEncoder;

use crate::made::{Made, encoded};

/// What an archive holds of one block.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) block: Block<TxEnvelope>,
    pub(crate) receipts: Vec<ReceiptEnvelope>,
    /// What the archive says, not the sum.
    pub(crate) total_difficulty: U256,
}

/// An archive of the blocks from 1 on.
#[derive(Clone)]
pub(crate) struct Archive {
    pub(crate) entries: Vec<Entry>,
    /// Bytes in the place of the body of the block with this index.
    pub(crate) torn_body: Option<usize>,
    /// Turned over in the accumulator.
    pub(crate) accumulator_mask: u8,
}

impl Archive {
    /// The archive of the chain that the tests share: one of proof of stake, so its total difficulty is that of genesis.
    pub(crate) fn shared() -> Self {
        let blocks = Made::shared().blocks.iter().cloned().zip(Made::shared_receipts());
        let entry = |(block, receipts)| Entry { block, receipts, total_difficulty: U256::ZERO };
        Self { entries: blocks.map(entry).collect(), torn_body: None, accumulator_mask: 0 }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = record(0x3265, &[]);
        let mut begins = Vec::new();
        for (index, Entry { block, receipts, total_difficulty }) in self.entries.iter().enumerate() {
            begins.push(bytes.len() as i64);
            let mut body = framed(&body(block));
            if self.torn_body == Some(index) {
                body.truncate(body.len() / 2);
            }
            bytes.extend(record(3, &framed(&alloy_rlp::encode(&block.header))));
            bytes.extend(record(4, &body));
            bytes.extend(record(5, &framed(&alloy_rlp::encode(receipts))));
            bytes.extend(record(6, &total_difficulty.to_le_bytes::<32>()));
        }
        let mut accumulator = self.accumulator();
        accumulator[0] ^= self.accumulator_mask;
        bytes.extend(record(7, accumulator.as_slice()));
        let base = bytes.len() as i64;
        let mut index = 1u64.to_le_bytes().to_vec();
        begins.iter().for_each(|begin| index.extend((begin - base).to_le_bytes()));
        index.extend((begins.len() as u64).to_le_bytes());
        bytes.extend(record(0x3266, &index));
        bytes
    }

    /// The SSZ root of a list of at most 8192 pairs of hash and total difficulty, leaf by leaf.
    fn accumulator(&self) -> B256 {
        let leaf = |entry: &Entry| {
            let total_difficulty = B256::from(entry.total_difficulty.to_le_bytes::<32>());
            hashed(&entry.block.header.hash_slow(), &total_difficulty)
        };
        let mut level: Vec<B256> = self.entries.iter().map(leaf).collect();
        let length = U256::from(level.len());
        level.resize(8192, B256::ZERO);
        while level.len() > 1 {
            level = level.chunks(2).map(|pair| hashed(&pair[0], &pair[1])).collect();
        }
        hashed(&level[0], &B256::from(length.to_le_bytes::<32>()))
    }
}

/// A block without its header, as a list of its own.
fn body(block: &Block<TxEnvelope>) -> Vec<u8> {
    let rlp = encoded(block);
    let mut parts = alloy_rlp::Header::decode_bytes(&mut rlp.as_slice(), true).expect("a list");
    alloy_rlp::Header::decode_bytes(&mut parts, true).expect("the header");
    let mut body = Vec::new();
    alloy_rlp::Header { list: true, payload_length: parts.len() }.encode(&mut body);
    body.extend_from_slice(parts);
    body
}

fn hashed(left: &B256, right: &B256) -> B256 {
    B256::from_slice(&Sha256::digest([left.0, right.0].concat()))
}

fn framed(content: &[u8]) -> Vec<u8> {
    let mut encoder = FrameEncoder::new(Vec::new());
    encoder.write_all(content).expect("a vector takes everything");
    encoder.into_inner().expect("a vector takes everything")
}

fn record(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &(data.len() as u32).to_le_bytes(), &[0, 0], data].concat()
}
