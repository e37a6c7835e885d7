//! What generated blocks promise.

use std::collections::{BTreeSet, HashMap};

use alloy_consensus::{Transaction, TxReceipt, TxType, transaction::SignerRecoverable};
use alloy_primitives::{Address, TxKind};
use ropewalk_block::{BlockOutcome, Claims, Computed, Status, oracle, validate};

use super::*;

const WORKLOADS: [Workload; 4] = [Workload::Payments, Workload::Erc20, Workload::Exchange, Workload::Mixed];

fn options(workload: Workload) -> GenerateOptions {
    GenerateOptions { seed: 11, blocks: 2, txs: 60, ..GenerateOptions::new(workload) }
}

/// Everything that can be asked for, in each kind of workload.
fn shapes() -> impl Iterator<Item = GenerateOptions> {
    WORKLOADS.into_iter().flat_map(|workload| {
        let plain = options(workload);
        [
            plain,
            GenerateOptions { hot: 0.5, depth: 3, ..plain },
            GenerateOptions { hot: 0.2, depth: 4, link: Link::Nonce, ..plain },
            GenerateOptions { hot: 1.0, ..plain },
            GenerateOptions { depth: 60, ..plain },
        ]
    })
}

fn generate(options: &GenerateOptions) -> Vec<GeneratedBlock> {
    blocks(options).unwrap_or_else(|error| panic!("{options:?}: {error:?}"))
}

fn execute(options: &GenerateOptions, block: &GeneratedBlock) -> BlockOutcome {
    let generator = Generator::new(*options).expect("valid options");
    oracle::execute(generator.chain_spec(), &block.block, &block.prestate())
        .unwrap_or_else(|error| panic!("{options:?}: {error:?}"))
}

/// Accounts whose balances a transaction moves, contracts themselves left out.
fn parties(options: &GenerateOptions, transaction: &ropewalk_block::BlockTransaction) -> Vec<Address> {
    let (sender, input) = (transaction.sender(), transaction.recovered.input());
    let target = transaction.recovered.to().expect("a call");
    match options.workload {
        Workload::Erc20 => vec![sender, Address::from_slice(&input[16..36])],
        Workload::Payments | Workload::Exchange | Workload::Mixed => vec![sender, target],
    }
}

/// Length of the longest chain of transactions that share a party.
fn depth(options: &GenerateOptions, block: &GeneratedBlock) -> usize {
    let mut depths: HashMap<Address, usize> = HashMap::new();
    for transaction in &block.block.transactions {
        let parties = parties(options, transaction);
        let below = parties.iter().filter_map(|party| depths.get(party)).max().copied().unwrap_or_default();
        depths.extend(parties.into_iter().map(|party| (party, below + 1)));
    }
    depths.into_values().max().unwrap_or_default()
}

/// Most transactions that have one party in common.
fn crowd(options: &GenerateOptions, block: &GeneratedBlock) -> usize {
    let mut counts: HashMap<Address, usize> = HashMap::new();
    for transaction in &block.block.transactions {
        parties(options, transaction).into_iter().for_each(|party| *counts.entry(party).or_default() += 1);
    }
    counts.into_values().max().unwrap_or_default()
}

#[test]
fn every_header_field_is_what_the_oracle_finds() {
    for options in shapes() {
        let mut generator = Generator::new(options).expect("valid options");
        let mut parent_hash = generator.head_hash();
        for number in 1..=options.blocks {
            let mut state = generator.state().clone();
            let block = generator.next().expect("a block is left").expect("it can be made");
            let outcome = execute(&options, &block);
            state.apply(&outcome.changes);
            let header = &block.block.header;
            let root = Some(state.state_root());
            let computed = Computed { state_root: root, ..Computed::default() };
            let checks = validate(generator.chain_spec(), header, &Claims::of(header), &outcome, &computed);
            // Headers hold the hash of an access list from Amsterdam on.
            let claimed = checks.statuses().into_iter().filter(|(name, _)| *name != "access_list_hash");
            let mut claimed = claimed.map(|(_, status)| status);
            assert!(claimed.all(|status| status == Status::Ok), "{options:?} {checks:?}");
            assert_eq!((header.number, header.parent_hash), (number, parent_hash));
            assert_eq!(block.block.hash, header.hash_slow());
            assert_eq!(block.block.transactions.len(), options.txs);
            parent_hash = block.block.hash;
        }
        assert!(generator.next().is_none());
        assert_eq!(generator.head_hash(), parent_hash);
    }
}

#[test]
fn signatures_recover_to_the_senders_and_no_one_can_replay_them_elsewhere() {
    for workload in WORKLOADS {
        for transaction in generate(&options(workload)).iter().flat_map(|block| &block.block.transactions) {
            let envelope = transaction.recovered.inner();
            assert_eq!(envelope.recover_signer().ok(), Some(transaction.sender()));
            assert_eq!(envelope.chain_id(), Some(genesis::CHAIN_ID));
        }
    }
}

#[test]
fn a_longer_chain_begins_like_a_shorter_one() {
    for workload in WORKLOADS {
        let short = options(workload);
        let long = GenerateOptions { blocks: 3, ..short };
        let hashes = |options| generate(options).into_iter().map(|block| block.block.hash).collect::<Vec<_>>();
        assert_eq!(hashes(&short), hashes(&long)[..2]);
        assert_ne!(hashes(&short), hashes(&GenerateOptions { seed: 12, ..short }));
    }
}

#[test]
fn without_hot_keys_and_depth_transactions_have_no_party_in_common() {
    for workload in [Workload::Payments, Workload::Erc20, Workload::Exchange] {
        let options = options(workload);
        for block in generate(&options) {
            assert_eq!(depth(&options, &block), 1, "{workload:?}");
        }
    }
}

#[test]
fn the_longest_chain_is_as_long_as_the_depth() {
    for (workload, link) in [
        (Workload::Payments, Link::Value),
        (Workload::Payments, Link::Nonce),
        (Workload::Erc20, Link::Value),
        (Workload::Erc20, Link::Nonce),
        (Workload::Exchange, Link::Value),
        (Workload::Exchange, Link::Nonce),
    ] {
        for wanted in [2, 7, 60] {
            let options = GenerateOptions { depth: wanted, link, ..options(workload) };
            for block in generate(&options) {
                assert_eq!(depth(&options, &block), wanted, "{workload:?} {link:?}");
            }
        }
    }
}

#[test]
fn the_hot_share_meets_at_one_key() {
    for workload in [Workload::Payments, Workload::Erc20, Workload::Exchange] {
        for (hot, count) in [(0.25, 15), (0.5, 30), (1.0, 60)] {
            let options = GenerateOptions { hot, ..options(workload) };
            for block in generate(&options) {
                assert_eq!(crowd(&options, &block), count, "{workload:?} {hot}");
            }
        }
    }
}

#[test]
fn everything_succeeds_except_what_is_meant_to_fail() {
    for options in shapes() {
        for block in generate(&options) {
            let outcome = execute(&options, &block);
            let failed = outcome.receipts.iter().filter(|receipt| !receipt.status()).count();
            let expected = if options.workload == Workload::Mixed { options.txs * 4 / 100 } else { 0 };
            assert_eq!(failed, expected, "{options:?}");
        }
    }
}

#[test]
fn a_carrier_cannot_pay_before_it_was_paid() {
    let options = GenerateOptions { depth: 60, ..options(Workload::Payments) };
    let blocks = generate(&options);
    let mut alone = blocks[0].block.clone();
    alone.transactions.drain(..59);
    let generator = Generator::new(options).expect("valid options");
    assert!(oracle::execute(generator.chain_spec(), &alone, generator.state()).is_err());
}

#[test]
fn the_mix_has_every_type_of_transaction_creations_and_requests() {
    let options = GenerateOptions { txs: 300, ..options(Workload::Mixed) };
    for block in generate(&options) {
        let transactions = &block.block.transactions;
        let types: BTreeSet<u8> =
            transactions.iter().map(|transaction| transaction.recovered.tx_type().into()).collect();
        let all = [TxType::Legacy, TxType::Eip2930, TxType::Eip1559, TxType::Eip4844, TxType::Eip7702];
        assert_eq!(types, all.map(u8::from).into());
        let creations = transactions.iter().filter(|transaction| transaction.recovered.kind() == TxKind::Create);
        assert_eq!(creations.count(), 3);
        let outcome = execute(&options, &block);
        assert!(!outcome.requests.is_empty());
        assert!(outcome.blob_gas_used > 0);
        assert!(outcome.changes.codes.len() >= 2, "a delegation that is new or has changed, and a token");
    }
}

#[test]
fn options_that_contradict_themselves_are_refused() {
    let valid = options(Workload::Payments);
    let refused = |options| Generator::new(options).expect_err("invalid options").to_string();
    assert_eq!(refused(GenerateOptions { hot: 1.5, ..valid }), "hot share 1.5 is not between 0 and 1");
    assert_eq!(refused(GenerateOptions { hot: f64::NAN, ..valid }), "hot share NaN is not between 0 and 1");
    assert_eq!(refused(GenerateOptions { depth: 0, ..valid }), "depth 0: a chain has at least one transaction");
    assert!(refused(GenerateOptions { txs: 100_000, ..valid }).contains("100000 transactions"));
}

#[test]
fn blocks_without_transactions_can_be_made() {
    for workload in WORKLOADS {
        let options = GenerateOptions { txs: 0, ..options(workload) };
        for block in generate(&options) {
            assert_eq!(block.block.header.gas_used, 0);
        }
    }
}
