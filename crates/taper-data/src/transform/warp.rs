//! Random rotation, shift, scaling and shear.

use super::{Planes, planes::clamp};
use rand::Rng as _;
use taper_ops::Rng;

/// The largest distortions of an image. Each is drawn uniformly from minus to plus its value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine {
    /// Rotation, in degrees.
    pub degrees: f32,
    /// Shift, as a fraction of the image's height and width.
    pub shift: f32,
    /// Scaling by 1 plus or minus this.
    pub scale: f32,
    /// Shear, in degrees.
    pub shear: f32,
}

/// `planes` distorted about the middle, sampled bilinearly; uncovered pixels continue the
/// edge.
pub(crate) fn warp(planes: &Planes, most: Affine, rng: &mut Rng) -> Planes {
    let mut draw = |most: f32| if most == 0.0 { 0.0 } else { rng.random_range(-most..=most) };
    let (sin, cos) = draw(most.degrees).to_radians().sin_cos();
    let (shift_x, shift_y) = (draw(most.shift) * planes.width as f32, draw(most.shift) * planes.height as f32);
    let scale = 1.0 + draw(most.scale);
    let slant = draw(most.shear).to_radians().tan();
    // The target is scale · rotation · slant of the source: [[cos, cos·slant − sin], [sin, sin·slant + cos]].
    let (a, b, c, d) = (scale * cos, scale * (cos * slant - sin), scale * sin, scale * (sin * slant + cos));
    let determinant = a * d - b * c;
    let (middle_x, middle_y) = ((planes.width - 1) as f32 / 2.0, (planes.height - 1) as f32 / 2.0);
    planes.draw(planes.height, planes.width, |plane, row, column| {
        let (x, y) = (column as f32 - middle_x - shift_x, row as f32 - middle_y - shift_y);
        let source_x = (d * x - b * y) / determinant + middle_x;
        let source_y = (a * y - c * x) / determinant + middle_y;
        sample(plane, planes.height, planes.width, source_y, source_x)
    })
}

/// The plane at (`y`, `x`), in pixels, between the four samples around it.
fn sample(plane: &[f32], height: usize, width: usize, y: f32, x: f32) -> f32 {
    let (top, left) = (y.floor(), x.floor());
    let (down, right) = (y - top, x - left);
    let at = |row: isize, column: isize| plane[clamp(row, height) * width + clamp(column, width)];
    let (row, column) = (top as isize, left as isize);
    let upper = at(row, column) * (1.0 - right) + at(row, column + 1) * right;
    let lower = at(row + 1, column) * (1.0 - right) + at(row + 1, column + 1) * right;
    upper * (1.0 - down) + lower * down
}

#[cfg(test)]
mod tests {
    use super::*;
    use taper_ops::rng;

    fn dot(row: usize, column: usize) -> Planes {
        let mut values = vec![0.0; 15 * 15];
        values[row * 15 + column] = 1.0;
        Planes { channels: 1, height: 15, width: 15, values }
    }

    #[test]
    fn no_distortion_changes_nothing() {
        let none = Affine { degrees: 0.0, shift: 0.0, scale: 0.0, shear: 0.0 };
        assert_eq!(warp(&dot(3, 5), none, &mut rng(0, "test", 0)), dot(3, 5));
    }

    #[test]
    fn turning_keeps_the_middle_and_the_distance_from_it() {
        let turn = Affine { degrees: 90.0, shift: 0.0, scale: 0.0, shear: 0.0 };
        let center_of_mass = |planes: &Planes| {
            let mass: f32 = planes.values.iter().sum();
            let mean = |axis: fn(usize) -> usize| {
                planes.values.iter().enumerate().map(|(at, value)| axis(at) as f32 * value).sum::<f32>() / mass
            };
            (mean(|at| at / 15) - 7.0, mean(|at| at % 15) - 7.0)
        };
        let mut angles = Vec::new();
        for index in 0..5 {
            let rng = &mut rng(0, "test", index);
            assert!((warp(&dot(7, 7), turn, &mut rng.clone()).values[7 * 15 + 7] - 1.0).abs() < 1e-4);
            let (y, x) = center_of_mass(&warp(&dot(7, 12), turn, rng));
            assert!((y.hypot(x) - 5.0).abs() < 0.3, "{y} {x}");
            angles.push(y.atan2(x));
        }
        assert!(angles.iter().any(|angle| (angle - angles[0]).abs() > 0.2));
    }

    #[test]
    fn a_shift_moves_by_at_most_its_part() {
        let shift = Affine { degrees: 0.0, shift: 0.2, scale: 0.0, shear: 0.0 };
        for index in 0..20 {
            let moved = warp(&dot(7, 7), shift, &mut rng(1, "test", index));
            let lit = |at: &usize| moved.values[*at] > 0.0;
            assert!((0..225).filter(lit).all(|at| (3..=11).contains(&(at / 15)) && (3..=11).contains(&(at % 15))));
            assert!((moved.values.iter().sum::<f32>() - 1.0).abs() < 1e-4);
        }
    }
}
