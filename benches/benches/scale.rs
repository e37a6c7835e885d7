//! How do commit, root and reads grow with the size of the state?
//!
//! `cargo bench --bench scale -- [--accounts N,N,..] [--db DIR]` loads a state of N accounts and N slots for each N, commits
//! blocks over it, reads from it cold and warm, and prints a table in Markdown. Nothing is repeated for long: the point is
//! how the figures grow. Without arguments the state is small, so that the program can be tried.

#![expect(clippy::print_stdout, reason = "a table is what it is for")]

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use alloy_primitives::{B256, U256};
use ropewalk_benches::state::{MadeUp, block_hash, mix};
use ropewalk_state::{BlockCommit, StateReader, trie::state_root_after};
use ropewalk_store::{Head, Store, StoreError, StoreOptions};

/// Accounts that blocks change, and how many blocks of each size are committed.
const BLOCKS: [(u64, usize); 3] = [(1_000, 7), (5_000, 5), (20_000, 3)];
/// Reads of each kind.
const READS: u64 = 2_000;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    let sizes = value("--accounts").unwrap_or_else(|| "10000".to_owned());
    let sizes =
        sizes.split(',').map(|size| size.parse().map_err(io::Error::other)).collect::<io::Result<Vec<u64>>>()?;
    let folder = value("--db").map_or_else(std::env::temp_dir, PathBuf::from);
    println!(
        "| accounts + slots | load | verify | MiB on disk | changes | root | commit | written / changed | peak MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for accounts in &sizes {
        let directory = tempfile::Builder::new().prefix("scale-").tempdir_in(&folder)?;
        measure(MadeUp { accounts: *accounts }, directory.path())?;
    }
    Ok(())
}

fn measure(state: MadeUp, path: &Path) -> io::Result<()> {
    let mut store = Store::open(path, &StoreOptions::default()).map_err(io::Error::other)?;
    let (root, load) = load(&mut store, state)?;
    let began = Instant::now();
    let verified = store.verify(&mut |_| ()).map_err(io::Error::other)?;
    assert!(verified.is_sound(), "{verified:?}");
    let verify = began.elapsed();
    let disk = size(path) >> 20;
    let (mut before, mut parent) = (BTreeMap::new(), Head { number: 0, hash: block_hash(0), state_root: Some(root) });
    for (changed, blocks) in BLOCKS {
        let (mut roots, mut commits) = (Vec::new(), Vec::new());
        let written = written_bytes();
        let mut changed_bytes = 0;
        for _ in 0..blocks {
            let number = parent.number + 1;
            let changes = state.block(number, changed, &mut before);
            changed_bytes += changes.accounts.iter().map(|change| 80 + 72 * change.slots.len() as u64).sum::<u64>();
            let began = Instant::now();
            let state_root = state_root_after(&store.reader(), parent.state_root.unwrap_or_default(), &changes)
                .map_err(io::Error::other)?;
            roots.push(began.elapsed());
            let hash = block_hash(number);
            let block = BlockCommit { number, hash, parent_hash: parent.hash, state_root, changes: &changes };
            let began = Instant::now();
            store.commit_block(&block).map_err(io::Error::other)?;
            commits.push(began.elapsed());
            parent = Head { number, hash, state_root: Some(state_root) };
        }
        let amplification = (written_bytes() - written) as f64 / changed_bytes as f64;
        println!(
            "| {0} + {0} | {1} | {2} | {disk} | {changed} + {3} | {4} | {5} | {amplification:.0} | {6} |",
            state.accounts,
            seconds(load),
            seconds(verify),
            changed * 4 / 10,
            milliseconds(median(roots)),
            milliseconds(median(commits)),
            peak_bytes() >> 20,
        );
    }
    drop(store);
    reads(state, path)
}

/// Loads the state twice: the first time to learn its root, the second time is the one that counts.
fn load(store: &mut Store, state: MadeUp) -> io::Result<(B256, Duration)> {
    let base = |root| Head { number: 0, hash: block_hash(0), state_root: Some(root) };
    let root = match store.load_base(&base(B256::ZERO), state.entries()) {
        Err(StoreError::WrongStateRoot { found, .. }) => found,
        other => return Err(io::Error::other(format!("no state has the root zero: {other:?}"))),
    };
    let began = Instant::now();
    store.load_base(&base(root), state.entries()).map_err(io::Error::other)?;
    Ok((root, began.elapsed()))
}

/// Reads in a store that was just opened, its files not in the system's cache as far as that can be had, and once more.
fn reads(state: MadeUp, path: &Path) -> io::Result<()> {
    let dropped = fs::write("/proc/sys/vm/drop_caches", "3").is_ok();
    let store = Store::open(path, &StoreOptions::default()).map_err(io::Error::other)?;
    let reader = store.reader();
    let addresses: Vec<_> = (0..READS).map(|at| state.address(mix(at, 99))).collect();
    let absent: Vec<_> = addresses.iter().map(|address| (*address, U256::from(12_345_678_901_u64))).collect();
    let kind = if dropped { "cold" } else { "cold (files may be in the system's cache)" };
    for round in [kind, "warm"] {
        let began = Instant::now();
        for address in &addresses {
            assert!(reader.account(address).map_err(io::Error::other)?.is_some());
        }
        let accounts = began.elapsed();
        let began = Instant::now();
        for (address, slot) in &absent {
            assert!(reader.storage(address, slot).map_err(io::Error::other)?.is_zero());
        }
        let absent_slots = began.elapsed();
        let began = Instant::now();
        for batch in addresses.chunks(100) {
            reader.accounts(batch).map_err(io::Error::other)?;
        }
        let each = |time: Duration| format!("{:.1} us", time.as_secs_f64() * 1e6 / READS as f64);
        println!(
            "<!-- {} accounts, {round}: an account {}, an absent slot {}, an account again in batches of 100 {} -->",
            state.accounts,
            each(accounts),
            each(absent_slots),
            each(began.elapsed()),
        );
    }
    Ok(())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn size(path: &Path) -> u64 {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|file| file.len()).sum()
}

/// Bytes that this process had written to disks, as the system counts them.
fn written_bytes() -> u64 {
    field("/proc/self/io", "write_bytes:")
}

/// Most memory that this process had, in bytes.
fn peak_bytes() -> u64 {
    field("/proc/self/status", "VmHWM:") << 10
}

fn field(file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}
