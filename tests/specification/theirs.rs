//! The executable specification: a Python package, installed when it is first asked for, and one process that runs it.

use std::{
    collections::BTreeMap,
    env,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use alloy_primitives::{Address, B256, Bloom, Bytes, U64, U256};
use serde::{Deserialize, Serialize};

use crate::case::Case;

/// The release that results are compared with.
const PACKAGE: &str = "ethereum-execution==2.20.0";
/// The oldest Python that the package runs on.
const PYTHON: (u32, u32) = (3, 11);

/// What the specification says about a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Answer {
    pub(crate) state_root: B256,
    pub(crate) receipts_root: B256,
    pub(crate) logs_bloom: Bloom,
    pub(crate) gas_used: U64,
    pub(crate) rejected: Vec<Rejected>,
    pub(crate) receipts: Vec<SpecifiedReceipt>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) requests_hash: Option<B256>,
    /// Why the block as a whole is invalid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) block_exception: Option<String>,
    /// The state after the block, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) alloc: Option<BTreeMap<Address, SpecifiedAccount>>,
}

/// A transaction that could not be part of the block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rejected {
    pub(crate) index: usize,
    pub(crate) error: String,
}

/// A receipt; before Byzantium it holds the state root after its transaction, from then on whether that succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SpecifiedReceipt {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) succeeded: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) post_state: Option<B256>,
    #[serde(rename = "cumulativeGasUsed")]
    pub(crate) cumulative_gas_used: U64,
    pub(crate) bloom: Bloom,
    pub(crate) logs: Vec<SpecifiedLog>,
}

/// A log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SpecifiedLog {
    pub(crate) address: Address,
    pub(crate) topics: Vec<B256>,
    pub(crate) data: Bytes,
}

/// An account after the block.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SpecifiedAccount {
    pub(crate) nonce: U64,
    pub(crate) balance: U256,
    pub(crate) code: Bytes,
    pub(crate) storage: BTreeMap<B256, U256>,
}

/// A line of the driver.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Line {
    Crash { crash: String },
    Answer(Box<Answer>),
}

/// A process that runs the specification.
#[derive(Debug)]
pub(crate) struct Specification {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Specification {
    /// Starts the process; the package is installed first where it is not there yet.
    ///
    /// # Errors
    /// Says what this machine lacks.
    pub(crate) fn start() -> Result<Self, String> {
        let python = installed()?;
        let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("specification/driver.py");
        let mut command = Command::new(python);
        command.arg(driver).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut process = command.spawn().map_err(|error| format!("Python does not start: {error}"))?;
        let (input, output) = (process.stdin.take(), process.stdout.take());
        let (Some(input), Some(output)) = (input, output) else { unreachable!("both were asked for") };
        Ok(Self { process, input, output: BufReader::new(output) })
    }

    /// What the specification says about a block.
    ///
    /// # Errors
    /// The specification's own failure: it has no answer.
    pub(crate) fn answer(&mut self, case: &Case, wants_alloc: bool) -> Result<Answer, String> {
        let mut line = case.for_specification(wants_alloc).to_string();
        line.push('\n');
        self.input.write_all(line.as_bytes()).and_then(|()| self.input.flush()).expect("the driver reads");
        let mut answer = String::new();
        self.output.read_line(&mut answer).expect("the driver answers");
        match serde_json::from_str(&answer) {
            Ok(Line::Answer(answer)) => Ok(*answer),
            Ok(Line::Crash { crash }) => Err(crash),
            Err(error) => panic!("the driver answers something else: {error}: {answer}"),
        }
    }
}

impl Drop for Specification {
    fn drop(&mut self) {
        // The driver ends with its input; a process that is gone already is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The Python that has the package.
fn installed() -> Result<PathBuf, String> {
    let cache = env::var_os("HOME").map_or_else(env::temp_dir, |home| PathBuf::from(home).join(".cache"));
    let folder = cache.join("ropewalk").join(PACKAGE.replace("==", "-"));
    let (python, done) = (folder.join("bin/python"), folder.join("installed"));
    if done.is_file() && python.exists() {
        return Ok(python);
    }
    let system = system_python()?;
    run(Command::new(system).args(["-m", "venv", "--clear"]).arg(&folder))?;
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", PACKAGE];
    run(Command::new(&python).args(install))?;
    std::fs::write(&done, PACKAGE).map_err(|error| format!("{}: {error}", done.display()))?;
    Ok(python)
}

fn system_python() -> Result<&'static str, String> {
    let (major, minor) = PYTHON;
    let check = format!("import sys, venv, ensurepip; sys.exit(sys.version_info < ({major}, {minor}))");
    let is_fit = |name: &&str| {
        let mut command = Command::new(name);
        command.args(["-c", &check]).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    ["python3", "python3.14", "python3.13", "python3.12", "python3.11", "python"]
        .into_iter()
        .find(is_fit)
        .ok_or_else(|| format!("there is no Python {major}.{minor} or later with venv and pip"))
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}
