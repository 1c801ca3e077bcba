//! A small chart of curves, for a terminal.

/// A curve: a letter, and a value for each column that it reaches.
pub(crate) struct Line {
    pub(crate) letter: char,
    /// From 0 to 1; `None` where the curve has no value.
    pub(crate) values: Vec<Option<f64>>,
}

const HEIGHT: usize = 10;
const WIDTH: usize = 9;

/// Curves over named columns, in percent. Where curves meet, the first one's letter shows.
pub(crate) fn chart(columns: &[String], lines: &[Line]) -> String {
    let values = || lines.iter().flat_map(|line| &line.values).flatten().copied();
    let (least, most) = values().fold((f64::INFINITY, 0.0f64), |(a, b), value| (a.min(value), b.max(value)));
    if !least.is_finite() {
        return String::new();
    }
    // whole steps of five points at each third
    let top = (most * 20.0).ceil() / 20.0;
    let range = ((top - least) / 0.15).ceil().max(1.0) * 0.15;
    let bottom = top - range;
    let row = |value: f64| (((value - bottom) / range) * (HEIGHT - 1) as f64).round() as usize;
    let mut cells = vec![vec![' '; columns.len() * WIDTH]; HEIGHT];
    for line in lines.iter().rev() {
        for (column, pair) in line.values.windows(2).enumerate() {
            let [Some(from), Some(to)] = [pair[0], pair[1]] else { continue };
            for step in 1..WIDTH {
                let value = from + (to - from) * step as f64 / WIDTH as f64;
                let cell = &mut cells[row(value)][column * WIDTH + WIDTH / 2 + step];
                *cell = if *cell == ' ' { '·' } else { *cell };
            }
        }
    }
    for line in lines.iter().rev() {
        for (column, value) in line.values.iter().enumerate() {
            if let Some(value) = value {
                cells[row(*value)][column * WIDTH + WIDTH / 2] = line.letter;
            }
        }
    }
    let mut text: Vec<String> = Vec::new();
    for (place, cells) in cells.iter().enumerate().rev() {
        let value = bottom + range * place as f64 / (HEIGHT - 1) as f64;
        let label = if place % 3 == 0 { format!("{:3.0}%", value * 100.0) } else { "    ".into() };
        text.push(format!("{label} |{}", cells.iter().collect::<String>()).trim_end().to_string());
    }
    text.push(format!("     +{}", "-".repeat(columns.len() * WIDTH)));
    let names: String = columns.iter().map(|name| format!("{name:^WIDTH$}")).collect();
    text.push(format!("      {}", names.trim_end()));
    text.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_rise_from_the_lower_left_and_the_first_one_is_on_top() {
        let columns = ["1".to_string(), "5".to_string()];
        let line = |letter, values: [f64; 2]| Line { letter, values: values.map(Some).to_vec() };
        let text = chart(&columns, &[line('a', [0.5, 1.0]), line('b', [0.5, 0.75])]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), HEIGHT + 2);
        assert!(lines[0].starts_with("100% |") && lines[0].ends_with('a'), "{text}");
        // a half lies between the second and the third row from below
        let starts = |line: &&str| line.starts_with("     |    a");
        assert!(lines[HEIGHT - 1].starts_with(" 40% |") && lines[HEIGHT - 3..HEIGHT - 1].iter().any(starts), "{text}");
        assert!(text.contains('b') && lines[HEIGHT + 1].trim() == "1        5", "{text}");
    }

    #[test]
    fn without_values_there_is_no_chart() {
        assert_eq!(chart(&["1".into()], &[Line { letter: 'a', values: vec![None] }]), "");
    }
}
