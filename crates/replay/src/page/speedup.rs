//! Speed-up by block, worst share of the limit first.

use maud::{Markup, html};

use super::survey::Figures;

/// Blocks that the chart shows; of more the worst.
const MOST_ROWS: usize = 250;

/// The chart. `anchor` gives the place on the page that tells more about a block.
pub(super) fn chart(blocks: &[Figures], anchor: impl Fn(usize) -> Option<String>) -> Markup {
    let shown = &blocks[..blocks.len().min(MOST_ROWS)];
    let scale = shown.iter().flat_map(|block| [block.speedup(), block.limit]).fold(1.2, f64::max) * 1.02;
    let at = |ratio: f64| format!("{:.2}%", ratio / scale * 100.0);
    html! {
        div.chart {
            @for (place, block) in shown.iter().enumerate() {
                div.row title=(hint(block)) {
                    span.name {
                        @if let Some(anchor) = anchor(place) { a href=(anchor) { (block.label) } }
                        @else { (block.label) }
                    }
                    span.track {
                        span class=(if block.speedup() < 1.0 { "fill lost" } else { "fill" })
                            style=(format!("width:{}", at(block.speedup()))) {}
                        span.one style=(format!("left:{}", at(1.0))) {}
                        span.limit style=(format!("left:{}", at(block.limit))) {}
                    }
                    span.number { (format!("{:.2}×", block.speedup())) }
                }
            }
        }
        @if blocks.len() > shown.len() {
            p.quiet { "The worst " (shown.len()) " of " (blocks.len()) " blocks are shown." }
        }
    }
}

fn hint(block: &Figures) -> String {
    format!(
        "{}: {:.3} ms in order, {:.3} ms in parallel; {:.2}× of the {:.2}× that its dependencies allow",
        block.label,
        block.sequential_ms,
        block.ms,
        block.speedup(),
        block.limit,
    )
}
