//! Finite differences in f64, first and second order.

use crate::Tape;
use crate::composed::without_kernels;
use candle_core::{DType, Device, Result, Shape, Tensor, Var};

/// Values in (-1, 1) that depend on the name only, f64.
pub(crate) fn random(name: &str, shape: impl Into<Shape>) -> Tensor {
    crate::uniform(&mut crate::rng(7, name, 0), shape, -1.0, 1.0).unwrap().to_dtype(DType::F64).unwrap()
}

fn dot(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    a.mul(b)?.sum_all()
}

/// ∂⟨f(v), r⟩/∂v along `directions`, for a fixed random r, as a tracked scalar.
fn slope(vars: &[Var], directions: &[Tensor], f: &dyn Fn(&[Tensor]) -> Result<Tensor>) -> Result<Tensor> {
    let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
    let y = f(&tensors)?;
    let grads = dot(&y, &random("covector", y.shape().clone()))?.backward()?;
    let mut total = Tensor::new(0f64, &Device::Cpu)?;
    for (var, direction) in vars.iter().zip(directions) {
        if let Some(gradient) = grads.get(var) {
            total = (total + dot(gradient, direction)?)?;
        }
    }
    Ok(total)
}

/// First and second directional derivatives of `f` along `directions`, by a tape.
fn by_tape(inputs: &[Tensor], directions: &[Tensor], f: &dyn Fn(&[Tensor]) -> Result<Tensor>) -> Result<(f64, f64)> {
    let tape = Tape::default();
    let leaves = inputs.iter().map(|input| tape.leaf(input)).collect::<Result<Vec<_>>>()?;
    let y = f(&leaves)?;
    let grads = tape.tracked_gradients(&dot(&y, &random("covector", y.shape().clone()))?)?;
    let asked = leaves.iter().zip(directions);
    let pairs: Vec<_> = asked.clone().filter_map(|(leaf, d)| Some((grads.get(leaf)?.clone(), d.clone()))).collect();
    let along = |pairs: &[(Tensor, Tensor)]| {
        pairs.iter().map(|(slope, d)| dot(slope, d)?.to_scalar::<f64>()).sum::<Result<f64>>()
    };
    let second = tape.vector_products(&pairs)?;
    let second: Vec<_> = asked.filter_map(|(leaf, d)| Some((second.get(leaf)?.clone(), d.clone()))).collect();
    Ok((along(&pairs)?, along(&second)?))
}

/// The values of `f`, then of all its first and second derivatives along fixed directions.
fn to_second_order(inputs: &[Tensor], f: &dyn Fn(&[Tensor]) -> Result<Tensor>) -> Result<Vec<Vec<f64>>> {
    let list = |t: &Tensor| t.flatten_all()?.to_vec1::<f64>();
    let vars = inputs.iter().map(Var::from_tensor).collect::<Result<Vec<_>>>()?;
    let directions: Vec<Tensor> = inputs.iter().map(|input| random("along", input.shape().clone())).collect();
    let tensors: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let y = f(&tensors)?;
    let first = dot(&y, &random("covector", y.shape().clone()))?.backward()?;
    let second = slope(&vars, &directions, f)?.backward()?;
    let mut all = vec![list(&y)?];
    for var in &vars {
        for gradients in [&first, &second] {
            all.push(gradients.get(var).map_or(Ok(vec![0.0; var.elem_count()]), list)?);
        }
    }
    Ok(all)
}

/// Checks what [`check_derivatives`] does, and that the compositions for other devices have the same
/// values and derivatives, to 1e-9 of the largest.
pub(crate) fn check_gradients(inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) {
    check_derivatives(inputs, &f);
    without_kernels(|| check_derivatives(inputs, &f));
    let kernels = to_second_order(inputs, &f).unwrap();
    let composed = without_kernels(|| to_second_order(inputs, &f)).unwrap();
    for (composed, kernels) in composed.iter().zip(&kernels) {
        let scale = kernels.iter().fold(1.0, |largest: f64, value| largest.max(value.abs()));
        for (a, b) in composed.iter().zip(kernels) {
            assert!((a - b).abs() <= 1e-9 * scale, "composed {a}, by kernels {b}, largest {scale}");
        }
        assert_eq!(composed.len(), kernels.len());
    }
}

/// First and second directional derivatives of `f`, by candle and by a tape, against central
/// differences, relative to 1e-6.
pub(crate) fn check_derivatives(inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) {
    let directions: Vec<Tensor> =
        inputs.iter().enumerate().map(|(i, t)| random(&format!("direction {i}"), t.shape().clone())).collect();
    let moved = |step: f64| -> Vec<Var> {
        inputs
            .iter()
            .zip(&directions)
            .map(|(x, d)| Var::from_tensor(&(x + (d * step).unwrap()).unwrap()).unwrap())
            .collect()
    };
    let value = |step: f64| {
        let tensors: Vec<Tensor> = moved(step).iter().map(|v| v.as_tensor().clone()).collect();
        let y = f(&tensors).unwrap();
        dot(&y, &random("covector", y.shape().clone())).unwrap().to_scalar::<f64>().unwrap()
    };
    let slope_at = |step: f64| slope(&moved(step), &directions, &f).unwrap().to_scalar::<f64>().unwrap();
    let h = 1e-5;
    let close = |name: &str, ours: f64, theirs: f64| {
        let scale = 1e-2 + theirs.abs();
        assert!((ours - theirs).abs() / scale < 1e-6, "{name}: analytic {ours}, finite differences {theirs}");
    };
    let (first, second) = ((value(h) - value(-h)) / (2.0 * h), (slope_at(h) - slope_at(-h)) / (2.0 * h));
    let taped = by_tape(inputs, &directions, &f).unwrap();
    close("first derivative", slope_at(0.0), first);
    close("first derivative by a tape", taped.0, first);
    close("second derivative by a tape", taped.1, second);

    let vars = moved(0.0);
    let grads = slope(&vars, &directions, &f).unwrap().backward().unwrap();
    let ours: f64 = vars
        .iter()
        .zip(&directions)
        .filter_map(|(v, d)| grads.get(v).map(|g| dot(g, d).unwrap().to_scalar::<f64>().unwrap()))
        .sum();
    close("second derivative", ours, second);
}

/// f32 values in (-1, 1) that depend on the name only.
pub(crate) fn numbers(name: &str, len: usize) -> Vec<f32> {
    crate::uniform(&mut crate::rng(7, name, 0), len, -1.0, 1.0).unwrap().to_vec1().unwrap()
}

/// Largest error over largest magnitude of `right` within `tolerance`; NaN is never near.
///
/// For sums whose terms may cancel, see [`near_sums`].
#[track_caller]
pub(crate) fn near<A: Copy + Into<f64>, B: Copy + Into<f64>>(ours: &[A], right: &[B], tolerance: f64) {
    near_sums(ours, right, right, tolerance);
}

/// Largest error over the largest of `sizes` within `tolerance`; NaN is never near.
///
/// `sizes` are the sums of the magnitudes of the terms that each of `right` sums: rounding errors
/// grow with these, however small the sum itself is.
#[track_caller]
pub(crate) fn near_sums<A: Copy + Into<f64>, B: Copy + Into<f64>>(
    ours: &[A],
    right: &[B],
    sizes: &[B],
    tolerance: f64,
) {
    assert_eq!((ours.len(), sizes.len()), (right.len(), right.len()), "lengths differ");
    let scale = sizes.iter().fold(1e-30, |largest: f64, &b| largest.max(b.into().abs()));
    for (index, (&a, &b)) in ours.iter().zip(right).enumerate() {
        let (a, b) = (a.into(), b.into());
        assert!((a - b).abs() <= tolerance * scale, "element {index}: {a} for {b}, scale {scale}");
    }
}

/// The same values as a part of longer storage, with NaN before and after.
pub(crate) fn surrounded(t: &Tensor) -> Tensor {
    let nan = Tensor::full(f32::NAN, 256, t.device()).unwrap().to_dtype(t.dtype()).unwrap();
    let flat = Tensor::cat(&[&nan, &t.flatten_all().unwrap(), &nan], 0).unwrap();
    flat.narrow(0, 256, t.elem_count()).unwrap().reshape(t.shape()).unwrap()
}
