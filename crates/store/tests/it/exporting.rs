//! A state in a stream and back, copies of a store, and tries made anew.

use std::io;

use alloy_primitives::{Address, B256, keccak256};
use proptest::prelude::*;
use ropewalk_state::{Account, StateReader};
use ropewalk_store::{Export, ExportError, Head, RecordFault, Store, StoreError};

use crate::{
    chain::{account, address, block_hash, changes, destroy, extend, open, options, set, verified, with_code},
    content::{Content, content},
    opening::{put, tamper},
};

/// A store at block 3 with everything in it: contracts, slots, a cleared storage, codes, block hashes.
fn filled(path: &std::path::Path) -> Store {
    let code = b"\x60\x00\x50";
    let contract = Account { code_hash: keccak256(code), ..account(1) };
    let mut store = open(path);
    let many = (0..500_u64).map(|n| set(Address::left_padding_from(&n.to_be_bytes()), account(n), &[(n % 3, n)]));
    extend(&mut store, &changes(many)).expect("block 0");
    let first = changes([set(address(1), contract, &[(1, 11), (2, 22)]), set(address(2), account(2), &[(1, 1)])]);
    extend(&mut store, &with_code(first, code)).expect("block 1");
    extend(&mut store, &changes([destroy(address(2), account(2))])).expect("block 2");
    extend(&mut store, &changes([set(address(2), account(5), &[(9, 9)])])).expect("block 3");
    store
}

fn exported(store: &Store) -> Vec<u8> {
    let mut bytes = Vec::new();
    store.reader().export(&mut bytes, &mut |_| ()).expect("it is exported");
    bytes
}

fn load(bytes: &[u8], path: &std::path::Path) -> Result<Store, ExportError> {
    let mut store = open(path);
    store.load_export(Export::open(bytes)?)?;
    Ok(store)
}

/// The state itself, whatever incarnations and records there are.
fn state(store: &Store) -> Content {
    let mut content = content(store);
    content.retain(|family, _| ["accounts", "account_nodes", "code", "block_hashes"].contains(family));
    content
}

#[test]
fn an_export_loads_into_an_equal_state_that_the_chain_goes_on_from() {
    let (from, to) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let mut original = filled(from.path());
    let bytes = exported(&original);
    let mut copy = load(&bytes, to.path()).expect("it is loaded");
    assert_eq!(copy.head(), original.head());
    assert_eq!(state(&copy), state(&original));
    let sound = verified(&copy);
    assert!(sound.is_sound(), "{sound:?}");
    assert_eq!((sound.accounts, sound.slots), (verified(&original).accounts, verified(&original).slots));
    assert_eq!(exported(&copy), bytes, "a state has one export");
    for store in [&mut original, &mut copy] {
        extend(store, &changes([set(address(2), account(6), &[(9, 0)])])).expect("block 4");
    }
    assert_eq!(copy.head(), original.head());
    drop(copy);
    assert_eq!(open(to.path()).head(), original.head());
    assert!(!to.path().join("load").exists(), "nothing of the load is left");
}

#[test]
fn what_cannot_be_exported_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut store = open(directory.path());
    let refusal = |store: &Store| store.reader().export(io::sink(), &mut |_| ()).expect_err("there is no whole state");
    assert!(matches!(refusal(&store), ExportError::Store(StoreError::Empty)));
    let base = Head { number: 5, hash: block_hash(5), state_root: None };
    store.load_base(&base, []).expect("it is loaded");
    assert!(matches!(refusal(&store), ExportError::Store(StoreError::NotWhole { head }) if head == base));
    let filled_directory = tempfile::tempdir().expect("a directory");
    let filled = filled(filled_directory.path());
    let error = filled.reader().export(Full, &mut |_| ()).expect_err("the stream is full");
    assert!(matches!(error, ExportError::Io { offset: 0, .. }), "{error}");
}

/// A stream without room.
struct Full;

impl io::Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn torn_and_contradictory_exports_are_refused_and_leave_an_empty_store() {
    let from = tempfile::tempdir().expect("a directory");
    let bytes = exported(&filled(from.path()));
    let to = tempfile::tempdir().expect("a directory");
    let refused = |bytes: &[u8]| {
        let error = load(bytes, to.path()).expect_err("it is refused");
        assert_eq!(open(to.path()).head(), None);
        error
    };
    assert!(matches!(refused(b"PK\x03\x04 and other bytes"), ExportError::NotAnExport));
    for cut in [0, 5, 60, 89, 200, bytes.len() / 2, bytes.len() - 1] {
        let error = refused(&bytes[..cut]);
        assert!(
            matches!(&error, ExportError::Io { source, .. } if source.kind() == io::ErrorKind::UnexpectedEof),
            "{cut}: {error}"
        );
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(matches!(refused(&longer), ExportError::Record { fault: RecordFault::NotLast, .. }));
    let mut another_root = bytes.clone();
    another_root[17 + 8 + 32] ^= 1;
    assert!(matches!(refused(&another_root), ExportError::Record { fault: RecordFault::Checksum, .. }));
    let mut wrong_kind = bytes.clone();
    wrong_kind[17 + 72] = b'x';
    assert!(matches!(refused(&wrong_kind), ExportError::Record { fault: RecordFault::Kind(b'x'), offset: 89 }));
    let mut slot_first = bytes.clone();
    slot_first[17 + 72] = b's';
    assert!(matches!(refused(&slot_first), ExportError::Record { .. }));
    load(&bytes, to.path()).expect("the right one is loaded after all of that");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_the_reader_of_exports_panic_or_take_much_memory(
        at in any::<prop::sample::Index>(), with in any::<[u8; 3]>(), cut in any::<prop::sample::Index>(),
    ) {
        use std::sync::OnceLock;
        static EXPORT: OnceLock<Vec<u8>> = OnceLock::new();
        let valid = EXPORT.get_or_init(|| exported(&filled(tempfile::tempdir().expect("a directory").path())));
        let mut bytes = valid.clone();
        let at = at.index(bytes.len() - 3);
        bytes[at..at + 3].copy_from_slice(&with);
        bytes.truncate(bytes.len() - cut.index(bytes.len()) / 8);
        if let Ok(export) = Export::open(&*bytes) {
            let entries = export.collect::<Result<Vec<_>, _>>();
            prop_assert!(entries.is_err() || bytes == *valid);
        }
    }
}

#[test]
fn a_copy_is_a_store_of_its_own() {
    let (from, to) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let mut store = filled(from.path());
    let path = to.path().join("copy");
    store.checkpoint(&path).expect("a copy is made while the store is open");
    let before = content(&store);
    extend(&mut store, &changes([set(address(8), account(8), &[(1, 1)])])).expect("block 4");
    let mut copy = open(&path);
    assert_eq!(content(&copy), before);
    assert!(verified(&copy).is_sound());
    copy.unwind_to(1).expect("it can be unwound like the original");
    assert_eq!(store.head().map(|head| head.number), Some(4));
    assert!(store.checkpoint(&path).is_err(), "a copy does not replace another");
}

#[test]
fn tries_that_are_gone_are_made_anew() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = filled(directory.path());
    let before = content(&store);
    drop(store);
    tamper(directory.path(), |database| {
        put(database, "account_nodes", [], [0xc0]);
        put(database, "account_nodes", [1, 2, 3, 4, 5, 6, 7, 8], [0xc0]);
    });
    assert!(matches!(Store::open(directory.path(), &options()), Err(StoreError::UnconfirmedRoot { .. })));
    let mut store = Store::open_unconfirmed(directory.path(), &options()).expect("it opens");
    store.rebuild_tries().expect("the flat state is sound");
    assert!(verified(&store).is_sound());
    assert_eq!(content(&store), before, "storages that can come back have their nodes too");
    drop(store);
    let mut store = open(directory.path());
    extend(&mut store, &changes([set(address(8), account(8), &[(1, 1)])])).expect("block 4");

    drop(store);
    tamper(directory.path(), |database| put(database, "accounts", B256::ZERO, [0x01, 9]));
    let mut store = open(directory.path());
    assert!(matches!(store.rebuild_tries(), Err(StoreError::WrongStateRoot { .. })));
    assert!(store.reader().account(&address(8)).expect("it can be read").is_some());
}
