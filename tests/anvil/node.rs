//! anvil, installed from npm when it is first asked for, and one process of it.

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use alloy_primitives::{Address, B256};
use serde_json::{Value, json};

/// The release that blocks are taken from.
const PACKAGE: &str = "@foundry-rs/anvil@1.7.1";

/// A node on a free port of this machine.
#[derive(Debug)]
pub(crate) struct Anvil {
    process: Child,
    port: u16,
}

impl Anvil {
    /// Starts a node that mines when it is told to, under the rules of `hardfork`.
    ///
    /// # Errors
    /// Says what this machine lacks.
    pub(crate) fn start(hardfork: &str) -> Result<Self, String> {
        let mut command = Command::new(installed()?);
        // Port 0: the system gives one that is free, and anvil says which.
        command.args(["--host", "127.0.0.1", "--port", "0", "--no-mining", "--order", "fifo", "--accounts", "20"]);
        command.args(["--hardfork", hardfork, "--disable-default-create2-deployer"]);
        let mut process = command.stdout(Stdio::piped()).spawn().map_err(|error| format!("anvil: {error}"))?;
        let output = process.stdout.take().ok_or("anvil has no output")?;
        let mut lines = BufReader::new(output).lines();
        let port = lines.by_ref().find_map(|line| {
            let line = line.ok()?;
            line.strip_prefix("Listening on 127.0.0.1:")?.trim().parse().ok()
        });
        // What it says later must go somewhere, or it would wait for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        match port {
            Some(port) => Ok(Self { process, port }),
            None => {
                let _ = process.kill();
                Err("anvil does not start".to_owned())
            }
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Calls a method that must succeed.
    #[track_caller]
    pub(crate) fn call(&self, method: &str, parameters: &Value) -> Value {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": parameters }).to_string();
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("anvil listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
        let head = "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\n";
        write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len()).expect("anvil reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("anvil answers");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let mut answer: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"));
        assert_eq!(answer.get("error"), None, "{method} {parameters}");
        answer["result"].take()
    }

    pub(crate) fn accounts(&self) -> Vec<Address> {
        serde_json::from_value(self.call("eth_accounts", &json!([]))).expect("addresses")
    }

    /// Puts a transaction into the pool; anvil signs it.
    pub(crate) fn send(&self, mut transaction: Value, gas: u64) {
        transaction["gas"] = json!(format!("{gas:#x}"));
        let hash: B256 =
            serde_json::from_value(self.call("eth_sendTransaction", &json!([transaction]))).expect("a hash");
        assert_ne!(hash, B256::ZERO);
    }

    /// Makes a block of what is in the pool.
    pub(crate) fn mine(&self) {
        self.call("evm_mine", &json!([]));
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        // A process that is gone already is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The program, installed into the user's cache.
fn installed() -> Result<PathBuf, String> {
    let cache = env::var_os("HOME").map_or_else(env::temp_dir, |home| PathBuf::from(home).join(".cache"));
    let folder = cache.join("ropewalk").join(PACKAGE.replace(['/', '@'], "-"));
    let done = folder.join("installed");
    if !done.is_file() {
        std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let mut command = Command::new("npm");
        command.args(["install", "--silent", "--no-fund", "--no-audit", PACKAGE, "--prefix"]).arg(&folder);
        let output = command.output().map_err(|error| format!("npm: {error}"))?;
        if !output.status.success() {
            return Err(format!("npm cannot install it: {}", String::from_utf8_lossy(&output.stderr).trim()));
        }
        std::fs::write(&done, PACKAGE).map_err(|error| format!("{}: {error}", done.display()))?;
    }
    let scope = folder.join("node_modules/@foundry-rs");
    let of_platform = std::fs::read_dir(&scope).map_err(|error| format!("{}: {error}", scope.display()))?;
    let programs = of_platform.filter_map(|entry| Some(entry.ok()?.path().join("bin/anvil")));
    programs.into_iter().find(|program| program.is_file()).ok_or_else(|| "npm has none for this system".to_owned())
}
