//! A character: strokes and how they are connected.

use super::point::{Frame, Path, Point, path_length};
use super::random::GlyphRng;
use super::stroke::{Anchor, Node, Relation, Slips, Stroke, place};
use super::style::{Hand, Style};

/// The largest number of strokes in a character.
const MOST_STROKES: usize = 6;

/// A character: at least one stroke, and how the strokes are connected.
#[derive(Debug, Clone)]
pub(super) struct Character {
    pub(super) strokes: Vec<Stroke>,
}

impl Character {
    /// A new character in this style.
    pub(super) fn invent(style: &Style, rng: &mut GlyphRng) -> Self {
        let number = 1 + rng.pick(&style.strokes);
        let first = match &style.shared {
            Some((stroke, often)) if rng.coin(*often) => stroke.clone(),
            _ => Stroke::invent(style, 0, rng),
        };
        let mut character = Self { strokes: vec![first] };
        for _ in 1..number {
            character.add_stroke(style, rng);
        }
        if rng.coin(style.marked) {
            character.strokes.push(Stroke::mark(rng));
        }
        character
    }

    /// The same character with one edit.
    pub(super) fn varied(&self, style: &Style, rng: &mut GlyphRng) -> Self {
        let mut character = self.clone();
        let strokes = self.strokes.len();
        let which = rng.below(strokes);
        match rng.below(9) {
            0 if strokes < MOST_STROKES => character.add_stroke(style, rng),
            1 if strokes > 1 => character.strokes.truncate(strokes - 1),
            2 => character.strokes[strokes - 1] = Stroke::invent(style, strokes - 1, rng),
            3 => {
                let turn: fn(Point) -> Point = rng.choose(&[
                    (|p| Point::new(-p.x, p.y)) as fn(Point) -> Point,
                    |p| Point::new(p.x, -p.y),
                    |p| Point::new(-p.x, -p.y),
                    |p| Point::new(-p.y, p.x),
                ]);
                character.strokes = self.strokes.iter().map(|stroke| stroke.mapped(turn)).collect();
            }
            4 if strokes < MOST_STROKES => character.strokes.push(Stroke::mark(rng)),
            5 => move_stroke(&mut character.strokes[which], style, rng),
            6 => resize_stroke(&mut character.strokes[which], rng),
            7 if style.hand != Hand::Carved || rng.coin(0.5) => character.strokes[which].extend(style, rng),
            _ => bend_stroke(&mut character.strokes[which], rng),
        }
        character
    }

    fn add_stroke(&mut self, style: &Style, rng: &mut GlyphRng) {
        let number = self.strokes.len();
        let mut stroke = Stroke::invent(style, number, rng);
        if let Relation::Parallel { stroke: model, .. } = stroke.relation
            && !self.strokes[model].is_bridge()
        {
            stroke.nodes = self.strokes[model].nodes.clone();
        }
        self.strokes.push(stroke);
    }

    /// The ink of each stroke.
    pub(super) fn paths(&self, slips: &mut Slips) -> Vec<Path> {
        let mut drawn = Vec::with_capacity(self.strokes.len());
        for stroke in &self.strokes {
            let path = stroke.path(&drawn, slips);
            drawn.push(path);
        }
        drawn
    }

    /// Whether somebody could write this: it is neither a blot nor a mere dash, and no stroke covers another.
    pub(super) fn is_writable(&self) -> bool {
        const CELLS: f64 = 13.0;
        let paths = self.paths(&mut Slips::none());
        let frame = Frame::around(&paths);
        let extent = frame.extent();
        let short = |(stroke, path): (&Stroke, &Path)| stroke.is_bridge() && path_length(path) < 0.25;
        if self.strokes.iter().zip(&paths).any(short) {
            return false;
        }
        let length: f64 = paths.iter().map(|path| path_length(path)).sum();
        if !(0.35..2.6).contains(&extent) || !(1.25..5.2).contains(&(length / extent)) {
            return false;
        }
        let mut visited = [false; (CELLS as usize + 1) * (CELLS as usize + 1)];
        for point in paths.iter().flatten() {
            let cell = (*point - frame.low) * (CELLS / extent);
            visited[cell.y as usize * (CELLS as usize + 1) + cell.x as usize] = true;
        }
        let cells = visited.iter().filter(|&&visited| visited).count() as f64;
        let size = frame.size();
        length / extent * CELLS / cells < 0.97 && size.x.min(size.y) > 0.12 * extent
    }
}

/// Moves a stroke to another place.
fn move_stroke(stroke: &mut Stroke, style: &Style, rng: &mut GlyphRng) {
    stroke.relation = match stroke.relation {
        Relation::First => {
            *stroke = Stroke::invent(style, 0, rng);
            return;
        }
        Relation::Attached { anchor, own } => match rng.below(2) {
            0 => Relation::Attached { anchor: Anchor { along: other_end(anchor.along, style, rng), ..anchor }, own },
            _ => Relation::Attached { anchor, own: other_end(own, style, rng) },
        },
        Relation::Bridge { from, to } => {
            Relation::Bridge { from, to: Anchor { along: other_end(to.along, style, rng), ..to } }
        }
        Relation::Parallel { stroke, shift } => Relation::Parallel { stroke, shift: shift * -1.0 },
        Relation::Beside { side, gap } => Relation::Beside { side: side * -1.0, gap },
    };
}

fn other_end(along: f64, style: &Style, rng: &mut GlyphRng) -> f64 {
    let places = [0.0, 1.0, place(style, rng)];
    (0..4).map(|_| rng.choose(&places)).find(|other| (other - along).abs() > 0.3).unwrap_or(1.0 - along)
}

/// Makes a stroke clearly longer or shorter.
fn resize_stroke(stroke: &mut Stroke, rng: &mut GlyphRng) {
    let factor = if rng.coin(0.5) { rng.within(0.45, 0.65) } else { rng.within(1.5, 1.9) };
    stroke.nodes.iter_mut().for_each(|node| node.at = node.at * factor);
}

/// Mirrors, rotates or resizes a stroke from one of its inner points on; a plain line becomes curved.
fn bend_stroke(stroke: &mut Stroke, rng: &mut GlyphRng) {
    let nodes = &mut stroke.nodes;
    if nodes.len() < 3 {
        let [from, to] = [nodes[0].at, nodes[nodes.len() - 1].at];
        let run = to - from;
        let side = Point::new(-run.y, run.x) * (rng.sign() * rng.within(0.25, 0.45));
        nodes.insert(1, Node { at: (from + to) * 0.5 + side, corner: rng.coin(0.4) });
        return;
    }
    let pivot = 1 + rng.below(nodes.len() - 2);
    let center = nodes[pivot].at;
    let edit = rng.below(4);
    let factor = if rng.coin(0.5) { rng.within(0.4, 0.65) } else { rng.within(1.5, 2.0) };
    for node in &mut nodes[pivot + 1..] {
        let step = node.at - center;
        let step = match edit {
            0 => Point::new(-step.x, step.y),
            1 => Point::new(step.x, -step.y),
            2 => step * factor,
            _ => Point::new(-step.y, step.x),
        };
        node.at = center + step;
    }
    nodes[pivot].corner |= edit != 2;
}
