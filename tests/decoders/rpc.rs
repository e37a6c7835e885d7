//! Answers of a node that is not one's friend.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    sync::mpsc,
    thread,
};

use ropewalk_block::CancelToken;
use ropewalk_replay::fetch::{FetchError, FetchOptions, fetch};
use serde_json::{Value, json};

use crate::{
    damage::{arbitrary, damaged, misshapen},
    rounds,
};

/// What a node answers to a request, as the body of an HTTP response.
type Answer = Box<dyn FnMut(&Value) -> Vec<u8> + Send>;

/// A server on a free port that answers every request with what it is given; it ends with the process.
fn server() -> (u16, mpsc::Sender<Answer>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let (sender, answers) = mpsc::channel::<Answer>();
    thread::spawn(move || {
        let mut answer: Answer = Box::new(|_| Vec::new());
        for stream in listener.incoming() {
            while let Ok(next) = answers.try_recv() {
                answer = next;
            }
            if let Ok(stream) = stream {
                // Whoever asked may have gone; that is no concern of the server's.
                let _ = serve(stream, &mut answer);
            }
        }
    });
    (port, sender)
}

fn serve(stream: TcpStream, answer: &mut Answer) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(given) = line.strip_prefix("content-length:") {
            length = given.trim().parse().unwrap_or_default();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = answer(&serde_json::from_slice(&body).unwrap_or_default());
    let mut stream = reader.into_inner();
    write!(stream, "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len())?;
    stream.write_all(&body)
}

/// What an honest node would answer about the first block of a generated chain.
fn honest(request: &Value, block: &Value, prestate: &Value) -> Value {
    let result = match request["method"].as_str().unwrap_or_default() {
        "eth_chainId" => json!("0x539"),
        "eth_getBlockByNumber" => block.clone(),
        "debug_traceBlockByNumber" => json!([{ "result": prestate }]),
        "eth_getBlockReceipts" => {
            let error = json!({ "code": -32601, "message": "method not found" });
            return json!({ "jsonrpc": "2.0", "id": request["id"], "error": error });
        }
        "eth_getCode" => json!("0x"),
        "eth_getProof" => json!({ "storageHash": format!("0x{}", "00".repeat(32)) }),
        "eth_getStorageAt" => json!(format!("0x{}", "00".repeat(32))),
        _ => json!("0x0"),
    };
    json!({ "jsonrpc": "2.0", "id": request["id"], "result": result })
}

#[test]
fn no_answer_of_a_node_makes_fetch_panic_or_leave_a_fixture() {
    let folder = ropewalk_tests::workspace().join("fixtures/erc20");
    let read = |name: &str| -> Value {
        serde_json::from_slice(&fs::read(folder.join(name)).expect("a fixture of the repository")).expect("JSON")
    };
    let (block, prestate, genesis) = (read("1/block.json"), read("1/prestate.json"), read("genesis.json"));
    let chain_id = genesis["config"]["chainId"].as_u64().expect("a chain id");
    let (port, answers) = server();
    let out = tempfile::tempdir().expect("a temporary directory");
    let options = |name: &str| FetchOptions {
        rpc: format!("http://127.0.0.1:{port}"),
        blocks: 1..=1,
        out: out.path().join(name),
        witness: false,
        genesis: Some(folder.join("genesis.json")),
    };
    let run = |options: &FetchOptions, answer: Answer| {
        answers.send(answer).expect("the server listens");
        fetch(options, &CancelToken::new(), |_, _, _| ())
    };
    let with_chain = move |request: &Value, block: &Value, prestate: &Value| {
        let mut answer = honest(request, block, prestate);
        if request["method"] == "eth_chainId" {
            answer["result"] = json!(format!("{chain_id:#x}"));
        }
        answer
    };

    // The honest node first: otherwise nothing below would show anything.
    let (honest_block, honest_prestate) = (block.clone(), prestate.clone());
    let answer =
        Box::new(move |request: &Value| with_chain(request, &honest_block, &honest_prestate).to_string().into_bytes());
    run(&options("honest"), answer).unwrap_or_else(|error| panic!("{error:?}"));

    rounds(150, |random| {
        use rand::{Rng, SeedableRng};
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(random.random());
        let (block, prestate) = (block.clone(), prestate.clone());
        let answer = Box::new(move |request: &Value| {
            let answer = with_chain(request, &block, &prestate);
            match random.random_range(0..12) {
                0 => arbitrary(&mut random),
                1 | 2 => damaged(answer.to_string().as_bytes(), &mut random),
                3..=5 => misshapen(&answer, &mut random).to_string().into_bytes(),
                _ => answer.to_string().into_bytes(),
            }
        });
        let options = options("hostile");
        let done = run(&options, answer);
        let place: PathBuf = options.out.join("1");
        assert_eq!(place.exists(), done.is_ok(), "{done:?}");
        if place.exists() {
            fs::remove_dir_all(place).expect("a directory of ours");
        }
    });
}

#[test]
fn an_address_that_is_none_is_refused() {
    let out = tempfile::tempdir().expect("a temporary directory");
    for rpc in ["", "nonsense", "file:///etc/hosts", "ftp://localhost", "http://"] {
        let options = FetchOptions {
            rpc: rpc.to_owned(),
            blocks: 1..=1,
            out: out.path().join("out"),
            witness: false,
            genesis: None,
        };
        let error = fetch(&options, &CancelToken::new(), |_, _, _| ()).expect_err(rpc);
        assert!(matches!(error, FetchError::Address { .. }), "{rpc}: {error:?}");
    }
}
