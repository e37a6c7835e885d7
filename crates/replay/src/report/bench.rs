//! The report of a benchmark: one row or one JSON object for each block, and a summary.

use std::{collections::BTreeMap, path::PathBuf};

use ropewalk_block::{Stats, field};
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{
    figure::{Figure, counted, geometric_mean, grouped, milliseconds},
    table::{Side, Table},
};
use crate::bench::{PairedRatio, Spread};

/// What was measured of one block. Times are in milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BenchReport {
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
    /// The oracle.
    pub sequential: Spread,
    /// The engine, for each number of threads in the order asked for.
    pub parallel: Vec<ThreadsReport>,
    /// The last number of threads by the block's own access list, where that was asked for.
    pub by_list: Option<ListReport>,
}

/// The engine by the block's own access list.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ListReport {
    /// Times.
    pub time: Spread,
    /// The time without the list over the time with it.
    pub paired: PairedRatio,
    /// What speculation cost: nothing, when the list is right.
    pub cost: SpeculationCost,
}

/// The engine with one number of threads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ThreadsReport {
    /// Number of threads.
    pub threads: usize,
    /// Times.
    pub time: Spread,
    /// The oracle's median time over the engine's.
    pub speedup: f64,
    /// The same by pairs of samples, which says how sure it is.
    pub paired: PairedRatio,
    /// The speed-up that the block's dependencies allow.
    pub limit: f64,
    /// What speculation cost.
    pub cost: SpeculationCost,
}

impl ThreadsReport {
    /// The part of the limit that was reached.
    fn share(&self) -> f64 {
        self.speedup / self.limit
    }
}

/// What speculation cost over all runs that were timed.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct SpeculationCost {
    runs: u64,
    wasted_gas: u64,
    gas: u64,
    aborts: u64,
    by_field: [u64; field::NAMES.len()],
}

impl SpeculationCost {
    /// Adds a run.
    pub(crate) fn add(&mut self, stats: &Stats) {
        self.runs += 1;
        self.wasted_gas += stats.wasted_cost;
        self.gas += stats.committed_cost;
        self.aborts += u64::from(stats.aborts);
        for (sum, count) in self.by_field.iter_mut().zip(stats.aborts_by_field) {
            *sum += u64::from(count);
        }
    }

    /// Gas executed more than once over the block's gas.
    fn wasted(&self) -> f64 {
        self.wasted_gas as f64 / self.gas.max(1) as f64
    }

    fn per_run(&self, count: u64) -> f64 {
        count as f64 / self.runs.max(1) as f64
    }

    /// Aborts of a run by the kind of location that was found wrong.
    fn by_location(&self) -> BTreeMap<&'static str, Figure> {
        let kinds = field::NAMES.into_iter().zip(self.by_field).filter(|(_, count)| *count > 0);
        kinds.map(|(name, count)| (name, Figure(self.per_run(count)))).collect()
    }
}

impl BenchReport {
    /// Time with one thread over the oracle's, if one thread was asked for.
    pub(crate) fn overhead(&self) -> Option<f64> {
        let one = self.parallel.iter().find(|report| report.threads == 1)?;
        Some(one.time.median / self.sequential.median)
    }

    /// The engine with the last number of threads.
    fn last(&self) -> Option<&ThreadsReport> {
        self.parallel.last()
    }
}

impl Serialize for BenchReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("number", &self.number)?;
        map.serialize_entry("chain", &self.chain)?;
        map.serialize_entry("path", &self.path)?;
        map.serialize_entry("txs", &self.txs)?;
        map.serialize_entry("gas_used", &self.gas_used)?;
        let mut times = |name: &str, time: &Spread| {
            map.serialize_entry(&format!("{name}_ms"), &Figure(time.median))?;
            map.serialize_entry(&format!("{name}_p10_ms"), &Figure(time.p10))?;
            map.serialize_entry(&format!("{name}_p90_ms"), &Figure(time.p90))
        };
        times("seq", &self.sequential)?;
        for report in &self.parallel {
            times(&format!("t{}", report.threads), &report.time)?;
        }
        map.serialize_entry("overhead", &self.overhead().map(Figure))?;
        map.serialize_entry("speedup", &self.last().map(|last| Figure(last.speedup)))?;
        map.serialize_entry("paired_ratio", &self.last().map(|last| Figure(last.paired.median)))?;
        map.serialize_entry("paired_ratio_low", &self.last().map(|last| Figure(last.paired.low)))?;
        map.serialize_entry("paired_ratio_high", &self.last().map(|last| Figure(last.paired.high)))?;
        map.serialize_entry("limit", &self.last().map(|last| Figure(last.limit)))?;
        map.serialize_entry("share", &self.last().map(|last| Figure(last.share())))?;
        map.serialize_entry("wasted", &self.last().map(|last| Figure(last.cost.wasted())))?;
        map.serialize_entry("aborts", &self.last().map(|last| Figure(last.cost.per_run(last.cost.aborts))))?;
        map.serialize_entry("aborts_by_location", &self.last().map(|last| last.cost.by_location()))?;
        if let Some(list) = &self.by_list {
            map.serialize_entry("list_ms", &Figure(list.time.median))?;
            map.serialize_entry("list_ratio", &Figure(list.paired.median))?;
            map.serialize_entry("list_ratio_low", &Figure(list.paired.low))?;
            map.serialize_entry("list_ratio_high", &Figure(list.paired.high))?;
            map.serialize_entry("list_aborts", &Figure(list.cost.per_run(list.cost.aborts)))?;
        }
        for report in &self.parallel {
            map.serialize_entry(&format!("t{}_speedup", report.threads), &Figure(report.speedup))?;
            map.serialize_entry(&format!("t{}_share", report.threads), &Figure(report.share()))?;
        }
        map.end()
    }
}

/// The reports of a benchmark.
#[derive(Debug, Clone)]
pub(crate) struct BenchReports {
    threads: Vec<usize>,
    runs: usize,
    blocks: Vec<BenchReport>,
    labels: Vec<String>,
    /// Blocks whose outcome was not the oracle's, or that the oracle rejects.
    pub(crate) mismatched: u64,
    /// Paths and fixtures that could not be used.
    pub(crate) unusable: u64,
}

impl BenchReports {
    pub(crate) fn new(threads: Vec<usize>, runs: usize) -> Self {
        Self { threads, runs, blocks: Vec::new(), labels: Vec::new(), mismatched: 0, unusable: 0 }
    }

    pub(crate) fn add(&mut self, report: BenchReport, label: String) {
        self.blocks.push(report);
        self.labels.push(label);
    }

    /// Speed-ups with the number of threads at this place in the list. Blocks without gas measure nothing.
    fn speedups(&self, place: usize) -> impl Iterator<Item = f64> + Clone {
        let blocks = self.blocks.iter().filter(|block| block.gas_used > 0);
        blocks.filter_map(move |block| Some(block.parallel.get(place)?.speedup))
    }

    /// Parts of the limit reached with the number of threads at this place in the list.
    fn shares(&self, place: usize) -> impl Iterator<Item = f64> {
        let blocks = self.blocks.iter().filter(|block| block.gas_used > 0);
        blocks.filter_map(move |block| Some(block.parallel.get(place)?.share()))
    }

    fn overheads(&self) -> impl Iterator<Item = f64> {
        self.blocks.iter().filter(|block| block.gas_used > 0).filter_map(BenchReport::overhead)
    }

    fn summary(&self) -> SummaryLine<'_> {
        SummaryLine { summary: Summary(self) }
    }

    /// The last line of JSON.
    pub(crate) fn summary_line(&self) -> impl Serialize + '_ {
        self.summary()
    }

    /// Table and summary for people.
    pub(crate) fn text(&self) -> String {
        let table = self.table();
        let mut text = if table.is_empty() { String::new() } else { format!("{table}\n") };
        text.push_str(&format!("{} measured", counted(self.blocks.len() as u64, "block")));
        if self.mismatched > 0 {
            text.push_str(&format!(", {} mismatched or invalid", self.mismatched));
        }
        if self.unusable > 0 {
            text.push_str(&format!(", {} unusable", self.unusable));
        }
        if let Some(overhead) = geometric_mean(self.overheads()) {
            text.push_str(&format!("; overhead {overhead:.3}"));
        }
        for (place, threads) in self.threads.iter().enumerate() {
            if let Some(mean) = geometric_mean(self.speedups(place)) {
                let least = self.speedups(place).fold(f64::INFINITY, f64::min);
                let share = geometric_mean(self.shares(place)).unwrap_or_default();
                text.push_str(&format!(
                    "; speed-up at {threads}: {mean:.3} (least {least:.3}, {share:.2} of the limit)"
                ));
            }
        }
        let slower = self.slower();
        if !slower.is_empty() {
            text.push_str(&format!("\nslower than in order, with 95 % confidence: {}", slower.join(", ")));
        }
        text
    }

    /// Labels of the blocks that the last number of threads makes slower beyond doubt.
    fn slower(&self) -> Vec<&str> {
        let blocks = self.blocks.iter().zip(&self.labels);
        let slower = blocks.filter(|(block, _)| block.last().is_some_and(|last| last.paired.high < 1.0));
        slower.map(|(_, label)| label.as_str()).collect()
    }

    fn table(&self) -> Table {
        use Side::{Left, Right};
        let mut columns: Vec<(String, Side)> =
            vec![("block".into(), Left), ("txs".into(), Right), ("gas".into(), Right)];
        columns.push(("seq ms".into(), Right));
        columns.push(("spread".into(), Right));
        for threads in &self.threads {
            columns.push((format!("t{threads} ms"), Right));
            columns.push(("spread".into(), Right));
        }
        columns.extend(["overhead", "limit", "speed-up"].map(|name| (name.into(), Right)));
        columns.extend([("95 %".into(), Left), ("share".into(), Right), ("wasted".into(), Right)]);
        let has_lists = self.blocks.iter().any(|block| block.by_list.is_some());
        if has_lists {
            columns.extend([("list ms".into(), Right), ("list".into(), Right), ("95 %".into(), Left)]);
            columns.push(("aborts".into(), Right));
        }
        let mut table = Table::new(columns);
        let mut rows: Vec<_> = self.blocks.iter().zip(&self.labels).collect();
        let speedup = |block: &BenchReport| block.last().map_or(1.0, |last| last.speedup);
        rows.sort_by(|(a, _), (b, _)| speedup(a).total_cmp(&speedup(b)));
        for (block, label) in rows {
            let mut row = vec![label.clone(), block.txs.to_string(), grouped(block.gas_used)];
            for time in std::iter::once(&block.sequential).chain(block.parallel.iter().map(|report| &report.time)) {
                row.push(milliseconds(time.median));
                row.push(format!("{:.1} %", (time.p90 - time.p10) / time.median * 100.0));
            }
            let ratio = |ratio: Option<f64>| ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}"));
            row.push(ratio(block.overhead()));
            row.push(ratio(block.last().map(|last| last.limit)));
            row.push(ratio(block.last().map(|last| last.speedup)));
            let bounds = block.last().map(|last| format!("{:.3}..{:.3}", last.paired.low, last.paired.high));
            row.push(bounds.unwrap_or_default());
            row.push(ratio(block.last().map(ThreadsReport::share)));
            row.push(block.last().map_or_else(String::new, |last| format!("{:.1} %", last.cost.wasted() * 100.0)));
            if let Some(ListReport { time, paired, cost }) = &block.by_list {
                row.extend([milliseconds(time.median), format!("{:.3}", paired.median)]);
                row.extend([format!("{:.3}..{:.3}", paired.low, paired.high)]);
                row.push(format!("{:.1}", cost.per_run(cost.aborts)));
            }
            table.push(row);
        }
        table
    }
}

#[derive(Serialize)]
struct SummaryLine<'a> {
    summary: Summary<'a>,
}

struct Summary<'a>(&'a BenchReports);

impl Serialize for Summary<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(reports) = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("blocks", &reports.blocks.len())?;
        map.serialize_entry("mismatched", &reports.mismatched)?;
        map.serialize_entry("unusable", &reports.unusable)?;
        map.serialize_entry("threads", &reports.threads)?;
        map.serialize_entry("runs", &reports.runs)?;
        let least = |place| reports.speedups(place).reduce(f64::min).map(Figure);
        let mean = |place| geometric_mean(reports.speedups(place)).map(Figure);
        let last = reports.threads.len().saturating_sub(1);
        map.serialize_entry("speedup_geomean", &mean(last))?;
        map.serialize_entry("speedup_min", &least(last))?;
        map.serialize_entry("share_geomean", &geometric_mean(reports.shares(last)).map(Figure))?;
        map.serialize_entry("overhead_geomean", &geometric_mean(reports.overheads()).map(Figure))?;
        let lists = || reports.blocks.iter().filter(|block| block.gas_used > 0).filter_map(|block| block.by_list);
        if lists().next().is_some() {
            let mean = geometric_mean(lists().map(|list| list.paired.median));
            map.serialize_entry("list_ratio_geomean", &mean.map(Figure))?;
        }
        for (place, threads) in reports.threads.iter().enumerate() {
            map.serialize_entry(&format!("t{threads}_speedup_geomean"), &mean(place))?;
            map.serialize_entry(&format!("t{threads}_speedup_min"), &least(place))?;
            map.serialize_entry(
                &format!("t{threads}_share_geomean"),
                &geometric_mean(reports.shares(place)).map(Figure),
            )?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(sequential_ms: f64, one_ms: f64, two_ms: f64) -> BenchReport {
        let spread = |median| Spread { median, p10: median * 0.9, p90: median * 1.1 };
        let threads = |threads, ms: f64| {
            let speedup = sequential_ms / ms;
            let paired = PairedRatio { median: speedup, low: speedup * 0.99, high: speedup * 1.01 };
            let cost = SpeculationCost::default();
            ThreadsReport { threads, time: spread(ms), speedup, paired, limit: threads as f64, cost }
        };
        BenchReport {
            number: 5,
            chain: "mainnet".to_owned(),
            path: PathBuf::from("mainnet/5"),
            txs: 3,
            gas_used: 63_000,
            sequential: spread(sequential_ms),
            parallel: vec![threads(1, one_ms), threads(2, two_ms)],
            by_list: None,
        }
    }

    fn reports() -> BenchReports {
        let mut reports = BenchReports::new(vec![1, 2], 11);
        reports.add(report(10.0, 11.0, 5.0), "mainnet 5".to_owned());
        reports.add(report(10.0, 11.0, 12.5), "mainnet 6".to_owned());
        reports
    }

    #[test]
    fn the_json_object_has_a_time_for_each_number_of_threads() {
        let json = serde_json::to_value(report(10.0, 11.0, 5.0)).expect("it is an object");
        let figures = ["seq_ms", "t1_ms", "t2_ms", "overhead", "speedup"].map(|name| json[name].as_f64());
        assert_eq!(figures, [Some(10.0), Some(11.0), Some(5.0), Some(1.1), Some(2.0)]);
        assert_eq!((json["number"].as_u64(), json["txs"].as_u64()), (Some(5), Some(3)));
    }

    #[test]
    fn the_summary_has_means_and_the_worst_block() {
        let json = serde_json::to_value(reports().summary_line()).expect("it is an object");
        let summary = &json["summary"];
        assert_eq!(summary["speedup_min"].as_f64(), Some(0.8));
        assert_eq!(summary["speedup_geomean"].as_f64(), Some(Figure((2.0f64 * 0.8).sqrt()).rounded()));
        assert_eq!(summary["overhead_geomean"].as_f64(), Some(1.1));
        assert_eq!(summary["t1_speedup_min"].as_f64(), Some(0.909091));
    }

    #[test]
    fn overhead_needs_a_run_with_one_thread() {
        let mut without = report(10.0, 11.0, 5.0);
        without.parallel.remove(0);
        assert_eq!(without.overhead(), None);
        assert!(serde_json::to_value(without).expect("an object")["overhead"].is_null());
    }

    #[test]
    fn losing_blocks_are_named() {
        let text = reports().text();
        assert!(text.ends_with("slower than in order, with 95 % confidence: mainnet 6"), "{text}");
    }
}
