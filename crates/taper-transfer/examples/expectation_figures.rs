//! The table of `docs/guide/transfer.md` on how well the accuracy that a search expects holds, and the probabilities of
//! what it keeps: draws of classes and labels, searched with little time, and scored on other images of these classes.
//!
//! ```sh
//! cargo run --release -p taper-transfer --example expectation_figures -- DATA WEIGHTS CACHE 200
//! ```
//!
//! `DATA` holds `trashnet`, `sign-digits`, `grocery` and `omniglot`; `CACHE` is a directory for features.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example prints")]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use taper_data::{Class, Dataset, Hash, Image, open};
use taper_learn::evaluation::{Answers, expected_calibration_error};
use taper_learn::statistics::wilson_interval;
use taper_learn::{Interval, NoopObserver};
use taper_models::catalog::{Pretrained, WeightHints};
use taper_ops::{permutation, rng};
use taper_transfer::{FeatureCache, Problem, ProblemOptions, SearchOptions, search};

/// Seconds of a search: fine-tuning hardly fits.
const BUDGET: f64 = 30.0;
const LABELS: [usize; 4] = [1, 5, 10, 20];
/// Images that are held out at most, evenly from the classes.
const MOST_HELD_OUT: usize = 200;

/// Some images of a data set, the last of which are held out.
struct Drawn {
    whole: Arc<dyn Dataset>,
    images: Vec<usize>,
    labels: Vec<u32>,
    classes: Vec<Class>,
    held_out: Vec<usize>,
}

impl Drawn {
    /// `shots` images of each of `ways` classes that have more, and all others of these classes held out.
    fn new(whole: &Arc<dyn Dataset>, ways: usize, shots: usize, number: u64) -> Self {
        let of_class = |class: usize| -> Vec<usize> {
            (0..whole.labels().len()).filter(|&image| whole.labels()[image] as usize == class).collect()
        };
        let order = permutation(&mut rng(number, "classes", 0), whole.classes().len());
        let classes: Vec<usize> =
            order.into_iter().filter(|&class| of_class(class).len() >= shots + 5).take(ways).collect();
        let (mut drawn, mut others) = (Vec::new(), Vec::new());
        for (label, &class) in (0..).zip(&classes) {
            let own = of_class(class);
            for (place, at) in permutation(&mut rng(number, "images", label.into()), own.len()).into_iter().enumerate()
            {
                if place < shots {
                    drawn.push((own[at], label));
                } else if place < shots + MOST_HELD_OUT / classes.len() {
                    others.push((own[at], label));
                }
            }
        }
        let held_out = (drawn.len()..drawn.len() + others.len()).collect();
        let (images, labels) = drawn.into_iter().chain(others).unzip();
        let classes = classes.into_iter().map(|class| whole.classes()[class].clone()).collect();
        Self { whole: whole.clone(), images, labels, classes, held_out }
    }
}

impl Dataset for Drawn {
    fn name(&self) -> &str {
        self.whole.name()
    }
    fn classes(&self) -> &[Class] {
        &self.classes
    }
    fn labels(&self) -> &[u32] {
        &self.labels
    }
    fn image(&self, index: usize) -> taper_data::Result<Image> {
        self.whole.image(self.images[index])
    }
    fn size(&self, index: usize) -> taper_data::Result<(usize, usize, usize)> {
        self.whole.size(self.images[index])
    }
    fn content_hash(&self, index: usize) -> taper_data::Result<Hash> {
        self.whole.content_hash(self.images[index])
    }
    fn held_out(&self) -> &[usize] {
        &self.held_out
    }
}

/// What draws of one kind have told.
#[derive(Default)]
struct Cell {
    /// Expected accuracies, what was found, and what half an image of the held-out ones counts.
    expected: Vec<(Interval, f64, f64)>,
    found: Vec<f64>,
    answers: Answers,
}

impl Cell {
    /// Draws whose accuracy is inside the interval, to half a held-out image.
    fn covered(&self) -> usize {
        self.expected
            .iter()
            .filter(|(interval, found, half)| interval.low - half <= *found && *found <= interval.high + half)
            .count()
    }

    fn row(&self, name: &str) -> String {
        let percent = |values: &mut dyn Iterator<Item = f64>| 100.0 * mean(values);
        let told = percent(&mut self.expected.iter().map(|(interval, ..)| interval.mean));
        let width = percent(&mut self.expected.iter().map(|(interval, ..)| (interval.high - interval.low) / 2.0));
        let found = percent(&mut self.found.iter().copied());
        let error = 100.0 * expected_calibration_error(&self.answers.reliability(15));
        let draws = self.found.len();
        if self.expected.is_empty() {
            return format!("| {name} | | {found:.1} | {draws} draws | {error:.1} |");
        }
        let covered = self.covered();
        format!("| {name} | {told:.1} ± {width:.1} | {found:.1} | {covered} of {draws} | {error:.1} |")
    }
}

fn mean(values: &mut dyn Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    sum / count
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [data, weights, cache, draws] = &arguments[..] else {
        return Err("usage: expectation_figures DATA WEIGHTS CACHE DRAWS".into());
    };
    let weights = Pretrained::read(Path::new(weights), &WeightHints { architecture: None, classes: None })?;
    let cache = FeatureCache::new(Path::new(cache));
    let sets = ["trashnet", "sign-digits", "grocery", "omniglot"];
    let file =
        |name: &str| if name == "omniglot" { "omniglot/images_background_small1.zip".into() } else { name.to_string() };
    let sets = sets.map(|name| (name, open(&Path::new(data).join(file(name)))));
    let mut cells: BTreeMap<(usize, usize), Cell> = BTreeMap::new();
    for number in 0..draws.parse::<u64>()? {
        let place = (number % sets.len() as u64) as usize;
        let shots = LABELS[(number / sets.len() as u64) as usize % LABELS.len()];
        let whole = sets[place].1.as_ref().map_err(|error| error.to_string())?;
        let ways = permutation(&mut rng(number, "ways", 0), 8)[0] + 3;
        let drawn = Drawn::new(whole, ways, shots, number);
        if drawn.classes.len() < 2 {
            eprintln!("{number}: {}: no classes with so many images", sets[place].0);
            continue;
        }
        let drawn: Arc<dyn Dataset> = Arc::new(drawn);
        let options = ProblemOptions { seed: number, ..ProblemOptions::default() };
        let problem = Problem::new(drawn, Some(&weights), &options, &mut NoopObserver)?.with_cache(Some(cache.clone()));
        let fitted = search(&problem, &SearchOptions { budget: BUDGET, plain: false }, None, &mut NoopObserver)?;
        let cell = cells.entry((place, shots)).or_default();
        let (found, half) = (fitted.report.accuracy.mean, 0.5 / fitted.report.images as f64);
        let expected = fitted.expected.map(|expected| expected.accuracy);
        cell.expected.extend(expected.map(|expected| (expected, found, half)));
        cell.found.push(found);
        let Answers { images, labels, predicted, probabilities, .. } = fitted.report.answers;
        cell.answers.images.extend(images);
        cell.answers.labels.extend(labels);
        cell.answers.predicted.extend(predicted);
        cell.answers.probabilities.extend(probabilities);
        let told = expected.map_or(String::new(), |Interval { mean, low, high }| {
            format!("expected {:.1} ({:.1} to {:.1}), ", mean * 100.0, low * 100.0, high * 100.0)
        });
        let row = cell.row(&fitted.name);
        eprintln!("{number}: {} {ways} ways, {shots} labels: {told}found {:.1}; {row}", sets[place].0, found * 100.0);
    }
    println!("| data, labels per class | expected % | found % | inside the interval | calibration error % |");
    println!("|---|---|---|---|---|");
    for ((place, shots), cell) in &cells {
        println!("{}", cell.row(&format!("{}, {shots}", sets[*place].0)));
    }
    let (covered, all) = cells.values().fold((0, 0), |(c, a), cell| (c + cell.covered(), a + cell.expected.len()));
    let interval = wilson_interval(covered, all);
    let errors = cells.values().map(|cell| 100.0 * expected_calibration_error(&cell.answers.reliability(15)));
    println!("mean calibration error over the cells: {:.1}%", mean(&mut errors.into_iter()));
    println!(
        "inside in all: {covered} of {all}, {:.1}% ({:.1} to {:.1})",
        interval.mean * 100.0,
        interval.low * 100.0,
        interval.high * 100.0
    );
    Ok(())
}
