//! Plain tables, and numbers formatted for people.

use comfy_table::{CellAlignment, ContentArrangement, Table};
use taper_learn::Interval;

/// The table as text; columns of figures are right-aligned, the others left-aligned.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.load_preset(comfy_table::presets::NOTHING);
    table.set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for (place, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if place > 0 && rows.iter().all(|row| row.get(place).is_none_or(|cell| cell.is_empty() || is_figure(cell))) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let widths = table.column_max_content_widths();
    let dashes: Vec<String> = widths.iter().map(|&width| "-".repeat(usize::from(width))).collect();
    let mut lines: Vec<String> = table.lines().map(|line| line.trim_end().to_string()).collect();
    lines.insert(1.min(lines.len()), dashes.join("  "));
    lines.join("\n")
}

fn is_figure(cell: &str) -> bool {
    cell.trim_start_matches(['-', '+']).starts_with(|c: char| c.is_ascii_digit())
}

/// `61.3 ± 1.2`, of a share in percent.
pub(crate) fn percent(interval: Interval) -> String {
    format!("{:.1} ± {:.1}", interval.mean * 100.0, interval.margin() * 100.0)
}

/// Seconds with a suitable unit; empty for 0.
pub(crate) fn duration(seconds: f64) -> String {
    match seconds {
        s if s >= 90.0 => format!("{:.1} min", s / 60.0),
        s if s >= 1.0 => format!("{s:.1} s"),
        s if s > 0.0 => format!("{:.1} ms", s * 1e3),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_aligned_right_and_wide_letters_count_twice() {
        let rows = [vec!["貓".into(), "5".into()], vec!["cat".into(), "12.5".into()]];
        assert_eq!(table(&["name", "n"], &rows), "name     n\n----  ----\n貓       5\ncat   12.5");
    }
}
