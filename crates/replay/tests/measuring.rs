//! The command line on speed: what `bench` and `simulate` say, whatever the figures are.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

fn ropewalk(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ropewalk")).args(arguments).output().expect("the binary runs")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

fn own(chain: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(chain)
}

/// Standard output of a command that succeeds, as lines of JSON.
#[track_caller]
fn lines(arguments: &[&str]) -> Vec<Value> {
    let run = ropewalk(arguments);
    assert_eq!(run.status.code(), Some(0), "{}", String::from_utf8_lossy(&run.stderr));
    let text = String::from_utf8(run.stdout).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

fn number(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap_or_else(|| panic!("{name} is a number in {value}"))
}

#[test]
fn a_simulation_foresees_each_number_of_workers_and_what_was_measured() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (plot, exchange) = (directory.path().join("plot.svg"), own("exchange"));
    let simulate = ["simulate", text(&exchange), "--workers", "1,2,16", "--runs", "1", "--json", "--plot", text(&plot)];
    let lines = lines(&simulate);
    let (summary, blocks) = lines.split_last().expect("a summary");
    assert_eq!(blocks.len(), 3);
    for block in blocks {
        assert!(["seq_ms", "t2_ms", "t2_foreseen_ms", "agreement"].iter().all(|name| number(block, name) > 0.0));
        let forecasts = block["forecasts"].as_array().expect("a list");
        let workers: Vec<f64> = forecasts.iter().map(|forecast| number(forecast, "workers")).collect();
        assert_eq!(workers, [1.0, 2.0, 16.0]);
        for forecast in forecasts {
            let (speedup, limit, share) =
                (number(forecast, "speedup"), number(forecast, "limit"), number(forecast, "share"));
            assert!((share - speedup / limit).abs() < 1e-4, "{forecast}");
            assert!(number(forecast, "textbook") > 0.0 && limit <= number(forecast, "workers"));
        }
        // Trades of one pool depend on each other: 16 workers cannot be 16 times as fast.
        assert!(number(&forecasts[2], "limit") < 8.0 && number(&forecasts[2], "speedup") < 10.0);
    }
    assert_eq!(summary["summary"]["geomeans"].as_array().map(Vec::len), Some(3));
    assert!(number(&summary["summary"], "error_median") >= 0.0);
    let svg = fs::read_to_string(plot).expect("a plot");
    assert!(svg.starts_with("<svg") && svg.matches("<polyline").count() == 3, "{svg}");
}

#[test]
fn a_simulation_refuses_what_it_cannot_do() {
    let payments = own("payments/1");
    for workers in ["0", "257", "2,,4", "many"] {
        let run = ropewalk(&["simulate", text(&payments), "--workers", workers]);
        assert_eq!(run.status.code(), Some(2), "--workers {workers}");
    }
    let run = ropewalk(&["simulate", "/nowhere", "--workers", "2"]);
    assert_eq!(run.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&run.stderr).contains("/nowhere"));
}

#[test]
fn blocks_run_by_their_own_lists_without_one_abort() {
    let mixed = own("mixed");
    let lines = lines(&["bench", text(&mixed), "--threads", "2", "--runs", "1", "--access-list", "--json"]);
    let (summary, blocks) = lines.split_last().expect("a summary");
    assert_eq!(blocks.len(), 3);
    for block in blocks {
        assert_eq!(number(block, "list_aborts"), 0.0, "{block}");
        assert!(number(block, "list_ms") > 0.0 && number(block, "list_ratio") > 0.0);
    }
    assert!(number(&summary["summary"], "list_ratio_geomean") > 0.0);
}

#[test]
fn every_shortcut_can_be_left_out_and_outcomes_stay_the_oracles() {
    let mixed = own("mixed/1");
    let all = "lanes,large-first,learned-times,learned-conflicts,learned-slots,waits-in-reads,commits-at-once,foretold-payments,\
               direct-payments,remembered-hashes,inline-instructions";
    for without in all.split(',').chain([all, "all"]) {
        // Every side is compared with the oracle before it is measured.
        let bench = ["bench", text(&mixed), "--threads", "1,2", "--runs", "1", "--without", without, "--json"];
        assert_eq!(lines(&bench).len(), 2, "--without {without}");
    }
    let run = ropewalk(&["bench", text(&mixed), "--without", "everything"]);
    assert_eq!(run.status.code(), Some(2));
}
