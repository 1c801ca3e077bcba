//! The verdict on comparisons whose truth is known: does a 95% interval cover it in 95% of them, and how
//! often does the wrong method win?
//!
//! The quick part runs with the other tests. The whole table of `docs/guide/verdict.md`:
//! `cargo test --release -p taper-compare --test verdict_simulation -- --ignored --nocapture`

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)] // tests may unwrap and print

mod model;

use model::{Effects, World};
use taper_compare::{Scored, Start, Verdict};
use taper_learn::statistics::ScoredTask;
use taper_learn::{Evaluation, evaluation::Cost, methods::Kind};
use taper_ops::rng;

/// What became of many simulated comparisons.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    comparisons: usize,
    covered: usize,
    /// A method won that is not truly better.
    wrong: usize,
    /// The better one won.
    right: usize,
    /// Sum of the intervals' margins.
    margins: f64,
}

impl Tally {
    fn plus(self, other: Self) -> Self {
        Self {
            comparisons: self.comparisons + other.comparisons,
            covered: self.covered + other.covered,
            wrong: self.wrong + other.wrong,
            right: self.right + other.right,
            margins: self.margins + other.margins,
        }
    }

    fn percent(self, count: usize) -> f64 {
        100.0 * count as f64 / self.comparisons as f64
    }
}

/// Which classes the verdict is about.
#[derive(Debug, Clone, Copy, PartialEq)]
enum About {
    /// 200 tasks of 5 of the classes.
    NewClasses,
    /// 100 tasks of all classes.
    TheseClasses,
}

fn world(about: About, classes: usize, runs: usize, advantage: f64, effects: Effects) -> World {
    let world = World { classes, ways: 5, images: 20, shots: 5, queries: 5, tasks: 200, runs, advantage, effects };
    match about {
        About::NewClasses if classes < 10 => World { images: 10, ..world },
        About::NewClasses => world,
        About::TheseClasses => World { ways: classes, tasks: 100, ..world },
    }
}

/// The verdict on `comparisons` draws of a world, against the truth.
fn simulate(about: About, world: &World, comparisons: u64) -> Tally {
    let curve = match about {
        About::NewClasses => world.accuracies(1, 60_000),
        About::TheseClasses => Vec::new(),
    };
    let mut tally = Tally::default();
    for comparison in 0..comparisons {
        let rng = &mut rng(7, &format!("{about:?} {world:?}"), comparison);
        let drawn = world.draw(rng);
        let [a, b] = drawn.answers(rng).map(|runs| runs.into_iter().map(evaluation).collect::<Vec<_>>());
        let truth = match about {
            About::NewClasses => drawn.truth_of_new_classes(&curve),
            About::TheseClasses => drawn.truth_of_these_classes(comparison, 4800 / world.classes as u64),
        };
        let method =
            |name, kind, test| Scored { name, kind, start: &Start::Nothing, validation: &[], test, train_seconds: 1.0 };
        let verdict = Verdict::new(&[method("a", Kind::Meta, &a), method("b", Kind::Transfer, &b)]).unwrap();
        let difference = verdict.difference.unwrap();
        // of the method that is ahead, less the other
        let truth = if verdict.claims[0].first == "a" { truth } else { -truth };
        tally.comparisons += 1;
        tally.covered += usize::from(difference.contains(truth));
        tally.margins += difference.margin();
        tally.right += usize::from(verdict.winner.is_some() && truth > 0.0);
        tally.wrong += usize::from(verdict.winner.is_some() && truth <= 0.0);
    }
    tally
}

fn evaluation(tasks: Vec<ScoredTask>) -> Evaluation {
    Evaluation {
        accuracies: tasks.iter().map(ScoredTask::accuracy).collect(),
        sources: vec!["simulated".into(); tasks.len()],
        tasks,
        cost: Cost::default(),
        ..Evaluation::default()
    }
}

#[test]
fn intervals_cover_the_truth_and_the_wrong_method_seldom_wins() {
    let mut all = Tally::default();
    for (about, classes, runs, comparisons) in [
        (About::NewClasses, 6, 1, 60),
        (About::NewClasses, 6, 5, 20),
        (About::NewClasses, 20, 1, 40),
        (About::TheseClasses, 6, 1, 40),
    ] {
        let world = World { tasks: 60, ..world(about, classes, runs, 0.0, Effects::MIDDLE) };
        let tally = simulate(about, &world, comparisons);
        // five in a hundred miss; four times as many are less likely than one in a million
        assert!(tally.percent(tally.covered) >= 80.0, "{about:?} {classes} classes, {runs} runs: {tally:?}");
        all = all.plus(tally);
    }
    assert!(all.percent(all.covered) >= 90.0 && all.percent(all.wrong) <= 8.0, "{all:?}");
    // an interval of everything would cover too
    assert!(all.margins / (all.comparisons as f64) < 0.2, "{all:?}");
}

#[test]
fn a_large_advantage_is_found() {
    let world = World { tasks: 60, ..world(About::NewClasses, 20, 1, 1.0, Effects::MIDDLE) };
    let tally = simulate(About::NewClasses, &world, 20);
    assert!(tally.right >= 18 && tally.wrong == 0, "{tally:?}");
}

#[test]
#[ignore = "takes an hour: the table of docs/guide/verdict.md"]
fn the_whole_table() {
    let comparisons = std::env::var("COMPARISONS").ok().and_then(|text| text.parse().ok()).unwrap_or(200);
    let only = std::env::var("ROWS").ok();
    println!("| about | classes | runs | comparisons | interval covers | wrong winner | right winner | mean margin |");
    println!("|---|---:|---:|---:|---:|---:|---:|---:|");
    for (about, classes) in [
        (About::NewClasses, 6),
        (About::NewClasses, 20),
        (About::NewClasses, 100),
        (About::TheseClasses, 6),
        (About::TheseClasses, 20),
    ] {
        for runs in [1, 5] {
            let name = format!("{about:?} {classes} {runs}");
            if only.as_ref().is_some_and(|only| !name.starts_with(only.as_str())) {
                continue;
            }
            let mut all = Tally::default();
            for effects in [Effects::SMALL, Effects::MIDDLE, Effects::LARGE] {
                for advantage in [0.0, 0.3] {
                    let tally = simulate(about, &world(about, classes, runs, advantage, effects), comparisons);
                    let percent = tally.percent(tally.covered);
                    eprintln!("{name}, advantage {advantage}, {effects:?}: covers {percent:.1}%, {tally:?}");
                    all = all.plus(tally);
                }
            }
            let about = if about == About::NewClasses { "new classes" } else { "these classes" };
            println!(
                "| {about} | {classes} | {runs} | {} | {:.1}% | {} ({:.1}%) | {} ({:.1}%) | {:.1} points |",
                all.comparisons,
                all.percent(all.covered),
                all.wrong,
                all.percent(all.wrong),
                all.right,
                all.percent(all.right),
                100.0 * all.margins / all.comparisons as f64
            );
        }
    }
}
