//! Moving a line drawing to the middle of its image.

use super::Planes;

/// What is moved to the middle of the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Middle {
    /// The center of mass of its ink.
    Mass,
    /// The middle of the smallest box around its ink.
    Box,
}

/// How much of the strongest ink a pixel must have to belong to the drawing: keeps the noise of
/// JPEG and paper out.
const FAINT: f32 = 0.3;

/// The drawing moved by whole pixels; uncovered pixels get the background's color, the
/// median of the image's border. An image without ink stays as it is.
pub(crate) fn center(planes: &Planes, middle: Middle) -> Planes {
    let (height, width) = (planes.height, planes.width);
    let backgrounds: Vec<f32> = planes.each().map(|plane| background(plane, height, width)).collect();
    let mut ink = vec![0.0f32; height * width];
    for (plane, background) in planes.each().zip(&backgrounds) {
        ink.iter_mut().zip(plane).for_each(|(ink, value)| *ink += (value - background).abs());
    }
    let strongest = ink.iter().copied().fold(0.0, f32::max);
    if strongest == 0.0 {
        return planes.clone();
    }
    ink.iter_mut().filter(|ink| **ink < FAINT * strongest).for_each(|ink| *ink = 0.0);
    let by_row: Vec<f32> = ink.chunks_exact(width).map(|row| row.iter().sum()).collect();
    let by_column: Vec<f32> = (0..width).map(|column| ink.iter().skip(column).step_by(width).sum()).collect();
    let (down, right) = (offset(&by_row, middle), offset(&by_column, middle));
    let mut values = Vec::with_capacity(planes.values.len());
    for (plane, background) in planes.each().zip(backgrounds) {
        for row in 0..height {
            values.extend((0..width).map(|column| {
                let (row, column) = (row.checked_add_signed(-down), column.checked_add_signed(-right));
                match (row, column) {
                    (Some(row), Some(column)) if row < height && column < width => plane[row * width + column],
                    _ => background,
                }
            }));
        }
    }
    Planes { values, ..*planes }
}

/// The distance of ink with this distribution along an axis from the axis's middle, in whole pixels.
fn offset(ink: &[f32], middle: Middle) -> isize {
    let at = match middle {
        Middle::Mass => {
            let mass: f64 = ink.iter().map(|&ink| f64::from(ink)).sum();
            ink.iter().enumerate().map(|(place, &ink)| place as f64 * f64::from(ink)).sum::<f64>() / mass
        }
        Middle::Box => {
            let first = ink.iter().position(|&ink| ink > 0.0).unwrap_or(0);
            let last = ink.iter().rposition(|&ink| ink > 0.0).unwrap_or(0);
            (first + last) as f64 / 2.0
        }
    };
    ((ink.len() - 1) as f64 / 2.0 - at).round() as isize
}

/// The median of a plane's border.
pub(crate) fn background(plane: &[f32], height: usize, width: usize) -> f32 {
    let on_border = |place: usize| {
        let (row, column) = (place / width, place % width);
        row == 0 || column == 0 || row + 1 == height || column + 1 == width
    };
    let mut border: Vec<f32> = (0..plane.len()).filter(|&place| on_border(place)).map(|place| plane[place]).collect();
    border.sort_by(f32::total_cmp);
    border[border.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A white 9x9 sheet with ink at these (row, column).
    fn sheet(ink: &[(usize, usize)]) -> Planes {
        let mut values = vec![1.0; 81];
        ink.iter().for_each(|(row, column)| values[row * 9 + column] = 0.0);
        Planes { channels: 1, height: 9, width: 9, values }
    }

    #[test]
    fn a_drawing_moves_to_the_middle_and_the_paper_fills_up() {
        assert_eq!(center(&sheet(&[(1, 1), (1, 2), (1, 3)]), Middle::Mass), sheet(&[(4, 3), (4, 4), (4, 5)]));
    }

    #[test]
    fn box_and_mass_differ_for_a_heavy_end() {
        let drawing = sheet(&[(0, 0), (0, 1), (1, 0), (1, 1), (0, 4)]);
        assert_eq!(center(&drawing, Middle::Box), sheet(&[(4, 2), (4, 3), (5, 2), (5, 3), (4, 6)]));
        assert_eq!(center(&drawing, Middle::Mass), sheet(&[(4, 3), (4, 4), (5, 3), (5, 4), (4, 7)]));
    }

    #[test]
    fn white_ink_on_black_is_a_drawing_too_and_an_empty_sheet_stays() {
        let black = sheet(&[(0, 0)]).map(|value| 1.0 - value);
        assert_eq!(center(&black, Middle::Box), sheet(&[(4, 4)]).map(|value| 1.0 - value));
        assert_eq!(center(&sheet(&[]), Middle::Mass), sheet(&[]));
    }
}
