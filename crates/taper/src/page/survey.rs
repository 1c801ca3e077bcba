//! The report of a survey: every head and kind of fine-tuning, by data set, network and number of labels.

use crate::table::{distinct, duration};
use taper_data::one_line;
use taper_report::{Accuracies, AccuracyRow, Fact, Figure, Interval, Kind, Report, Section, Table};
use taper_transfer::Cell;

/// What the survey found.
pub(crate) fn survey(cells: &[Cell]) -> Report {
    let tables = distinct(cells.iter().map(|cell| (&cell.data, &cell.network)));
    let bests: Vec<String> = tables.iter().filter_map(|table| best(cells, *table)).collect();
    Report {
        title: "Heads and fine-tuning, surveyed".into(),
        context: vec!["Survey".into()],
        verdict: bests.join(" "),
        facts: vec![
            Fact::new("Data sets", distinct(cells.iter().map(|cell| &cell.data)).len().to_string()),
            Fact::new("Networks", distinct(cells.iter().map(|cell| &cell.network)).len().to_string()),
            Fact::new("Methods", distinct(cells.iter().map(|cell| &cell.method)).len().to_string()),
            Fact::new("Scores", cells.len().to_string()),
        ],
        sections: tables.iter().flat_map(|table| sections(cells, *table)).collect(),
        learned_from: distinct(cells.iter().map(|cell| one_line(&cell.data).into_owned())),
        ..Report::default()
    }
}

/// The cells of a data set and a network.
fn of<'a>(cells: &'a [Cell], table: (&String, &String)) -> Vec<&'a Cell> {
    cells.iter().filter(|cell| (&cell.data, &cell.network) == table).collect()
}

/// The most labels, which come last, and the best method with them.
fn best(cells: &[Cell], table: (&String, &String)) -> Option<String> {
    let own = of(cells, table);
    let labels = &own.last()?.labels;
    let last = own.iter().filter(|cell| cell.labels == *labels);
    let best = last.max_by(|a, b| a.accuracy.total_cmp(&b.accuracy))?;
    Some(format!(
        "On {} with {}, {} is most accurate with {labels} labels per class: {:.1}% (95% CI {:.1} to {:.1}).",
        one_line(table.0),
        table.1,
        best.method,
        best.accuracy * 100.0,
        best.low * 100.0,
        best.high * 100.0
    ))
}

fn sections(cells: &[Cell], table: (&String, &String)) -> Vec<Section> {
    let own = of(cells, table);
    let Some(most) = own.last().map(|cell| cell.labels.clone()) else { return Vec::new() };
    let row = |cell: &&&Cell| AccuracyRow {
        name: cell.method.clone(),
        kind: Some(if cell.method == "from scratch" { Kind::Scratch } else { Kind::Transfer }),
        accuracy: Interval { mean: cell.accuracy, low: cell.low, high: cell.high },
        note: format!("{} of training", duration(cell.train_seconds)),
        marked: false,
    };
    let rows: Vec<AccuracyRow> =
        own.iter().filter(|cell| cell.labels == most).collect::<Vec<_>>().iter().map(row).collect();
    let labels = distinct(own.iter().map(|cell| &cell.labels));
    let line = |method: &String| {
        let figure = |labels: &&String| {
            let found = own.iter().find(|cell| cell.method == *method && cell.labels == **labels);
            found.map_or(String::new(), |cell| {
                let [mean, low, high] = [cell.accuracy, cell.low, cell.high].map(|share| share * 100.0);
                format!("{mean:.1} ({low:.1}–{high:.1})")
            })
        };
        [method.clone()].into_iter().chain(labels.iter().map(figure)).collect()
    };
    let header =
        [String::from("method")].into_iter().chain(labels.iter().map(|labels| format!("{labels} per class, %")));
    let title = format!("{}, {}", one_line(table.0), table.1);
    vec![
        Section {
            title: format!("{title}: {most} labels per class"),
            text: "Accuracy on validation images, which no method learned from. Lines are 95% intervals.".into(),
            figure: Figure::Accuracies(Accuracies { what: "method".into(), rows }),
        },
        Section {
            title: format!("{title}: all numbers of labels"),
            text: "Accuracy in % with its 95% interval.".into(),
            figure: Figure::Table(Table {
                header: header.collect(),
                rows: distinct(own.iter().map(|cell| &cell.method)).into_iter().map(line).collect(),
            }),
        },
    ]
}
