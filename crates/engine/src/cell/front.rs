//! What is looked at without a cell's lock, in one word.
//!
//! ```text
//! 63       32 31      24   23      22       21     20      0
//! [ changes ] [ fields ] [many] [fetched] [awaited] [through]
//! ```
//!
//! - F1 The count of changes is moved by whoever holds the cell's lock. Equal counts: readers find the same.
//! - F2 While nobody has written, readers are not listed. It is known of them which is the last, or a position that none of
//!   them is above, and which fields they observed. Most keys of a block are only read, or only by the transaction that
//!   writes them, and a list would be made for nobody; and once there are many readers, another one changes nothing, so that
//!   the line stays in the caches of all cores.
//! - F3 A change tells those readers above it whom it may concern. These are judged again, and listed then.
//! - F4 One thread reads the base value while others wait for it.

use std::fmt;

use super::Reader;
use crate::{
    Fields, Position,
    sync::{AtomicU64, Ordering},
};

/// The word.
#[derive(Default)]
pub(crate) struct Front(AtomicU64);

const CHANGES_AT: u32 = 32;
const FIELDS_AT: u32 = 24;
const MANY: u64 = 1 << 23;
const FETCHED: u64 = 1 << 22;
const AWAITED: u64 = 1 << 21;
const MOST_THROUGH: u32 = AWAITED as u32 - 1;

/// Where there are many readers, the position that none is above is rounded up to a multiple of this. Tests have few.
const TOGETHER: u32 = if cfg!(test) { 2 } else { 32 };

/// Readers of a key that nobody has written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unlisted {
    /// The reader, or where there are many a position that none of them is above. Zero where there is none.
    pub(crate) through: Position,
    pub(crate) are_many: bool,
    /// What they observed.
    pub(crate) fields: Fields,
}

impl Unlisted {
    const NONE: Self = Self { through: Position(0), are_many: false, fields: 0 };

    fn of(word: u64) -> Self {
        Self {
            through: Position(word as u32 & MOST_THROUGH),
            are_many: word & MANY != 0,
            fields: (word >> FIELDS_AT) as Fields,
        }
    }

    /// The word with these readers in place of others.
    fn put_into(self, word: u64) -> u64 {
        let Self { through, are_many, fields } = self;
        let others = word & !(u64::from(Fields::MAX) << FIELDS_AT | MANY | u64::from(MOST_THROUGH));
        others | u64::from(fields) << FIELDS_AT | if are_many { MANY } else { 0 } | u64::from(through.0)
    }

    /// These and one more; those below `frontier` need not be told of anything. `None` where a position is too high.
    fn and(self, reader: Reader, frontier: Position) -> Option<Self> {
        let Reader { position, fields } = reader;
        let fields = self.fields | fields;
        if self.through < frontier {
            let alone = Self { through: position, are_many: false, fields: reader.fields };
            return (position.0 <= MOST_THROUGH).then_some(alone);
        }
        if position == self.through || self.are_many && position < self.through {
            return Some(Self { fields, ..self });
        }
        let through = Position(position.max(self.through).0 | (TOGETHER - 1));
        (through.0 <= MOST_THROUGH).then_some(Self { through, are_many: true, fields })
    }

    /// Those that are left when those above a position have been told.
    fn not_told(self, position: Position) -> Self {
        match self.are_many {
            true => Self { through: position, ..self },
            false => Self::NONE,
        }
    }
}

impl Front {
    /// The count of changes.
    #[inline]
    pub(crate) fn changes(&self) -> u32 {
        (self.0.load(Ordering::Acquire) >> CHANGES_AT) as u32
    }

    /// Sets the count of changes; the caller holds the cell's lock. Returns the readers whom a change of `fields` at `position`
    /// may concern, if there are any. `alone` says that no other thread looks at the cell.
    pub(crate) fn change(&self, count: u32, position: Position, fields: Fields, alone: bool) -> Option<Unlisted> {
        let next = |word: u64| {
            let unlisted = Unlisted::of(word);
            let is_concerned = unlisted.through > position && unlisted.fields & fields != 0;
            let rest = if is_concerned { unlisted.not_told(position) } else { unlisted };
            let word = rest.put_into(word) & u64::from(u32::MAX) | u64::from(count) << CHANGES_AT;
            (word, is_concerned.then_some(unlisted))
        };
        let mut word = self.0.load(Ordering::Relaxed);
        if alone {
            let (word, told) = next(word);
            self.0.store(word, Ordering::Release);
            return told;
        }
        loop {
            let (changed, told) = next(word);
            match self.0.compare_exchange_weak(word, changed, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return told,
                Err(other) => word = other,
            }
        }
    }

    /// Counts a change, unless there are readers to be told of it. The caller holds the cell's lock, and no other thread looks at the
    /// cell.
    pub(crate) fn count_alone(&self) -> bool {
        let word = self.0.load(Ordering::Relaxed);
        let is_unread = word as u32 & MOST_THROUGH == 0;
        if is_unread {
            self.0.store(word.wrapping_add(1 << CHANGES_AT), Ordering::Release);
        }
        is_unread
    }

    /// Notes a reader. Tells whether that was possible: once somebody has written, readers are listed.
    pub(crate) fn note(&self, reader: Reader, frontier: Position) -> bool {
        let mut word = self.0.load(Ordering::Acquire);
        while word >> CHANGES_AT == 0 {
            let Some(noted) = Unlisted::of(word).and(reader, frontier) else { return false };
            let noted = noted.put_into(word);
            if noted == word {
                return true;
            }
            match self.0.compare_exchange_weak(word, noted, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(other) => word = other,
            }
        }
        false
    }

    /// Says that the base value is being read, if nobody has said so.
    pub(crate) fn begin_fetch(&self) -> bool {
        self.0.fetch_or(FETCHED, Ordering::Acquire) & FETCHED == 0
    }

    /// Says that somebody waits for who reads the base value. Tells whether there is anybody to wait for.
    pub(crate) fn await_fetch(&self) -> bool {
        let awaited = |word: u64| (word & FETCHED != 0).then_some(word | AWAITED);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, awaited).is_ok()
    }

    /// Says that nobody reads the base value any more. Tells whether somebody waited for that.
    pub(crate) fn end_fetch(&self) -> bool {
        self.0.fetch_and(!(FETCHED | AWAITED), Ordering::AcqRel) & AWAITED != 0
    }
}

impl fmt::Debug for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unlisted = Unlisted::of(self.0.load(Ordering::Relaxed));
        f.debug_struct("Front").field("changes", &self.changes()).field("unlisted", &unlisted).finish()
    }
}

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests {
    use super::*;

    fn note(front: &Front, position: u32, fields: Fields, frontier: u32) -> bool {
        front.note(Reader { position: Position(position), fields }, Position(frontier))
    }

    fn unlisted(front: &Front) -> (u32, bool, Fields) {
        let Unlisted { through, are_many, fields } = Unlisted::of(front.0.load(Ordering::Relaxed));
        (through.0, are_many, fields)
    }

    #[test]
    fn one_reader_is_known_and_of_many_where_they_end() {
        let front = Front::default();
        assert!(note(&front, 4, 1, 1) && note(&front, 4, 2, 1));
        assert_eq!(unlisted(&front), (4, false, 3));
        assert!(note(&front, 6, 4, 1));
        assert_eq!(unlisted(&front), (7, true, 7));
        assert!(note(&front, 2, 1, 1) && note(&front, 7, 1, 1));
        assert_eq!(unlisted(&front), (7, true, 7));
        assert!(note(&front, 8, 1, 8), "all others are committed");
        assert_eq!(unlisted(&front), (8, false, 1));
    }

    #[test]
    fn a_change_tells_readers_above_it_of_what_they_observed() {
        let front = Front::default();
        note(&front, 4, 1, 1);
        assert_eq!(front.change(1, Position(2), 2, false), None, "nobody observed that");
        assert_eq!(front.change(2, Position(4), 1, false), None, "its own");
        let reader = Unlisted { through: Position(4), are_many: false, fields: 1 };
        assert_eq!(front.change(3, Position(2), 1, true), Some(reader));
        assert_eq!((front.changes(), unlisted(&front)), (3, (0, false, 0)));
        assert!(!note(&front, 5, 1, 1), "readers of what is written are listed");
    }

    #[test]
    fn of_many_readers_those_below_a_change_are_kept() {
        let front = Front::default();
        assert!(note(&front, 2, 1, 1) && note(&front, 6, 1, 1));
        let told = front.change(1, Position(4), 1, false);
        assert_eq!(told.map(|told| (told.through.0, told.are_many)), Some((7, true)));
        assert_eq!(unlisted(&front), (4, true, 1));
        assert!(front.change(2, Position(1), 1, false).is_some());
        assert_eq!(front.change(3, Position(1), 1, false), None);
    }

    #[test]
    fn a_position_without_room_is_not_noted() {
        let front = Front::default();
        assert!(!note(&front, MOST_THROUGH + 1, 1, 1));
        assert!(note(&front, MOST_THROUGH, 1, 1) && note(&front, 1, 1, 1));
        assert_eq!((unlisted(&front), front.changes()), ((MOST_THROUGH, true, 1), 0));
    }

    #[test]
    fn who_waits_for_a_fetch_is_known_to_who_ends_it() {
        let front = Front::default();
        assert!(!front.await_fetch() && front.begin_fetch() && !front.begin_fetch());
        assert!(!front.end_fetch());
        assert!(front.begin_fetch() && front.await_fetch() && front.end_fetch() && !front.await_fetch());
    }
}
