//! Imports that end before they are done: killed, or asked to stop.

use std::{ffi::OsStr, thread, time::Instant};

use rand_chacha::{
    ChaCha20Rng,
    rand_core::{RngCore, SeedableRng},
};

use crate::made::{Home, Made};

/// Kills an import again and again at random moments. What it leaves is always the state of a whole block, and in the
/// end it is done.
#[test]
fn an_import_that_is_killed_leaves_a_whole_block_and_goes_on_from_it() {
    let (made, home) = (Made::new(60, 20, 5), Home::new());
    let files = [OsStr::new("--chain"), made.file.as_os_str()];
    let started = Instant::now();
    let whole = Home::new();
    assert_eq!(whole.import(&made.genesis, &files).counts(), (60, 0));
    let longest = started.elapsed();
    let mut random = ChaCha20Rng::seed_from_u64(3);
    let mut last = 0;
    for _ in 0..8 {
        let mut import = home.start(&made.genesis, &files);
        thread::sleep(longest.mul_f64(0.1 + 0.5 * f64::from(random.next_u32()) / f64::from(u32::MAX)));
        import.kill().expect("it is ours");
        import.wait().expect("it is ours");
        let stat = home.db_command("stat");
        if stat.last_line()["head"].is_null() {
            continue;
        }
        let (number, hash) = home.head();
        assert!(number >= last, "block {number} after block {last}");
        assert!(number == 0 || hash == made.hash(number), "block {number}");
        home.assert_verified();
        last = number;
    }
    let ended = home.import(&made.genesis, &files);
    assert_eq!((ended.code, ended.counts()), (Some(0), (60 - last, last)), "{ended:?}");
    assert_eq!(home.head(), (60, made.hash(60)));
    home.assert_verified();
}
