//! What each transaction truly depends on, found while a list is committed.
//!
//! A transaction depends on a lower one when what it observed would not hold without the lower one's write: the question
//! that validation by value asks, asked of the values that each key had in the course of the list. This is what no
//! schedule can go beyond without running something twice, so it is the measure that schedules are compared with.
//!
//! Each [part](Observation::parts) of an observation is looked at by itself. The values that the key had are gone through
//! from the latest down to the last that would not have done: whoever replaced that one is depended on, together with
//! whose steps its value was made of.
//!
//! Steps that commute make this an upper figure. A balance that is enough before a credit and a debit, in between and
//! after both is taken to depend on neither, though it may not be enough after the debit alone.

use std::{collections::HashMap, fmt};

use crate::{CellId, Delta, Effects, Fields, Memory, Observation, Program, TxIndex, Written};

/// Versions of a key that are gone through. What has held for so many is taken to have held before, and what was made in
/// so many steps to hang on these: otherwise a key that all transactions step would take time and room by their square.
const LONGEST_LOOK: usize = 1024;

/// For each transaction of a list, the lower ones that it depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dependencies {
    of: Vec<Vec<TxIndex>>,
    links: Vec<Link>,
}

/// One reason for a dependency. The same two transactions may have several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// The transaction that depends on the other.
    pub index: TxIndex,
    /// The lower transaction that it depends on.
    pub on: TxIndex,
    /// The key through which.
    pub cell: CellId,
    /// The fields of it.
    pub fields: Fields,
}

impl Dependencies {
    /// Those that a transaction depends on, ascending. Nothing for one that was skipped.
    pub fn of(&self, index: TxIndex) -> &[TxIndex] {
        self.of.get(index.at()).map_or(&[], Vec::as_slice)
    }

    /// Why they depend on each other, ascending by the dependent transaction.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// Cost of the longest chain of dependencies, where `costs[i]` is that of transaction `i`: no number of workers gets
    /// through the list in less.
    pub fn critical_path(&self, costs: &[f64]) -> f64 {
        self.ends(costs).into_iter().fold(0.0, f64::max)
    }

    /// The transactions of the longest chain, ascending; of several such chains one.
    pub fn critical_chain(&self, costs: &[f64]) -> Vec<TxIndex> {
        let ends = self.ends(costs);
        let latest = |indices: &mut dyn Iterator<Item = TxIndex>| {
            indices.max_by(|left, right| ends[left.at()].total_cmp(&ends[right.at()]))
        };
        let mut chain = Vec::new();
        let mut next = latest(&mut (0..ends.len() as u32).map(TxIndex));
        while let Some(index) = next {
            chain.push(index);
            next = latest(&mut self.of(index).iter().copied());
        }
        chain.reverse();
        chain
    }

    /// When each transaction ends at the earliest.
    fn ends(&self, costs: &[f64]) -> Vec<f64> {
        let mut ends: Vec<f64> = Vec::with_capacity(costs.len());
        for (index, cost) in (0..).map(TxIndex).zip(costs) {
            let begins = self.of(index).iter().map(|on| ends[on.at()]).fold(0.0, f64::max);
            ends.push(begins + cost);
        }
        ends
    }
}

/// Finds the dependencies of a list from the effects of its transactions, in order. The run must
/// [record](crate::RunOptions::record).
pub struct DependencyRecorder<P: Program> {
    histories: HashMap<CellId, History<P>>,
    /// Last transaction that cleared what a key shadows.
    clears: HashMap<CellId, TxIndex>,
    found: Dependencies,
}

/// The values that a key had.
struct History<P: Program> {
    /// Before the first version; `None` where that cleared a value that nobody asked for.
    first: Option<P::Value>,
    versions: Vec<PastVersion<P>>,
}

struct PastVersion<P: Program> {
    writer: TxIndex,
    /// Fields that the writer may have changed.
    fields: Fields,
    /// Those of them that it set to what they are, whatever they were.
    sets: Fields,
    value: P::Value,
}

impl<P: Program> DependencyRecorder<P> {
    /// Takes in the next transaction that is kept.
    ///
    /// # Errors
    /// A fault, when the base state fails.
    ///
    /// # Panics
    /// When a transaction comes after a higher one.
    pub fn add(&mut self, index: TxIndex, effects: &Effects<'_, P>) -> Result<(), P::Fault> {
        assert!(self.found.of.len() <= index.at(), "transaction {index} comes after a higher one");
        let mut on = Vec::new();
        for (look, observation) in effects.reads.iter() {
            self.note_clear(look.cell, effects.memory);
            for part in observation.parts() {
                self.depend(look.cell, part.fields(), |value| part.holds(value), &mut on);
            }
        }
        for (at, write) in effects.writes.iter().enumerate().filter(|(_, write)| write.delta.is_bounded()) {
            self.note_clear(write.cell, effects.memory);
            let fits = |value: &P::Value| {
                let mut value = value.clone();
                let earlier = effects.writes[..at].iter().filter(|earlier| earlier.cell == write.cell);
                earlier.for_each(|earlier| earlier.delta.apply(&mut value));
                write.delta.fits(&value)
            };
            self.depend(write.cell, write.delta.fields(), fits, &mut on);
        }
        on.sort_unstable();
        on.dedup();
        self.found.links.extend(on.iter().map(|&(on, cell, fields)| Link { index, on, cell, fields }));
        let mut on: Vec<TxIndex> = on.into_iter().map(|(on, ..)| on).collect();
        on.dedup();
        self.found.of.resize(index.at(), Vec::new());
        self.found.of.push(on);
        self.write(index, effects)
    }

    /// What was found.
    pub fn finish(self) -> Dependencies {
        self.found
    }

    fn write(&mut self, index: TxIndex, effects: &Effects<'_, P>) -> Result<(), P::Fault> {
        let written = effects.written()?;
        for write in effects.writes.iter().filter(|write| write.delta.clears_shadowed()) {
            self.clears.insert(write.cell, index);
        }
        for Written { key, before, after } in written {
            let cell = effects.memory.intern(key);
            self.note_clear(cell, effects.memory);
            let own = || effects.writes.iter().filter(|write| write.cell == cell).map(|write| &write.delta);
            let fields = own().fold(0, |fields, delta| fields | delta.fields());
            let sets = own().fold(0, |sets, delta| sets | delta.sets());
            let first = || History { first: Some(before), versions: Vec::new() };
            let history = self.histories.entry(cell).or_insert_with(first);
            history.versions.push(PastVersion { writer: index, fields, sets, value: after });
        }
        Ok(())
    }

    /// Makes a clear that the key's history does not know yet the latest version of it.
    fn note_clear(&mut self, cell: CellId, memory: &Memory<P>) {
        if self.clears.is_empty() {
            return;
        }
        let key = memory.key(cell);
        let Some(shadow) = P::shadow(key).map(|shadow| memory.intern(&shadow)) else { return };
        let Some(writer) = self.clears.get(&shadow).copied() else { return };
        let first = || History { first: None, versions: Vec::new() };
        let versions = &mut self.histories.entry(cell).or_insert_with(first).versions;
        if versions.last().is_none_or(|latest| latest.writer < writer) {
            versions.push(PastVersion { writer, fields: Fields::MAX, sets: Fields::MAX, value: P::hidden(key) });
        }
    }

    /// Adds those to `on` without whom what holds of the latest value, and looks at `fields` of it, would not hold.
    fn depend(
        &self,
        cell: CellId,
        fields: Fields,
        holds: impl Fn(&P::Value) -> bool,
        on: &mut Vec<(TxIndex, CellId, Fields)>,
    ) {
        let Some(History { first, versions }) = self.histories.get(&cell) else { return };
        let value_before = |at: usize| at.checked_sub(1).map_or(first.as_ref(), |before| Some(&versions[before].value));
        let fails_before = |at: &usize| value_before(*at).is_none_or(|value| !holds(value));
        let recent = versions.len().saturating_sub(LONGEST_LOOK);
        let Some(made) = (recent..versions.len()).rev().find(fails_before) else { return };
        for version in versions[recent..=made].iter().rev().filter(|version| version.fields & fields != 0) {
            on.push((version.writer, cell, fields));
            if version.sets & fields == fields {
                break;
            }
        }
    }
}

impl<P: Program> Default for DependencyRecorder<P> {
    fn default() -> Self {
        Self { histories: HashMap::new(), clears: HashMap::new(), found: Dependencies::default() }
    }
}

impl<P: Program> fmt::Debug for DependencyRecorder<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DependencyRecorder").field("found", &self.found).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests;
