//! Files that lost bytes, hold others, or are gone.

use std::{
    collections::BTreeMap,
    fmt,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Arc,
};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use ropewalk_crash_tests::{
    chain::{At, Chain},
    disk::Tree,
    work::{Nobody, Work},
};

use crate::setting::{child, number, say, scratch, seed};

/// Places at which each file is damaged, for each kind of damage, where no number is given.
const PLACES: u64 = 8;

/// A kind of file in a store's directory, by what its name tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Log,
    Sorted,
    Manifest,
    Current,
    Options,
    Identity,
    Hint,
    Lock,
    Diary,
}

impl Kind {
    fn of(name: &str) -> Self {
        match name {
            "CURRENT" => Self::Current,
            "IDENTITY" => Self::Identity,
            "ropewalk.head" => Self::Hint,
            "ropewalk.lock" | "LOCK" => Self::Lock,
            _ if name.ends_with(".log") => Self::Log,
            _ if name.ends_with(".sst") => Self::Sorted,
            _ if name.starts_with("MANIFEST-") => Self::Manifest,
            _ if name.starts_with("OPTIONS-") => Self::Options,
            _ if name.starts_with("LOG") => Self::Diary,
            _ => panic!("a file of an unknown kind: {name}"),
        }
    }
}

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    /// This bit of this byte is another.
    Flipped { byte: usize, bit: u8 },
    /// Only so many bytes are left.
    Cut(usize),
    /// It is gone.
    Missing,
}

impl Damage {
    fn apply(self, tree: &mut Tree, name: &str) {
        let content = tree.files.get_mut(name).expect("the file is there");
        match self {
            Self::Flipped { byte, bit } => content[byte] ^= 1 << bit,
            Self::Cut(length) => content.truncate(length),
            Self::Missing => drop(tree.files.remove(name)),
        }
    }

    /// Without its numbers, for counting.
    fn name(self) -> &'static str {
        match self {
            Self::Flipped { .. } => "flipped",
            Self::Cut(_) => "cut",
            Self::Missing => "missing",
        }
    }
}

/// A process that looks at damaged directories, so that one that dies of it is noticed.
struct Examiner {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// What it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    /// The store holds exactly this point, and told of this last lost block or of none.
    Point(usize, Option<u64>),
    /// The store refused, with this error.
    Refused(String),
    /// The store can be read, and verification finds this.
    Unsound(String),
    /// A reader was told what is not so.
    Misleading(String),
    /// The process died.
    Died(String),
}

impl Examiner {
    fn start(seed: u64) -> Self {
        let mut command = Command::new(child());
        command.args(["examine", &seed.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::null()).spawn().expect("the child starts");
        let questions = child.stdin.take().expect("its input is ours");
        let answers = BufReader::new(child.stdout.take().expect("its output is ours"));
        Self { child, questions, answers }
    }

    fn ask(&mut self, directory: &Path) -> Answer {
        let mut line = String::new();
        let asked = writeln!(self.questions, "{}", directory.display());
        if asked.is_err() || self.answers.read_line(&mut line).is_err() || line.is_empty() {
            return Answer::Died(format!("{:?}", self.child.wait()));
        }
        let (word, rest) = line.trim_end().split_once(' ').expect("an answer has two parts");
        let rest = rest.to_owned();
        match word {
            "point" => {
                let (point, lost) = rest.split_once(' ').expect("a point and what was lost");
                Answer::Point(point.parse().expect("a number"), lost.parse().ok())
            }
            "refused" => Answer::Refused(rest),
            "unsound" => Answer::Unsound(rest),
            "misleading" => Answer::Misleading(rest),
            _ => panic!("an unknown answer: {line}"),
        }
    }
}

impl Drop for Examiner {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A closed store at the end of a chain, and who knows what it held on the way.
struct Patient {
    chain: Chain,
    tree: Tree,
    examiner: Examiner,
    directory: tempfile::TempDir,
}

impl Patient {
    fn new(seed: u64) -> Self {
        let chain = Chain::to_damage(seed);
        let directory = scratch();
        let mut work = Work::open(directory.path(), &chain, 0, Arc::new(Nobody)).expect("the store opens");
        work.finish().expect("the chain happens");
        work.close();
        let tree = Tree::read(directory.path()).expect("the directory can be read");
        Self { chain, tree, examiner: Examiner::start(seed), directory }
    }

    fn examine(&mut self, name: &str, damage: Damage) -> Answer {
        let mut tree = self.tree.clone();
        damage.apply(&mut tree, name);
        tree.write(self.directory.path()).expect("the directory is ours");
        let answer = self.examiner.ask(self.directory.path());
        if let Answer::Died(_) = answer {
            self.examiner = Examiner::start(self.chain.seed);
        }
        answer
    }

    /// The number of the block that a point is at.
    fn number(&self, point: usize) -> Option<u64> {
        match self.chain.points[point].at {
            At::Block(hash) => Some(self.chain.known(&hash).head.number),
            At::Empty | At::Loading(_) | At::WithoutTries(_) => None,
        }
    }
}

/// What became of damages, counted.
#[derive(Default)]
struct Tally(BTreeMap<(Kind, &'static str), BTreeMap<String, u64>>);

impl Tally {
    fn count(&mut self, kind: Kind, damage: Damage, outcome: &str) {
        *self.0.entry((kind, damage.name())).or_default().entry(outcome.to_owned()).or_default() += 1;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((kind, damage), outcomes) in &self.0 {
            let outcomes: Vec<String> = outcomes.iter().map(|(outcome, count)| format!("{outcome} {count}")).collect();
            writeln!(f, "  {kind:?} {damage}: {}", outcomes.join(", "))?;
        }
        Ok(())
    }
}

/// What is wrong with an answer, if anything; and a word for it.
fn outcome(patient: &Patient, kind: Kind, answer: &Answer) -> Result<String, String> {
    let last = patient.chain.points.len() - 1;
    match answer {
        Answer::Point(point, lost) if *point == last => match lost {
            None => Ok("harmless".to_owned()),
            Some(lost) => Err(format!("block {lost} is told lost, and nothing is")),
        },
        Answer::Point(point, lost) => {
            let (head, was) = (patient.number(*point), patient.number(last));
            match lost {
                Some(_) if *lost == was => Ok("earlier block, and told".to_owned()),
                // Nobody asked for more than that these blocks go, and they are whole.
                None if patient.chain.commits_between(*point, last) == 0 => Ok("not unwound".to_owned()),
                _ => Err(format!("the store is at block {head:?} instead of {was:?}, and tells of {lost:?}: {kind:?}")),
            }
        }
        Answer::Refused(error) => Ok(error.split([' ', '{', '(']).next().unwrap_or_default().to_owned()),
        Answer::Unsound(_) | Answer::Misleading(_) | Answer::Died(_) => Err(format!("{answer:?}")),
    }
}

fn damages(content: &[u8], kind: Kind, random: &mut ChaCha8Rng) -> Vec<Damage> {
    let places = number("ROPEWALK_PLACES").unwrap_or(PLACES);
    let mut damages = vec![Damage::Missing];
    if content.is_empty() {
        return damages;
    }
    let places = match kind {
        // Where everything is decided.
        Kind::Log | Kind::Manifest => 4 * places,
        // There are many of them.
        Kind::Sorted => places.div_ceil(4),
        _ => places,
    };
    for _ in 0..places {
        damages.push(Damage::Flipped { byte: random.random_range(0..content.len()), bit: random.random_range(0..8) });
        damages.push(Damage::Cut(random.random_range(0..content.len())));
    }
    damages
}

#[test]
fn damaged_file_is_found_or_costs_the_latest_blocks_and_that_is_told() {
    let seed = seed();
    let mut patient = Patient::new(seed);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (mut tally, mut wrong) = (Tally::default(), Vec::new());
    for (name, content) in patient.tree.files.clone() {
        let kind = Kind::of(&name);
        for damage in damages(&content, kind, &mut random) {
            let answer = patient.examine(&name, damage);
            match outcome(&patient, kind, &answer) {
                Ok(outcome) => tally.count(kind, damage, &outcome),
                Err(problem) => {
                    tally.count(kind, damage, "WRONG");
                    wrong.push(format!("seed {seed}, {name} of {} bytes, {damage:?}: {problem}", content.len()));
                }
            }
        }
    }
    say(&format!("damages from seed {seed}:\n{tally}"));
    assert!(wrong.is_empty(), "{} damages mislead:\n{}", wrong.len(), wrong.join("\n"));
}
