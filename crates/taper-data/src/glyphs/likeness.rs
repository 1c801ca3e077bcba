//! Whether two characters are too similar.

use super::character::Character;
use super::point::{Frame, Path, Point, path_length};
use super::stroke::Slips;

/// Points that stand for a character's ink.
const POINTS: usize = 96;

/// Two characters are similar if all ink of each is closer than this to ink of the other,
/// in units of the characters' longer side.
pub(super) const ALIKE: f64 = 0.16;

/// A character's ink as evenly spaced points, centered and scaled to a longer side of 1.
#[derive(Debug, Clone)]
pub(super) struct Likeness(Vec<Point>);

impl Likeness {
    pub(super) fn of(character: &Character) -> Self {
        let paths = character.paths(&mut Slips::none());
        let frame = Frame::around(&paths);
        let points = even(&paths);
        Self(points.into_iter().map(|point| (point - frame.center()) * (1.0 / frame.extent())).collect())
    }

    /// Whether the Hausdorff distance between the two is below [`ALIKE`].
    pub(super) fn is_alike(&self, other: &Self) -> bool {
        self.lies_near(other) && other.lies_near(self)
    }

    fn lies_near(&self, other: &Self) -> bool {
        let near = |point: &Point| other.0.iter().any(|&of| (*point - of).dot(*point - of) < ALIKE * ALIKE);
        self.0.iter().all(near)
    }
}

/// [`POINTS`] points along the paths, evenly spaced.
fn even(paths: &[Path]) -> Vec<Point> {
    let gap = paths.iter().map(|path| path_length(path)).sum::<f64>() / POINTS as f64;
    let mut points = Vec::with_capacity(POINTS + paths.len());
    for path in paths {
        points.push(path[0]);
        let mut walked = 0.0;
        for pair in path.windows(2) {
            walked += pair[0].distance(pair[1]);
            if walked >= gap {
                points.push(pair[1]);
                walked -= gap;
            }
        }
    }
    points
}
