//! Blocks and access lists in RLP.

use alloy_consensus::{Block, TxEnvelope};
use alloy_eip7928::BlockAccessList;
use alloy_primitives::Bytes;
use alloy_rlp::{Decodable, Encodable};
use ropewalk_block::{
    ChainSpec,
    import::{check_body, decode_block},
    recover,
};
use serde_json::{Value, json};

use crate::{
    damage::{arbitrary, damaged},
    generated_block, rounds,
};

/// Decodes a block and recovers its senders, as an import does; what comes out is no larger than what went in.
fn import(bytes: &[u8]) {
    let Ok(block) = Block::<TxEnvelope>::decode(&mut &*bytes) else { return };
    assert!(block.length() <= bytes.len(), "{} bytes come out of {}", block.length(), bytes.len());
    let transactions = block.body.transactions.len();
    assert!(transactions + block.body.ommers.len() <= bytes.len());
    if let Ok(recovered) = recover(&ChainSpec::mainnet(), block, None) {
        assert_eq!(recovered.transactions.len(), transactions);
    }
}

#[test]
fn no_bytes_make_the_decoder_of_blocks_panic() {
    let block = generated_block();
    let transactions = block.transactions.iter().map(|transaction| transaction.recovered.inner().clone());
    let body = alloy_consensus::BlockBody {
        transactions: transactions.take(40).collect(),
        ommers: vec![block.header.clone()],
        withdrawals: block.withdrawals,
    };
    let valid = alloy_rlp::encode(Block { header: block.header, body });
    import(&valid);
    rounds(3_000, |random| {
        import(&damaged(&valid, random));
        import(&arbitrary(random));
    });
}

/// Decodes a block as it stands in a chain file: what is taken is the one form of the block that comes out.
fn chain_block(bytes: &[u8]) {
    let Ok(decoded) = decode_block(bytes) else { return };
    assert_eq!(alloy_rlp::encode(&decoded.block), bytes, "a block has one form");
    assert_eq!(decoded.hash, decoded.block.header.hash_slow());
    let body = &decoded.block.body;
    assert!(body.transactions.len() + body.ommers.len() <= bytes.len());
    let _ = check_body(&ChainSpec::mainnet(), &decoded);
}

/// The block with a header of every fork that gave headers new fields, and without what came later.
fn of_every_fork(block: &Block<TxEnvelope>) -> Vec<Block<TxEnvelope>> {
    let mut forks = vec![block.clone()];
    let mut earlier = block.clone();
    let mut drop_fields: Vec<fn(&mut Block<TxEnvelope>)> = vec![
        |block| block.header.requests_hash = None,
        |block| {
            block.header.blob_gas_used = None;
            block.header.excess_blob_gas = None;
            block.header.parent_beacon_block_root = None;
            block.body.transactions.retain(|transaction| !transaction.is_eip4844() && !transaction.is_eip7702());
        },
        |block| {
            block.header.withdrawals_root = None;
            block.body.withdrawals = None;
        },
        |block| {
            block.header.base_fee_per_gas = None;
            block.body.transactions.retain(TxEnvelope::is_legacy);
        },
    ];
    for drop_field in drop_fields.drain(..) {
        drop_field(&mut earlier);
        forks.push(earlier.clone());
    }
    forks
}

#[test]
fn no_bytes_make_the_importer_take_a_block_that_is_not_what_they_say() {
    let block = generated_block();
    let transactions = block.transactions.iter().map(|transaction| transaction.recovered.inner().clone());
    let body = alloy_consensus::BlockBody {
        transactions: transactions.take(20).collect(),
        ommers: vec![block.header.clone()],
        withdrawals: block.withdrawals,
    };
    let block = Block { header: block.header, body };
    for block in of_every_fork(&block) {
        let valid = alloy_rlp::encode(&block);
        let decoded = decode_block(&valid).expect("a block of every fork is decoded");
        assert_eq!(decoded.block, block);
        rounds(1_000, |random| {
            chain_block(&damaged(&valid, random));
            chain_block(&arbitrary(random));
        });
    }
}

fn access_list(bytes: &[u8]) {
    let Ok(list) = BlockAccessList::decode(&mut &*bytes) else { return };
    assert!(list.len() <= bytes.len());
    assert!(list.length() <= bytes.len(), "{} bytes come out of {}", list.length(), bytes.len());
}

#[test]
fn no_bytes_make_the_decoder_of_access_lists_panic() {
    let change = |at: u64| json!({ "blockAccessIndex": format!("{at:#x}"), "postBalance": "0x5" });
    let account = |byte: u8| {
        json!({
            "address": format!("0x{}", format!("{byte:02x}").repeat(20)),
            "storageChanges": [{ "slot": "0x1", "changes": [{ "blockAccessIndex": "0x1", "newValue": "0x7" }] }],
            "storageReads": ["0x2", "0x3"],
            "balanceChanges": [change(1), change(2)],
            "nonceChanges": [{ "blockAccessIndex": "0x1", "newNonce": "0x9" }],
            "codeChanges": [{ "blockAccessIndex": "0x2", "newCode": Bytes::from_static(&[1, 2, 3]) }],
        })
    };
    let list: BlockAccessList = serde_json::from_value(Value::Array((1..20).map(account).collect())).expect("a list");
    let valid = alloy_rlp::encode(&list);
    assert_eq!(BlockAccessList::decode(&mut valid.as_slice()), Ok(list));
    rounds(20_000, |random| {
        access_list(&damaged(&valid, random));
        access_list(&arbitrary(random));
    });
}
