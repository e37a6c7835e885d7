//! Why a run ended before its last transaction.

use std::error::Error;

use crate::TxIndex;

/// A run could not be finished. All transactions below the named one are committed, none at or above it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError<F: Error + 'static> {
    /// The base state failed a transaction whose lower transactions were all committed.
    #[error("the state source failed transaction {index}")]
    Fault {
        /// The transaction that needed the state.
        index: TxIndex,
        /// What the source said.
        #[source]
        source: F,
    },
    /// A worker panicked on a transaction whose lower transactions were all committed.
    #[error("executing transaction {index} panicked: {message}")]
    Panicked {
        /// The transaction that was executed.
        index: TxIndex,
        /// The panic's message.
        message: String,
    },
    /// The caller asked for the end.
    #[error("cancelled before transaction {index}")]
    Cancelled {
        /// The lowest transaction that is not committed.
        index: TxIndex,
    },
}
