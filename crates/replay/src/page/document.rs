//! The page itself.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{
    conflicts,
    heat::Heat,
    speedup,
    survey::{Detail, Figures},
    timeline,
};
use crate::report::{geometric_mean, grouped, milliseconds};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");
/// Nothing is loaded, whatever the page says: what it needs stands in it.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

/// Locations in the table of all blocks, and in that of one.
const HOTTEST: [usize; 2] = [25, 8];

/// What the page is made of.
#[derive(Debug)]
pub(super) struct Page {
    threads: usize,
    details: usize,
    /// Paths and blocks that could not be used, or whose outcome was not the oracle's.
    pub(super) left_out: u64,
    /// Worst share of the limit first; with details the first so many.
    blocks: Vec<(Figures, Option<Detail>)>,
    heat: Heat,
}

impl Page {
    pub(super) fn new(threads: usize, details: usize, left_out: u64) -> Self {
        Self { threads, details, left_out, blocks: Vec::new(), heat: Heat::default() }
    }

    pub(super) fn blocks(&self) -> u64 {
        self.blocks.len() as u64
    }

    /// Adds a block. Only those furthest from their limit keep their details.
    pub(super) fn add(&mut self, figures: Figures, detail: Detail) {
        self.heat.add(&detail.heat);
        // A block without transactions has no limit to be far from, and nothing to show.
        let rank = |figures: &Figures| if figures.txs == 0 { f64::INFINITY } else { figures.share() };
        let place = self.blocks.partition_point(|(other, _)| rank(other) <= rank(&figures));
        let detail = (place < self.details).then_some(detail);
        self.blocks.insert(place, (figures, detail));
        if let Some((_, detail)) = self.blocks.get_mut(self.details) {
            *detail = None;
        }
    }

    /// The page as text.
    pub(super) fn html(&self) -> String {
        let figures: Vec<_> = self.blocks.iter().map(|(figures, _)| figures.clone()).collect();
        let anchor = |place: usize| self.blocks[place].1.as_ref().map(|_| format!("#block-{place}"));
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta http-equiv="Content-Security-Policy" content=(POLICY);
                    title { "ropewalk: " (self.blocks.len()) " blocks" }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    header {
                        h1 { "ropewalk" }
                        p { "Recorded blocks on " (self.threads) " threads, against running them in order." }
                    }
                    main {
                        (self.summary(&figures))
                        section {
                            h2 { "Speed-up by block" }
                            p.quiet {
                                "Time in order over time in parallel; the furthest from its limit first. "
                                span.legend {
                                    span { i.fill {} "faster" } span { i.lost {} "slower than in order" }
                                    span { i.limit {} "what its dependencies allow" } span { i.one {} "1×" }
                                }
                            }
                            (speedup::chart(&figures, anchor))
                        }
                        section {
                            h2 { "Hot locations" }
                            p.quiet {
                                "Where aborts and true dependencies come from, in all blocks. "
                                span.legend { span { i.lost {} "aborts" } span { i.link {} "dependencies" } }
                            }
                            (self.heat.table(HOTTEST[0]))
                        }
                        @for (place, (figures, detail)) in self.blocks.iter().enumerate() {
                            @if let Some(detail) = detail { (block(place, figures, detail)) }
                        }
                    }
                    footer { p.quiet { "Written by ropewalk " (env!("CARGO_PKG_VERSION")) "." } }
                    script { (PreEscaped(SCRIPT)) }
                }
            }
        };
        page.into_string()
    }

    fn summary(&self, figures: &[Figures]) -> Markup {
        let measured = || figures.iter().filter(|block| block.gas_used > 0);
        let mean = |figure: fn(&Figures) -> f64| {
            geometric_mean(measured().map(figure)).map_or_else(|| "–".to_owned(), |mean| format!("{mean:.2}"))
        };
        let slower = measured().filter(|block| block.speedup() < 1.0).count();
        let sum = |count: fn(&Figures) -> u64| figures.iter().map(count).fold(0, u64::saturating_add);
        let wasted = sum(|block| block.wasted_gas) as f64 / sum(|block| block.gas_used).max(1) as f64;
        html! {
            section.cards {
                (card(&figures.len().to_string(), "blocks"))
                (card(&format!("{}×", mean(Figures::speedup)), "speed-up, geometric mean"))
                (card(&mean(Figures::share), "of the limit, geometric mean"))
                (card(&slower.to_string(), "slower than in order"))
                (card(&grouped(sum(|block| block.aborts.into())), "aborts"))
                (card(&format!("{:.1} %", wasted * 100.0), "gas executed in vain"))
                @if self.left_out > 0 { (card(&self.left_out.to_string(), "left out: unusable or mismatched")) }
            }
        }
    }
}

fn card(figure: &str, name: &str) -> Markup {
    html! { div.card { strong { (figure) } span { (name) } } }
}

/// One block's timeline, conflicts and hot locations.
fn block(place: usize, figures: &Figures, detail: &Detail) -> Markup {
    html! {
        section.block id=(format!("block-{place}")) {
            h2 { (figures.label) }
            p.quiet.key { (figures.hash) " · " (figures.directory.display()) }
            dl {
                (fact("transactions", &figures.txs.to_string()))
                (fact("gas", &grouped(figures.gas_used)))
                (fact("in order", &format!("{} ms", milliseconds(figures.sequential_ms))))
                (fact("in parallel", &format!("{} ms", milliseconds(figures.ms))))
                (fact("speed-up", &format!("{:.2}× of {:.2}×", figures.speedup(), figures.limit)))
                (fact("longest chain", &figures.critical.to_string()))
                (fact("aborts", &figures.aborts.to_string()))
            }
            figure {
                figcaption {
                    "Timeline of one execution "
                    span.legend {
                        @for (class, name) in timeline::LEGEND { span { i class=(class) {} (name) } }
                    }
                }
                (timeline::chart(detail))
            }
            figure {
                figcaption {
                    "Dependencies "
                    span.legend { span { i.link {} "depends on" } span { i.critical {} "longest chain" } }
                }
                (conflicts::graph(detail))
            }
            h3 { "Hot locations" }
            (detail.heat.table(HOTTEST[1]))
        }
    }
}

fn fact(name: &str, value: &str) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}
