//! revm's EVM with observations at frame initialisation.
//!
//! Starting a frame is where value moves and contracts come into being. Before revm does either, the balances that
//! decide it are observed as bounds; afterwards a creation has observed nonce and code of the new address. Whether the
//! new address has storage (EIP-7610) is a question that revm cannot ask, so it is asked here, and a collision answered
//! as revm answers one by nonce or code.

use std::{any::Any, sync::Arc};

use alloy_evm::precompiles::PrecompilesMap;
use alloy_primitives::{Address, Bytes, U256};
use revm::{
    Inspector,
    context::{BlockEnv, Cfg, CfgEnv, Context, ContextTr, Evm, FrameStack, JournalTr, TxEnv},
    context_interface::journaled_state::account::JournaledAccountTr,
    handler::{
        EthFrame, EvmTr, FrameInitOrResult, FrameResult, ItemOrResult,
        evm::{ContextDbError, FrameInitResult},
        instructions::{EthInstructions, InstructionProvider},
    },
    inspector::InspectorEvmTr,
    interpreter::{
        CallOutcome, CallValue, CreateInputs, CreateOutcome, FrameInput, Gas, InstructionResult, InterpreterResult,
        interpreter::EthInterpreter, interpreter_action::FrameInit,
    },
    primitives::constants::CALL_STACK_LIMIT,
};

use crate::{StateHandle, deployed, interpreter};

/// What revm's code runs in.
pub type EvmContext = Context<BlockEnv, Arc<TxEnv>, CfgEnv, StateHandle>;

/// An inspector of one attempt. Only the committed attempt's is ever seen by anybody.
pub trait TransactionInspector: Inspector<EvmContext, EthInterpreter> + Any + Send + std::fmt::Debug {}

impl<I: Inspector<EvmContext, EthInterpreter> + Any + Send + std::fmt::Debug> TransactionInspector for I {}

pub(crate) type Instructions = EthInstructions<EthInterpreter, EvmContext>;
type Inner = Evm<EvmContext, Box<dyn TransactionInspector>, Instructions, PrecompilesMap, EthFrame>;

/// One worker's EVM.
pub(crate) struct Machine {
    pub(crate) inner: Inner,
    /// Whether precompiles may look at the state by themselves; what they saw is then observed in full.
    pub(crate) custom_precompiles: bool,
    /// Whether common instructions are run in line.
    pub(crate) runs_in_line: bool,
}

impl Machine {
    fn journal_balance(&self, address: &Address) -> Option<U256> {
        Some(self.inner.ctx.journaled_state.inner.state.get(address)?.info.balance)
    }

    /// `payer` is to pay `amount` out of what the journal says it has.
    fn observe_payment(&mut self, payer: Address, payee: Option<Address>, amount: U256) {
        if amount.is_zero() {
            return;
        }
        let Some(balance) = self.journal_balance(&payer) else { return };
        let credited = payee.filter(|payee| *payee != payer);
        let credited = credited.and_then(|payee| Some((payee, self.journal_balance(&payee)?)));
        let handle = &mut self.inner.ctx.journaled_state.database;
        if let Some(loaded) = handle.loaded(&payer) {
            loaded.observe_covers(balance, amount);
        }
        let Some((payee, balance)) = credited else { return };
        if let Some(loaded) = handle.loaded(&payee) {
            loaded.observe_room(balance, amount);
        }
        if balance.checked_add(amount).is_none() {
            self.note_before_overflow(payer);
        }
    }

    /// A payment for which there is no room fails, and revm forgets to give the payer its money back. Loading the payer
    /// again later, revm may take what is left for what the payer had before the transaction; so that is noted now.
    #[cold]
    fn note_before_overflow(&mut self, payer: Address) {
        let journal = &mut self.inner.ctx.journaled_state;
        if let Some(account) = journal.inner.state.get(&payer) {
            journal.database.note_touched(&payer, account);
        }
    }

    /// Observes what decides a creation. Answers with the collision that revm does not see.
    fn observe_creation(
        &mut self,
        depth: usize,
        inputs: &CreateInputs,
    ) -> Result<Option<FrameResult>, ContextDbError<EvmContext>> {
        let (caller, value) = (inputs.caller(), inputs.value());
        if depth > CALL_STACK_LIMIT as usize {
            return Ok(None);
        }
        let nonce = self.inner.ctx.journal_mut().load_account_mut(caller)?.data.nonce();
        self.observe_payment(caller, None, value);
        if let Some(loaded) = self.inner.ctx.journaled_state.database.loaded(&caller) {
            loaded.observe_nonce();
        }
        let funded = self.journal_balance(&caller).is_some_and(|balance| balance >= value);
        if !funded || nonce == u64::MAX {
            return Ok(None);
        }
        let created = inputs.created_address(nonce);
        let (exists, info) = {
            let target = self.inner.ctx.journal_mut().load_account(created)?.data;
            (!target.is_loaded_as_not_existing(), target.info.clone())
        };
        let handle = &mut self.inner.ctx.journaled_state.database;
        if let Some(loaded) = handle.loaded(&created) {
            loaded.observe_nonce();
            loaded.observe_code();
            if self.inner.ctx.cfg.is_amsterdam_eip8037_enabled() {
                loaded.observe_emptiness(&info);
            }
            loaded.observe_room(info.balance, value);
            if !exists {
                // That it has no storage follows from that.
                loaded.observe_existence();
            }
        }
        let bare = info.nonce == 0 && info.is_empty_code_hash();
        if !bare || !exists || handle.storage_is_empty(created)? {
            return Ok(None);
        }
        // As revm does before it finds a collision: the creator's nonce is spent.
        self.inner.ctx.journal_mut().load_account_mut(caller)?.data.bump_nonce();
        Ok(Some(collision(inputs)))
    }
}

/// The result of a creation at an address that is taken: all gas is gone.
fn collision(inputs: &CreateInputs) -> FrameResult {
    FrameResult::Create(CreateOutcome {
        result: InterpreterResult {
            result: InstructionResult::CreateCollision,
            gas: Gas::new_with_regular_gas_and_reservoir(inputs.gas_limit(), inputs.reservoir()),
            output: Bytes::new(),
        },
        address: None,
        charged_create_state_gas: inputs.charged_create_state_gas(),
    })
}

impl EvmTr for Machine {
    type Context = EvmContext;
    type Instructions = Instructions;
    type Precompiles = PrecompilesMap;
    type Frame = EthFrame;

    fn all(&self) -> (&EvmContext, &Instructions, &PrecompilesMap, &FrameStack<EthFrame>) {
        self.inner.all()
    }

    fn all_mut(&mut self) -> (&mut EvmContext, &mut Instructions, &mut PrecompilesMap, &mut FrameStack<EthFrame>) {
        self.inner.all_mut()
    }

    fn frame_init(
        &mut self,
        frame_init: FrameInit,
    ) -> Result<FrameInitResult<'_, EthFrame>, ContextDbError<EvmContext>> {
        match &frame_init.frame_input {
            FrameInput::Call(inputs) => {
                if let CallValue::Transfer(value) = inputs.value {
                    self.observe_payment(inputs.caller, Some(inputs.target_address), value);
                }
            }
            FrameInput::Create(inputs) => {
                if let Some(collision) = self.observe_creation(frame_init.depth, inputs)? {
                    return Ok(ItemOrResult::Result(collision));
                }
            }
            FrameInput::Empty => {}
        }
        // A frame that was started is the topmost one; saying so again ends the borrow of the first answer.
        let result = match self.inner.frame_init(frame_init)? {
            ItemOrResult::Item(_) => None,
            ItemOrResult::Result(result) => Some(result),
        };
        let Some(result) = result else { return Ok(ItemOrResult::Item(self.inner.frame_stack.get())) };
        if let FrameResult::Call(CallOutcome { was_precompile_called: true, .. }) = &result
            && self.custom_precompiles
        {
            self.inner.ctx.journaled_state.database.observe_everything();
        }
        Ok(ItemOrResult::Result(result))
    }

    fn frame_run(&mut self) -> Result<FrameInitOrResult<EthFrame>, ContextDbError<EvmContext>> {
        if !self.runs_in_line {
            return self.inner.frame_run();
        }
        let Inner { ctx, instruction, frame_stack, .. } = &mut self.inner;
        let frame = frame_stack.get();
        let (table, gas_table) = (instruction.instruction_table(), instruction.gas_table());
        let action = interpreter::run(&mut frame.interpreter, table, gas_table, ctx);
        // As revm's own.
        deployed::process_next_action(frame, ctx, action).inspect(|next| {
            if next.is_result() {
                frame.set_finished(true);
            }
        })
    }

    fn frame_return_result(&mut self, result: FrameResult) -> Result<Option<FrameResult>, ContextDbError<EvmContext>> {
        self.inner.frame_return_result(result)
    }
}

type InspectorParts<'a> = (
    &'a mut EvmContext,
    &'a mut Instructions,
    &'a mut PrecompilesMap,
    &'a mut FrameStack<EthFrame>,
    &'a mut Box<dyn TransactionInspector>,
);

impl InspectorEvmTr for Machine {
    type Inspector = Box<dyn TransactionInspector>;

    fn all_inspector(
        &self,
    ) -> (&EvmContext, &Instructions, &PrecompilesMap, &FrameStack<EthFrame>, &Box<dyn TransactionInspector>) {
        self.inner.all_inspector()
    }

    fn all_mut_inspector(&mut self) -> InspectorParts<'_> {
        self.inner.all_mut_inspector()
    }
}
