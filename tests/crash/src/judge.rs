//! Whether what a directory holds is exactly one of the points that it may hold.
//!
//! Everything is compared: every account, slot and code that made-up blocks know, by a reader, with a plain map that the
//! same blocks were applied to; the root, every trie node and what belongs to nobody, by the store's own verification;
//! and every row of every column family, changesets included, with a store that went to that point undisturbed.

use std::{
    fmt,
    ops::RangeInclusive,
    path::Path,
    sync::{Arc, Mutex},
};

use alloy_primitives::{Address, B256, Keccak256, U256};
use ropewalk_state::{StateError, StateReader};
use ropewalk_store::{Durability, Finding, Head, LostBlocks, Probe, Step, Store, StoreError};

use crate::{
    chain::{Action, At, Block, Chain},
    draw,
    work::{Work, patiently},
};

/// Knows what a chain's points look like.
#[derive(Debug)]
pub struct Judge {
    chain: Chain,
    /// Hash over all rows, for each point; `None` while a state is being loaded.
    rows: Vec<Option<B256>>,
    /// The steps that each action leads over.
    steps: Vec<Vec<Step>>,
}

/// What a directory held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// The point.
    pub point: usize,
    /// What the store said about blocks that it had and has no more.
    pub lost: Option<LostBlocks>,
}

/// Why a directory does not hold what it may.
#[derive(Debug)]
pub enum Wrong {
    /// The store, or a part of its content, could not be opened or read. It says so itself, so that nobody is misled.
    Refused(StateError),
    /// What can be read contradicts itself. Whoever reads is misled, and whoever verifies is not.
    Unsound(Vec<Finding>),
    /// A reader was told what is not so, or a state that cannot be there is there. Nobody would know.
    Misleading(String),
}

impl Wrong {
    /// The store's error, where it is one that refuses.
    pub fn store_error(&self) -> Option<&StoreError> {
        let Self::Refused(StateError::Source(source)) = self else { return None };
        source.downcast_ref()
    }
}

impl From<StateError> for Wrong {
    fn from(error: StateError) -> Self {
        Self::Refused(error)
    }
}

impl From<StoreError> for Wrong {
    fn from(error: StoreError) -> Self {
        Self::Refused(StateError::source_failed(error))
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => write!(f, "refused: {error:?}"),
            Self::Unsound(findings) => write!(f, "unsound: {findings:?}"),
            Self::Misleading(what) => write!(f, "MISLEADING: {what}"),
        }
    }
}

impl Judge {
    /// Goes along the chain undisturbed, in `scratch`, and remembers what each point looks like.
    ///
    /// # Errors
    /// When the store does not let the chain happen, or the points are not what they should be even so.
    pub fn of(chain: Chain, scratch: &Path) -> Result<Self, Wrong> {
        let mut rows = vec![None; chain.points.len()];
        let mut steps = Vec::new();
        let noted = Arc::new(Noted::default());
        // Nobody cuts its power, so it need not wait for the disk.
        let mut hurried = chain.clone();
        hurried.options.durability = Durability::OperatingSystem;
        let mut work = Work::open(scratch, &hurried, 0, Arc::clone(&noted) as Arc<dyn Probe>)?;
        rows[0] = Some(hash_of_rows(work.store_mut()?)?);
        while let Some(action) = chain.actions.get(work.done()) {
            let first = chain.first_at(work.done()) + 1;
            let last = chain.first_at(work.done() + 1);
            if let Action::Unwind(_) = action {
                // Block after block, to see the points between.
                for row in &mut rows[first..last] {
                    let head = work.store_mut()?.head().ok_or_else(|| misleading("there is no head"))?;
                    work.store_mut()?.unwind_to(head.number - 1)?;
                    *row = Some(hash_of_rows(work.store_mut()?)?);
                }
            }
            work.act()?;
            rows[last] = Some(hash_of_rows(work.store_mut()?)?);
            steps.push(in_one_go(&noted.take()));
            compare_head(&chain, chain.points[last].at, work.store_mut()?.head())?;
        }
        if let At::Block(hash) = chain.points.last().expect("there is one from the start").at {
            compare(work.store_mut()?, chain.known(&hash))?;
        }
        drop(work);
        Ok(Self { chain, rows, steps })
    }

    /// The steps that an action leads over, in their order.
    pub fn steps(&self, action: usize) -> &[Step] {
        &self.steps[action]
    }

    /// The chain.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Opens the store in `directory` and looks at everything in it.
    ///
    /// # Errors
    /// When it is none of the `possible` points, or cannot be read.
    pub fn judge(&self, directory: &Path, possible: RangeInclusive<usize>) -> Result<Found, Wrong> {
        let mut store = match patiently(|| Store::open(directory, &self.chain.options)) {
            Ok(store) => store,
            Err(StoreError::UnfinishedLoad { base, path }) => {
                let refusal = StoreError::UnfinishedLoad { base, path };
                let point = self.chain.find(possible, At::Loading(base.hash)).ok_or(refusal)?;
                return Ok(Found { point, lost: None });
            }
            Err(StoreError::UnconfirmedRoot { head, path }) => {
                let refusal = StoreError::UnconfirmedRoot { head, path };
                let point = self.chain.find(possible, At::WithoutTries(head.hash)).ok_or(refusal)?;
                return Ok(Found { point, lost: None });
            }
            Err(error) => return Err(error.into()),
        };
        self.judge_open(&mut store, possible)
    }

    /// As [`judge`](Self::judge), for a store that is open.
    ///
    /// # Errors
    /// As `judge`.
    pub fn judge_open(&self, store: &mut Store, possible: RangeInclusive<usize>) -> Result<Found, Wrong> {
        let verified = store.verify(&mut |_| {})?;
        if !verified.is_sound() {
            return Err(Wrong::Unsound(verified.findings));
        }
        let lost = store.lost_blocks();
        let head = store.head();
        let at = head.map_or(At::Empty, |head| At::Block(head.hash));
        let rows = hash_of_rows(store)?;
        let heads = possible.clone().filter(|point| self.chain.points[*point].at == at);
        let Some(point) = heads.clone().rfind(|point| self.rows[*point] == Some(rows)) else {
            let described = head.map_or_else(|| "nothing".to_owned(), |head| format!("block {}", head.number));
            return Err(match heads.count() {
                0 => misleading(format!("the store holds {described}, which is none of the points {possible:?}")),
                _ => misleading(format!("the rows of {described} differ from those of an undisturbed store")),
            });
        };
        compare_head(&self.chain, at, head)?;
        if let At::Block(hash) = at {
            compare(store, self.chain.known(&hash))?;
        }
        self.compare_lost(lost, head)?;
        Ok(Found { point, lost })
    }

    /// Goes back as far as `blocks` and, over the same blocks, forth again: changesets must be as good as before.
    ///
    /// # Errors
    /// When that does not lead over the states of those blocks to the same rows.
    pub fn back_and_forth(&self, directory: &Path, blocks: u64) -> Result<u64, Wrong> {
        let mut store = patiently(|| Store::open(directory, &self.chain.options))?;
        let (Some(head), Some(first)) = (store.head(), store.first_reachable()) else { return Ok(0) };
        let to = first.max(head.number.saturating_sub(blocks));
        let rows = hash_of_rows(&store)?;
        let mut path = vec![self.chain.known(&head.hash)];
        while path[path.len() - 1].head.number > to {
            path.push(self.chain.known(&path[path.len() - 1].parent));
        }
        store.unwind_to(to)?;
        let target = path.pop().expect("it begins with the head");
        compare_head(&self.chain, At::Block(target.head.hash), store.head())?;
        compare(&store, target)?;
        for block in path.iter().rev() {
            store.commit_block(&block.commit())?;
        }
        match hash_of_rows(&store)? == rows {
            true => Ok(head.number - to),
            false => Err(misleading(format!("unwound to block {to} and back, block {} has other rows", head.number))),
        }
    }

    /// Lost blocks that are told must be blocks of the chain that are not there.
    fn compare_lost(&self, lost: Option<LostBlocks>, head: Option<Head>) -> Result<(), Wrong> {
        let Some(lost) = lost else { return Ok(()) };
        let is_known = self.chain.block(&lost.hash).is_some_and(|block| block.head.number == lost.last);
        let next = head.map_or(0, |head| head.number + 1);
        // On another branch only the last is known.
        let first = if lost.last < next { lost.last } else { next };
        let mut below = head.map(|head| self.chain.known(&head.hash));
        while let Some(block) = below.filter(|block| block.head.number > lost.last) {
            below = self.chain.block(&block.parent);
        }
        let is_there = below.is_some_and(|block| block.head.hash == lost.hash);
        let right = is_known && lost.first == first && !is_there;
        if right { Ok(()) } else { Err(misleading(format!("{lost:?} are said to be lost at head {head:?}"))) }
    }
}

/// A probe that remembers.
#[derive(Debug, Default)]
struct Noted(Mutex<Vec<Step>>);

impl Noted {
    fn take(&self) -> Vec<Step> {
        std::mem::take(&mut *self.0.lock().expect("nobody panics with it"))
    }
}

impl Probe for Noted {
    fn reached(&self, step: Step) {
        self.0.lock().expect("nobody panics with it").push(step);
    }
}

/// Steps as they are reached where blocks are unwound together rather than one after the other.
fn in_one_go(steps: &[Step]) -> Vec<Step> {
    let first = steps.iter().position(|step| *step == Step::UnwindBegins);
    let last = steps.iter().rposition(|step| *step == Step::UnwindEnds);
    let is_inner = |at: usize, step: Step| {
        (step == Step::UnwindBegins && Some(at) != first) || (step == Step::UnwindEnds && Some(at) != last)
    };
    steps.iter().enumerate().filter(|(at, step)| !is_inner(*at, **step)).map(|(_, step)| *step).collect()
}

fn misleading(what: impl Into<String>) -> Wrong {
    Wrong::Misleading(what.into())
}

fn compare_head(chain: &Chain, at: At, head: Option<Head>) -> Result<(), Wrong> {
    let expected = match at {
        At::Block(hash) => chain.block(&hash).map(|block| block.head),
        At::Empty | At::Loading(_) | At::WithoutTries(_) => None,
    };
    if expected == head { Ok(()) } else { Err(misleading(format!("the head is {head:?} instead of {expected:?}"))) }
}

/// Compares everything that a reader answers with the state after `block`.
fn compare(store: &Store, block: &Block) -> Result<(), Wrong> {
    let reader = store.reader();
    let number = block.head.number;
    let addresses: Vec<Address> = draw::addresses().collect();
    let accounts = reader.accounts(&addresses)?;
    for (address, found) in addresses.iter().zip(accounts) {
        let expected = block.state.account(address).expect("the state is whole");
        if found != expected {
            return Err(misleading(format!("block {number}: account {address} is {found:?}, not {expected:?}")));
        }
        let slots: Vec<(Address, U256)> = draw::slots().map(|slot| (*address, slot)).collect();
        let slots = if block.state.iter_slots(address).next().is_some() { &slots[..] } else { &slots[..10] };
        let values = reader.storages(slots)?;
        for ((_, slot), found) in slots.iter().zip(values) {
            let expected = block.state.storage(address, slot).expect("the state is whole");
            if found != expected {
                return Err(misleading(format!("block {number}: slot {slot} of {address} is {found}, not {expected}")));
            }
        }
    }
    for (hash, code) in draw::codes() {
        if block.state.code(&hash).is_ok() {
            let found = reader.code(&hash)?;
            if found != code {
                return Err(misleading(format!("block {number}: code {hash} is another")));
            }
        }
    }
    Ok(())
}

/// A hash over every row of every column family.
fn hash_of_rows(store: &Store) -> Result<B256, StoreError> {
    let mut hasher = Keccak256::new();
    store.reader().for_each_row(|family, key, value| {
        for part in [family.as_bytes(), key, value] {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
    })?;
    Ok(hasher.finalize())
}
