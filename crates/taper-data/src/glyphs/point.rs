//! Points of the plane, x to the right and y downwards, and paths made of them.

use super::random::{cosine, sine};
use std::ops::{Add, Mul, Sub};

/// A point, or the step from one to another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
}

/// Ink of one stroke: points close to each other.
pub(super) type Path = Vec<Point>;

impl Point {
    pub(super) const ORIGIN: Self = Self { x: 0.0, y: 0.0 };

    pub(super) fn new(x: f64, y: f64) -> Self {
        Self { x, y }
    }

    /// A step of this length; angle 0 is to the right, a quarter turn is down.
    pub(super) fn towards(angle: f64, length: f64) -> Self {
        Self::new(length * cosine(angle), length * sine(angle))
    }

    pub(super) fn length(self) -> f64 {
        self.dot(self).sqrt()
    }

    pub(super) fn dot(self, other: Self) -> f64 {
        self.x * other.x + self.y * other.y
    }

    pub(super) fn distance(self, other: Self) -> f64 {
        (self - other).length()
    }

    /// Rotated by `heading`'s angle and scaled by its length.
    pub(super) fn turned(self, heading: Self) -> Self {
        Self::new(self.x * heading.x - self.y * heading.y, self.x * heading.y + self.y * heading.x)
    }
}

impl Add for Point {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self::new(self.x + other.x, self.y + other.y)
    }
}

impl Sub for Point {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self::new(self.x - other.x, self.y - other.y)
    }
}

impl Mul<f64> for Point {
    type Output = Self;
    fn mul(self, factor: f64) -> Self {
        Self::new(self.x * factor, self.y * factor)
    }
}

/// The smallest upright box around points.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) low: Point,
    pub(super) high: Point,
}

impl Frame {
    pub(super) fn around(paths: &[Path]) -> Self {
        let start = Self {
            low: Point::new(f64::INFINITY, f64::INFINITY),
            high: Point::new(f64::NEG_INFINITY, f64::NEG_INFINITY),
        };
        paths.iter().flatten().fold(start, |frame, point| Self {
            low: Point::new(frame.low.x.min(point.x), frame.low.y.min(point.y)),
            high: Point::new(frame.high.x.max(point.x), frame.high.y.max(point.y)),
        })
    }

    pub(super) fn center(self) -> Point {
        (self.low + self.high) * 0.5
    }

    pub(super) fn size(self) -> Point {
        self.high - self.low
    }

    /// The longer side.
    pub(super) fn extent(self) -> f64 {
        self.size().x.max(self.size().y)
    }
}

/// A line of this many points from `end` on, rotated by this angle from the direction of `inner` to `end`.
pub(super) fn barb(inner: Point, end: Point, angle: f64, length: f64, points: u32) -> Path {
    let turned = (end - inner).turned(Point::towards(angle, 1.0));
    let whole = turned * (length / turned.length().max(0.1));
    (1..=points).map(|k| end + whole * (f64::from(k) / f64::from(points))).collect()
}

/// Length of a path.
pub(super) fn path_length(path: &[Point]) -> f64 {
    path.windows(2).map(|pair| pair[0].distance(pair[1])).sum()
}
