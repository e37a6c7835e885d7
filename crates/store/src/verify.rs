//! The whole store held against itself: flat state, trie nodes, codes and head.
//!
//! The flat state is what blocks are executed on, so it is taken at its word, and everything else is computed from it:
//! its root is compared with the head's, and each node of its tries with the node that is stored. What is stored beside
//! that and could still be reached is found by counting, and by a pass over what belongs to no account.
//!
//! One pass in the order of keys: memory does not grow with the state. Findings are kept up to a stated number.

use alloy_primitives::{B256, KECCAK256_EMPTY};
use rocksdb::ReadOptions;
use ropewalk_state::trie::Nibbles;

use crate::{
    StoreError,
    database::malformed,
    flat::{self, Rows, Visitor},
    layout::{self, Column, Head, StorageIncarnation, storage_prefix},
    nodes::Trie,
    reader::View,
    tuning,
};

/// How many findings are told in full; the rest are counted.
pub const FINDINGS_KEPT: usize = 100;

/// How many accounts, slots or nodes lie between two steps of progress.
const STEP: u64 = 4096;

/// How many nodes are looked up at once.
const LOOKUP: usize = 256;

/// How far a verification has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerifyStep {
    /// The state root is being computed from the flat state, and nodes are compared.
    State {
        /// Accounts passed so far.
        accounts: u64,
        /// Slots passed so far, zeros not counted.
        slots: u64,
        /// How much of the state is done, in 65,536ths: accounts are passed in the order of their hashes, which spreads
        /// them evenly.
        share: u16,
    },
    /// What belongs to no account is being looked for, and this many accounts' storages were passed.
    Leftovers {
        /// Storages passed so far, one for each account and incarnation.
        storages: u64,
    },
}

/// What a verification saw.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "the findings tell whether the store is sound"]
pub struct Verified {
    /// The block whose state was looked at; `None` where the store is empty.
    pub head: Option<Head>,
    /// Root of the flat state. It means something only where [`Head::state_root`] is there to compare it with.
    pub state_root: B256,
    /// Number of accounts.
    pub accounts: u64,
    /// Number of slots that are not zero.
    pub slots: u64,
    /// Number of trie nodes that the flat state makes; 0 where the store holds only a part of a state.
    pub nodes: u64,
    /// Storages that accounts lost and no read reaches any more, one for each account and incarnation.
    pub stale_storages: u64,
    /// What is wrong, in the order it was found: at most [`FINDINGS_KEPT`].
    pub findings: Vec<Finding>,
    /// Number of findings, told or not.
    pub findings_total: u64,
}

impl Verified {
    /// Whether nothing was found.
    pub fn is_sound(&self) -> bool {
        self.findings_total == 0
    }
}

/// Something in the store that cannot be as it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// The flat state is not that of the head.
    #[error("the flat state has root {found}, the head claims {expected}")]
    StateRoot {
        /// The head's.
        expected: B256,
        /// The flat state's.
        found: B256,
    },
    /// A node that the flat state makes is not stored.
    #[error("the node at path {path:?} of {} is missing", trie_name(.account))]
    MissingNode {
        /// Hash of the account's address for a storage trie, `None` for the account trie.
        account: Option<B256>,
        /// Path from that trie's root.
        path: Nibbles,
    },
    /// Another node is stored than the one that the flat state makes.
    #[error("the node at path {path:?} of {} differs from the flat state", trie_name(.account))]
    DifferentNode {
        /// Hash of the account's address for a storage trie, `None` for the account trie.
        account: Option<B256>,
        /// Path from that trie's root.
        path: Nibbles,
    },
    /// More nodes are stored than the flat state makes.
    #[error("{count} nodes too many are stored for {}", trie_name(.account))]
    SuperfluousNodes {
        /// Hash of the account's address for a storage trie, `None` for the account trie.
        account: Option<B256>,
        /// Number of nodes.
        count: u64,
    },
    /// Slots or nodes are stored for an account that does not exist, where it would find them once it does.
    #[error("storage of the account with hash {account} is there without the account, in column family {column}")]
    StorageWithoutAccount {
        /// Hash of the account's address.
        account: B256,
        /// Name of the column family.
        column: &'static str,
    },
    /// Slots or nodes are stored under an incarnation that the account has not reached.
    #[error("storage of the account with hash {account} is ahead of its incarnation, in column family {column}")]
    StorageAhead {
        /// Hash of the account's address.
        account: B256,
        /// Name of the column family.
        column: &'static str,
    },
    /// An account refers to code that is not stored.
    #[error("code {code_hash} of the account with hash {account} is missing")]
    MissingCode {
        /// Hash of the account's address.
        account: B256,
        /// Keccak-256 of the code.
        code_hash: B256,
    },
}

fn trie_name(account: &Option<B256>) -> String {
    match account {
        Some(hash) => format!("the storage trie of account hash {hash}"),
        None => "the account trie".to_owned(),
    }
}

/// Verifies the state that `view` shows, which is that of `head`.
pub(crate) fn verify(
    view: &View<'_>,
    head: Option<Head>,
    progress: &mut dyn FnMut(VerifyStep),
) -> Result<Verified, StoreError> {
    let expected = head.and_then(|head| head.state_root);
    let mut pass = Pass::new(view, head, progress);
    let root = flat::state_root(view, &mut pass)?;
    pass.verified.state_root = root;
    if let Some(expected) = expected.filter(|expected| *expected != root) {
        pass.find(Finding::StateRoot { expected, found: root });
    }
    pass.compare_nodes()?;
    pass.count_nodes(&Trie::Accounts, pass.account_nodes)?;
    pass.leftovers(Column::Storage)?;
    pass.leftovers(Column::StorageNodes)?;
    Ok(pass.verified)
}

/// One pass over a state.
struct Pass<'a, 'v> {
    view: &'a View<'v>,
    progress: &'a mut dyn FnMut(VerifyStep),
    /// Whether the store holds a whole state, and so its nodes.
    has_nodes: bool,
    verified: Verified,
    /// Nodes that the flat state makes and that are not compared yet.
    pending: Vec<(Trie, Nibbles, Vec<u8>)>,
    /// Number of nodes of the account trie, and of the storage trie that is being passed.
    account_nodes: u64,
    storage_nodes: u64,
    storages: u64,
}

impl<'a, 'v> Pass<'a, 'v> {
    fn new(view: &'a View<'v>, head: Option<Head>, progress: &'a mut dyn FnMut(VerifyStep)) -> Self {
        let verified = Verified {
            head,
            state_root: B256::ZERO,
            accounts: 0,
            slots: 0,
            nodes: 0,
            stale_storages: 0,
            findings: Vec::new(),
            findings_total: 0,
        };
        let has_nodes = head.is_some_and(|head| head.state_root.is_some());
        Self {
            view,
            progress,
            has_nodes,
            verified,
            pending: Vec::with_capacity(LOOKUP),
            account_nodes: 0,
            storage_nodes: 0,
            storages: 0,
        }
    }

    fn find(&mut self, finding: Finding) {
        self.verified.findings_total += 1;
        if self.verified.findings.len() < FINDINGS_KEPT {
            self.verified.findings.push(finding);
        }
    }

    /// Compares the pending nodes with what is stored.
    fn compare_nodes(&mut self) -> Result<(), StoreError> {
        let pending = std::mem::take(&mut self.pending);
        for column in [Column::AccountNodes, Column::StorageNodes] {
            let nodes: Vec<_> = pending.iter().filter(|(trie, ..)| trie.column() == column).collect();
            let keys: Vec<Vec<u8>> = nodes.iter().map(|(trie, path, _)| trie.key(path)).collect();
            let stored = self.view.get_many(column, &keys)?;
            let findings = nodes.iter().zip(stored).filter_map(|((trie, path, rlp), stored)| {
                let (account, path) = (trie.account(), *path);
                match stored {
                    None => Some(Finding::MissingNode { account, path }),
                    Some(stored) if stored[..] != rlp[..] => Some(Finding::DifferentNode { account, path }),
                    Some(_) => None,
                }
            });
            findings.for_each(|finding| self.find(finding));
        }
        Ok(())
    }

    /// Looks for nodes of a trie beyond the `made` ones that the flat state makes.
    fn count_nodes(&mut self, trie: &Trie, made: u64) -> Result<(), StoreError> {
        let (prefix, read) = match trie {
            Trie::Accounts => (&[][..], ReadOptions::default()),
            Trie::Storage(prefix) => (&prefix[..], tuning::prefix_read()),
        };
        let mut rows = Rows::new(self.view, trie.column(), prefix, read);
        let mut stored = 0_u64;
        while rows.next()?.is_some() {
            stored += 1;
        }
        if let Some(count) = stored.checked_sub(made).filter(|count| *count > 0) {
            self.find(Finding::SuperfluousNodes { account: trie.account(), count });
        }
        Ok(())
    }

    /// Looks through a storage family for what no account owns.
    fn leftovers(&mut self, column: Column) -> Result<(), StoreError> {
        let mut rows = Rows::new(self.view, column, &[], tuning::scan());
        while let Some((key, _)) = rows.next()? {
            let (account, incarnation) =
                layout::split_storage_prefix(key).map_err(|source| malformed(column, key, source))?;
            self.judge_storage(column, &account, incarnation)?;
            self.storages += 1;
            if self.storages.is_multiple_of(STEP) {
                (self.progress)(VerifyStep::Leftovers { storages: self.storages });
            }
            match layout::after_prefix(&storage_prefix(&account, incarnation)) {
                Some(next) => rows.skip_to(&next),
                None => break,
            }
        }
        Ok(())
    }

    /// Judges the presence of an account's storage at one incarnation.
    fn judge_storage(
        &mut self,
        column: Column,
        account: &B256,
        incarnation: StorageIncarnation,
    ) -> Result<(), StoreError> {
        let current = self.view.incarnation(account)?;
        let (account, name) = (*account, column.name());
        if incarnation > current {
            self.find(Finding::StorageAhead { account, column: name });
        } else if incarnation < current {
            self.verified.stale_storages += u64::from(column == Column::Storage);
        } else if self.view.get(Column::Accounts, account.as_slice(), layout::decode_account)?.is_none() {
            self.find(Finding::StorageWithoutAccount { account, column: name });
        } else if column == Column::StorageNodes
            && !self.view.has_prefix(Column::Storage, &storage_prefix(&account, current))?
        {
            self.count_nodes(&Trie::Storage(storage_prefix(&account, current)), 0)?;
        }
        Ok(())
    }
}

impl Visitor for Pass<'_, '_> {
    fn node(&mut self, trie: &Trie, path: &Nibbles, rlp: &[u8]) -> Result<(), StoreError> {
        if !self.has_nodes {
            return Ok(());
        }
        self.verified.nodes += 1;
        match trie {
            Trie::Accounts => self.account_nodes += 1,
            Trie::Storage(_) => self.storage_nodes += 1,
        }
        self.pending.push((*trie, *path, rlp.to_vec()));
        if self.pending.len() < LOOKUP { Ok(()) } else { self.compare_nodes() }
    }

    fn account(&mut self, account: &B256, code_hash: &B256, storage: &Trie, slots: u64) -> Result<(), StoreError> {
        if self.has_nodes && slots > 0 {
            self.count_nodes(storage, self.storage_nodes)?;
        }
        self.storage_nodes = 0;
        if *code_hash != KECCAK256_EMPTY && !self.view.holds(Column::Code, code_hash.as_slice())? {
            self.find(Finding::MissingCode { account: *account, code_hash: *code_hash });
        }
        self.verified.accounts += 1;
        self.verified.slots += slots;
        if self.verified.accounts.is_multiple_of(STEP) || slots > STEP {
            let (accounts, slots) = (self.verified.accounts, self.verified.slots);
            let share = u16::from_be_bytes([account[0], account[1]]);
            (self.progress)(VerifyStep::State { accounts, slots, share });
        }
        Ok(())
    }
}
