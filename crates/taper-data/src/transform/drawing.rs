//! Line drawings, as people make them: on paper or on a screen, dark on light or light on dark, of
//! any size.

use super::Planes;
use super::center::background;
use super::resize::resize;
use crate::{DataError, Filter, Image, Result};

/// A smaller difference from the background than this does not count as ink.
const FAINTEST: f32 = 0.15;
/// Ink differs from the background by at least this share of the largest difference.
const INK: f32 = 0.5;
/// No drawing has more ink than this share of the image.
const MOST_INK: f32 = 0.4;
/// A larger share of pixels between paper and ink are shades, not the edges of lines.
const MOST_SHADES: f32 = 0.2;

/// What an image shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sheet {
    /// Nothing.
    Blank,
    /// Dark lines on a light background.
    DarkOnLight,
    /// Light lines on a dark background.
    LightOnDark,
    /// Anything else, such as a photograph.
    Picture,
}

impl Sheet {
    /// Classifies an image: a drawing has one background (the median of its border), little ink, and
    /// hardly anything in between.
    pub fn of(image: &Image) -> Self {
        let planes = super::step::gray(Planes::of(image));
        let (off, ground) = off_ground(&planes);
        let strongest = off.iter().copied().fold(0.0, f32::max);
        if strongest < FAINTEST {
            return Self::Blank;
        }
        let share = |low: f32, high: f32| {
            let within = off.iter().filter(|&&off| off > low * strongest && off <= high * strongest);
            within.count() as f32 / off.len() as f32
        };
        if share(INK, 1.0) > MOST_INK || share(FAINTEST, INK) > MOST_SHADES {
            return Self::Picture;
        }
        if ground > 0.5 { Self::DarkOnLight } else { Self::LightOnDark }
    }
}

/// The difference of each pixel of a gray image from its background, and the background.
fn off_ground(planes: &Planes) -> (Vec<f32>, f32) {
    let ground = background(&planes.values, planes.height, planes.width);
    (planes.values.iter().map(|value| (value - ground).abs()).collect(), ground)
}

/// A gray drawing as light ink on dark, whatever its colors: pixels whose difference from the background is
/// at least half of the largest are ink.
///
/// Fails if nothing stands out from the background.
pub(crate) fn ink(planes: &Planes) -> Result<Planes> {
    let (off, _) = off_ground(planes);
    let strongest = off.iter().copied().fold(0.0, f32::max);
    if strongest < FAINTEST {
        return Err(DataError::Invalid("is blank: draw something or remove it".to_string()));
    }
    let values = off.iter().map(|&off| if off > INK * strongest { 1.0 } else { 0.0 }).collect();
    Ok(Planes { values, ..*planes })
}

/// The square around the ink of a light drawing on dark, resized; the ink's longer side takes up `share`
/// of the square, and pixels outside the image are dark. `keep` interpolates the square's side
/// geometrically between that and the image's own; ink is never cut off. An image without ink is only shrunk.
pub(crate) fn frame(planes: &Planes, share: f32, side: usize, keep: f32) -> Planes {
    let (height, width) = (planes.height, planes.width);
    let inked = |place: usize| planes.each().any(|plane| plane[place] > INK);
    let places: Vec<usize> = (0..height * width).filter(|&place| inked(place)).collect();
    let span = |along: &dyn Fn(usize) -> usize, whole: usize| {
        let ends = places.iter().map(|&place| along(place));
        match (ends.clone().min(), ends.max()) {
            (Some(low), Some(high)) => (low as isize, high as isize + 1),
            _ => (0, whole as isize),
        }
    };
    let (left, right) = span(&|place| place % width, width);
    let (top, bottom) = span(&|place| place / width, height);
    let (ink, image) = ((right - left).max(bottom - top) as f32, height.max(width) as f32);
    let square = (ink / share).powf(1.0 - keep) * image.powf(keep);
    let square = (square.round() as isize).max(1);
    let first = |low: isize, high: isize| (low + high - square).div_euclid(2);
    let (first_row, first_column) = (first(top, bottom), first(left, right));
    let cut = planes.draw(square as usize, square as usize, |plane, row, column| {
        let (row, column) = (first_row + row as isize, first_column + column as isize);
        let inside = (0..height as isize).contains(&row) && (0..width as isize).contains(&column);
        if inside { plane[row as usize * width + column as usize] } else { 0.0 }
    });
    resize(&cut, side, side, Filter::Bilinear)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cross of this thickness on a sheet of this size, `light` on dark or the reverse.
    fn cross(size: usize, thick: usize, light: bool) -> Image {
        let (ink, paper) = if light { (250, 10) } else { (20, 240) };
        let on = |at: usize| at.abs_diff(size / 2) <= thick / 2;
        let arm = |at: usize| at.abs_diff(size / 2) <= size / 4;
        let pixels = (0..size * size).map(|place| {
            let (row, column) = (place / size, place % size);
            if (on(row) && arm(column)) || (on(column) && arm(row)) { ink } else { paper }
        });
        Image { width: size, height: size, channels: 1, pixels: pixels.collect() }
    }

    #[test]
    fn sheets_are_told_apart() {
        assert_eq!(Sheet::of(&cross(60, 4, false)), Sheet::DarkOnLight);
        assert_eq!(Sheet::of(&cross(200, 14, true)), Sheet::LightOnDark);
        let even = Image { width: 9, height: 9, channels: 1, pixels: vec![200; 81] };
        assert_eq!(Sheet::of(&even), Sheet::Blank);
        assert!(ink(&Planes::of(&even)).unwrap_err().to_string().contains("is blank"));
        let pixels = (0..40 * 40).map(|place| (40 + 5 * (place % 40)) as u8).collect();
        assert_eq!(Sheet::of(&Image { width: 40, height: 40, channels: 1, pixels }), Sheet::Picture);
    }

    #[test]
    fn a_drawing_is_the_same_in_either_colors_at_any_size_and_place() {
        let framed = |image: &Image| frame(&ink(&Planes::of(image)).unwrap(), 0.5, 30, 0.0);
        let one = framed(&cross(60, 4, false));
        let apart = |other: &Planes| one.values.iter().zip(&other.values).map(|(a, b)| (a - b).abs()).sum::<f32>();
        assert_eq!(apart(&framed(&cross(60, 4, true))), 0.0);
        assert!(apart(&framed(&cross(240, 16, true))) < 20.0, "{}", apart(&framed(&cross(240, 16, true))));
        let moved = crate::transform::planes::window(&cross(60, 4, false), 9, -8, 60, 60);
        assert_eq!(apart(&frame(&ink(&moved).unwrap(), 0.5, 30, 0.0)), 0.0);
        let columns = (0..30).filter(|column| (0..30).any(|row| one.values[row * 30 + column] > 0.5)).count();
        assert!((14..=16).contains(&columns), "{columns} of 30");
    }

    #[test]
    fn size_is_kept_as_far_as_is_said_and_ink_is_never_cut_off() {
        // an upright line on a sheet of 120
        let sheet = |size: usize| {
            let mut values = vec![0.0; 120 * 120];
            (0..size).for_each(|place| values[(60 - size / 2 + place) * 120 + 60] = 1.0);
            Planes { channels: 1, height: 120, width: 120, values }
        };
        let rows = |size: usize, share: f32, keep: f32| {
            let framed = frame(&sheet(size), share, 120, keep);
            (0..120).filter(|row| framed.values[row * 120..(row + 1) * 120].iter().any(|&value| value > 0.25)).count()
        };
        assert!(rows(64, 0.5, 0.0).abs_diff(60) < 4 && rows(16, 0.5, 0.0).abs_diff(60) < 9);
        assert_eq!((rows(64, 0.5, 1.0), rows(16, 0.5, 1.0)), (64, 16));
        let halfway = rows(64, 0.5, 0.5) as f32 / rows(16, 0.5, 0.5) as f32;
        assert!((halfway - 2.0).abs() < 0.25, "{halfway}");
        assert_eq!(rows(120, 0.2, 1.0), 120);
    }
}
