//! A process that works under a limit: no space, short files, few handles.
//!
//! It goes along a chain, and now and then what it may use is cut down to little. Where the store then refuses, it must
//! say why, and hold what it held; once the limit is lifted, it must go on: with the same handle, or else after it was
//! closed and opened.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use ropewalk_state::StateError;
use ropewalk_store::StoreError;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{
    chain::{Action, At},
    judge::Judge,
    work::{self, Nobody, Work},
};

/// What there is too little of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Space on the file system that the store's directory is on, which must be a small one of its own: a file beside
    /// the directory takes nearly all of it.
    Space,
    /// Bytes that a file may have. The signal that comes with it must be ignored.
    FileSize,
    /// Files that the process may have open.
    Handles,
}

/// What a store under a limit did.
#[derive(Debug, Default)]
pub struct Endured {
    /// How often it refused, by the name of the error.
    pub refusals: BTreeMap<&'static str, u64>,
    /// How often it went on with the same handle once the limit was lifted.
    pub with_the_same_handle: u64,
    /// How often it had to be closed and opened for that.
    pub after_reopening: u64,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Space => "space",
            Self::FileSize => "file-size",
            Self::Handles => "handles",
        })
    }
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Space, Self::FileSize, Self::Handles];
        all.into_iter().find(|limit| limit.to_string() == text).ok_or_else(|| text.to_owned())
    }
}

impl Limit {
    /// Leaves little, as chance decides.
    fn impose(self, directory: &Path, random: &mut ChaCha8Rng) -> io::Result<()> {
        match self {
            Self::Space => fill(&ballast(directory), random.random_range(0..200 << 10)),
            Self::FileSize => limit(Resource::Fsize, random.random_range(0..120 << 10)),
            Self::Handles => {
                let open = fs::read_dir("/proc/self/fd")?.count() as u64;
                limit(Resource::Nofile, open + random.random_range(0..4))
            }
        }
    }

    fn lift(self, directory: &Path) -> io::Result<()> {
        match self {
            Self::Space => match fs::remove_file(ballast(directory)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
            Self::FileSize => unlimit(Resource::Fsize),
            Self::Handles => unlimit(Resource::Nofile),
        }
    }

    /// The name of an error that the limit may lead to.
    fn name(self, error: &StoreError) -> Option<&'static str> {
        match (self, error) {
            (Self::Space | Self::FileSize, StoreError::DiskFull { .. }) => Some("DiskFull"),
            (Self::Handles, StoreError::TooManyOpenFiles { .. }) => Some("TooManyOpenFiles"),
            // The load failed before, for one of these reasons, and could not be cleared away.
            (_, StoreError::UnfinishedLoad { .. }) => Some("UnfinishedLoad"),
            (_, StoreError::Trie { source: StateError::Source(source), .. }) => self.name(source.downcast_ref()?),
            _ => None,
        }
    }
}

/// Goes along the judge's chain in `directory`, under a limit that comes and goes.
///
/// # Errors
/// When the store refuses for another reason, holds what it should not, or does not go on. The text says which.
pub fn endure(judge: &Judge, directory: &Path, limit: Limit, random: &mut ChaCha8Rng) -> Result<Endured, String> {
    let mut trial = Trial { judge, directory, limit, endured: Endured::default(), done: 0 };
    trial.go(random)?;
    trial.lift()?;
    let last = judge.chain().possible(trial.done);
    judge.judge(directory, last).map_err(|wrong| format!("in the end: {wrong}"))?;
    Ok(trial.endured)
}

struct Trial<'a> {
    judge: &'a Judge,
    directory: &'a Path,
    limit: Limit,
    endured: Endured,
    done: usize,
}

impl<'a> Trial<'a> {
    fn go(&mut self, random: &mut ChaCha8Rng) -> Result<(), String> {
        self.impose(random)?;
        let mut work = self.open(random)?;
        loop {
            if random.random_bool(0.3) {
                self.impose(random)?;
            }
            match work.act() {
                Ok(true) => self.done = work.done(),
                Ok(false) => return Ok(()),
                Err(error) => work = self.refused(work, &error, random)?,
            }
        }
    }

    /// Opens the store, under the limit if it can be, or else without.
    fn open(&mut self, random: &mut ChaCha8Rng) -> Result<Work<'a>, String> {
        match self.open_now() {
            Ok(work) => Ok(work),
            Err(error) => {
                self.count(&error, "open")?;
                self.lift()?;
                self.reopened(random)
            }
        }
    }

    fn open_now(&self) -> Result<Work<'a>, StoreError> {
        Work::open(self.directory, self.judge.chain(), self.done, Arc::new(Nobody))
    }

    /// An action was refused: nothing may have changed but by a part of it, and it must go on without the limit.
    fn refused(&mut self, mut work: Work<'a>, error: &StoreError, random: &mut ChaCha8Rng) -> Result<Work<'a>, String> {
        let action = self.judge.chain().actions[self.done];
        self.count(error, &format!("action {}, {action:?}", self.done))?;
        self.look(&mut work, action)?;
        // As it is, it refuses again, however often it is asked, or does what it can do after all.
        for _ in 0..random.random_range(0..4) {
            match work.act() {
                Ok(_) => {
                    self.done = work.done();
                    return Ok(work);
                }
                Err(error) => self.count(&error, "again")?,
            }
        }
        self.lift()?;
        if let Action::Load(_) = action
            && let Ok(store) = work.store_mut()
        {
            let _ = store.clear();
        }
        if work.act().is_ok() {
            self.done = work.done();
            self.endured.with_the_same_handle += 1;
            return Ok(work);
        }
        drop(work);
        self.endured.after_reopening += 1;
        self.reopened(random)
    }

    /// Opens a store that was closed, without a limit: it must hold what was done, or the next action as well.
    fn reopened(&mut self, random: &mut ChaCha8Rng) -> Result<Work<'a>, String> {
        let chain = self.judge.chain();
        let at = |wrong: &dyn fmt::Display| format!("opened again after {} actions: {wrong}", self.done);
        let found = self.judge.judge(self.directory, chain.possible(self.done)).map_err(|wrong| at(&wrong))?;
        let point = chain.points[found.point];
        work::repair(self.directory, chain, point.at).map_err(|error| at(&error))?;
        if matches!(point.at, At::Block(_)) && random.random_bool(0.3) {
            self.judge.back_and_forth(self.directory, 3).map_err(|wrong| at(&wrong))?;
        }
        self.done = point.done;
        self.open_now().map_err(|error| format!("it does not open without a limit: {error:?}"))
    }

    /// Looks at everything in the open store, as far as the limit lets it.
    fn look(&self, work: &mut Work<'a>, action: Action) -> Result<(), String> {
        if matches!(action, Action::Load(_) | Action::Rebuild) {
            // Half of it may be there; the store says so where it is asked.
            return Ok(());
        }
        let Ok(store) = work.store_mut() else { return Ok(()) };
        match self.judge.judge_open(store, self.judge.chain().possible(self.done)) {
            Err(wrong) if wrong.store_error().is_none_or(|error| self.limit.name(error).is_none()) => {
                Err(format!("refused action {}, {action:?}, and then: {wrong}", self.done))
            }
            _ => Ok(()),
        }
    }

    fn count(&mut self, error: &StoreError, when: &str) -> Result<(), String> {
        let name = self.limit.name(error).ok_or_else(|| format!("{when}: not an error of the limit: {error:?}"))?;
        *self.endured.refusals.entry(name).or_default() += 1;
        Ok(())
    }

    fn impose(&self, random: &mut ChaCha8Rng) -> Result<(), String> {
        self.lift()?;
        self.limit.impose(self.directory, random).map_err(|error| format!("the limit cannot be imposed: {error}"))
    }

    fn lift(&self) -> Result<(), String> {
        self.limit.lift(self.directory).map_err(|error| format!("the limit cannot be lifted: {error}"))
    }
}

/// The file that takes the space, beside the directory.
fn ballast(directory: &Path) -> PathBuf {
    directory.with_extension("ballast")
}

/// Fills the file system but for `left` bytes.
fn fill(path: &Path, left: u64) -> io::Result<()> {
    let mut file = File::create(path)?;
    let block = [0xee; 16 << 10];
    loop {
        match file.write(&block) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
            Err(error) => return Err(error),
        }
    }
    let length = file.metadata()?.len();
    file.set_len(length.saturating_sub(left))
}

fn limit(resource: Resource, most: u64) -> io::Result<()> {
    let maximum = getrlimit(resource).maximum;
    Ok(setrlimit(resource, Rlimit { current: Some(most), maximum })?)
}

fn unlimit(resource: Resource) -> io::Result<()> {
    let maximum = getrlimit(resource).maximum;
    Ok(setrlimit(resource, Rlimit { current: maximum, maximum })?)
}
