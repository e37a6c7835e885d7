//! What passes between the scheduler and the workers.

use crate::{Incarnation, TxIndex};

/// One thing for a worker to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    /// Run an incarnation speculatively. `last_word`: it is the frontier's, and a failure of it is final. `withhold`:
    /// its writes are not published yet.
    Execute { index: TxIndex, incarnation: Incarnation, last_word: bool, withhold: bool },
    /// Run an incarnation whose time has not come: it waits inside the read where it meets the transaction that it follows.
    Begin { index: TxIndex, incarnation: Incarnation },
    /// Foretell so many transactions from this one on, as far as they can be.
    Foretell { index: TxIndex, count: u32 },
    /// Look again whether an executed transaction's observations hold.
    Validate { index: TxIndex, incarnation: Incarnation },
    /// Commit the lowest uncommitted transaction, running it on committed state if its result is missing or wrong.
    /// `admitted`: the hook has admitted it before, when there was no right result yet.
    Commit { index: TxIndex, incarnation: Incarnation, admitted: bool },
    /// Publish what all incarnations withheld.
    PublishAll,
    /// Nothing is left to do, ever.
    Finish,
}

/// What a worker has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Report {
    /// An incarnation has a result, and it is published.
    Executed { index: TxIndex },
    /// Of so many transactions from this one on, those whose bit is set were foretold: they have a result that nobody sees.
    Foretold { index: TxIndex, count: u32, told: u64 },
    /// An incarnation ended without a result; it waits for `on`, if that is what stopped it.
    Aborted { index: TxIndex, on: Option<TxIndex> },
    /// An incarnation cannot go on before it is the frontier.
    Deferred { index: TxIndex },
    /// A result was looked at again.
    Validated { index: TxIndex, holds: bool },
    /// The frontier is admitted and its incarnation was found wrong: it is to run again as an incarnation.
    Invalid { index: TxIndex },
    /// The frontier is admitted and has no result yet: it is to run as an incarnation.
    Missing { index: TxIndex },
    /// The frontier is committed. `speculated`: by an incarnation whose observations held.
    Committed { index: TxIndex, speculated: bool, wasted: bool, cost: u64 },
    /// What was withheld is published.
    PublishedAll,
}
