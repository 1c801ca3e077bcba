//! The figures, one a file: their values, and what their template needs. Coordinates are in percent, so that a figure
//! fits any width; every figure's numbers are also a table.

mod accuracies;
mod calibration;
mod confusion;
mod costs;
mod differences;
mod label_curves;
mod map;
mod table;
mod training;
mod worst_errors;

pub use accuracies::{Accuracies, AccuracyRow};
pub use calibration::{Calibration, CalibrationBin};
pub use confusion::{ConfusedPair, Confusion};
pub use costs::{CostPoint, Costs};
pub use differences::{Difference, Differences};
pub use label_curves::{Crossing, LabelCurve, LabelCurves, LabelPoint};
pub use map::{Map, MapPoint};
pub use table::Table;
pub use training::{StageCurve, Training};
pub use worst_errors::{ErrorPicture, WorstErrors};

use crate::{Figure, Result};
use askama::Template as _;

impl Figure {
    /// The figure as HTML; `id` distinguishes it from others of the page, and `title` is its name for screen readers.
    pub(crate) fn html(&self, id: usize, title: &str) -> Result<String> {
        Ok(match self {
            Self::Accuracies(figure) => accuracies::Page::new(figure, id, title).render(),
            Self::Differences(figure) => differences::Page::new(figure, id, title).render(),
            Self::Costs(figure) => costs::Page::new(figure, id, title).render(),
            Self::LabelCurves(figure) => label_curves::Page::new(figure, id, title).render(),
            Self::Training(figure) => training::Page::new(figure, id).render(),
            Self::Confusion(figure) => confusion::Page::new(figure, title).render(),
            Self::WorstErrors(figure) => worst_errors::Page { figure }.render(),
            Self::Calibration(figure) => calibration::Page::new(figure, id, title).render(),
            Self::Map(figure) => map::Page::new(figure, id, title).render(),
            Self::Table(figure) => table::Page { figure, title }.render(),
        }?)
    }
}
