//! Small blocks through the oracle: outcomes, and alloy-evm's errors in this crate's terms.

use alloy_consensus::{Block, BlockBody, Header, SignableTransaction, TxEnvelope, TxLegacy, constants::ETH_TO_WEI};
use alloy_eips::{eip4788::BEACON_ROOTS_ADDRESS, eip4895::Withdrawals, eip7002::WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS};
use alloy_primitives::{Address, B256, Signature, TxKind, U256};
use revm::context_interface::result::{InvalidHeader, InvalidTransaction};
use ropewalk_state::StateError;

use super::*;
use crate::{InvalidBlock, SystemCallFailure, TransactionFault, plain_state::PlainState};

const SENDER: Address = Address::with_last_byte(0x51);
const OTHER: Address = Address::with_last_byte(0x52);
const MINER: Address = Address::with_last_byte(0x53);
const GAS_PRICE: u128 = 10;

fn payment(nonce: u64, to: Address) -> TxEnvelope {
    let to = TxKind::Call(to);
    let transaction =
        TxLegacy { nonce, gas_price: GAS_PRICE, gas_limit: 100_000, to, value: U256::from(1000), ..Default::default() };
    transaction.into_signed(Signature::test_signature()).into()
}

fn prague() -> Header {
    Header {
        number: 22_500_000,
        timestamp: 1_746_700_000,
        gas_limit: 1_000_000,
        beneficiary: MINER,
        base_fee_per_gas: Some(GAS_PRICE as u64),
        excess_blob_gas: Some(0),
        parent_beacon_block_root: Some(B256::ZERO),
        ..Default::default()
    }
}

fn block_of(header: Header, transactions: Vec<TxEnvelope>) -> RecoveredBlock {
    let senders = vec![SENDER; transactions.len()];
    let block = Block { header, body: BlockBody { transactions, ..Default::default() } };
    RecoveredBlock::with_senders(block, senders, None).expect("a sender for each")
}

fn state() -> PlainState {
    PlainState::default().with_balance(SENDER, ETH_TO_WEI)
}

fn run(block: &RecoveredBlock, state: &PlainState) -> Result<BlockOutcome, BlockError> {
    execute(&ChainSpec::mainnet(), block, state)
}

fn rule(block: &RecoveredBlock, state: &PlainState) -> InvalidBlock {
    run(block, state).expect_err("an invalid block").as_invalid().expect("an invalid block").clone()
}

#[test]
fn a_block_of_payments_has_receipts_and_changes() {
    let block = block_of(prague(), vec![payment(0, OTHER), payment(1, OTHER)]);
    let outcome = run(&block, &state()).expect("valid");
    let cumulative = outcome.receipts.iter().map(|receipt| receipt.cumulative_gas_used()).collect::<Vec<_>>();
    assert_eq!(cumulative, [21_000, 42_000]);
    assert_eq!((outcome.gas_used, outcome.blob_gas_used, outcome.skipped.len()), (42_000, 0, 0));
    let balance =
        |address| outcome.changes.account(&address).and_then(|change| change.after).map(|after| after.balance);
    assert_eq!(balance(OTHER), Some(U256::from(2000)));
    assert_eq!(balance(SENDER), Some(U256::from(ETH_TO_WEI - 2000 - 42_000 * GAS_PRICE)));
    assert_eq!(balance(MINER), None, "the base fee is burnt");
}

#[test]
fn a_prepared_oracle_gives_the_same_outcome_every_time() {
    let contract = Address::with_last_byte(0xc0);
    // PUSH1 7, PUSH1 1, SSTORE
    let state = state().with_code(contract, vec![0x60, 7, 0x60, 1, 0x55]).with_slot(contract, 1, 6);
    let block = block_of(prague(), vec![payment(0, contract)]);
    let chain = ChainSpec::mainnet();
    let oracle = Oracle::prepare(&chain, &block, &state, InvalidTransactions::Reject).expect("valid");
    assert_eq!(oracle.codes.borrow().len(), 1);
    let again = || oracle.start().execute().expect("valid").outcome().expect("code is known");
    let outcome = run(&block, &state).expect("valid");
    assert_eq!((again(), again()), (outcome.clone(), outcome.clone()));
    let slot = outcome.changes.account(&contract).expect("written").slots[0];
    assert_eq!((slot.before, slot.after), (U256::from(6), U256::from(7)));
}

#[test]
fn an_invalid_transaction_names_its_index_and_its_fault() {
    let block = block_of(prague(), vec![payment(0, OTHER), payment(7, OTHER)]);
    let fault = TransactionFault::Invalid(InvalidTransaction::NonceTooHigh { tx: 7, state: 1 });
    assert_eq!(rule(&block, &state()), InvalidBlock::Transaction { index: 1, fault });
}

#[test]
fn declared_gas_above_what_is_left_in_the_block_is_a_fault_of_the_transaction() {
    let header = Header { gas_limit: 120_000, ..prague() };
    let block = block_of(header, vec![payment(0, OTHER), payment(1, OTHER)]);
    let fault = TransactionFault::BlockGas { limit_gas: 100_000, available_gas: 99_000 };
    assert_eq!(rule(&block, &state()), InvalidBlock::Transaction { index: 1, fault });
}

#[test]
fn a_builder_skips_invalid_transactions_and_reports_them() {
    let transactions = vec![payment(5, OTHER), payment(0, OTHER), payment(0, OTHER), payment(1, OTHER)];
    let (chain, block, state) = (ChainSpec::mainnet(), block_of(prague(), transactions), state());
    let oracle = Oracle::new(&chain, &block, &state, InvalidTransactions::Skip).expect("no ommers");
    let outcome = oracle.start().execute().expect("valid").outcome().expect("code is known");
    let skipped = outcome.skipped.iter().map(|skipped| skipped.index).collect::<Vec<_>>();
    assert_eq!((skipped, outcome.receipts.len(), outcome.gas_used), (vec![0, 2], 2, 42_000));
}

#[test]
fn a_state_that_fails_is_told_with_its_error_and_position() {
    let withdrawal = Withdrawal { address: MINER, amount: 1, ..Default::default() };
    let mut block = block_of(prague(), vec![payment(0, SENDER), payment(1, OTHER)]);
    block.withdrawals = Some(Withdrawals::new(vec![withdrawal]));
    let cases = [
        (BEACON_ROOTS_ADDRESS, Position::PreBlock),
        (OTHER, Position::Transaction(1)),
        (MINER, Position::Transaction(0)),
        (WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, Position::PostBlock),
    ];
    for (unknown, expected) in cases {
        match run(&block, &state().without_knowledge_of(unknown)) {
            Err(BlockError::State { position, source: StateError::MissingAccount(missing) }) => {
                assert_eq!((missing, position), (unknown, expected));
            }
            other => panic!("{unknown}: {other:?}"),
        }
    }
}

#[test]
fn a_withdrawal_to_an_unknown_account_is_a_failure_of_the_state() {
    let withdrawal = Withdrawal { address: OTHER, amount: 1, ..Default::default() };
    let mut block = block_of(prague(), vec![]);
    block.withdrawals = Some(Withdrawals::new(vec![withdrawal]));
    let error = run(&block, &state().without_knowledge_of(OTHER)).expect_err("unknown account");
    let expected = BlockError::State { position: Position::PostBlock, source: StateError::MissingAccount(OTHER) };
    assert!(error.agrees_with(&expected), "{error:?}");
}

#[test]
fn a_failing_request_contract_is_a_broken_rule() {
    let contract = WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS;
    let state = state().with_code(contract, vec![0xfe]);
    let found = rule(&block_of(prague(), vec![]), &state);
    assert_eq!(found, InvalidBlock::SystemCall { contract, failure: SystemCallFailure::Unspecified });
}

#[test]
fn a_missing_request_contract_collected_nothing() {
    assert!(run(&block_of(prague(), vec![]), &state()).expect("valid").requests.is_empty());
}

#[test]
fn headers_without_what_their_fork_needs_are_incomplete() {
    let without_root = Header { parent_beacon_block_root: None, ..prague() };
    assert_eq!(rule(&block_of(without_root, vec![]), &state()), InvalidBlock::MissingParentBeaconRoot);
    let without_blobs = Header { excess_blob_gas: None, ..prague() };
    let found = rule(&block_of(without_blobs, vec![payment(0, OTHER)]), &state());
    assert_eq!(found, InvalidBlock::Header(InvalidHeader::ExcessBlobGasNotSet));
}

#[test]
fn an_ommer_of_an_age_without_reward_is_refused_like_everywhere() {
    let mut block = block_of(Header { number: 100, difficulty: U256::from(1), ..Default::default() }, vec![]);
    block.ommers = vec![Header { number: 80, ..Default::default() }];
    assert_eq!(rule(&block, &state()), InvalidBlock::OmmerDepth { index: 0, ommer: 80, block: 100 });
}

#[test]
fn a_reward_before_the_merge_is_in_the_changes() {
    let header = Header { number: 1, beneficiary: MINER, difficulty: U256::from(1), ..Default::default() };
    let outcome = run(&block_of(header, vec![]), &state()).expect("valid");
    let reward = outcome.changes.account(&MINER).and_then(|change| change.after).map(|after| after.balance);
    assert_eq!(reward, Some(U256::from(5 * ETH_TO_WEI)));
}
