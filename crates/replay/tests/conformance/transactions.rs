//! State tests made by hand: a payment, and payments that must be refused.

use alloy_primitives::{Address, B256, U256, b256};
use ropewalk_state::{Account, Completeness, MemoryState};
use serde_json::{Value, json};

use crate::{assert_fails, verdict};

/// Keccak-256 of the RLP of no logs.
const NO_LOGS: B256 = b256!("0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347");
const SENDER: Address = Address::repeat_byte(0x11);
const RECIPIENT: Address = Address::repeat_byte(0x22);
const COINBASE: Address = Address::repeat_byte(0xcb);
const BALANCE_WEI: u64 = 1_000_000;

fn root(accounts: &[(Address, u64, u64)]) -> B256 {
    let mut state = MemoryState::new(Completeness::Assumed);
    for (address, nonce, balance) in accounts {
        let account = Account { nonce: *nonce, balance: U256::from(*balance), ..Account::EMPTY };
        state.insert_account(*address, Some(account));
    }
    state.state_root()
}

/// A payment of 5 wei at 2 wei of gas price, with the root that it leads to.
fn test(hash: B256, expected: Option<&str>) -> Value {
    let post = json!({"hash": hash, "logs": NO_LOGS, "indexes": {"data": 0, "gas": 0, "value": 0}});
    let mut post = post;
    if let Some(expected) = expected {
        post["expectException"] = json!(expected);
    }
    json!({
        "env": {
            "currentCoinbase": COINBASE, "currentGasLimit": "0x989680", "currentNumber": "0x01",
            "currentTimestamp": "0x03e8", "currentDifficulty": "0x020000",
        },
        "pre": {SENDER.to_string(): {"balance": format!("{BALANCE_WEI:#x}"), "nonce": "0x00", "code": "0x", "storage": {}}},
        "transaction": {
            "sender": SENDER, "to": RECIPIENT, "nonce": "0x00", "gasPrice": "0x02", "data": ["0x"],
            "gasLimit": ["0x5208"], "value": ["0x05"],
        },
        "post": {"Istanbul": [post]},
    })
}

#[test]
fn a_state_test_is_about_the_transaction_alone_and_pays_no_reward() {
    let fee = 21_000 * 2;
    let after = root(&[(SENDER, 1, BALANCE_WEI - fee - 5), (RECIPIENT, 0, 5), (COINBASE, 0, fee)]);
    let report = verdict("payment", &test(after, None));
    assert_eq!((report.statuses(), report.exit), (vec!["passed"], 0), "{report:?}");
    assert_eq!(report.lines[0]["fork"], "Istanbul");
    assert_fails("other root", test(B256::ZERO, None), "the state root is");
}

#[test]
fn a_transaction_that_must_be_refused_is_refused_for_its_reason_and_changes_nothing() {
    let before = root(&[(SENDER, 0, BALANCE_WEI)]);
    let mut poor = test(before, Some("TransactionException.INSUFFICIENT_ACCOUNT_FUNDS"));
    poor["transaction"]["value"] = json!(["0x989680"]);
    let report = verdict("poor", &poor);
    assert_eq!((report.statuses(), report.exit), (vec!["passed"], 0), "{report:?}");
    poor["post"]["Istanbul"][0]["expectException"] = json!("TR_NonceTooLow");
    assert_fails("other reason", poor, "expected: TR_NonceTooLow");
    assert_fails("accepted", test(before, Some("TR_NoFunds")), "is invalid and was imported");
}
