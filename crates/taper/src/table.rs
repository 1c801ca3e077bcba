//! Plain tables: a header, rows, columns aligned.

/// The table as text; the first column is left-aligned, the others right-aligned where they
/// hold figures.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let widths: Vec<usize> = (0..header.len())
        .map(|column| {
            let cells = rows.iter().map(|row| row[column].chars().count());
            cells.chain([header[column].chars().count()]).max().unwrap_or(0)
        })
        .collect();
    let figures: Vec<bool> = (0..header.len())
        .map(|column| {
            let figure = |cell: &str| cell.trim_start_matches('-').starts_with(|c: char| c.is_ascii_digit());
            column > 0 && rows.iter().all(|row| row[column].is_empty() || figure(&row[column]))
        })
        .collect();
    let line = |cells: &[String]| {
        let padded: Vec<String> = cells
            .iter()
            .enumerate()
            .map(|(column, cell)| {
                let gap = " ".repeat(widths[column] - cell.chars().count());
                if figures[column] { format!("{gap}{cell}") } else { format!("{cell}{gap}") }
            })
            .collect();
        padded.join("  ").trim_end().to_string()
    };
    let mut lines = vec![line(&header.iter().map(ToString::to_string).collect::<Vec<_>>())];
    lines.push(widths.iter().map(|&width| "-".repeat(width)).collect::<Vec<_>>().join("  "));
    lines.extend(rows.iter().map(|row| line(row)));
    lines.join("\n")
}

/// Seconds as people say them.
pub(crate) fn duration(seconds: f64) -> String {
    match seconds {
        s if s >= 90.0 => format!("{:.1} min", s / 60.0),
        s if s >= 1.0 => format!("{s:.1} s"),
        s if s > 0.0 => format!("{:.1} ms", s * 1e3),
        _ => String::new(),
    }
}
