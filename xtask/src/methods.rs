//! `methods`: the guide's table of every method, on synthetic handwriting and on a data set of
//! alphabets, at one shot and at five. Each column is a separate `taper compare` run.

use crate::args::{Methods, in_workspace};
use crate::program;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};
use taper_learn::runs::write_atomically;

/// Support images per class.
const SHOTS: [&str; 2] = ["1", "5"];

/// One comparison.
struct Column {
    heading: String,
    methods: Vec<Value>,
}

/// Runs the comparisons that are missing, then prints the table as Markdown.
///
/// Fails if a comparison fails; its training so far is kept, and the next call resumes it.
pub(crate) fn run(asked: &Methods) -> Result<()> {
    let taper = program::release("taper")?;
    let mut columns = Vec::new();
    for data in [None, Some(asked.data.as_path())] {
        for shots in SHOTS {
            let name = data.map_or("glyphs".into(), |path| path.file_stem().unwrap_or_default().to_string_lossy());
            let result = compared(&taper, data, shots, &asked.out.join(format!("{name}-{shots}")))?;
            let methods = result["methods"].as_array().cloned().unwrap_or_default();
            columns.push(Column { heading: format!("{name}, {shots} shot{}", plural(shots)), methods });
        }
    }
    print!("{}", table(&columns));
    Ok(())
}

fn plural(shots: &str) -> &'static str {
    if shots == "1" { "" } else { "s" }
}

/// The result of one comparison, which is run or resumed if it has not finished.
fn compared(taper: &Path, data: Option<&Path>, shots: &str, run: &Path) -> Result<Value> {
    let kept = run.with_extension("json");
    if let Ok(line) = fs::read_to_string(&kept) {
        return serde_json::from_str(&line).with_context(|| format!("{}: is not a result: remove it", kept.display()));
    }
    let mut command = Command::new(taper);
    command.arg("compare");
    match run.join("config.toml").exists() {
        true => command.arg("--resume").arg(run),
        false => {
            let recipe = in_workspace("data/configs/methods.toml");
            command.args(data).arg("--config").arg(recipe).args(["--shots", shots]).arg("--out").arg(run)
        }
    };
    let output = command.arg("--json").stderr(Stdio::inherit()).output().context("taper does not start")?;
    if !output.status.success() {
        bail!("{}: the comparison stopped: see above; the same command resumes it", run.display());
    }
    let words = String::from_utf8_lossy(&output.stdout);
    let last = words.lines().last().unwrap_or_default();
    let result = serde_json::from_str(last).with_context(|| format!("no result: {last}"))?;
    write_atomically(&kept, last.as_bytes())?;
    Ok(result)
}

/// One row per method in the first column's order, with transductive methods last.
fn table(columns: &[Column]) -> String {
    let Some(first) = columns.first() else { return String::new() };
    let apart = |together| first.methods.iter().filter(move |method| method["transductive"] == together);
    let headings: Vec<&str> = columns.iter().map(|column| column.heading.as_str()).collect();
    let mut text = format!("| method | kind | {} | training | adapting |\n", headings.join(" | "));
    text += &format!("|---|---|{}\n", "---:|".repeat(columns.len() + 2));
    for method in apart(false).chain(apart(true)) {
        let cells: Vec<String> = columns.iter().map(|column| accuracy(column, &method["name"])).collect();
        text += &format!(
            "| {}{} | {} | {} | {:.0} s | {:.1} ms |\n",
            method["name"].as_str().unwrap_or("?"),
            if method["transductive"] == true { " (transductive)" } else { "" },
            method["kind"].as_str().unwrap_or("?"),
            cells.join(" | "),
            method["train_seconds"].as_f64().unwrap_or(f64::NAN),
            method["adapt_seconds"].as_f64().unwrap_or(f64::NAN) * 1e3,
        );
    }
    text
}

/// In percent, with half the interval.
fn accuracy(column: &Column, name: &Value) -> String {
    let found = column.methods.iter().find(|method| method["name"] == *name).and_then(|method| {
        let (low, high) = (method["ci95"][0].as_f64()?, method["ci95"][1].as_f64()?);
        Some(format!("{:.1} ± {:.1}", method["accuracy"].as_f64()? * 100.0, (high - low) * 50.0))
    });
    found.unwrap_or_else(|| "—".into())
}
