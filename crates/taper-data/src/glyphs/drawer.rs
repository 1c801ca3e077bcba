//! A person who draws characters, always with the same habits.

use super::Hands;
use super::point::Point;
use super::quirks::Quirks;
use super::random::GlyphRng;

/// A drawer's habits. Lengths are in pixels.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Drawer {
    /// Carelessness: multiplies every stroke variation.
    pub(super) slips: f64,
    /// Shear: x per y.
    pub(super) slant: f64,
    /// Rotation of the whole character, in radians.
    pub(super) turn: f64,
    /// Size, a factor around 1.
    pub(super) scale: f64,
    /// Width over height, a factor around 1.
    pub(super) aspect: f64,
    /// Position on the sheet, relative to its middle.
    pub(super) place: Point,
    /// Half the pen's width.
    pub(super) pen: f64,
    /// Points to either side that a corner is rounded over.
    pub(super) rounding: usize,
    /// Amount of tremor.
    pub(super) tremor: f64,
    /// Strokes that run against this direction are drawn from their other end.
    pub(super) way: Point,
    /// How often a stroke ends in a small flick, as when a pen leaves the paper.
    pub(super) flick: f64,
    /// Further habits, if the drawer has any.
    pub(super) quirks: Option<Quirks>,
}

impl Drawer {
    pub(super) fn invent(hands: Hands, rng: &mut GlyphRng) -> Self {
        Self {
            slips: rng.factor(0.28),
            slant: rng.normal(0.09),
            turn: rng.normal(0.04),
            scale: rng.factor(0.11),
            aspect: rng.factor(0.075),
            place: Point::new(rng.normal(3.5) - 1.5, rng.normal(3.5) - 1.5),
            pen: rng.within(2.15, 2.45),
            rounding: (5.0 * rng.unit() * rng.unit()) as usize,
            tremor: rng.within(0.1, 0.8),
            way: Point::towards(0.8 + rng.normal(0.7), 1.0),
            flick: rng.unit() * rng.unit() * 0.5,
            quirks: (hands == Hands::Own).then(|| Quirks::invent(rng)),
        }
    }
}
