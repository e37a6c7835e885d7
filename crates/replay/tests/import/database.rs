//! `ropewalk db` on databases that are damaged, in use, or none.

use std::{fs, path::PathBuf};

use crate::made::{Home, Made};

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
