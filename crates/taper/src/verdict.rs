//! One or two sentences that claim no more than the intervals allow.

use taper_learn::{Interval, Kind, paired_difference};

/// What a verdict looks at.
pub(crate) struct Scored<'a> {
    pub(crate) name: &'a str,
    pub(crate) kind: Kind,
    pub(crate) accuracies: &'a [f64],
    pub(crate) accuracy: Interval,
    /// Did it learn elsewhere, and more than the others could? Then it has no part in which kind wins.
    pub(crate) carried: bool,
}

/// Which kind of learning wins on these tasks, by how much, and what is not shown to beat the floor.
pub(crate) fn verdict(rows: &[Scored<'_>]) -> String {
    [winner(rows), carried(rows), floor(rows)].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// The best of either kind, compared, if it beats what nothing was learned for; none where a kind
/// is missing.
fn winner(rows: &[Scored<'_>]) -> Option<String> {
    let best_of = |kind: Kind| {
        rows.iter()
            .filter(|row| row.kind == kind && !row.carried)
            .max_by(|a, b| a.accuracy.mean.total_cmp(&b.accuracy.mean))
    };
    let (transfer, meta) = (best_of(Kind::Transfer)?, best_of(Kind::Meta)?);
    let (first, second, word) = if meta.accuracy.mean >= transfer.accuracy.mean {
        (meta, transfer, "meta-learning")
    } else {
        (transfer, meta, "transfer learning")
    };
    let without = rows.iter().filter(|row| matches!(row.kind, Kind::Floor | Kind::Scratch));
    let unbeaten = without.into_iter().find(|row| paired_difference(first.accuracies, row.accuracies).low <= 0.0);
    if let Some(unbeaten) = unbeaten {
        return Some(format!(
            "On these tasks neither kind of learning pays: {}, the best of both, is not shown to beat {}.",
            first.name, unbeaten.name
        ));
    }
    let difference = paired_difference(first.accuracies, second.accuracies);
    let [mean, low, high] = points(difference);
    let (first, second) = (first.name, second.name);
    Some(if difference.low > 0.0 {
        format!(
            "On these tasks {word} wins: {first} is right {mean} points more often than {second} (95 % interval {low} to {high})."
        )
    } else {
        format!(
            "On these tasks neither kind of learning wins: {first} and {second} differ by {mean} points, and the interval ({low} to {high}) holds 0."
        )
    })
}

/// How a learner that came with the program does beside the best of those that learned here; none
/// where there is none.
fn carried(rows: &[Scored<'_>]) -> Option<String> {
    let (came, here): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.carried);
    let best = here.into_iter().max_by(|a, b| a.accuracy.mean.total_cmp(&b.accuracy.mean))?;
    let came = came.first()?;
    let [mean, low, high] = points(paired_difference(came.accuracies, best.accuracies));
    Some(format!(
        "{}, trained before on far more images, differs from {} by {mean} points ({low} to {high}).",
        capitalized(came.name),
        best.name
    ))
}

/// Mean, low and high in points of a hundred.
fn points(interval: Interval) -> [String; 3] {
    [interval.mean, interval.low, interval.high].map(|value| format!("{:.1}", value * 100.0))
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Who beats comparing pixels; none where nothing compares pixels.
fn floor(rows: &[Scored<'_>]) -> Option<String> {
    let floor = rows.iter().find(|row| row.kind == Kind::Floor)?;
    let others = rows.iter().filter(|row| row.kind != Kind::Floor);
    let not_above: Vec<&str> = others
        .filter(|row| paired_difference(row.accuracies, floor.accuracies).low <= 0.0)
        .map(|row| row.name)
        .collect();
    Some(match not_above.as_slice() {
        [] => "Every other method beats comparing pixels.".into(),
        names => format!("Not shown to beat comparing pixels: {}.", names.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use taper_learn::mean_interval;

    fn row<'a>(name: &'a str, kind: Kind, accuracies: &'a [f64]) -> Scored<'a> {
        Scored { name, kind, accuracies, accuracy: mean_interval(accuracies), carried: false }
    }

    #[test]
    fn a_difference_within_its_interval_is_no_win() {
        let (a, b) = ([0.5, 0.7, 0.6, 0.8], [0.6, 0.6, 0.7, 0.7]);
        let text = verdict(&[row("probe", Kind::Transfer, &a), row("maml", Kind::Meta, &b)]);
        assert!(text.contains("neither"), "{text}");
    }

    #[test]
    fn what_does_not_beat_pixels_or_a_fresh_network_does_not_pay() {
        let (a, b) = ([0.5, 0.6, 0.55, 0.6], [0.7, 0.8, 0.76, 0.8]);
        for kind in [Kind::Floor, Kind::Scratch] {
            let text =
                verdict(&[row("plain", kind, &b), row("probe", Kind::Transfer, &a), row("maml", Kind::Meta, &b)]);
            assert!(text.starts_with("On these tasks neither kind of learning pays: maml"), "{text}");
        }
    }

    #[test]
    fn one_kind_alone_is_compared_with_the_floor() {
        let (a, b) = ([0.5, 0.6, 0.55, 0.6], [0.7, 0.8, 0.76, 0.8]);
        let text = verdict(&[row("pixels", Kind::Floor, &a), row("protonet", Kind::Meta, &b)]);
        assert_eq!(text, "Every other method beats comparing pixels.");
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

    #[test]
    fn a_learner_that_came_with_the_program_decides_nothing() {
        let (a, b, c) = ([0.5, 0.6, 0.55, 0.6], [0.7, 0.8, 0.76, 0.8], [0.9, 0.97, 0.95, 0.98]);
        let text = verdict(&[
            row("protonet", Kind::Meta, &a),
            row("probe", Kind::Transfer, &b),
            Scored { carried: true, ..row("the learner", Kind::Meta, &c) },
        ]);
        assert!(text.contains("transfer learning wins: probe") && text.contains("more often than protonet"), "{text}");
        assert!(text.contains("The learner, trained before on far more images, differs from probe by 18.5"), "{text}");
    }
}
