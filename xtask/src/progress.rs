//! Progress bars, one per file, with rate and remaining time; only on a terminal.

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// The bars of all current files.
#[derive(Default)]
pub(crate) struct Bars(MultiProgress);

impl Bars {
    /// A bar for one file.
    pub(crate) fn add(&self, label: &str) -> ProgressBar {
        let template = "{prefix} {wide_bar} {bytes:>11} of {total_bytes} {bytes_per_sec:>12} {eta:>4} left";
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        self.0.add(ProgressBar::no_length()).with_style(style).with_prefix(label.to_string())
    }

    /// A line on standard output, above the bars.
    pub(crate) fn say(&self, line: &str) {
        self.0.suspend(|| println!("{line}"));
    }

    /// A line on standard error, above the bars.
    pub(crate) fn warn(&self, line: &str) {
        self.0.suspend(|| eprintln!("{line}"));
    }
}

/// A number of bytes for people.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..10_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.0} MB", bytes as f64 / 1e6),
    }
}
