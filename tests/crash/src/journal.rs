//! What a process asked of the file system, as the layer wrote it down.
//!
//! The layer is C source beside this package (`layer/journal.c`): it is compiled when a test wants it and loaded into the
//! other process. The form of a record is described there.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// The layer's source.
const SOURCE: &str = include_str!("../layer/journal.c");

/// Bytes of a record before its two texts.
const HEADER: usize = 33;

/// One call that changed something, or vouched for changes, or told something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A file was created under a name.
    Create {
        /// Its inode, which no other file has at that time.
        inode: u64,
        /// Its name.
        path: String,
    },
    /// A file got another size.
    Resize {
        /// Which file.
        inode: u64,
        /// The new size in bytes.
        size: u64,
    },
    /// Bytes were written.
    Write {
        /// To which file.
        inode: u64,
        /// From where on.
        offset: u64,
        /// The bytes.
        data: Vec<u8>,
    },
    /// A file's changes were made safe.
    Sync {
        /// Which file's.
        inode: u64,
        /// Index of the first record that is not vouched for.
        until: u64,
    },
    /// A name was given to a file in place of another name, and of another file where there was one.
    Rename {
        /// The former name.
        from: String,
        /// The new one.
        to: String,
    },
    /// A name was removed.
    Unlink(String),
    /// A file got a further name.
    Link {
        /// The name it has.
        from: String,
        /// The further one.
        to: String,
    },
    /// A directory was made.
    MakeDirectory(String),
    /// An empty directory was removed.
    RemoveDirectory(String),
    /// Names in a directory were made safe.
    SyncDirectory {
        /// Which directory; empty for the outermost.
        path: String,
        /// Index of the first record that is not vouched for.
        until: u64,
    },
    /// The process wrote this to its output.
    Say(String),
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { inode, path } => write!(f, "create {inode} as {path}"),
            Self::Resize { inode, size } => write!(f, "resize {inode} to {size}"),
            Self::Write { inode, offset, data } => write!(f, "write {inode} at {offset}: {} bytes", data.len()),
            Self::Sync { inode, until } => write!(f, "sync {inode} until {until}"),
            Self::Rename { from, to } => write!(f, "rename {from} to {to}"),
            Self::Unlink(path) => write!(f, "unlink {path}"),
            Self::Link { from, to } => write!(f, "link {from} as {to}"),
            Self::MakeDirectory(path) => write!(f, "make directory {path}"),
            Self::RemoveDirectory(path) => write!(f, "remove directory {path}"),
            Self::SyncDirectory { path, until } => write!(f, "sync directory {path:?} until {until}"),
            Self::Say(text) => write!(f, "say {}", text.trim_end()),
        }
    }
}

/// The layer, compiled.
#[derive(Debug)]
pub struct Layer {
    library: PathBuf,
}

impl Layer {
    /// Compiles the layer into `folder` with the C compiler `cc`.
    ///
    /// # Errors
    /// A line that tells why there is none: no compiler, or not on this system.
    ///
    /// # Panics
    /// When there is a compiler and it does not compile the layer.
    pub fn compile(folder: &Path) -> Result<Self, String> {
        if !cfg!(all(target_os = "linux", target_pointer_width = "64")) {
            return Err("the layer knows the calls of 64-bit Linux only".to_owned());
        }
        let (source, library) = (folder.join("journal.c"), folder.join("journal.so"));
        fs::write(&source, SOURCE).map_err(|error| format!("the layer cannot be written: {error}"))?;
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&library).arg(&source);
        match compiler.output() {
            Ok(output) if output.status.success() => Ok(Self { library }),
            Ok(output) => panic!("cc does not compile the layer:\n{}", String::from_utf8_lossy(&output.stderr)),
            Err(error) => Err(format!("there is no C compiler `cc`: {error}")),
        }
    }

    /// Has the process that `command` starts write down in `journal` what it does below `directory`.
    pub fn load(&self, command: &mut Command, directory: &Path, journal: &Path) {
        command.env("LD_PRELOAD", &self.library);
        command.env("ROPEWALK_JOURNAL_ROOT", directory).env("ROPEWALK_JOURNAL", journal);
    }
}

/// Reads a journal. A record that was cut off at the end was not made.
///
/// # Errors
/// When the file cannot be read.
///
/// # Panics
/// When it is not a journal.
pub fn read(path: &Path) -> io::Result<Vec<Record>> {
    let bytes = fs::read(path)?;
    let mut records = Vec::new();
    let mut left = &bytes[..];
    while let Some((record, rest)) = split(left) {
        records.push(record);
        left = rest;
    }
    Ok(records)
}

/// The first record and what is after it, if it is whole.
fn split(bytes: &[u8]) -> Option<(Record, &[u8])> {
    let (header, rest) = bytes.split_at_checked(HEADER)?;
    let number = |at: usize| u64::from_ne_bytes(header[at..at + 8].try_into().expect("eight bytes"));
    let length = |at: usize| u32::from_ne_bytes(header[at..at + 4].try_into().expect("four bytes")) as usize;
    let (first, rest) = rest.split_at_checked(length(25))?;
    let (second, rest) = rest.split_at_checked(length(29))?;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("names and lines are text");
    let (inode, a) = (number(1), number(9));
    let record = match header[0] {
        1 => Record::Create { inode, path: text(first) },
        2 => Record::Resize { inode, size: a },
        3 => Record::Write { inode, offset: a, data: first.to_vec() },
        4 => Record::Sync { inode, until: a },
        5 => Record::Rename { from: text(first), to: text(second) },
        6 => Record::Unlink(text(first)),
        7 => Record::Link { from: text(first), to: text(second) },
        8 => Record::MakeDirectory(text(first)),
        9 => Record::RemoveDirectory(text(first)),
        10 => Record::SyncDirectory { path: text(first), until: a },
        11 => Record::Say(text(first)),
        kind => panic!("record of an unknown kind {kind}"),
    };
    Some((record, rest))
}
