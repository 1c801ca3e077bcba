//! What the characters of one alphabet have in common.

use super::random::{GlyphRng, exponential};
use super::shape::{KINDS, Shape, other_direction};
use super::stroke::Stroke;
use std::f64::consts::PI;

/// The kind of writing that an alphabet imitates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hand {
    /// Straight strokes, as carved in stone.
    Carved,
    /// Stems, bowls and hooks, as with a pen.
    Written,
    /// One long run of arches to the right.
    Cursive,
}

/// What the characters of one alphabet have in common.
#[derive(Debug, Clone)]
pub(super) struct Style {
    pub(super) hand: Hand,
    /// Weights of 1, 2, … strokes per character.
    pub(super) strokes: [f64; 5],
    /// Weights of 1, 2, … pieces per stroke.
    pub(super) pieces: [f64; 4],
    /// Weights of [`KINDS`].
    kinds: [f64; 7],
    /// Headings of straight pieces, modulo half a turn.
    pub(super) directions: Vec<f64>,
    /// Short, middle and long, the size of a character being about 1.
    lengths: [f64; 3],
    /// Pieces that recur in many characters, and how often.
    library: Vec<Shape>,
    reuse: f64,
    /// How often a piece is mirrored.
    mirrored: f64,
    /// Weights of a stroke's relations: from a start, from an end, along, bridging two strokes,
    /// parallel to one, next to all.
    pub(super) relations: [f64; 6],
    /// Weights of where along its parent a stroke is attached: middle, thirds, anywhere.
    pub(super) places: [f64; 3],
    /// How often a character has a small mark next to it.
    pub(super) marked: f64,
    /// How often a character is an edited earlier one.
    pub(super) varied: f64,
    /// A first stroke that many characters share, and how often.
    pub(super) shared: Option<(Stroke, f64)>,
    /// Width over height is multiplied by this.
    pub(super) aspect: f64,
    /// Pixels per unit of length.
    pub(super) size: f64,
}

impl Style {
    pub(super) fn invent(rng: &mut GlyphRng) -> Self {
        let hand = [Hand::Carved, Hand::Written, Hand::Cursive][rng.pick(&[0.36, 0.36, 0.28])];
        let (mean, kinds, pieces) = match hand {
            Hand::Carved => (rng.within(1.9, 3.6), [1.0, 0.12, 0.1, 0.02, 0.04, 0.5, 0.12], [1.0, 0.25, 0.1, 0.0]),
            Hand::Written => (rng.within(1.3, 2.7), [0.9, 0.9, 0.25, 0.2, 0.2, 0.3, 0.5], [1.0, 0.7, 0.25, 0.05]),
            Hand::Cursive => (rng.within(0.8, 1.8), [0.2, 1.2, 0.25, 0.3, 0.25, 0.1, 0.35], [0.1, 0.8, 0.8, 0.4]),
        };
        let spread = rng.within(0.6, 0.9);
        let mut style = Self {
            hand,
            strokes: [1.0, 2.0, 3.0, 4.0, 5.0].map(|k| {
                let off: f64 = (k - mean) / spread;
                exponential(-0.5 * off * off) + 0.005
            }),
            pieces: pieces.map(|weight| weight * rng.within(0.4, 1.6)),
            kinds: kinds.map(|weight| weight * own_taste(rng)),
            directions: directions(hand, rng),
            lengths: [rng.within(0.25, 0.38), rng.within(0.5, 0.68), rng.within(0.9, 1.1)],
            library: Vec::new(),
            reuse: rng.within(0.4, 0.9),
            mirrored: rng.within(0.0, 0.35),
            relations: [0.6, 0.6, 1.0, 0.8, 0.4, 0.3].map(|weight| weight * own_taste(rng)),
            places: [1.0, 0.6, 0.4].map(|weight| weight * own_taste(rng)),
            marked: if rng.coin(0.4) { rng.within(0.05, 0.35) } else { 0.0 },
            varied: rng.within(0.25, 0.7),
            shared: None,
            aspect: rng.factor(0.12),
            size: rng.within(53.0, 63.0),
        };
        let library = 3 + rng.below(8);
        style.library = (0..library).map(|_| style.fresh_shape(None, rng)).collect();
        if rng.coin(0.2) {
            style.shared = Some((Stroke::invent(&style, 0, rng), rng.within(0.4, 0.9)));
        }
        style
    }

    /// A piece in this style, to be drawn after one that ended toward `heading`.
    pub(super) fn shape(&self, heading: Option<f64>, rng: &mut GlyphRng) -> Shape {
        if !rng.coin(self.reuse) {
            return self.fresh_shape(heading, rng);
        }
        let known = &self.library[rng.below(self.library.len())];
        match (rng.coin(self.mirrored), rng.coin(self.mirrored)) {
            (false, false) => known.clone(),
            (across, down) => known.mapped(|mut point| {
                point.x *= if across { -1.0 } else { 1.0 };
                point.y *= if down { -1.0 } else { 1.0 };
                point
            }),
        }
    }

    fn fresh_shape(&self, heading: Option<f64>, rng: &mut GlyphRng) -> Shape {
        let kind = KINDS[rng.pick(&self.kinds)];
        let angle = match (self.hand, heading) {
            (Hand::Cursive, _) if rng.coin(0.75) => rng.normal(0.15),
            (_, Some(heading)) => other_direction(heading, &self.directions, rng),
            _ => rng.choose(&self.directions),
        };
        let length = match self.hand {
            Hand::Cursive => self.lengths[rng.pick(&[0.6, 1.0, 0.0])],
            _ => self.lengths[rng.pick(&if heading.is_some() { [0.7, 1.0, 0.4] } else { [0.25, 1.0, 1.0] })],
        };
        let mut shape = Shape::invent(kind, angle, length, &self.directions, rng);
        if self.hand == Hand::Cursive {
            // arches have the height of the line of writing, whatever their width
            let low = shape.points.iter().map(|point| point.y).fold(0.0, f64::min);
            let high = shape.points.iter().map(|point| point.y).fold(0.0, f64::max);
            if high - low > 0.1 {
                let stretch = self.lengths[1] * rng.choose(&[0.7, 1.0, 1.0]) / (high - low);
                shape.points.iter_mut().for_each(|point| point.y *= stretch);
            }
        }
        shape
    }
}

/// How much more or less than average an alphabet uses something.
fn own_taste(rng: &mut GlyphRng) -> f64 {
    let u = rng.unit();
    0.1 + 2.5 * u * u
}

/// Across and down, and the alphabet's other directions.
fn directions(hand: Hand, rng: &mut GlyphRng) -> Vec<f64> {
    let lean = if rng.coin(0.75) { 0.0 } else { rng.normal(0.2) };
    let mut directions = vec![0.0, PI / 2.0 + lean, PI / 2.0 + lean];
    if rng.coin(0.6) {
        directions.push(0.0);
    }
    let slanted = rng.choose(&[PI / 4.0, PI / 3.0, PI / 6.0]);
    let likes_slant = if hand == Hand::Carved { 0.6 } else { 0.4 };
    for angle in [slanted, -slanted] {
        if rng.coin(likes_slant) {
            directions.push(angle);
        }
    }
    directions
}
