//! A file that appears whole or not at all.

use std::{
    fs, io,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use crate::fixture::WriteError;

/// A file that is written under a passing name beside its place, and moved there when it is finished. One that is not
/// finished goes, and what stood at the place before stays.
#[derive(Debug)]
pub(crate) struct WholeFile {
    path: PathBuf,
    passing: BufWriter<NamedTempFile>,
}

impl WholeFile {
    /// A new file that is to appear at `path`.
    ///
    /// # Errors
    /// When no file can be made beside the place.
    pub(crate) fn create(path: &Path) -> Result<Self, WriteError> {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let made = tempfile::Builder::new().prefix(".ropewalk-").tempfile_in(parent);
        let passing = made.map_err(|source| WriteError::Io { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), passing: BufWriter::new(passing) })
    }

    /// Adds to the file.
    ///
    /// # Errors
    /// When `write` fails.
    pub(crate) fn write(
        &mut self,
        write: impl FnOnce(&mut BufWriter<NamedTempFile>) -> io::Result<()>,
    ) -> Result<(), WriteError> {
        write(&mut self.passing).map_err(|source| WriteError::Io { path: self.path.clone(), source })
    }

    /// Makes the file appear, readable by everybody: a temporary file is its owner's alone.
    ///
    /// # Errors
    /// When something is left that cannot be written, or the file cannot be moved to its place.
    pub(crate) fn finish(self) -> Result<(), WriteError> {
        use std::os::unix::fs::PermissionsExt;
        let Self { path, passing } = self;
        let finish = || {
            let passing = passing.into_inner().map_err(io::IntoInnerError::into_error)?;
            fs::set_permissions(passing.path(), fs::Permissions::from_mode(0o644))?;
            passing.persist(&path).map_err(|error| error.error)?;
            Ok(())
        };
        finish().map_err(|source| WriteError::Io { path: path.clone(), source })
    }
}

/// Writes a whole file.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write_whole(path: &Path, text: &str) -> Result<(), WriteError> {
    let mut file = WholeFile::create(path)?;
    file.write(|file| file.write_all(text.as_bytes()))?;
    file.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_finished_leaves_the_former_file_and_nothing_else() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("file");
        write_whole(&path, "former").expect("writable");
        let mut file = WholeFile::create(&path).expect("writable");
        file.write(|file| file.write_all(b"half")).expect("writable");
        drop(file);
        assert_eq!(fs::read_to_string(&path).expect("there"), "former");
        assert_eq!(fs::read_dir(directory.path()).expect("readable").count(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_made_is_named() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("missing").join("file");
        let error = write_whole(&path, "text").expect_err("there is no such directory");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
}
