//! Full disks, few file handles, directories that cannot be written, and a store that is open elsewhere.
//!
//! The work is done in another process, because limits are a process's. Where one needs a file system of its own, it gets
//! one in a mount namespace that is gone with it.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use ropewalk_crash_tests::{
    chain::Chain,
    judge::Judge,
    work::{Nobody, Work},
};
use ropewalk_store::{Durability, Store, StoreError};

use crate::setting::{child, number, say, scratch, seed};

/// Size of the file system for a full disk: a few times what the store takes.
const FILE_SYSTEM: &str = "size=24m";

/// Ways to a mount namespace: as its root, or as a user who may be one there.
const NAMESPACES: [&[&str]; 2] = [&["--mount"], &["--user", "--map-root-user", "--mount"]];

/// A command that runs `script` with `arguments` in a namespace where it may mount, if there is a way to one.
fn in_namespace(script: &str, directory: &Path, arguments: &[&str]) -> Option<Command> {
    let unshare = |flags: &[&str], script: &str| {
        let mut command = Command::new("unshare");
        command.args(flags).args(["sh", "-e", "-c", script]).arg(directory).args(arguments).stdin(Stdio::null());
        command
    };
    let works = |flags: &&&[&str]| {
        let mut probe = unshare(flags, "mount -t tmpfs -o size=1m tmpfs \"$0\"");
        probe.output().is_ok_and(|output| output.status.success())
    };
    NAMESPACES.iter().find(works).map(|flags| unshare(flags, script))
}

/// Longest that a child is waited for: a store that waits for what never comes is a failure too.
const PATIENCE: Duration = Duration::from_secs(600);

/// Runs the child to its end, which must be a good one, and returns what it said.
fn run(mut command: Command) -> String {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.expect("the command starts");
    let (id, (ended, end)) = (child.id(), mpsc::channel());
    let waiter = thread::spawn(move || {
        let output = child.wait_with_output().expect("the child can be waited for");
        let _ = ended.send(());
        output
    });
    let came_back = end.recv_timeout(PATIENCE).is_ok();
    if !came_back {
        let _ = Command::new("kill").args(["-9", &id.to_string()]).status();
    }
    let output = waiter.join().expect("waiting does not panic");
    let problem = String::from_utf8_lossy(&output.stderr);
    assert!(came_back, "the child did not come back within {PATIENCE:?}: {problem}");
    assert!(output.status.success(), "{:?}: {problem}", output.status);
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// How many seeds are tried.
fn seeds() -> std::ops::Range<u64> {
    seed()..seed() + number("ROPEWALK_LIMITED").unwrap_or(2)
}

#[test]
fn full_disk_is_named_costs_nothing_and_is_forgotten_once_there_is_space() {
    for seed in seeds() {
        let directory = scratch();
        let script = format!("mount -t tmpfs -o {FILE_SYSTEM} tmpfs \"$0\"; exec \"$@\"");
        let (store, child) = (directory.path().join("store"), child());
        let arguments = [&child.to_string_lossy(), "limited", &store.to_string_lossy(), &seed.to_string(), "space"];
        match in_namespace(&script, directory.path(), &arguments) {
            Some(command) => say(&format!("full disk, seed {seed}: {}", run(command))),
            None => return say("SKIPPED: a full disk: nothing may be mounted here; short files take its place"),
        }
    }
}

#[test]
fn file_that_may_not_grow_is_named_costs_nothing_and_is_forgotten_once_it_may() {
    for seed in seeds() {
        let directory = scratch();
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]).arg(child()).arg("limited");
        command.arg(directory.path().join("store")).args([&seed.to_string(), "file-size"]);
        say(&format!("short files, seed {seed}: {}", run(command)));
    }
}

#[test]
fn exhausted_handles_are_named_cost_nothing_and_are_forgotten_once_there_are_some() {
    for seed in seeds() {
        let directory = scratch();
        let mut command = Command::new(child());
        command.arg("limited").arg(directory.path().join("store")).args([&seed.to_string(), "handles"]);
        say(&format!("few handles, seed {seed}: {}", run(command)));
    }
}

/// A closed store at the end of its chain.
fn filled(directory: &Path) -> Judge {
    let chain = Chain::to_damage(seed());
    let judge = Judge::of(chain, scratch().path()).unwrap_or_else(|wrong| panic!("undisturbed: {wrong}"));
    let mut work = Work::open(directory, judge.chain(), 0, Arc::new(Nobody)).expect("the store opens");
    work.finish().expect("the chain happens");
    judge
}

/// The store must hold what it held in the end.
fn assert_whole(judge: &Judge, directory: &Path) {
    let last = judge.chain().points.len() - 1;
    judge.judge(directory, last..=last).unwrap_or_else(|wrong| panic!("{wrong}"));
}

#[test]
fn read_only_file_system_is_named_and_nothing_is_changed() {
    let directory = scratch();
    let judge = filled(directory.path());
    let script = "mount --bind \"$0\" \"$0\"; mount -o remount,bind,ro \"$0\"; exec \"$@\"";
    let (child, path) = (child(), directory.path().to_string_lossy().into_owned());
    let Some(mut command) = in_namespace(script, directory.path(), &[&child.to_string_lossy(), "hold", &path]) else {
        return say("SKIPPED: a read-only file system: nothing may be mounted here");
    };
    let output = command.output().expect("the command starts");
    let problem = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && problem.contains("Directory {"), "{problem}");
    assert!(problem.contains("ReadOnlyFilesystem"), "{problem}");
    assert_whole(&judge, directory.path());
}

#[test]
fn directory_of_another_user_is_named_and_nothing_is_changed() {
    let directory = scratch();
    let judge = filled(directory.path());
    let readable = |mode| fs::set_permissions(directory.path(), fs::Permissions::from_mode(mode));
    readable(0o555).expect("its permissions are ours");
    let mut command = match fs::write(directory.path().join("LOG.probe"), "") {
        // A superuser may write anywhere, and so becomes somebody else.
        Ok(()) => {
            fs::remove_file(directory.path().join("LOG.probe")).expect("it was just made");
            let mut command = Command::new("setpriv");
            command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(child());
            command
        }
        Err(_) => Command::new(child()),
    };
    let output = command.arg("hold").arg(directory.path()).stdin(Stdio::null()).output();
    let problem = output.map(|output| String::from_utf8_lossy(&output.stderr).into_owned()).unwrap_or_default();
    readable(0o755).expect("its permissions are ours");
    if !problem.starts_with("crash-child:") {
        return say(&format!("SKIPPED: a directory of another user: nobody else may run here: {}", problem.trim_end()));
    }
    assert!(problem.contains("Directory {") && problem.contains("PermissionDenied"), "{problem}");
    assert_whole(&judge, directory.path());
}

#[test]
fn store_of_a_living_process_is_locked_and_undisturbed() {
    let directory = scratch();
    let judge = filled(directory.path());
    let mut command = Command::new(child());
    command.arg("hold").arg(directory.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut holder = command.spawn().expect("the child starts");
    let mut line = String::new();
    let output = holder.stdout.as_mut().expect("its output is caught");
    BufReader::new(output).read_line(&mut line).expect("the child speaks");
    assert!(line.starts_with("open"), "{line}");
    for _ in 0..3 {
        let error = Store::open(directory.path(), &judge.chain().options).expect_err("it is open elsewhere");
        assert!(matches!(&error, StoreError::Locked { path } if path == directory.path()), "{error:?}");
    }
    holder.kill().expect("the child is killed");
    holder.wait().expect("the child ends");
    assert_whole(&judge, directory.path());
    assert_eq!(judge.chain().options.durability, Durability::EveryBlock);
}
