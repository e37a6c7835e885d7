//! What each worker did when, in one execution: a lane for each, time to the right.

use std::collections::HashSet;

use maud::{Markup, html};
use ropewalk_block::{Incarnation, Span, Step, Timeline, TxIndex};

use super::survey::Detail;
use crate::{
    cause::{cause_name, field_names},
    report::fixed,
    run::milliseconds,
};

/// Spans that are drawn; of more the longest.
const MOST_SPANS: usize = 2000;
const WIDTH: f64 = 1000.0;
/// Where lanes begin: names stand before.
const LEFT: f64 = 72.0;
const LANE: f64 = 24.0;
const TICKS: u32 = 5;

/// The meaning of each colour.
pub(super) const LEGEND: [(&str, &str); 6] = [
    ("execute", "execute"),
    ("again", "execute again"),
    ("lost", "executed in vain"),
    ("validate", "validate"),
    ("commit", "commit"),
    ("wait", "wait"),
];

/// The chart of a block's recorded execution.
pub(super) fn chart(detail: &Detail) -> Markup {
    let timeline = &detail.timeline;
    let end = timeline.spans().map(|span| span.end).max().unwrap_or_default().as_secs_f64().max(1e-9);
    let x = |seconds: f64| LEFT + seconds / end * (WIDTH - LEFT - 8.0);
    let lost: HashSet<_> = timeline.aborts().map(|abort| (abort.index, abort.incarnation)).collect();
    let least = shortest_drawn(timeline);
    let lanes = timeline.workers.len();
    let bottom = lanes as f64 * LANE;
    let hidden = timeline.spans().filter(|span| span.duration() < least).count();
    html! {
        div.scroll {
            svg.timeline viewBox=(format!("0 0 {WIDTH} {}", bottom + 22.0)) role="img" aria-label="timeline of the workers" {
                @for tick in 0..=TICKS {
                    @let seconds = end * f64::from(tick) / f64::from(TICKS);
                    line.grid x1=(fixed(x(seconds))) x2=(fixed(x(seconds))) y1="0" y2=(fixed(bottom)) {}
                    text x=(fixed(x(seconds))) y=(fixed(bottom + 15.0)) text-anchor=(anchor(tick)) { (time(seconds)) }
                }
                @for (worker, spans) in timeline.workers.iter().enumerate() {
                    @let top = worker as f64 * LANE;
                    text x="0" y=(fixed(top + 16.0)) { "worker " (worker) }
                    @for span in spans.iter().filter(|span| span.duration() >= least) {
                        @let (inset, from, to) = (inset(span), x(span.begin.as_secs_f64()), x(span.end.as_secs_f64()));
                        rect class=(class(span, &lost)) x=(fixed(from)) y=(fixed(top + 2.0 + inset))
                            width=(fixed((to - from).max(0.3))) height=(fixed(LANE - 4.0 - 2.0 * inset)) {
                            title { (describe(span, detail)) }
                        }
                    }
                }
            }
        }
        p.readout role="status" { "Point at a span or touch it to read what it is." }
        @if hidden > 0 || timeline.dropped_events > 0 {
            p.quiet {
                @if hidden > 0 { (hidden) " spans are too short to be drawn. " }
                @if timeline.dropped_events > 0 { (timeline.dropped_events) " events were not recorded for want of room." }
            }
        }
    }
}

/// Spans shorter than this are left out, so that no more than the bound are drawn.
fn shortest_drawn(timeline: &Timeline) -> std::time::Duration {
    let mut durations: Vec<_> = timeline.spans().map(Span::duration).collect();
    if durations.len() <= MOST_SPANS {
        return std::time::Duration::ZERO;
    }
    durations.sort_unstable_by(|left, right| right.cmp(left));
    durations[MOST_SPANS]
}

fn class(span: &Span, lost: &HashSet<(TxIndex, Incarnation)>) -> &'static str {
    match span.step {
        Step::Execute { index, incarnation, .. } if lost.contains(&(index, incarnation)) => "lost",
        Step::Execute { incarnation: Incarnation(0), .. } => "execute",
        Step::Execute { .. } => "again",
        Step::Foretell { .. } => "execute",
        Step::Validate { .. } => "validate",
        Step::Commit { .. } => "commit",
        Step::Wait => "wait",
    }
}

/// A frontier run lies inside its commit, and waiting is less than work.
fn inset(span: &Span) -> f64 {
    match span.step {
        Step::Execute { speculative: false, .. } => 4.0,
        Step::Wait => 7.0,
        _ => 0.0,
    }
}

fn describe(span: &Span, detail: &Detail) -> String {
    let mut text = match span.step {
        Step::Execute { index, incarnation, speculative } => {
            let how = if speculative { "ahead of its turn" } else { "at the commit frontier" };
            format!("execute transaction {index}, incarnation {incarnation}, {how}")
        }
        Step::Foretell { index, count } => {
            format!("work out {count} payments from transaction {index} on, ahead of their turn")
        }
        Step::Validate { index } => format!("validate transaction {index}"),
        Step::Commit { index } => format!("commit transaction {index}"),
        Step::Wait => "wait for work".to_owned(),
    };
    text.push_str(&format!(": {} from {}", time(span.duration().as_secs_f64()), time(span.begin.as_secs_f64())));
    if let Some(abort) = &span.abort {
        text.push_str(&format!("; incarnation {} aborted: {}", abort.incarnation, cause_name(abort.cause)));
        if let ropewalk_block::AbortCause::Invalid(fields) = abort.cause {
            text.push_str(&format!(" {}", field_names(fields).join(", ")));
        }
        if let Some(cell) = abort.cell {
            text.push_str(&format!(" at {}", detail.places.key(cell)));
        }
    }
    text
}

fn anchor(tick: u32) -> &'static str {
    match tick {
        0 => "start",
        TICKS => "end",
        _ => "middle",
    }
}

/// A time for people.
pub(super) fn time(seconds: f64) -> String {
    let ms = milliseconds(std::time::Duration::from_secs_f64(seconds));
    match ms {
        0.0 => "0".to_owned(),
        ms if ms < 1.0 => format!("{:.1} µs", ms * 1e3),
        ms if ms < 100.0 => format!("{ms:.2} ms"),
        ms => format!("{ms:.0} ms"),
    }
}
