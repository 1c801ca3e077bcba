//! The pieces that strokes are made of.

use super::point::Point;
use super::random::{GlyphRng, cosine, sine};
use std::f64::consts::{PI, TAU};

/// A kind of piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Line,
    Arc,
    Loop,
    Curve,
    Wave,
    Corner,
    Hook,
}

/// All kinds, in the order of a style's weights.
pub(super) const KINDS: [Kind; 7] =
    [Kind::Line, Kind::Arc, Kind::Loop, Kind::Curve, Kind::Wave, Kind::Corner, Kind::Hook];

/// A piece of a stroke: control points from the origin on.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub(super) points: Vec<Point>,
    /// Whether the pen runs smoothly through the inner points.
    pub(super) smooth: bool,
}

impl Shape {
    /// A piece that starts toward `angle` and spans about `length`. Corners turn to one of
    /// `directions`.
    pub(super) fn invent(kind: Kind, angle: f64, length: f64, directions: &[f64], rng: &mut GlyphRng) -> Self {
        match kind {
            Kind::Line => Self::line(angle, length),
            Kind::Arc => {
                let side = rng.sign();
                if rng.coin(0.65) {
                    Self::bow(angle, length, side * rng.within(0.35, 1.25))
                } else {
                    Self::horseshoe(angle, length, side, rng.within(3.4, 4.6))
                }
            }
            Kind::Loop => Self::ring(angle, length.min(0.7) * rng.within(0.55, 0.95), rng),
            Kind::Curve => Self::curve(angle, length, rng),
            Kind::Wave => Self::wave(angle, length, rng),
            Kind::Corner => Self::corner(angle, length, directions, rng),
            Kind::Hook => Self::hook(angle, length, rng),
        }
    }

    pub(super) fn line(angle: f64, length: f64) -> Self {
        Self { points: vec![Point::ORIGIN, Point::towards(angle, length)], smooth: false }
    }

    /// Half an ellipse over a chord; `bulge` is its height in half chords, its sign the side.
    pub(super) fn bow(angle: f64, length: f64, bulge: f64) -> Self {
        let heading = Point::towards(angle, length / 2.0);
        let points = (0..=6).map(|k| f64::from(k) * PI / 6.0);
        let points = points.map(|t| Point::new(1.0 - cosine(t), bulge * sine(t)).turned(heading)).collect();
        Self { points, smooth: true }
    }

    /// More than half of a circle, with an opening toward `angle`.
    fn horseshoe(angle: f64, length: f64, side: f64, sweep: f64) -> Self {
        let radius = length / 2.2;
        let heading = Point::towards(angle, radius);
        let from = sweep / 2.0;
        let points = (0..=8).map(|k| from - sweep * f64::from(k) / 8.0);
        let points: Vec<Point> = points.map(|t| Point::new(-sine(t), side * cosine(t)).turned(heading)).collect();
        let start = points[0];
        Self { points: points.into_iter().map(|point| point - start).collect(), smooth: true }
    }

    /// A closed ellipse that starts at its first point, with its long axis toward `angle`.
    fn ring(angle: f64, length: f64, rng: &mut GlyphRng) -> Self {
        let (narrow, side) = (rng.within(0.6, 1.0), rng.sign());
        let heading = Point::towards(angle, length / 2.0);
        let points = (0..=10).map(|k| f64::from(k) * TAU / 10.0);
        let points = points.map(|t| Point::new(1.0 - cosine(t), side * narrow * sine(t)).turned(heading)).collect();
        Self { points, smooth: true }
    }

    /// A smooth run of randomly varying curvature.
    fn curve(angle: f64, length: f64, rng: &mut GlyphRng) -> Self {
        let pieces = 3 + rng.below(3);
        let (mut at, mut heading, mut turn) = (Point::ORIGIN, angle, rng.normal(0.8));
        let mut points = vec![at];
        for _ in 0..pieces {
            at = at + Point::towards(heading, 1.3 * length / pieces as f64);
            points.push(at);
            turn = 0.7 * turn + rng.normal(0.6);
            heading += turn;
        }
        Self { points, smooth: true }
    }

    /// An S: two bows to different sides.
    fn wave(angle: f64, length: f64, rng: &mut GlyphRng) -> Self {
        let (height, side) = (rng.within(0.3, 0.9), rng.sign());
        let heading = Point::towards(angle, length);
        let points = (0..=8).map(|k| f64::from(k) / 8.0);
        let points = points.map(|t| Point::new(t, side * 0.35 * height * sine(TAU * t)).turned(heading)).collect();
        Self { points, smooth: true }
    }

    /// Two or three straight runs.
    fn corner(angle: f64, length: f64, directions: &[f64], rng: &mut GlyphRng) -> Self {
        let (mut at, mut heading) = (Point::ORIGIN, angle);
        let mut points = vec![at];
        for _ in 0..if rng.coin(0.7) { 2 } else { 3 } {
            at = at + Point::towards(heading, length * rng.choose(&[0.5, 0.8, 1.0]));
            points.push(at);
            heading = other_direction(heading, directions, rng);
        }
        Self { points, smooth: false }
    }

    /// A straight run that ends, or begins, in a tight bend.
    fn hook(angle: f64, length: f64, rng: &mut GlyphRng) -> Self {
        let (radius, side) = (rng.within(0.1, 0.2), rng.sign());
        let sweep = rng.within(1.8, 3.8);
        let heading = Point::towards(angle, length);
        let mut points = vec![Point::ORIGIN, Point::new(0.4, 0.0), Point::new(0.8, 0.0)];
        points.extend((1..=4).map(|k| {
            let turned = sweep * f64::from(k) / 4.0;
            Point::new(0.8 + radius * sine(turned), side * radius * (1.0 - cosine(turned)))
        }));
        let points: Vec<Point> = points.into_iter().map(|point| point.turned(heading)).collect();
        let shape = Self { points, smooth: true };
        if rng.coin(0.4) { shape.reversed() } else { shape }
    }

    /// The same ink from its other end.
    fn reversed(self) -> Self {
        let end = self.points.last().copied().unwrap_or(Point::ORIGIN);
        Self { points: self.points.into_iter().rev().map(|point| point - end).collect(), smooth: self.smooth }
    }

    /// The same, closed by a straight line to the start.
    pub(super) fn closed(mut self) -> Self {
        self.points.push(Point::ORIGIN);
        self
    }

    /// Every point through `map`, which keeps the origin.
    pub(super) fn mapped(&self, map: impl Fn(Point) -> Point) -> Self {
        Self { points: self.points.iter().copied().map(map).collect(), smooth: self.smooth }
    }
}

/// A direction that neither continues `heading` nor reverses it, if there is one.
pub(super) fn other_direction(heading: f64, directions: &[f64], rng: &mut GlyphRng) -> f64 {
    for _ in 0..8 {
        let next = rng.choose(directions) + if rng.coin(0.5) { PI } else { 0.0 };
        if cosine(next - heading) < 0.85 && cosine(next - heading) > -0.8 {
            return next;
        }
    }
    heading + rng.sign() * PI / 2.0
}
