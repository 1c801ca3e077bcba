//! The dual of Crammer and Singer's multi-class support vector machine (2001, "On the Algorithmic
//! Implementation of Multiclass Kernel-based Vector Machines"), solved exactly for a task's few
//! images and differentiated by the implicit function theorem.
//!
//! Maximize Σᵢ αᵢ^{yᵢ} − ½ Σₖ αᵏᵀ (K + 1) αᵏ over αᵢᵏ ≤ C·1(k = yᵢ) with Σₖ αᵢᵏ = 0. The identity
//! added to the kernel, as in the code of Lee et al. 2019, makes the solution unique.

use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Result, Shape, Tensor, WithDType, bail};

/// The dual variables α `(n, ways)` of a kernel `(n, n)` and labels `(n)`, differentiable (once) with
/// respect to the kernel.
pub(crate) fn dual(kernel: &Tensor, labels: &Tensor, ways: usize, c: f64) -> Result<Tensor> {
    if c.is_nan() || c <= 0.0 {
        bail!("the SVM penalty C is {c}: it must be above 0");
    }
    let labels = labels.to_vec1::<u32>()?.into_iter().map(|label| label as usize).collect();
    kernel.contiguous()?.apply_op1(Dual { labels, ways, c })
}

struct Dual {
    labels: Vec<usize>,
    ways: usize,
    c: f64,
}

/// A variable farther than this from its bound is free.
const FREE: f64 = 1e-9;

impl Dual {
    fn bound(&self, i: usize, k: usize) -> f64 {
        if self.labels[i] == k { self.c } else { 0.0 }
    }

    /// Coordinate ascent over images, each image's own problem solved exactly, until nothing changes.
    fn solve(&self, kernel: &[f64]) -> Vec<f64> {
        let (n, ways) = (self.labels.len(), self.ways);
        let mut alpha = vec![0.0; n * ways];
        for _ in 0..20_000 {
            let mut moved: f64 = 0.0;
            for i in 0..n {
                let curvature = kernel[i * n + i];
                // minimize ½ a ‖αᵢ‖² + Σₖ gₖ αᵢᵏ within the bounds, at a sum of 0
                let target: Vec<f64> = (0..ways)
                    .map(|k| {
                        let others: f64 =
                            (0..n).filter(|&j| j != i).map(|j| kernel[i * n + j] * alpha[j * ways + k]).sum();
                        (f64::from(u8::from(self.labels[i] == k)) - others) / curvature
                    })
                    .collect();
                let bounds: Vec<f64> = (0..ways).map(|k| self.bound(i, k)).collect();
                for (k, value) in projected(&target, &bounds).into_iter().enumerate() {
                    moved = moved.max((alpha[i * ways + k] - value).abs());
                    alpha[i * ways + k] = value;
                }
            }
            if moved < 1e-14 {
                break;
            }
        }
        alpha
    }

    /// The gradient with respect to the kernel, of a loss with gradient `slope` with respect to α. With the free variables F,
    /// the conditions Q_F α + ν = e, Σ α = 0 still hold when the kernel changes; so with
    /// (Q_FF, 1; 1ᵀ, 0)(u, μ) = (slope_F, 0) the gradient is −u αᵀ.
    fn gradient(&self, kernel: &[f64], alpha: &[f64], slope: &[f64]) -> Option<Vec<f64>> {
        let (n, ways) = (self.labels.len(), self.ways);
        let free: Vec<(usize, usize)> = (0..n)
            .flat_map(|i| (0..ways).map(move |k| (i, k)))
            .filter(|&(i, k)| self.bound(i, k) - alpha[i * ways + k] > FREE * self.c)
            .collect();
        let mut images: Vec<usize> = free.iter().map(|&(i, _)| i).collect();
        images.dedup();
        let size = free.len() + images.len();
        let mut system = vec![0.0; size * size];
        for (row, &(i, k)) in free.iter().enumerate() {
            for (column, &(j, l)) in free.iter().enumerate() {
                if k == l {
                    system[row * size + column] = kernel[i * n + j];
                }
            }
            let place = free.len() + images.iter().position(|&image| image == i)?;
            system[row * size + place] = 1.0;
            system[place * size + row] = 1.0;
        }
        let mut right = vec![0.0; size];
        for (row, &(i, k)) in free.iter().enumerate() {
            right[row] = slope[i * ways + k];
        }
        let solution = solved(system, right)?;
        let mut u = vec![0.0; n * ways];
        for (row, &(i, k)) in free.iter().enumerate() {
            u[i * ways + k] = solution[row];
        }
        let entry = |i: usize, j: usize| -(0..ways).map(|k| u[i * ways + k] * alpha[j * ways + k]).sum::<f64>();
        Some((0..n * n).map(|place| entry(place / n, place % n)).collect())
    }

    /// The kernel plus the identity.
    fn quadratic(&self, kernel: Vec<f64>) -> Vec<f64> {
        let n = self.labels.len();
        let diagonal = |place: usize| f64::from(u8::from(place / n == place % n));
        kernel.into_iter().enumerate().map(|(place, value)| value + diagonal(place)).collect()
    }
}

/// The point nearest to `target` that sums to 0 and is nowhere above `bounds`: min(target − θ,
/// bounds) for the θ at which the sum is 0, found among the sorted points where a bound becomes
/// active.
fn projected(target: &[f64], bounds: &[f64]) -> Vec<f64> {
    // the sum of min(target − θ, bounds) decreases as θ grows; a variable is free once θ > target − bound
    let mut order: Vec<usize> = (0..target.len()).collect();
    order.sort_by(|&a, &b| (target[a] - bounds[a]).total_cmp(&(target[b] - bounds[b])));
    let mut bound_sum: f64 = bounds.iter().sum();
    let mut free_sum = 0.0;
    let mut theta = f64::NEG_INFINITY;
    for (count, &place) in order.iter().enumerate() {
        free_sum += target[place];
        bound_sum -= bounds[place];
        theta = (free_sum + bound_sum) / (count + 1) as f64;
        let next = order.get(count + 1).map_or(f64::INFINITY, |&next| target[next] - bounds[next]);
        if theta <= next {
            break;
        }
    }
    target.iter().zip(bounds).map(|(value, bound)| (value - theta).min(*bound)).collect()
}

/// The solution of a square system by Gaussian elimination with pivots; `None` if it is singular.
fn solved(mut system: Vec<f64>, mut right: Vec<f64>) -> Option<Vec<f64>> {
    let n = right.len();
    for column in 0..n {
        let largest = |a: &usize, b: &usize| system[a * n + column].abs().total_cmp(&system[b * n + column].abs());
        let pivot = (column..n).max_by(largest)?;
        if system[pivot * n + column].abs() < 1e-12 {
            return None;
        }
        for k in 0..n {
            system.swap(column * n + k, pivot * n + k);
        }
        right.swap(column, pivot);
        for row in column + 1..n {
            let factor = system[row * n + column] / system[column * n + column];
            for k in column..n {
                system[row * n + k] -= factor * system[column * n + k];
            }
            right[row] -= factor * right[column];
        }
    }
    for row in (0..n).rev() {
        let rest: f64 = (row + 1..n).map(|k| system[row * n + k] * right[k]).sum();
        right[row] = (right[row] - rest) / system[row * n + row];
    }
    Some(right)
}

impl CustomOp1 for Dual {
    fn name(&self) -> &'static str {
        "support-vector-dual"
    }

    fn cpu_fwd(&self, kernel: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let n = self.labels.len();
        if layout.dims() != [n, n] {
            bail!("support vectors: a kernel of {:?} does not fit {n} labels", layout.dims());
        }
        let Some((start, end)) = layout.contiguous_offsets() else {
            bail!("the kernel is not contiguous: call .contiguous() first");
        };
        let shape = Shape::from((n, self.ways));
        Ok(match kernel {
            CpuStorage::F32(values) => {
                let alpha = self.solve(&self.quadratic(values[start..end].iter().map(|&v| f64::from(v)).collect()));
                (f32::to_cpu_storage_owned(alpha.into_iter().map(|v| v as f32).collect()), shape)
            }
            CpuStorage::F64(values) => {
                (f64::to_cpu_storage_owned(self.solve(&self.quadratic(values[start..end].to_vec()))), shape)
            }
            _ => bail!("support vectors: take f32 or f64"),
        })
    }

    fn bwd(&self, kernel: &Tensor, alpha: &Tensor, slope: &Tensor) -> Result<Option<Tensor>> {
        let numbers = |tensor: &Tensor| tensor.detach().to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
        let quadratic = self.quadratic(numbers(kernel)?);
        // α in f32 is too coarse to tell bounds from free variables
        let alpha = match alpha.dtype() {
            DType::F64 => numbers(alpha)?,
            _ => self.solve(&quadratic),
        };
        let Some(gradient) = self.gradient(&quadratic, &alpha, &numbers(slope)?) else {
            bail!("support vectors: the solution has no derivative with respect to the kernel: use another C");
        };
        let n = self.labels.len();
        Ok(Some(Tensor::from_vec(gradient, (n, n), &Device::Cpu)?.to_dtype(kernel.dtype())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(n: usize) -> Vec<f64> {
        let d = 3;
        let x: Vec<f64> = taper_ops::uniform(&mut taper_ops::rng(3, "svm", 0), n * d, -1.0, 1.0)
            .unwrap()
            .to_dtype(DType::F64)
            .unwrap()
            .to_vec1()
            .unwrap();
        let dot = |i: usize, j: usize| (0..d).map(|k| x[i * d + k] * x[j * d + k]).sum::<f64>();
        (0..n * n).map(|place| dot(place / n, place % n)).collect()
    }

    #[test]
    fn the_solution_satisfies_the_conditions_of_optimality() {
        for c in [0.1, 1.0, 10.0] {
            let problem = Dual { labels: vec![0, 0, 1, 1, 2, 2], ways: 3, c };
            let q = problem.quadratic(kernel(6));
            let alpha = problem.solve(&q);
            for i in 0..6 {
                assert!(alpha[i * 3..i * 3 + 3].iter().sum::<f64>().abs() < 1e-12);
                let slope = |k: usize| {
                    (0..6).map(|j| q[i * 6 + j] * alpha[j * 3 + k]).sum::<f64>()
                        - f64::from(u8::from(problem.labels[i] == k))
                };
                // free variables share one slope; those at their bound have a smaller one
                let free: Vec<usize> = (0..3).filter(|&k| problem.bound(i, k) - alpha[i * 3 + k] > 1e-9).collect();
                let level = free.iter().map(|&k| slope(k)).fold(f64::NEG_INFINITY, f64::max);
                for k in 0..3 {
                    assert!(alpha[i * 3 + k] <= problem.bound(i, k) + 1e-12);
                    match free.contains(&k) {
                        true => assert!((slope(k) - level).abs() < 1e-9, "C = {c}, image {i}, class {k}"),
                        false => assert!(free.is_empty() || slope(k) <= level + 1e-9, "C = {c}, image {i}, class {k}"),
                    }
                }
            }
        }
    }

    #[test]
    fn a_projection_sums_to_nothing_and_stays_below_its_bounds() {
        let point = projected(&[3.0, -1.0, 0.5, 0.4], &[0.1, 0.0, 0.0, 0.0]);
        assert!(point.iter().sum::<f64>().abs() < 1e-12 && point[0] <= 0.1 && point[1..].iter().all(|v| *v <= 0.0));
        assert!((projected(&[0.2, -0.2], &[1.0, 0.0])[0] - 0.2).abs() < 1e-12);
    }
}
