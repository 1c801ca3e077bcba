//! What a comparison says: the setting in one line, the table.

use super::Scored;
use super::setting::Setting;
use crate::args::Compare;
use crate::commands::meta_train::within;
use crate::commands::percent;
use crate::table::{self, duration};
use taper_data::Count;
use taper_learn::paired_difference;

/// What was measured.
pub(super) fn heading(options: &Compare, setting: &Setting) -> String {
    format!(
        "\n{} test tasks of {}{}; {} on images {} pixels wide, {} images seen in training, seed {}.\n",
        options.episodes,
        setting.shape,
        within(setting.test_scope),
        options.backbone,
        setting.test.shape().2,
        options.images,
        options.run.common.seed
    )
}

/// One row a method.
pub(super) fn table(scored: &[Scored], best: &Scored, shots: Count) -> String {
    let header =
        ["method", "kind", "accuracy %", "from the best", "training", "adapting", "labels a class", "trained on"];
    let cells = |Scored { row, evaluation }: &Scored| {
        let behind = match row.name == best.row.name {
            true => "0 (best)".into(),
            false => percent(paired_difference(&evaluation.accuracies, &best.evaluation.accuracies)),
        };
        vec![
            format!("{}{}", row.name, if row.method.transductive() { " (transductive)" } else { "" }),
            row.kind.to_string(),
            percent(evaluation.accuracy()),
            behind,
            duration(row.train_seconds),
            duration(evaluation.cost.adapt_seconds),
            shots.to_string(),
            row.trained_on.clone(),
        ]
    };
    table::table(&header, &scored.iter().map(cells).collect::<Vec<_>>())
}
