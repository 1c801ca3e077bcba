//! Plain tables, and numbers formatted for people.

use comfy_table::{CellAlignment, ContentArrangement, Table};
use std::borrow::Cow;
use taper_data::one_line;
use taper_learn::Interval;

/// The table in at most `width` columns of a terminal: the last columns are left out as far as needed, but never the
/// first three, whose cells are wrapped instead. A line below names what is left out. Without a width the table is whole.
pub(crate) fn fitted(header: &[&str], rows: &[Vec<String>], width: Option<usize>) -> String {
    fitted_with_paths(header, rows, 3, &[], width)
}

/// Likewise for a table that never lacks its first `kept` columns: the cells of the columns `paths` are shortened at the
/// front before any is wrapped.
pub(crate) fn fitted_with_paths(
    header: &[&str],
    rows: &[Vec<String>],
    kept: usize,
    paths: &[usize],
    width: Option<usize>,
) -> String {
    let Some(width) = width else { return table(header, rows) };
    let mut shown = header.len();
    let part = |shown: usize| -> Vec<Vec<String>> {
        rows.iter().map(|row| row.iter().take(shown).cloned().collect()).collect()
    };
    while shown > kept && width_of(&widths(&header[..shown], &part(shown))) > width {
        shown -= 1;
    }
    let (left, left_out) = header.split_at(shown);
    let mut rows = part(shown);
    let limits = shortened(widths(left, &rows), paths, width);
    for row in &mut rows {
        paths.iter().filter(|&&place| place < shown).for_each(|&place| row[place] = end_of(&row[place], limits[place]));
    }
    let text = match width_of(&widths(left, &rows)) > width {
        true => wrapped(left, &rows, width),
        false => table(left, &rows),
    };
    let left_out: Vec<&str> = left_out.iter().copied().filter(|name| !name.is_empty()).collect();
    match left_out.is_empty() {
        true => text,
        false => format!("{text}\n(not shown in this width: {})", left_out.join(", ")),
    }
}

/// The widths of columns after those of `paths` were made narrower, until the table fits into `width` or they can't be.
fn shortened(mut widths: Vec<usize>, paths: &[usize], width: usize) -> Vec<usize> {
    /// What still tells paths apart.
    const LEAST: usize = 16;
    while width_of(&widths) > width {
        let longest = paths.iter().copied().filter(|&place| place < widths.len()).max_by_key(|&place| widths[place]);
        match longest.filter(|&place| widths[place] > LEAST) {
            Some(place) => widths[place] -= 1,
            None => break,
        }
    }
    widths
}

/// The end of a path, which tells it from others, in at most so many letters.
fn end_of(path: &str, most: usize) -> String {
    let path = one_line(path);
    let more = path.chars().count().saturating_sub(most);
    if more == 0 { path.into_owned() } else { format!("…{}", path.chars().skip(more + 1).collect::<String>()) }
}

/// The text with line breaks between words, so that lines have at most `width` letters where words allow it.
pub(crate) fn wrapped_at_words(text: &str, width: usize) -> String {
    let wrap = |line: &str| {
        let (mut lines, mut length) = (String::new(), 0);
        for (place, word) in line.split(' ').enumerate() {
            let letters = word.chars().count();
            let fits = length + 1 + letters <= width;
            if place > 0 {
                lines.push(if fits { ' ' } else { '\n' });
            }
            length = if place > 0 && fits { length + 1 + letters } else { letters };
            lines += word;
        }
        lines
    };
    text.split('\n').map(wrap).collect::<Vec<_>>().join("\n")
}

/// `1 image`, `2 images`.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        _ if noun.ends_with('s') => format!("{count} {noun}es"),
        _ => format!("{count} {noun}s"),
    }
}

/// A table with each cell on one line: cells may be names with line breaks or other control characters.
fn filled(header: &[&str], rows: &[Vec<String>]) -> Table {
    fn cells<'a>(row: impl Iterator<Item = &'a str>) -> Vec<Cow<'a, str>> {
        row.map(one_line).collect()
    }
    let mut table = Table::new();
    table.set_header(cells(header.iter().copied()));
    table.add_rows(rows.iter().map(|row| cells(row.iter().map(String::as_str))));
    table
}

/// The width of each column.
fn widths(header: &[&str], rows: &[Vec<String>]) -> Vec<usize> {
    filled(header, rows).column_max_content_widths().into_iter().map(usize::from).collect()
}

/// The width of a whole table of such columns.
fn width_of(widths: &[usize]) -> usize {
    widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1)
}

/// The table with its cells in several lines where needed.
fn wrapped(header: &[&str], rows: &[Vec<String>], width: usize) -> String {
    let mut table = filled(header, rows);
    table.load_preset(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(width).unwrap_or(u16::MAX));
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 2));
    });
    table.lines().map(|line| line.trim_end().to_string()).collect::<Vec<_>>().join("\n")
}

/// A bar of eight letters for a share from 0 to 1.
pub(crate) fn bar(share: f64) -> String {
    const WIDTH: usize = 8;
    const PARTS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let eighths = (share.clamp(0.0, 1.0) * (WIDTH * 8) as f64).round() as usize;
    let rest = if !eighths.is_multiple_of(8) { PARTS[eighths % 8].to_string() } else { String::new() };
    format!("{}{rest}", "█".repeat(eighths / 8))
}

/// The table as text; columns of figures are right-aligned, the others left-aligned.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = filled(header, rows);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.load_preset(comfy_table::presets::NOTHING);
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

/// `61.3 ± 1.2`, of a share in percent; `95.0 (79.6 to 99.1)` if one side of the interval is longer.
pub(crate) fn percent(interval: Interval) -> String {
    with_unit(interval, "")
}

/// `61.3 ± 1.2%`; `95.0% (79.6 to 99.1)` if one side of the interval is longer.
pub(crate) fn share(interval: Interval) -> String {
    with_unit(interval, "%")
}

fn with_unit(interval: Interval, unit: &str) -> String {
    let [mean, low, high] = [interval.mean, interval.low, interval.high].map(|share| share * 100.0);
    if ((high - mean) - (mean - low)).abs() < 0.1 {
        return format!("{mean:.1} ± {:.1}{unit}", (high - low) / 2.0);
    }
    format!("{mean:.1}{unit} ({low:.1} to {high:.1})")
}

/// `83.3% (95% CI 75.7 to 88.9)`; without an interval if a bootstrap found no spread.
pub(crate) fn in_words(interval: Interval) -> String {
    let Interval { mean, low, high } = interval;
    if low == high {
        return format!("{:.1}%", mean * 100.0);
    }
    format!("{:.1}% (95% CI {:.1} to {:.1})", mean * 100.0, low * 100.0, high * 100.0)
}

/// Seconds with a suitable unit; empty for 0.
pub(crate) fn duration(seconds: f64) -> String {
    match seconds {
        s if s >= 90.0 => format!("{:.1} min", s / 60.0),
        s if s >= 1.0 => format!("{s:.1} s"),
        s if s >= 1e-4 => format!("{:.1} ms", s * 1e3),
        s if s > 0.0 => format!("{:.0} µs", s * 1e6),
        _ => String::new(),
    }
}

/// The different values, in the order in which they first appear.
pub(crate) fn distinct<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut found = Vec::new();
    for value in values {
        if !found.contains(&value) {
            found.push(value);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_with_a_longer_side_is_written_with_its_ends() {
        assert_eq!(percent(Interval { mean: 0.613, low: 0.601, high: 0.625 }), "61.3 ± 1.2");
        assert_eq!(percent(Interval { mean: 1.0, low: 0.796, high: 1.0 }), "100.0 (79.6 to 100.0)");
        assert_eq!(share(Interval { mean: 1.0, low: 0.796, high: 1.0 }), "100.0% (79.6 to 100.0)");
        assert_eq!((duration(0.0012), duration(3e-5)), ("1.2 ms".to_string(), "30 µs".to_string()));
    }

    #[test]
    fn a_table_fits_the_terminal_and_says_what_it_leaves_out() {
        let rows = [vec!["ridge".into(), "transfer".into(), "61.3 ± 1.2".into(), "12.0 s".into(), "glyphs".into()]];
        let header = ["method", "kind", "accuracy %", "training", "trained on"];
        let all = fitted(&header, &rows, None);
        assert_eq!(all, table(&header, &rows));
        assert_eq!(fitted(&header, &rows, Some(200)), all);
        let narrow = fitted(&header, &rows, Some(40));
        assert!(narrow.ends_with("(not shown in this width: trained on)") && narrow.contains("12.0 s"), "{narrow}");
        for width in [12, 20, 30] {
            let lines = fitted(&header, &rows, Some(width));
            let table = lines.lines().filter(|line| !line.starts_with('('));
            assert!(table.clone().all(|line| line.chars().count() <= width), "{width}\n{lines}");
        }
        let unnamed = fitted(&["method", "kind", "accuracy %", "", "trained on"], &rows, Some(30));
        assert!(unnamed.ends_with("(not shown in this width: trained on)"), "{unnamed}");
    }

    #[test]
    fn paths_are_shortened_at_the_front_before_cells_are_wrapped() {
        let rows = [vec!["a/long/way/to/the/photographs/1.jpg".into(), "glass".into(), "metal 5.0%".into()]];
        let text = fitted_with_paths(&["image", "class", "next best"], &rows, 2, &[0], Some(30));
        assert!(text.lines().take(3).all(|line| line.chars().count() <= 30), "{text}");
        assert!(text.contains('…') && text.contains("glass") && text.ends_with("width: next best)"), "{text}");
        let narrow = fitted_with_paths(&["image", "class"], &rows, 2, &[0], Some(12));
        assert!(narrow.lines().all(|line| line.chars().count() <= 12), "{narrow}");
    }

    #[test]
    fn lines_break_between_words_and_long_words_stay_whole() {
        assert_eq!(wrapped_at_words("one two three\nfour", 7), "one two\nthree\nfour");
        assert_eq!(wrapped_at_words("a long/path/to/an/image is", 8), "a\nlong/path/to/an/image\nis");
        assert_eq!(wrapped_at_words("  x  y ", 80), "  x  y ");
    }

    #[test]
    fn counts_have_plurals() {
        let counts = [counted(1, "image"), counted(0, "file"), counted(21, "image"), counted(6, "class")];
        assert_eq!(counts, ["1 image", "0 files", "21 images", "6 classes"]);
    }

    #[test]
    fn names_with_line_breaks_and_control_characters_stay_in_their_cells() {
        let rows = [vec!["new\nline".to_string(), "5".into()], vec!["\x1b[31mred".into(), "12".into()]];
        let text = table(&["name", "of\tclass"], &rows);
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(
            text.contains(r"new\nline") && text.contains(r"\u{1b}[31mred") && text.contains(r"of\tclass"),
            "{text}"
        );
        for width in [10, 200] {
            assert!(!fitted(&["name", "of\tclass"], &rows, Some(width)).contains(['\x1b', '\t']));
        }
    }

    #[test]
    fn a_bar_is_as_long_as_its_share() {
        assert_eq!([bar(0.0), bar(0.5), bar(0.51), bar(1.0), bar(7.0)], ["", "████", "████▏", "████████", "████████"]);
    }

    #[test]
    fn figures_are_aligned_right_and_wide_letters_count_twice() {
        let rows = [vec!["貓".into(), "5".into()], vec!["cat".into(), "12.5".into()]];
        assert_eq!(table(&["name", "n"], &rows), "name     n\n----  ----\n貓       5\ncat   12.5");
    }
}
