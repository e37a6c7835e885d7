//! `ropewalk db unwind` and `ropewalk db rebuild`: a database taken back, and its tries made anew.

use super::{DbError, open, print_head, unconfirmed};
use crate::{
    arguments::{DbPlace, DbUnwind},
    status::Status,
};

/// Goes back to the state of an earlier block.
pub(super) fn unwind(arguments: &DbUnwind) -> Result<Status, DbError> {
    let mut store = open(&arguments.place.db)?;
    store.unwind_to(arguments.to)?;
    print_head(&store, &arguments.place, "the database is back at")
}

/// Makes the tries anew.
pub(super) fn rebuild(place: &DbPlace) -> Result<Status, DbError> {
    let mut store = unconfirmed(&place.db)?;
    store.rebuild_tries()?;
    print_head(&store, place, "the tries are those of")
}
