//! The report of a trained classifier.

use super::classifier::Answered;
use super::{interval, not_read, share};
use crate::table::{counted, duration, in_words};
use anyhow::Result;
use taper_data::one_line;
use taper_report::{Accuracies, AccuracyRow, Fact, Figure, Report, Section, Table};
use taper_transfer::{ClassReport, Fitted, Problem, TriedCandidate, ValidationReport};

/// What was trained, and how it does.
///
/// # Errors
/// Returns an error if an image can't be read.
pub(crate) fn train(fitted: &Fitted, problem: &Problem) -> Result<Report> {
    let dataset = problem.dataset().as_ref();
    let name = one_line(dataset.name());
    let (scored, part) = match &fitted.test {
        Some(test) => (test, "test"),
        None => (&fitted.report, "validation"),
    };
    let mut sections: Vec<Section> = candidates(fitted).into_iter().collect();
    let (images, how) = (format!("{part} images"), format!("by {}", fitted.name));
    let classes = problem.class_names();
    sections.extend(
        Answered { answers: &scored.answers, classes: &classes, dataset, images: &images, how: &how }.sections()?,
    );
    sections.push(by_class(&fitted.report, "validation"));
    sections.extend(fitted.test.iter().map(|test| by_class(test, "test")));
    let weights = problem.weights().map(|weights| format!("{}: the pretrained weights.", one_line(weights)));
    let images = counted(problem.training().images.len(), "image");
    let training = format!("{name}: {images} of {}.", counted(classes.len(), "class"));
    // a search computes features and tries candidates before
    let time =
        if fitted.candidates.is_empty() { "Time of training" } else { "Time of the last fit, without the search" };
    let skipped = fitted.candidates.iter().filter_map(|tried| Some(Fact::new(&*tried.name, tried.skipped.clone()?)));
    let also = fitted.test.is_some().then(|| Fact::new("Accuracy on validation images", share(fitted.report.accuracy)));
    let expected = fitted.expected.iter().flat_map(|expected| {
        let now =
            Some(Fact::new("Expected on new images, from the training images alone", in_words(expected.accuracy)));
        let twice = expected.with_twice_the_labels;
        now.into_iter().chain(twice.map(|twice| Fact::new("Expected with twice as many labels", in_words(twice))))
    });
    let facts = [
        Fact::new(format!("Accuracy on {part} images"), share(scored.accuracy)),
        Fact::new("Macro-F1", share(scored.macro_f1)),
        Fact::new("Method", &*fitted.name),
        Fact::new("Images learned from", problem.training().images.len().to_string()),
        Fact::new(time, duration(fitted.train_seconds)),
    ];
    Ok(Report {
        title: format!("A classifier of {} classes of {name}", classes.len()),
        context: vec!["Training".into(), name.to_string(), format!("seed {}", problem.seed())],
        verdict: verdict(fitted, scored, part),
        facts: facts.into_iter().chain(also).chain(expected).collect(),
        sections,
        learned_from: [training].into_iter().chain(weights).collect(),
        left_out: skipped.chain(not_read(dataset)).collect(),
        ..Report::default()
    })
}

fn verdict(fitted: &Fitted, scored: &ValidationReport, part: &str) -> String {
    let percent = |share: f64| format!("{:.1}", share * 100.0);
    let taper_learn::Interval { mean, low, high } = scored.accuracy;
    format!(
        "{} classifies {}% of {} {part} images correctly (95% CI {} to {}).{}",
        fitted.name,
        percent(mean),
        scored.images,
        percent(low),
        percent(high),
        hardest(&scored.classes)
    )
}

/// The class with the lowest recall as a sentence, or the classes that tie.
fn hardest(classes: &[ClassReport]) -> String {
    /// Of classes that tie, so many are named.
    const NAMED: usize = 3;
    let scored: Vec<&ClassReport> = classes.iter().filter(|class| class.images > 0).collect();
    let lowest = scored.iter().map(|class| class.recall).fold(f64::INFINITY, f64::min);
    let tied: Vec<&ClassReport> = scored.iter().copied().filter(|class| class.recall <= lowest).collect();
    let percent = format!("{:.1}%", lowest * 100.0);
    let names: Vec<_> = tied.iter().take(NAMED).map(|class| one_line(&class.name)).collect();
    match tied.as_slice() {
        [] => String::new(),
        [class] => format!(" The hardest class is {}: {percent} of its {}.", names[0], counted(class.images, "image")),
        _ if tied.len() == scored.len() => format!(" All classes tie at {percent}."),
        _ => {
            let others = if tied.len() > NAMED { ", …" } else { "" };
            format!(" {} classes tie as the hardest, at {percent}: {}{others}.", tied.len(), names.join(", "))
        }
    }
}

/// The candidates of a search; `None` if nothing was searched.
fn candidates(fitted: &Fitted) -> Option<Section> {
    let row = |tried: &TriedCandidate| {
        Some(AccuracyRow {
            name: tried.name.clone(),
            kind: None,
            accuracy: interval(tried.accuracy?),
            note: format!("tried in {}", duration(tried.seconds)),
            marked: tried.name == fitted.name,
        })
    };
    let rows: Vec<AccuracyRow> = fitted.candidates.iter().filter_map(row).collect();
    (!rows.is_empty()).then(|| Section {
        title: format!("{} candidates; kept: {}", rows.len(), fitted.name),
        text:
            "Cross-validated on the training images alone. The one in bold was kept, trained on all of them, and then \
               scored on images that no choice depends on. It is the most accurate, or one that was better on most \
               other data and is at most a standard error behind."
                .into(),
        figure: Figure::Accuracies(Accuracies { what: "candidate".into(), rows }),
    })
}

fn by_class(report: &ValidationReport, part: &str) -> Section {
    let share = |value: f64| format!("{:.1}", value * 100.0);
    let row = |class: &ClassReport| {
        let figures = [class.precision, class.recall, class.f1].map(share);
        [vec![one_line(&class.name).into_owned(), class.images.to_string()], figures.to_vec()].concat()
    };
    Section {
        title: format!("Scores by class on the {part} images"),
        text: "Precision: of the images classified as this class, those that are of it. Recall: of its images, those that \
               are classified as it. F1: their harmonic mean."
            .into(),
        figure: Figure::Table(Table {
            header: ["class", "images", "precision %", "recall %", "F1 %"].map(String::from).to_vec(),
            rows: report.classes.iter().map(row).collect(),
        }),
    }
}
