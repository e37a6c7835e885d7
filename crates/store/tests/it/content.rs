//! Everything a database holds, byte for byte.

use std::collections::BTreeMap;

use ropewalk_store::Store;

/// Keys and values of one column family.
pub(crate) type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// Every column family that holds something, by its name.
pub(crate) type Content = BTreeMap<&'static str, Rows>;

/// What the store holds now.
pub(crate) fn content(store: &Store) -> Content {
    let mut content = Content::new();
    let take = |family, key: &[u8], value: &[u8]| {
        content.entry(family).or_default().insert(key.to_vec(), value.to_vec());
    };
    store.reader().for_each_row(take).expect("every row can be read");
    content
}

/// The content without what is pruned once the blocks up to `last` cannot be unwound any more.
pub(crate) fn pruned(mut content: Content, last: u64) -> Content {
    let is_pruned = |key: &[u8]| u64::from_be_bytes(key[..8].try_into().expect("a number")) <= last;
    content.entry("changesets").or_default().retain(|key, _| !is_pruned(key));
    let cleared = content.entry("cleared").or_default();
    let gone: Vec<Vec<u8>> =
        cleared.iter().filter(|(key, _)| is_pruned(key)).map(|(key, value)| [&key[8..], value].concat()).collect();
    cleared.retain(|key, _| !is_pruned(key));
    for family in ["storage", "storage_nodes"] {
        content.entry(family).or_default().retain(|key, _| !gone.iter().any(|prefix| key.starts_with(prefix)));
    }
    content.retain(|_, rows| !rows.is_empty());
    content
}
