//! era1 archives: one made here, and the first 8192 blocks of mainnet where they are at hand.

use std::{
    env,
    ffi::OsStr,
    io::Write,
    path::{Path, PathBuf},
};

use crate::made::Home;

/// Folder with the archive and its genesis file; `None`, and a word about it, where they are not there.
fn mainnet() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let shared = env::var_os("ROPEWALK_SHARED").map_or(beside, PathBuf::from);
    let folder = shared.join("fixtures/era1");
    if folder.join(ARCHIVE).exists() {
        return Some(folder);
    }
    // The harness holds back what a test that passes prints; this line is for whoever reads the run.
    let _ = writeln!(std::io::stderr().lock(), "SKIPPED: there is no era1 archive at {}", folder.display());
    None
}

const ARCHIVE: &str = "mainnet-00000-5ec1ffb8.era1";

#[test]
fn mainnets_first_blocks_are_imported_with_every_root_checked() {
    let Some(folder) = mainnet() else { return };
    let (genesis, archive, home) = (folder.join("genesis-mainnet.json"), folder.join(ARCHIVE), Home::new());
    let files = [OsStr::new("--era1"), archive.as_os_str()];
    let ended = home.import(&genesis, &files);
    assert_eq!((ended.code, ended.counts()), (Some(0), (8191, 1)), "{}", ended.stderr);
    assert_eq!(home.head().0, 8191);
    home.assert_verified();
    let again = home.import_aloud(&genesis, &files);
    assert!(again.stdout.starts_with("nothing left to import: the database is at block 8191"), "{again:?}");
}
