//! The report of a learner that was meta-trained.

use super::{interval, kind, not_read};
use taper_data::{Dataset, one_line};
use taper_learn::{Interval, methods::MethodInfo};
use taper_report::{Accuracies, AccuracyRow, Fact, Figure, Report, Section};

/// What was trained, and its accuracy by the source of the tasks that it was scored on.
pub(crate) fn meta_train(
    method: &MethodInfo,
    dataset: &dyn Dataset,
    scored: &[(String, Interval)],
    facts: Vec<Fact>,
    learned_from: String,
) -> Report {
    let row = |(name, accuracy): &(String, Interval)| AccuracyRow {
        name: one_line(name).into_owned(),
        kind: Some(kind(method.kind)),
        accuracy: interval(*accuracy),
        note: String::new(),
        marked: false,
    };
    let verdict = match scored {
        [] => format!("{} is trained. No classes were held out to score it on.", method.title),
        scored => {
            let percent = |share: f64| format!("{:.1}", share * 100.0);
            let part = |(name, accuracy): &(String, Interval)| {
                let Interval { mean, low, high } = *accuracy;
                let (low, high) = (percent(low), percent(high));
                format!("{}% on tasks of {} (95% CI {low} to {high})", percent(mean), one_line(name))
            };
            let parts: Vec<String> = scored.iter().map(part).collect();
            format!("{} reaches {}.", method.title, parts.join(", "))
        }
    };
    let accuracies = (!scored.is_empty()).then(|| Section {
        title: "Accuracy on tasks of other classes".into(),
        text: "Tasks of classes that the learner was not trained on. Lines are 95% intervals.".into(),
        figure: Figure::Accuracies(Accuracies { what: "tasks of".into(), rows: scored.iter().map(row).collect() }),
    });
    let name = one_line(dataset.name());
    Report {
        title: format!("{} trained on tasks of {name}", method.title),
        context: vec!["Meta-training".into(), name.to_string()],
        verdict,
        facts,
        sections: accuracies.into_iter().collect(),
        learned_from: vec![learned_from],
        left_out: not_read(dataset),
        ..Report::default()
    }
}
