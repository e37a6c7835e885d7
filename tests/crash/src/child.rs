//! The other process, as the one that starts it sees it.
//!
//! A child says what it does in lines on its standard output, one write each:
//!
//! ```text
//! open        the store is open
//! <n> done    n actions of the chain are over
//! step <name> the store has come to this step; only where it was asked to tell
//! end         all actions are over and the store is closed
//! ```

use std::{
    fmt,
    io::{BufRead, BufReader},
    num::NonZeroU32,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    str::FromStr,
    time::Duration,
};

use ropewalk_store::{Durability, Step};

/// What a child is to do.
#[derive(Debug, Clone)]
pub struct Orders {
    /// The store's directory.
    pub directory: PathBuf,
    /// The chain's seed.
    pub seed: u64,
    /// The chain's durability.
    pub durability: Durability,
    /// How many of its actions are over already.
    pub done: usize,
    /// What else is asked of it.
    pub manner: Manner,
}

/// How a child works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// To the end.
    Quiet,
    /// To the end, and it tells every step.
    Telling,
    /// Until it comes to this step of this action for the n-th time, from 1; then it kills itself.
    EndingAt {
        /// Index of the action.
        action: usize,
        /// The step.
        step: Step,
        /// The n.
        times: u32,
    },
}

/// When a child is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// So long after it was started.
    AfterStart(Duration),
    /// So long after it said that so many actions are over.
    AfterDone(usize, Duration),
    /// It ends by itself.
    Never,
}

/// What became of a child.
#[derive(Debug)]
pub struct Fate {
    /// The greatest number of actions that it said are over; what it was given to begin with, where it said nothing.
    pub done: usize,
    /// Whether it said that it came to the end.
    pub ended: bool,
    /// How its process ended.
    pub status: ExitStatus,
}

impl Orders {
    /// As arguments of the child.
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            self.directory.to_string_lossy().into_owned(),
            self.seed.to_string(),
            Written(self.durability).to_string(),
            self.done.to_string(),
        ];
        match self.manner {
            Manner::Quiet => {}
            Manner::Telling => arguments.push("telling".to_owned()),
            Manner::EndingAt { action, step, times } => {
                arguments.extend(["ending".to_owned(), action.to_string(), step.name().to_owned(), times.to_string()]);
            }
        }
        arguments
    }

    /// From the child's arguments; `None` where they are not what [`arguments`](Self::arguments) makes.
    pub fn parse(arguments: &[String]) -> Option<Self> {
        let [directory, seed, durability, done, manner @ ..] = arguments else { return None };
        let manner = match manner {
            [] => Manner::Quiet,
            [word] if word == "telling" => Manner::Telling,
            [word, action, step, times] if word == "ending" => {
                let step = Step::ALL.into_iter().find(|known| known.name() == step)?;
                Manner::EndingAt { action: action.parse().ok()?, step, times: times.parse().ok()? }
            }
            _ => return None,
        };
        Some(Self {
            directory: directory.into(),
            seed: seed.parse().ok()?,
            durability: durability.parse::<Written>().ok()?.0,
            done: done.parse().ok()?,
            manner,
        })
    }
}

/// A durability as an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written(pub Durability);

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Durability::EveryBlock => write!(f, "every-block"),
            Durability::EveryBlocks(blocks) => write!(f, "every-{blocks}-blocks"),
            Durability::OperatingSystem => write!(f, "operating-system"),
        }
    }
}

impl FromStr for Written {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let blocks = || text.strip_prefix("every-")?.strip_suffix("-blocks")?.parse::<NonZeroU32>().ok();
        match text {
            "every-block" => Ok(Self(Durability::EveryBlock)),
            "operating-system" => Ok(Self(Durability::OperatingSystem)),
            _ => blocks().map(|blocks| Self(Durability::EveryBlocks(blocks))).ok_or_else(|| text.to_owned()),
        }
    }
}

/// A command that runs the child's binary with these orders, its output caught.
pub fn command(binary: &Path, orders: &Orders) -> Command {
    let mut command = Command::new(binary);
    command.arg("work").args(orders.arguments());
    // One thread less to start; what is measured here is not speed.
    command.env("RAYON_NUM_THREADS", "1").stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// Runs a child from `done` actions on, kills it at `moment`, and waits until it is gone.
///
/// # Panics
/// When it cannot be started.
pub fn run(command: &mut Command, done: usize, moment: Moment) -> Fate {
    let mut child = command.spawn().expect("the child starts");
    if let Moment::AfterStart(delay) = moment {
        std::thread::sleep(delay);
        kill(&mut child);
    }
    let mut fate = (done, false);
    let output = BufReader::new(child.stdout.take().expect("its output is caught"));
    // A line that was cut off in the middle was not said.
    for line in output.split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        fate.1 |= line == "end";
        let Some(done) = line.strip_suffix(" done").and_then(|count| count.parse().ok()) else { continue };
        fate.0 = done;
        if let Moment::AfterDone(at, delay) = moment
            && at <= done
        {
            std::thread::sleep(delay);
            kill(&mut child);
        }
    }
    let status = child.wait().expect("the child is waited for");
    Fate { done: fate.0, ended: fate.1, status }
}

/// Kills with SIGKILL; one that is gone already stays gone.
fn kill(child: &mut Child) {
    let _ = child.kill();
}
