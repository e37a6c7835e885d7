//! Turns a block and the state before it into a checked outcome.
//!
//! ```text
//! recover    block -> RecoveredBlock       senders and EVM environments, in parallel
//! execute    RecoveredBlock, StateReader -> BlockOutcome
//! validate   BlockOutcome against what the header claims -> Checks
//! ```
//!
//! A block's [`Record`] says what it did position by position; its [`AccessList`] (EIP-7928) is made from that, and one
//! that came with a block can be the plan of its execution.
//!
//! [`ChainSpec`] says which rules hold in a block. What a block does besides its transactions is one EIP per file,
//! put in order by `positions` and written against committed state. [`import`] is everything else that is checked of a
//! block before and after it is executed. [`pipeline`] drives a chain of blocks: one is executed while those before it
//! are committed. A [`Recorder`] notes when each worker did what, [`Metrics`] adds up what executions cost. [`oracle`] executes a block in order with
//! alloy-evm, independently of the engine; [`first_difference`] tells where two outcomes part.
//!
//! This crate knows headers, signatures, forks, system calls and receipts. It does not know where state comes from, how
//! fixtures look, or who asks.

mod access_list;
mod bundle;
mod chain;
mod difference;
mod error;
mod executor;
mod exposition;
pub mod import;
pub mod oracle;
mod outcome;
pub mod pipeline;
mod record;
mod recovered;
mod slow_reads;
mod timeline;
mod validate;
mod witness;

// What happens around the transactions, in order of position.
mod eip2935;
mod eip4788;
mod eip4844;
mod eip4895;
mod eip6110;
mod eip7002;
mod eip7251;
mod eip779;
mod eip8282;
mod positions;
mod rewards;
mod system_call;

#[cfg(test)]
mod plain_state;

pub use access_list::{AccessList, AccessListExtension, AccessListFault, AccessListPart};
pub use bundle::{bundle_from_changes, changes_from_bundle};
pub use chain::{ChainSpec, ChainSpecError, NetworkError};
pub use difference::{AccountPart, Difference, first_difference};
pub use error::{
    BlockError, BrokenInvariant, InvalidBlock, Position, SignatureFault, SystemCallFailure, TransactionFault,
};
pub use executor::{BlockExecutor, Execution, ExecutorOptions, Footprint, Footprints, Foresight, Locations, Shortcuts};
pub use exposition::Metrics;
pub use outcome::{BlockOutcome, InvalidTransactions, SkippedTransaction};
pub use record::{Accesses, AccountAccess, PositionRecord, Record};
pub use recovered::{BlockTransaction, RecoveredBlock, recover};
pub use slow_reads::SlowReads;
pub use system_call::RequestContracts;
pub use timeline::{Abort, Recorder, Span, Step, Timeline};
pub use validate::{Check, Checks, Claims, Computed, Status, validate};
pub use witness::ExecutionWitness;

/// What may be wrong with a transaction by itself or on the state that it finds; [`TransactionFault`] holds it.
pub use revm::context_interface::result::InvalidTransaction;

// What an embedder needs of the layers below to say how execution is to go about it, and to watch it.
pub use ropewalk_engine::{
    AbortCause, CancelToken, CellId, Dependencies, Engine, Event, Fields, Frontier, Incarnation, Link, NoProbe, Probe,
    Schedule, Stats, TxIndex,
};
pub use ropewalk_evm::{
    CallConflicts, CallSlots, CallTimes, CodeCache, EvmContext, EvmKey, EvmSettings, InspectorFactory,
    PrecompileCustomizer, TransactionInspector, field,
};
