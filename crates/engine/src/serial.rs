//! The serial twin: the same program, in order, without speculation, scheduler or versions.
//!
//! It shares with the engine only the program's own worker and the commit hook. Each transaction runs once, on
//! committed values; what it writes is committed before the next begins. Tests compare the engine with it. A list that is not
//! worth threads does not run through it, but through the engine's own commit, so that one way of committing is tested.

use crate::{
    CommitHook, Decision, Effects, Incarnation, Interrupt, Memory, Position, Program, RunError, TxIndex, View, Worker,
    WorkerFactory,
    sync::Arc,
    view::{Standing, ViewOptions},
};

/// Runs `transactions` in order on this thread. Returns where the hook stopped the run, if it did.
///
/// # Errors
/// When the base state fails.
///
/// # Panics
/// When the worker or the hook panics.
pub fn run<P: Program>(
    memory: &Arc<Memory<P>>,
    transactions: &[P::Transaction],
    factory: &impl WorkerFactory<P>,
    hook: &mut impl CommitHook<P>,
) -> Result<Option<TxIndex>, RunError<P::Fault>> {
    memory.set_stopped(false);
    let mut worker = factory.build();
    let mut view = View::new(Arc::clone(memory), ViewOptions { record: true, check_when_due: false }, None);
    for (index, transaction) in (0..).map(TxIndex).zip(transactions) {
        memory.set_frontier(index.position());
        match hook.admit(index, transaction) {
            Decision::Keep => {}
            Decision::Skip => continue,
            Decision::Stop => return Ok(Some(index)),
        }
        view.begin(index, Incarnation(0), Standing::Frontier, None);
        let output = match worker.execute(transaction, &mut view) {
            Ok(output) => output,
            Err(Interrupt::Fault(source)) => return Err(RunError::Fault { index, source }),
            Err(other) => unreachable!("nothing interrupts transaction {index} of a serial run: {other:?}"),
        };
        view.prepare().map_err(|source| RunError::Fault { index, source })?;
        let effects = Effects { memory, position: index.position(), reads: &view.reads, writes: &view.writes };
        match hook.commit_transaction(index, output, effects) {
            Decision::Keep => view.commit().map_err(|source| RunError::Fault { index, source })?,
            Decision::Skip => {}
            Decision::Stop => return Ok(Some(index)),
        }
    }
    memory.set_frontier(Position(transactions.len() as u32 + 1));
    Ok(None)
}
