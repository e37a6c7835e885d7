//! `ropewalk db` on databases that are damaged, in use, or none.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use crate::made::{BLOCKS, Home, Made};

fn imported() -> Home {
    let (made, home) = (Made::shared(), Home::new());
    assert_eq!(made.import(&home, &made.file).code, Some(0));
    home
}

/// The file of the database whose name begins so.
fn file(home: &Home, name: &str) -> PathBuf {
    let entries = fs::read_dir(home.db()).expect("readable").map(|entry| entry.expect("readable").path());
    let is_it = |path: &PathBuf| path.file_name().is_some_and(|found| found.to_string_lossy().starts_with(name));
    entries.into_iter().find(is_it).unwrap_or_else(|| panic!("there is no {name}"))
}

#[test]
fn a_damaged_database_is_refused_and_named() {
    type Damage = fn(&mut Vec<u8>);
    let cases: [(&str, Damage); 3] = [
        ("MANIFEST", |bytes| bytes[40] ^= 1),
        ("CURRENT", |bytes| *bytes = b"MANIFEST-999999\n".to_vec()),
        ("CURRENT", |bytes| bytes.clear()),
    ];
    for (name, damage) in cases {
        let home = imported();
        let path = file(&home, name);
        let mut bytes = fs::read(&path).expect("readable");
        damage(&mut bytes);
        fs::write(&path, bytes).expect("writable");
        for command in ["verify", "stat"] {
            let place = home.db().display().to_string();
            home.db_command(command).assert_refused(2, &["error: the store at ", &place, " is damaged"]);
        }
    }
}

#[test]
fn what_is_no_database_is_refused_and_left_as_it_is() {
    let home = Home::new();
    home.db_command("verify").assert_refused(2, &["there is no database at"]);
    assert!(!home.db().exists(), "looking at a database must not make one");
    fs::create_dir(home.db()).expect("writable");
    fs::write(home.db().join("notes.txt"), "mine").expect("writable");
    home.db_command("stat").assert_refused(2, &["there is no database at"]);
    let made = Made::shared();
    made.import(&home, &made.file).assert_refused(2, &["holds something other than a store"]);
    assert_eq!(fs::read_dir(home.db()).expect("readable").count(), 1);
}

#[test]
fn a_database_that_is_open_elsewhere_is_refused() {
    let home = imported();
    let store = ropewalk_store::Store::open(home.db(), &ropewalk_store::StoreOptions::default()).expect("it opens");
    home.db_command("verify").assert_refused(2, &["is open elsewhere"]);
    drop(store);
    home.assert_verified();
}

/// Runs `ropewalk db` with these arguments.
fn db(arguments: &[&std::ffi::OsStr]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ropewalk")).arg("db").args(arguments).output().expect("the binary runs")
}

fn succeeded(output: &Output) {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_database_goes_back_and_the_import_goes_on_from_there() {
    let (made, home) = (Made::shared(), imported());
    let stat = home.db_command("stat").last_line();
    assert_eq!(stat["first_reachable"], 0);
    assert!(stat["families"].as_array().is_some_and(|families| families.len() == 11), "{stat}");
    let place = home.db();
    succeeded(&db(&["unwind".as_ref(), "--to".as_ref(), "4".as_ref(), "--db".as_ref(), place.as_ref()]));
    assert_eq!(home.head(), (4, made.hash(4)));
    home.assert_verified();
    let ended = made.import(&home, &made.file);
    assert_eq!(ended.counts(), (BLOCKS - 4, 4));
    assert_eq!(home.head(), (BLOCKS, made.hash(BLOCKS)));
    let refused = db(&["unwind".as_ref(), "--to".as_ref(), "99".as_ref(), "--db".as_ref(), place.as_ref()]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("cannot unwind to block 99"), "{refused:?}");
}

#[test]
fn a_state_is_exported_loaded_and_gone_on_from_and_a_database_is_copied() {
    let (made, home, other) = (Made::shared(), imported(), Home::new());
    let (from, to) = (home.db(), other.db());
    let file = other.write("unused", b"").with_file_name("state");
    let export = ["export".as_ref(), "--db".as_ref(), from.as_ref(), "--out".as_ref(), file.as_os_str()];
    succeeded(&db(&export));
    assert_eq!(db(&export).status.code(), Some(2), "an export does not replace a file");
    let load = ["load".as_ref(), "--db".as_ref(), to.as_ref(), "--from".as_ref(), file.as_os_str()];
    succeeded(&db(&load));
    assert_eq!(other.head(), (BLOCKS, made.hash(BLOCKS)));
    other.assert_verified();
    let again = db(&load);
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&again.stderr).contains("the store is not empty"), "{again:?}");

    let copy = other.db().with_file_name("copy");
    succeeded(&db(&["checkpoint".as_ref(), "--db".as_ref(), from.as_ref(), "--out".as_ref(), copy.as_os_str()]));
    succeeded(&db(&["verify".as_ref(), "--db".as_ref(), copy.as_os_str()]));
    succeeded(&db(&["rebuild".as_ref(), "--db".as_ref(), copy.as_os_str()]));
    succeeded(&db(&["verify".as_ref(), "--db".as_ref(), copy.as_os_str()]));

    let mut bytes = fs::read(&file).expect("readable");
    bytes.truncate(bytes.len() / 2);
    let torn = other.write("torn", &bytes);
    let empty = Home::new();
    let (place, from) = (empty.db(), torn.as_os_str());
    let refused = db(&["load".as_ref(), "--db".as_ref(), place.as_ref(), "--from".as_ref(), from]);
    assert_eq!(refused.status.code(), Some(2));
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(error.contains("torn") && error.contains("the stream fails at byte"), "{error}");
}
