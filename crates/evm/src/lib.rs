//! Runs one Ethereum transaction in revm against a view of multi-version memory, and translates what it did.
//!
//! ```text
//!   view ──load──> StateHandle (revm's Database) ──> revm's own journal ──finalize──> write set
//!                       ^
//!                       │ observe: frame initialisation, instruction wrappers, our handler
//! ```
//!
//! revm loads whole accounts. A **load** is answered with the best known values and is not an observation: what makes
//! one is the place in the EVM where a value decides something. A value transfer observes "balance at least x", a
//! `BALANCE` the exact balance, executing code its hash. So a payment to a contract does not conflict with a call of
//! its code, and payments to one account commute.
//!
//! | module | holds |
//! |---|---|
//! | [`EvmProgram`] | the engine's program: keys, values, deltas, observations |
//! | `handle` | revm's `Database` over a view, and the notes of what was observed |
//! | `machine`, `instructions`, `handler` | the extension points of revm where observations are made |
//! | `interpreter` | the loop that runs contracts, common instructions in line |
//! | `deployed` | code that was deployed before in the block: it is not hashed again |
//! | `transfer` | plain payments, which need no EVM |
//! | `translate` | revm's journal to deltas: destruction, creation, emptiness |
//! | [`EvmWorker`] | one EVM per thread, reused |
//! | [`Accesses`] | what a transaction looked at, where that is asked for |
//! | [`ArrivalTimes`] | when a transaction comes to what it looks at, where that is asked for |
//! | [`CallConflicts`] | which calls get in each other's way, learned from those before |
//! | [`CallTimes`] | how long calls take, learned from those before |
//! | [`CodeCache`], `own_codes` | analysed code by hash, shared by all workers and blocks; each worker counts its own references to it |

mod accesses;
mod account;
mod arrivals;
mod base;
mod calls;
mod code;
mod conflicts;
mod deployed;
mod handle;
mod handler;
mod hashes;
mod instructions;
mod interpreter;
mod intrinsic;
mod machine;
mod own_codes;
mod program;
mod slots;
mod spare;
mod times;
mod transfer;
mod translate;
mod worker;

pub use accesses::{Accesses, AccountAccess, Places};
pub use account::{AccountDelta, AccountObservation, AccountValue, BalanceRange, BalanceStep, Existence, NewCode};
pub use arrivals::{ArrivalTimes, Arrivals};
pub use base::ReaderBase;
pub use code::CodeCache;
pub use conflicts::{CallConflicts, CallKind, CallTally};
pub use handle::{HandleError, StateHandle};
pub use machine::{EvmContext, TransactionInspector};
pub use program::{
    EvmDelta, EvmKey, EvmObservation, EvmProgram, EvmValue, ExecutionFailure, Transaction, TxOutput, field,
};
pub use slots::{CallSlots, Site};
pub use times::CallTimes;
pub use worker::{EvmFactory, EvmSettings, EvmWorker, InspectorFactory, PrecompileCustomizer, WorkerShortcuts};
