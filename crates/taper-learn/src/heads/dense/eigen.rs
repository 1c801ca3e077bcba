//! Eigenvalues and eigenvectors of a symmetric matrix: Householder's tridiagonal form (Martin,
//! Reinsch and Wilkinson 1968), then QL steps with implicit shifts (Dubrulle, Martin and Wilkinson
//! 1968), as in EISPACK.

use super::{Matrix, dot};

/// Eigenvalues with their vectors, in no order.
pub(crate) struct Eigen {
    pub(crate) values: Vec<f64>,
    /// One a row, orthonormal.
    pub(crate) vectors: Matrix,
}

/// Of a symmetric matrix.
pub(crate) fn symmetric_eigen(matrix: &Matrix) -> Eigen {
    let (mut values, mut beside, mut vectors) = tridiagonal(matrix);
    diagonalise(&mut values, &mut beside, &mut vectors);
    Eigen { values, vectors }
}

/// `y += factor · x`.
fn add_scaled(y: &mut [f64], factor: f64, x: &[f64]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += factor * x);
}

/// Diagonal, what is beside it (`beside[i]` between `i` and `i + 1`), and the rows `q` for which
/// `A = Σ q T q`: reflections `1 − u uᵀ / h` clear a row after the other from the last.
fn tridiagonal(matrix: &Matrix) -> (Vec<f64>, Vec<f64>, Matrix) {
    let (n, _) = matrix.shape();
    let mut a = matrix.clone();
    let mut beside = vec![0.0; n];
    // each reflection's u and h, from the last row to the first
    let mut reflections: Vec<(Vec<f64>, f64)> = Vec::new();
    for i in (1..n).rev() {
        let mut u = a.row(i)[..i].to_vec();
        let length = dot(&u, &u).sqrt();
        let last = u[i - 1];
        let outside = dot(&u[..i - 1], &u[..i - 1]);
        if outside == 0.0 {
            beside[i - 1] = last;
            continue;
        }
        let sign = if last > 0.0 { -length } else { length };
        beside[i - 1] = sign;
        let h = length * length - last * sign;
        u[i - 1] = last - sign;
        let mut p: Vec<f64> = (0..i).map(|row| dot(&a.row(row)[..i], &u) / h).collect();
        let k = dot(&u, &p) / (2.0 * h);
        add_scaled(&mut p, -k, &u);
        for row in 0..i {
            let (along_p, along_u) = (-u[row], -p[row]);
            let values = &mut a.row_mut(row)[..i];
            values.iter_mut().zip(&p).zip(&u).for_each(|((value, p), u)| *value += along_p * p + along_u * u);
        }
        reflections.push((u, h));
    }
    let diagonal = (0..n).map(|i| a.row(i)[i]).collect();
    // a row q of Q is a unit vector through all reflections, the first row's last
    let vectors = Matrix::from_fn(n, n, |i, j| f64::from(u8::from(i == j))).each_row(|_, q| {
        for (u, h) in reflections.iter().rev() {
            let part = &mut q[..u.len()];
            let factor = -dot(part, u) / h;
            add_scaled(part, factor, u);
        }
    });
    (diagonal, beside, vectors)
}

/// Turns the tridiagonal matrix into a diagonal one, its vectors with it.
fn diagonalise(values: &mut [f64], beside: &mut [f64], vectors: &mut Matrix) {
    const SWEEPS: usize = 60;
    let n = values.len();
    for l in 0..n {
        for _ in 0..SWEEPS {
            let small = |m: usize| beside[m].abs() <= f64::EPSILON * (values[m].abs() + values[m + 1].abs());
            let m = (l..n - 1).find(|&m| small(m)).unwrap_or(n - 1);
            if m == l {
                break;
            }
            let slope = (values[l + 1] - values[l]) / (2.0 * beside[l]);
            let mut g = values[m] - values[l] + beside[l] / (slope + slope.hypot(1.0).copysign(slope));
            let (mut sine, mut cosine, mut p) = (1.0, 1.0, 0.0);
            let mut whole = true;
            for i in (l..m).rev() {
                let (f, b) = (sine * beside[i], cosine * beside[i]);
                let r = f.hypot(g);
                beside[i + 1] = r;
                if r == 0.0 {
                    values[i + 1] -= p;
                    beside[m] = 0.0;
                    whole = false;
                    break;
                }
                (sine, cosine) = (f / r, g / r);
                g = values[i + 1] - p;
                let r = (values[i] - g) * sine + 2.0 * cosine * b;
                p = sine * r;
                values[i + 1] = g + p;
                g = cosine * r - b;
                rotate(vectors, i, sine, cosine);
            }
            if whole {
                values[l] -= p;
                beside[l] = g;
                beside[m] = 0.0;
            }
        }
    }
}

/// Turns rows `i` and `i + 1` by an angle.
fn rotate(vectors: &mut Matrix, i: usize, sine: f64, cosine: f64) {
    let (lower, upper) = vectors.rows_pair(i);
    for (a, b) in lower.iter_mut().zip(upper) {
        let h = *b;
        *b = sine * *a + cosine * h;
        *a = cosine * *a - sine * h;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(matrix: &Matrix) {
        let Eigen { values, vectors } = symmetric_eigen(matrix);
        let (n, _) = matrix.shape();
        let scale = matrix.norm_squared().sqrt().max(1.0);
        let product = vectors.times(matrix).unwrap();
        for (i, value) in values.iter().enumerate() {
            for j in 0..n {
                let along = value * vectors.row(i)[j];
                assert!((product.row(i)[j] - along).abs() < 1e-10 * scale, "vector {i} of {n}");
                let unit = f64::from(u8::from(i == j));
                assert!((dot(vectors.row(i), vectors.row(j)) - unit).abs() < 1e-10);
            }
        }
    }

    #[test]
    fn vectors_are_orthonormal_and_only_stretched() {
        for n in [1, 2, 3, 40] {
            let root = Matrix::from_fn(n, n, |i, j| ((i * 7 + j * 13 + i * j) % 11) as f64 - 5.0);
            check(&root.times_transposed(&root).unwrap());
        }
    }

    #[test]
    fn equal_and_vanishing_values_are_found() {
        check(&Matrix::zeros(4, 4));
        check(&Matrix::from_fn(5, 5, |_, _| 2.0));
        check(&Matrix::from_fn(6, 6, |i, j| f64::from(u8::from(i == j))));
        let thin = Matrix::from_fn(20, 3, |i, j| ((i + 1) * (j + 2) % 7) as f64);
        check(&thin.times_transposed(&thin).unwrap());
    }
}
