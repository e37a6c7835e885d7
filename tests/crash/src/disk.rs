//! What a disk may hold after a power cut at any moment of a journal.
//!
//! A disk keeps what was synced, and of the rest what it likes. [`Disk::cut`] builds one such disk: all records before
//! the moment were made, and of those that no sync vouches for some survive.
//!
//! ```text
//! content   a file's writes and sizes: those before its last sync survive
//!           after it  Nothing    none
//!                     Prefix     the first so many of each file's, the last of them torn at any byte
//!                     Scattered  any 4 KiB pages, with zeros where others are missing below them
//!                     Later      all of the files that were created after some moment, none of the others
//!                     Everything all
//! names     a directory's creations, renames and removals: those before its last sync survive
//!           after it  Nothing    none
//!                     Prefix     the first so many: what journaling file systems leave
//!                     Scattered  any: all that POSIX promises is the sync
//!                     Later      those of the names that were given after some moment
//!                     Everything all
//! ```
//!
//! A file whose name did not survive is gone, whatever was synced of its content. A rename is one step.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs, io,
    os::unix::fs::MetadataExt,
    path::Path,
};

use rand::{Rng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;

use crate::journal::Record;

/// Bytes that a disk writes together.
const PAGE: usize = 4096;

/// What becomes of changes that no sync vouches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsynced {
    /// All are lost.
    Nothing,
    /// The first so many are kept.
    Prefix,
    /// Any are kept.
    Scattered,
    /// Those of later files or names are kept, and those of earlier ones are not.
    Later,
    /// All are kept, as after a kill.
    Everything,
}

impl Unsynced {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Nothing, Self::Prefix, Self::Scattered, Self::Later, Self::Everything];
}

/// A power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// How many records of the journal were made.
    pub at: usize,
    /// What becomes of content.
    pub content: Unsynced,
    /// What becomes of names.
    pub names: Unsynced,
}

/// Files and directories below one directory, by their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    /// Content of files.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Directories.
    pub directories: BTreeSet<String>,
}

/// A directory as it was, and what happened to it since.
#[derive(Debug)]
pub struct Disk {
    start: Tree,
    /// Inodes of the files at the start.
    inodes: BTreeMap<String, u64>,
    records: Vec<Record>,
}

impl Tree {
    /// What is below `path`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(path: &Path) -> io::Result<Self> {
        let mut tree = Self::default();
        tree.read_below(path, "", &mut |_, _| {})?;
        Ok(tree)
    }

    /// Makes the directory `path` hold this and nothing else.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        if path.exists() {
            fs::remove_dir_all(path)?;
        }
        fs::create_dir_all(path)?;
        self.directories.iter().try_for_each(|name| fs::create_dir_all(path.join(name)))?;
        self.files.iter().try_for_each(|(name, content)| fs::write(path.join(name), content))
    }

    fn read_below(&mut self, path: &Path, prefix: &str, seen: &mut impl FnMut(&str, u64)) -> io::Result<()> {
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                self.read_below(&entry.path(), &format!("{name}/"), seen)?;
                self.directories.insert(name);
            } else {
                seen(&name, entry.metadata()?.ino());
                self.files.insert(name, fs::read(entry.path())?);
            }
        }
        Ok(())
    }
}

impl Disk {
    /// The directory as it is now, all of it safe; what happens to it is told by [`happened`](Self::happened).
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn at_start(path: &Path) -> io::Result<Self> {
        let (mut start, mut inodes) = (Tree::default(), BTreeMap::new());
        start.read_below(path, "", &mut |name, inode| {
            inodes.insert(name.to_owned(), inode);
        })?;
        Ok(Self { start, inodes, records: Vec::new() })
    }

    /// Takes in what was done to the directory since.
    pub fn happened(&mut self, records: Vec<Record>) {
        self.records = records;
    }

    /// What was done.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// What was said before the moment, line by line.
    pub fn said(&self, at: usize) -> impl Iterator<Item = &str> {
        let said = self.records[..at].iter().filter_map(|record| match record {
            Record::Say(text) => Some(text.as_str()),
            _ => None,
        });
        said.flat_map(str::lines)
    }

    /// What the disk holds after the cut, where chance decides what survives.
    ///
    /// # Panics
    /// When the journal does not fit what was there at the start.
    pub fn cut(&self, cut: Cut, random: &mut ChaCha8Rng) -> Tree {
        let past = Past::new(self, cut.at);
        let unsynced: Vec<usize> = (0..past.files.len()).filter(|at| !past.files[*at].is_safe()).collect();
        let boundary = unsynced.choose(random).copied().unwrap_or_default();
        let files = past.files.iter().enumerate().map(|(at, file)| {
            let content = match cut.content {
                Unsynced::Later if at < boundary => Unsynced::Nothing,
                Unsynced::Later => Unsynced::Everything,
                content => content,
            };
            file.content(content, random)
        });
        let files: Vec<Vec<u8>> = files.collect();
        past.tree(cut.names, random, &files)
    }
}

/// A change of a file's content.
enum Change<'d> {
    Write { offset: usize, data: &'d [u8] },
    Resize(usize),
}

/// A file and what was done to it, with the indices of the records.
struct File<'d> {
    start: &'d [u8],
    changes: Vec<(usize, Change<'d>)>,
    /// Changes of records before this one are safe.
    safe: usize,
}

/// A change of names. What gets a name is a file, whether or not the name that it had then survives.
enum Naming<'d> {
    Create { name: &'d str, file: usize },
    Rename { from: &'d str, to: &'d str, file: usize },
    Unlink(&'d str),
    MakeDirectory(&'d str),
    RemoveDirectory(&'d str),
}

/// Everything that was done before a moment, sorted by what it was done to.
struct Past<'d> {
    disk: &'d Disk,
    files: Vec<File<'d>>,
    names: Vec<(usize, Naming<'d>)>,
    /// Namings of records before this one are safe, for each directory.
    safe_names: HashMap<&'d str, usize>,
    /// Inodes are used again once a file is gone, so they stand for the file that got them last.
    by_inode: HashMap<u64, usize>,
    /// Names as the process saw them.
    by_name: HashMap<&'d str, usize>,
}

impl<'d> Past<'d> {
    fn new(disk: &'d Disk, at: usize) -> Self {
        let contents = disk.start.files.values();
        let files = contents.map(|start| File { start, changes: Vec::new(), safe: 0 }).collect();
        let names = || disk.start.files.keys().enumerate();
        let mut past = Self {
            disk,
            files,
            names: Vec::new(),
            safe_names: HashMap::new(),
            by_inode: names().map(|(at, name)| (disk.inodes[name], at)).collect(),
            by_name: names().map(|(at, name)| (name.as_str(), at)).collect(),
        };
        disk.records[..at].iter().enumerate().for_each(|(index, record)| past.take(index, record));
        past
    }

    fn take(&mut self, index: usize, record: &'d Record) {
        match record {
            Record::Create { inode, path } => {
                self.by_inode.insert(*inode, self.files.len());
                self.give(index, path, self.files.len());
                self.files.push(File { start: &[], changes: Vec::new(), safe: 0 });
            }
            Record::Resize { inode, size } => self.change(index, *inode, Change::Resize(*size as usize)),
            Record::Write { inode, offset, data } => {
                self.change(index, *inode, Change::Write { offset: *offset as usize, data });
            }
            Record::Sync { inode, until } => {
                let file = self.file(*inode);
                file.safe = file.safe.max(*until as usize);
            }
            Record::SyncDirectory { path, until } => {
                let safe = self.safe_names.entry(path).or_default();
                *safe = (*safe).max(*until as usize);
            }
            Record::Rename { from, to } => {
                let file = self.by_name.remove(from.as_str()).expect("only what is there is renamed");
                self.by_name.insert(to, file);
                self.names.push((index, Naming::Rename { from, to, file }));
            }
            Record::Link { from, to } => self.give(index, to, self.by_name[from.as_str()]),
            Record::Unlink(path) => {
                self.by_name.remove(path.as_str());
                self.names.push((index, Naming::Unlink(path)));
            }
            Record::MakeDirectory(path) => self.names.push((index, Naming::MakeDirectory(path))),
            Record::RemoveDirectory(path) => self.names.push((index, Naming::RemoveDirectory(path))),
            Record::Say(_) => {}
        }
    }

    fn give(&mut self, index: usize, name: &'d str, file: usize) {
        self.by_name.insert(name, file);
        self.names.push((index, Naming::Create { name, file }));
    }

    fn file(&mut self, inode: u64) -> &mut File<'d> {
        let file = self.by_inode.get(&inode).expect("a file is created or there before it is used");
        &mut self.files[*file]
    }

    fn change(&mut self, index: usize, inode: u64, change: Change<'d>) {
        self.file(inode).changes.push((index, change));
    }

    /// Names that survive, with the contents of their files.
    fn tree(&self, unsynced: Unsynced, random: &mut ChaCha8Rng, contents: &[Vec<u8>]) -> Tree {
        let is_safe = |index: usize, naming: &Naming<'_>| {
            naming.folders().all(|folder| self.safe_names.get(folder).is_some_and(|safe| index < *safe))
        };
        let open: Vec<usize> = self.names.iter().filter(|(i, naming)| !is_safe(*i, naming)).map(|(i, _)| *i).collect();
        let survivors: BTreeSet<usize> = match unsynced {
            Unsynced::Nothing => BTreeSet::new(),
            Unsynced::Everything => open.into_iter().collect(),
            Unsynced::Prefix => {
                let kept = random.random_range(0..=open.len());
                open.into_iter().take(kept).collect()
            }
            Unsynced::Scattered => open.into_iter().filter(|_| random.random()).collect(),
            Unsynced::Later => {
                let lost = random.random_range(0..=open.len());
                open.into_iter().skip(lost).collect()
            }
        };
        let mut names: BTreeMap<&str, usize> =
            self.disk.start.files.keys().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
        let mut directories = self.disk.start.directories.clone();
        for (index, naming) in &self.names {
            if is_safe(*index, naming) || survivors.contains(index) {
                naming.apply(&mut names, &mut directories);
            }
        }
        let there = |name: &str| folder(name).is_empty() || directories.contains(folder(name));
        let files = names.into_iter().filter(|(name, _)| there(name));
        let files = files.map(|(name, file)| (name.to_owned(), contents[file].clone())).collect();
        Tree { files, directories }
    }
}

impl<'d> Naming<'d> {
    /// The directories that it changes.
    fn folders(&self) -> impl Iterator<Item = &'d str> {
        let (first, second) = match self {
            Self::Create { name, .. }
            | Self::Unlink(name)
            | Self::MakeDirectory(name)
            | Self::RemoveDirectory(name) => (*name, None),
            Self::Rename { from, to, .. } => (*from, Some(*to)),
        };
        [Some(first), second].into_iter().flatten().map(folder)
    }

    fn apply(&self, names: &mut BTreeMap<&'d str, usize>, directories: &mut BTreeSet<String>) {
        match self {
            Self::Create { name, file } => {
                names.insert(name, *file);
            }
            Self::Rename { from, to, file } => {
                names.remove(from);
                names.insert(to, *file);
            }
            Self::Unlink(name) => {
                names.remove(name);
            }
            Self::MakeDirectory(name) => {
                directories.insert((*name).to_owned());
            }
            Self::RemoveDirectory(name) => {
                directories.remove(*name);
            }
        }
    }
}

/// The directory of a name; empty for the outermost.
fn folder(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

impl File<'_> {
    /// Whether every change was synced.
    fn is_safe(&self) -> bool {
        self.changes.last().is_none_or(|(index, _)| *index < self.safe)
    }

    fn content(&self, unsynced: Unsynced, random: &mut ChaCha8Rng) -> Vec<u8> {
        let mut content = self.start.to_vec();
        let (safe, open): (Vec<_>, Vec<_>) = self.changes.iter().partition(|(index, _)| *index < self.safe);
        safe.iter().for_each(|(_, change)| change.apply(&mut content));
        match unsynced {
            Unsynced::Nothing => {}
            Unsynced::Later | Unsynced::Everything => open.iter().for_each(|(_, change)| change.apply(&mut content)),
            Unsynced::Prefix => {
                let kept = random.random_range(0..=open.len());
                open.iter().take(kept).for_each(|(_, change)| change.apply(&mut content));
                if let Some((_, Change::Write { offset, data })) = open.get(kept) {
                    let torn = &data[..random.random_range(0..data.len())];
                    Change::Write { offset: *offset, data: torn }.apply(&mut content);
                }
            }
            Unsynced::Scattered => {
                let mut whole = content.clone();
                open.iter().for_each(|(_, change)| change.apply(&mut whole));
                scatter(&mut content, &whole, random);
            }
        }
        content
    }
}

impl Change<'_> {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { data: [], .. } => {}
            Self::Write { offset, data } => {
                let end = offset + data.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[*offset..end].copy_from_slice(data);
            }
            Self::Resize(size) => content.resize(*size, 0),
        }
    }
}

/// Takes any pages of `whole` over into `content`, which ends behind the last of them.
fn scatter(content: &mut Vec<u8>, whole: &[u8], random: &mut ChaCha8Rng) {
    let same = content.iter().zip(whole).take_while(|(a, b)| a == b).count();
    for page in same / PAGE..whole.len().div_ceil(PAGE) {
        if random.random() {
            let (start, end) = (page * PAGE, whole.len().min((page + 1) * PAGE));
            Change::Write { offset: start, data: &whole[start..end] }.apply(content);
        }
    }
    if whole.len() < content.len() && random.random() {
        content.truncate(whole.len());
    }
}
