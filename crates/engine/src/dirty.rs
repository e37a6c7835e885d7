//! Whose observations may have been broken.

use crate::Position;

/// Positions that had better be looked at again, for the scheduler: a hint, since whatever is committed is judged before.
#[derive(Debug, Default)]
pub(crate) struct Dirty {
    positions: Vec<Position>,
    /// Besides, everybody above the first of these positions, and not above the second.
    range: Option<(Position, Position)>,
}

impl Dirty {
    /// One more.
    pub(crate) fn push(&mut self, position: Position) {
        self.positions.push(position);
    }

    /// More of them.
    pub(crate) fn extend(&mut self, positions: impl Iterator<Item = Position>) {
        self.positions.extend(positions);
    }

    /// Everybody above `after` up to and including `through`.
    pub(crate) fn push_range(&mut self, after: Position, through: Position) {
        let (known_after, known_through) = self.range.unwrap_or((after, through));
        self.range = Some((known_after.min(after), known_through.max(through)));
    }

    /// Nobody.
    pub(crate) fn clear(&mut self) {
        self.positions.clear();
        self.range = None;
    }

    /// All of them, some more than once. Positions of a range may lie beyond the last transaction.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Position> {
        let range = self.range.map_or(0..0, |(after, through)| after.0 + 1..through.0 + 1);
        self.positions.iter().copied().chain(range.map(Position))
    }
}
