//! A store that goes along a chain.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use ropewalk_store::{Probe, Step, Store, StoreError};

use crate::{
    chain::{Action, At, Chain},
    disk::Tree,
};

/// An open store, with the number of the chain's actions that are over.
pub struct Work<'c> {
    chain: &'c Chain,
    path: PathBuf,
    probe: Arc<dyn Probe>,
    /// There is one except while an action closes and opens it.
    store: Option<Store>,
    done: usize,
}

/// Makes a directory fit for going on from a point at which the store does not open, as the store's errors tell: what an
/// interrupted load left is removed, tries are made anew.
///
/// # Errors
/// The store's.
///
/// # Panics
/// When the directory cannot be written.
pub fn repair(path: &Path, chain: &Chain, at: At) -> Result<(), StoreError> {
    match at {
        At::Loading(_) => Tree::default().write(path).expect("the directory is ours"),
        At::WithoutTries(_) => Store::open_unconfirmed(path, &chain.options)?.rebuild_tries()?,
        At::Empty | At::Block(_) => {}
    }
    Ok(())
}

/// Opens a store that a process of these tests has just let go of.
///
/// Another thread of that process may be starting a child meanwhile, and until the child is another program it holds
/// whatever its parent had open: the lock too.
///
/// # Errors
/// As [`Store::open`]; that the store is locked only if it stays so.
pub fn patiently<T>(mut open: impl FnMut() -> Result<T, StoreError>) -> Result<T, StoreError> {
    let begun = Instant::now();
    loop {
        match open() {
            Err(StoreError::Locked { .. }) if begun.elapsed() < MOST_PATIENCE => {
                thread::sleep(Duration::from_millis(1));
            }
            opened => return opened,
        }
    }
}

/// How long a child may take to become another program.
const MOST_PATIENCE: Duration = Duration::from_secs(10);

/// A probe that does nothing.
#[derive(Debug)]
pub struct Nobody;

impl Probe for Nobody {
    fn reached(&self, _: Step) {}
}

impl<'c> Work<'c> {
    /// Opens the store in which `done` actions are over.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open(path: &Path, chain: &'c Chain, done: usize, probe: Arc<dyn Probe>) -> Result<Self, StoreError> {
        let mut work = Self { chain, path: path.to_owned(), probe, store: None, done };
        work.store = Some(work.open_store()?);
        Ok(work)
    }

    /// Does the next action. Without one it does nothing and says so.
    ///
    /// # Errors
    /// The store's; then the action is not over and may be tried again.
    pub fn act(&mut self) -> Result<bool, StoreError> {
        let chain = self.chain;
        let Some(action) = chain.actions.get(self.done) else { return Ok(false) };
        match action {
            Action::Reopen => {
                self.store = None;
                self.store = Some(self.open_store()?);
            }
            Action::Commit(hash) => self.store_mut()?.commit_block(&chain.known(hash).commit())?,
            Action::Unwind(number) => self.store_mut()?.unwind_to(*number)?,
            Action::Clear => self.store_mut()?.clear()?,
            Action::Load(hash) => {
                let block = chain.known(hash);
                self.store_mut()?.load_base(&block.head, block.entries())?;
            }
            Action::Rebuild => self.store_mut()?.rebuild_tries()?,
            Action::Sync => self.store_mut()?.sync()?,
        }
        self.done += 1;
        Ok(true)
    }

    /// Does all that is left.
    ///
    /// # Errors
    /// The store's.
    pub fn finish(&mut self) -> Result<(), StoreError> {
        while self.act()? {}
        Ok(())
    }

    /// How many actions are over.
    pub fn done(&self) -> usize {
        self.done
    }

    /// The store, which is opened where an action left it closed.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn store_mut(&mut self) -> Result<&mut Store, StoreError> {
        if self.store.is_none() {
            self.store = Some(self.open_store()?);
        }
        Ok(self.store.as_mut().expect("it is open now"))
    }

    /// Closes the store.
    pub fn close(&mut self) {
        self.store = None;
    }

    fn open_store(&self) -> Result<Store, StoreError> {
        patiently(|| Store::open_probed(&self.path, &self.chain.options, Arc::clone(&self.probe)))
    }
}

impl fmt::Debug for Work<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work").field("store", &self.store).field("done", &self.done).finish_non_exhaustive()
    }
}
