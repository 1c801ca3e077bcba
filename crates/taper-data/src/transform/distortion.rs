//! Distortions of line drawings: rotation, mirroring, scaling, slant and bending, all in one
//! resampling. They make a few alphabets go a long way as training data: see `docs/guide/drawings.md`.

use super::Planes;
use super::planes::clamp;
use rand::Rng as _;
use taper_ops::Rng;

/// Nodes per side of the net that bends an image; between them the shift is bilinear.
const NODES: usize = 5;

/// How much a drawing is distorted: standard deviations of normal draws.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Warp {
    /// Rotation, in degrees.
    pub degrees: f32,
    /// Logarithm of the size.
    pub scale: f32,
    /// Logarithm of width over height.
    pub aspect: f32,
    /// Slant: pixels across per pixel down.
    pub slant: f32,
    /// Shift, as a fraction of the image's side.
    pub shift: f32,
    /// Bending: shifts of the nodes of a 5 by 5 net, as a fraction of the image's side.
    pub bend: f32,
}

/// Where each place of a target image comes from: a linear map about the middle, and a net of
/// shifts. Lengths are fractions of the image's side, places from −½ to ½.
#[derive(Debug, Clone)]
pub(crate) struct Map {
    /// Row by row: source x and y of target x and y.
    linear: [f32; 4],
    shift: [f32; 2],
    /// Shifts of the nodes, x then y; `None` for a map that does not bend.
    net: Option<Box<[[f32; NODES * NODES]; 2]>>,
}

impl Map {
    fn linear(linear: [f32; 4]) -> Self {
        Self { linear, shift: [0.0; 2], net: None }
    }

    /// One of the eight symmetries of the square.
    pub(crate) fn symmetry(rng: &mut Rng) -> Self {
        let (sin, cos) = [(0.0, 1.0), (1.0, 0.0), (0.0, -1.0), (-1.0, 0.0)][rng.random_range(0..4)];
        let mirrored = if rng.random() { -1.0 } else { 1.0 };
        Self::linear([cos * mirrored, -sin, sin * mirrored, cos])
    }

    /// A random distortion of this strength.
    pub(crate) fn warp(warp: Warp, rng: &mut Rng) -> Self {
        let mut draw = |deviation: f32| deviation * normal(rng);
        let (sin, cos) = draw(warp.degrees).to_radians().sin_cos();
        let (scale, aspect) = (draw(warp.scale).exp(), (0.5 * draw(warp.aspect)).exp());
        let slant = draw(warp.slant);
        let (across, down) = (scale * aspect, scale / aspect);
        let linear = [across * cos, across * cos * slant - down * sin, across * sin, across * sin * slant + down * cos];
        let shift = [draw(warp.shift), draw(warp.shift)];
        let net =
            (warp.bend > 0.0).then(|| Box::new(std::array::from_fn(|_| std::array::from_fn(|_| draw(warp.bend)))));
        Self { linear, shift, net }
    }

    /// The source of a target place.
    fn source(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        let [a, b, c, d] = self.linear;
        let mut source = [a * x + b * y + self.shift[0], c * x + d * y + self.shift[1]];
        if let Some(net) = &self.net {
            let node = |at: f32| {
                let at = ((at + 0.5) * (NODES - 1) as f32).clamp(0.0, (NODES - 1) as f32);
                let first = (at as usize).min(NODES - 2);
                (first, at - first as f32)
            };
            let ((column, right), (row, down)) = (node(x), node(y));
            let corner = row * NODES + column;
            for (source, net) in source.iter_mut().zip(net.iter()) {
                let upper = net[corner] + (net[corner + 1] - net[corner]) * right;
                let lower = net[corner + NODES] + (net[corner + NODES + 1] - net[corner + NODES]) * right;
                *source += upper + (lower - upper) * down;
            }
        }
        source
    }
}

/// `planes` through the maps, the first one first, resampled once, bilinearly; uncovered
/// pixels continue the edge.
pub(crate) fn distort(planes: &Planes, maps: &[Map]) -> Planes {
    let (height, width) = (planes.height, planes.width);
    let side = height.max(width) as f32;
    let (middle_x, middle_y) = ((width - 1) as f32 / 2.0, (height - 1) as f32 / 2.0);
    let mut values = vec![0.0; planes.values.len()];
    for row in 0..height {
        for column in 0..width {
            let place = [(column as f32 - middle_x) / side, (row as f32 - middle_y) / side];
            let [x, y] = maps.iter().rev().fold(place, |place, map| map.source(place));
            let (x, y) = (x * side + middle_x, y * side + middle_y);
            let (left, top) = (floor(x), floor(y));
            let (right, down) = (x - left as f32, y - top as f32);
            let columns = [clamp(left, width), clamp(left + 1, width)];
            let rows = [clamp(top, height) * width, clamp(top + 1, height) * width];
            for (plane, target) in planes.each().zip(values.chunks_exact_mut(height * width)) {
                let [upper, lower] = rows.map(|row| {
                    let (first, second) = (plane[row + columns[0]], plane[row + columns[1]]);
                    first + (second - first) * right
                });
                target[row * width + column] = upper + (lower - upper) * down;
            }
        }
    }
    Planes { values, ..*planes }
}

/// The largest integer up to a small value. The standard library's `floor` takes any value
/// and is a function call on the oldest processors.
fn floor(place: f32) -> isize {
    let towards_zero = place as i32;
    (towards_zero - i32::from(place < towards_zero as f32)) as isize
}

/// A line drawing with another pen: blurred over 5 by 5 pixels, then light above `level` and dark
/// below. In a light drawing on dark, a low level makes lines thicker.
pub(crate) fn pen(planes: &Planes, level: f32) -> Planes {
    let blurred = blur(&blur(planes));
    blurred.map(|value| if value > level { 1.0 } else { 0.0 })
}

/// Weighted ¼, ½, ¼ across and down.
fn blur(planes: &Planes) -> Planes {
    let (height, width) = (planes.height, planes.width);
    let mut values = Vec::with_capacity(planes.values.len());
    for plane in planes.each() {
        let across: Vec<f32> = plane
            .chunks_exact(width)
            .flat_map(|row| {
                (0..width).map(|x| 0.25 * (row[x.saturating_sub(1)] + row[(x + 1).min(width - 1)]) + 0.5 * row[x])
            })
            .collect();
        for row in 0..height {
            let line = |row: usize| &across[row * width..(row + 1) * width];
            let (above, here, below) = (line(row.saturating_sub(1)), line(row), line((row + 1).min(height - 1)));
            let lines = above.iter().zip(here).zip(below);
            values.extend(lines.map(|((above, here), below)| 0.25 * (above + below) + 0.5 * here));
        }
    }
    Planes { values, ..*planes }
}

/// A normal draw of mean 0 and deviation 1, from twelve uniform draws: never beyond six deviations.
fn normal(rng: &mut Rng) -> f32 {
    (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use taper_ops::rng;

    const NONE: Warp = Warp { degrees: 0.0, scale: 0.0, aspect: 0.0, slant: 0.0, shift: 0.0, bend: 0.0 };

    /// A light L on dark, 15 by 15.
    fn letter() -> Planes {
        let mut values = vec![0.0; 225];
        (3..12).for_each(|row| values[row * 15 + 4] = 1.0);
        (4..9).for_each(|column| values[11 * 15 + column] = 1.0);
        Planes { channels: 1, height: 15, width: 15, values }
    }

    fn close(a: &Planes, b: &Planes) -> bool {
        a.values.iter().zip(&b.values).all(|(a, b)| (a - b).abs() < 1e-4)
    }

    #[test]
    fn the_symmetries_are_eight_and_each_keeps_every_pixel() {
        let mut found: Vec<Planes> = Vec::new();
        for index in 0..200 {
            let turned = distort(&letter(), &[Map::symmetry(&mut rng(0, "test", index))]);
            assert!((turned.values.iter().sum::<f32>() - 13.0).abs() < 1e-3);
            if !found.iter().any(|known| close(known, &turned)) {
                found.push(turned);
            }
        }
        assert!(found.len() == 8 && found.iter().any(|planes| close(planes, &letter())));
    }

    #[test]
    fn no_distortion_changes_nothing_and_maps_follow_each_other() {
        assert!(close(&distort(&letter(), &[Map::warp(NONE, &mut rng(0, "test", 0))]), &letter()));
        let (one, two) = (Map::symmetry(&mut rng(0, "test", 1)), Map::symmetry(&mut rng(0, "test", 5)));
        let both = distort(&letter(), &[one.clone(), two.clone()]);
        assert!(close(&both, &distort(&distort(&letter(), &[one]), &[two])));
    }

    #[test]
    fn bends_move_ink_by_about_their_deviation() {
        let bent = Warp { bend: 0.05, ..NONE };
        let mut total = 0.0;
        for index in 0..300 {
            let map = Map::warp(bent, &mut rng(1, "test", index));
            total += map.source([0.25, 0.0])[0] - 0.25;
            assert!(map.source([0.5, 0.5]).iter().all(|at| (at - 0.5).abs() < 0.3));
        }
        assert!((total / 300.0).abs() < 0.01);
        assert!(!close(&distort(&letter(), &[Map::warp(bent, &mut rng(1, "test", 0))]), &letter()));
    }

    #[test]
    fn a_low_level_is_a_thick_pen() {
        let ink = |level| pen(&letter(), level).values.iter().sum::<f32>();
        assert!(ink(0.1) > ink(0.3) && ink(0.3) > ink(0.45), "{} {} {}", ink(0.1), ink(0.3), ink(0.45));
    }
}
