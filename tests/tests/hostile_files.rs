//! Damaged and malicious files of every kind: no reader panics, each refusal is one line, and memory
//! and time stay within their bounds.

use hostile_files::{Kind, MEMORY, seeds};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// What this test's child process sees in its environment.
const CHILD: &str = "TAPER_HOSTILE_FILES_CHILD";
const INPUTS: u64 = 20_000;
/// The most seconds of all inputs together: they take 3 on an idle machine.
const SECONDS: u64 = 300;
/// What the child process holds before it reads anything, and keeps between files.
const OWN: u64 = 128 << 20;

#[test]
fn damaged_files_of_every_kind_stay_within_their_memory_and_time() {
    if std::env::var_os(CHILD).is_some() {
        return child();
    }
    let test = std::thread::current().name().unwrap().to_string();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &test, "--nocapture"])
        .env(CHILD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (id, start) = (child.id(), Instant::now());
    let (said_done, done) = channel();
    let output = BufReader::new(child.stdout.take().unwrap());
    let reader = std::thread::spawn(move || {
        let mut told = String::new();
        for line in output.lines().map_while(Result::ok) {
            if line == "done" {
                let _ = said_done.send(());
            }
            told += &(line + "\n");
        }
        told
    });
    // The limits are the parent's too: a child that runs out of memory, or hangs, can't tell.
    while done.recv_timeout(Duration::from_millis(20)) == Err(RecvTimeoutError::Timeout) {
        let (held, seconds) = (peak(id), start.elapsed().as_secs());
        if held > MEMORY + OWN || seconds > SECONDS {
            child.kill().unwrap();
            panic!(
                "{} MiB of memory after {seconds} s: more than {} MiB or {SECONDS} s",
                held >> 20,
                (MEMORY + OWN) >> 20
            );
        }
    }
    let held = peak(id);
    // The child waits for this line: until then its memory can be read.
    let _ = child.stdin.take().unwrap().write_all(b"end\n");
    let (ended, told) = (child.wait().unwrap(), reader.join().unwrap());
    assert!(ended.success(), "{told}");
    assert!(held <= MEMORY + OWN, "{} MiB", held >> 20);
    if held == 0 {
        eprintln!("skipped: the system does not say how much memory a process holds");
    }
}

fn child() {
    let report = hostile_files::run(0..INPUTS, 0).unwrap();
    println!("done");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let faults: Vec<String> =
        report.faults.iter().map(|fault| format!("input {}, {}: {}", fault.input, fault.kind, fault.what)).collect();
    assert!(faults.is_empty(), "{faults:#?}");
    for (kind, outcomes) in &report.kinds {
        assert!(outcomes.read > 0 && outcomes.refused > 0, "{kind}: {outcomes:?}");
    }
}

/// The most memory that a process has held, in bytes; 0 where the system does not say.
fn peak(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) << 10
}

#[test]
fn files_of_every_kind_are_damaged() {
    let seeds = seeds();
    let kinds: BTreeSet<Kind> = seeds.iter().map(|seed| seed.kind).collect();
    assert_eq!(kinds, Kind::ALL.into_iter().collect());
    let magics: [&[u8]; 9] = [b"\x89PNG", b"GIF8", b"\xff\xd8\xff", b"II*\0", b"RIFF", b"BM", b"P6", b"P4", b"qoif"];
    for magic in magics {
        assert!(seeds.iter().any(|seed| seed.ordinary && seed.content.starts_with(magic)), "{magic:?}");
    }
}
