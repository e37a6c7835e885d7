//! Speed-up by number of workers, as an SVG that stands by itself.

use maud::{Markup, html};

use crate::report::{
    counted, fixed,
    simulate::{Means, SimulateReports},
};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 56.0;
const BOTTOM: f64 = 56.0;
/// Distance of names at the ends of curves.
const LINE: f64 = 16.0;

/// A curve: its name, its colour, whether it is dashed.
type Curve = (&'static str, &'static str, bool, fn(&Means) -> f64);

const CURVES: [Curve; 3] = [
    ("limit", "#6b7280", true, |means| means.limit),
    ("ropewalk", "#1d4ed8", false, |means| means.speedup),
    ("textbook", "#c2410c", false, |means| means.textbook),
];

/// The plot of all blocks' geometric means.
pub(super) fn svg(reports: &SimulateReports) -> String {
    let means = reports.means();
    let most = means.iter().flat_map(|means| [means.speedup, means.limit, means.textbook]).fold(1.0, f64::max);
    let ceiling = (most * 1.05).ceil();
    let first = means.first().map_or(1.0, |means| means.workers as f64).log2();
    let last = means.last().map_or(1.0, |means| means.workers as f64).log2();
    let span = if last > first { last - first } else { 1.0 };
    let x = |workers: usize| LEFT + ((workers as f64).log2() - first) / span * (WIDTH - LEFT - RIGHT);
    let y = |speedup: f64| HEIGHT - BOTTOM - speedup / ceiling * (HEIGHT - TOP - BOTTOM);
    let every = (ceiling / 8.0).ceil().max(1.0);
    let marks = (0..).map(|step| f64::from(step) * every).take_while(|mark| *mark <= ceiling);
    let picture = html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) width=(WIDTH) height=(HEIGHT)
            font-family="system-ui, sans-serif" font-size="13" role="img" aria-label="speed-up by number of workers" {
            rect width=(WIDTH) height=(HEIGHT) fill="#ffffff" {}
            text x=(LEFT) y="24" font-size="15" fill="#111827" { "Speed-up over running in order, by number of workers" }
            text x=(LEFT) y="42" fill="#6b7280" {
                "simulated; geometric mean of " (counted(reports.count() as u64, "block"))
            }
            @for mark in marks {
                line x1=(LEFT) x2=(fixed(WIDTH - RIGHT)) y1=(fixed(y(mark))) y2=(fixed(y(mark)))
                    stroke=(if mark == 1.0 { "#9ca3af" } else { "#e5e7eb" }) {}
                text x=(fixed(LEFT - 8.0)) y=(fixed(y(mark) + 4.0)) text-anchor="end" fill="#374151" { (mark) "×" }
            }
            @for means in &means {
                text x=(fixed(x(means.workers))) y=(fixed(HEIGHT - BOTTOM + 20.0)) text-anchor="middle" fill="#374151" {
                    (means.workers)
                }
            }
            text x=(fixed((LEFT + WIDTH - RIGHT) / 2.0)) y=(fixed(HEIGHT - 12.0)) text-anchor="middle" fill="#374151" {
                "workers"
            }
            @for (name, colour, dashed, figure) in CURVES { (curve((name, colour, dashed, figure), &means, x, y)) }
            @for (name, colour, at) in names(&means, y) {
                text x=(fixed(WIDTH - RIGHT + 10.0)) y=(fixed(at)) fill=(colour) { (name) }
            }
        }
    };
    picture.into_string() + "\n"
}

fn curve(
    (name, colour, dashed, figure): Curve,
    means: &[Means],
    x: impl Fn(usize) -> f64,
    y: impl Fn(f64) -> f64,
) -> Markup {
    let points = means.iter().map(|means| format!("{},{}", fixed(x(means.workers)), fixed(y(figure(means)))));
    html! {
        polyline points=(points.collect::<Vec<_>>().join(" ")) fill="none" stroke=(colour) stroke-width="2"
            stroke-dasharray=[dashed.then_some("6 4")] {}
        @for means in means {
            circle cx=(fixed(x(means.workers))) cy=(fixed(y(figure(means)))) r="3" fill=(colour) {
                title { (name) ", " (counted(means.workers as u64, "worker")) ": " (fixed(figure(means))) "×" }
            }
        }
    }
}

/// Where the names of the curves stand: at their ends, one below the other where the ends are close.
fn names(means: &[Means], y: impl Fn(f64) -> f64) -> Vec<(String, &'static str, f64)> {
    let Some(last) = means.last() else { return Vec::new() };
    let name =
        |(name, colour, _, figure): Curve| (format!("{name} {}×", fixed(figure(last))), colour, y(figure(last)) + 4.0);
    let mut names: Vec<_> = CURVES.into_iter().map(name).collect();
    names.sort_by(|(_, _, left), (_, _, right)| left.total_cmp(right));
    for below in 1..names.len() {
        names[below].2 = names[below].2.max(names[below - 1].2 + LINE);
    }
    names
}
