//! One EVM per thread that waits for the next block.
//!
//! revm's EVM cannot be sent to another thread, and building one takes as long as a payment or two. So a worker that is
//! given up leaves its EVM on its thread, without anything of its block, and the next worker there takes it over if the
//! rules are the same.

use std::cell::Cell;

use revm::context::CfgEnv;

use crate::machine::Machine;

thread_local! {
    static SPARE: Cell<Option<Box<Machine>>> = const { Cell::new(None) };
}

/// The EVM left on this thread, if it is one for these rules.
pub(crate) fn take(cfg: &CfgEnv) -> Option<Box<Machine>> {
    SPARE.take().filter(|machine| machine.inner.ctx.cfg == *cfg)
}

/// Leaves an EVM on this thread. It must not have been interrupted by a panic.
pub(crate) fn leave(mut machine: Box<Machine>) {
    machine.inner.ctx.journaled_state.database.let_go();
    // Nothing is left behind on a thread that is ending.
    let _ = SPARE.try_with(|spare| spare.set(Some(machine)));
}
