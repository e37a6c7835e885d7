//! The thread that owns the store.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rayon::ThreadPool;
use ropewalk_state::{BlockCommit, StateError, StateStore};

use super::{CommitFailure, ExecutedBlock, backlog::Shared};

/// The store panicked while it committed a block.
#[derive(Debug, thiserror::Error)]
#[error("the store panicked: {message}")]
struct StorePanicked {
    message: String,
}

/// Commits what comes, in order, until there is no more or a block cannot be committed; then the store is given back.
pub(super) fn commit_all<S: StateStore + Send>(mut store: S, pool: &ThreadPool, shared: &Shared<S::Snapshot>) -> S {
    while let Some(block) = shared.next() {
        // After a panic the store is not written to any more. What it holds is for it to say: the panic came from it.
        let committed =
            catch_unwind(AssertUnwindSafe(|| pool.install(|| commit(&mut store, &block)).map(|()| store.snapshot())));
        let source = match committed {
            Ok(Ok(snapshot)) => {
                shared.committed_first(block.number, snapshot);
                continue;
            }
            Ok(Err(source)) => source,
            Err(panic) => StateError::source_failed(StorePanicked { message: message_of(&*panic) }),
        };
        shared.fail(CommitFailure { number: block.number, hash: block.hash, source });
        break;
    }
    store
}

fn commit(store: &mut impl StateStore, block: &ExecutedBlock) -> Result<(), StateError> {
    let &ExecutedBlock { number, hash, parent_hash, state_root, ref changes } = block;
    store.commit_block(&BlockCommit { number, hash, parent_hash, state_root, changes })
}

fn message_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
