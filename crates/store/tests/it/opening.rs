//! What may go wrong at open, and what damaged content looks like to a reader.

use std::{fs, io, path::Path};

use alloy_primitives::{B256, keccak256};
use rocksdb::{DB, Options};
use ropewalk_state::StateReader;
use ropewalk_store::{
    Store, StoreError,
    layout::{DecodeError, LAYOUT_VERSION},
};

use crate::chain::{account, address, changes, destroy, extend, open, options, set, store_error, word};

/// Opens the same directory without the store, to do what the store never would.
pub(crate) fn tamper(path: &Path, action: impl FnOnce(&mut DB)) {
    let families = DB::list_cf(&Options::default(), path).expect("there is a database");
    let mut database = DB::open_cf(&Options::default(), path, families).expect("RocksDB opens it");
    action(&mut database);
}

pub(crate) fn put(database: &DB, family: &str, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
    database.put_cf(database.cf_handle(family).expect("the family exists"), key, value).expect("a value is written");
}

fn open_error(path: &Path) -> StoreError {
    Store::open(path, &options()).expect_err("the store must not open")
}

#[test]
fn store_open_in_this_process_is_locked() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = open(directory.path());
    let error = open_error(directory.path());
    assert!(matches!(&error, StoreError::Locked { path } if path == directory.path()), "{error:?}");
    drop(store);
    open(directory.path());
}

#[test]
fn store_open_in_another_rocksdb_program_is_locked() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    drop(open(directory.path()));
    tamper(directory.path(), |_| {
        let error = open_error(directory.path());
        assert!(matches!(&error, StoreError::Locked { path } if path == directory.path()), "{error:?}");
    });
}

#[test]
fn missing_directories_are_created_on_the_way() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("a/b/c");
    assert_eq!(open(&path).head(), None);
}

#[test]
fn path_that_is_a_file_is_named() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("file");
    fs::write(&file, "not a directory").expect("a file is written");
    let error = open_error(&file);
    assert!(matches!(&error, StoreError::Directory { path, .. } if *path == file), "{error:?}");
    assert!(error.to_string().contains("file"), "{error}");
}

/// A superuser may write anywhere but in the kernel's own file systems, so that is where the test goes then.
#[cfg(target_os = "linux")]
#[test]
fn directory_that_cannot_be_written_is_named() {
    use std::os::unix::fs::PermissionsExt;

    let directory = tempfile::tempdir().expect("a temporary directory");
    let read_only = directory.path().join("read-only");
    fs::create_dir(&read_only).expect("a directory is made");
    fs::set_permissions(&read_only, fs::Permissions::from_mode(0o555)).expect("its permissions are ours");
    let superuser = fs::write(read_only.join("probe"), "").is_ok();
    let unwritable = if superuser { Path::new("/proc/self").to_owned() } else { read_only };

    for path in [unwritable.join("store"), unwritable] {
        let error = open_error(&path);
        assert!(
            matches!(&error, StoreError::Directory { path: named, .. } | StoreError::NotAStore { path: named } if *named == path),
            "{error:?}"
        );
    }
}

#[test]
fn directory_with_other_content_is_left_alone() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    fs::write(directory.path().join("diary.txt"), "dear diary").expect("a file is written");
    assert!(matches!(open_error(directory.path()), StoreError::NotAStore { .. }));
    assert_eq!(fs::read_dir(directory.path()).expect("it can be listed").count(), 1, "nothing was added");
}

#[test]
fn database_of_another_program_is_left_alone() {
    for families in [&["accounts", "receipts"][..], &["head", "receipts"]] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut create = Options::default();
        create.create_if_missing(true);
        create.create_missing_column_families(true);
        drop(DB::open_cf(&create, directory.path(), families).expect("a database is made"));
        assert!(matches!(open_error(directory.path()), StoreError::NotAStore { .. }), "{families:?}");
        let found = DB::list_cf(&Options::default(), directory.path()).expect("there is a database");
        assert_eq!(found.len(), families.len() + 1, "no family was added");
    }
}

#[test]
fn interrupted_creation_is_completed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    drop(open(directory.path()));
    tamper(directory.path(), |database| {
        database.drop_cf("code").expect("a family is dropped");
        let head = database.cf_handle("head").expect("the family exists");
        database.delete_cf(head, "layout").expect("the version is removed");
    });
    let mut store = open(directory.path());
    extend(&mut store, &changes([set(address(1), account(1), &[])])).expect("block 0");
}

#[test]
fn other_layouts_are_refused_with_both_versions() {
    for families in [&[][..], &["trie"]] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        drop(open(directory.path()));
        tamper(directory.path(), |database| {
            for family in families {
                database.create_cf(family, &Options::default()).expect("a family is made");
            }
            put(database, "head", "layout", (LAYOUT_VERSION + 1).to_be_bytes());
        });
        match open_error(directory.path()) {
            StoreError::Layout { path, found, supported } => {
                assert_eq!((path.as_path(), found, supported), (directory.path(), LAYOUT_VERSION + 1, LAYOUT_VERSION));
            }
            other => panic!("{families:?}: {other:?}"),
        }
    }
}

#[test]
fn layout_without_trie_nodes_is_refused_with_a_way_on_and_nothing_is_added() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    drop(open(directory.path()));
    tamper(directory.path(), |database| {
        for family in ["account_nodes", "storage_nodes"] {
            database.drop_cf(family).expect("a family is dropped");
        }
        put(database, "head", "layout", 1_u32.to_be_bytes());
    });
    let families = || DB::list_cf(&Options::default(), directory.path()).expect("there is a database");
    let before = families();
    let error = open_error(directory.path());
    assert!(matches!(error, StoreError::Layout { found: 1, supported: LAYOUT_VERSION, .. }), "{error:?}");
    assert!(error.to_string().contains("fill it anew"), "{error}");
    assert_eq!(families(), before);
}

#[test]
fn head_without_a_layout_version_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    drop(open(directory.path()));
    tamper(directory.path(), |database| {
        put(database, "head", "head", [0; 40]);
        let head = database.cf_handle("head").expect("the family exists");
        database.delete_cf(head, "layout").expect("the version is removed");
    });
    assert!(matches!(open_error(directory.path()), StoreError::NotAStore { .. }));
}

#[test]
fn head_that_the_block_records_do_not_confirm_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut store = open(directory.path());
    extend(&mut store, &changes([])).expect("block 0");
    let head = store.head().expect("there is a head");
    drop(store);
    tamper(directory.path(), |database| {
        let forged = [&0_u64.to_be_bytes()[..], B256::repeat_byte(9).as_slice()].concat();
        put(database, "head", "head", forged);
    });
    match open_error(directory.path()) {
        StoreError::UnconfirmedHead { head: found, .. } => {
            assert_eq!((found.number, found.hash), (head.number, B256::repeat_byte(9)));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn malformed_markers_are_refused_at_open() {
    for (key, length, possible) in [("layout", 3, (4, 4)), ("head", 41, (40, 72)), ("loading", 0, (40, 72))] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        drop(open(directory.path()));
        tamper(directory.path(), |database| put(database, "head", key, vec![0; length]));
        match open_error(directory.path()) {
            StoreError::Malformed { column: "head", key: found, source } => {
                assert_eq!(found[..], *key.as_bytes());
                let (least, most) = possible;
                assert_eq!(source, DecodeError::Length { found: length, least, most });
            }
            other => panic!("{key}: {other:?}"),
        }
    }
}

#[test]
fn malformed_values_are_errors_of_the_read_that_meets_them() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut store = open(directory.path());
    extend(&mut store, &changes([set(address(1), account(1), &[(1, 1)])])).expect("block 0");
    drop(store);
    let hashed = keccak256(address(1));
    let slot_key = [hashed.as_slice(), &[0; 8], keccak256(word(1).to_be_bytes::<32>()).as_slice()].concat();
    tamper(directory.path(), |database| {
        put(database, "accounts", hashed, [0xff]);
        put(database, "storage", &slot_key, [0; 32]);
        put(database, "incarnations", keccak256(address(2)), [0; 8]);
        put(database, "block_hashes", 0_u64.to_be_bytes(), [1; 31]);
        put(database, "blocks", 0_u64.to_be_bytes(), []);
    });
    // The head is not confirmed by an empty record.
    assert!(matches!(open_error(directory.path()), StoreError::Malformed { column: "blocks", .. }));
    tamper(directory.path(), |database| {
        let head = database.cf_handle("head").expect("the family exists");
        database.delete_cf(head, "head").expect("the head is removed");
    });

    let store = open(directory.path());
    let reader = store.reader();
    let slot = (address(1), word(1));
    let errors = [
        ("accounts", reader.account(&address(1)).unwrap_err()),
        ("accounts", reader.accounts(&[address(3), address(1)]).unwrap_err()),
        ("storage", reader.storage(&slot.0, &slot.1).unwrap_err()),
        ("storage", reader.storages(&[(address(3), word(1)), slot]).unwrap_err()),
        ("incarnations", reader.storage(&address(2), &word(1)).unwrap_err()),
        ("incarnations", reader.storages(&[(address(2), word(1))]).unwrap_err()),
        ("incarnations", reader.storage_is_empty(&address(2)).unwrap_err()),
        ("block_hashes", reader.block_hash(0).unwrap_err()),
    ];
    for (expected, error) in &errors {
        let error = store_error(error);
        assert!(matches!(error, StoreError::Malformed { column, .. } if column == expected), "{expected}: {error:?}");
    }
    assert!(matches!(reader.block(0), Err(StoreError::Malformed { column: "blocks", .. })));
    assert_eq!(reader.account(&address(3)).unwrap(), None, "what is sound can still be read");
}

#[test]
fn missing_and_flipped_files_are_found_at_open_or_at_read() {
    for remove in [true, false] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut store = open(directory.path());
        extend(&mut store, &changes((1..=200).map(|n| set(address(n), account(n.into()), &[(1, 7)]))))
            .expect("block 0");
        drop(store);
        tamper(directory.path(), |database| {
            for family in ["accounts", "storage"] {
                database.flush_cf(database.cf_handle(family).expect("the family exists")).expect("it is flushed");
            }
        });
        for file in sorted_files(directory.path()) {
            if remove {
                fs::remove_file(file).expect("a file is removed");
            } else {
                let mut bytes = fs::read(&file).expect("a file is read");
                bytes[100] ^= 1;
                fs::write(file, bytes).expect("a file is written");
            }
        }
        let read = Store::open(directory.path(), &options()).map(|store| store.reader().account(&address(1)));
        match read {
            Err(StoreError::Damaged { .. }) => {}
            Ok(Err(error)) => assert!(matches!(store_error(&error), StoreError::Damaged { .. }), "{error:?}"),
            other => panic!("removed: {remove}, got {other:?}"),
        }
    }
}

#[test]
fn store_without_its_list_of_files_is_not_mistaken_for_an_empty_one() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut store = open(directory.path());
    extend(&mut store, &changes([set(address(1), account(1), &[])])).expect("block 0");
    drop(store);
    fs::remove_file(directory.path().join("CURRENT")).expect("a file is removed");
    let error = open_error(directory.path());
    assert!(matches!(error, StoreError::Incomplete { missing: "CURRENT", .. }), "{error:?}");
}

#[test]
fn storage_cleared_as_often_as_its_number_counts_is_an_error() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    drop(open(directory.path()));
    tamper(directory.path(), |database| put(database, "incarnations", keccak256(address(1)), [0xff; 8]));
    let mut store = open(directory.path());
    extend(&mut store, &changes([set(address(1), account(1), &[(1, 1)])])).expect("block 0");
    let result = extend(&mut store, &changes([destroy(address(1), account(1))]));
    assert!(matches!(result, Err(StoreError::IncarnationsExhausted(hash)) if hash == keccak256(address(1))));
    assert_eq!(store.reader().storage(&address(1), &word(1)).unwrap(), word(1));
}

/// The files in which RocksDB keeps flushed keys.
fn sorted_files(path: &Path) -> Vec<std::path::PathBuf> {
    let entries: io::Result<Vec<_>> = fs::read_dir(path).and_then(Iterator::collect);
    let paths = entries.expect("it can be listed").into_iter().map(|entry| entry.path());
    let files: Vec<_> = paths.filter(|path| path.extension().is_some_and(|extension| extension == "sst")).collect();
    assert!(!files.is_empty(), "something was flushed");
    files
}
