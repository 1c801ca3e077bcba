//! Convolutions in f64: patches gathered image by image (im2col), and matrix products of the
//! `gemm` crate. Simple rather than fast: the tests' reference.

use super::geometry::Geometry;
use crate::kernels::product::{Matrix, product};
use crate::threads::for_each_chunk;

/// Weights `(o, i, kh, kw)` as one matrix per group, `(kh·kw·i, o/groups)` row-major, patches' order.
fn pack(weight: &[f64], g: &Geometry) -> Vec<f64> {
    let (inputs, outputs, cells) = (g.group_inputs(), g.group_outputs(), g.kh * g.kw);
    let mut packed = vec![0.0; weight.len()];
    for o in 0..g.o {
        let (group, column) = (o / outputs, o % outputs);
        for i in 0..inputs {
            for cell in 0..cells {
                packed[(group * cells * inputs + cell * inputs + i) * outputs + column] =
                    weight[(o * inputs + i) * cells + cell];
            }
        }
    }
    packed
}

/// The inverse of [`pack`].
fn unpack(packed: &[f64], g: &Geometry) -> Vec<f64> {
    let (inputs, outputs, cells) = (g.group_inputs(), g.group_outputs(), g.kh * g.kw);
    let mut weight = vec![0.0; packed.len()];
    for o in 0..g.o {
        let (group, column) = (o / outputs, o % outputs);
        for i in 0..inputs {
            for cell in 0..cells {
                weight[(o * inputs + i) * cells + cell] =
                    packed[(group * cells * inputs + cell * inputs + i) * outputs + column];
            }
        }
    }
    weight
}

/// Fills `patches (oh·ow, patch)` from one image for one group.
fn gather(image: &[f64], g: &Geometry, group: usize, patches: &mut [f64]) {
    let inputs = g.group_inputs();
    let padded = g.how.padding > 0;
    for (pixel, patch) in patches.chunks_exact_mut(g.patch()).enumerate() {
        if padded {
            patch.fill(0.0);
        }
        g.for_each_cell(pixel / g.ow, pixel % g.ow, |cell, source| {
            let from = source * g.c + group * inputs;
            patch[cell * inputs..(cell + 1) * inputs].copy_from_slice(&image[from..from + inputs]);
        });
    }
}

/// Adds `patches (oh·ow, patch)` of one group back onto one image: the adjoint of [`gather`].
fn scatter(patches: &[f64], g: &Geometry, group: usize, image: &mut [f64]) {
    let inputs = g.group_inputs();
    for (pixel, patch) in patches.chunks_exact(g.patch()).enumerate() {
        g.for_each_cell(pixel / g.ow, pixel % g.ow, |cell, target| {
            let to = target * g.c + group * inputs;
            for (sum, &value) in image[to..to + inputs].iter_mut().zip(&patch[cell * inputs..(cell + 1) * inputs]) {
                *sum += value;
            }
        });
    }
}

/// `(n, oh, ow, o)`.
pub(super) fn forward(g: &Geometry, x: &[f64], weight: &[f64]) -> Vec<f64> {
    let packed = pack(weight, g);
    let pixels = g.oh * g.ow;
    let mut y = vec![0.0; g.n * pixels * g.o];
    for_each_chunk(&mut y, pixels * g.o, g.operations(), |index, y| {
        let image = &x[index * g.h * g.w * g.c..(index + 1) * g.h * g.w * g.c];
        let mut patches = vec![0.0; pixels * g.patch()];
        let (size, outputs) = (g.patch(), g.group_outputs());
        for group in 0..g.how.groups {
            gather(image, g, group, &mut patches);
            let weights = &packed[group * size * outputs..(group + 1) * size * outputs];
            let (a, b) = (Matrix::new(&patches, size), Matrix::new(weights, outputs));
            product(&mut y[group * outputs..], g.o, [pixels, outputs, size], a, b, false);
        }
    });
    y
}

/// `(n, h, w, c)`, for `y (n, oh, ow, o)`.
pub(super) fn input_gradient(g: &Geometry, y: &[f64], weight: &[f64]) -> Vec<f64> {
    let packed = pack(weight, g);
    let pixels = g.oh * g.ow;
    let mut x = vec![0.0; g.n * g.h * g.w * g.c];
    for_each_chunk(&mut x, g.h * g.w * g.c, g.operations(), |index, x| {
        let y = &y[index * pixels * g.o..(index + 1) * pixels * g.o];
        let mut patches = vec![0.0; pixels * g.patch()];
        let (size, outputs) = (g.patch(), g.group_outputs());
        for group in 0..g.how.groups {
            let weights = &packed[group * size * outputs..(group + 1) * size * outputs];
            let (a, b) = (Matrix::new(&y[group * outputs..], g.o), Matrix::new(weights, outputs).transposed());
            product(&mut patches, size, [pixels, size, outputs], a, b, false);
            scatter(&patches, g, group, x);
        }
    });
    x
}

/// `(o, i, kh, kw)`, for `y (n, oh, ow, o)`.
pub(super) fn weight_gradient(g: &Geometry, x: &[f64], y: &[f64]) -> Vec<f64> {
    let (pixels, size, outputs) = (g.oh * g.ow, g.patch(), g.group_outputs());
    let mut sum = vec![0.0; g.o * size];
    let mut patches = vec![0.0; pixels * size];
    for index in 0..g.n {
        let image = &x[index * g.h * g.w * g.c..(index + 1) * g.h * g.w * g.c];
        let y = &y[index * pixels * g.o..(index + 1) * pixels * g.o];
        for group in 0..g.how.groups {
            gather(image, g, group, &mut patches);
            let (a, b) = (Matrix::new(&patches, size).transposed(), Matrix::new(&y[group * outputs..], g.o));
            let out = &mut sum[group * size * outputs..(group + 1) * size * outputs];
            product(out, outputs, [size, outputs, pixels], a, b, true);
        }
    }
    unpack(&sum, g)
}
