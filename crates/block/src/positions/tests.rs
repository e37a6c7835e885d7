//! The rules around the transactions against a state that records what is done to it.

use std::collections::HashMap;

use alloy_consensus::{Block, Header, Receipt, TxType};
use alloy_eips::{
    eip2935::HISTORY_STORAGE_ADDRESS,
    eip4788::BEACON_ROOTS_ADDRESS,
    eip4895::{Withdrawal, Withdrawals},
    eip7002::WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS,
    eip7251::CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS,
};
use alloy_evm::{
    block::{BUILDER_DEPOSIT_REQUEST_PREDEPLOY_ADDRESS, BUILDER_EXIT_REQUEST_PREDEPLOY_ADDRESS},
    eth::dao_fork::{DAO_HARDFORK_ACCOUNTS, DAO_HARDFORK_BENEFICIARY},
};
use alloy_primitives::{B256, Bytes, Log, U256, b256};
use revm::context_interface::result::{ExecutionResult, HaltReason, Output, ResultGas, SuccessReason};

use super::*;
use crate::{InvalidBlock, SystemCallFailure};

const ETHER: u128 = 1_000_000_000_000_000_000;
const GWEI: u128 = 1_000_000_000;
const CANCUN: u64 = 1_710_338_135;
const PRAGUE: u64 = 1_746_612_311;

/// One thing that a rule did.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Deed {
    Call(Address, Bytes),
    Credit(Address, u128),
    Drain(Address),
}

/// What a contract answers.
#[derive(Debug, Clone)]
enum Answer {
    Output(&'static [u8]),
    Revert,
    Halt,
}

/// A state that records what is done to it, and in which every contract answers as told, or with nothing.
#[derive(Debug, Default)]
struct Recorder {
    deeds: Vec<Deed>,
    answers: HashMap<Address, Answer>,
    balances: HashMap<Address, u128>,
    without_code: Vec<Address>,
}

impl CommittedState for Recorder {
    fn system_call(&mut self, contract: Address, input: Bytes) -> Result<ExecutionResult<HaltReason>, BlockError> {
        self.deeds.push(Deed::Call(contract, input));
        let (gas, logs) = (ResultGas::default(), Vec::new());
        Ok(match self.answers.get(&contract).unwrap_or(&Answer::Output(&[])) {
            Answer::Output(output) => {
                let output = Output::Call(Bytes::from_static(output));
                ExecutionResult::Success { reason: SuccessReason::Return, gas, logs, output }
            }
            Answer::Revert => ExecutionResult::Revert { gas, logs, output: Bytes::from_static(b"no") },
            Answer::Halt => ExecutionResult::Halt { reason: HaltReason::InvalidJump, gas, logs },
        })
    }

    fn code_is_empty(&mut self, address: Address) -> Result<bool, BlockError> {
        Ok(self.without_code.contains(&address))
    }

    fn credit(&mut self, amounts_wei: impl IntoIterator<Item = (Address, u128)>) -> Result<(), BlockError> {
        self.deeds.extend(amounts_wei.into_iter().map(|(address, wei)| Deed::Credit(address, wei)));
        Ok(())
    }

    fn drain(&mut self, address: Address) -> Result<u128, BlockError> {
        self.deeds.push(Deed::Drain(address));
        Ok(self.balances.get(&address).copied().unwrap_or_default())
    }
}

fn block(header: Header) -> RecoveredBlock {
    let block = Block { header, body: Default::default() };
    RecoveredBlock::with_senders(block, Vec::new(), None).expect("no transactions and no senders")
}

fn merged(timestamp: u64) -> Header {
    let root = (timestamp >= CANCUN).then_some(B256::repeat_byte(0xbb));
    Header {
        number: 20_000_000,
        timestamp,
        parent_hash: B256::repeat_byte(0xaa),
        parent_beacon_block_root: root,
        ..Default::default()
    }
}

fn before(block: &RecoveredBlock, state: &mut Recorder) -> Result<Vec<Deed>, BlockError> {
    pre_block(&ChainSpec::mainnet(), block, state)?;
    Ok(std::mem::take(&mut state.deeds))
}

fn after(block: &RecoveredBlock, state: &mut Recorder) -> Result<(Requests, Vec<Deed>), BlockError> {
    let requests = post_block(&ChainSpec::mainnet(), block, &[], RequestContracts::Assumed, state)?;
    Ok((requests, std::mem::take(&mut state.deeds)))
}

fn rule(result: Result<impl std::fmt::Debug, BlockError>) -> InvalidBlock {
    result.expect_err("an invalid block").as_invalid().expect("an invalid block").clone()
}

#[test]
fn eip2935_and_eip4788_call_their_contracts_in_this_order_once_active() {
    let history = Deed::Call(HISTORY_STORAGE_ADDRESS, B256::repeat_byte(0xaa).into());
    let roots = Deed::Call(BEACON_ROOTS_ADDRESS, B256::repeat_byte(0xbb).into());
    let deeds = |timestamp| before(&block(merged(timestamp)), &mut Recorder::default()).expect("valid");
    assert_eq!(deeds(CANCUN - 1), []);
    assert_eq!(deeds(CANCUN), std::slice::from_ref(&roots));
    assert_eq!(deeds(PRAGUE), [history, roots]);
}

#[test]
fn failing_calls_of_eip2935_and_eip4788_have_no_consequence() {
    let answers = [(HISTORY_STORAGE_ADDRESS, Answer::Revert), (BEACON_ROOTS_ADDRESS, Answer::Halt)];
    let mut state = Recorder { answers: answers.into(), ..Default::default() };
    assert_eq!(before(&block(merged(PRAGUE)), &mut state).expect("valid").len(), 2);
}

#[test]
fn eip4788_needs_the_root_from_cancun_on_and_not_before() {
    let without = |timestamp| Header { parent_beacon_block_root: None, ..merged(timestamp) };
    assert_eq!(before(&block(without(CANCUN - 1)), &mut Recorder::default()).expect("valid"), []);
    let missing = rule(before(&block(without(CANCUN)), &mut Recorder::default()));
    assert_eq!(missing, InvalidBlock::MissingParentBeaconRoot);
}

#[test]
fn a_genesis_block_makes_no_calls_and_its_beacon_root_is_zero() {
    let genesis = |root| block(Header { number: 0, parent_beacon_block_root: Some(root), ..merged(PRAGUE) });
    assert_eq!(before(&genesis(B256::ZERO), &mut Recorder::default()).expect("valid"), []);
    let found = B256::repeat_byte(1);
    let other = rule(before(&genesis(found), &mut Recorder::default()));
    assert_eq!(other, InvalidBlock::GenesisParentBeaconRoot { found });
}

#[test]
fn eip779_drains_the_dao_before_the_transactions_of_its_block_only() {
    let balances = [(DAO_HARDFORK_ACCOUNTS[0], 7), (DAO_HARDFORK_ACCOUNTS[2], 5)];
    let deeds = |number| {
        let mut state = Recorder { balances: balances.into(), ..Default::default() };
        before(&block(Header { number, ..Default::default() }), &mut state).expect("valid")
    };
    assert_eq!(deeds(1_919_999), []);
    assert_eq!(deeds(1_920_001), []);
    let moved = deeds(1_920_000);
    let credited = |wei| Deed::Credit(DAO_HARDFORK_BENEFICIARY, wei);
    let [first, second, third] = [0, 1, 2].map(|index| Deed::Drain(DAO_HARDFORK_ACCOUNTS[index]));
    assert_eq!(moved[..5], [first, credited(7), second, third, credited(5)]);
    assert_eq!(moved.len(), DAO_HARDFORK_ACCOUNTS.len() + 2);
}

#[test]
fn rewards_follow_the_forks_and_pay_for_ommers() {
    let [miner, ommer] = [1, 2].map(Address::with_last_byte);
    let deeds = |number: u64, ommers: &[u64]| {
        let header = Header { number, beneficiary: miner, difficulty: U256::from(1), ..Default::default() };
        let ommers =
            ommers.iter().map(|depth| Header { number: number - depth, beneficiary: ommer, ..Default::default() });
        let block = RecoveredBlock { ommers: ommers.collect(), ..block(header) };
        after(&block, &mut Recorder::default()).expect("valid").1
    };
    assert_eq!(deeds(1, &[]), [Deed::Credit(miner, 5 * ETHER)]);
    assert_eq!(deeds(4_370_000, &[]), [Deed::Credit(miner, 3 * ETHER)]);
    assert_eq!(deeds(7_280_000, &[]), [Deed::Credit(miner, 2 * ETHER)]);
    assert_eq!(deeds(15_537_394, &[]), []);
    let with_ommers = deeds(100, &[1, 6]);
    let expected = [Deed::Credit(miner, 5 * ETHER + 2 * 5 * ETHER / 32), Deed::Credit(ommer, 5 * ETHER * (7 + 2) / 8)];
    assert_eq!(with_ommers, expected);
}

#[test]
fn an_ommer_of_an_age_without_reward_makes_the_block_invalid() {
    for number in [92, 93, 100, 101, u64::MAX] {
        let header = Header { number: 100, difficulty: U256::from(1), ..Default::default() };
        let ommers = vec![Header { number, ..Default::default() }];
        let error = rule(after(&RecoveredBlock { ommers, ..block(header) }, &mut Recorder::default()));
        assert_eq!(error, InvalidBlock::OmmerDepth { index: 0, ommer: number, block: 100 });
    }
}

#[test]
fn withdrawals_are_summed_by_account_and_an_empty_one_still_touches() {
    let [first, second] = [1, 2].map(Address::with_last_byte);
    let withdrawal = |address, amount| Withdrawal { address, amount, ..Default::default() };
    let withdrawals = vec![withdrawal(second, 0), withdrawal(first, 3), withdrawal(first, 4)];
    let at = |timestamp| RecoveredBlock {
        withdrawals: Some(Withdrawals::new(withdrawals.clone())),
        ..block(merged(timestamp))
    };
    let (_, deeds) = after(&at(1_681_338_455), &mut Recorder::default()).expect("valid");
    assert_eq!(deeds, [Deed::Credit(first, 7 * GWEI), Deed::Credit(second, 0)]);
    let (_, deeds) = after(&at(1_681_338_454), &mut Recorder::default()).expect("valid");
    assert_eq!(deeds, []);
}

#[test]
fn requests_are_typed_ordered_and_left_out_when_empty() {
    let answers = [(CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS, Answer::Output(b"c"))];
    let mut state = Recorder { answers: answers.into(), ..Default::default() };
    let (requests, deeds) = after(&block(merged(PRAGUE)), &mut state).expect("valid");
    assert_eq!(requests.take(), [Bytes::from_static(b"\x02c")]);
    let called = [WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS];
    assert_eq!(deeds, called.map(|contract| Deed::Call(contract, Bytes::new())));

    let (requests, deeds) = after(&block(merged(PRAGUE - 1)), &mut state).expect("valid");
    assert!(requests.is_empty() && deeds.is_empty());
}

#[test]
fn builder_requests_are_collected_from_amsterdam_on() {
    let answers = [
        (BUILDER_DEPOSIT_REQUEST_PREDEPLOY_ADDRESS, Answer::Output(b"d")),
        (BUILDER_EXIT_REQUEST_PREDEPLOY_ADDRESS, Answer::Output(b"e")),
    ];
    let mut state = Recorder { answers: answers.into(), ..Default::default() };
    let amsterdam = block(merged(1_791_294_816));
    let requests = post_block(&ChainSpec::sepolia(), &amsterdam, &[], RequestContracts::Assumed, &mut state);
    assert_eq!(requests.expect("valid").take(), [Bytes::from_static(b"\x03d"), Bytes::from_static(b"\x04e")]);
    assert_eq!(state.deeds.len(), 4);
}

#[test]
fn a_request_contract_that_fails_makes_the_block_invalid() {
    let contract = WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS;
    let failure = |answer| {
        let mut state = Recorder { answers: [(contract, answer)].into(), ..Default::default() };
        rule(after(&block(merged(PRAGUE)), &mut state))
    };
    let reverted = SystemCallFailure::Reverted { output: Bytes::from_static(b"no") };
    assert_eq!(failure(Answer::Revert), InvalidBlock::SystemCall { contract, failure: reverted });
    let halted = SystemCallFailure::Halted { reason: HaltReason::InvalidJump };
    assert_eq!(failure(Answer::Halt), InvalidBlock::SystemCall { contract, failure: halted });
}

#[test]
fn a_request_contract_without_code_is_invalid_only_where_it_is_required() {
    let contract = CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS;
    let run = |contracts| {
        let mut state = Recorder { without_code: vec![contract], ..Default::default() };
        post_block(&ChainSpec::mainnet(), &block(merged(PRAGUE)), &[], contracts, &mut state)
    };
    assert!(run(RequestContracts::Assumed).expect("valid").is_empty());
    let missing = InvalidBlock::SystemCall { contract, failure: SystemCallFailure::Missing };
    assert_eq!(rule(run(RequestContracts::Required)), missing);
}

/// A receipt with one log of the mainnet deposit contract.
fn deposit_receipt(data: Vec<u8>) -> ReceiptEnvelope {
    let topic = b256!("0x649bbc62d0e31342afea4e5cd82d4049e7e1ee912fc0889aa790803be39038c5");
    let contract = alloy_evm::eth::eip6110::MAINNET_DEPOSIT_CONTRACT_ADDRESS;
    let logs = vec![Log::new_unchecked(contract, vec![topic], data.into())];
    ReceiptEnvelope::from_typed(TxType::Legacy, Receipt { status: true.into(), cumulative_gas_used: 0, logs })
}

/// ABI encoding of a deposit: five byte strings, each filled with its own byte.
fn deposit_event() -> Vec<u8> {
    let word = |value: usize| U256::from(value).to_be_bytes::<32>();
    let (mut head, mut tail) = (Vec::new(), Vec::new());
    for (field, length) in [48_usize, 32, 8, 96, 8].into_iter().enumerate() {
        head.extend(word(5 * 32 + tail.len()));
        tail.extend(word(length));
        let content = std::iter::repeat_n(field as u8 + 1, length);
        tail.extend(content.chain(std::iter::repeat_n(0, length.next_multiple_of(32) - length)));
    }
    [head, tail].concat()
}

#[test]
fn eip6110_deposits_are_the_first_request() {
    let receipts = [deposit_receipt(deposit_event())];
    let mut state = Recorder::default();
    let requests =
        post_block(&ChainSpec::mainnet(), &block(merged(PRAGUE)), &receipts, RequestContracts::Assumed, &mut state);
    let requests = requests.expect("valid").take();
    assert_eq!(requests.len(), 1);
    assert_eq!((requests[0].len(), requests[0][0], requests[0][1], requests[0][192]), (193, 0, 1, 5));
}

#[test]
fn eip6110_malformed_deposit_names_its_transaction() {
    let receipts = [deposit_receipt(deposit_event()), deposit_receipt(vec![1, 2, 3])];
    let mut state = Recorder::default();
    let result =
        post_block(&ChainSpec::mainnet(), &block(merged(PRAGUE)), &receipts, RequestContracts::Assumed, &mut state);
    assert_eq!(rule(result), InvalidBlock::Deposit { transaction: Some(1) });
    assert_eq!(state.deeds, [], "no contract is called for an invalid block");
}
