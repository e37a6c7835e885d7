//! Imports that are killed before they are done.

use std::{ffi::OsStr, path::Path, thread, time::Instant};

use rand_chacha::{
    ChaCha20Rng,
    rand_core::{RngCore, SeedableRng},
};

use crate::made::{Home, Made};

/// Kills an import again and again at random moments. What it leaves is always the state of a whole block, and in the end
/// it is done: `blocks` are imported, `known` are those of the files that the database begins with.
pub(crate) fn assert_killed_imports_go_on(genesis: &Path, files: &[&OsStr], (blocks, known): (u64, u64)) {
    let (whole, home) = (Home::new(), Home::new());
    let started = Instant::now();
    let undisturbed = whole.import_once(genesis, files);
    let longest = started.elapsed();
    assert_eq!(undisturbed.counts(), (blocks, known));
    let hashes = undisturbed.hashes();
    let mut random = ChaCha20Rng::seed_from_u64(3);
    let mut last = 0;
    for _ in 0..8 {
        let mut import = home.start(genesis, files);
        thread::sleep(longest.mul_f64(0.1 + 0.4 * f64::from(random.next_u32()) / f64::from(u32::MAX)));
        import.kill().expect("it is ours");
        import.wait().expect("it is ours");
        let Some((number, hash)) = home.found_head() else { continue };
        assert!(number >= last, "block {number} after block {last}");
        assert!(number == 0 || hashes[&number] == hash, "block {number} is {hash}");
        home.assert_verified();
        last = number;
    }
    let ended = home.import(genesis, files);
    assert_eq!((ended.code, ended.counts()), (Some(0), (blocks - last, known + last)), "{ended:?}");
    assert_eq!(home.head(), whole.head());
    home.assert_verified();
}

#[test]
fn an_import_that_is_killed_leaves_a_whole_block_and_goes_on_from_it() {
    let made = Made::new(60, 20, 5);
    assert_killed_imports_go_on(&made.genesis, &[OsStr::new("--chain"), made.file.as_os_str()], (60, 0));
}
