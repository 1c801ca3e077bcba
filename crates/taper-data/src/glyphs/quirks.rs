//! Individual habits in drawing a stroke.
//!
//! Two people's drawings of a character differ less in where its points are than in how the pen gets
//! there: curves are round or made of a few straight lines, strokes begin with a hook or end in a
//! tail, a turn becomes a loop, two strokes become one.

use super::point::{Path, Point, barb};
use super::random::GlyphRng;
use std::f64::consts::TAU;

/// A stroke that begins within this distance of the previous one's end may be joined to it.
const NEAR: f64 = 22.0;
/// Points to either side that determine the path's heading at a point.
const LOOK: usize = 4;
/// The cosine of the widest turn that becomes a loop.
const SHARP: f64 = -0.5;

/// How often a drawer does each, per stroke; most drawers do little of each. Lengths are in pixels.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Quirks {
    /// The pen stays on the paper on the way to a stroke that begins nearby.
    joining: f64,
    /// A small loop is made where the pen turns back.
    looping: f64,
    /// Curves become a few straight lines.
    angular: f64,
    /// Maximum distance of those lines from the curve.
    chord: f64,
    /// A stroke begins with a hook.
    hook: f64,
    /// A stroke ends in a tail.
    tail: f64,
}

impl Quirks {
    pub(super) fn invent(rng: &mut GlyphRng) -> Self {
        Self {
            joining: 0.8 * often(rng),
            looping: 0.8 * often(rng),
            angular: often(rng),
            chord: rng.within(2.0, 5.5),
            hook: 0.5 * often(rng),
            tail: 0.5 * often(rng),
        }
    }

    /// The strokes as a drawer with these habits draws them.
    pub(super) fn drawn(&self, strokes: Vec<Path>, rng: &mut GlyphRng) -> Vec<Path> {
        let strokes = self.joined(strokes, rng);
        strokes.into_iter().map(|stroke| self.stroke(stroke, rng)).collect()
    }

    fn joined(&self, strokes: Vec<Path>, rng: &mut GlyphRng) -> Vec<Path> {
        let mut joined: Vec<Path> = Vec::with_capacity(strokes.len());
        for stroke in strokes {
            match joined.last_mut() {
                Some(before) if before[before.len() - 1].distance(stroke[0]) < NEAR && rng.coin(self.joining) => {
                    before.extend(stroke);
                }
                _ => joined.push(stroke),
            }
        }
        joined
    }

    fn stroke(&self, mut path: Path, rng: &mut GlyphRng) -> Path {
        if rng.coin(self.looping) {
            path = looped(&path, rng.within(2.0, 5.0));
        }
        if rng.coin(self.angular) {
            path = chords(&path, self.chord);
        }
        if rng.coin(self.hook)
            && let [first, next, ..] = path[..]
        {
            path.splice(0..0, aside(next, first, rng).into_iter().rev());
        }
        if rng.coin(self.tail)
            && let [.., before, last] = path[..]
        {
            path.extend(aside(before, last, rng));
        }
        path
    }
}

/// A probability, more often small than large.
fn often(rng: &mut GlyphRng) -> f64 {
    let u = rng.unit();
    u * u
}

/// A short line to one side, continuing a stroke's end.
fn aside(inner: Point, end: Point, rng: &mut GlyphRng) -> Path {
    barb(inner, end, rng.sign() * rng.within(0.8, 2.4), rng.within(3.0, 10.0), 6)
}

/// A loop of this radius where the path turns back.
fn looped(path: &[Point], radius: f64) -> Path {
    let mut looped = Vec::with_capacity(path.len());
    let mut last = 0;
    for (k, &point) in path.iter().enumerate() {
        looped.push(point);
        if k < LOOK.max(last) || k + LOOK >= path.len() {
            continue;
        }
        let (into, away) = (point - path[k - LOOK], path[k + LOOK] - point);
        if into.dot(away) < SHARP * into.length() * away.length() {
            last = k + 3 * LOOK;
            let ahead = into * (radius / into.length().max(0.1));
            let across = Point::new(-ahead.y, ahead.x);
            let side = if across.dot(away) < 0.0 { across * -1.0 } else { across };
            // around a circle ahead that touches the path here
            looped.extend((1..=12).map(|twelfth| {
                let at = Point::towards(TAU * f64::from(twelfth) / 12.0, 1.0);
                point + ahead * (1.0 - at.x) + side * at.y
            }));
        }
    }
    looped
}

/// The path as the fewest straight lines within `off` of its points (Ramer 1972, Douglas and
/// Peucker 1973), with as many points as before.
fn chords(path: &[Point], off: f64) -> Path {
    let last = path.len() - 1;
    let (start, run) = (path[0], path[last] - path[0]);
    let length = run.length();
    let distance = |place: usize| {
        let step = path[place] - start;
        if length < 1.0 { step.length() } else { (run.x * step.y - run.y * step.x).abs() / length }
    };
    match (1..last).max_by(|&a, &b| distance(a).total_cmp(&distance(b))) {
        Some(far) if distance(far) > off => {
            let mut two = chords(&path[..=far], off);
            two.pop();
            two.extend(chords(&path[far..], off));
            two
        }
        _ => (0..=last).map(|place| start + run * (place as f64 / last.max(1) as f64)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A quarter of a circle of radius 20.
    fn arc() -> Path {
        (0..=30).map(|k| Point::towards(TAU / 4.0 * f64::from(k) / 30.0, 20.0)).collect()
    }

    /// There and back.
    fn spike() -> Path {
        let there = (0..=20).map(|k| Point::new(f64::from(k), 0.0));
        there.chain((0..20).rev().map(|k| Point::new(f64::from(k), 1.0))).collect()
    }

    #[test]
    fn chords_have_as_many_points_and_lie_within_what_is_allowed() {
        let (round, straight) = (arc(), chords(&arc(), 1.0));
        assert_eq!((straight[0], straight.len()), (round[0], round.len()));
        assert_eq!(straight[30], round[30]);
        let off = round.iter().map(|a| straight.iter().map(|b| a.distance(*b)).fold(f64::INFINITY, f64::min));
        let off = off.fold(0.0, f64::max);
        assert!(off > 0.2 && off < 1.3, "{off}");
        assert_eq!(chords(&arc(), 100.0)[15], (round[0] + round[30]) * 0.5);
    }

    #[test]
    fn a_loop_is_made_where_the_path_turns_back_and_nowhere_else() {
        assert_eq!(looped(&arc(), 3.0), arc());
        let looped = looped(&spike(), 3.0);
        assert_eq!(looped.len(), spike().len() + 12);
        let farthest = looped.iter().map(|point| point.x).fold(0.0, f64::max);
        assert!((22.0..=27.0).contains(&farthest), "{farthest}");
    }

    #[test]
    fn strokes_are_joined_by_those_who_do_and_only_when_near() {
        let mut quirks = Quirks::invent(&mut GlyphRng::new(0, "test", [0]));
        let far: Path = arc().into_iter().map(|point| point + Point::new(90.0, 0.0)).collect();
        let strokes = vec![arc(), spike(), far];
        for (joining, number) in [(0.0, 3), (1.0, 2)] {
            quirks.joining = joining;
            assert_eq!(quirks.drawn(strokes.clone(), &mut GlyphRng::new(0, "test", [1])).len(), number);
        }
    }

    #[test]
    fn a_barb_begins_at_the_end_and_is_a_few_pixels_long() {
        let barb = aside(arc()[29], arc()[30], &mut GlyphRng::new(0, "test", [2]));
        assert!(barb[0].distance(arc()[30]) < 2.0 && (3.0..=10.0).contains(&barb[5].distance(arc()[30])));
    }
}
