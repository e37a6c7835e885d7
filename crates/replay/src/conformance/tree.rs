//! Blocks that were imported, each extending another, and which of them is the head.
//!
//! A block may extend any block of the tree. Under proof of work the head is the block of the highest total difficulty,
//! the first of equals; a block of proof of stake becomes the head when it is imported, because whoever offers it has
//! chosen it. When the head moves to another branch, the state unwinds to the genesis and takes the branch's changes.
//!
//! One state with its tries is kept, that of the block executed last, so that a root costs what a block changes; a block refused leaves tree, head and state as they were.

use std::{collections::HashMap, sync::Arc};

use alloy_consensus::Header;
use alloy_hardforks::EthereumHardforks;
use alloy_primitives::{B256, U256};
use ropewalk_block::{
    AccessList, BlockError, BlockOutcome, ChainSpec, Computed, Position, Record, RecoveredBlock,
    import::{
        Ancestor, Consensus, DecodedBlock, ImportError, MOST_ANCESTORS, Parent, check_body, check_header, check_ommers,
        check_outcome, consensus_after, decode_block,
    },
    recover,
};
use ropewalk_state::{Changes, MemoryState, StateReader, trie::StateTrie};

/// What executes a block on a state.
pub(super) trait Execute {
    /// The outcome of `block` on top of `parent`. `list` is the access list that came with the block.
    ///
    /// # Errors
    /// When the block is invalid or the run is cancelled.
    fn execute(
        &self,
        block: &RecoveredBlock,
        parent: Arc<dyn StateReader>,
        list: Option<&Arc<AccessList>>,
    ) -> Result<Executed, BlockError>;
}

/// What executing a block gave.
#[derive(Debug)]
pub(super) struct Executed {
    pub(super) outcome: BlockOutcome,
    /// What each position did; the oracle does not say.
    pub(super) record: Option<Record>,
    /// The block's access list.
    pub(super) access_list: Option<Arc<AccessList>>,
    /// What another way of executing the block says differently.
    pub(super) objection: Option<String>,
}

/// The imported blocks.
#[derive(Debug)]
pub(super) struct BlockTree {
    chain: Arc<ChainSpec>,
    blocks: HashMap<B256, Node>,
    genesis_hash: B256,
    genesis: Snapshot,
    head: B256,
    /// The block whose state `current` is.
    at: B256,
    current: Snapshot,
}

/// A state and its tries. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    state: Arc<MemoryState>,
    trie: StateTrie,
}

impl Snapshot {
    /// A whole state.
    pub(super) fn new(state: MemoryState) -> Self {
        Self { trie: StateTrie::of(&state), state: Arc::new(state) }
    }

    /// The state's root.
    pub(super) fn root(&self) -> B256 {
        self.trie.root()
    }

    /// The state itself.
    pub(super) fn state(&self) -> &MemoryState {
        &self.state
    }

    /// Makes the changes of a block part of the state.
    fn apply(&mut self, header: &Header, hash: B256, changes: &Changes) -> Result<(), BlockError> {
        roots(&mut self.trie, [changes])?;
        let state = Arc::make_mut(&mut self.state);
        state.apply(changes);
        state.insert_block_hash(header.number, hash);
        Ok(())
    }
}

/// Applies changes one after the other, and gives the root after each.
fn roots<'a>(trie: &mut StateTrie, changes: impl IntoIterator<Item = &'a Changes>) -> Result<Vec<B256>, BlockError> {
    let failed = |source| BlockError::State { position: Position::PostBlock, source };
    changes.into_iter().map(|changes| trie.apply(changes).map_err(failed)).collect()
}

#[derive(Debug)]
struct Node {
    header: Header,
    ommers: Vec<Header>,
    total_difficulty: U256,
    consensus: Consensus,
    changes: Arc<Changes>,
}

impl BlockTree {
    /// A tree with a genesis block only.
    pub(super) fn new(chain: Arc<ChainSpec>, hash: B256, header: Header, mut genesis: Snapshot) -> Self {
        Arc::make_mut(&mut genesis.state).insert_block_hash(header.number, hash);
        let total_difficulty = header.difficulty;
        let consensus = consensus_after(&chain, header.number, Some(U256::ZERO)).unwrap_or(Consensus::Work);
        let node = Node { header, ommers: Vec::new(), total_difficulty, consensus, changes: Arc::default() };
        Self {
            chain,
            blocks: HashMap::from([(hash, node)]),
            current: genesis.clone(),
            genesis_hash: hash,
            genesis,
            head: hash,
            at: hash,
        }
    }

    /// The chain whose rules hold.
    pub(super) fn chain(&self) -> &Arc<ChainSpec> {
        &self.chain
    }

    /// Hash of the head.
    pub(super) fn head(&self) -> B256 {
        self.head
    }

    /// State root that the head's header claims.
    pub(super) fn head_root(&self) -> B256 {
        self.blocks[&self.head].header.state_root
    }

    /// The state after a block that is refused for its outcome; `None` where it does not come so far.
    pub(super) fn state_of_refused(&mut self, rlp: &[u8], executor: &impl Execute) -> Option<MemoryState> {
        let decoded = decode_block(rlp).ok()?;
        self.check(&decoded).ok()?;
        let parent_hash = decoded.block.header.parent_hash;
        let block = recover(&self.chain, decoded.block, Some(decoded.hash)).ok()?;
        self.go_to(parent_hash).ok()?;
        let parent = Arc::clone(&self.current.state);
        let executed = executor.execute(&block, Arc::clone(&parent) as Arc<dyn StateReader>, None).ok()?;
        let mut state = MemoryState::clone(&parent);
        state.apply(&executed.outcome.changes);
        Some(state)
    }

    /// The state after the head.
    ///
    /// # Errors
    /// When the tries do not hold what they must.
    pub(super) fn head_state(&mut self) -> Result<Arc<MemoryState>, BlockError> {
        self.go_to(self.head)?;
        Ok(Arc::clone(&self.current.state))
    }

    /// Imports a block and gives its hash. `remark` hears the outcome of a block that is executed, whatever comes of it.
    ///
    /// # Errors
    /// Names the first rule that the block breaks.
    pub(super) fn import(
        &mut self,
        rlp: &[u8],
        list: Option<&Arc<AccessList>>,
        executor: &impl Execute,
        mut remark: impl FnMut(&RecoveredBlock, &Arc<MemoryState>, Result<&Executed, &BlockError>),
    ) -> Result<B256, ImportError> {
        let decoded = decode_block(rlp)?;
        let hash = decoded.hash;
        if self.blocks.contains_key(&hash) {
            return Ok(hash);
        }
        let parent_hash = decoded.block.header.parent_hash;
        let total_difficulty = self.check(&decoded)?;
        let ommers = decoded.block.body.ommers.clone();
        let block = recover(&self.chain, decoded.block, Some(hash))?;
        self.go_to(parent_hash)?;
        let parent = Arc::clone(&self.current.state);
        let executed = executor.execute(&block, Arc::clone(&parent) as Arc<dyn StateReader>, list);
        remark(&block, &parent, executed.as_ref());
        let executed = executed?;
        let header = block.header;
        self.check_outcome(&header, &executed)?;
        drop(parent);

        let parent_difficulty = self.blocks[&parent_hash].total_difficulty;
        let consensus = consensus_after(&self.chain, header.number, Some(parent_difficulty)).unwrap_or(Consensus::Work);
        let changes = Arc::new(executed.outcome.changes);
        self.blocks.insert(hash, Node { header, ommers, total_difficulty, consensus, changes });
        self.go_to(hash)?;
        if self.is_better_than_head(hash) {
            self.head = hash;
        }
        Ok(hash)
    }

    /// Everything that is checked before the block is executed. Gives the block's total difficulty.
    fn check(&self, decoded: &DecodedBlock) -> Result<U256, ImportError> {
        let header = &decoded.block.header;
        let hash = header.parent_hash;
        let parent = self.blocks.get(&hash).ok_or(ImportError::UnknownParent { hash })?;
        let total_difficulty = Some(parent.total_difficulty);
        check_header(&self.chain, header, &Parent { hash, header: &parent.header, total_difficulty })?;
        check_body(&self.chain, decoded)?;
        check_ommers(&self.chain, decoded, &self.ancestors(hash))?;
        Ok(parent.total_difficulty.saturating_add(header.difficulty))
    }

    /// The block and its ancestors, as many as the rule of ommers looks at.
    fn ancestors(&self, mut hash: B256) -> Vec<Ancestor<'_>> {
        let mut ancestors = Vec::with_capacity(MOST_ANCESTORS);
        while let Some(node) = self.blocks.get(&hash).filter(|_| ancestors.len() < MOST_ANCESTORS) {
            ancestors.push(Ancestor { hash, header: &node.header, ommers: &node.ommers });
            hash = node.header.parent_hash;
        }
        ancestors
    }

    /// Checks that the outcome is the one that the header claims.
    fn check_outcome(&self, header: &Header, executed: &Executed) -> Result<(), ImportError> {
        let Executed { outcome, record, access_list, .. } = executed;
        let state_root = roots(&mut self.current.trie.clone(), [&outcome.changes])?.pop();
        let has_early_receipts = !self.chain.is_byzantium_active_at_block(header.number);
        let transaction_roots = match record.as_ref().filter(|_| has_early_receipts) {
            Some(record) => Some(self.transaction_roots(record)?),
            None => None,
        };
        let has_list = self.chain.is_amsterdam_active_at_timestamp(header.timestamp);
        let access_list_hash = access_list.as_ref().filter(|_| has_list).map(|list| list.hash());
        let computed = Computed { state_root, transaction_roots, access_list_hash };
        Ok(check_outcome(&self.chain, header, outcome, &computed)?)
    }

    /// The state root after each transaction, which receipts before Byzantium hold.
    fn transaction_roots(&self, record: &Record) -> Result<Vec<B256>, BlockError> {
        let transactions = record.positions.len().saturating_sub(2);
        let positions = record.positions[..=transactions].iter().map(|position| &position.changes);
        // The first root is the one before the transactions.
        Ok(roots(&mut self.current.trie.clone(), positions)?.split_off(1))
    }

    /// Whether a block that was just imported becomes the head.
    fn is_better_than_head(&self, hash: B256) -> bool {
        let (block, head) = (&self.blocks[&hash], &self.blocks[&self.head]);
        match (block.consensus, head.consensus) {
            (Consensus::Stake, _) => true,
            (Consensus::Work, Consensus::Stake) => false,
            (Consensus::Work, Consensus::Work) => block.total_difficulty > head.total_difficulty,
        }
    }

    /// Makes the kept state that of `hash`, by the shortest way there is: forward along its branch, or from genesis.
    fn go_to(&mut self, hash: B256) -> Result<(), BlockError> {
        let mut path = Vec::new();
        let mut next = hash;
        while next != self.at && next != self.genesis_hash {
            path.push(next);
            next = self.blocks[&next].header.parent_hash;
        }
        if next != self.at {
            self.current = self.genesis.clone();
            self.at = next;
        }
        for hash in path.into_iter().rev() {
            let node = &self.blocks[&hash];
            self.current.apply(&node.header, hash, &node.changes)?;
            self.at = hash;
        }
        Ok(())
    }
}
