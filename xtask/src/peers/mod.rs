//! Taper compared with PyTorch and ONNX Runtime: the same work, on the same machine, alternately.

mod material;
mod torch;
mod work;

use crate::args::{Peers, PeersWork};
use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;
pub(crate) use work::Work;

/// The result of one run of one program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    rate: f64,
    /// The process's peak memory.
    megabytes: Option<f64>,
}

impl Outcome {
    /// The better rate and the larger memory.
    fn best(self, other: Self) -> Self {
        let megabytes = match (self.megabytes, other.megabytes) {
            (Some(one), Some(other)) => Some(one.max(other)),
            (one, other) => one.or(other),
        };
        Self { rate: self.rate.max(other.rate), megabytes }
    }
}

/// Both programs' results for one work.
struct Row {
    work: Work,
    taper: Outcome,
    torch: Outcome,
    /// The fastest variant of the other side.
    way: &'static str,
}

/// Runs both programs alternately, several rounds of each, and prints the table.
pub(crate) fn run(asked: &Peers) -> Result<()> {
    let program = crate::program::release("xtask")?;
    let works = if asked.only.is_empty() { clap::ValueEnum::value_variants().to_vec() } else { asked.only.clone() };
    if works.contains(&Work::ColdStart) {
        crate::program::release("taper")?;
    }
    let rows = works.into_iter().map(|work| compare(asked, &program, work)).collect::<Result<Vec<_>>>()?;
    println!(
        "{:<28}{:>22}{:>18}  {:<26}{:>6}{:>20}",
        "work", "Taper", "others", "the fastest of them", "ratio", "peak memory, MB"
    );
    for Row { work, taper, torch, way } in &rows {
        let unit = work.unit();
        let megabytes = |outcome: &Outcome| outcome.megabytes.map_or("?".into(), |megabytes| format!("{megabytes:.0}"));
        println!(
            "{:<28}{:>11.2} {unit:>10}{:>18.2}  {way:<26}{:>6.2}{:>20}",
            work.name(),
            taper.rate,
            torch.rate,
            taper.rate / torch.rate,
            format!("{} / {}", megabytes(taper), megabytes(torch)),
        );
    }
    if asked.json {
        println!("{}", json(&rows));
    }
    Ok(())
}

fn json(rows: &[Row]) -> Value {
    let round = |value: f64| (value * 1e3).round() / 1e3;
    let ratios: Map<String, Value> =
        rows.iter().map(|row| (row.work.name(), json!(round(row.taper.rate / row.torch.rate)))).collect();
    let memory: Map<String, Value> = rows
        .iter()
        .map(|row| (row.work.name(), json!({ "taper_mb": row.taper.megabytes, "pytorch_mb": row.torch.megabytes })))
        .collect();
    json!({ "ratios": ratios, "memory": memory })
}

fn compare(asked: &Peers, program: &Path, work: Work) -> Result<Row> {
    let variants = torch::variants(work);
    let folder = work.reads_files().then(tempfile::tempdir).transpose()?;
    let folder = folder.as_ref().map(TempDir::path);
    if let Some(folder) = folder {
        material::write(work, folder)?;
    }
    let mut ours: Option<Outcome> = None;
    let mut theirs: Vec<Option<Outcome>> = vec![None; variants.len()];
    let better = |best: Option<Outcome>, new: Outcome| Some(best.map_or(new, |best| best.best(new)));
    for _ in 0..asked.rounds {
        ours = better(ours, child(asked, program, work, folder)?);
        for (variant, best) in variants.iter().zip(&mut theirs) {
            *best = better(*best, variant.run(asked, folder)?);
        }
    }
    let fastest = variants.iter().zip(theirs).filter_map(|(variant, best)| Some((variant.name, best?)));
    let fastest = fastest.max_by(|one, other| one.1.rate.total_cmp(&other.1.rate));
    match (ours, fastest) {
        (Some(taper), Some((way, torch))) => Ok(Row { work, taper, torch, way }),
        _ => bail!("no rounds, no comparison: use --rounds 1 at least"),
    }
}

/// Taper's part, in a separate process so that its memory can be measured.
fn child(asked: &Peers, program: &Path, work: Work, folder: Option<&Path>) -> Result<Outcome> {
    let output = Command::new(program)
        .args(["peers-work", &work.name(), "--seconds", &asked.seconds.to_string()])
        .args(["--threads", &asked.threads.to_string()])
        .args(folder.iter().flat_map(|folder| [Path::new("--folder"), folder]))
        .output()
        .with_context(|| format!("{} does not start", program.display()))?;
    let words = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("{} failed: {}", work.name(), String::from_utf8_lossy(&output.stderr).trim());
    }
    let found: Value = serde_json::from_str(words.trim()).with_context(|| format!("no JSON: {words}"))?;
    match found["rate"].as_f64() {
        Some(rate) => Ok(Outcome { rate, megabytes: found["peak_rss_mb"].as_f64() }),
        None => bail!("no rate: {words}"),
    }
}

/// Taper's part of one work: one line of JSON.
pub(crate) fn run_work(asked: &PeersWork) -> Result<()> {
    let rate = taper_ops::in_pool(asked.threads, || asked.work.rate(asked.seconds, asked.folder.as_deref()))??;
    // a cold start's memory is that of other processes
    let memory = if asked.work == Work::ColdStart { None } else { peak_memory() };
    println!("{}", json!({ "rate": rate, "peak_rss_mb": memory }));
    Ok(())
}

/// This process's peak memory in MB, on systems that report it (Linux).
fn peak_memory() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: f64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some((kilobytes / 1024.0).round())
}
