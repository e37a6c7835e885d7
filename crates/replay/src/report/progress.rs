//! A progress bar with blocks, speed and time left. It stays away when standard error is not a terminal.

use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Progress over a known number of blocks.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    started: Instant,
    gas: u64,
}

impl Progress {
    /// A bar for so many blocks.
    pub(crate) fn new(blocks: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(blocks), ProgressDrawTarget::stderr_with_hz(10));
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} blocks  {msg}  {eta} left  {prefix}");
        // A template that does not parse would lose the bar's looks and nothing else.
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, started: Instant::now(), gas: 0 }
    }

    /// A bar for so many bytes, whose message says how far that is.
    pub(crate) fn of_bytes(bytes: u64) -> Self {
        let progress = Self::new(bytes);
        let style = ProgressStyle::with_template("{bar:30} {percent:>3} %  {msg}  {eta} left");
        progress.bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        progress
    }

    /// Goes to a position, in the unit of the bar, with a message.
    pub(crate) fn reach(&self, position: u64, message: String) {
        self.bar.set_message(message);
        self.bar.set_position(position);
    }

    /// Names the block that is worked on.
    pub(crate) fn begin(&self, block: String) {
        self.bar.set_prefix(block);
    }

    /// Counts a block that used so much gas, executed `times`.
    pub(crate) fn advance(&mut self, gas: u64, times: u64) {
        self.gas = self.gas.saturating_add(gas.saturating_mul(times));
        let seconds = self.started.elapsed().as_secs_f64();
        self.bar.set_message(format!("{:.1} Mgas/s", self.gas as f64 / 1e6 / seconds.max(1e-9)));
        self.bar.inc(1);
    }

    /// Writes a line to standard error above the bar. A closed standard error is nothing to fail for.
    pub(crate) fn say(&self, line: &str) {
        self.bar.suspend(|| {
            let _ = writeln!(io::stderr(), "{line}");
        });
    }

    /// Runs something that writes to standard output while the bar is out of the way.
    pub(crate) fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bar.suspend(write)
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
