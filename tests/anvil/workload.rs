//! What the node is sent: the project's contracts deployed, traded on and paid through, in blocks of many transactions.

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use serde_json::{Value, json};

use crate::node::Anvil;

const ARTIFACTS: [&str; 3] = [
    include_str!("../../fixtures/contracts/artifacts/Token.json"),
    include_str!("../../fixtures/contracts/artifacts/Exchange.json"),
    include_str!("../../fixtures/contracts/artifacts/Account.json"),
];
/// Enough for whatever a transaction of the workload does.
const PLENTY: u64 = 2_000_000;
const SUPPLY: u64 = 1_000_000_000;

/// Where the contracts are.
struct Deployed {
    tokens: [Address; 2],
    exchange: Address,
    account: Address,
}

/// Sends the workload and gives the number of blocks that it makes.
pub(crate) fn run(node: &Anvil) -> u64 {
    let people = node.accounts();
    let deployed = deploy(node, &people);
    let blocks: [fn(&Anvil, &[Address], &Deployed); 5] = [spread, provide, trade, fail, pay_on];
    for block in blocks {
        block(node, &people, &deployed);
        node.mine();
    }
    // One without transactions.
    node.mine();
    2 + blocks.len() as u64
}

/// The contracts, and payments that cross.
fn deploy(node: &Anvil, people: &[Address]) -> Deployed {
    let [token, exchange, account] = ARTIFACTS.map(creation);
    let deployed = Deployed {
        tokens: [people[0].create(0), people[1].create(0)],
        exchange: people[2].create(0),
        account: people[3].create(0),
    };
    let supply = B256::from(U256::from(SUPPLY));
    let tokens = deployed.tokens.map(|token| token.into_word());
    create(node, people[0], &token, &[supply]);
    create(node, people[1], &token, &[supply]);
    create(node, people[2], &exchange, &tokens);
    create(node, people[3], &account, &[]);
    for pair in people[4..].windows(2) {
        pay(node, pair[0], pair[1], 1_000);
    }
    node.mine();
    deployed
}

/// Tokens and allowances for everybody.
fn spread(node: &Anvil, people: &[Address], deployed: &Deployed) {
    for person in &people[2..] {
        for (owner, token) in people.iter().zip(deployed.tokens) {
            call(node, *owner, token, "transfer(address,uint256)", &[person.into_word(), word(1_000_000)]);
            call(
                node,
                *person,
                token,
                "approve(address,uint256)",
                &[deployed.exchange.into_word(), B256::from(U256::MAX)],
            );
        }
    }
}

fn provide(node: &Anvil, people: &[Address], deployed: &Deployed) {
    for person in &people[4..10] {
        call(node, *person, deployed.exchange, "addLiquidity(uint256,uint256)", &[word(100_000), word(100_000)]);
    }
}

/// Swaps in both directions, all of them through one slot, with payments and transfers between.
fn trade(node: &Anvil, people: &[Address], deployed: &Deployed) {
    for (at, person) in people[2..].iter().enumerate() {
        let zero_for_one = word((at % 2) as u64);
        call(node, *person, deployed.exchange, "swap(bool,uint256,uint256)", &[zero_for_one, word(500), word(0)]);
        pay(node, *person, people[(at + 7) % people.len()], 7);
        call(node, *person, deployed.tokens[0], "transfer(address,uint256)", &[people[at].into_word(), word(3)]);
    }
}

/// Swaps that ask too much, transfers that are not covered, calls that run out of gas.
fn fail(node: &Anvil, people: &[Address], deployed: &Deployed) {
    for person in &people[10..16] {
        call(node, *person, deployed.exchange, "swap(bool,uint256,uint256)", &[word(1), word(500), word(500)]);
        call(node, *person, deployed.tokens[1], "transfer(address,uint256)", &[people[0].into_word(), word(SUPPLY)]);
        let data = data("transfer(address,uint256)", &[people[1].into_word(), word(1)]);
        node.send(json!({ "from": person, "to": deployed.tokens[0], "data": data }), 30_000);
        call(node, *person, deployed.exchange, "swap(bool,uint256,uint256)", &[word(1), word(100), word(1)]);
    }
}

/// Everybody pays one contract and one account, and some leave the pool.
fn pay_on(node: &Anvil, people: &[Address], deployed: &Deployed) {
    for person in people {
        pay(node, *person, deployed.account, 11);
        pay(node, *person, Address::repeat_byte(0x99), 13);
    }
    for person in &people[4..8] {
        call(node, *person, deployed.exchange, "removeLiquidity(uint256)", &[word(1_000)]);
    }
}

fn creation(artifact: &str) -> Bytes {
    let artifact: Value = serde_json::from_str(artifact).expect("an artifact");
    serde_json::from_value(artifact["bytecode"].clone()).expect("code")
}

fn create(node: &Anvil, from: Address, code: &Bytes, arguments: &[B256]) {
    let data = arguments.iter().fold(code.to_vec(), |data, word| [data.as_slice(), word.as_slice()].concat());
    node.send(json!({ "from": from, "data": Bytes::from(data) }), 2 * PLENTY);
}

fn call(node: &Anvil, from: Address, to: Address, signature: &str, arguments: &[B256]) {
    node.send(json!({ "from": from, "to": to, "data": data(signature, arguments) }), PLENTY / 4);
}

fn pay(node: &Anvil, from: Address, to: Address, value: u64) {
    node.send(json!({ "from": from, "to": to, "value": U256::from(value) }), 60_000);
}

fn data(signature: &str, arguments: &[B256]) -> Bytes {
    let selector = keccak256(signature)[..4].to_vec();
    arguments.iter().fold(selector, |data, word| [data.as_slice(), word.as_slice()].concat()).into()
}

fn word(number: u64) -> B256 {
    B256::from(U256::from(number))
}
