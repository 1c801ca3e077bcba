//! A verdict in plain English.

use super::{Claim, Kinds, Outcome, Scored, Start, above};
use taper_learn::statistics::Population;
use taper_learn::{Interval, methods::Kind};

/// Which kind of learning wins, or why none does; `None` without both kinds.
pub(super) fn which_kind(kinds: Option<&Kinds<'_>>, claim: Option<&Claim>, unbeaten: Option<&Claim>) -> Option<String> {
    let (kinds, claim) = (kinds?, claim?);
    if let Some(unbeaten) = unbeaten {
        return Some(format!(
            "Neither kind of learning is shown to pay {}: {}, the better of the two, {} {} ({}).",
            population(unbeaten),
            unbeaten.first,
            if unbeaten.outcome == Outcome::Worse { "is less accurate than" } else { "is not shown to beat" },
            unbeaten.second,
            interval(unbeaten)
        ));
    }
    let text = kind_clause(kinds, claim);
    Some(format!("{}.", capitalized(&text)))
}

/// Which of two kinds wins, without the full stop.
fn kind_clause(kinds: &Kinds<'_>, claim: &Claim) -> String {
    let (ahead, behind) = (kinds.ahead, kinds.behind);
    match claim.outcome {
        Outcome::Better | Outcome::Worse => format!(
            "{} wins: {} is {} more accurate than {} {} ({})",
            learning(ahead.kind),
            ahead.name,
            points(claim.difference.mean),
            behind.name,
            population(claim),
            interval(claim)
        ),
        Outcome::AsGoodAsEqual => {
            let cheaper = kinds.cheaper();
            let other = if std::ptr::eq(cheaper, ahead) { behind } else { ahead };
            format!(
                "{} and {} are as good as equal {} (they differ by {}, {}), and {} is cheaper ({} against {})",
                ahead.name,
                behind.name,
                population(claim),
                points(claim.difference.mean),
                interval(claim),
                cheaper.name,
                duration(cheaper.seconds()),
                duration(other.seconds())
            )
        }
        Outcome::NotShown => format!(
            "neither kind of learning is shown to win {}: {} is {} more accurate than {} ({})",
            population(claim),
            ahead.name,
            points(claim.difference.mean),
            behind.name,
            interval(claim)
        ),
    }
}

/// How weights trained elsewhere compare with learning here, and which kind wins among the methods that
/// start from them; `None` without such weights.
pub(super) fn elsewhere(
    kinds: &[Kinds<'_>],
    kind_claims: &[Claim],
    claims: &[Claim],
    methods: &[Scored<'_>],
) -> Option<String> {
    let compared = claims.iter().filter_map(|claim| {
        let method = methods.iter().find(|method| method.name == claim.first)?;
        let Start::Elsewhere(on) = method.start else { return None };
        let than = match claim.outcome {
            Outcome::Better | Outcome::Worse => {
                let word = if claim.outcome == Outcome::Better { "more" } else { "less" };
                format!("is {} {word} accurate than {}", points(claim.difference.mean.abs()), claim.second)
            }
            Outcome::AsGoodAsEqual => format!("is as good as equal to {}", claim.second),
            Outcome::NotShown => format!("is not shown to differ from {}", claim.second),
        };
        Some(format!("{}, trained before on {on}, {than} ({})", claim.first, interval(claim)))
    });
    let alike = kinds.iter().zip(kind_claims).filter_map(|(kinds, claim)| {
        let Start::Elsewhere(on) = kinds.ahead.start else { return None };
        Some(format!("among methods trained before on {on}, {}", kind_clause(kinds, claim)))
    });
    let clauses: Vec<String> = compared.chain(alike).collect();
    (!clauses.is_empty()).then(|| format!("{}.", capitalized(&clauses.join("; "))))
}

/// Who beats comparing pixels; `None` if no method compares pixels, or no other method was scored.
pub(super) fn floor(claims: &[Claim], methods: &[Scored<'_>]) -> Option<String> {
    if claims.is_empty() {
        return None;
    }
    let shown = |name: &str| claims.iter().filter(|claim| claim.first == name).all(above);
    let others = methods.iter().filter(|method| method.kind != Kind::Floor);
    let not_shown: Vec<&str> = others.map(|method| method.name).filter(|name| !shown(name)).collect();
    Some(match not_shown.as_slice() {
        [] => "Every other method beats comparing pixels.".into(),
        names => format!("Not shown to beat comparing pixels: {}.", names.join(", ")),
    })
}

fn learning(kind: Kind) -> &'static str {
    if kind == Kind::Meta { "meta-learning" } else { "transfer learning" }
}

/// What the claim speaks about.
fn population(claim: &Claim) -> &'static str {
    match claim.population {
        Population::NewClasses => "on new classes",
        Population::TheseClasses => "on new images of these classes",
    }
}

/// `95% CI 1.2 to 6.9, of one training run each`.
fn interval(claim: &Claim) -> String {
    let Interval { low, high, .. } = claim.difference;
    let runs = if claim.runs == 1 { ", of one training run each" } else { "" };
    format!("95% CI {} to {}{runs}", tenths(low), tenths(high))
}

/// `4.1 points`.
fn points(difference: f64) -> String {
    let text = tenths(difference);
    if text == "1.0" { "1.0 point".into() } else { format!("{text} points") }
}

/// In hundredths with one decimal, never `-0.0`.
pub(crate) fn tenths(share: f64) -> String {
    let rounded = (share * 1000.0).round() / 10.0;
    format!("{:.1}", if rounded == 0.0 { 0.0 } else { rounded })
}

/// `0.4 s`, `12 s`, `8 min`, `3 h`.
fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 9.95 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.0} h", s / 3600.0),
    }
}

pub(crate) fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
