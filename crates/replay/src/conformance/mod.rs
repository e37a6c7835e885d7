//! `ropewalk conformance`: the public suites of blockchain and state tests, through the parallel path.
//!
//! ```text
//! archive     paths -> files, one at a time, archives streamed
//! suite       a file -> tests
//! lanes       tests over the machine's cores, each lane with engines of its own
//! pack        tests of one transaction each, joined into larger blocks
//! blockchain  a chain of blocks: import, reject, compare
//! state_test  one transaction by itself
//! reasons     our reasons for a rejection, under the suites' names
//! summary     a table by fork, failures with their first difference, lines of JSON
//! ```
//!
//! A test decides what is right, not the oracle: the suites hold rules that the oracle does not have.

mod accounts;
mod archive;
mod blockchain;
mod executors;
mod lanes;
mod lists;
mod pack;
mod reasons;
mod state_suite;
mod state_test;
mod suite;
mod summary;
mod tree;
mod verdict;
mod zstd;

use std::{
    io,
    num::NonZeroUsize,
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use ropewalk_block::{CancelToken, Schedule};

use self::{
    archive::{ArchiveError, Intake, TestFile},
    executors::Lists,
    lanes::{Job, Lanes},
    pack::{Pack, Packer},
    suite::Test,
    summary::{Found, Summary},
};
use crate::{
    arguments::{ConformanceArguments, ScheduleArgument, ShortcutArgument},
    compare::chain_of,
    status::Status,
};

/// Runs what the arguments say.
///
/// # Errors
/// When standard output is closed or full.
pub(crate) fn conformance(arguments: &ConformanceArguments, interrupt: &CancelToken) -> io::Result<Status> {
    let threads: Vec<NonZeroUsize> = arguments.threads.iter().map(|threads| threads.count()).collect();
    let read_bytes = Arc::new(AtomicU64::new(0));
    let summary = Summary::new(arguments.json, archive::size_bytes(&arguments.paths));
    let lists = if arguments.access_lists { Lists::GivenAndOwn } else { Lists::Given };
    let shortcuts = ShortcutArgument::all_but(&arguments.without);
    let lanes = match Lanes::new(&threads, schedule(arguments.schedule), shortcuts, lists, interrupt) {
        Ok(lanes) => lanes,
        Err(error) => {
            summary.refuse(&chain_of(&error));
            return summary.finish();
        }
    };
    lanes.run(&summary, |queue| {
        let packer = arguments.pack.map(|tests| Packer::new(tests.get()));
        let mut feed = Feed { arguments, queue, summary: &summary, read_bytes: &read_bytes, interrupt, packer };
        let _ = archive::read(&arguments.paths, &read_bytes, &mut feed);
        feed.pack_the_rest();
    });
    if interrupt.is_cancelled() {
        summary.interrupt();
    }
    summary.finish()
}

fn schedule(argument: ScheduleArgument) -> Schedule {
    match argument {
        ScheduleArgument::Normal => Schedule::Normal,
        ScheduleArgument::Adversarial { seed } => Schedule::Adversarial { seed },
    }
}

/// Takes files in and queues their tests.
struct Feed<'a> {
    arguments: &'a ConformanceArguments,
    queue: &'a lanes::Queue,
    summary: &'a Summary,
    read_bytes: &'a AtomicU64,
    interrupt: &'a CancelToken,
    /// Where tests are joined into larger blocks.
    packer: Option<Packer>,
}

impl Intake for Feed<'_> {
    fn take(&mut self, file: Result<TestFile, ArchiveError>) -> ControlFlow<()> {
        self.summary.advance(self.read_bytes.load(Ordering::Relaxed));
        match file {
            Ok(file) => self.tests_of(file),
            Err(error) => self.summary.refuse(&chain_of(&error)),
        }
        match self.interrupt.is_cancelled() || self.summary.is_closed() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

impl Feed<'_> {
    /// A block of one test is what the suite's own test is: it is not run again.
    fn queue_pack(&self, file: Arc<str>, pack: Pack) {
        if pack.tests() == 1 {
            return self.summary.add_not_packed(1);
        }
        let test = format!("{} tests from {}", pack.tests(), pack.first);
        self.queue.push(Job::Pack(Found { file, test }, Box::new(pack)));
    }

    fn pack_the_rest(&mut self) {
        let Some(mut packer) = self.packer.take() else { return };
        self.summary.add_not_packed(packer.unfit);
        packer.rest().for_each(|pack| self.queue_pack("pack".into(), pack));
    }

    fn tests_of(&mut self, file: TestFile) {
        let TestFile { place, text } = file;
        let tests = match suite::read(&text) {
            Ok(tests) => tests,
            Err(error) => return self.summary.refuse(&format!("{place}: {}", chain_of(&error))),
        };
        let place: Arc<str> = place.into();
        for (name, test) in tests {
            let is_wanted = |wanted: &String| name.contains(wanted.as_str()) || place.contains(wanted.as_str());
            if self.arguments.filter.as_ref().is_some_and(|wanted| !is_wanted(wanted)) {
                continue;
            }
            self.test(Found { file: Arc::clone(&place), test: name }, test);
        }
    }

    fn test(&mut self, found: Found, test: Test) {
        let is_wanted = |network: &str| match &self.arguments.fork {
            Some(wanted) => network.eq_ignore_ascii_case(wanted),
            None => true,
        };
        match test {
            Test::Blockchain(test) if is_wanted(&test.network) => match &mut self.packer {
                None => self.queue.push(Job::Blockchain(found, test)),
                Some(packer) => {
                    if let Some(pack) = packer.add(&found.test, *test) {
                        self.queue_pack(found.file, pack);
                    }
                }
            },
            Test::State(_) if self.packer.is_some() => self.summary.add_not_packed(1),
            Test::State(mut test) => {
                test.posts.retain(|network, _| is_wanted(network));
                self.queue.push(Job::State(found, test));
            }
            Test::Other(form) if self.arguments.fork.is_none() => self.summary.skip_form(form),
            Test::Blockchain(_) | Test::Other(_) => {}
        }
    }
}
