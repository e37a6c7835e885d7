//! Blocks and access lists in RLP.

use alloy_consensus::{Block, TxEnvelope};
use alloy_eip7928::BlockAccessList;
use alloy_primitives::Bytes;
use alloy_rlp::{Decodable, Encodable};
use ropewalk_block::{ChainSpec, recover};
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
