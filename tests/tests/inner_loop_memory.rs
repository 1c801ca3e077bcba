//! Peak resident memory of exact MAML does not grow with the number of inner steps: Conv4-64,
//! 5-way 5-shot, in a separate process for each number.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test may fail, and reports")]

use std::process::Command;
use taper_data::{Batch, Episode};
use taper_learn::{Context, Draw, TaskNorm, TypedMethod};
use taper_meta::Maml;
use taper_models::{Architecture, Head, Network};
use taper_tests::formula;

/// The program's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Tells the child process how many inner steps to take.
const STEPS: &str = "TAPER_TEST_INNER_STEPS";

fn task() -> Episode {
    let batch = |name: &str| {
        let labels: Vec<u32> = (0..25).map(|image| image / 5).collect();
        Batch::new(formula::uniform(name, &[25, 1, 28, 28]).unwrap(), &labels, 5).unwrap()
    };
    Episode {
        support: batch("support"),
        query: batch("query"),
        query_images: (0..25).collect(),
        classes: (0..5).collect(),
        source: "formula".into(),
    }
}

/// One meta-gradient; then the process's peak, in kilobytes.
fn peak(inner_steps: usize) -> u64 {
    let backbone = "conv4-64".parse::<Architecture>().unwrap().backbone((1, 28, 28)).unwrap();
    let network = Maml::network(&Network::new(backbone, Head::Identity), 5);
    let context = Context::new(network, TaskNorm::Support);
    let maml = Maml { inner_steps, inner_lr: 0.01, ..Maml::default() };
    let state = maml.start(&context, None, 0).unwrap();
    let at = Draw { seed: 0, step: 0, number: 0 };
    maml.objective(&context).unwrap().gradient(&state, &task(), at).unwrap();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn of_a_child(steps: &str) -> u64 {
    let test = std::env::current_exe().unwrap();
    let name = "fifty_inner_steps_need_hardly_more_memory_than_one";
    let arguments = [name, "--exact", "--nocapture", "--test-threads=1"];
    let settings = [
        (STEPS, steps),
        // freed pages are returned at once: the peak is then the memory in use, not what the allocator keeps
        ("MIMALLOC_PURGE_DELAY", "0"),
        // a task has one thread, as in training; what several threads keep does not depend on steps
        ("RAYON_NUM_THREADS", "1"),
    ];
    let output = Command::new(test).args(arguments).envs(settings).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find_map(|line| line.split("peak ").nth(1)).expect("the child reports");
    line.trim().parse().unwrap()
}

#[test]
fn fifty_inner_steps_need_hardly_more_memory_than_one() {
    if let Ok(steps) = std::env::var(STEPS) {
        println!("peak {}", peak(steps.parse().unwrap()));
        return;
    }
    if !std::path::Path::new("/proc/self/status").exists() {
        println!("skipped, no /proc");
        return;
    }
    let (one, fifty) = (of_a_child("1"), of_a_child("50"));
    println!("one step {one} kB, fifty {fifty} kB");
    assert!(fifty as f64 <= 1.2 * one as f64, "one step {one} kB, fifty {fifty} kB");
}
