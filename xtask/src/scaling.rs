//! `scaling`: a model of a training step on many processes, as the guide's table.
//!
//! A step is the slowest process's items, a message of every process about its items, the sum of the gradients along the
//! chain of processes in chunks, and its broadcast. An item's time was measured; what connects machines is as its makers
//! describe it.

mod check;

use crate::args::Scaling;
use anyhow::Result;
use rand::Rng as _;

/// A network with what a step costs.
struct Network {
    name: &'static str,
    /// Bytes of a gradient and of running statistics.
    bytes: f64,
    /// Seconds of one item on one thread.
    item: f64,
    /// Options of `taper meta-train` by which an item's time is measured, without the number of items.
    options: &'static str,
    /// The option with the number of items per step.
    items: &'static str,
}

/// What connects the processes.
struct Link {
    name: &'static str,
    /// Seconds until a message arrives.
    latency: f64,
    /// Bytes per second.
    bandwidth: f64,
}

/// Items' times are those of `cargo xtask scaling --check` on an AMD EPYC (Zen 5) with two cores, in a release build.
const NETWORKS: [Network; 3] = [
    Network {
        name: "Conv4-64, a task of 5 ways, 0.4 MB",
        bytes: 0.45e6,
        item: 0.0086,
        options: "--method protonet --steps 60 --backbone conv4-64",
        items: "--meta-batch-size",
    },
    Network {
        name: "ResNet-12, a task of 5 ways, 32 MB",
        bytes: 32e6,
        item: 2.2,
        options: "--method protonet --steps 3 --backbone resnet12",
        items: "--meta-batch-size",
    },
    Network {
        name: "EfficientNet-Lite0, 16 images of 96 px, 20 MB",
        bytes: 20e6,
        item: 0.10,
        options: "--method nearest-mean --steps 12 --batch-size 16 --backbone efficientnet-lite0 --image-size 96",
        items: "--batches-per-step",
    },
];

const LINKS: [Link; 2] = [
    Link { name: "1 Gb/s Ethernet", latency: 50e-6, bandwidth: 0.117e9 },
    Link { name: "100 Gb/s InfiniBand", latency: 2e-6, bandwidth: 11e9 },
];

/// Processes of one machine, as measured by sending messages to and fro between two processes.
const SHARED_MEMORY: Link = Link { name: "shared memory", latency: 1e-7, bandwidth: 2e9 };

/// Processes of the table.
const PROCESSES: [usize; 7] = [1, 2, 4, 16, 64, 256, 1024];
/// Bytes of a chunk of the chain.
const CHUNK: f64 = 262_144.0;
/// Bytes per second that one core adds.
const ADDING: f64 = 2e9;
/// Items per process: the job grows with the processes.
const ITEMS: usize = 4;
/// Standard deviation of the logarithm of an item's time: machines are not always equally fast.
const SPREAD: f64 = 0.1;
/// Steps simulated.
const STEPS: u64 = 200;

/// Seconds of the exchange of one step among `processes`.
fn exchange(bytes: f64, link: &Link, processes: usize) -> f64 {
    if processes == 1 {
        return 0.0;
    }
    let rounds = (processes as f64).log2().ceil();
    let hop = |bytes: f64| link.latency + bytes / link.bandwidth;
    // what every process tells of its items, about 100 bytes each
    let told = rounds * link.latency + 100.0 * (processes * ITEMS) as f64 / link.bandwidth;
    let chunks = (bytes / CHUNK).ceil();
    let chunk = bytes / chunks;
    let stage = hop(chunk) + ITEMS as f64 * chunk / ADDING;
    let chain = (processes as f64 - 1.0 + chunks - 1.0) * stage;
    // a tree whose links carry one chunk after another
    let broadcast = rounds * hop(chunk) + (bytes - chunk) / link.bandwidth;
    told + chain + broadcast
}

/// Seconds of the slowest of `processes`, each with its items, mean over simulated steps.
fn slowest(item: f64, processes: usize) -> f64 {
    let of_step = |step: u64| {
        let mut rng = taper_ops::rng(0, "scaling", step);
        // the sum of twelve uniform numbers less 6 is nearly normal
        let mut normal = || (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
        let mut of_process = || (0..ITEMS).map(|_| item * (SPREAD * normal()).exp()).sum::<f64>();
        (0..processes).map(|_| of_process()).fold(0.0, f64::max)
    };
    (0..STEPS).map(of_step).sum::<f64>() / STEPS as f64
}

/// Prints the table as Markdown: the share of the ideal speed. Or measures what it rests on.
///
/// # Errors
/// Returns an error if a measured run fails.
pub(crate) fn run(asked: &Scaling) -> Result<()> {
    if asked.check {
        return check::run(asked);
    }
    let headings: Vec<String> = PROCESSES.iter().map(ToString::to_string).collect();
    println!("| network | link | {} |", headings.join(" | "));
    println!("|---|---|{}", "---:|".repeat(PROCESSES.len()));
    for network in &NETWORKS {
        for link in &LINKS {
            let alone = slowest(network.item, 1);
            let cells: Vec<String> = PROCESSES
                .iter()
                .map(|&processes| {
                    let step = slowest(network.item, processes) + exchange(network.bytes, link, processes);
                    format!("{:.0} %", 100.0 * alone / step)
                })
                .collect();
            println!("| {} | {} | {} |", network.name, link.name, cells.join(" | "));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_exchanges_nothing_and_each_more_takes_longer() {
        let link = &LINKS[0];
        assert_eq!(exchange(1e6, link, 1), 0.0);
        let times: Vec<f64> = PROCESSES.iter().map(|&processes| exchange(1e6, link, processes)).collect();
        assert!(times.is_sorted(), "{times:?}");
        // a long chain of small gradients is bound by latency and chunks, a short one of large gradients by bandwidth
        let large = exchange(32e6, link, 2);
        assert!(large > 2.0 * 32e6 / link.bandwidth * 0.95 && large < 2.5 * 32e6 / link.bandwidth, "{large}");
    }
}
