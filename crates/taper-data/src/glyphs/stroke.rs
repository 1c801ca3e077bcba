//! One movement of the pen, and where it is placed.

use super::point::{Frame, Path, Point};
use super::random::GlyphRng;
use super::shape::Shape;
use super::style::{Hand, Style};
use std::f64::consts::PI;

/// Distance between the points of a path, the size of a character being about 1.
const STEP: f64 = 0.02;

/// A place on an earlier stroke: its number, and how far along it, 0 to 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Anchor {
    pub(super) stroke: usize,
    pub(super) along: f64,
}

/// Where a stroke is placed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Relation {
    /// Anywhere: the first stroke.
    First,
    /// Its own place `own` (0 its start, 1 its end) lies on the anchor.
    Attached { anchor: Anchor, own: f64 },
    /// From one anchor to the other, rotated and scaled to fit.
    Bridge { from: Anchor, to: Anchor },
    /// Begins `shift` away from the start of `stroke`.
    Parallel { stroke: usize, shift: Point },
    /// Away from everything drawn before, on this side, at this distance; (0, 0) is in the middle.
    Beside { side: Point, gap: f64 },
}

/// A control point; the pen turns sharply at a corner.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    pub(super) at: Point,
    pub(super) corner: bool,
}

/// One movement of the pen.
#[derive(Debug, Clone)]
pub(super) struct Stroke {
    pub(super) nodes: Vec<Node>,
    pub(super) relation: Relation,
}

/// How much a drawing departs from the ideal character.
pub(super) struct Slips<'a> {
    rng: Option<(&'a mut GlyphRng, f64)>,
    /// Whether large variations occur too.
    free: bool,
}

impl<'a> Slips<'a> {
    /// The character itself.
    pub(super) fn none() -> Self {
        Self { rng: None, free: false }
    }

    /// A drawing; the typical amount is 1. A free one also has deeper or flatter curves, and sometimes much
    /// longer or shorter ends.
    pub(super) fn of(rng: &'a mut GlyphRng, amount: f64, free: bool) -> Self {
        Self { rng: Some((rng, amount)), free }
    }

    fn draw(&mut self, deviation: f64) -> f64 {
        self.rng.as_mut().map_or(0.0, |(rng, amount)| rng.normal(deviation * *amount))
    }

    /// A large variation with this probability; 0 if the drawing is not free.
    fn liberty(&mut self, often: f64, deviation: f64) -> f64 {
        let Some((rng, amount)) = self.rng.as_mut().filter(|_| self.free) else { return 0.0 };
        if rng.coin(often * *amount) { rng.normal(deviation) } else { 0.0 }
    }

    fn point(&mut self, deviation: f64) -> Point {
        Point::new(self.draw(deviation), self.draw(deviation))
    }
}

impl Stroke {
    /// The stroke with this number (0 is the first) of a character.
    pub(super) fn invent(style: &Style, number: usize, rng: &mut GlyphRng) -> Self {
        let relation = Relation::invent(style, number, rng);
        if let Relation::Bridge { .. } = relation {
            let bulge = if style.hand == Hand::Carved { 0.15 } else { 0.5 };
            let shape = if rng.coin(bulge) {
                Shape::bow(0.0, 1.0, rng.sign() * rng.within(0.4, 1.2))
            } else {
                Shape::line(0.0, 1.0)
            };
            return Self::of(shape, relation);
        }
        let pieces = 1 + rng.pick(&style.pieces);
        let pieces = if number > 1 { pieces.min(2) } else { pieces };
        let mut stroke = Self::of(style.shape(None, rng), relation);
        for _ in 1..pieces {
            stroke.extend(style, rng);
        }
        stroke
    }

    /// Whether its shape follows two anchors.
    pub(super) fn is_bridge(&self) -> bool {
        matches!(self.relation, Relation::Bridge { .. })
    }

    /// A small mark next to a character.
    pub(super) fn mark(rng: &mut GlyphRng) -> Self {
        let shape = match rng.below(4) {
            0 => Shape::line(0.0, 0.04),
            1 => Shape::line(rng.choose(&[0.0, PI / 2.0, PI / 4.0, -PI / 4.0]), 0.25),
            2 => Shape::bow(0.0, 0.28, rng.sign() * 0.8),
            _ => Shape::bow(0.0, 0.18, 1.0).closed(),
        };
        let side = rng.choose(&[(0.0, -1.0), (0.0, -1.0), (0.0, 1.0), (1.0, 0.0), (-1.0, 0.0), (0.0, 0.0)]);
        let gap = rng.within(0.12, 0.22);
        Self::of(shape, Relation::Beside { side: Point::new(side.0, side.1), gap })
    }

    fn of(shape: Shape, relation: Relation) -> Self {
        let last = shape.points.len() - 1;
        let corner = |place| !shape.smooth || place == 0 || place == last;
        let nodes = shape.points.iter().enumerate().map(|(place, &at)| Node { at, corner: corner(place) }).collect();
        Self { nodes, relation }
    }

    /// Adds a piece at the end.
    pub(super) fn extend(&mut self, style: &Style, rng: &mut GlyphRng) {
        let [.., before, last] = self.nodes[..] else { return };
        let run = last.at - before.at;
        let heading = nearest_direction(run);
        let mut shape = style.shape(Some(heading), rng);
        if style.hand == Hand::Cursive && shape.points.last().is_some_and(|end| end.x < 0.0) {
            shape = shape.mapped(|point| Point::new(-point.x, point.y));
        }
        let scale = rng.choose(&[0.6, 0.8, 1.0]);
        let smooth = shape.smooth && rng.coin(if style.hand == Hand::Cursive { 0.5 } else { 0.25 });
        if let Some(node) = self.nodes.last_mut() {
            node.corner = !smooth;
        }
        let added = Self::of(shape, self.relation).nodes;
        self.nodes.extend(added.iter().skip(1).map(|node| Node { at: last.at + node.at * scale, ..*node }));
    }

    /// The stroke of a character whose every point goes through `map`, which is linear and
    /// keeps lengths.
    pub(super) fn mapped(&self, map: impl Fn(Point) -> Point) -> Self {
        let nodes = |map: &dyn Fn(Point) -> Point| {
            self.nodes.iter().map(|node| Node { at: map(node.at), ..*node }).collect::<Vec<_>>()
        };
        match self.relation {
            Relation::Bridge { .. } => {
                // its ends follow the anchors; only its side can change
                let (right, down) = (map(Point::new(1.0, 0.0)), map(Point::new(0.0, 1.0)));
                let side = right.x * down.y - right.y * down.x;
                Self { nodes: nodes(&|point| Point::new(point.x, point.y * side)), ..*self }
            }
            Relation::Parallel { stroke, shift } => {
                Self { nodes: nodes(&map), relation: Relation::Parallel { stroke, shift: map(shift) } }
            }
            Relation::Beside { side, gap } => {
                Self { nodes: nodes(&map), relation: Relation::Beside { side: map(side), gap } }
            }
            relation @ (Relation::First | Relation::Attached { .. }) => Self { nodes: nodes(&map), relation },
        }
    }

    /// Its ink, given that of the strokes before it.
    pub(super) fn path(&self, drawn: &[Path], slips: &mut Slips) -> Path {
        let nodes = self.slipped(slips);
        match self.relation {
            Relation::First => sampled(&nodes),
            Relation::Attached { anchor, own } => {
                let path = sampled(&nodes);
                let own = if own > 0.0 && own < 1.0 { own + slips.draw(0.05) } else { own };
                let shift = anchor.slipped(slips).on(drawn) - at(&path, own) + slips.point(0.025);
                moved(path, shift)
            }
            Relation::Bridge { from, to } => {
                let start = from.slipped(slips).on(drawn) + slips.point(0.025);
                let span = to.slipped(slips).on(drawn) + slips.point(0.035) - start;
                // the stroke was created from (0, 0) to (1, 0)
                let fitted = nodes.iter().map(|node| Node { at: node.at.turned(span) + start, ..*node });
                sampled(&fitted.collect::<Vec<_>>())
            }
            Relation::Parallel { stroke, shift } => {
                let path = sampled(&nodes);
                let shift = at(&drawn[stroke], 0.0) + shift - at(&path, 0.0) + slips.point(0.04);
                moved(path, shift)
            }
            Relation::Beside { side, gap } => {
                let path = vec![sampled(&nodes)];
                let (frame, own) = (Frame::around(drawn), Frame::around(&path));
                let room = (frame.size() + own.size()) * 0.5 + Point::new(gap, gap);
                let target = frame.center() + Point::new(room.x * side.x, room.y * side.y);
                let shift = target - own.center() + slips.point(0.045);
                moved(path.into_iter().flatten().collect(), shift)
            }
        }
    }

    /// Its nodes, with curves between corners made deeper or flatter.
    fn bulged(&self, slips: &mut Slips) -> Vec<Node> {
        let mut nodes = self.nodes.clone();
        if !slips.free {
            return nodes;
        }
        let mut from = 0;
        for to in 1..nodes.len() {
            if !nodes[to].corner && to + 1 < nodes.len() {
                continue;
            }
            let (start, run) = (nodes[from].at, nodes[to].at - nodes[from].at);
            let length = run.length();
            let walked: f64 = nodes[from..=to].windows(2).map(|pair| pair[0].at.distance(pair[1].at)).sum();
            if to > from + 1 && length > 0.4 * walked {
                let side = Point::new(-run.y, run.x) * (1.0 / length);
                let more = slips.liberty(1.0, 0.25) + slips.liberty(0.2, 0.5);
                for node in &mut nodes[from + 1..to] {
                    node.at = node.at + side * (side.dot(node.at - start) * more);
                }
            }
            from = to;
        }
        nodes
    }

    /// The control points as a hand places them.
    fn slipped(&self, slips: &mut Slips) -> Vec<Node> {
        let heading = Point::towards(slips.draw(0.07), 1.0);
        let (across, down) = (1.0 + slips.draw(0.11), 1.0 + slips.draw(0.11));
        let points = self.nodes.len();
        let length: f64 = self.nodes.windows(2).map(|pair| pair[0].at.distance(pair[1].at)).sum();
        let jitter = 0.012 + 0.05 * length / (points - 1) as f64;
        // neighboring errors are correlated, so that a ring becomes an egg and not a potato
        let mut error = Point::ORIGIN;
        let mut nodes = Vec::with_capacity(points);
        for node in &self.bulged(slips) {
            error = error * if node.corner { 0.2 } else { 0.8 } + slips.point(jitter);
            let scaled = Point::new(node.at.x * across, node.at.y * down);
            nodes.push(Node { at: scaled.turned(heading) + error, ..*node });
        }
        // ends are trimmed or overshot, rarely by much
        let start = slips.draw(0.07) + slips.liberty(0.14, 0.4);
        let end = slips.draw(0.09) + slips.liberty(0.18, 0.4);
        nodes[0].at = nodes[0].at + (nodes[0].at - nodes[1].at) * start;
        nodes[points - 1].at = nodes[points - 1].at + (nodes[points - 1].at - nodes[points - 2].at) * end;
        nodes
    }
}

impl Relation {
    fn invent(style: &Style, number: usize, rng: &mut GlyphRng) -> Self {
        if number == 0 {
            return Self::First;
        }
        let stroke = if rng.coin(0.6) { number - 1 } else { rng.below(number) };
        let own = |rng: &mut GlyphRng| rng.choose(&[0.0, 0.0, 0.0, 1.0, 0.5]);
        match rng.pick(&style.relations) {
            0 => Self::Attached { anchor: Anchor { stroke, along: 0.0 }, own: own(rng) },
            1 => Self::Attached { anchor: Anchor { stroke, along: 1.0 }, own: own(rng) },
            2 => Self::Attached { anchor: Anchor { stroke, along: place(style, rng) }, own: own(rng) },
            3 => {
                let from = Anchor { stroke, along: rng.choose(&[0.0, 0.5, 1.0]) };
                let other = rng.below(number);
                let along = if other == stroke {
                    if from.along > 0.5 { 0.0 } else { 1.0 }
                } else {
                    rng.choose(&[0.0, 0.5, 1.0])
                };
                Self::Bridge { from, to: Anchor { stroke: other, along } }
            }
            4 => {
                let gap = rng.choose(&[0.25, 0.4, 0.5]);
                let shift = rng.choose(&[(1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0)]);
                Self::Parallel { stroke, shift: Point::new(shift.0, shift.1) * gap }
            }
            _ => {
                let side = rng.choose(&[(1.0, 0.0), (1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0)]);
                Self::Beside { side: Point::new(side.0, side.1), gap: rng.within(0.12, 0.25) }
            }
        }
    }
}

impl Anchor {
    fn slipped(self, slips: &mut Slips) -> Self {
        let inner = self.along > 0.0 && self.along < 1.0;
        Self { along: if inner { self.along + slips.draw(0.06) } else { self.along }, ..self }
    }

    fn on(self, drawn: &[Path]) -> Point {
        at(&drawn[self.stroke], self.along)
    }
}

/// Where along its parent a stroke may be attached.
pub(super) fn place(style: &Style, rng: &mut GlyphRng) -> f64 {
    match rng.pick(&style.places) {
        0 => 0.5,
        1 => rng.choose(&[0.25, 0.33, 0.67, 0.75]),
        _ => rng.within(0.1, 0.9),
    }
}

/// The one of eight headings that is nearest to a step.
fn nearest_direction(step: Point) -> f64 {
    let eighth = |k: i32| f64::from(k) * PI / 4.0;
    let along = |k: i32| Point::towards(eighth(k), 1.0).dot(step);
    (0..8).max_by(|&a, &b| along(a).total_cmp(&along(b))).map_or(0.0, eighth)
}

fn at(path: &[Point], along: f64) -> Point {
    path[((along.clamp(0.0, 1.0) * (path.len() - 1) as f64) + 0.5) as usize]
}

fn moved(path: Path, shift: Point) -> Path {
    path.into_iter().map(|point| point + shift).collect()
}

/// Points along the curve through the nodes: straight between corners, otherwise a Catmull-Rom spline.
fn sampled(nodes: &[Node]) -> Path {
    let mut path = vec![nodes[0].at];
    for k in 1..nodes.len() {
        let (from, to) = (nodes[k - 1], nodes[k]);
        let straight = from.corner && to.corner;
        // the curve leaves a corner as if the next node's bend continued before it
        let before = if from.corner { from.at * 2.0 - to.at } else { nodes[k - 2].at };
        let after = if to.corner { to.at * 2.0 - from.at } else { nodes[k + 1].at };
        let before = if from.corner && !to.corner { before + (after - to.at * 2.0 + from.at) * 0.5 } else { before };
        let after = if to.corner && !from.corner { after + (before - from.at * 2.0 + to.at) * 0.5 } else { after };
        let steps = ((from.at.distance(to.at) / STEP) as usize + 1).min(200);
        path.extend((1..=steps).map(|step| {
            let t = step as f64 / steps as f64;
            if straight {
                return from.at + (to.at - from.at) * t;
            }
            let linear = (to.at - before) * t;
            let square = (before * 2.0 - from.at * 5.0 + to.at * 4.0 - after) * (t * t);
            let cubic = ((from.at - to.at) * 3.0 + after - before) * (t * t * t);
            from.at + (linear + square + cubic) * 0.5
        }));
    }
    path
}
