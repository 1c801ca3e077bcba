//! The page: one file of HTML that needs nothing else.

use crate::text::all_shown;
use crate::{Report, Result};
use askama::Template;

#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    report: &'a Report,
    /// The verdict's first sentence, and the others.
    verdict: (&'a str, &'a str),
    sections: Vec<Section<'a>>,
    style: &'static str,
}

struct Section<'a> {
    title: &'a str,
    text: &'a str,
    html: String,
}

/// What every page has in its head: a file that has it may be replaced by another page.
pub const GENERATOR: &str = "<meta name=\"generator\" content=\"Taper\">";

/// The report as one file of HTML: no script, no request to anywhere.
///
/// # Errors
/// Returns an error if a value can't be shown.
pub fn page(report: &Report) -> Result<String> {
    // names come from files and folders of other people: all text is made visible in one place
    let report: Report = serde_json::from_value(all_shown(serde_json::to_value(report)?))?;
    let section = |(id, section): (usize, &crate::Section)| -> Result<(usize, String)> {
        Ok((id, section.figure.html(id + 1, &section.title)?))
    };
    let made = report.sections.iter().enumerate().map(section).collect::<Result<Vec<_>>>()?;
    let sections = made.into_iter().map(|(place, html)| {
        let crate::Section { title, text, .. } = &report.sections[place];
        Section { title, text, html }
    });
    let page =
        Page { report: &report, verdict: first_sentence(&report.verdict), sections: sections.collect(), style: STYLE };
    Ok(page.render()?)
}

const STYLE: &str = include_str!("../templates/style.css");

/// The first sentence of a text, and the rest. A full stop inside of brackets or a number ends none.
fn first_sentence(text: &str) -> (&str, &str) {
    let mut depth = 0i32;
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            '.' if depth <= 0 && text[at + 1..].starts_with(' ') => return (&text[..=at], text[at + 1..].trim()),
            _ => {}
        }
    }
    (text, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::*;
    use crate::{Fact, Figure, Interval, Kind, Thumbnail};

    const INTERVAL: Interval = Interval { mean: 0.8123, low: 0.7456, high: 0.8789 };

    fn section(title: &str, figure: Figure) -> crate::Section {
        crate::Section { title: title.into(), text: "How to read it.".into(), figure }
    }

    /// A report with every figure, whose names are `name`.
    fn report(name: &str) -> Report {
        let name = || name.to_string();
        let thumbnail = Thumbnail::of(1, 1, 1, vec![9]).unwrap();
        let picture = || ErrorPicture {
            name: name(),
            class: name(),
            predicted: name(),
            probability: Some(0.97),
            thumbnail: thumbnail.clone(),
        };
        let accuracy =
            AccuracyRow { name: name(), kind: Some(Kind::Meta), accuracy: INTERVAL, note: name(), marked: true };
        let difference = Difference {
            first: name(),
            second: name(),
            difference: Interval { low: -0.0234, ..INTERVAL },
            shows: name(),
        };
        let cost = CostPoint {
            name: name(),
            kind: Kind::Transfer,
            accuracy: INTERVAL,
            train_seconds: 61.5,
            adapt_seconds: 0.0,
            predict_seconds: 1e-5,
        };
        let label = |labels: &str, per_class| LabelPoint { labels: labels.into(), per_class, accuracy: INTERVAL };
        let curve = LabelCurve { name: name(), highlighted: true, points: vec![label("1", 1.0), label("all", 31.6)] };
        let crossing = Crossing { labels: 4.2, words: name() };
        let stage = StageCurve {
            name: name(),
            steps: 20,
            seconds: 3.0,
            losses: vec![(1, 2.75), (20, 2.5)],
            scores: vec![(10, 0.4321), (20, 0.5)],
        };
        let pair = ConfusedPair { class: name(), predicted: name(), images: 17, pictures: vec![picture()] };
        let bin = CalibrationBin { from: 0.9, to: 1.0, images: 12, probability: 0.9512, right: 0.9165 };
        let point = |thumbnail| MapPoint { name: name(), class: 0, at: [0.5, -0.25], thumbnail };
        let header = vec![name(), "time".into()];
        Report {
            title: name(),
            context: vec![name()],
            verdict: name(),
            facts: vec![Fact::new(name(), name())],
            warnings: vec![name()],
            sections: vec![
                section("a", Figure::Accuracies(Accuracies { what: name(), rows: vec![accuracy] })),
                section("b", Figure::Differences(Differences { rows: vec![difference] })),
                section("c", Figure::Costs(Costs { points: vec![cost] })),
                section("d", Figure::LabelCurves(LabelCurves { curves: vec![curve], crossings: vec![crossing] })),
                section("e", Figure::Training(Training { stages: vec![stage] })),
                section(
                    "f",
                    Figure::Confusion(Confusion {
                        classes: vec![name(), "b".into()],
                        counts: vec![vec![41, 1], vec![0, 0]],
                        pairs: vec![pair],
                    }),
                ),
                section("g", Figure::WorstErrors(WorstErrors { pictures: vec![picture()] })),
                section("h", Figure::Calibration(Calibration { bins: vec![bin], expected_error: 0.0347 })),
                section(
                    "i",
                    Figure::Map(Map {
                        classes: vec![name()],
                        points: vec![point(None), point(Some(thumbnail.clone()))],
                        variance: [0.4, 0.2],
                    }),
                ),
                section("j", Figure::Table(Table { header, rows: vec![vec![name(), "2 s".into()]] })),
            ],
            learned_from: vec![name()],
            left_out: vec![Fact::new(name(), name())],
            again: crate::Again { command: name(), config: name(), version: name() },
        }
    }

    #[test]
    fn no_name_of_a_file_or_class_becomes_markup_and_hidden_letters_are_seen() {
        let hostile = "</title><script>alert(1)</script>\"'><img src=x onerror=alert(2)>&lt;\u{202e}\u{7}\u{0}";
        let html = page(&report(hostile)).unwrap();
        for wrong in ["<script", "<img src=x", "onerror=alert(2)>", "\u{202e}", "\u{7}", "\u{0}"] {
            assert!(!html.contains(wrong), "{wrong:?}");
        }
        assert!(html.matches("\\u{202e}").count() > 20);
    }

    #[test]
    fn every_number_of_every_figure_is_text_and_every_figure_has_a_name() {
        let html = page(&report("name")).unwrap();
        for number in [
            "81.2",
            "74.6 to 87.9",
            "+81.2",
            "−2.3 to +87.9",
            "61.5 s",
            "10 µs",
            "81.2 (74.6–87.9)",
            "all (32)",
            "2.5",
            "0.432",
            "0.5 at step 20",
            ">41<",
            "17 images",
            "97%",
            "91.7",
            "95.1",
            "3.5 points",
            "-0.25",
            "40% and 20%",
        ] {
            assert!(html.contains(number), "{number}");
        }
        for figure in html.split("<svg").skip(1).filter(|figure| figure.contains("role=\"img\"")) {
            let head = figure.split('>').next().unwrap_or("");
            assert!(!head.contains("role=\"img\"") || head.contains("aria-labelledby="), "{head}");
        }
        assert!(!html.contains("NaN"));
    }

    #[test]
    fn the_page_asks_nobody_for_anything() {
        let html = page(&report("name")).unwrap();
        assert!(html.contains(GENERATOR) && html.contains("default-src 'none'"));
        for outside in ["http://", "https://", "<script", "<link", "@import", "url("] {
            assert!(!html.contains(outside), "{outside}");
        }
    }

    #[test]
    fn a_verdict_is_cut_after_its_first_sentence() {
        let text = "A wins: 4.1 points (95% CI 1.2 to 6.9. Of one run) ahead. B is not.";
        assert_eq!(first_sentence(text), ("A wins: 4.1 points (95% CI 1.2 to 6.9. Of one run) ahead.", "B is not."));
        assert_eq!(first_sentence("No stop"), ("No stop", ""));
    }

    #[test]
    fn a_report_comes_back_from_json_as_it_was() {
        let report = report("name");
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }
}
