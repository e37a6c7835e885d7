//! The report of a simulation: one row or one JSON object for each block, and a summary.

use std::path::PathBuf;

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{
    figure::{Figure, counted, geometric_mean, grouped, milliseconds},
    table::{Side, Table},
};

/// What is foreseen of one block.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SimulateReport {
    /// The block's number.
    pub number: u64,
    /// Name of its chain.
    pub chain: String,
    /// The fixture's directory.
    pub path: PathBuf,
    /// Number of transactions.
    pub txs: usize,
    /// Gas that execution used.
    pub gas_used: u64,
    /// The oracle, measured.
    pub seq_ms: f64,
    /// The engine on two threads, measured.
    pub measured_ms: f64,
    /// The same, simulated.
    pub foreseen_ms: f64,
    /// By number of workers, ascending.
    pub forecasts: Vec<Forecast>,
}

/// Speed-ups on one number of workers, over the oracle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Forecast {
    /// Number of workers.
    pub workers: usize,
    /// The engine.
    pub speedup: f64,
    /// What the block's dependencies allow.
    pub limit: f64,
    /// Block-STM as the paper has it.
    pub textbook: f64,
}

impl Forecast {
    /// The part of the limit that is reached.
    fn share(&self) -> f64 {
        self.speedup / self.limit
    }
}

impl Serialize for Forecast {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(5))?;
        map.serialize_entry("workers", &self.workers)?;
        map.serialize_entry("speedup", &Figure(self.speedup))?;
        map.serialize_entry("limit", &Figure(self.limit))?;
        map.serialize_entry("share", &Figure(self.share()))?;
        map.serialize_entry("textbook", &Figure(self.textbook))?;
        map.end()
    }
}

impl SimulateReport {
    /// Time foreseen for two threads over the time measured.
    fn agreement(&self) -> f64 {
        self.foreseen_ms / self.measured_ms
    }
}

impl Serialize for SimulateReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("number", &self.number)?;
        map.serialize_entry("chain", &self.chain)?;
        map.serialize_entry("path", &self.path)?;
        map.serialize_entry("txs", &self.txs)?;
        map.serialize_entry("gas_used", &self.gas_used)?;
        map.serialize_entry("seq_ms", &Figure(self.seq_ms))?;
        map.serialize_entry("t2_ms", &Figure(self.measured_ms))?;
        map.serialize_entry("t2_foreseen_ms", &Figure(self.foreseen_ms))?;
        map.serialize_entry("agreement", &Figure(self.agreement()))?;
        map.serialize_entry("forecasts", &self.forecasts)?;
        map.end()
    }
}

/// The reports of a simulation.
#[derive(Debug, Clone)]
pub(crate) struct SimulateReports {
    workers: Vec<usize>,
    blocks: Vec<(SimulateReport, String)>,
    /// Paths and fixtures that could not be used, or whose outcome was not the oracle's.
    pub(crate) unusable: u64,
}

/// Geometric means over blocks, on one number of workers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Means {
    /// Number of workers.
    pub workers: usize,
    /// The engine.
    pub speedup: f64,
    /// What dependencies allow.
    pub limit: f64,
    /// The part of it that is reached.
    pub share: f64,
    /// Block-STM as the paper has it.
    pub textbook: f64,
}

impl SimulateReports {
    pub(crate) fn new(workers: Vec<usize>) -> Self {
        Self { workers, blocks: Vec::new(), unusable: 0 }
    }

    pub(crate) fn add(&mut self, report: SimulateReport, label: String) {
        self.blocks.push((report, label));
    }

    /// Blocks that say anything: with gas.
    fn counted(&self) -> impl Iterator<Item = &SimulateReport> {
        self.blocks.iter().map(|(report, _)| report).filter(|report| report.gas_used > 0)
    }

    /// Number of blocks that the means are of.
    pub(crate) fn count(&self) -> usize {
        self.counted().count()
    }

    /// Means by number of workers; none without blocks.
    pub(crate) fn means(&self) -> Vec<Means> {
        let mean = |(place, workers): (usize, &usize)| {
            let of = |figure: fn(&Forecast) -> f64| {
                geometric_mean(self.counted().filter_map(|report| report.forecasts.get(place)).map(figure))
            };
            Some(Means {
                workers: *workers,
                speedup: of(|forecast| forecast.speedup)?,
                limit: of(|forecast| forecast.limit)?,
                share: of(Forecast::share)?,
                textbook: of(|forecast| forecast.textbook)?,
            })
        };
        self.workers.iter().enumerate().filter_map(mean).collect()
    }

    /// How far foreseen and measured time part at two threads: of each block, ascending.
    fn errors(&self) -> Vec<f64> {
        let mut errors: Vec<f64> = self.counted().map(|report| (report.agreement() - 1.0).abs()).collect();
        errors.sort_unstable_by(f64::total_cmp);
        errors
    }

    /// The last line of JSON.
    pub(crate) fn summary_line(&self) -> impl Serialize + '_ {
        let errors = self.errors();
        let means = self.means().into_iter().map(|means| {
            let Means { workers, speedup, limit, share, textbook } = means;
            let rounded = |value| Figure(value).rounded();
            let (speedup, limit) = (rounded(speedup), rounded(limit));
            Means { workers, speedup, limit, share: rounded(share), textbook: rounded(textbook) }
        });
        SummaryLine {
            summary: Summary {
                blocks: self.blocks.len(),
                unusable: self.unusable,
                geomeans: means.collect(),
                agreement_geomean: geometric_mean(self.counted().map(SimulateReport::agreement)).map(Figure),
                error_median: errors.get(errors.len() / 2).copied().map(Figure),
                error_max: errors.last().copied().map(Figure),
            },
        }
    }

    /// Tables and summary for people.
    pub(crate) fn text(&self) -> String {
        if self.blocks.is_empty() {
            return format!("0 blocks simulated, {} unusable", self.unusable);
        }
        let mut text = format!("{}\n{}", self.by_block(), self.by_workers());
        text.push_str(&format!("{} simulated", counted(self.blocks.len() as u64, "block")));
        if self.unusable > 0 {
            text.push_str(&format!(", {} unusable", self.unusable));
        }
        let errors = self.errors();
        if let (Some(mean), Some(median), Some(most)) =
            (geometric_mean(self.counted().map(SimulateReport::agreement)), errors.get(errors.len() / 2), errors.last())
        {
            text.push_str(&format!(
                "; at 2 threads foreseen over measured: {mean:.3}, apart by {:.1} % (median), {:.1} % (most)",
                median * 100.0,
                most * 100.0
            ));
        }
        text
    }

    fn by_block(&self) -> Table {
        use Side::{Left, Right};
        let last = self.workers.last().copied().unwrap_or_default();
        let mut columns: Vec<(String, Side)> = vec![("block".into(), Left)];
        let names = ["txs", "gas", "seq ms", "t2 ms", "foreseen"].map(str::to_owned);
        columns.extend(names.map(|name| (name, Right)));
        columns.extend(["speed-up", "limit", "share", "textbook"].map(|name| (format!("{name} at {last}"), Right)));
        let mut table = Table::new(columns);
        let mut rows: Vec<_> = self.blocks.iter().collect();
        let share = |report: &SimulateReport| report.forecasts.last().map_or(1.0, Forecast::share);
        rows.sort_by(|(left, _), (right, _)| share(left).total_cmp(&share(right)));
        for (report, label) in rows {
            let mut row = vec![label.clone(), report.txs.to_string(), grouped(report.gas_used)];
            row.extend([report.seq_ms, report.measured_ms, report.foreseen_ms].map(milliseconds));
            if let Some(forecast) = report.forecasts.last() {
                let figures = [forecast.speedup, forecast.limit, forecast.share(), forecast.textbook];
                row.extend(figures.map(|figure| format!("{figure:.2}")));
            }
            table.push(row);
        }
        table
    }

    fn by_workers(&self) -> Table {
        let columns = ["workers", "speed-up", "limit", "share", "textbook Block-STM"];
        let mut table = Table::new(columns.map(|name| (name, Side::Right)));
        for Means { workers, speedup, limit, share, textbook } in self.means() {
            let figures = [speedup, limit, share, textbook].map(|figure| format!("{figure:.2}"));
            table.push(std::iter::once(workers.to_string()).chain(figures));
        }
        table
    }
}

#[derive(Serialize)]
struct SummaryLine {
    summary: Summary,
}

#[derive(Serialize)]
struct Summary {
    blocks: usize,
    unusable: u64,
    /// Geometric means over blocks with gas.
    geomeans: Vec<Means>,
    /// Time foreseen for two threads over the time measured.
    agreement_geomean: Option<Figure>,
    error_median: Option<Figure>,
    error_max: Option<Figure>,
}
