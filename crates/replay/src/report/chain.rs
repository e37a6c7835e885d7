//! The report of a chain from execution to the disk.

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{
    figure::{Figure, grouped, milliseconds},
    table::{Side, Table},
};
use crate::bench::{PairedRatio, Spread};

/// What was measured of a chain.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ChainReport {
    /// Number of blocks.
    pub blocks: usize,
    /// Number of transactions.
    pub txs: usize,
    /// Gas that they used.
    pub gas_used: u64,
    /// Threads of the engine.
    pub threads: usize,
    /// Rounds.
    pub runs: usize,
    /// The ways to execute and commit it, in order first.
    pub ways: Vec<WayReport>,
}

/// One way. Times are of the whole chain, in milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WayReport {
    /// What it is called.
    pub name: &'static str,
    /// From the first block to the last one being durable.
    pub total: Spread,
    /// In order over this, by rounds.
    pub speedup: PairedRatio,
    /// Execution.
    pub execute: f64,
    /// State roots.
    pub root: f64,
    /// Batches and the wait for the disk.
    pub write: f64,
}

impl Serialize for WayReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("way", self.name)?;
        map.serialize_entry("ms", &Figure(self.total.median))?;
        map.serialize_entry("p10", &Figure(self.total.p10))?;
        map.serialize_entry("p90", &Figure(self.total.p90))?;
        map.serialize_entry("speedup", &Figure(self.speedup.median))?;
        map.serialize_entry("speedup_low", &Figure(self.speedup.low))?;
        map.serialize_entry("speedup_high", &Figure(self.speedup.high))?;
        map.serialize_entry("execute_ms", &Figure(self.execute))?;
        map.serialize_entry("root_ms", &Figure(self.root))?;
        map.serialize_entry("write_ms", &Figure(self.write))?;
        map.end()
    }
}

impl ChainReport {
    /// The report for people.
    pub(crate) fn text(&self) -> String {
        let columns = ["way", "ms", "spread", "speedup", "95 %", "execute", "root", "write", "Mgas/s"];
        let mut table = Table::new(columns.map(|name| (name, if name == "way" { Side::Left } else { Side::Right })));
        for way in &self.ways {
            let share = |part: f64| format!("{} ({:.0} %)", milliseconds(part), 100.0 * part / way.total.median);
            let spread = (way.total.p90 - way.total.p10) / way.total.median;
            table.push([
                way.name.to_owned(),
                milliseconds(way.total.median),
                format!("{:.0} %", 100.0 * spread),
                format!("{:.2}x", way.speedup.median),
                format!("{:.2} - {:.2}", way.speedup.low, way.speedup.high),
                share(way.execute),
                share(way.root),
                share(way.write),
                format!("{:.1}", self.gas_used as f64 / 1e3 / way.total.median),
            ]);
        }
        let Self { blocks, txs, threads, runs, .. } = self;
        let head = format!(
            "{blocks} blocks, {} transactions, {} gas; {threads} threads, {runs} rounds; medians of the whole chain, \
             parts as shares of the total",
            grouped(*txs as u64),
            grouped(self.gas_used),
        );
        format!("{head}\n{table}")
    }
}
