//! A chain of made-up blocks with what happens to it, the same for the same seed in every process.
//!
//! A [`Chain`] is a list of [`Action`]s on a store: blocks are committed, unwound and followed by others, the state is
//! cleared and loaded again, tries are made anew, the store is closed and opened. What the store holds changes at
//! [`Point`]s, each of which is the state of one block, nothing, or a load or a making of tries that has not come to its
//! end. An action leads over one point or, where it
//! is made of several atomic steps, over several:
//!
//! ```text
//! actions   commit 7      commit 8      unwind to 6          clear        load 30            commit 31
//! points      | 7           | 8          | 7    | 6           | empty      | loading | 30      | 31
//! done        1             2            2      3             4            4         5         6
//! ```
//!
//! `done` of a point is the number of actions that are over when it is reached. A process that is killed after it said
//! that n actions are over leaves the store at a point from the first with `done == n` to the first with `done == n + 1`.

use std::{collections::BTreeMap, ops::RangeInclusive};

use alloy_primitives::{B256, keccak256};
use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use ropewalk_state::{BlockCommit, Changes, Completeness, MemoryState, trie::StateTrie};
use ropewalk_store::{BaseEntry, Durability, Head, StoreOptions};

use crate::draw::{self, Size};

/// What is done to a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The block with this hash is committed.
    Commit(B256),
    /// Blocks are unwound down to this number.
    Unwind(u64),
    /// Everything is removed.
    Clear,
    /// The whole state of the block with this hash is loaded.
    Load(B256),
    /// The tries are made anew from accounts and slots.
    Rebuild,
    /// Everything committed is made safe from a power cut.
    Sync,
    /// The store is closed and opened.
    Reopen,
}

/// What a store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Nothing.
    Empty,
    /// A part of the state of the block with this hash, which is being loaded.
    Loading(B256),
    /// The state of the block with this hash, its tries not or in parts.
    WithoutTries(B256),
    /// The state of the block with this hash.
    Block(B256),
}

/// A moment of a chain between two atomic steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// How many actions are over.
    pub done: usize,
    /// What the store holds.
    pub at: At,
}

/// A made-up block.
#[derive(Debug, Clone)]
pub struct Block {
    /// Number, hash and state root.
    pub head: Head,
    /// Hash of the block before; for a base that is loaded and for block 0, zero.
    pub parent: B256,
    /// What it does to the state of the block before.
    pub changes: Changes,
    /// The state after it.
    pub state: MemoryState,
}

/// Blocks, and what happens to them in a store.
#[derive(Debug, Clone)]
pub struct Chain {
    /// Where everything follows from.
    pub seed: u64,
    /// How the store is opened.
    pub options: StoreOptions,
    /// What is done, in this order.
    pub actions: Vec<Action>,
    /// What the store holds on the way.
    pub points: Vec<Point>,
    blocks: BTreeMap<B256, Block>,
}

impl Block {
    /// The block as a store takes it in.
    pub fn commit(&self) -> BlockCommit<'_> {
        BlockCommit {
            number: self.head.number,
            hash: self.head.hash,
            parent_hash: self.parent,
            state_root: self.head.state_root.expect("every made-up block has a root"),
            changes: &self.changes,
        }
    }

    /// The state after the block, as entries of a base state.
    pub fn entries(&self) -> Vec<BaseEntry> {
        let mut entries: Vec<_> = self.state.iter_codes().map(|(_, code)| BaseEntry::Code(code)).collect();
        for (address, account) in self.state.iter_accounts() {
            let slots = self.state.iter_slots(&address);
            entries.extend(slots.map(|(slot, value)| BaseEntry::Slot { address, slot, value }));
            entries.push(BaseEntry::Account { address, account });
        }
        entries
    }
}

impl Chain {
    /// The chain of a seed, for a store of this durability.
    pub fn draw(seed: u64, durability: Durability) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let options = StoreOptions {
            durability,
            changesets_kept: *[0, 2, 5, 40].choose(&mut random).expect("there are some"),
            cache_bytes: 4 << 20,
            // From a sorted file every few blocks to none before the store is opened again.
            memtable_bytes: *[32 << 10, 128 << 10, 1 << 20, 16 << 20].choose(&mut random).expect("there are some"),
            ..StoreOptions::default()
        };
        let actions = random.random_range(40..=90);
        Self::drawn(seed, options, actions, random)
    }

    /// The chain of a store that is to be damaged: in the end there are sorted files, and a log that is not in them yet.
    pub fn to_damage(seed: u64) -> Self {
        let options = StoreOptions {
            memtable_bytes: 128 << 10,
            changesets_kept: 8,
            cache_bytes: 4 << 20,
            ..StoreOptions::default()
        };
        Self::drawn(seed, options, 60, ChaCha8Rng::seed_from_u64(seed))
    }

    fn drawn(seed: u64, options: StoreOptions, actions: usize, random: ChaCha8Rng) -> Self {
        let mut course = Course::new(seed, options, random);
        course.begin();
        while course.chain.actions.len() < actions {
            course.act();
        }
        course.chain
    }

    /// The block with this hash, if it is one of the chain's.
    pub fn block(&self, hash: &B256) -> Option<&Block> {
        self.blocks.get(hash)
    }

    /// What is expected at a point.
    ///
    /// # Panics
    /// When the hash is not that of a block of the chain.
    pub fn known(&self, hash: &B256) -> &Block {
        self.block(hash).unwrap_or_else(|| panic!("block {hash} is not one of the chain of seed {}", self.seed))
    }

    /// Points at which a store may be when `done` actions are said to be over and nothing of them was lost.
    pub fn possible(&self, done: usize) -> RangeInclusive<usize> {
        let first = self.first_at(done);
        let last = if done < self.actions.len() { self.first_at(done + 1) } else { first };
        first..=last
    }

    /// The point at which `done` actions are over.
    ///
    /// # Panics
    /// When there are not so many.
    pub fn first_at(&self, done: usize) -> usize {
        self.points.iter().position(|point| point.done == done).expect("every action leads to a point")
    }

    /// The last point in `range` at which a store holds this.
    pub fn find(&self, range: RangeInclusive<usize>, at: At) -> Option<usize> {
        range.rev().find(|point| self.points[*point].at == at)
    }

    /// How many commits lie between two points that are both reached.
    pub fn commits_between(&self, from: usize, to: usize) -> usize {
        let actions = &self.actions[self.points[from].done..self.points[to].done];
        actions.iter().filter(|action| matches!(action, Action::Commit(_))).count()
    }

    /// The last point up to the one where `done` actions are over that was safe from a power cut whatever the durability
    /// of blocks, if everything was at `from` actions.
    pub fn safe_at(&self, from: usize, done: usize) -> usize {
        let is_safe = |action: &Action| !matches!(action, Action::Commit(_) | Action::Reopen);
        let last = self.actions[from..done].iter().rposition(is_safe);
        self.first_at(last.map_or(from, |last| from + last + 1))
    }
}

/// A chain while it is drawn.
struct Course {
    chain: Chain,
    random: ChaCha8Rng,
    /// The blocks on which the head stands, the head last; empty where nothing was committed.
    branch: Vec<B256>,
    trie: StateTrie,
    /// The lowest block that can be unwound to.
    reachable: u64,
    reloads: usize,
}

impl Course {
    fn new(seed: u64, options: StoreOptions, random: ChaCha8Rng) -> Self {
        let points = vec![Point { done: 0, at: At::Empty }];
        let chain = Chain { seed, options, actions: Vec::new(), points, blocks: BTreeMap::new() };
        Self { chain, random, branch: Vec::new(), trie: StateTrie::empty(), reachable: 0, reloads: 0 }
    }

    /// A state to begin with: committed as block 0, or loaded as that of a later block.
    fn begin(&mut self) {
        if self.random.random_bool(0.5) {
            self.commit(Size::Whole);
        } else {
            let number = self.random.random_range(1..2000);
            let mut state = MemoryState::new(Completeness::Assumed);
            let changes = draw::changes(&mut self.random, &state, Size::Whole);
            state.apply(&changes);
            self.load(number, state);
        }
    }

    fn act(&mut self) {
        let head = self.head().map_or(0, |block| block.head.number);
        match self.random.random_range(0..100) {
            0..4 => self.over(Action::Reopen, []),
            4..8 => self.over(Action::Sync, []),
            8..18 if self.reachable < head => {
                let to = self.random.random_range(self.reachable.max(head.saturating_sub(9))..head);
                self.unwind(to);
            }
            18..20 if self.reloads < 2 => {
                self.reloads += 1;
                let state = self.state();
                self.over(Action::Clear, [At::Empty]);
                let gap = self.random.random_range(1..50);
                self.load(head + gap, state);
            }
            20..22 => {
                let hash = *self.branch.last().expect("a chain begins with a block");
                self.over(Action::Rebuild, [At::WithoutTries(hash), At::Block(hash)]);
            }
            22..24 => self.commit(Size::Nothing),
            24..32 => self.commit(Size::Large),
            _ => self.commit(Size::Usual),
        }
    }

    fn commit(&mut self, size: Size) {
        let state = self.state();
        let changes = draw::changes(&mut self.random, &state, size);
        let state_root = self.trie.apply(&changes).expect("a trie in memory lacks nothing");
        let (number, parent) = self.head().map_or((0, B256::ZERO), |block| (block.head.number + 1, block.head.hash));
        let mut after = state;
        after.apply(&changes);
        let hash = self.put(number, parent, state_root, changes, after);
        self.branch.push(hash);
        let kept = self.chain.options.changesets_kept;
        self.reachable = if parent.is_zero() { number } else { self.reachable.max(number.saturating_sub(kept)) };
        self.over(Action::Commit(hash), [At::Block(hash)]);
    }

    fn unwind(&mut self, to: u64) {
        let mut passed = Vec::new();
        while self.head().is_some_and(|block| block.head.number > to) {
            self.branch.pop();
            passed.push(At::Block(*self.branch.last().expect("only what has a block below is unwound")));
        }
        self.trie = StateTrie::of(&self.state());
        self.over(Action::Unwind(to), passed);
    }

    fn load(&mut self, number: u64, state: MemoryState) {
        self.trie = StateTrie::of(&state);
        let hash = self.put(number, B256::ZERO, self.trie.root(), Changes::default(), state);
        self.branch = vec![hash];
        self.reachable = number;
        self.over(Action::Load(hash), [At::Loading(hash), At::Block(hash)]);
    }

    /// Adds an action and the points that it leads over; where there are none, it leaves the store as it is.
    fn over(&mut self, action: Action, passed: impl IntoIterator<Item = At>) {
        let done = self.chain.actions.len();
        self.chain.actions.push(action);
        let mut passed: Vec<At> = passed.into_iter().collect();
        let before = self.chain.points.last().expect("there is one from the start").at;
        let last = passed.pop().unwrap_or(before);
        self.chain.points.extend(passed.into_iter().map(|at| Point { done, at }));
        self.chain.points.push(Point { done: done + 1, at: last });
    }

    fn put(&mut self, number: u64, parent: B256, state_root: B256, changes: Changes, state: MemoryState) -> B256 {
        // Blocks of different branches have different hashes, whatever they do.
        let nonce = self.chain.blocks.len() as u64;
        let hash = keccak256([self.chain.seed.to_be_bytes(), nonce.to_be_bytes(), number.to_be_bytes()].concat());
        let head = Head { number, hash, state_root: Some(state_root) };
        self.chain.blocks.insert(hash, Block { head, parent, changes, state });
        hash
    }

    fn head(&self) -> Option<&Block> {
        self.branch.last().map(|hash| &self.chain.blocks[hash])
    }

    fn state(&self) -> MemoryState {
        self.head().map_or_else(|| MemoryState::new(Completeness::Assumed), |block| block.state.clone())
    }
}
