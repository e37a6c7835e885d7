//! Test files in what the command line names: a file, a tree of files, an archive of files.
//!
//! Files come one after the other and are given up before the next one is read, archives included: nothing is unpacked to
//! disk, and memory is bounded by the largest file. Names that begin with a dot belong to tools and are left out, and so
//! is whatever is not called `.json` inside of a tree or an archive.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::zstd::Zstd;

/// Largest test file that is read, in bytes.
const LARGEST_FILE_BYTES: u64 = 1 << 30;

/// Levels of directories that are searched.
const MOST_LEVELS: usize = 32;

/// A file that is about to be read as JSON.
#[derive(Debug)]
pub(super) struct TestFile {
    /// The file's path; inside of an archive, the archive's path and the file's own.
    pub(super) place: String,
    /// What is in it.
    pub(super) text: Vec<u8>,
}

/// Something on the way to a test file cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{place}")]
pub(super) struct ArchiveError {
    place: String,
    #[source]
    fault: Fault,
}

#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("cannot be read")]
    Unreadable(#[from] io::Error),
    #[error("larger than {limit_bytes} bytes")]
    TooLarge { limit_bytes: u64 },
    #[error("more than {limit} directories inside each other")]
    TooDeep { limit: usize },
    #[error("there is no test file in it")]
    NoFiles,
}

/// What takes files in.
pub(super) trait Intake {
    /// One file, or why one is missing. The answer says whether to go on.
    fn take(&mut self, file: Result<TestFile, ArchiveError>) -> ControlFlow<()>;
}

/// Reads all files under `paths` in their order, which is by name inside of trees. `read_bytes` moves on with the bytes
/// that are read from disk.
pub(super) fn read(paths: &[PathBuf], read_bytes: &Arc<AtomicU64>, intake: &mut impl Intake) -> ControlFlow<()> {
    let mut reader = Reader { read_bytes, intake, files: 0 };
    for path in paths {
        reader.files = 0;
        let faults = match path.metadata() {
            Ok(metadata) if metadata.is_dir() => reader.tree(path, 0)?,
            Ok(_) => reader.named_file(path)?,
            Err(error) => reader.refuse(path, error.into())?,
        };
        if reader.files == 0 && faults == Faults::None {
            reader.refuse(path, Fault::NoFiles)?;
        }
    }
    ControlFlow::Continue(())
}

/// Bytes on disk under `paths`, as far as they can be counted.
pub(super) fn size_bytes(paths: &[PathBuf]) -> u64 {
    fn below(path: &Path, level: usize) -> u64 {
        let Ok(metadata) = path.metadata() else { return 0 };
        if !metadata.is_dir() {
            return metadata.len();
        }
        if level == MOST_LEVELS {
            return 0;
        }
        children(path).unwrap_or_default().iter().map(|child| below(child, level + 1)).sum()
    }
    paths.iter().map(|path| below(path, 0)).sum()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Faults {
    None,
    Some,
}

struct Reader<'a, I> {
    read_bytes: &'a Arc<AtomicU64>,
    intake: &'a mut I,
    /// Files and faults of the path that is being read.
    files: u64,
}

impl<I: Intake> Reader<'_, I> {
    fn refuse(&mut self, place: &Path, fault: Fault) -> ControlFlow<(), Faults> {
        self.intake.take(Err(ArchiveError { place: place.display().to_string(), fault }))?;
        ControlFlow::Continue(Faults::Some)
    }

    fn tree(&mut self, directory: &Path, level: usize) -> ControlFlow<(), Faults> {
        if level == MOST_LEVELS {
            return self.refuse(directory, Fault::TooDeep { limit: MOST_LEVELS });
        }
        let children = match children(directory) {
            Ok(children) => children,
            Err(error) => return self.refuse(directory, error.into()),
        };
        let mut faults = Faults::None;
        for child in children {
            let found = if child.is_dir() { self.tree(&child, level + 1)? } else { self.json(&child)? };
            faults = if found == Faults::Some { found } else { faults };
        }
        ControlFlow::Continue(faults)
    }

    /// A file that was named itself: an archive, or JSON whatever it is called.
    fn named_file(&mut self, path: &Path) -> ControlFlow<(), Faults> {
        let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
        if name.ends_with(".tar") {
            return self.archive(path, |file| Ok(Box::new(file)));
        }
        if name.ends_with(".tar.zst") || name.ends_with(".tzst") {
            return self.archive(path, |file| Ok(Box::new(Zstd::new(file))));
        }
        self.json(path)
    }

    fn json(&mut self, path: &Path) -> ControlFlow<(), Faults> {
        self.files += 1;
        let text = File::open(path).map_err(Fault::from).and_then(|file| read_limited(self.counted(file)));
        match text {
            Ok(text) => self.intake.take(Ok(TestFile { place: path.display().to_string(), text }))?,
            Err(fault) => return self.refuse(path, fault),
        }
        ControlFlow::Continue(Faults::None)
    }

    fn archive(
        &mut self,
        path: &Path,
        unpacked: impl FnOnce(Counted<File>) -> io::Result<Box<dyn Read>>,
    ) -> ControlFlow<(), Faults> {
        let opened = File::open(path).and_then(|file| unpacked(self.counted(file)));
        let mut archive = match opened {
            Ok(bytes) => tar::Archive::new(bytes),
            Err(error) => return self.refuse(path, error.into()),
        };
        let entries = match archive.entries() {
            Ok(entries) => entries,
            Err(error) => return self.refuse(path, error.into()),
        };
        for entry in entries {
            match entry {
                Ok(entry) => self.entry(path, entry)?,
                // What follows a torn entry cannot be found.
                Err(error) => return self.refuse(path, error.into()),
            }
        }
        ControlFlow::Continue(Faults::None)
    }

    fn entry<R: Read>(&mut self, archive: &Path, entry: tar::Entry<'_, R>) -> ControlFlow<()> {
        let name = PathBuf::from(String::from_utf8_lossy(&entry.path_bytes()).into_owned());
        if !entry.header().entry_type().is_file() || !is_test_file(&name) {
            return ControlFlow::Continue(());
        }
        self.files += 1;
        let place = archive.join(&name);
        match read_limited(entry) {
            Ok(text) => self.intake.take(Ok(TestFile { place: place.display().to_string(), text })),
            Err(fault) => {
                self.refuse(&place, fault)?;
                ControlFlow::Continue(())
            }
        }
    }

    fn counted(&self, file: File) -> Counted<File> {
        Counted { source: BufReader::with_capacity(1 << 16, file), read_bytes: Arc::clone(self.read_bytes) }
    }
}

fn children(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut children = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().map(PathBuf::from).unwrap_or_default();
        if path.is_dir() && !is_hidden(&name) || is_test_file(&name) {
            children.push(path);
        }
    }
    children.sort();
    Ok(children)
}

fn is_test_file(path: &Path) -> bool {
    let is_json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    is_json && !is_hidden(path)
}

/// Whether any part of the path begins with a dot, other than `.` and `..` themselves.
fn is_hidden(path: &Path) -> bool {
    path.components().any(|part| match part {
        std::path::Component::Normal(name) => name.to_string_lossy().starts_with('.'),
        _ => false,
    })
}

fn read_limited(source: impl Read) -> Result<Vec<u8>, Fault> {
    let mut text = Vec::new();
    source.take(LARGEST_FILE_BYTES + 1).read_to_end(&mut text)?;
    match text.len() as u64 > LARGEST_FILE_BYTES {
        true => Err(Fault::TooLarge { limit_bytes: LARGEST_FILE_BYTES }),
        false => Ok(text),
    }
}

/// A reader that tells how far it has come.
#[derive(Debug)]
pub(super) struct Counted<R> {
    source: BufReader<R>,
    read_bytes: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        // A figure for the eye; nothing depends on when it is seen.
        self.read_bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

impl<R: Read> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.source.fill_buf()
    }

    fn consume(&mut self, bytes: usize) {
        self.read_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.source.consume(bytes);
    }
}
