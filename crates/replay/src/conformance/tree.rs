//! Blocks that were imported, each extending another, and which of them is the head.
//!
//! A block may extend any block of the tree. Under proof of work the head is the block of the highest total difficulty,
//! the first of equals; a block of proof of stake becomes the head when it is imported, because whoever offers it has
//! chosen it. When the head moves to another branch, the state unwinds to the genesis and takes the branch's changes.
//!
//! One state is kept, that of the block executed last; a block refused leaves tree, head and state as they were.

use std::{collections::HashMap, sync::Arc};

use alloy_consensus::Header;
use alloy_hardforks::EthereumHardforks;
use alloy_primitives::{B256, U256};
use ropewalk_block::{
    AccessList, BlockError, BlockOutcome, ChainSpec, Computed, Record, RecoveredBlock,
    import::{
        Ancestor, Consensus, DecodedBlock, ImportError, MOST_ANCESTORS, Parent, check_body, check_header, check_ommers,
        check_outcome, consensus_after, decode_block,
    },
    recover,
};
use ropewalk_state::{Changes, MemoryState, StateReader};

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
        list: Option<&AccessList>,
    ) -> Result<Executed, BlockError>;
}

/// What executing a block gave.
#[derive(Debug)]
pub(super) struct Executed {
    pub(super) outcome: BlockOutcome,
    /// What each position did; the oracle does not say.
    pub(super) record: Option<Record>,
    /// The block's access list.
    pub(super) access_list: Option<AccessList>,
    /// What another way of executing the block says differently.
    pub(super) objection: Option<String>,
}

/// The imported blocks.
#[derive(Debug)]
pub(super) struct BlockTree {
    chain: Arc<ChainSpec>,
    blocks: HashMap<B256, Node>,
    genesis_hash: B256,
    genesis: Arc<MemoryState>,
    head: B256,
    /// The block whose state `state` is.
    at: B256,
    state: Arc<MemoryState>,
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
    pub(super) fn new(chain: Arc<ChainSpec>, hash: B256, header: Header, mut state: MemoryState) -> Self {
        state.insert_block_hash(header.number, hash);
        let genesis = Arc::new(state);
        let total_difficulty = header.difficulty;
        let consensus = consensus_after(&chain, header.number, Some(U256::ZERO)).unwrap_or(Consensus::Work);
        let node = Node { header, ommers: Vec::new(), total_difficulty, consensus, changes: Arc::default() };
        Self {
            chain,
            blocks: HashMap::from([(hash, node)]),
            state: Arc::clone(&genesis),
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
        self.go_to(parent_hash);
        let executed = executor.execute(&block, Arc::clone(&self.state) as Arc<dyn StateReader>, None).ok()?;
        let mut state = MemoryState::clone(&self.state);
        state.apply(&executed.outcome.changes);
        Some(state)
    }

    /// The state after the head.
    pub(super) fn head_state(&mut self) -> Arc<MemoryState> {
        self.go_to(self.head);
        Arc::clone(&self.state)
    }

    /// Imports a block and gives its hash. `remark` hears the outcome of a block that is executed, whatever comes of it.
    ///
    /// # Errors
    /// Names the first rule that the block breaks.
    pub(super) fn import(
        &mut self,
        rlp: &[u8],
        list: Option<&AccessList>,
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
        self.go_to(parent_hash);
        let parent = Arc::clone(&self.state);
        let executed = executor.execute(&block, Arc::clone(&parent) as Arc<dyn StateReader>, list);
        remark(&block, &parent, executed.as_ref());
        let executed = executed?;
        let header = block.header;
        let next = self.checked_state(&header, hash, &executed)?;

        let parent_difficulty = self.blocks[&parent_hash].total_difficulty;
        let consensus = consensus_after(&self.chain, header.number, Some(parent_difficulty)).unwrap_or(Consensus::Work);
        let changes = Arc::new(executed.outcome.changes);
        self.blocks.insert(hash, Node { header, ommers, total_difficulty, consensus, changes });
        (self.at, self.state) = (hash, next);
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

    /// The state after the block, if the outcome is the one that the header claims.
    fn checked_state(&self, header: &Header, hash: B256, executed: &Executed) -> Result<Arc<MemoryState>, ImportError> {
        let mut next = MemoryState::clone(&self.state);
        next.apply(&executed.outcome.changes);
        let record = executed.record.as_ref();
        let has_early_receipts = !self.chain.is_byzantium_active_at_block(header.number);
        let transaction_roots = record.filter(|_| has_early_receipts).map(|record| self.transaction_roots(record));
        let has_list = self.chain.is_amsterdam_active_at_timestamp(header.timestamp);
        let access_list_hash = executed.access_list.as_ref().filter(|_| has_list).map(AccessList::hash);
        let computed = Computed { state_root: Some(next.state_root()), transaction_roots, access_list_hash };
        check_outcome(&self.chain, header, &executed.outcome, &computed)?;
        next.insert_block_hash(header.number, hash);
        Ok(Arc::new(next))
    }

    /// The state root after each transaction, which receipts before Byzantium hold.
    fn transaction_roots(&self, record: &Record) -> Vec<B256> {
        let transactions = record.positions.len().saturating_sub(2);
        let mut state = MemoryState::clone(&self.state);
        let mut roots = Vec::with_capacity(transactions);
        for (position, done) in record.positions[..=transactions].iter().enumerate() {
            state.apply(&done.changes);
            if position > 0 {
                roots.push(state.state_root());
            }
        }
        roots
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
    fn go_to(&mut self, hash: B256) {
        let mut path = Vec::new();
        let mut next = hash;
        let mut state = loop {
            if next == self.at {
                break Arc::clone(&self.state);
            }
            if next == self.genesis_hash {
                break Arc::clone(&self.genesis);
            }
            path.push(next);
            next = self.blocks[&next].header.parent_hash;
        };
        if !path.is_empty() {
            let state = Arc::make_mut(&mut state);
            for hash in path.into_iter().rev() {
                let node = &self.blocks[&hash];
                state.apply(&node.changes);
                state.insert_block_hash(node.header.number, hash);
            }
        }
        (self.at, self.state) = (hash, state);
    }
}
