//! A map of images: those whose features are alike lie close together.

use crate::Thumbnail;
use crate::scale::{Scale, bounds};
use askama::Template;
use serde::{Deserialize, Serialize};

/// Images at the first two principal components of their features.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Map {
    /// The classes' names.
    pub classes: Vec<String>,
    /// The images.
    pub points: Vec<MapPoint>,
    /// The share of the features' variance along each axis.
    pub variance: [f64; 2],
}

/// An image on the map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MapPoint {
    /// Its name.
    pub name: String,
    /// Its class's place among the classes.
    pub class: usize,
    /// Its place.
    pub at: [f64; 2],
    /// What it looks like, for some of the images.
    pub thumbnail: Option<Thumbnail>,
}

/// Classes with a mark of their own; the others share one.
const MARKS: usize = 8;

#[derive(Template)]
#[template(path = "map.html")]
pub(crate) struct Page<'a> {
    /// The classes with a mark of their own.
    legend: Vec<(usize, &'a str)>,
    /// Whether other classes share a mark.
    has_others: bool,
    points: Vec<Point<'a>>,
    /// For each class with images its name, their number and their mean place.
    rows: Vec<(&'a str, usize, String, String)>,
    variance: [String; 2],
    id: usize,
    title: &'a str,
}

struct Point<'a> {
    of: &'a MapPoint,
    x: String,
    y: String,
    mark: usize,
    words: String,
}

impl<'a> Page<'a> {
    pub(crate) fn new(figure: &'a Map, id: usize, title: &'a str) -> Self {
        let axis = |axis: usize, places| {
            let (low, high) = bounds(figure.points.iter().map(|point| point.at[axis])).unwrap_or((-1.0, 1.0));
            Scale::linear([low, high], places)
        };
        let (x, y) = (axis(0, [5.0, 95.0]), axis(1, [94.0, 6.0]));
        let name = |class: usize| figure.classes.get(class).map_or("", String::as_str);
        let mark = |class: usize| if class < MARKS { class + 1 } else { 0 };
        let point = |of: &'a MapPoint| Point {
            x: x.at(of.at[0]),
            y: y.at(of.at[1]),
            mark: mark(of.class),
            words: format!("{}: {}", name(of.class), of.name),
            of,
        };
        // pictures lie above marks
        let (plain, pictured): (Vec<&MapPoint>, Vec<&MapPoint>) =
            figure.points.iter().partition(|point| point.thumbnail.is_none());
        let row = |class: usize| {
            let own: Vec<[f64; 2]> =
                figure.points.iter().filter(|point| point.class == class).map(|point| point.at).collect();
            let mean = |axis: usize| own.iter().map(|at| at[axis]).sum::<f64>() / own.len() as f64;
            (!own.is_empty()).then(|| (name(class), own.len(), format!("{:.2}", mean(0)), format!("{:.2}", mean(1))))
        };
        Self {
            legend: (0..figure.classes.len().min(MARKS)).map(|class| (class + 1, name(class))).collect(),
            has_others: figure.classes.len() > MARKS,
            points: plain.into_iter().chain(pictured).map(point).collect(),
            rows: (0..figure.classes.len()).filter_map(row).collect(),
            variance: figure.variance.map(|share| format!("{:.0}", share * 100.0)),
            id,
            title,
        }
    }
}
