//! `ropewalk report`: what became of blocks, as one HTML file.
//!
//! ```text
//! survey      a fixture -> how fast, how fast it could be, a timeline, dependencies
//! heat        aborts and dependencies, added up by account, slot and field
//! document    the page: figures of all blocks, then the blocks furthest from their limit one by one
//! speedup, timeline, conflicts    its charts
//! ```
//!
//! The page loads nothing and works from a file. Everything on it that comes from outside (names of chains, paths) goes
//! through maud, which escapes it; a policy in the page's head forbids all loading besides.

mod conflicts;
mod document;
mod heat;
mod speedup;
mod survey;
mod timeline;

use std::{io, path::Path};

use ropewalk_block::{BlockError, CancelToken};

use self::{document::Page, survey::survey};
use crate::{
    arguments::{PageArguments, ScheduleArgument},
    compare::{self, chain_of},
    report::{Progress, counted, print},
    run::Runner,
    session::{NoThreads, Session},
    status::Status,
    whole_file::write_whole,
};

/// One run of `ropewalk report`.
#[derive(Debug)]
struct Survey<'a> {
    arguments: &'a PageArguments,
    session: Session,
    runner: Runner,
    progress: Progress,
    page: Page,
    status: Status,
}

/// Surveys what the arguments say and writes the page.
///
/// # Errors
/// When standard output is closed or full.
pub(crate) fn report(arguments: &PageArguments, interrupt: CancelToken) -> io::Result<Status> {
    let (session, runner) = match prepare(arguments, interrupt) {
        Ok(prepared) => prepared,
        Err(error) => {
            Progress::new(0).say(&format!("error: {}", chain_of(&error)));
            return Ok(Status::Input);
        }
    };
    let mut status = Status::default();
    let (fixtures, progress, unusable) = session.begin(&arguments.paths, &mut status);
    let page = Page::new(runner.threads(), arguments.details, unusable);
    let mut survey = Survey { arguments, session, runner, progress, page, status };
    for directory in &fixtures {
        if survey.session.is_interrupted() {
            break;
        }
        survey.block(directory);
    }
    survey.finish()
}

fn prepare(arguments: &PageArguments, interrupt: CancelToken) -> Result<(Session, Runner), NoThreads> {
    let session = Session::new(interrupt)?;
    let (threads, normal) = (arguments.threads.count(), ScheduleArgument::Normal);
    let runner = Runner::new(threads, normal, arguments.inline_below, session.interrupt())?;
    Ok((session, runner))
}

impl Survey<'_> {
    /// Adds a block to the page.
    fn block(&mut self, directory: &Path) {
        let (fixture, ground, truth) = match self.session.open_valid(directory, &self.progress) {
            Ok(opened) => opened,
            Err(status) => return self.leave_out(status),
        };
        let (fixture, truth) = (&fixture, &truth);
        let reader = ground.reader();
        let run = self.runner.execute(fixture, &reader, 0).value;
        let difference = compare::results(run.as_ref().map(|execution| &execution.outcome), Ok(truth));
        if let Some(difference) = difference {
            if matches!(run, Err(BlockError::Cancelled { .. })) {
                return;
            }
            self.progress.say(&format!("mismatch: {}: the engine and the oracle: {difference}", fixture.place()));
            return self.leave_out(Status::Mismatch);
        }
        match survey(fixture, &reader, truth, &self.runner, self.arguments.runs.get()) {
            Ok((figures, detail)) => {
                self.page.add(figures, detail);
                self.progress.advance(truth.gas_used, 1);
            }
            Err(BlockError::Cancelled { .. }) => {}
            Err(error) => {
                self.progress.say(&format!("mismatch: {}: {}", fixture.place(), chain_of(&error)));
                self.leave_out(Status::Mismatch);
            }
        }
    }

    fn leave_out(&mut self, status: Status) {
        self.status.add(status);
        self.page.left_out += 1;
        self.progress.advance(0, 1);
    }

    /// Writes the page, unless the user wants the run to end.
    fn finish(mut self) -> io::Result<Status> {
        self.progress.finish();
        if self.session.is_interrupted() {
            self.status.add(Status::Interrupted);
            return Ok(self.status);
        }
        let out = &self.arguments.out;
        match write_whole(out, &self.page.html()) {
            Ok(()) => print(&format!("{} on {}", counted(self.page.blocks(), "block"), out.display()))?,
            Err(error) => {
                self.progress.say(&format!("error: {}", chain_of(&error)));
                self.status.add(Status::Input);
            }
        }
        Ok(self.status)
    }
}
