//! Multi-version memory beside a naive model: the same events to both, everything compared after each.
//!
//! The model keeps, per position, the list of deltas written there, and resolves by walking all of them. It knows no
//! cells, no committed values, no flags and no change counts.

use std::{collections::BTreeMap, sync::Arc};

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::Observation;
use crate::{
    Fields,
    toy::{BARREN, Change, GROUPS, Genesis, Key, MEMBERS, Said, Seen, Toy, Value},
};

/// Positions that are written at.
const POSITIONS: u32 = 6;

#[derive(Debug, Clone)]
enum Happening {
    /// The next incarnation at a position publishes these writes.
    Publish { position: u32, writes: Vec<(Key, Change)> },
    /// The next incarnation at a position writes the same again, but for some first writes and the last word.
    Again { position: u32, without: usize, word: Option<u64> },
    /// The incarnation at a position aborts.
    Abort { position: u32 },
    /// What was written at a position is taken back.
    Retract { position: u32 },
    /// The frontier is committed: with what it published, or with the result of a frontier run.
    Commit { instead: Option<Vec<(Key, Change)>> },
    /// The frontier is skipped.
    Skip,
    /// A transaction relies on something, true or not.
    Register { position: u32, key: Key, seen: Seen },
}

#[derive(Debug, Clone, Default)]
struct Entry {
    writes: Vec<(Key, Change)>,
    estimate: bool,
    incarnation: u32,
}

/// Every write there is, by position.
#[derive(Debug, Clone)]
struct Model {
    genesis: Arc<Genesis>,
    entries: BTreeMap<u32, Entry>,
    frontier: u32,
    readers: Vec<(u32, Key, Seen)>,
}

impl Model {
    /// The value of `key` below `position`, and the highest transaction there whose aborted write is part of it.
    fn resolve(&self, key: Key, position: u32) -> (Value, Option<u32>) {
        let mut value = self.genesis.get(key).expect("the base state is whole");
        let mut estimate = None;
        for (at, entry) in self.entries.range(..position) {
            if entry.writes.iter().any(|(written, change)| change.clears && Toy::shadow(&key) == Some(*written)) {
                value = Toy::hidden(&key);
                estimate = None;
            }
            for (_, change) in entry.writes.iter().filter(|(written, _)| *written == key) {
                change.apply(&mut value);
                estimate = entry.estimate.then_some(*at).or(estimate);
            }
        }
        (value, estimate)
    }

    fn has_clears(&self) -> bool {
        self.entries.values().flat_map(|entry| &entry.writes).any(|(_, change)| change.clears)
    }

    /// Whether each reader's observation is true.
    fn content(&self) -> Vec<bool> {
        self.readers.iter().map(|(position, key, seen)| seen.holds(&self.resolve(*key, *position).0)).collect()
    }
}

fn keys() -> impl Strategy<Value = Key> {
    prop_oneof![
        1 => (0..GROUPS).prop_map(Key::Group),
        3 => (0..GROUPS, 0..MEMBERS).prop_map(|(group, member)| Key::Member(group, member)),
    ]
}

/// Several writes to one key happen; clears only where they mean something.
fn writes(clears: u32) -> impl Strategy<Value = Vec<(Key, Change)>> {
    let change = prop_oneof![
        12 => (0..3u64).prop_map(Change::set),
        12 => (1..5i64).prop_map(Change::step),
        clears => (0..3u64).prop_map(Change::clear),
    ];
    let write = (keys(), change).prop_map(|(key, change)| match key {
        Key::Member(..) if change.clears => (Toy::shadow(&key).expect("a member has a shadow"), change),
        _ => (key, change),
    });
    vec(write, 0..4)
}

fn happenings(clears: u32) -> impl Strategy<Value = Happening> {
    let position = || 1..=POSITIONS;
    let seen = prop_oneof![
        (0..3u64).prop_map(Seen::Word),
        (0..12u64).prop_map(Seen::AtLeast),
        (0..12u64).prop_map(Seen::LessThan),
    ];
    prop_oneof![
        6 => (position(), writes(clears)).prop_map(|(position, writes)| Happening::Publish { position, writes }),
        3 => (position(), 0..2usize, prop::option::of(0..3u64))
            .prop_map(|(position, without, word)| Happening::Again { position, without, word }),
        3 => position().prop_map(|position| Happening::Abort { position }),
        1 => position().prop_map(|position| Happening::Retract { position }),
        2 => prop::option::of(writes(clears)).prop_map(|instead| Happening::Commit { instead }),
        1 => Just(Happening::Skip),
        3 => (1..=POSITIONS + 1, keys(), seen).prop_map(|(position, key, seen)| Happening::Register { position, key, seen }),
    ]
}

/// The memory with its model.
struct Pair {
    memory: Memory<Toy>,
    model: Model,
}

impl Pair {
    fn new() -> Self {
        let genesis = Arc::<Genesis>::default();
        let memory = Memory::new(Arc::clone(&genesis), 4);
        memory.set_frontier(Position(1));
        Self { memory, model: Model { genesis, entries: BTreeMap::new(), frontier: 1, readers: Vec::new() } }
    }

    fn interned(&self, writes: &[(Key, Change)]) -> Vec<Write<Toy>> {
        writes
            .iter()
            .map(|(key, delta)| Write { seen: u32::MAX, cell: self.memory.intern(key), delta: *delta })
            .collect()
    }

    fn cells(&self, position: u32) -> Vec<CellId> {
        let writes = self.model.entries.get(&position).map_or(&[][..], |entry| &entry.writes);
        self.interned(writes).iter().map(|write| write.cell).collect()
    }

    /// Lets something happen to both; those whose observation it breaks must be told.
    fn happen(&mut self, happening: &Happening) {
        let content = self.model.content();
        let hidden = self.model.has_clears();
        let mut dirty = Dirty::default();
        self.apply(happening.clone(), &mut dirty);
        let told: Vec<Position> = dirty.iter().collect();
        // A clear breaks observations of keys whose readers it does not know. They are found at their commit.
        if !hidden && !self.model.has_clears() {
            let readers = self.model.readers.iter().zip(content).zip(self.model.content());
            for (((position, key, seen), before), after) in readers {
                let is_told =
                    !before || after || told.contains(&Position(*position)) || *position < self.model.frontier;
                assert!(is_told, "{happening:?} broke {seen:?} of {key:?} at {position}, and told only {told:?}");
            }
        }
        // Whoever is told looks again, and is noted once more.
        for (position, key, seen) in &self.model.readers {
            if told.contains(&Position(*position)) && *position >= self.model.frontier {
                self.register(*position, *key, *seen);
            }
        }
        self.compare(happening);
    }

    fn register(&self, position: u32, key: Key, seen: Seen) {
        let mut reads = Reads::default();
        reads.push(self.memory.intern(&key), u32::MAX, seen);
        let holds = self.memory.register(Position(position), &reads).expect("the base state is whole");
        assert_eq!(holds, seen.holds(&self.model.resolve(key, position).0), "{seen:?} of {key:?}");
    }

    fn apply(&mut self, happening: Happening, dirty: &mut Dirty) {
        match happening {
            Happening::Publish { position, writes } if position >= self.model.frontier => {
                self.publish(position, writes, dirty);
            }
            Happening::Again { position, without, word } if position >= self.model.frontier => {
                let entry = self.model.entries.get(&position).cloned().unwrap_or_default();
                let mut writes: Vec<_> = entry.writes.into_iter().skip(without).collect();
                if let (Some(word), Some((_, change))) = (word, writes.last_mut()) {
                    change.word = Some(word);
                }
                self.publish(position, writes, dirty);
            }
            Happening::Abort { position } if position >= self.model.frontier => {
                self.memory.mark_estimates(Position(position), self.cells(position).into_iter());
                self.model.entries.entry(position).or_default().estimate = true;
            }
            Happening::Retract { position } if position >= self.model.frontier => self.retract(position, dirty),
            Happening::Commit { instead } if self.model.frontier <= POSITIONS => self.commit(instead, dirty),
            Happening::Skip if self.model.frontier <= POSITIONS => {
                self.retract(self.model.frontier, dirty);
                self.advance();
            }
            Happening::Register { position, key, seen } if position >= self.model.frontier => {
                self.register(position, key, seen);
                self.model.readers.push((position, key, seen));
            }
            _ => {}
        }
    }

    fn publish(&mut self, position: u32, writes: Vec<(Key, Change)>, dirty: &mut Dirty) {
        let before = self.cells(position);
        let incarnation = self.model.entries.get(&position).map_or(0, |entry| entry.incarnation + 1);
        self.memory.publish(
            Position(position),
            Incarnation(incarnation),
            &self.interned(&writes),
            &before,
            dirty,
            |_, _, _| (),
        );
        self.model.entries.insert(position, Entry { writes, estimate: false, incarnation });
    }

    fn retract(&mut self, position: u32, dirty: &mut Dirty) {
        self.memory.retract(Position(position), Incarnation(u32::MAX), &self.cells(position), dirty);
        self.model.entries.entry(position).or_default().writes.clear();
    }

    fn commit(&mut self, instead: Option<Vec<(Key, Change)>>, dirty: &mut Dirty) {
        let position = self.model.frontier;
        let published = instead.is_none();
        if let Some(writes) = instead {
            self.retract(position, dirty);
            self.model.entries.entry(position).or_default().writes = writes;
        }
        let writes = self.model.entries.entry(position).or_default().writes.clone();
        let writes = self.interned(&writes);
        self.memory.prepare(Position(position), &writes).expect("the base state is whole");
        if !published {
            self.memory.fold(Position(position), &writes, dirty).expect("the base state is whole");
        }
        self.advance();
    }

    fn advance(&mut self) {
        self.model.entries.entry(self.model.frontier).or_default().estimate = false;
        self.model.frontier += 1;
        self.memory.set_frontier(Position(self.model.frontier));
    }

    fn compare(&self, after: &Happening) {
        for key in Key::all() {
            let cell = self.memory.intern(&key);
            for position in self.model.frontier..=POSITIONS + 2 {
                let (value, estimate) = self.model.resolve(key, position);
                let taken = self.memory.resolve(cell, Position(position), Estimates::Take, |value, _| *value);
                assert_eq!(taken.ok(), Some(value), "{key:?} at {position} after {after:?}");
                let refused = self.memory.resolve(cell, Position(position), Estimates::Refuse, |value, _| *value);
                let found = match refused {
                    Ok(found) => Ok(found),
                    Err(Unresolved::Estimate(writer)) => Err(writer.position().0),
                    Err(Unresolved::Fault(fault)) => panic!("{fault}"),
                };
                assert_eq!(found, estimate.map_or(Ok(value), Err), "{key:?} at {position} after {after:?}");
            }
        }
        self.compare_committed();
    }

    fn compare_committed(&self) {
        let committed = |(at, _): &(&u32, &Entry)| **at < self.model.frontier;
        let writes = self.model.entries.iter().filter(committed).flat_map(|(_, entry)| &entry.writes);
        let mut expected = BTreeMap::new();
        for (key, change) in writes {
            let value = self.model.resolve(*key, self.model.frontier).0;
            let cleared = expected.get(key).is_some_and(|(_, cleared)| *cleared) || change.clears;
            expected.insert(*key, (value, cleared));
        }
        assert_eq!(crate::toy::trial::committed(&self.memory), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn memory_equals_a_list_of_all_writes(happenings in vec(happenings(4), 1..30)) {
        let mut pair = Pair::new();
        happenings.iter().for_each(|happening| pair.happen(happening));
        prop_assert!(pair.model.genesis.most_reads() <= 1);
        let committed = crate::toy::trial::committed(&pair.memory);
        let values = committed.iter().map(|(key, (value, _))| (*key, *value)).collect::<BTreeMap<_, _>>();
        prop_assert_eq!(remains(pair.memory), values);
    }

    #[test]
    fn whoever_an_event_proves_wrong_is_told(happenings in vec(happenings(0), 1..30)) {
        let mut pair = Pair::new();
        happenings.iter().for_each(|happening| pair.happen(happening));
    }
}

/// The committed values that a memory leaves.
fn remains(memory: Memory<Toy>) -> BTreeMap<Key, Value> {
    let engine = crate::Engine::new(std::num::NonZeroUsize::MIN).expect("no thread is asked for");
    let mut values = BTreeMap::new();
    for part in memory.take_apart(&engine, 1, |remains| {
        let mut values = Vec::new();
        remains.for_each(|remnant| values.extend(remnant.value.map(|value| (*remnant.key, value))));
        values
    }) {
        values.extend(part);
    }
    values
}

fn memory() -> Memory<Toy> {
    let memory = Memory::new(Arc::new(Genesis::zero()), 4);
    memory.set_frontier(Position(1));
    memory
}

const KEY: Key = Key::Member(0, 0);

fn read(memory: &Memory<Toy>, observation: Seen) -> Reads<Toy> {
    let mut reads = Reads::default();
    reads.push(memory.intern(&KEY), 0, observation);
    reads
}

fn write(memory: &Memory<Toy>, delta: Change) -> Write<Toy> {
    Write { seen: u32::MAX, cell: memory.intern(&KEY), delta }
}

/// Who is told of `second`, written over `first` at position 1, when position 3 relies on `seen`.
fn told(seen: Seen, first: &[Change], second: &[Change]) -> bool {
    let memory = memory();
    let writes = |deltas: &[Change]| deltas.iter().map(|delta| write(&memory, *delta)).collect::<Vec<_>>();
    let cells = vec![memory.intern(&KEY); first.len()];
    let mut dirty = Dirty::default();
    memory.publish(Position(1), Incarnation(0), &writes(first), &[], &mut dirty, |_, _, _| ());
    memory.register(Position(3), &read(&memory, seen)).expect("the base state is whole");
    dirty.clear();
    memory.publish(Position(1), Incarnation(1), &writes(second), &cells, &mut dirty, |_, _, _| ());
    dirty.iter().any(|position| position == Position(3))
}

#[test]
fn equal_write_of_a_later_incarnation_tells_nobody() {
    assert!(!told(Seen::Word(1), &[Change::set(1)], &[Change::set(1)]));
    assert!(told(Seen::Word(1), &[Change::set(1)], &[Change::set(2)]));
    assert!(told(Seen::Word(1), &[Change::set(1)], &[]));
}

#[test]
fn one_of_two_writes_taken_back_tells_the_reader() {
    assert!(told(Seen::AtLeast(5), &[Change::step(5), Change::step(1)], &[Change::step(1)]));
    assert!(told(Seen::AtLeast(5), &[Change::step(1), Change::step(5)], &[Change::step(1)]));
}

#[test]
fn write_of_one_field_tells_no_reader_of_another() {
    assert!(!told(Seen::Word(0), &[Change::step(1)], &[Change::step(2)]));
    assert!(told(Seen::AtLeast(1), &[Change::step(1)], &[Change::step(2)]));
    let fields = |change: Change| -> Fields { change.fields() };
    assert_eq!(fields(Change::set(1)) & fields(Change::step(1)), 0);
}

#[test]
fn bounded_step_is_judged_after_the_own_steps_before_it() {
    let memory = memory();
    let fits = |deltas: &[Change]| {
        let writes: Vec<_> = deltas.iter().map(|delta| write(&memory, *delta)).collect();
        memory
            .validate(Position(1), &Reads::default(), &writes, &bounded(&writes))
            .expect("the base state is whole")
            .is_none()
    };
    assert!(!fits(&[Change::bounded(-5)]));
    assert!(fits(&[Change::step(5), Change::bounded(-5)]));
    assert!(!fits(&[Change::step(5), Change::bounded(-3), Change::bounded(-3)]));
}

#[test]
fn own_clear_hides_older_writes_in_whatever_order_it_is_written() {
    let group = Key::Group(0);
    for clear_first in [true, false] {
        let memory = memory();
        let old = [write(&memory, Change::step(7))];
        memory.fold(Position(1), &old, &mut Dirty::default()).expect("the base state is whole");
        let mut writes = vec![
            Write { seen: u32::MAX, cell: memory.intern(&group), delta: Change::clear(0) },
            write(&memory, Change::step(2)),
        ];
        if !clear_first {
            writes.reverse();
        }
        memory.fold(Position(2), &writes, &mut Dirty::default()).expect("the base state is whole");
        memory.set_frontier(Position(3));
        let value = memory.resolve(memory.intern(&KEY), Position(3), Estimates::Refuse, |value, _| *value);
        assert_eq!(value.ok(), Some(Value { word: 0, balance: 2 }), "clear first: {clear_first}");
    }
}

#[test]
fn clear_that_is_not_committed_hides_no_committed_value() {
    let memory = memory();
    memory.fold(Position(1), &[write(&memory, Change::set(7))], &mut Dirty::default()).expect("the base is whole");
    memory.set_frontier(Position(2));
    let clear = Write { seen: u32::MAX, cell: memory.intern(&Key::Group(0)), delta: Change::clear(0) };
    memory.publish(Position(2), Incarnation(0), &[clear], &[], &mut Dirty::default(), |_, _, _| ());
    assert_eq!(crate::toy::trial::committed(&memory)[&KEY].0.word, 7);
}

#[test]
fn over_known_writes_what_is_committed_is_seen_at_its_own_position_alone() {
    let said = |position, key, change| (Position(position), key, change);
    let writes =
        vec![said(1, KEY, Change::set(5)), said(2, Key::Group(0), Change::clear(0)), said(3, KEY, Change::step(4))];
    let memory = Memory::new(Arc::new(Genesis::zero()), 8).over(Said { writes });
    let value = |position| {
        let found = memory.resolve(memory.intern(&KEY), Position(position), Estimates::Take, |value, _| *value);
        found.map(|value| (value.word, value.balance)).expect("the base state is whole")
    };
    assert_eq!([1, 2, 3, 4].map(value), [(0, 0), (5, 0), (0, 0), (0, 4)]);
    for balance in [6, 8] {
        memory.fold(Position(4), &[write(&memory, Change::step(2))], &mut Dirty::default()).expect("the base is whole");
        assert_eq!([2, 3, 4, 5].map(value), [(5, 0), (0, 0), (0, balance), (0, 4)]);
    }
}

#[test]
fn what_a_key_hides_before_the_block_is_not_asked_of_the_base_state_once_anybody_counts_on_it() {
    let (group, member) = (|group| Key::Group(group), |group| Key::Member(group, 0));
    let mut genesis = Genesis::zero();
    genesis.values.insert(group(0), Value { word: BARREN, balance: 0 });
    let genesis = Arc::new(genesis);
    let memory = Memory::<Toy>::new(Arc::clone(&genesis), 8);
    let read = |key| memory.resolve(memory.intern(&key), Position(1), Estimates::Take, |value, _| *value).ok();
    let hides = |number| memory.hides_before(memory.intern(&group(number)));
    assert!(!hides(0), "nothing is known of it yet");
    (0..GROUPS).for_each(|number| assert!(read(group(number)).is_some()));
    assert_eq!([0, 1].map(hides), [true, false]);
    assert_eq!([0, 1].map(|number| read(member(number))), [Some(Value::default()); 2]);
    let reads = genesis.reads.lock().unwrap();
    assert_eq!([0, 1].map(|number| reads.contains_key(&member(number))), [false, true]);
}
