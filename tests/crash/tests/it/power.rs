//! Power that is cut at any moment, with a disk that keeps what was synced and of the rest what it likes.

use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::Arc,
};

use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use ropewalk_crash_tests::{
    chain::{At, Chain},
    child::{self, Manner, Moment, Orders},
    disk::{Cut, Disk, Tree, Unsynced},
    journal::{self, Layer, Record},
    judge::{Judge, Wrong},
    work::{self, Nobody, Work},
};
use ropewalk_store::{Durability, LostBlocks};

use crate::setting::{child, number, say, scratch, seed};

/// Cuts where no number is given.
const CUTS: u64 = 90;

/// Cuts that are played of one run.
const CUTS_OF_A_RUN: u64 = 12;

const EVERY_THIRD: Durability = Durability::EveryBlocks(NonZeroU32::new(3).expect("it is three"));
const DURABILITIES: [Durability; 3] = [Durability::EveryBlock, EVERY_THIRD, Durability::OperatingSystem];

/// The layer, or a line that says why there is none.
fn layer(folder: &Path) -> Option<Layer> {
    Layer::compile(folder).map_err(|lack| say(&format!("SKIPPED: power cuts: {lack}"))).ok()
}

/// One process that worked along a chain, and what it asked of the disk.
struct Run {
    judge: Judge,
    /// Actions that were over when it began.
    done: usize,
    /// What had been lost then.
    lost: Option<LostBlocks>,
    disk: Disk,
    /// What was there when the process was gone.
    left: Tree,
}

#[derive(Debug, Default)]
struct Tally {
    runs: u64,
    cuts: u64,
    unfinished_loads: u64,
    without_tries: u64,
    /// Cuts after which a block was gone that had been said to be committed, and how many blocks these were.
    with_losses: u64,
    blocks_lost: u64,
    /// Cuts after which the store told that blocks are lost.
    told: u64,
}

impl Run {
    /// Works from `done` actions on in the directory `store`, under the layer.
    fn new(
        judge: Judge,
        durability: Durability,
        store: &Path,
        (done, lost): (usize, Option<LostBlocks>),
        layer: &Layer,
    ) -> Self {
        let seed = judge.chain().seed;
        let journal = scratch();
        let journal = journal.path().join("journal");
        let mut disk = Disk::at_start(store).expect("the directory can be read");
        let orders = Orders { directory: store.to_owned(), seed, durability, done, manner: Manner::Telling };
        let mut command = child::command(&child(), &orders);
        layer.load(&mut command, store, &journal);
        let fate = child::run(&mut command, done, Moment::Never);
        assert!(fate.ended, "seed {seed}: {:?}", fate.status);
        disk.happened(journal::read(&journal).expect("the journal can be read"));
        let left = Tree::read(store).expect("the directory can be read");
        Self { judge, done, lost, disk, left }
    }

    fn chain(&self) -> &Chain {
        self.judge.chain()
    }

    /// Actions that were said to be over before the moment.
    fn done_at(&self, at: usize) -> usize {
        let counts = self.disk.said(at).filter_map(|line| line.strip_suffix(" done")?.parse().ok());
        counts.last().unwrap_or(self.done)
    }

    /// A moment anywhere, more often just before or after something is said.
    fn moment(&self, random: &mut ChaCha8Rng) -> usize {
        let records = self.disk.records();
        let spoken: Vec<usize> = (0..records.len())
            .filter(|at| matches!(records[*at], Record::Say(_)))
            .flat_map(|at| [at, at + 1])
            .collect();
        match random.random_bool(0.5) {
            true => *spoken.choose(random).expect("the process spoke"),
            false => random.random_range(0..=records.len()),
        }
    }
}

fn drawn_cut(run: &Run, random: &mut ChaCha8Rng) -> Cut {
    let any = |random: &mut ChaCha8Rng| *Unsynced::ALL.choose(random).expect("there are some");
    Cut { at: run.moment(random), content: any(random), names: any(random) }
}

/// The first point that the store may have gone back to in a cut after `done` actions were said to be over.
fn floor(run: &Run, durability: Durability, done: usize) -> usize {
    let chain = run.chain();
    let safe = chain.safe_at(run.done, done);
    let may_lose = match durability {
        Durability::EveryBlock => 0,
        Durability::EveryBlocks(blocks) => blocks.get() as usize - 1,
        Durability::OperatingSystem => usize::MAX,
    };
    let last = chain.first_at(done);
    (safe..=last).find(|point| chain.commits_between(*point, last) <= may_lose).expect("the last loses nothing")
}

/// Looks at what a cut left in `directory`.
fn look(
    run: &Run,
    durability: Durability,
    cut: Cut,
    directory: &Path,
    tally: &mut Tally,
) -> Result<(usize, Option<LostBlocks>), Wrong> {
    let chain = run.chain();
    let done = run.done_at(cut.at);
    let found = run.judge.judge(directory, floor(run, durability, done)..=*chain.possible(done).end())?;
    tally.cuts += 1;
    tally.unfinished_loads += u64::from(matches!(chain.points[found.point].at, At::Loading(_)));
    tally.without_tries += u64::from(matches!(chain.points[found.point].at, At::WithoutTries(_)));
    let said = chain.first_at(done);
    if found.point < said {
        let blocks = chain.commits_between(found.point, said);
        tally.with_losses += u64::from(blocks > 0);
        tally.blocks_lost += blocks as u64;
    }
    tally.told += u64::from(found.lost.is_some());
    expect_told(run, cut, found.lost, found.point, done)?;
    Ok((found.point, found.lost))
}

/// Where the disk kept all content that was written, hint included, and names were not lost, nothing is lost, and nothing else
/// is told. What a cut before had cost is told again until another block is committed.
fn expect_told(run: &Run, cut: Cut, lost: Option<LostBlocks>, point: usize, done: usize) -> Result<(), Wrong> {
    let everything = cut.content == Unsynced::Everything && cut.names == Unsynced::Everything;
    let chain = run.chain();
    let possible = chain.possible(done);
    let is_known = lost == run.lost && chain.commits_between(chain.first_at(run.done), point) == 0;
    match everything && (lost.is_some() && !is_known || !possible.contains(&point)) {
        true => Err(Wrong::Misleading(format!("nothing was lost: {lost:?}, point {point} of {possible:?}"))),
        false => Ok(()),
    }
}

/// From what a cut left to the end of the chain, which must be as if nothing had happened.
fn finish(run: &Run, point: usize, directory: &Path) -> Result<(), Wrong> {
    let chain = run.chain();
    let point = chain.points[point];
    work::repair(directory, chain, point.at)?;
    let mut work = Work::open(directory, chain, point.done, Arc::new(Nobody))?;
    work.finish()?;
    work.close();
    run.judge.judge(directory, chain.possible(work.done()))?;
    Ok(())
}

fn judge_of(seed: u64, durability: Durability) -> Judge {
    let judge = Judge::of(Chain::draw(seed, durability), scratch().path());
    judge.unwrap_or_else(|wrong| panic!("seed {seed}, undisturbed: {wrong}"))
}

/// Keeps what a failure is about in the folder that `ROPEWALK_KEEP` names: the journal up to the cut, as text, and what
/// the disk held.
fn keep(run: &Run, cut: Cut, tree: &Tree) {
    let Some(folder) = std::env::var_os("ROPEWALK_KEEP").map(PathBuf::from) else { return };
    tree.write(&folder.join("rebuilt")).expect("the folder can be written");
    let lines = run.disk.records()[..cut.at].iter().enumerate().map(|(at, record)| format!("{at} {record}\n"));
    std::fs::write(folder.join("journal.txt"), lines.collect::<String>()).expect("the folder can be written");
}

#[test]
fn the_layer_sees_everything_that_a_process_does_to_the_directory() {
    let folder = scratch();
    let Some(layer) = layer(folder.path()) else { return };
    let store = scratch();
    for durability in DURABILITIES {
        let run = Run::new(judge_of(seed(), durability), durability, store.path(), (0, None), &layer);
        let records = run.disk.records();
        let cut = Cut { at: records.len(), content: Unsynced::Everything, names: Unsynced::Everything };
        let rebuilt = run.disk.cut(cut, &mut ChaCha8Rng::seed_from_u64(0));
        let differs = |name: &&String| rebuilt.files.get(*name) != run.left.files.get(*name);
        let names: Vec<_> = rebuilt.files.keys().chain(run.left.files.keys()).filter(differs).collect();
        assert!(names.is_empty(), "{names:?} differ");
        assert_eq!(rebuilt.directories, run.left.directories);
        Tree::default().write(store.path()).expect("the directory is ours");
    }
}

#[test]
fn power_cut_at_any_moment_leaves_a_block_no_older_than_the_durability_allows() {
    let folder = scratch();
    let Some(layer) = layer(folder.path()) else { return };
    let (first, cuts) = (seed(), number("ROPEWALK_CUTS").unwrap_or(CUTS));
    say(&format!("power cuts: {cuts} from seed {first} on"));
    let mut tallies: [Tally; 3] = Default::default();
    for seed in first.. {
        if tallies.iter().map(|tally| tally.cuts).sum::<u64>() >= cuts {
            break;
        }
        let which = (seed % 3) as usize;
        power_cuts(seed, DURABILITIES[which], &layer, &mut tallies[which]);
    }
    for (durability, tally) in DURABILITIES.iter().zip(&tallies) {
        say(&format!("power cuts, {durability:?}: {tally:?}"));
    }
    assert_eq!(tallies[0].blocks_lost, 0, "where every block is synced");
    assert!(tallies[2].blocks_lost > 0 || cuts < CUTS, "where no block is synced, cuts cost some");
}

/// Cuts of one run, then those of another run that goes on from what one of them left.
fn power_cuts(seed: u64, durability: Durability, layer: &Layer, tally: &mut Tally) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (store, rebuilt) = (scratch(), scratch());
    let mut run = Run::new(judge_of(seed, durability), durability, store.path(), (0, None), layer);
    for again in [true, false] {
        tally.runs += 1;
        let mut on = None;
        for number in 0..CUTS_OF_A_RUN {
            let cut = drawn_cut(&run, &mut random);
            let at = || format!("seed {seed}, from action {} on, cut {number}, {cut:?}", run.done);
            let tree = run.disk.cut(cut, &mut random);
            tree.write(rebuilt.path()).expect("the directory is ours");
            let (point, lost) = look(&run, durability, cut, rebuilt.path(), tally).unwrap_or_else(|wrong| {
                keep(&run, cut, &tree);
                panic!("{}: {wrong}", at())
            });
            if random.random_bool(0.25) {
                finish(&run, point, rebuilt.path()).unwrap_or_else(|wrong| panic!("{}, continued: {wrong}", at()));
            } else if matches!(run.chain().points[point].at, At::Block(_)) {
                let tree = Tree::read(rebuilt.path()).expect("it can be read");
                on = Some((tree, (run.chain().points[point].done, lost)));
            }
        }
        let Some((tree, from)) = on.filter(|_| again) else { break };
        tree.write(store.path()).expect("the directory is ours");
        run = Run::new(run.judge, durability, store.path(), from, layer);
    }
}

#[test]
fn power_cut_at_any_moment_of_its_creation_leaves_a_store_that_opens() {
    let folder = scratch();
    let Some(layer) = layer(folder.path()) else { return };
    let (store, rebuilt) = (scratch(), scratch());
    let durability = Durability::OperatingSystem;
    let run = Run::new(judge_of(seed(), durability), durability, store.path(), (0, None), &layer);
    let is_open = |record: &Record| matches!(record, Record::Say(text) if text.starts_with("open"));
    let open = run.disk.records().iter().position(is_open).expect("the store was opened");
    let mut random = ChaCha8Rng::seed_from_u64(seed());
    for at in (0..=open).flat_map(|at| [at, at]) {
        // RocksDB itself relies on it that names which it gives one after the other are kept in that order.
        let names = match drawn_cut(&run, &mut random).names {
            Unsynced::Later | Unsynced::Scattered => Unsynced::Prefix,
            in_order => in_order,
        };
        let cut = Cut { at, names, ..drawn_cut(&run, &mut random) };
        run.disk.cut(cut, &mut random).write(rebuilt.path()).expect("the directory is ours");
        let found = look(&run, durability, cut, rebuilt.path(), &mut Tally::default());
        let (point, _) = found.unwrap_or_else(|wrong| panic!("{cut:?}: {wrong}"));
        assert_eq!(point, 0, "{cut:?}");
    }
}

#[test]
fn a_disk_that_does_not_keep_what_was_synced_is_found_out() {
    let folder = scratch();
    let Some(layer) = layer(folder.path()) else { return };
    let (store, rebuilt) = (scratch(), scratch());
    let durability = Durability::EveryBlock;
    let mut run = Run::new(judge_of(seed(), durability), durability, store.path(), (0, None), &layer);
    // As if every sync had returned without having done anything.
    let records = run.disk.records().iter().map(|record| match record {
        Record::Sync { inode, .. } => Record::Sync { inode: *inode, until: 0 },
        other => other.clone(),
    });
    let records = records.collect();
    run.disk.happened(records);
    let mut random = ChaCha8Rng::seed_from_u64(seed());
    let found = (0..20).any(|_| {
        let cut = Cut { at: run.moment(&mut random), content: Unsynced::Nothing, names: Unsynced::Everything };
        run.disk.cut(cut, &mut random).write(rebuilt.path()).expect("the directory is ours");
        look(&run, durability, cut, rebuilt.path(), &mut Tally::default()).is_err()
    });
    assert!(found, "a cut that loses everything goes unnoticed");
}
