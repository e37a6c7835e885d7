//! The command line on what happens inside: traces, metrics, slow blocks, the page.

use std::{
    collections::BTreeMap,
    env, fs,
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

fn standard_error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn own(chain: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(chain)
}

fn names(directory: &Path) -> Vec<String> {
    let name =
        |entry: std::io::Result<fs::DirEntry>| entry.expect("readable").file_name().to_string_lossy().into_owned();
    fs::read_dir(directory).expect("readable").map(name).collect()
}

/// A span of a trace, in nanoseconds.
#[derive(Debug, Clone, PartialEq)]
struct Span {
    category: String,
    begin: i64,
    end: i64,
    arguments: Value,
}

/// A trace, read back.
#[derive(Debug)]
struct Trace {
    /// Names of lanes by number.
    names: BTreeMap<u64, String>,
    /// Spans by lane, in the order written.
    lanes: BTreeMap<u64, Vec<Span>>,
    aborts: Vec<Value>,
}

impl Trace {
    /// Replays with these arguments, and reads the trace.
    fn of(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("trace.json");
        let run = ropewalk(&[&["replay", "--trace", text(&file)], arguments].concat());
        assert_eq!(run.status.code(), Some(0), "{}", standard_error(&run));
        assert_eq!(names(directory.path()), ["trace.json"], "nothing else is left");
        let trace: Value = serde_json::from_slice(&fs::read(&file).expect("written")).expect("JSON");
        let events = trace["traceEvents"].as_array().expect("events");
        let mut read = Self { names: BTreeMap::new(), lanes: BTreeMap::new(), aborts: Vec::new() };
        for event in events {
            read.take(event);
        }
        read
    }

    fn take(&mut self, event: &Value) {
        assert_eq!(event["pid"], 1, "{event}");
        let lane = event["tid"].as_u64().expect("a thread");
        let nanoseconds = |name: &str| {
            let microseconds = event[name].as_f64().expect("a time");
            assert!(microseconds >= 0.0, "{event}");
            (microseconds * 1e3).round() as i64
        };
        match event["ph"].as_str().expect("a phase") {
            "M" if event["name"] == "thread_name" => {
                let name = event["args"]["name"].as_str().expect("a name").to_owned();
                assert_eq!(self.names.insert(lane, name), None, "a lane is named once");
            }
            "M" => assert_eq!(event["name"], "process_name"),
            "X" => {
                let category = event["cat"].as_str().expect("a category").to_owned();
                let begin = nanoseconds("ts");
                let (end, arguments) = (begin + nanoseconds("dur"), event["args"].clone());
                self.lanes.entry(lane).or_default().push(Span { category, begin, end, arguments });
            }
            "i" => {
                assert_eq!((&event["s"], event["name"].is_string()), (&"t".into(), true), "{event}");
                nanoseconds("ts");
                self.aborts.push(event["args"].clone());
            }
            phase => panic!("{phase}: {event}"),
        }
    }

    /// Spans of a lane follow each other or lie within each other, and begin in the order written.
    fn assert_lanes_nest(&self) {
        assert!(self.lanes.keys().all(|lane| self.names.contains_key(lane)), "every lane has a name");
        for (lane, spans) in &self.lanes {
            let mut open: Vec<&Span> = Vec::new();
            let mut latest = 0;
            for span in spans {
                assert!(latest <= span.begin && span.begin <= span.end, "lane {lane}: {span:?}");
                latest = span.begin;
                while open.last().is_some_and(|outer| outer.end <= span.begin) {
                    open.pop();
                }
                if let Some(outer) = open.last() {
                    assert!(span.end <= outer.end, "lane {lane}: {span:?} overlaps {outer:?}");
                    let pair = (outer.category.as_str(), span.category.as_str());
                    assert!(["execute", "re-execute"].contains(&pair.1) && pair.0 == "commit", "lane {lane}: {pair:?}");
                }
                open.push(span);
            }
        }
    }

    /// Every transaction of every block is committed once, in order, in the block's own time.
    fn assert_commits_are_in_order(&self) {
        let mut commits: Vec<&Span> = self.lanes.values().flatten().filter(|span| span.category == "commit").collect();
        commits.retain(|span| span.arguments["complete"] == true);
        commits.sort_by_key(|span| span.end);
        let mut commits = commits.into_iter();
        for block in &self.lanes[&0] {
            for index in 0..block.arguments["txs"].as_u64().expect("a count") {
                let commit = commits.next().expect("a commit of each transaction");
                assert_eq!(commit.arguments["index"], index, "{commit:?}");
                assert_eq!(commit.arguments["block"], block.arguments["number"]);
                assert!(commit.arguments["hash"].as_str().is_some_and(|hash| hash.len() == 66), "{commit:?}");
                assert!(block.begin <= commit.begin && commit.end <= block.end, "{commit:?} is not within {block:?}");
            }
        }
        assert_eq!(commits.next(), None);
    }
}

#[test]
fn lanes_of_a_trace_nest_and_every_transaction_commits_once_in_order() {
    let (mixed, exchange) = (own("mixed"), own("exchange"));
    let paths = [text(&mixed), text(&exchange)];
    for threads in ["1", "2", "8"] {
        let trace = Trace::of(&[&paths[..], &["--threads", threads, "--inline-below", "0", "--repeat", "3"]].concat());
        trace.assert_lanes_nest();
        trace.assert_commits_are_in_order();
        assert_eq!(trace.lanes[&0].len(), 6, "one execution of each block");
        assert_eq!(trace.names[&0], "blocks");
        assert_eq!(trace.names.len(), threads.parse::<usize>().expect("a number") + 1);
    }
}

#[test]
fn aborts_in_a_trace_say_where_and_why() {
    let exchange = own("exchange");
    let trace = Trace::of(&[text(&exchange), "--threads", "2", "--schedule", "adversarial:3"]);
    trace.assert_lanes_nest();
    trace.assert_commits_are_in_order();
    let invalid: Vec<_> = trace.aborts.iter().filter(|abort| abort["cause"] == "invalid").collect();
    assert!(invalid.len() > 100, "dependent transactions run at least twice: {}", invalid.len());
    for abort in invalid {
        assert_ne!(abort["fields"].as_array().map_or(0, Vec::len), 0, "{abort}");
        assert!(abort["location"].as_str().is_some_and(|location| location.contains("0x")), "{abort}");
        assert!(abort["hash"].is_string() && abort["incarnation"].is_u64(), "{abort}");
    }
    let again = trace.lanes.values().flatten().filter(|span| span.category == "re-execute");
    assert!(again.clone().count() > 100 && again.clone().all(|span| span.arguments["incarnation"] != 0));
}

#[test]
fn traces_of_real_blocks_hold_too() {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared");
    let shared = env::var_os("ROPEWALK_SHARED").map_or_else(|| PathBuf::from(beside), PathBuf::from);
    let blocks: Vec<_> = ["46147", "2462997", "6196166", "19932703", "13287210"]
        .map(|block| shared.join("fixtures/mainnet").join(block))
        .into_iter()
        .filter(|block| block.is_dir())
        .collect();
    if blocks.is_empty() {
        eprintln!("skipped: real blocks are not here");
        return;
    }
    let paths: Vec<&str> = blocks.iter().map(|block| text(block)).collect();
    let trace = Trace::of(&[&paths[..], &["--threads", "4", "--inline-below", "0"]].concat());
    trace.assert_lanes_nest();
    trace.assert_commits_are_in_order();
    assert_eq!(trace.lanes[&0].len(), blocks.len());
}

#[test]
fn a_file_that_cannot_be_written_is_named_and_nothing_is_left() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let payments = own("payments/1");
    let missing = directory.path().join("missing").join("file");
    for option in ["--trace", "--metrics"] {
        let run = ropewalk(&["replay", text(&payments), option, text(&missing)]);
        assert_eq!(run.status.code(), Some(2), "{option}");
        assert!(standard_error(&run).contains(text(&missing)), "{}", standard_error(&run));
    }
    let run = ropewalk(&["report", text(&payments), "--runs", "1", "--out", text(&missing)]);
    assert_eq!(run.status.code(), Some(2));
    assert!(standard_error(&run).contains(text(&missing)), "{}", standard_error(&run));
    assert_eq!(names(directory.path()), [""; 0]);
}

#[test]
fn metrics_agree_with_the_lines_of_json() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (file, mixed) = (directory.path().join("ropewalk.prom"), own("mixed"));
    let run = ropewalk(&["replay", text(&mixed), "--json", "--threads", "2", "--metrics", text(&file)]);
    assert_eq!(run.status.code(), Some(0), "{}", standard_error(&run));
    let output = String::from_utf8_lossy(&run.stdout).into_owned();
    let lines: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let blocks: Vec<&Value> = lines.iter().filter(|line| line["number"].is_u64()).collect();
    let sum = |name: &str| blocks.iter().map(|block| block[name].as_u64().expect("a count")).sum::<u64>() as f64;

    let exposed = fs::read_to_string(&file).expect("written");
    let sample = |name: &str| {
        let line = exposed.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).expect(name);
        line.parse::<f64>().expect("a number")
    };
    assert_eq!(sample("ropewalk_blocks_total"), blocks.len() as f64);
    assert_eq!(sample("ropewalk_block_seconds_count"), blocks.len() as f64);
    assert_eq!(sample("ropewalk_transactions_total"), sum("txs"));
    assert_eq!(sample("ropewalk_gas_total"), sum("gas_used"));
    assert_eq!(sample("ropewalk_wasted_gas_total"), sum("reexecuted_gas"));
    let causes = ["invalid", "dependency", "failure"];
    let aborts = causes.map(|cause| sample(&format!("ropewalk_aborts_total{{cause=\"{cause}\"}}")));
    assert_eq!(aborts.iter().sum::<f64>(), sum("aborts"));
    assert!(sample("ropewalk_worker_seconds_total{step=\"execute\"}") > 0.0);
}

#[test]
fn slow_blocks_are_logged_with_what_was_slow_and_others_are_not() {
    let exchange = own("exchange");
    let replay = |more: &[&str]| {
        let run = ropewalk(&[&["replay", text(&exchange), "--threads", "2"], more].concat());
        assert_eq!(run.status.code(), Some(0), "{}", standard_error(&run));
        standard_error(&run)
    };
    assert!(!replay(&["--slow-block", "600000"]).contains("slow block"));
    let log = replay(&["--slow-block", "0", "--schedule", "adversarial:1"]);
    let lines: Vec<_> = log.lines().filter(|line| line.contains("slow block")).collect();
    assert_eq!(lines.len(), 3, "{log}");
    for line in lines {
        for figure in ["number=", "hash=0x", "txs=150", "gas_used=", "ms=", "mgas_per_second=", "slowest_hash=0x"] {
            assert!(line.contains(figure), "{figure}: {line}");
        }
        assert!(line.contains("slot:") && line.contains("hottest_location=\"slot 0x"), "{line}");
    }
}

/// A block of a chain with a name, in a directory with a name.
fn renamed(root: &Path, chain: &str, directory: &str) -> PathBuf {
    let (from, to) = (own("exchange"), root.join(directory));
    fs::create_dir_all(&to).expect("writable");
    for name in names(&from.join("1")) {
        fs::copy(from.join("1").join(&name), to.join(&name)).expect("writable");
    }
    let genesis = names(&from).into_iter().find(|name| name.starts_with("genesis.json")).expect("a genesis");
    fs::copy(from.join(&genesis), to.join(&genesis)).expect("writable");
    let manifest = serde_json::json!({ "complete": true, "genesis": genesis, "chain": chain });
    fs::write(to.join("fixture.json"), manifest.to_string()).expect("writable");
    to
}

#[test]
fn nothing_of_a_fixture_becomes_part_of_the_pages_markup() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let chain = "</title></style><script>alert('chain')</script>\"><img src=x onerror=alert(1)>";
    let fixture = renamed(directory.path(), chain, "<script>alert('path')<b onclick=\"x\">");
    let page = directory.path().join("page.html");
    let run = ropewalk(&["report", text(&fixture), "--threads", "2", "--runs", "1", "--out", text(&page)]);
    assert_eq!(run.status.code(), Some(0), "{}", standard_error(&run));
    let html = fs::read_to_string(&page).expect("written");
    assert!(html.contains("&lt;script&gt;alert('chain')&lt;/script&gt;&quot;&gt;&lt;img src=x"), "the name is shown");
    assert!(html.contains("&lt;script&gt;alert('path')&lt;b onclick=&quot;x&quot;&gt;"), "the path is shown");
    assert_eq!((html.matches("<script").count(), html.matches("</script").count()), (1, 1));
    assert_eq!([html.matches("<img").count(), html.matches("<b ").count()], [0, 0]);
}

#[test]
fn the_page_holds_all_it_needs_and_details_of_the_blocks_furthest_from_their_limit() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (page, mixed, exchange) = (directory.path().join("page.html"), own("mixed"), own("exchange"));
    let paths = [text(&mixed), text(&exchange)];
    let options = ["--threads", "2", "--runs", "1", "--details", "2", "--out", text(&page)];
    let run = ropewalk(&[&["report"], &paths[..], &options[..]].concat());
    assert_eq!(run.status.code(), Some(0), "{}", standard_error(&run));
    let html = fs::read_to_string(&page).expect("written");
    for outside in ["http://", "https://", "url(", "@import", "src="] {
        assert!(!html.contains(outside), "{outside}");
    }
    assert!(html.contains("default-src 'none'"), "nothing may be loaded");
    assert_eq!(html.matches("class=\"row\"").count(), 6, "a bar for each block");
    assert_eq!(html.matches("class=\"timeline\"").count(), 2);
    assert!(html.contains("class=\"arc critical\"") && html.contains("slot 0x2 of 0x"));
}

#[test]
fn an_unusable_fixture_is_said_and_the_page_is_written_of_the_others() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broken = renamed(directory.path(), "broken", "broken");
    fs::write(broken.join("block.json"), "{").expect("writable");
    names(&broken).iter().filter(|name| *name == "block.json.gz").for_each(|name| {
        fs::remove_file(broken.join(name)).expect("writable");
    });
    let (page, payments) = (directory.path().join("page.html"), own("payments/1"));
    let run = ropewalk(&["report", text(&broken), text(&payments), "--runs", "1", "--out", text(&page)]);
    assert_eq!(run.status.code(), Some(2), "{}", standard_error(&run));
    assert!(standard_error(&run).contains("broken"), "{}", standard_error(&run));
    assert!(fs::read_to_string(&page).expect("written").contains("left out"));
}
