#![doc = include_str!("../README.md")]

mod error;
mod figures;
mod page;
mod report;
mod scale;
mod text;
mod thumbnail;

pub use error::{ReportError, Result};
pub use figures::{
    Accuracies, AccuracyRow, Calibration, CalibrationBin, ConfusedPair, Confusion, CostPoint, Costs, Crossing,
    Difference, Differences, ErrorPicture, LabelCurve, LabelCurves, LabelPoint, Map, MapPoint, StageCurve, Table,
    Training, WorstErrors,
};
pub use page::{GENERATOR, page};
pub use report::{Again, Fact, Figure, Interval, Kind, Report, Section};
pub use thumbnail::Thumbnail;
