//! Positions 0 and n + 1: an EVM on committed values, one step after the other.

use std::sync::Arc;

use alloy_primitives::{Address, Bytes, KECCAK256_EMPTY, U256};
use revm::context_interface::result::{ExecutionResult, HaltReason};
use ropewalk_engine::{Interrupt, Memory, Position as EnginePosition, View, WorkerFactory};
use ropewalk_evm::{
    Accesses, AccountDelta, AccountValue, BalanceStep, EvmDelta, EvmFactory, EvmKey, EvmProgram, EvmValue, EvmWorker,
    Existence,
};
use ropewalk_state::StateError;

use super::transcript::Transcript;
use crate::{BlockError, BrokenInvariant, Position, system_call::CommittedState};

/// Committed state at one position, with the means to change it.
pub(super) struct Committed<'a, 't> {
    factory: &'a EvmFactory,
    /// Built for the first system call: most blocks of old forks have none.
    worker: Option<EvmWorker>,
    view: View<EvmProgram>,
    position: Position,
    /// Takes down what happens, where that is asked for.
    transcript: Option<&'a mut Transcript<'t>>,
}

impl<'a, 't> Committed<'a, 't> {
    pub(super) fn new(
        memory: &Arc<Memory<EvmProgram>>,
        factory: &'a EvmFactory,
        at: EnginePosition,
        position: Position,
        transcript: Option<&'a mut Transcript<'t>>,
    ) -> Self {
        let view = View::committed(Arc::clone(memory), at, transcript.is_some());
        Self { factory, worker: None, view, position, transcript }
    }

    fn account(&mut self, address: Address) -> Result<AccountValue, BlockError> {
        let loaded = self.view.load(&EvmKey::Account(address), |value| match value {
            EvmValue::Account(value) => AccountValue::clone(value),
            other => unreachable!("the account {address} is {other:?}"),
        });
        match loaded {
            Ok((_, value)) => Ok(value),
            Err(Interrupt::Fault(source)) => Err(self.state_error(source)),
            Err(other) => unreachable!("nothing interrupts a read of committed state: {other:?}"),
        }
    }

    fn change(&mut self, address: Address, delta: AccountDelta) {
        self.view.write(&EvmKey::Account(address), EvmDelta::Account(delta));
    }

    fn commit(&mut self, accesses: Option<Accesses>) -> Result<(), BlockError> {
        if let Some(transcript) = &mut self.transcript {
            let position = self.position;
            let added = transcript.recorder.add(&self.view.effects(), accesses);
            added.map_err(|source| BlockError::State { position, source })?;
        }
        let committed = self.view.commit();
        committed.map_err(|source| self.state_error(source))
    }

    /// Takes down that a rule looks at accounts.
    fn note_accesses(&mut self, addresses: impl IntoIterator<Item = Address>) {
        if let Some(transcript) = &mut self.transcript {
            transcript.recorder.add_accesses(addresses);
        }
    }

    fn state_error(&self, source: StateError) -> BlockError {
        BlockError::State { position: self.position, source }
    }
}

impl CommittedState for Committed<'_, '_> {
    fn system_call(&mut self, contract: Address, input: Bytes) -> Result<ExecutionResult<HaltReason>, BlockError> {
        let position = self.position;
        let worker = self.worker.get_or_insert_with(|| self.factory.build());
        let called = worker.system_call(contract, input, &mut self.view);
        let called = called.map_err(|source| self.state_error(source))?;
        let result = called.map_err(|failure| BrokenInvariant::Evm { position, source: Arc::new(failure) })?;
        let accesses = self.worker.as_mut().and_then(EvmWorker::take_accesses);
        self.commit(accesses.map(|accesses| *accesses))?;
        Ok(result)
    }

    fn code_is_empty(&mut self, address: Address) -> Result<bool, BlockError> {
        Ok(self.account(address)?.code_hash == KECCAK256_EMPTY)
    }

    fn credit(&mut self, amounts_wei: impl IntoIterator<Item = (Address, u128)>) -> Result<(), BlockError> {
        let mut credited = Vec::new();
        for (address, amount_wei) in amounts_wei {
            credited.push(address);
            if amount_wei != 0 {
                self.change(address, AccountDelta::credit(U256::from(amount_wei)));
                continue;
            }
            let account = self.account(address)?;
            if account.exists && account.is_empty() {
                self.change(address, AccountDelta::DESTROY);
            }
        }
        let (effects, is_last) = (self.view.effects(), self.position == Position::PostBlock);
        if let Some(transcript) = self.transcript.as_mut().filter(|_| is_last)
            && transcript.agrees(&effects, &credited)
        {
            // Nothing comes after it that could look for it: what the list says of it stands.
            return Ok(());
        }
        self.note_accesses(credited);
        self.commit(None)
    }

    fn drain(&mut self, address: Address) -> Result<u128, BlockError> {
        self.note_accesses([address]);
        let AccountValue { exists, balance, .. } = self.account(address)?;
        if !balance.is_zero() {
            let existence = if exists { Existence::Present } else { Existence::Derived };
            let delta = AccountDelta { balance: BalanceStep::Debit(balance), existence, ..AccountDelta::NONE };
            self.change(address, delta);
            self.commit(None)?;
        }
        Ok(balance.saturating_to())
    }
}
