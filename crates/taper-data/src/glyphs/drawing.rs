//! One drawing of a character by a drawer.

use super::character::Character;
use super::drawer::Drawer;
use super::point::{Frame, Path, Point, barb};
use super::random::{GlyphRng, sine};
use super::raster::{SIDE, raster};
use super::stroke::Slips;
use super::style::Style;
use crate::Image;
use std::f64::consts::TAU;

/// Free pixels at the sheet's edges.
const MARGIN: f64 = 3.0;

/// A drawing: black ink on a white sheet.
pub(super) fn draw(character: &Character, style: &Style, drawer: &Drawer, rng: &mut GlyphRng) -> Image {
    let care = drawer.slips * rng.factor(0.15);
    let mut paths = character.paths(&mut Slips::of(rng, care, drawer.quirks.is_some()));
    put_on_sheet(&mut paths, style, drawer, rng);
    warp(&mut paths, 1.6 * care, rng);
    if let Some(quirks) = &drawer.quirks {
        paths = quirks.drawn(paths, rng);
    }
    for path in &mut paths {
        move_hand(path, drawer, rng);
    }
    fit_in(&mut paths);
    raster(&paths, drawer.pen)
}

/// Converts the character's units to pixels: size, aspect, slant, rotation and position.
fn put_on_sheet(paths: &mut [Path], style: &Style, drawer: &Drawer, rng: &mut GlyphRng) {
    let frame = Frame::around(paths);
    let extent = frame.extent();
    // Small characters are drawn larger than in proportion.
    let pixels = style.size * (0.3 + 0.7 * extent.sqrt()) * drawer.scale * rng.factor(0.08);
    let scale = pixels.min(86.0) / extent;
    let aspect = (style.aspect * drawer.aspect * rng.factor(0.08)).sqrt();
    let slant = drawer.slant + rng.normal(0.04);
    let turn = Point::towards(drawer.turn + rng.normal(0.04), 1.0);
    let middle = (SIDE - 1) as f64 / 2.0;
    let place = drawer.place + Point::new(middle + rng.normal(4.5), middle + rng.normal(4.5));
    for point in paths.iter_mut().flatten() {
        let step = (*point - frame.center()) * scale;
        let shaped = Point::new(step.x * aspect - slant * step.y, step.y / aspect);
        *point = place + shaped.turned(turn);
    }
}

/// Long waves across the sheet, a few pixels high.
fn warp(paths: &mut [Path], height: f64, rng: &mut GlyphRng) {
    let mut wave = || {
        let along = Point::towards(rng.within(0.0, TAU), rng.within(0.04, 0.09));
        (along, rng.within(0.0, TAU), Point::new(rng.normal(height), rng.normal(height)))
    };
    let waves = [wave(), wave(), wave()];
    for point in paths.iter_mut().flatten() {
        let from = *point;
        for (along, phase, shift) in waves {
            *point = *point + shift * sine(along.dot(from) + phase);
        }
    }
}

/// Direction of the stroke, rounded corners, tremor, and a flick at the end.
fn move_hand(path: &mut Path, drawer: &Drawer, rng: &mut GlyphRng) {
    if let [first, .., last] = path[..]
        && (last - first).dot(drawer.way) < 0.0
    {
        path.reverse();
    }
    if drawer.rounding > 0 {
        *path = rounded(path, drawer.rounding);
    }
    let mut off = Point::ORIGIN;
    for point in path.iter_mut() {
        off = off * 0.93 + Point::new(rng.normal(0.18), rng.normal(0.18)) * drawer.tremor;
        *point = *point + off;
    }
    if rng.coin(drawer.flick)
        && let [.., before, last] = path[..]
    {
        path.extend(barb(before, last, rng.sign() * rng.within(1.0, 2.6), rng.within(2.0, 5.0), 3));
    }
}

/// Replaces each point by the mean of its neighbors, equally many on either side; the ends stay.
fn rounded(path: &[Point], reach: usize) -> Path {
    let last = path.len() - 1;
    let mean = |k: usize| {
        let reach = reach.min(k).min(last - k);
        let sum = path[k - reach..=k + reach].iter().fold(Point::ORIGIN, |sum, &point| sum + point);
        sum * (1.0 / (2 * reach + 1) as f64)
    };
    (0..=last).map(mean).collect()
}

/// Shrinks and moves the ink so that it lies on the sheet.
fn fit_in(paths: &mut [Path]) {
    let frame = Frame::around(paths);
    let room = SIDE as f64 - 1.0 - 2.0 * MARGIN;
    let scale = (room / frame.extent()).min(1.0);
    let half = frame.size() * (scale / 2.0);
    let inside = |middle: f64, half: f64| middle.max(MARGIN + half).min(MARGIN + room - half);
    let middle = Point::new(inside(frame.center().x, half.x), inside(frame.center().y, half.y));
    for point in paths.iter_mut().flatten() {
        *point = middle + (*point - frame.center()) * scale;
    }
}
