//! The report of a comparison on a data set's own classes.

use super::classifier::Answered;
use super::differences::differences;
use super::{interval, kind, not_read, share};
use crate::table::duration;
use anyhow::Result;
use taper_compare::{Approach, Crossing, Curve, CurvePoint, OwnTaskReport};
use taper_data::{Dataset, one_line};
use taper_report::{
    self as page, Accuracies, AccuracyRow, CostPoint, Costs, Fact, Figure, LabelCurve, LabelCurves, LabelPoint, Report,
    Section,
};

/// The best curve of each approach, at the most labels that any of its curves reaches.
pub(crate) fn best_of_each_approach(curves: &[Curve]) -> Vec<&Curve> {
    let approaches = [
        Approach::FineTuning,
        Approach::MetaLearning,
        Approach::FrozenFeatures,
        Approach::FromScratch,
        Approach::Pixels,
    ];
    let last = |curve: &&Curve| {
        let point = curve.points.last();
        point.map_or((0, 0.0), |point| (curve.points.len(), point.accuracy.mean))
    };
    let best = |approach| {
        let of = curves.iter().filter(move |curve| curve.approach == approach);
        of.max_by(|a, b| last(a).0.cmp(&last(b).0).then(last(a).1.total_cmp(&last(b).1)))
    };
    approaches.into_iter().filter_map(best).collect()
}

/// What the comparison found.
///
/// # Errors
/// Returns an error if an image can't be read.
pub(crate) fn own_task(report: &OwnTaskReport, dataset: &dyn Dataset) -> Result<Report> {
    let name = one_line(&report.data.name);
    let mut sections = vec![accuracies(report), label_curves(report)];
    sections.extend(differences(&report.claims));
    sections.push(costs(report));
    if let (Some(kept), Some(chosen)) = (&report.answers, &report.chosen) {
        let (images, how) = match kept.held_out {
            true => ("images set aside", format!("by {}", chosen.name)),
            false => ("images", format!("by {}, each after it learned from the other folds", chosen.name)),
        };
        let answered = Answered { answers: &kept.answers, classes: &kept.classes, dataset, images, how: &how };
        sections.extend(answered.sections()?);
    }
    let shortened = report.methods.iter().filter_map(|curve| Some(Fact::new(&*curve.name, curve.left_out.clone()?)));
    let left_out = report.left_out.iter().map(|row| Fact::new(&*row.name, &*row.reason)).chain(shortened);
    Ok(Report {
        title: format!("How should {name} be learned?"),
        context: vec![
            "Comparison on its own classes".into(),
            name.to_string(),
            format!("seed {}", report.comparison.seed),
        ],
        verdict: report.words.clone(),
        facts: facts(report),
        warnings: report.warnings.clone(),
        sections,
        learned_from: learned_from(report),
        left_out: left_out.chain(not_read(dataset)).collect(),
        ..Report::default()
    })
}

fn facts(report: &OwnTaskReport) -> Vec<Fact> {
    let data = &report.data;
    let chosen = report.chosen.iter().flat_map(|chosen| {
        [
            Fact::new("Chosen method", &*chosen.name),
            Fact::new(format!("Its accuracy with {:.0} labels per class", chosen.labels), share(chosen.accuracy)),
        ]
    });
    let forecast = report.useful_forecasts().into_iter().map(|forecast| {
        let labels = forecast.labels;
        Fact::new(format!("Forecast for {labels:.0} labels per class"), share(forecast.accuracy))
    });
    let scored = match data.held_out {
        0 => "images of other folds".to_string(),
        images => format!("{images} images set aside"),
    };
    let setting = [
        Fact::new("Images to learn from", format!("{} of {} classes", data.images, data.classes)),
        Fact::new("Scored on", scored),
        Fact::new("Time allowed", duration(data.budget)),
    ];
    chosen.chain(setting).chain(forecast).collect()
}

fn learned_from(report: &OwnTaskReport) -> Vec<String> {
    let data = &report.data;
    let name = one_line(&data.name);
    let own = match data.held_out {
        0 => format!(
            "{name}: {} images of {} classes, in folds: those scored are never learned from.",
            data.images, data.classes
        ),
        images => format!(
            "{name}: {} images of {} classes; {images} images that its owner set aside were only scored.",
            data.images, data.classes
        ),
    };
    let weights = data.weights.iter().map(|weights| format!("{}: the pretrained weights.", one_line(weights)));
    let meta = data.meta_data.iter().map(|meta| {
        let shared = match meta.shared {
            0 => String::new(),
            shared => format!("; {shared} that {name} holds too were left out"),
        };
        format!(
            "{}: {} images of {} classes, for the meta-learners{shared}.",
            one_line(&meta.name),
            meta.images,
            meta.classes
        )
    });
    [own].into_iter().chain(weights).chain(meta).collect()
}

/// Each method at the most labels that it was scored with.
fn accuracies(report: &OwnTaskReport) -> Section {
    let chosen = report.chosen.as_ref().map(|chosen| chosen.name.as_str());
    let row = |curve: &Curve| {
        let point = curve.points.last()?;
        Some(AccuracyRow {
            name: curve.name.clone(),
            kind: Some(kind(curve.kind)),
            accuracy: interval(point.accuracy),
            note: match point.labels.to_string().as_str() {
                "all" => format!("all labels, {:.0} per class", point.per_class),
                "1" => "1 label per class".into(),
                labels => format!("{labels} labels per class"),
            },
            marked: chosen == Some(curve.name.as_str()),
        })
    };
    let rows: Vec<AccuracyRow> = report.methods.iter().filter_map(row).collect();
    let best = rows.iter().max_by(|a, b| a.accuracy.mean.total_cmp(&b.accuracy.mean));
    Section {
        title: best.map_or("Accuracy".into(), |best| {
            format!("Most accurate: {}, {:.1}%", best.name, best.accuracy.mean * 100.0)
        }),
        text: "Each method with the most labels that the time allowed it. Lines are 95% intervals; the method in bold was \
               chosen, on other images than these."
            .into(),
        figure: Figure::Accuracies(Accuracies { what: "method".into(), rows }),
    }
}

fn label_curves(report: &OwnTaskReport) -> Section {
    let bests = best_of_each_approach(&report.methods);
    let point = |point: &CurvePoint| LabelPoint {
        labels: point.labels.to_string(),
        per_class: point.per_class,
        accuracy: interval(point.accuracy),
    };
    let curve = |curve: &Curve| LabelCurve {
        name: curve.name.clone(),
        highlighted: bests.iter().any(|best| best.name == curve.name)
            || report.chosen.as_ref().is_some_and(|chosen| chosen.name == curve.name),
        points: curve.points.iter().map(point).collect(),
    };
    let crossing = |crossing: &Crossing| {
        let Crossing { ahead, behind, labels, low, high } = crossing;
        let low = low.map_or("fewer than were tried".into(), |low| format!("{low:.1}"));
        page::Crossing {
            labels: *labels,
            words: format!(
                "{ahead} overtakes {behind} at about {labels:.1} labels per class (95% interval: {low} to {high:.1})."
            ),
        }
    };
    Section {
        title: match report.crossings.first() {
            Some(crossing) => format!("{} leads with more labels, {} with fewer", crossing.ahead, crossing.behind),
            None => "Accuracy over the number of labels".into(),
        },
        text: "The best method of each approach and the chosen one are drawn in color, the others in gray.".into(),
        figure: Figure::LabelCurves(LabelCurves {
            curves: report.methods.iter().map(curve).collect(),
            crossings: report.crossings.iter().map(crossing).collect(),
        }),
    }
}

fn costs(report: &OwnTaskReport) -> Section {
    let point = |curve: &Curve| {
        let point = curve.points.last()?;
        Some(CostPoint {
            name: curve.name.clone(),
            kind: kind(curve.kind),
            accuracy: interval(point.accuracy),
            train_seconds: curve.train_seconds,
            adapt_seconds: point.adapt_seconds,
            predict_seconds: point.predict_seconds,
        })
    };
    Section {
        title: "Accuracy against time".into(),
        text:
            "Upper left is better: more accurate in less time. Features of the pretrained network, which all but a few \
               methods share, are computed once and not counted."
                .into(),
        figure: Figure::Costs(Costs { points: report.methods.iter().filter_map(point).collect() }),
    }
}
