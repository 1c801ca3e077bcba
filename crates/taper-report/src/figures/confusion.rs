//! The confusion matrix as a shaded table, and the pairs that are most confused with pictures of them.

use crate::figures::ErrorPicture;
use askama::Template;
use serde::{Deserialize, Serialize};

/// Which classes are taken for which.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Confusion {
    /// The classes' names.
    pub classes: Vec<String>,
    /// Counts of images: `counts[true class][predicted class]`.
    pub counts: Vec<Vec<usize>>,
    /// The pairs that are confused most often.
    pub pairs: Vec<ConfusedPair>,
}

/// A class that is taken for another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConfusedPair {
    /// The true class.
    pub class: String,
    /// The class that it is taken for.
    pub predicted: String,
    /// How many images are.
    pub images: usize,
    /// Some of them.
    pub pictures: Vec<ErrorPicture>,
}

/// Classes up to which the whole matrix is shown.
const MATRIX_UP_TO: usize = 40;

#[derive(Template)]
#[template(path = "confusion.html")]
pub(crate) struct Page<'a> {
    figure: &'a Confusion,
    /// For each class its name, its row and its recall in percent.
    rows: Vec<(&'a str, Vec<Cell>, String)>,
    title: &'a str,
}

struct Cell {
    count: usize,
    /// From 0 to 9: its share of the row.
    shade: usize,
    right: bool,
}

impl<'a> Page<'a> {
    pub(crate) fn new(figure: &'a Confusion, title: &'a str) -> Self {
        let shown = if figure.classes.len() <= MATRIX_UP_TO { figure.classes.len() } else { 0 };
        let row = |(class, (name, counts)): (usize, (&'a String, &'a Vec<usize>))| {
            let images: usize = counts.iter().sum();
            let cell = |(predicted, &count): (usize, &usize)| Cell {
                count,
                shade: if count == 0 { 0 } else { (9 * count).div_ceil(images.max(1)).clamp(1, 9) },
                right: class == predicted,
            };
            let recall = match images {
                0 => "–".into(),
                _ => format!("{:.0}", 100.0 * counts.get(class).copied().unwrap_or(0) as f64 / images as f64),
            };
            (name.as_str(), counts.iter().enumerate().map(cell).collect(), recall)
        };
        let rows = figure.classes.iter().zip(&figure.counts).enumerate().take(shown).map(row).collect();
        Self { figure, rows, title }
    }
}
