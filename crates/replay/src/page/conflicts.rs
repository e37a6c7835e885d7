//! Which transaction depends on which: transactions along the block's order, an arc for each dependency.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};
use ropewalk_block::{Link, TxIndex};

use super::{heat::short, survey::Detail, timeline::time};
use crate::{cause::field_names, report::fixed};

/// Arcs that are drawn: those of the longest chain, then those of the transactions that take longest.
const MOST_ARCS: usize = 600;
/// Reasons that are named of one arc.
const MOST_REASONS: usize = 4;
const HEIGHT: f64 = 190.0;
/// Where the transactions stand.
const BASE: f64 = 160.0;
const MARGIN: f64 = 16.0;
const MOST_WIDTH: f64 = 4000.0;

/// A dependency of one transaction on another.
struct Arc<'a> {
    index: TxIndex,
    on: TxIndex,
    critical: bool,
    reasons: Vec<&'a Link>,
}

/// The graph of a block's dependencies.
pub(super) fn graph(detail: &Detail) -> Markup {
    let count = detail.hashes.len();
    let all = arcs(detail);
    if all.is_empty() {
        return html! { p.quiet { "No transaction depends on another." } };
    }
    let shown = &all[..all.len().min(MOST_ARCS)];
    let width = (count as f64 * 7.0).clamp(1000.0, MOST_WIDTH);
    let step = (width - 2.0 * MARGIN) / (count.max(2) - 1) as f64;
    let x = |index: TxIndex| MARGIN + f64::from(index.0) * step;
    let critical: BTreeSet<_> = detail.critical.iter().copied().collect();
    let joined: BTreeSet<_> =
        shown.iter().flat_map(|arc| [arc.index, arc.on]).chain(critical.iter().copied()).collect();
    let radius = (step * 0.4).clamp(1.6, 5.0);
    let every = (count / 12).max(1).next_power_of_two();
    html! {
        div.scroll {
            svg.conflicts viewBox=(format!("0 0 {width} {HEIGHT}")) style=(format!("min-width:{}px", width * 0.8)) role="img"
                aria-label="dependencies between transactions" {
                line.grid x1=(fixed(MARGIN)) x2=(fixed(width - MARGIN)) y1=(fixed(BASE)) y2=(fixed(BASE)) {}
                // The longest chain last: on top of the others.
                @for arc in shown.iter().rev() {
                    path class=(if arc.critical { "arc critical" } else { "arc" }) d=(curve(x(arc.on), x(arc.index))) {
                        title { (describe(arc, detail)) }
                    }
                }
                @for index in joined.iter() {
                    circle class=(if critical.contains(index) { "node critical" } else { "node" })
                        cx=(fixed(x(*index))) cy=(fixed(BASE)) r=(fixed(radius)) {
                        title { (name(*index, detail)) }
                    }
                }
                @for index in (0..count as u32).step_by(every).map(TxIndex) {
                    text x=(fixed(x(index))) y=(fixed(BASE + 20.0)) text-anchor="middle" { (index) }
                }
            }
        }
        p.readout role="status" { "Point at an arc or a transaction, or touch it, to read what it is." }
        @if all.len() > shown.len() {
            p.quiet { (shown.len()) " of " (all.len()) " dependencies are drawn." }
        }
    }
}

/// All dependencies, those of the longest chain first, then by the time of who depends.
fn arcs(detail: &Detail) -> Vec<Arc<'_>> {
    let mut reasons: BTreeMap<(TxIndex, TxIndex), Vec<&Link>> = BTreeMap::new();
    for link in detail.dependencies.links() {
        reasons.entry((link.index, link.on)).or_default().push(link);
    }
    let chain: BTreeSet<_> = detail.critical.windows(2).map(|pair| (pair[1], pair[0])).collect();
    let arc = |((index, on), reasons)| Arc { index, on, critical: chain.contains(&(index, on)), reasons };
    let mut arcs: Vec<_> = reasons.into_iter().map(arc).collect();
    let cost = |arc: &Arc<'_>| detail.times.get(arc.index.at()).copied().unwrap_or_default();
    arcs.sort_by(|left, right| right.critical.cmp(&left.critical).then_with(|| cost(right).total_cmp(&cost(left))));
    arcs
}

/// Half an ellipse over the line, as high as it is wide until it would leave the picture.
fn curve(from: f64, to: f64) -> String {
    let radius = (to - from).abs() / 2.0;
    let height = (radius.sqrt() * 7.0).clamp(4.0, BASE - 8.0);
    format!("M{from:.2} {BASE:.2}A{radius:.2} {height:.2} 0 0 1 {to:.2} {BASE:.2}")
}

fn describe(arc: &Arc<'_>, detail: &Detail) -> String {
    let reason =
        |link: &&Link| format!("{} of {}", field_names(link.fields).join(", "), short(&detail.links.key(link.cell)));
    let mut reasons: Vec<_> = arc.reasons.iter().take(MOST_REASONS).map(reason).collect();
    if arc.reasons.len() > MOST_REASONS {
        reasons.push(format!("{} more", arc.reasons.len() - MOST_REASONS));
    }
    let critical = if arc.critical { " (longest chain)" } else { "" };
    format!("transaction {} depends on {}{critical}: {}", arc.index, arc.on, reasons.join("; "))
}

fn name(index: TxIndex, detail: &Detail) -> String {
    let took = detail.times.get(index.at()).map_or_else(String::new, |ms| format!(", {} in order", time(ms / 1e3)));
    let hash = detail.hashes.get(index.at()).map_or_else(String::new, |hash| format!("; {hash}"));
    format!("transaction {index}{took}{hash}")
}
