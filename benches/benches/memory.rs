//! How much memory a gigagas block takes at its peak: in order, and in parallel.
//!
//! Each way has a process of its own, which prepares the same block and executes it once. What the peak is above what the
//! process held before is what execution takes beyond what preparing has left free.

#![expect(clippy::print_stdout, reason = "a bench tells its figures on standard output")]

use std::{env, error::Error, fs, num::NonZeroUsize, process::Command, sync::Arc};

use ropewalk_block::{BlockExecutor, Engine, ExecutorOptions, InvalidTransactions, oracle::Oracle};
use ropewalk_replay::{
    fixture::{Chains, Fixture, discover, write_chain},
    generate::{GenerateOptions, Generator, Link, Workload},
    ground::Ground,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Transactions of a block of about a gigagas.
const BLOCKS: [(Workload, usize); 3] =
    [(Workload::Payments, 47_000), (Workload::Erc20, 24_000), (Workload::Exchange, 14_000)];

const MIB: f64 = 1024.0;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match &arguments[..] {
        [way, path] => execute(way, path),
        _ => compare(),
    }
}

/// Runs each way in a process of its own.
fn compare() -> Result<(), Box<dyn Error>> {
    println!("peak MiB of the process while it executes one block, and how far that is above what it held before\n");
    println!("block            before    in order           parallel           ratio");
    for (workload, txs) in BLOCKS {
        let options = GenerateOptions { workload, seed: 0, blocks: 1, txs, hot: 0.0, depth: 1, link: Link::Value };
        let directory = tempfile::tempdir()?;
        write_chain(Generator::new(options)?, &directory.path().join("block"), |_| {})?;
        let run = |way: &str| -> Result<(f64, f64), Box<dyn Error>> {
            let mut command = Command::new(env::current_exe()?);
            let output = command.arg(way).arg(directory.path()).output()?;
            let text = String::from_utf8(output.stdout)?;
            let mut figures = text.split_whitespace().map(str::parse::<f64>);
            match (figures.next(), figures.next()) {
                (Some(before), Some(peak)) => Ok((before? / MIB, peak? / MIB)),
                _ => Err(String::from_utf8_lossy(&output.stderr).into()),
            }
        };
        let ((before, in_order), (_, parallel)) = (run("in-order")?, run("parallel")?);
        let above = |peak: f64| format!("{peak:7.0} (+{:.0})", peak - before);
        let ratio = parallel / in_order;
        println!(
            "{:<15} {before:7.0}  {:<18} {:<18} {ratio:.2}",
            format!("{workload:?}"),
            above(in_order),
            above(parallel)
        );
    }
    Ok(())
}

/// Executes a block once and says what the process held before and at its peak, in KiB.
fn execute(way: &str, path: &str) -> Result<(), Box<dyn Error>> {
    let (directories, _) = discover(&[path.into()]);
    let mut fixture = Fixture::read(directories.first().ok_or("no block")?, &mut Chains::default())?;
    let (ground, _) = Ground::prepare(&mut fixture)?;
    let reader = ground.reader();
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let options = ExecutorOptions::default();
    let executor = BlockExecutor::new(Arc::clone(&fixture.chain.spec), Engine::new(threads)?, options);
    let oracle = Oracle::prepare(&fixture.chain.spec, &fixture.block, &reader, InvalidTransactions::Reject)?;
    // Linux forgets the peak so far (proc_pid_clear_refs(5)).
    fs::write("/proc/self/clear_refs", "5")?;
    let before = held("VmRSS:")?;
    match way {
        "in-order" => drop(oracle.start().execute()?),
        _ => drop(executor.execute(&fixture.block, reader.clone())?),
    }
    println!("{before} {}", held("VmHWM:")?);
    Ok(())
}

/// What the operating system says of the process, in KiB.
fn held(name: &str) -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with(name)).ok_or("there is no such figure")?;
    Ok(line.split_whitespace().nth(1).ok_or("the figure is missing")?.parse()?)
}
