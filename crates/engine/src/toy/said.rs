//! What is said of a toy list before it runs.

use super::{Change, Key, Toy, Value};
use crate::{Below, CellId, Delta, KnownWrites, Position, Program};

/// Writes by position, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Said {
    pub(crate) writes: Vec<(Position, Key, Change)>,
}

impl Said {
    /// The writes to a key below a position, what was cleared before left out, and whether anything was cleared.
    fn seen(&self, key: Key, position: Position) -> (bool, impl Iterator<Item = &Change>) {
        let below = move |(at, _, _): &&(Position, Key, Change)| *at < position;
        let clears = self
            .writes
            .iter()
            .filter(below)
            .filter(|(_, other, change)| change.clears && Toy::shadow(&key) == Some(*other));
        let cleared = clears.map(|(at, _, _)| *at).max();
        let own = self.writes.iter().filter(below).filter(move |(_, other, _)| *other == key);
        let own = own.filter(move |(at, _, _)| cleared.is_none_or(|cleared| *at >= cleared));
        (cleared.is_some(), own.map(|(_, _, change)| change))
    }

    fn key(place: u32) -> Key {
        Key::all().nth(place as usize).expect("there is a key for each place")
    }
}

impl KnownWrites<Toy> for Said {
    fn place(&self, key: &Key, _: CellId) -> Option<u32> {
        let is_named = self
            .writes
            .iter()
            .any(|(_, other, change)| other == key || change.clears && Toy::shadow(key) == Some(*other));
        let place = Key::all().position(|other| other == *key).expect("it is a key");
        is_named.then_some(place as u32)
    }

    fn below(&self, place: u32, position: Position) -> Below<Value> {
        let key = Self::key(place);
        let (is_cleared, mut changes) = self.seen(key, position);
        if is_cleared {
            let mut value = Toy::hidden(&key);
            changes.for_each(|change| change.apply(&mut value));
            return Below::Value(value);
        }
        if changes.next().is_some() { Below::Changes } else { Below::Nothing }
    }

    fn change(&self, place: u32, position: Position, value: &mut Value) {
        self.seen(Self::key(place), position).1.for_each(|change| change.apply(value));
    }
}
