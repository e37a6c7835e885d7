//! Makes blocks durable: a state in RocksDB that is always exactly some block's state.
//!
//! A [`Store`] takes one block after another ([`Store::commit_block`]), each in one atomic batch that carries the head
//! marker, so that whatever interrupts it, the next open finds the state after some block and nothing in between. How
//! far back that block may lie is the chosen [`Durability`]. A [`StoreReader`] is an owned snapshot: it sees one block,
//! however many are committed meanwhile, and may be cloned to as many threads as one likes. It implements
//! [`StateReader`](ropewalk_state::StateReader), the store [`StateWriter`](ropewalk_state::StateWriter).
//!
//! Where the store holds a whole state it is authenticated: trie nodes are kept by path, each block's state root is
//! computed from what changed, and a block whose header claims another is refused.
//!
//! No execution and no EIP rule lives here. What the bytes mean is said in one place, the documentation of
//! [`layout`]; the files follow the way of a block:
//!
//! | file | holds |
//! |---|---|
//! | `layout` | column families, keys, values: every byte that reaches RocksDB, and its decoding |
//! | `tuning` | every RocksDB knob, and what it costs |
//! | `database` | opening: the lock, whose directory this is, which layout; RocksDB's errors made typed |
//! | `commit` | a block's changes as one batch, with the state root they lead to |
//! | `changeset` | what a block overwrote, in bytes |
//! | `unwind` | one block undone, as one batch |
//! | `prune` | how far back blocks can be unwound, and what goes once they cannot |
//! | `nodes` | trie nodes by path: reading them, and writing what a block changes |
//! | `node_cache` | the trie nodes that the latest blocks changed or passed |
//! | `flat` | the tries that the flat state makes, in one pass |
//! | `verify` | the whole store held against itself |
//! | `load` | a whole state as one load through sorted files, guarded by a marker; and its removal |
//! | `export` | a whole state as one stream of bytes |
//! | `reader` | snapshots |
//! | `absent` | what a snapshot is known not to hold |
//! | `counts` | how much there is |
//! | `hint` | the head that the last process had, to tell what was lost |
//! | `probe` | steps of the work, for whoever times it or ends it in between |
//! | `store` | the head, and who may follow it |
//!
//! # Example
//!
//! ```
//! use alloy_primitives::{Address, B256, U256};
//! use ropewalk_state::{Account, AccountChange, BlockCommit, Changes, StateReader, trie::StateTrie};
//! use ropewalk_store::{Store, StoreOptions};
//!
//! let directory = tempfile::tempdir()?;
//! let mut store = Store::open(directory.path(), &StoreOptions::default())?;
//! assert_eq!(store.head(), None);
//!
//! let address = Address::repeat_byte(1);
//! let account = Account { balance: U256::from(7), ..Account::EMPTY };
//! let changes = Changes {
//!     accounts: vec![AccountChange {
//!         address,
//!         before: None,
//!         after: Some(account),
//!         storage_cleared: false,
//!         slots: Vec::new(),
//!     }],
//!     ..Changes::default()
//! };
//! let genesis = BlockCommit {
//!     number: 0,
//!     hash: B256::repeat_byte(2),
//!     parent_hash: B256::ZERO,
//!     state_root: StateTrie::empty().apply(&changes)?,
//!     changes: &changes,
//! };
//! store.commit_block(&genesis)?;
//! assert_eq!(store.reader().account(&address)?, Some(account));
//! assert!(store.verify(&mut |_| {})?.is_sound());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod layout;

mod absent;
mod changeset;
mod commit;
mod counts;
mod database;
mod error;
mod export;
mod flat;
mod hint;
mod load;
mod node_cache;
mod nodes;
mod probe;
mod prune;
mod reader;
mod store;
mod tuning;
mod unwind;
mod verify;

pub use counts::{Counts, FamilySize};
pub use error::StoreError;
pub use export::{Export, ExportError, RecordFault};
pub use hint::LostBlocks;
pub use layout::{BlockMeta, Head};
pub use load::BaseEntry;
pub use probe::{Probe, Step};
pub use reader::StoreReader;
pub use store::Store;
pub use tuning::{Durability, StoreOptions};
pub use verify::{FINDINGS_KEPT, Finding, Verified, VerifyStep};
