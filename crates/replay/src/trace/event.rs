//! One line of a trace, in the words of the trace event format.

use std::time::Duration;

use serde::Serialize;

/// All lanes belong to one process.
const PROCESS: u32 = 1;

/// An event. Fields that its phase has no use for are left out.
#[derive(Debug, Serialize)]
pub(super) struct Event<A> {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cat: Option<&'static str>,
    /// The phase: `X` for a span with its duration, `i` for an instant, `M` for names.
    ph: char,
    pid: u32,
    tid: usize,
    /// Microseconds since the trace began.
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<f64>,
    /// Microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<f64>,
    /// Scope of an instant: `t`, its thread.
    #[serde(skip_serializing_if = "Option::is_none")]
    s: Option<char>,
    args: A,
}

impl<A> Event<A> {
    /// A span: when it began, and how long it took.
    pub(super) fn complete(
        name: String,
        category: &'static str,
        lane: usize,
        (begin, duration): (Duration, Duration),
        args: A,
    ) -> Self {
        let (ts, dur) = (Some(microseconds(begin)), Some(microseconds(duration)));
        Self { name, cat: Some(category), ph: 'X', pid: PROCESS, tid: lane, ts, dur, s: None, args }
    }

    /// Something that takes no time.
    pub(super) fn instant(name: String, category: &'static str, lane: usize, at: Duration, args: A) -> Self {
        let ts = Some(microseconds(at));
        Self { name, cat: Some(category), ph: 'i', pid: PROCESS, tid: lane, ts, dur: None, s: Some('t'), args }
    }

    /// A name of the process or of a lane.
    pub(super) fn named(what: &str, lane: usize, args: A) -> Self {
        Self { name: what.to_owned(), cat: None, ph: 'M', pid: PROCESS, tid: lane, ts: None, dur: None, s: None, args }
    }
}

fn microseconds(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e3
}

#[derive(Debug, Serialize)]
pub(super) struct LaneName {
    pub(super) name: String,
}

#[derive(Debug, Serialize)]
pub(super) struct BlockArguments {
    pub(super) number: u64,
    pub(super) hash: String,
    pub(super) txs: usize,
    pub(super) gas_used: u64,
    /// Events that the timeline lacks for want of room.
    pub(super) dropped_events: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct StepArguments {
    pub(super) block: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) index: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) incarnation: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) speculative: Option<bool>,
    pub(super) complete: bool,
    /// Why its result, or the one that a commit found, came to nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) aborted: Option<&'static str>,
}

#[derive(Debug, Serialize)]
pub(super) struct AbortArguments {
    pub(super) block: u64,
    pub(super) index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hash: Option<String>,
    pub(super) incarnation: u32,
    pub(super) cause: &'static str,
    /// Fields that were found wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) fields: Vec<&'static str>,
    /// The transaction that it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) on: Option<u32>,
    /// The account or slot where the reason lies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) location: Option<String>,
}
