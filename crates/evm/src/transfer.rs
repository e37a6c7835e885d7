//! A plain payment without the EVM: from an account to an account without code, with nothing in between.
//!
//! Most of what revm spends on a payment goes into frames, journal and state maps that a payment has no use for. Here
//! revm's own checks are made in revm's own order, and then the three balances move. Whatever is not plainly such a
//! payment is left to revm, before anything was observed or written: a transaction that fails a check (revm words the
//! error), a payment of nothing or without a fee (an empty account may have to go, EIP-161), a payment to oneself, a
//! balance without room, a precompile, a delegation (EIP-7702), and every fork from Amsterdam on, where a payment leaves
//! a log (EIP-7708).

use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256};
use revm::{
    context::{Block, Cfg, Transaction, TransactionType, TxEnv},
    context_interface::result::{ExecutionResult, Output, ResultGas, SuccessReason},
    handler::{Handler, PrecompileProvider, post_execution},
    interpreter::Gas,
    primitives::hardfork::SpecId,
};
use ropewalk_engine::{Handle, Interrupt, View};
use ropewalk_state::StateError;

use crate::{
    AccountDelta, AccountObservation, BalanceRange, BalanceStep, EvmDelta, EvmKey, EvmObservation, EvmProgram,
    EvmValue,
    handler::ObservingHandler,
    machine::{EvmContext, Machine},
};

/// Whether payments may go this way under the rules of `spec`.
pub(crate) fn is_plain_under(spec: SpecId) -> bool {
    !spec.is_enabled_in(SpecId::AMSTERDAM)
}

/// When a payment is worked out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// When all before it is there, as far as anybody knows.
    Own,
    /// Before that: its sender may have payments before it, and be paid by others. That it may be sent, and that nobody's
    /// balance overflows, is expected and left to the commit to judge.
    Ahead,
}

/// What a payment looks at of each party.
#[derive(Debug, Clone, Copy)]
struct Party {
    at: Handle,
    balance: U256,
    nonce: u64,
    code_hash: B256,
}

/// What a payment costs.
struct Cost {
    gas: ResultGas,
    /// Taken from the sender, in wei, besides the value.
    paid: U256,
    /// Given to the beneficiary, in wei.
    tip: U256,
}

/// Makes the payment that the machine's transaction is, if it is plainly one, and returns what it came to: it writes to all accounts
/// that it looks at. `None` leaves the view as it was.
///
/// # Errors
/// An interrupt, to be passed on.
pub(crate) fn transfer(
    machine: &mut Machine,
    handler: &ObservingHandler,
    view: &mut View<EvmProgram>,
    turn: Turn,
) -> Result<Option<ExecutionResult>, Interrupt<StateError>> {
    let Some(recipient) = plain_recipient(&machine.inner.ctx) else { return Ok(None) };
    let (sender, value) = (machine.inner.ctx.tx.caller, machine.inner.ctx.tx.value);
    let beneficiary = machine.inner.ctx.block.beneficiary;
    if sender == recipient {
        return Ok(None);
    }
    let Some(cost) = cost(machine, handler).filter(|cost| !cost.tip.is_zero()) else { return Ok(None) };
    // Accounts are looked at in revm's order: which of them a failing state is asked for first is part of the result.
    let from = load(view, sender)?;
    let tx: &TxEnv = &machine.inner.ctx.tx;
    let Ok(most) = tx.max_balance_spending() else { return Ok(None) };
    let (nonce, is_due) = (tx.nonce, from.nonce == tx.nonce && from.balance >= most);
    if from.code_hash != KECCAK256_EMPTY || nonce == u64::MAX || turn == Turn::Own && !is_due {
        return Ok(None);
    }
    let to = load(view, recipient)?;
    let has_room = to.balance.checked_add(value).is_some_and(|sum| !sum.bit(U256::BITS - 1));
    if to.code_hash != KECCAK256_EMPTY || !has_room || is_precompile(machine, &recipient) {
        return Ok(None);
    }
    let tipped = match (beneficiary, turn) {
        (own, _) if own == sender || own == recipient => None,
        // Everybody tips it: looking at it takes longer than all the rest while somebody commits.
        (other, Turn::Ahead) => Some(view.handle(&EvmKey::Account(other))),
        (other, Turn::Own) => {
            let tipped = load(view, other)?;
            if tipped.balance.bit(U256::BITS - 1) {
                return Ok(None);
            }
            Some(tipped.at)
        }
    };
    let sent = sender_observation(nonce, most);
    match is_due {
        true => view.observe(from.at, sent),
        false => view.expect(from.at, sent),
    }
    view.observe(to.at, EvmObservation::Account(AccountObservation { code_hash: Some(to.code_hash), ..NOTHING }));
    let (mut debit, mut credit) = (cost.paid + value, value);
    if beneficiary == sender {
        // The tip is a part of what was paid.
        debit -= cost.tip;
    } else if beneficiary == recipient {
        credit += cost.tip;
    }
    if let Some(tipped) = tipped {
        view.write_to(tipped, EvmDelta::Account(AccountDelta::credit(cost.tip)));
    }
    let spent = AccountDelta { balance: BalanceStep::Debit(debit), nonce: Some(nonce + 1), ..AccountDelta::NONE };
    view.write_to(from.at, EvmDelta::Account(spent));
    view.write_to(to.at, EvmDelta::Account(AccountDelta::credit(credit)));
    let output = Output::Call(Bytes::new());
    let result = ExecutionResult::Success { reason: SuccessReason::Stop, gas: cost.gas, logs: Vec::new(), output };
    Ok(Some(result))
}

const NOTHING: AccountObservation = AccountObservation::NONE;

/// The recipient, if the transaction looks like a plain payment from outside.
fn plain_recipient(context: &EvmContext) -> Option<Address> {
    let tx: &TxEnv = &context.tx;
    let pays = !tx.value.is_zero() && tx.data.is_empty() && tx.tx_type() != TransactionType::Eip7702;
    tx.kind.to().copied().filter(|_| pays)
}

fn is_precompile(machine: &Machine, address: &Address) -> bool {
    let precompiles = &machine.inner.precompiles;
    PrecompileProvider::<EvmContext>::warm_addresses(precompiles).contains(address)
}

fn load(view: &mut View<EvmProgram>, address: Address) -> Result<Party, Interrupt<StateError>> {
    let (at, (balance, nonce, code_hash)) = view.load(&EvmKey::Account(address), |value| match value {
        EvmValue::Account(value) => (value.balance, value.nonce, value.code_hash),
        other => unreachable!("the account {address} is {other:?}"),
    })?;
    Ok(Party { at, balance, nonce, code_hash })
}

fn sender_observation(nonce: u64, most: U256) -> EvmObservation {
    EvmObservation::Account(AccountObservation {
        balance: BalanceRange { least: most, ..BalanceRange::ANY },
        nonce: Some(nonce),
        code_hash: Some(KECCAK256_EMPTY),
        ..NOTHING
    })
}

/// What revm charges for a transaction whose call ends at once, computed by revm's own steps. `None` where one of its
/// checks fails, or where the price does not fit the width that it computes with.
fn cost(machine: &mut Machine, handler: &ObservingHandler) -> Option<Cost> {
    handler.validate_env(machine).ok()?;
    let intrinsic = handler.validate_initial_tx_gas(machine).ok()?;
    let tracker = handler.tx_gas(machine, &intrinsic);
    let context = &machine.inner.ctx;
    let mut gas = Gas::new(context.tx.gas_limit);
    *gas.tracker_mut() = tracker;
    post_execution::refund(context.cfg.gas_params(), &mut gas, 0);
    let result_gas = post_execution::build_result_gas(false, &gas, intrinsic);
    post_execution::eip7623_check_gas_floor(&mut gas, intrinsic);

    let base_fee = u128::from(context.block.basefee);
    let blob_price = context.block.blob_gasprice().unwrap_or_default();
    let price = context.tx.effective_gas_price(base_fee);
    price.checked_mul(u128::from(context.tx.gas_limit))?;
    let deducted = context.tx.effective_balance_spending(base_fee, blob_price).ok()? - context.tx.value;
    let unused = gas.remaining() + gas.reservoir() + gas.refunded() as u64;
    let tip_price = if context.cfg.spec.is_enabled_in(SpecId::LONDON) { price.saturating_sub(base_fee) } else { price };
    Some(Cost {
        gas: result_gas,
        paid: deducted.checked_sub(U256::from(price * u128::from(unused)))?,
        tip: U256::from(tip_price * u128::from(gas.used().saturating_sub(gas.reservoir()))),
    })
}
