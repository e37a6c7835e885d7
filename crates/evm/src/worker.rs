//! One worker: an EVM that is built once per thread and reused for every attempt, and by the next block's worker.

use std::{sync::Arc, time::Instant};

use alloy_evm::{EvmEnv, precompiles::PrecompilesMap};
use alloy_primitives::{Address, B256, Bloom, Bytes, Log};
use revm::{
    context::{
        BlockEnv, CfgEnv, Context, FrameStack, JournalTr, TxEnv,
        result::{EVMError, ExecutionResult, HaltReason},
    },
    handler::{EvmTr, Handler, system_call::SystemCallTx},
    inspector::{InspectorHandler, NoOpInspector},
    precompile::{PrecompileSpecId, Precompiles},
    primitives::hardfork::SpecId,
};
use ropewalk_engine::{Incarnation, Interrupt, TxIndex, View, Worker, WorkerFactory};
use ropewalk_state::{StateError, StateReader};

use crate::{
    Accesses, CallSlots, CallTimes, CodeCache, EvmKey, EvmProgram, ExecutionFailure, Places, Site, StateHandle,
    Transaction, TransactionInspector, TxOutput,
    calls::GAS_OF_PAYMENT,
    handler::{MachineError, ObservingHandler},
    hashes::Hashes,
    instructions::observing_instructions,
    machine::Machine,
    spare,
    transfer::{Turn, is_plain_under, transfer},
    translate::{touched_and_empty, write_journal},
};

/// Gas of a system call, by EIP-4788, EIP-2935, EIP-7002 and EIP-7251.
const SYSTEM_CALL_GAS: u64 = 30_000_000;

/// Makes the inspector of one attempt.
pub trait InspectorFactory: Send + Sync + std::fmt::Debug {
    /// A fresh inspector for the given incarnation of a transaction.
    fn inspector(&self, index: TxIndex, incarnation: Incarnation) -> Box<dyn TransactionInspector>;
}

/// Changes the precompiles of a fork.
pub trait PrecompileCustomizer: Send + Sync + std::fmt::Debug {
    /// Adds, replaces or removes precompiles. State that a precompile keeps must be its incarnation's own.
    fn customize(&self, spec: SpecId, precompiles: &mut PrecompilesMap);
}

/// What an embedder may change about execution.
#[derive(Debug, Clone, Default)]
pub struct EvmSettings {
    /// Watches every attempt; the committed ones' inspectors come out with the results.
    pub inspectors: Option<Arc<dyn InspectorFactory>>,
    /// Changes the precompiles.
    pub precompiles: Option<Arc<dyn PrecompileCustomizer>>,
    /// Takes note of what calls take.
    pub times: Option<Arc<CallTimes>>,
    /// What makes workers faster and nothing else.
    pub shortcuts: WorkerShortcuts,
}

impl EvmSettings {
    /// Whether the rules are a fork's own and nobody watches.
    pub fn is_plain(&self) -> bool {
        self.inspectors.is_none() && self.precompiles.is_none()
    }
}

/// What makes workers faster and nothing else: each can be left out, to see what it is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerShortcuts {
    /// Plain payments are made without revm.
    pub direct_payments: bool,
    /// Keccak hashes of short inputs are remembered within a block.
    pub remembered_hashes: bool,
    /// Common instructions of contracts are run in line, without a call for each.
    pub inline_instructions: bool,
}

impl Default for WorkerShortcuts {
    /// All of them.
    fn default() -> Self {
        Self { direct_payments: true, remembered_hashes: true, inline_instructions: true }
    }
}

/// Builds workers for one block.
pub struct EvmFactory {
    env: EvmEnv,
    reader: Arc<dyn StateReader>,
    codes: Arc<CodeCache>,
    settings: EvmSettings,
    notes: Notes,
}

/// What a worker says about what its attempts look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Notes {
    Nothing,
    Accesses,
    Places,
}

impl EvmFactory {
    /// A factory of workers that run transactions in `env`. `reader` is the block's base state; it is asked here for
    /// code and block hashes only, which no transaction changes.
    pub fn new(env: EvmEnv, reader: Arc<dyn StateReader>, codes: Arc<CodeCache>, settings: EvmSettings) -> Self {
        Self { env, reader, codes, settings, notes: Notes::Nothing }
    }

    /// The same factory, whose workers say what each transaction looked at. The views that they are given must record.
    #[must_use]
    pub fn noting_accesses(mut self) -> Self {
        self.notes = Notes::Accesses;
        self
    }

    /// The same factory, whose workers say where what each transaction looked at is among the known writes that the views lie
    /// over; system calls say what they looked at.
    #[must_use]
    pub fn noting_places(mut self) -> Self {
        self.notes = Notes::Places;
        self
    }
}

impl WorkerFactory<EvmProgram> for EvmFactory {
    type Worker = EvmWorker;

    fn build(&self) -> EvmWorker {
        let Self { env, reader, codes, settings, notes } = self;
        let mut worker = EvmWorker::new(env, settings);
        worker.notes = *notes;
        worker.database().attach(Arc::clone(reader), Arc::clone(codes));
        worker
    }
}

impl std::fmt::Debug for EvmFactory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EvmFactory").field("env", &self.env).finish_non_exhaustive()
    }
}

/// Runs transactions, one attempt at a time.
pub struct EvmWorker {
    /// `None` once the worker is given up.
    machine: Option<Box<Machine>>,
    handler: ObservingHandler,
    /// Whether the rules are a fork's own and nobody watches.
    is_plain: bool,
    /// Whether plain payments are made without revm.
    pays_directly: bool,
    /// What is said about what an attempt looked at.
    notes: Notes,
    /// What the last attempt looked at,
    accesses: Option<Box<Accesses>>,
    /// or where that is.
    places: Option<Box<Places>>,
    /// Room for the next of those.
    spare_places: Option<Box<Places>>,
    /// Whether an attempt is under way. Still set when the worker is given up, it was ended by a panic.
    in_attempt: bool,
    inspectors: Option<Arc<dyn InspectorFactory>>,
    times: Option<Arc<CallTimes>>,
}

impl EvmWorker {
    fn new(env: &EvmEnv, settings: &EvmSettings) -> Self {
        let spec = env.cfg_env.spec;
        let is_plain = settings.is_plain();
        let left = if is_plain { spare::take(&env.cfg_env) } else { None };
        let mut machine = left.unwrap_or_else(|| Box::new(machine(&env.cfg_env, settings)));
        machine.inner.ctx.block = env.block_env.clone();
        machine.inner.ctx.journaled_state.database.hashes.remembers = settings.shortcuts.remembered_hashes;
        machine.runs_in_line = settings.shortcuts.inline_instructions;
        Self {
            machine: Some(machine),
            handler: ObservingHandler,
            is_plain,
            pays_directly: is_plain && settings.shortcuts.direct_payments && is_plain_under(spec),
            notes: Notes::Nothing,
            accesses: None,
            places: None,
            spare_places: None,
            in_attempt: false,
            inspectors: settings.inspectors.clone(),
            times: settings.times.clone(),
        }
    }

    fn machine(&mut self) -> &mut Machine {
        self.machine.as_mut().expect("a worker that is given up runs nothing")
    }

    /// What a plain payment comes to.
    fn payment(&mut self, env: &TxEnv, paid: ExecutionResult) -> TxOutput {
        let accesses = (self.notes == Notes::Accesses).then(|| Box::new(self.payment_accesses(env)));
        // It looks at nothing but what it writes to.
        let places = (self.notes == Notes::Places).then(|| self.spare_places.take().unwrap_or_default());
        TxOutput { result: Ok(paid), bloom: None, inspector: None, accesses, places }
    }

    /// Notes where a transaction looked that it has just run, calling a contract of this code, and that nobody had foreseen. Returns
    /// what was not known before.
    pub fn note_slots(
        &mut self,
        slots: &CallSlots,
        code_hash: &B256,
        transaction: &Transaction,
        looked_at: &[EvmKey],
    ) -> Vec<Site> {
        slots.note(code_hash, transaction.env(), looked_at, &self.database().hashes)
    }

    /// Gives back room that came with an output.
    pub fn reuse(&mut self, mut places: Box<Places>) {
        places.clear();
        self.spare_places = Some(places);
    }

    /// What a plain payment looks at: its parties, and whoever is tipped.
    fn payment_accesses(&mut self, env: &TxEnv) -> Accesses {
        let tipped = self.machine().inner.ctx.block.beneficiary;
        let parties = [env.caller].into_iter().chain(env.kind.to().copied());
        let mut accesses = Accesses::of_accounts(parties.chain([tipped]));
        // That neither party has code is what makes it a plain payment.
        accesses.accounts.iter_mut().for_each(|it| {
            it.code = it.address != tipped || it.address == env.caller || Some(&tipped) == env.kind.to();
        });
        accesses
    }

    fn database(&mut self) -> &mut StateHandle {
        &mut self.machine().inner.ctx.journaled_state.database
    }

    /// Runs a call of `SYSTEM_ADDRESS` to a contract, with 30 M gas and nothing to pay, and leaves its writes in `view`
    /// (EIP-4788, EIP-2935, EIP-7002, EIP-7251).
    ///
    /// # Errors
    /// When the state source fails. A contract that fails is a result.
    pub fn system_call(
        &mut self,
        contract: Address,
        input: Bytes,
        view: &mut View<EvmProgram>,
    ) -> Result<Result<ExecutionResult<HaltReason>, ExecutionFailure>, StateError> {
        let caller = revm::handler::SYSTEM_ADDRESS;
        let mut env = TxEnv::new_system_tx_with_caller(caller, contract, input);
        if !self.machine().inner.ctx.cfg.enable_amsterdam_eip8037 {
            // revm adds gas for the state lane of EIP-8037, whether or not there is one.
            env.gas_limit = SYSTEM_CALL_GAS;
        }
        let env = Arc::new(env);
        let notes = if self.notes == Notes::Nothing { Notes::Nothing } else { Notes::Accesses };
        let ran = self.attempt(env, view, notes, |handler, machine| handler.run_system_call(machine));
        match ran {
            Ok(result) => Ok(result),
            Err(Interrupt::Fault(fault)) => Err(fault),
            Err(other) => unreachable!("nothing interrupts a call on committed state: {other:?}"),
        }
    }

    /// What the last system call looked at, where that is asked for.
    pub fn take_accesses(&mut self) -> Option<Box<Accesses>> {
        self.accesses.take()
    }

    /// Runs something in the EVM over `view`, and leaves reads and writes there.
    fn attempt(
        &mut self,
        env: Arc<TxEnv>,
        view: &mut View<EvmProgram>,
        notes: Notes,
        run: impl FnOnce(&mut ObservingHandler, &mut Machine) -> Result<ExecutionResult<HaltReason>, MachineError>,
    ) -> Result<Result<ExecutionResult<HaltReason>, ExecutionFailure>, Interrupt<StateError>> {
        self.in_attempt = true;
        let Self { machine, handler, accesses, places, spare_places, is_plain, .. } = self;
        (*accesses, *places) = (None, None);
        let machine = machine.as_mut().expect("a worker that is given up runs nothing");
        // A precompile of somebody else's may ask for what nobody hears of.
        let asked_for = (notes == Notes::Places && *is_plain).then(|| spare_places.take().unwrap_or_default());
        machine.inner.ctx.journaled_state.database.begin(view.take(), asked_for);
        machine.inner.ctx.tx = env;
        // An interrupted attempt can end by one error while another is still noted here.
        machine.inner.ctx.error = Ok(());
        let ran = run(handler, machine);
        let context = machine.ctx();
        let spec = context.cfg.spec;
        let present = touched_and_empty(&context.journaled_state.inner.state, spec);
        // Whatever happened: revm's warm sets, logs and accounts must not reach the next attempt.
        let state = context.journaled_state.finalize();
        let handle = &mut context.journaled_state.database;
        match notes {
            Notes::Accesses if ran.is_ok() => *accesses = Some(Box::new(Accesses::of_journal(&state, handle))),
            Notes::Places if ran.is_ok() => {
                let noted = handle.take_places().unwrap_or_default();
                places.insert(noted).complete(&state, handle);
            }
            _ => {}
        }
        if ran.is_ok() && !handle.is_interrupted() {
            write_journal(state, &present, spec, handle);
        }
        if matches!(ran, Err(EVMError::Custom(_) | EVMError::CustomAny(_))) {
            // A precompile gave up: over what it had seen, for all that is known.
            handle.observe_everything();
        }
        let interrupt;
        (*view, interrupt) = handle.finish();
        self.in_attempt = false;
        if let Some(interrupt) = interrupt {
            return Err(interrupt);
        }
        match ran {
            Ok(result) => Ok(Ok(result)),
            Err(EVMError::Database(error)) => Err(error.0.0),
            Err(EVMError::Transaction(invalid)) => Ok(Err(ExecutionFailure::Invalid(invalid))),
            Err(EVMError::Header(invalid)) => Ok(Err(ExecutionFailure::Header(invalid))),
            Err(EVMError::Custom(error)) => Ok(Err(ExecutionFailure::Fatal(error.into()))),
            Err(EVMError::CustomAny(error)) => Ok(Err(ExecutionFailure::Fatal(error.to_string().into()))),
        }
    }
}

impl Worker<EvmProgram> for EvmWorker {
    /// Tells plain payments.
    fn foretell(
        &mut self,
        transaction: &Transaction,
        view: &mut View<EvmProgram>,
    ) -> Result<Option<TxOutput>, Interrupt<StateError>> {
        if !self.pays_directly {
            return Ok(None);
        }
        let env = transaction.env();
        self.machine().inner.ctx.tx = Arc::clone(env);
        let handler = self.handler;
        // Over known writes, what comes before is there already.
        let turn = if view.is_over_known_writes() { Turn::Own } else { Turn::Ahead };
        let paid = transfer(self.machine(), &handler, view, turn)?;
        Ok(paid.map(|paid| self.payment(env, paid)))
    }

    fn execute(
        &mut self,
        transaction: &Transaction,
        view: &mut View<EvmProgram>,
    ) -> Result<TxOutput, Interrupt<StateError>> {
        let env = Arc::clone(transaction.env());
        if self.pays_directly {
            self.machine().inner.ctx.tx = Arc::clone(&env);
            let handler = self.handler;
            match transfer(self.machine(), &handler, view, Turn::Own) {
                Ok(Some(paid)) => return Ok(self.payment(&env, paid)),
                // revm comes to what cannot be read in its own order: of several faults the first is the block's.
                Ok(None) | Err(Interrupt::Fault(_)) => {}
                Err(interrupt) => return Err(interrupt),
            }
        }
        let Some(inspectors) = &self.inspectors else {
            let begun = self.times.is_some().then(Instant::now);
            let result = self.attempt(env, view, self.notes, |handler, machine| handler.run(machine))?;
            // Whom nothing was done for but the payment may be paid directly the next time.
            let is_call = !transaction.env().data.is_empty()
                || result.as_ref().is_ok_and(|result| result.gas().tx_gas_used() > GAS_OF_PAYMENT);
            if let (Some(times), Some(begun), false, true) = (&self.times, begun, view.has_waited(), is_call) {
                times.note(transaction.env(), u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX));
            }
            let (accesses, places) = (self.accesses.take(), self.places.take());
            let bloom = bloom_of(&result, &mut self.database().hashes);
            return Ok(TxOutput { result, bloom, inspector: None, accesses, places });
        };
        let index = TxIndex(view.position().0 - 1);
        let inspector = inspectors.inspector(index, view.incarnation());
        self.machine().inner.inspector = inspector;
        let result = self.attempt(env, view, self.notes, |handler, machine| {
            let ran = handler.inspect_run(machine);
            // What an inspector is shown comes out with the result, so all of it must be right.
            machine.inner.ctx.journaled_state.database.observe_everything();
            ran
        })?;
        let inspector = std::mem::replace(&mut self.machine().inner.inspector, Box::new(NoOpInspector));
        let (accesses, places) = (self.accesses.take(), self.places.take());
        let bloom = bloom_of(&result, &mut self.database().hashes);
        Ok(TxOutput { result, bloom, inspector: Some(inspector), accesses, places })
    }
}

/// Builds an EVM for the rules of `cfg`.
fn machine(cfg: &CfgEnv, settings: &EvmSettings) -> Machine {
    let spec = cfg.spec;
    let mut precompiles = PrecompilesMap::from_static(Precompiles::new(PrecompileSpecId::from_spec_id(spec)));
    if let Some(customizer) = &settings.precompiles {
        customizer.customize(spec, &mut precompiles);
    }
    let context: Context<BlockEnv, TxEnv, CfgEnv, StateHandle> = Context::new(StateHandle::new(), spec);
    let context = context.with_tx(Arc::new(TxEnv::default())).with_cfg(cfg.clone());
    let inner = revm::context::Evm {
        ctx: context,
        inspector: Box::new(NoOpInspector) as Box<dyn TransactionInspector>,
        instruction: observing_instructions(spec),
        precompiles,
        frame_stack: FrameStack::new_prealloc(8),
    };
    Machine { inner, custom_precompiles: settings.precompiles.is_some(), runs_in_line: true }
}

impl Drop for EvmWorker {
    fn drop(&mut self) {
        if let Some(machine) = self.machine.take().filter(|_| self.is_plain && !self.in_attempt) {
            spare::leave(machine);
        }
    }
}

/// The bloom filter of a result's logs (Yellow Paper, section 4.3.1), if it has any.
fn bloom_of(result: &Result<ExecutionResult<HaltReason>, ExecutionFailure>, hashes: &mut Hashes) -> Option<Box<Bloom>> {
    let logs: &[Log] = result.as_ref().map_or(&[], |result| result.logs());
    if logs.is_empty() {
        return None;
    }
    let mut bloom = Box::new(Bloom::ZERO);
    for log in logs {
        bloom.m3_2048_hashed(&hashes.keccak256(log.address.as_slice()));
        log.topics().iter().for_each(|topic| bloom.m3_2048_hashed(&hashes.keccak256(topic.as_slice())));
    }
    Some(bloom)
}

impl std::fmt::Debug for EvmWorker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EvmWorker").field("machine", &"revm").finish_non_exhaustive()
    }
}
