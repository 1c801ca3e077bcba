//! Principal components: the directions in which features differ most.

use super::decomposition::Decomposition;
use super::matrix::Matrix;
use crate::{LearnError, Result};

/// Rows at their first two principal components (Pearson 1901), and the share of the variance along each.
#[derive(Debug, Clone, PartialEq)]
pub struct PrincipalPlane {
    /// For each row its coordinates, in units of the standard deviation along the first component.
    pub places: Vec<[f64; 2]>,
    /// The share of all variance along each component.
    pub variance: [f64; 2],
}

impl PrincipalPlane {
    /// The plane of `rows`, all of the same length. The sign of a component is such that the row farthest from the
    /// middle has a positive coordinate, so that equal features give equal planes.
    ///
    /// # Errors
    /// Returns an error if there are no rows, or they differ in length.
    ///
    /// ```
    /// use taper_learn::heads::PrincipalPlane;
    ///
    /// let plane = PrincipalPlane::of(&[vec![0.0, 0.0], vec![3.0, 3.0], vec![1.0, 1.0]])?;
    /// assert!(plane.variance[0] > 0.999 && plane.places[1][0] > plane.places[2][0]);
    /// # Ok::<(), taper_learn::LearnError>(())
    /// ```
    pub fn of(rows: &[Vec<f32>]) -> Result<Self> {
        let width = rows.first().map_or(0, Vec::len);
        if rows.iter().any(|row| row.len() != width || row.iter().any(|value| !value.is_finite())) {
            return Err(LearnError::Invalid("features must be finite and of the same length".into()));
        }
        let thin = Decomposition::new(&Matrix::from_fn(rows.len(), width, |i, j| f64::from(rows[i][j])))?;
        let total: f64 = thin.values.iter().sum();
        let mut order: Vec<usize> = (0..thin.values.len()).collect();
        order.sort_by(|&a, &b| thin.values[b].total_cmp(&thin.values[a]));
        let mut plane = Self { places: vec![[0.0; 2]; rows.len()], variance: [0.0; 2] };
        let Some(&first) = order.first() else { return Ok(plane) };
        let unit = (thin.values[first] / rows.len() as f64).sqrt();
        for (axis, &component) in order.iter().take(2).enumerate() {
            let column: Vec<f64> = thin.scores.iter().map(|row| row[component] / unit).collect();
            let farthest = column.iter().copied().fold(0.0f64, |a, b| if b.abs() > a.abs() + 1e-9 { b } else { a });
            let sign = if farthest < 0.0 { -1.0 } else { 1.0 };
            plane.places.iter_mut().zip(&column).for_each(|(place, value)| place[axis] = sign * value);
            plane.variance[axis] = thin.values[component] / total;
        }
        Ok(plane)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_component_is_the_direction_of_most_variance() {
        let rows: Vec<Vec<f32>> = (0..20).map(|i| vec![10.0 * i as f32, (i % 3) as f32, 5.0]).collect();
        let plane = PrincipalPlane::of(&rows).unwrap();
        assert!(
            plane.variance[0] > 0.99 && plane.variance[1] > 0.0 && plane.variance[0] + plane.variance[1] <= 1.0 + 1e-9
        );
        let across: Vec<f64> = plane.places.iter().map(|place| place[0]).collect();
        let rises = across.windows(2).all(|pair| pair[0] < pair[1]);
        let falls = across.windows(2).all(|pair| pair[0] > pair[1]);
        assert!(rises || falls, "{across:?}");
        let mean_square = across.iter().map(|x| x * x).sum::<f64>() / 20.0;
        assert!((mean_square - 1.0).abs() < 1e-9, "{mean_square}");
    }

    #[test]
    fn equal_rows_lie_at_one_place_and_rows_of_other_lengths_are_refused() {
        let plane = PrincipalPlane::of(&[vec![1.0, 2.0], vec![1.0, 2.0]]).unwrap();
        assert_eq!((plane.places, plane.variance), (vec![[0.0; 2]; 2], [0.0; 2]));
        assert!(PrincipalPlane::of(&[vec![1.0], vec![1.0, 2.0]]).is_err());
        assert!(PrincipalPlane::of(&[vec![f32::NAN]]).is_err());
        assert!(PrincipalPlane::of(&[]).is_err());
    }
}
