//! revm's transaction handler with observations where a transaction is validated and started.
//!
//! The sender's deduction observes its nonce and code exactly and its balance only as "affords the maximum fee": what it
//! pays is a debit. The reimbursement and the beneficiary's reward are credits and observe nothing but that there is
//! room for them.

use alloy_primitives::{Address, TxKind, U256};
use revm::{
    context::{Cfg, Transaction, TransactionType, result::EVMError},
    context_interface::{
        cfg::gas_params::Eip2780TxInfo,
        result::{HaltReason, InvalidTransaction},
        transaction::AuthorizationTr,
    },
    handler::{EvmTr, FrameResult, Handler, execution, post_execution, pre_execution, validation},
    inspector::InspectorHandler,
    interpreter::{
        GasTracker, InitialAndFloorGas, SharedMemory, interpreter::EthInterpreter, interpreter_action::FrameInit,
    },
};

use crate::{
    HandleError, intrinsic,
    machine::{EvmContext, Machine},
};

/// What can go wrong inside revm.
pub(crate) type MachineError = EVMError<HandleError, InvalidTransaction>;

/// The handler; it has no state of its own.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ObservingHandler;

impl Handler for ObservingHandler {
    type Evm = Machine;
    type Error = MachineError;
    type HaltReason = HaltReason;

    fn validate_initial_tx_gas(&self, evm: &mut Machine) -> Result<InitialAndFloorGas, MachineError> {
        let context = evm.ctx_ref();
        let (tx, cfg) = (&context.tx, &context.cfg);
        if let Some(gas) = intrinsic::of_long_calldata(tx, cfg) {
            return Ok(gas?);
        }
        // As revm's handler does where nobody overrides it.
        let eip2780 = cfg.is_amsterdam_eip2780_enabled().then(|| {
            let is_self_transfer = tx.kind().to() == Some(&tx.caller());
            Eip2780TxInfo { value: tx.value(), is_self_transfer }
        });
        Ok(validation::validate_initial_tx_gas_with_gas_params(
            tx,
            cfg.spec,
            cfg.gas_params(),
            cfg.is_eip7623_disabled(),
            cfg.is_amsterdam_eip8037_enabled(),
            cfg.tx_gas_limit_cap(),
            eip2780,
        )?)
    }

    fn validate_against_state_and_deduct_caller(
        &self,
        evm: &mut Machine,
        _init_and_floor_gas: &mut InitialAndFloorGas,
    ) -> Result<(), MachineError> {
        let context = evm.ctx();
        let result = pre_execution::validate_against_state_and_deduct_caller::<_, MachineError>(context);
        let (caller, most) = (context.tx.caller(), context.tx.max_balance_spending());
        if let Some(loaded) = context.journaled_state.database.loaded(&caller) {
            loaded.observe_nonce();
            loaded.observe_code();
            match (&result, most) {
                (Ok(()), Ok(most)) => loaded.observe_covers(loaded.balance, most),
                // The error names the balance.
                _ => loaded.observe_balance(),
            }
        }
        result
    }

    fn apply_eip7702_auth_list(&self, evm: &mut Machine, gas: &mut GasTracker) -> Result<Option<u64>, MachineError> {
        let context = evm.ctx();
        let refund = pre_execution::apply_eip7702_auth_list::<_, MachineError>(context, gas);
        if context.tx.tx_type() == TransactionType::Eip7702 {
            let authorities: Vec<Address> =
                context.tx.authorization_list().filter_map(|authorization| authorization.authority()).collect();
            for authority in authorities {
                // Which of its fields counted depends on where the check ended; all of them is right in any case.
                if let Some(loaded) = context.journaled_state.database.loaded(&authority) {
                    loaded.observe_nonce();
                    loaded.observe_code();
                    loaded.observe_existence();
                }
            }
        }
        refund
    }

    fn first_frame_input(
        &mut self,
        evm: &mut Machine,
        gas: &mut GasTracker,
    ) -> Result<Option<FrameInit>, MachineError> {
        let context = evm.ctx_mut();
        let mut memory = SharedMemory::new_with_buffer(context.local.shared_memory_buffer.clone());
        memory.set_memory_limit(context.cfg.memory_limit());
        let frame_input = execution::create_init_frame(context, gas)?;
        // Whether the recipient, or the new contract's address, is a new account is priced from EIP-2780 on.
        let is_priced = context.cfg.is_amsterdam_eip2780_enabled();
        match context.tx.kind() {
            TxKind::Call(recipient) => {
                observe_callee(context, recipient);
                if is_priced {
                    observe_emptiness(context, recipient);
                }
            }
            TxKind::Create if is_priced => {
                observe_emptiness(context, context.tx.caller().create(context.tx.nonce()));
            }
            TxKind::Create => {}
        }
        Ok(frame_input.map(|frame_input| FrameInit { depth: 0, memory, frame_input }))
    }

    fn reimburse_caller(&self, evm: &mut Machine, result: &mut FrameResult) -> Result<(), MachineError> {
        let context = evm.ctx();
        post_execution::reimburse_caller(context, result.gas(), U256::ZERO)?;
        observe_room_for_fee(context, context.tx.caller());
        Ok(())
    }

    fn reward_beneficiary(&self, evm: &mut Machine, result: &mut FrameResult) -> Result<(), MachineError> {
        let context = evm.ctx();
        post_execution::reward_beneficiary(context, result.gas())?;
        observe_room_for_fee(context, context.block.beneficiary);
        Ok(())
    }
}

/// revm drops a fee for which an account has no room. Fees have 128 bits, so there is room wherever the topmost bit of
/// the balance is not set; elsewhere the balance is observed in full.
fn observe_room_for_fee(context: &mut EvmContext, address: Address) {
    let journal = &mut context.journaled_state;
    if journal.database.has_notes()
        && let Some(account) = journal.inner.state.get(&address)
        && let Some(loaded) = journal.database.loaded(&address)
        && (account.info.balance.bit(U256::BITS - 1) || loaded.balance.bit(U256::BITS - 1))
    {
        loaded.observe_balance();
    }
}

impl InspectorHandler for ObservingHandler {
    type IT = EthInterpreter;
}

/// Relies on the code that a call of `address` runs: its own, or that of its delegate (EIP-7702).
pub(crate) fn observe_callee(context: &mut EvmContext, address: Address) {
    let journal = &mut context.journaled_state;
    let Some(account) = journal.inner.state.get(&address).filter(|_| journal.database.has_notes()) else { return };
    let delegate = account.info.code.as_ref().and_then(|code| code.eip7702_address());
    for address in std::iter::once(address).chain(delegate) {
        if let Some(loaded) = journal.database.loaded(&address) {
            loaded.observe_code();
        }
    }
}

/// Relies on whether `address` is empty, as the journal has it.
pub(crate) fn observe_emptiness(context: &mut EvmContext, address: Address) {
    let journal = &mut context.journaled_state;
    if journal.database.has_notes()
        && let Some(account) = journal.inner.state.get(&address)
        && let Some(loaded) = journal.database.loaded(&address)
    {
        loaded.observe_emptiness(&account.info);
    }
}

/// Relies on the exact balance of `address`.
pub(crate) fn observe_balance(context: &mut EvmContext, address: Address) {
    if let Some(loaded) = context.journaled_state.database.loaded(&address) {
        loaded.observe_balance();
    }
}
