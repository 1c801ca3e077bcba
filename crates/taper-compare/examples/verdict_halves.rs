//! How often a verdict holds on other classes: methods are trained once, then the test classes are divided into
//! halves again and again; the winner claimed on one half is compared with the loser on the other.
//!
//! ```sh
//! cargo run --release -p taper-compare --example verdict_halves -- glyphs RUN
//! cargo run --release -p taper-compare --example verdict_halves -- omniglot/images_background_small1.zip RUN
//! ```

#![allow(clippy::print_stdout, reason = "an example prints")]
#![allow(unsafe_code, reason = "switches of the process are set before its first thread")]

use std::path::Path;
use std::sync::Arc;
use taper_compare::{Comparison, ComparisonData, Report};
use taper_data::{Dataset, Glyphs, Scope, Split, open, split_classes};
use taper_learn::runs::Existing;
use taper_learn::{Event, Flow, Observer, RunDirectory};
use taper_ops::{permutation, rng};

/// Divisions of the test classes.
const DIVISIONS: u64 = 40;

struct Silent;

impl Observer for Silent {
    fn on(&mut self, _: Event<'_>) -> taper_learn::Result<Flow> {
        Ok(Flow::Continue)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // SAFETY: the first statement of main, before any thread exists.
    unsafe { taper_ops::configure_process() };
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [data, folder] = arguments.as_slice() else {
        return Err("give a data set (or glyphs) and a run folder".into());
    };
    let dataset: Arc<dyn Dataset> =
        if data == "glyphs" { Arc::new(Glyphs::standard()?) } else { open(Path::new(data))? };
    let comparison = Comparison {
        methods: ["pixels", "nearest-mean", "linear-probe", "protonet", "maml"].map(String::from).to_vec(),
        scope: Some(Scope::All),
        episodes: 100,
        ..Comparison::default()
    };
    let run = match RunDirectory::open(Path::new(folder)) {
        Ok(run) => run,
        Err(_) => RunDirectory::create(Path::new(folder), "verdict halves", Existing::Refuse)?,
    };
    let whole = split_classes(dataset.as_ref(), comparison.seed);
    let score = |test: Vec<u32>| -> Result<Report, Box<dyn std::error::Error>> {
        let data = ComparisonData {
            dataset: dataset.clone(),
            split: Some(Split { test, ..whole.clone() }),
            meta_data: dataset.clone(),
        };
        Ok(comparison.run(&data, None, Some(&run), &mut Silent)?)
    };
    let (mut claimed, mut behind) = (0, 0);
    for division in 0..DIVISIONS {
        let order = permutation(&mut rng(comparison.seed, "halves", division), whole.test.len());
        let half = |places: &[usize]| {
            let mut classes: Vec<u32> = places.iter().map(|&place| whole.test[place]).collect();
            classes.sort_unstable();
            classes
        };
        let (first, second) = order.split_at(order.len() / 2);
        let (claim, check) = (score(half(first))?, score(half(second))?);
        let Some(winner) = &claim.verdict.winner else {
            println!("{division:2}: {}", claim.verdict.words);
            continue;
        };
        claimed += 1;
        let kind = |name: &str| claim.methods.iter().find(|method| method.name == name).map(|method| method.kind);
        let other = claim.verdict.claims.first().map(|claim| claim.second.clone()).unwrap_or_default();
        let accuracy =
            |name: &str| check.methods.iter().find(|method| method.name == name).map_or(0.0, |m| m.accuracy.mean);
        let difference = accuracy(winner) - accuracy(&other);
        behind += u64::from(difference < 0.0);
        println!(
            "{division:2}: {winner} ({:?}) over {other}; on the other half {:+.1} points",
            kind(winner),
            difference * 100.0
        );
    }
    println!("{claimed} of {DIVISIONS} divisions name a winner; it is behind on the other half in {behind}");
    Ok(())
}
