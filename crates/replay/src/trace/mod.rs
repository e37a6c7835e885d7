//! Timelines in the trace event format that Perfetto and Chrome read.
//!
//! ```text
//! process 1 "ropewalk"
//!   thread 0 "blocks"      a span for each block
//!   thread n "worker n-1"  spans execute, re-execute, validate, wait, commit; instants where a result was thrown away
//! ```
//!
//! Times are microseconds with three digits after the point. Blocks stand one after the other with a short gap between
//! them: what happens between two executions (reading, the oracle, comparing, committing to the database) is left out.
//! The file is written block by block, so that memory holds one block's timeline at a time.

mod event;

use std::{
    io::{self, Write},
    path::Path,
    time::Duration,
};

use ropewalk_block::{Abort, EvmKey, Locations, RecoveredBlock, Span, Step, Timeline};

use self::event::{AbortArguments, BlockArguments, Event, LaneName, StepArguments};
use crate::{
    cause::{cause_name, field_names},
    fixture::WriteError,
    whole_file::WholeFile,
};

/// Time between two blocks on the trace's axis.
const GAP: Duration = Duration::from_micros(100);
/// The thread that shows the blocks; workers come after it.
const BLOCKS: usize = 0;

/// A trace that is being written.
#[derive(Debug)]
pub(crate) struct TraceFile {
    file: WholeFile,
    /// Where the next block begins.
    at: Duration,
    /// Threads that have a name.
    named: usize,
    /// Whether an event was written.
    begun: bool,
}

/// A block with what is shown of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TracedBlock<'a> {
    /// What it is called.
    pub label: &'a str,
    pub block: &'a RecoveredBlock,
    pub gas_used: u64,
    pub timeline: &'a Timeline,
    /// What the timeline's numbers of locations stand for, where that is known.
    pub locations: Option<&'a Locations>,
}

impl TracedBlock<'_> {
    fn transaction_hash(&self, at: usize) -> Option<String> {
        Some(self.block.transactions.get(at)?.recovered.hash().to_string())
    }

    fn location(&self, abort: &Abort) -> Option<EvmKey> {
        Some(self.locations?.key(abort.cell?))
    }
}

impl TraceFile {
    /// A trace without blocks, that is to appear at `path`.
    ///
    /// # Errors
    /// When no file can be made there.
    pub(crate) fn create(path: &Path) -> Result<Self, WriteError> {
        let mut file = WholeFile::create(path)?;
        file.write(|file| file.write_all(b"{\"displayTimeUnit\":\"ms\",\"traceEvents\":["))?;
        let mut trace = Self { file, at: Duration::ZERO, named: 0, begun: false };
        trace.put(&Event::named("process_name", BLOCKS, LaneName { name: "ropewalk".to_owned() }))?;
        Ok(trace)
    }

    /// Adds an execution of a block.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn add(&mut self, traced: &TracedBlock<'_>) -> Result<(), WriteError> {
        let TracedBlock { block, timeline, .. } = traced;
        self.name_lanes(timeline.workers.len())?;
        let arguments = BlockArguments {
            number: block.header.number,
            hash: block.hash.to_string(),
            txs: block.transactions.len(),
            gas_used: traced.gas_used,
            dropped_events: timeline.dropped_events,
        };
        let whole = (self.at, timeline.duration);
        self.put(&Event::complete(traced.label.to_owned(), "block", BLOCKS, whole, arguments))?;
        for (worker, spans) in timeline.workers.iter().enumerate() {
            for span in spans {
                self.span(traced, worker + 1, span)?;
            }
        }
        self.at += timeline.duration + GAP;
        Ok(())
    }

    /// Closes the trace and makes it appear.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn finish(mut self) -> Result<(), WriteError> {
        self.file.write(|file| file.write_all(b"\n]}\n"))?;
        self.file.finish()
    }

    fn span(&mut self, traced: &TracedBlock<'_>, lane: usize, span: &Span) -> Result<(), WriteError> {
        let (category, incarnation, speculative) = match span.step {
            Step::Execute { incarnation, speculative, .. } => {
                let category = if incarnation.0 == 0 { "execute" } else { "re-execute" };
                (category, Some(incarnation.0), Some(speculative))
            }
            Step::Foretell { .. } => ("foretell", None, None),
            Step::Validate { .. } => ("validate", None, None),
            Step::Commit { .. } => ("commit", None, None),
            Step::Wait => ("wait", None, None),
        };
        let index = span.step.index();
        let name = index.map_or_else(|| category.to_owned(), |index| format!("{category} {index}"));
        let arguments = StepArguments {
            block: traced.block.header.number,
            index: index.map(|index| index.0),
            hash: index.and_then(|index| traced.transaction_hash(index.at())),
            incarnation,
            speculative,
            complete: span.complete,
            aborted: span.abort.map(|abort| cause_name(abort.cause)),
        };
        self.put(&Event::complete(name, category, lane, (self.at + span.begin, span.duration()), arguments))?;
        let Some(abort) = &span.abort else { return Ok(()) };
        let arguments = AbortArguments::new(
            traced.block.header.number,
            abort,
            traced.transaction_hash(abort.index.at()),
            traced.location(abort).map(|key| key.to_string()),
        );
        // A commit goes on after it has found a result wrong; when that was is not known, only within what.
        let at = if matches!(span.step, Step::Commit { .. }) { span.begin } else { span.end };
        self.put(&Event::instant(format!("abort {}", abort.index), "abort", lane, self.at + at, arguments))
    }

    /// Names lanes that no earlier block has had.
    fn name_lanes(&mut self, workers: usize) -> Result<(), WriteError> {
        for lane in self.named..=workers {
            let name = if lane == BLOCKS { "blocks".to_owned() } else { format!("worker {}", lane - 1) };
            self.put(&Event::named("thread_name", lane, LaneName { name }))?;
        }
        self.named = self.named.max(workers + 1);
        Ok(())
    }

    fn put<A: serde::Serialize>(&mut self, event: &Event<A>) -> Result<(), WriteError> {
        let comma: &[u8] = if self.begun { b",\n" } else { b"\n" };
        self.begun = true;
        self.file.write(|file| {
            file.write_all(comma)?;
            serde_json::to_writer(file, event).map_err(io::Error::from)
        })
    }
}

impl AbortArguments {
    fn new(block: u64, abort: &Abort, hash: Option<String>, location: Option<String>) -> Self {
        use ropewalk_block::AbortCause::{Dependency, Invalid};
        let (fields, on) = match abort.cause {
            Invalid(fields) => (field_names(fields), None),
            Dependency(on) => (Vec::new(), Some(on.0)),
            _ => (Vec::new(), None),
        };
        Self {
            block,
            index: abort.index.0,
            hash,
            incarnation: abort.incarnation.0,
            cause: cause_name(abort.cause),
            fields,
            on,
            location,
        }
    }
}
