//! `ropewalk db stat`: the head, what is there and how large it is.

use std::{fs, path::Path};

use ropewalk_store::{Counts, FamilySize, Store};
use serde::Serialize;

use super::{DbError, HeadLine};
use crate::{
    arguments::DbPlace,
    report::{Side, Table, print, print_json},
    status::Status,
};

/// What a database holds.
#[derive(Debug, Serialize)]
struct StatLine {
    head: Option<HeadLine>,
    accounts: u64,
    /// Slots that are not zero.
    slots: u64,
    codes: u64,
    blocks: u64,
    /// Lowest block that the database can be unwound to.
    first_reachable: Option<u64>,
    /// All files.
    size_bytes: u64,
    families: Vec<FamilyLine>,
}

/// A column family: bytes in sorted files, keys about.
#[derive(Debug, Serialize)]
struct FamilyLine {
    name: &'static str,
    bytes: u64,
    keys: u64,
}

/// Counts everything and says so.
pub(super) fn stat(store: &Store, place: &DbPlace) -> Result<Status, DbError> {
    let Counts { accounts, slots, codes, blocks } = store.reader().counts()?;
    let head = store.head().map(HeadLine::from);
    let family = |FamilySize { name, bytes, keys }| FamilyLine { name, bytes, keys };
    let families = store.sizes()?.into_iter().map(family).collect();
    let (first_reachable, size_bytes) = (store.first_reachable(), size_bytes(&place.db));
    let line = StatLine { head, accounts, slots, codes, blocks, first_reachable, size_bytes, families };
    match place.json {
        true => print_json(&line)?,
        false => print(&line.text())?,
    }
    Ok(Status::Verified)
}

/// Size of the database's files. They come and go while it is open, so one that is gone counts as nothing.
fn size_bytes(path: &Path) -> u64 {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).filter(fs::Metadata::is_file).map(|file| file.len()).sum()
}

impl StatLine {
    fn text(&self) -> String {
        let mut table = Table::new([("what", Side::Left), ("", Side::Left)]);
        let mut row = |name: &str, value: String| table.push([name.to_owned(), value]);
        match self.head {
            Some(HeadLine { number, hash, state_root }) => {
                row("head", number.to_string());
                row("hash", hash.to_string());
                row("state root", state_root.map_or("unknown: part of a state".to_owned(), |root| root.to_string()));
            }
            None => row("head", "none: the database is empty".to_owned()),
        }
        row("accounts", self.accounts.to_string());
        row("slots", self.slots.to_string());
        row("codes", self.codes.to_string());
        row("blocks", self.blocks.to_string());
        if let Some(first) = self.first_reachable {
            row("can be unwound to", first.to_string());
        }
        row("bytes on disk", self.size_bytes.to_string());
        for FamilyLine { name, bytes, keys } in &self.families {
            row(&format!("  {name}"), format!("{bytes} in sorted files, about {keys} keys"));
        }
        table.to_string()
    }
}
