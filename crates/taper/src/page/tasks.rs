//! The report of a comparison on tasks of random classes.

use super::differences::differences;
use super::{interval, kind, not_read, share};
use taper_compare::{MethodReport, Report};
use taper_data::{Dataset, Scope, one_line};
use taper_report::{self as page, Accuracies, AccuracyRow, CostPoint, Costs, Fact, Figure, Section};

/// What the comparison found.
pub(crate) fn tasks(report: &Report, dataset: &dyn Dataset) -> page::Report {
    let Report { comparison, data, methods, verdict, .. } = report;
    let best = report.most_accurate();
    let row = |method: &MethodReport| AccuracyRow {
        name: method.title(),
        kind: Some(kind(method.kind)),
        accuracy: interval(method.accuracy),
        note: if method.trained_on.is_empty() { String::new() } else { format!("trained on {}", method.trained_on) },
        marked: best.is_some_and(|best| best.name == method.name),
    };
    let queries = (comparison.ways.high() * comparison.queries.high()).max(1) as f64;
    let point = |method: &MethodReport| CostPoint {
        name: method.name.clone(),
        kind: kind(method.kind),
        accuracy: interval(method.accuracy),
        train_seconds: method.train_seconds,
        adapt_seconds: method.cost.adapt_seconds,
        predict_seconds: method.cost.predict_seconds / queries,
    };
    let (tested_on, trained_on) = (one_line(&data.tested_on), one_line(&data.trained_on));
    let accuracies = Section {
        title: best.map_or("Accuracy on test tasks".into(), |best| {
            format!("Most accurate on test tasks: {}, {}", best.name, share(best.accuracy))
        }),
        text: format!(
            "Mean accuracy over {} test tasks, the same for all methods, of classes that no method was trained or chosen \
             on. Lines are 95% intervals.",
            comparison.episodes
        ),
        figure: Figure::Accuracies(Accuracies { what: "method".into(), rows: methods.iter().map(row).collect() }),
    };
    let costs = Section {
        title: "Accuracy against time".into(),
        text:
            "Upper left is better: more accurate in less time. Training happens once, learning a task for every task."
                .into(),
        figure: Figure::Costs(Costs { points: methods.iter().map(point).collect() }),
    };
    let within = if data.scope == Scope::Group { ", each within a group" } else { "" };
    let facts = vec![
        Fact::new(
            "Test tasks",
            format!("{} of {}-way {}-shot{within}", comparison.episodes, comparison.ways, comparison.shots),
        ),
        Fact::new("Queries per class", comparison.queries.to_string()),
        Fact::new("Network", format!("{}, {} px", comparison.backbone, data.image_width)),
        Fact::new("Images seen in training", comparison.images.to_string()),
        Fact::new("Training runs per method", comparison.repeats.to_string()),
    ];
    let mut learned_from = vec![if tested_on == trained_on {
        format!(
            "{tested_on}: {} classes to train on, {} to choose on, {} to test on; no class is in two of these.",
            data.training_classes, data.validation_classes, data.test_classes
        )
    } else {
        format!(
            "{trained_on}: all methods were trained on it; {tested_on}, with {} classes, was only tested on.",
            data.test_classes
        )
    }];
    learned_from.extend(report.chosen.iter().map(|name| {
        format!("{name} does best on validation tasks, of those that can be kept; it is in the run as a learner.")
    }));
    page::Report {
        title: format!("Transfer learning or meta-learning on {tested_on}?"),
        context: vec!["Comparison".into(), tested_on.to_string(), format!("seed {}", comparison.seed)],
        verdict: verdict.words.clone(),
        facts,
        warnings: report.warnings.clone(),
        sections: [Some(accuracies), differences(&verdict.claims), Some(costs)].into_iter().flatten().collect(),
        learned_from,
        left_out: not_read(dataset),
        ..page::Report::default()
    }
}
