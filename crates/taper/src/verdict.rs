//! One or two sentences that claim no more than the intervals allow.

use taper_learn::{Interval, Kind, paired_difference};

/// What a verdict looks at.
pub(crate) struct Scored<'a> {
    pub(crate) name: &'a str,
    pub(crate) kind: Kind,
    pub(crate) accuracies: &'a [f64],
    pub(crate) accuracy: Interval,
}

/// Which kind of learning wins on these tasks, and by how much.
pub(crate) fn verdict(rows: &[Scored<'_>]) -> String {
    let best_of = |kind: Kind| {
        rows.iter().filter(|row| row.kind == kind).max_by(|a, b| a.accuracy.mean.total_cmp(&b.accuracy.mean))
    };
    let (Some(transfer), Some(meta)) = (best_of(Kind::Transfer), best_of(Kind::Meta)) else {
        return String::new();
    };
    let (first, second, word) = if meta.accuracy.mean >= transfer.accuracy.mean {
        (meta, transfer, "meta-learning")
    } else {
        (transfer, meta, "transfer learning")
    };
    let difference = paired_difference(first.accuracies, second.accuracies);
    let points = |value: f64| format!("{:.1}", value * 100.0);
    let mut sentence = if difference.low > 0.0 {
        format!(
            "On these tasks {word} wins: {} is right {} points more often than {} (95 % interval {} to {}).",
            first.name,
            points(difference.mean),
            second.name,
            points(difference.low),
            points(difference.high)
        )
    } else {
        format!(
            "On these tasks neither kind of learning wins: {} and {} differ by {} points, and the interval ({} to {}) holds 0.",
            first.name,
            second.name,
            points(difference.mean),
            points(difference.low),
            points(difference.high)
        )
    };
    let floor = rows.iter().find(|row| row.kind == Kind::Floor);
    if let Some(floor) = floor {
        let not_above: Vec<&str> = rows
            .iter()
            .filter(|row| row.kind != Kind::Floor && paired_difference(row.accuracies, floor.accuracies).low <= 0.0)
            .map(|row| row.name)
            .collect();
        if !not_above.is_empty() {
            sentence += &format!(" Not shown to beat comparing pixels: {}.", not_above.join(", "));
        }
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;
    use taper_learn::mean_interval;

    fn row<'a>(name: &'a str, kind: Kind, accuracies: &'a [f64]) -> Scored<'a> {
        Scored { name, kind, accuracies, accuracy: mean_interval(accuracies) }
    }

    #[test]
    fn a_difference_within_its_interval_is_no_win() {
        let (a, b) = ([0.5, 0.7, 0.6, 0.8], [0.6, 0.6, 0.7, 0.7]);
        let text = verdict(&[row("probe", Kind::Transfer, &a), row("maml", Kind::Meta, &b)]);
        assert!(text.contains("neither"), "{text}");
    }

    #[test]
    fn a_clear_difference_names_the_winner_and_the_points() {
        let (a, b) = ([0.5, 0.6, 0.55, 0.6], [0.7, 0.8, 0.76, 0.8]);
        let text = verdict(&[
            row("pixels", Kind::Floor, &a),
            row("probe", Kind::Transfer, &a),
            row("protonet", Kind::Meta, &b),
        ]);
        assert!(
            text.contains("meta-learning wins") && text.contains("protonet") && text.contains("pixels: probe"),
            "{text}"
        );
    }
}
