//! A generated chain as files, and the command line that imports it.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::OnceLock,
};

use alloy_consensus::{Block, Header, ReceiptEnvelope, TxEnvelope};
use alloy_primitives::B256;
use alloy_rlp::Encodable;
use ropewalk_block::{import::decode_block, oracle};
use ropewalk_replay::{
    fixture::write_rlp_chain,
    generate::{GenerateOptions, GeneratedBlock, Generator, Workload},
};
use ropewalk_store::{Store, StoreOptions};
use serde_json::Value;
use tempfile::TempDir;

/// Blocks of the chain that the tests share.
pub(crate) const BLOCKS: u64 = 12;

/// A generated chain with its files.
pub(crate) struct Made {
    _directory: TempDir,
    pub(crate) genesis: PathBuf,
    pub(crate) file: PathBuf,
    pub(crate) blocks: Vec<Block<TxEnvelope>>,
}

impl Made {
    /// Makes a chain of mixed blocks.
    pub(crate) fn new(blocks: u64, txs: usize, seed: u64) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (out, file) = (directory.path().join("chain"), directory.path().join("chain.rlp"));
        let generator = Self::generator(blocks, txs, seed);
        write_rlp_chain(generator, &out, &file, |_| ControlFlow::Continue(())).expect("writable");
        let genesis = ["genesis.json", "genesis.json.gz"].map(|name| out.join(name));
        let genesis = genesis.into_iter().find(|path| path.exists()).expect("a genesis file");
        let blocks = blocks_of(&fs::read(&file).expect("readable"));
        Self { _directory: directory, genesis, file, blocks }
    }

    fn generator(blocks: u64, txs: usize, seed: u64) -> Generator {
        let options = GenerateOptions { blocks, txs, seed, hot: 0.2, ..GenerateOptions::new(Workload::Mixed) };
        Generator::new(options).expect("valid options")
    }

    /// The chain that the tests share.
    pub(crate) fn shared() -> &'static Self {
        static CHAIN: OnceLock<Made> = OnceLock::new();
        CHAIN.get_or_init(|| Self::new(BLOCKS, 10, 1))
    }

    /// The receipts of the blocks that the tests share, by the oracle.
    pub(crate) fn shared_receipts() -> Vec<Vec<ReceiptEnvelope>> {
        let generator = Self::generator(BLOCKS, 10, 1);
        let chain = generator.chain_spec().clone();
        let receipts = |block: Result<GeneratedBlock, _>| {
            let block = block.expect("a block");
            oracle::execute(&chain, &block.block, &block.prestate()).expect("valid").receipts
        };
        generator.map(receipts).collect()
    }

    /// Hash of the block with this number, from 1.
    pub(crate) fn hash(&self, number: u64) -> B256 {
        self.header(number).hash_slow()
    }

    pub(crate) fn header(&self, number: u64) -> &Header {
        &self.blocks[number as usize - 1].header
    }

    /// The bytes of each block.
    pub(crate) fn encoded(&self) -> Vec<Vec<u8>> {
        self.blocks.iter().map(encoded).collect()
    }

    /// Imports a file of blocks into the database of `home`.
    pub(crate) fn import(&self, home: &Home, file: &Path) -> Ended {
        home.import(&self.genesis, &["--chain".as_ref(), file.as_os_str()])
    }

    /// Imports `blocks`, one after the other, into the database of `home`.
    pub(crate) fn import_bytes(&self, home: &Home, blocks: &[Vec<u8>]) -> Ended {
        let file = home.write("blocks.rlp", &blocks.concat());
        self.import(home, &file)
    }
}

pub(crate) fn encoded(block: &Block<TxEnvelope>) -> Vec<u8> {
    let mut rlp = Vec::new();
    block.encode(&mut rlp);
    rlp
}

/// Reads blocks that follow each other.
fn blocks_of(mut rlp: &[u8]) -> Vec<Block<TxEnvelope>> {
    let mut blocks = Vec::new();
    while !rlp.is_empty() {
        let mut behind = rlp;
        alloy_rlp::Header::decode_bytes(&mut behind, true).expect("a list");
        let block = &rlp[..rlp.len() - behind.len()];
        blocks.push(decode_block(block).expect("a block").block);
        rlp = behind;
    }
    blocks
}

/// A place for a database and files.
pub(crate) struct Home(TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    pub(crate) fn db(&self) -> PathBuf {
        self.0.path().join("db")
    }

    /// Writes a file beside the database.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).expect("writable");
        path
    }

    fn command(&self, genesis: &Path, files: &[&OsStr]) -> Command {
        import_command(genesis, files, &self.db())
    }

    /// Runs an import with lines of JSON to its end, and then the same without the pipeline on a copy of the database as it
    /// was. Both must end in the same way, say the same and leave the same, row by row. Where the pipeline is an option
    /// already, there is one import.
    pub(crate) fn import(&self, genesis: &Path, files: &[&OsStr]) -> Ended {
        if files.contains(&OsStr::new("--pipeline")) {
            return self.import_once(genesis, files);
        }
        let twin = self.0.path().join("twin");
        copy(&self.db(), &twin);
        let ended = self.import_once(genesis, files);
        let mut command = import_command(genesis, files, &twin);
        let mut in_turn = Ended::of(command.args(["--pipeline", "off", "--json"]).output().expect("the binary runs"));
        for text in [&mut in_turn.stdout, &mut in_turn.stderr] {
            *text = text.replace(&twin.display().to_string(), &self.db().display().to_string());
        }
        assert_eq!((ended.code, &ended.stderr), (in_turn.code, &in_turn.stderr), "{files:?}");
        assert_eq!(ended.timeless(), in_turn.timeless(), "{files:?}");
        assert!(rows(&self.db()) == rows(&twin), "the pipeline leaves other rows: {files:?}");
        if twin.exists() {
            fs::remove_dir_all(&twin).expect("it is ours");
        }
        ended
    }

    /// Runs an import with lines of JSON to its end, and nothing besides.
    pub(crate) fn import_once(&self, genesis: &Path, files: &[&OsStr]) -> Ended {
        Ended::of(self.command(genesis, files).arg("--json").output().expect("the binary runs"))
    }

    /// Runs an import that speaks to people.
    pub(crate) fn import_aloud(&self, genesis: &Path, files: &[&OsStr]) -> Ended {
        Ended::of(self.command(genesis, files).output().expect("the binary runs"))
    }

    /// Starts an import whose lines of JSON can be read.
    pub(crate) fn start_telling(&self, genesis: &Path, files: &[&OsStr]) -> Child {
        let mut command = self.command(genesis, files);
        command.arg("--json").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs")
    }

    /// Starts an import, whose output nobody reads.
    pub(crate) fn start(&self, genesis: &Path, files: &[&OsStr]) -> Child {
        let mut command = self.command(genesis, files);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary runs")
    }

    /// Runs `ropewalk db` on the database.
    pub(crate) fn db_command(&self, name: &str) -> Ended {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ropewalk"));
        Ended::of(command.args(["db", name, "--json", "--db"]).arg(self.db()).output().expect("the binary runs"))
    }

    /// Number and hash of the database's head.
    pub(crate) fn head(&self) -> (u64, B256) {
        self.found_head().expect("a head")
    }

    /// The same, where there is a database with a head.
    pub(crate) fn found_head(&self) -> Option<(u64, B256)> {
        let stat = self.db_command("stat");
        if stat.code == Some(2) && stat.stderr.contains("there is no database") {
            return None;
        }
        let head = &stat.last_line()["head"];
        Some((head["number"].as_u64()?, hash_in(head)))
    }

    /// The state in the database must have the root that its head says.
    pub(crate) fn assert_verified(&self) {
        let ended = self.db_command("verify");
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
}

fn import_command(genesis: &Path, files: &[&OsStr], db: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ropewalk"));
    command.arg("import").arg("--genesis").arg(genesis).args(files).arg("--db").arg(db);
    command
}

/// Copies a directory without subdirectories, where there is one.
fn copy(from: &Path, to: &Path) {
    let Ok(entries) = fs::read_dir(from) else { return };
    fs::create_dir(to).expect("writable");
    for entry in entries {
        let path = entry.expect("readable").path();
        fs::copy(&path, to.join(path.file_name().expect("a file"))).expect("writable");
    }
}

/// A row of a database: family, key and value.
pub(crate) type Row = (&'static str, Vec<u8>, Vec<u8>);

/// Everything in a database; `None` where there is none.
pub(crate) fn rows(db: &Path) -> Option<Vec<Row>> {
    let store = db.exists().then(|| Store::open(db, &StoreOptions::default()).ok()).flatten()?;
    let mut rows = Vec::new();
    let take = |family, key: &[u8], value: &[u8]| rows.push((family, key.to_vec(), value.to_vec()));
    store.reader().for_each_row(take).expect("readable");
    Some(rows)
}

/// What a process left.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// What was said, without the times.
    fn timeless(&self) -> Vec<Value> {
        let timeless = |line: &str| {
            let mut line: Value = serde_json::from_str(line).expect("JSON");
            let summary = line.get("summary").is_some();
            let fields = if summary { line["summary"].as_object_mut() } else { line.as_object_mut() };
            let fields = fields.expect("an object");
            for time in ["ms", "seconds", "blocks_per_second"] {
                fields.remove(time);
            }
            line
        };
        self.stdout.lines().map(timeless).collect()
    }

    pub(crate) fn last_line(&self) -> Value {
        let line = self.stdout.lines().last().unwrap_or_else(|| panic!("{self:?}"));
        serde_json::from_str(line).expect("JSON")
    }

    /// Hashes of the blocks that were imported, by number.
    pub(crate) fn hashes(&self) -> HashMap<u64, B256> {
        let lines = self.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        lines.filter_map(|line| Some((line["number"].as_u64()?, hash_in(&line)))).collect()
    }

    /// Blocks that were imported, and those that were there already.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let line = self.last_line();
        let count = |name: &str| line["summary"][name].as_u64().expect("a count");
        (count("blocks"), count("known"))
    }

    /// The run must have ended with this status and these words.
    pub(crate) fn assert_refused(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        let missing: Vec<_> = words.iter().filter(|words| !self.stderr.contains(**words)).collect();
        assert!(missing.is_empty(), "{missing:?} in {}", self.stderr);
    }
}

fn hash_in(line: &Value) -> B256 {
    line["hash"].as_str().and_then(|hash| hash.parse().ok()).expect("a hash")
}
