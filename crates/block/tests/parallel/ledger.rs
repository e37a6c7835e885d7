//! A store in memory that waits, fails or panics where a test says so.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use alloy_primitives::{Address, B256, Bytes, U256};
use rayon::ThreadPool;
use ropewalk_block::pipeline::Tip;
use ropewalk_state::{
    Account, BlockCommit, MemoryState, StateError, StateReader, StateStore, StateWriter,
    trie::{Nibbles, NodeReader, StateTrie},
};

use crate::{chain::BEFORE, world::NUMBER};

/// What a ledger does with a block instead of committing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Fail,
    Panic,
    /// Commits it and panics then.
    PanicLate,
}

/// A store that computes and compares roots, and remembers what it did.
#[derive(Debug)]
pub(crate) struct Ledger {
    held: Held,
    tip: (u64, B256),
    acts: Vec<(u64, Act)>,
    panics_at_snapshot: bool,
    book: Arc<Book>,
}

/// A state as of one block, with its tries. Nodes are only read where roots may be computed.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) state: Arc<MemoryState>,
    trie: StateTrie,
}

/// What a test sees of a ledger, and how it holds it back.
#[derive(Debug)]
pub(crate) struct Book {
    page: Mutex<Page>,
    turned: Condvar,
}

#[derive(Debug)]
struct Page {
    /// Number of the block that was begun last.
    begun: u64,
    /// Numbers and hashes of the blocks that were committed.
    committed: Vec<(u64, B256)>,
    /// Blocks up to this number may be committed; a later one waits.
    allowed: u64,
}

/// A pool whose threads are known by their names.
pub(crate) fn roots_pool(threads: usize) -> Arc<ThreadPool> {
    let named = |index| format!("roots-{index}");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(named).build();
    Arc::new(pool.expect("the system gives threads"))
}

impl Ledger {
    /// A ledger whose head is the block before a chain's first.
    pub(crate) fn new(state: &MemoryState) -> (Self, Arc<Book>) {
        Self::with_acts(state, [])
    }

    /// A ledger that does these things with the blocks of these numbers.
    pub(crate) fn with_acts(state: &MemoryState, acts: impl IntoIterator<Item = (u64, Act)>) -> (Self, Arc<Book>) {
        let page = Page { begun: NUMBER - 1, committed: Vec::new(), allowed: u64::MAX };
        let book = Arc::new(Book { page: Mutex::new(page), turned: Condvar::new() });
        let held = Held { state: Arc::new(state.clone()), trie: StateTrie::of(state) };
        let (tip, acts) = ((NUMBER - 1, BEFORE), acts.into_iter().collect());
        (Self { held, tip, acts, panics_at_snapshot: false, book: Arc::clone(&book) }, book)
    }

    /// What a pipeline must know of the head.
    pub(crate) fn tip(&self) -> Tip {
        Tip { number: self.tip.0, hash: self.tip.1, state_root: self.held.trie.root() }
    }

    /// The state of the head.
    pub(crate) fn state(&self) -> &MemoryState {
        &self.held.state
    }
}

impl StateWriter for Ledger {
    fn commit_block(&mut self, block: &BlockCommit<'_>) -> Result<(), StateError> {
        assert_in_roots_pool();
        self.book.begin(block.number);
        let act = self.acts.iter().find(|(number, _)| *number == block.number).map(|(_, act)| *act);
        match act {
            Some(Act::Fail) => return Err(StateError::MissingBlockHash(block.number)),
            Some(Act::Panic) => panic!("no block {} here", block.number),
            Some(Act::PanicLate) => self.panics_at_snapshot = true,
            None => {}
        }
        if (block.number, block.parent_hash) != (self.tip.0 + 1, self.tip.1) {
            let (expected, found) = (self.tip.1, block.parent_hash);
            return Err(StateError::WrongParent { number: block.number, expected, found });
        }
        let mut trie = self.held.trie.clone();
        let (number, expected, found) = (block.number, block.state_root, trie.apply(block.changes)?);
        if found != expected {
            return Err(StateError::WrongStateRoot { number, expected, found });
        }
        let mut state = MemoryState::clone(&self.held.state);
        state.commit_block(block)?;
        self.held = Held { state: Arc::new(state), trie };
        self.tip = (block.number, block.hash);
        self.book.page().committed.push(self.tip);
        Ok(())
    }
}

impl StateStore for Ledger {
    type Snapshot = Held;

    fn snapshot(&self) -> Held {
        assert!(!self.panics_at_snapshot, "no snapshot of block {}", self.tip.0);
        self.held.clone()
    }
}

impl StateReader for Held {
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError> {
        self.state.account(address)
    }

    fn storage(&self, address: &Address, slot: &U256) -> Result<U256, StateError> {
        self.state.storage(address, slot)
    }

    fn storage_is_empty(&self, address: &Address) -> Result<bool, StateError> {
        self.state.storage_is_empty(address)
    }

    fn code(&self, hash: &B256) -> Result<Bytes, StateError> {
        self.state.code(hash)
    }

    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        self.state.block_hash(number)
    }
}

impl NodeReader for Held {
    fn node(&self, account: Option<B256>, path: &Nibbles, hash: &B256) -> Result<Option<Bytes>, StateError> {
        assert_in_roots_pool();
        self.trie.node(account, path, hash)
    }
}

fn assert_in_roots_pool() {
    let thread = thread::current();
    assert!(thread.name().is_some_and(|name| name.starts_with("roots-")), "roots are computed on {thread:?}");
}

impl Book {
    fn page(&self) -> MutexGuard<'_, Page> {
        self.page.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets blocks up to this number be committed, and no others.
    pub(crate) fn allow(&self, number: u64) {
        self.page().allowed = number;
        self.turned.notify_all();
    }

    /// Waits until the commit of this block has begun. Then all before it are committed, and their snapshots are in use.
    pub(crate) fn wait_for(&self, number: u64) {
        self.wait(|page| page.begun >= number);
    }

    /// Numbers and hashes of the committed blocks.
    pub(crate) fn committed(&self) -> Vec<(u64, B256)> {
        self.page().committed.clone()
    }

    fn begin(&self, number: u64) {
        self.page().begun = number;
        self.turned.notify_all();
        self.wait(|page| page.allowed >= number);
    }

    /// A test must not hang.
    fn wait(&self, holds: impl Fn(&Page) -> bool) {
        let waited = self.turned.wait_timeout_while(self.page(), Duration::from_secs(20), |page| !holds(page));
        let (page, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!waited.timed_out(), "waited in vain: {page:?}");
    }
}
