//! Depthwise convolution and its gradients: a row of the kernel's weights `(taps, c)` times a row of pixels. Square
//! kernels are faster by panels of channels ([`super::depthwise_panels`]).

use super::direct::Walk;
use super::simd::{InstructionSet, vectorized};
use super::tile::{Activation, Finish};
use crate::element::Element;
use crate::threads::for_each_chunk;

vectorized! {
    /// `y += x · w` by channel, over `pixels` pixels.
    fn add_products<T: Element>(y: &mut [T], y_stride: usize, x: &[T], x_stride: usize, w: &[T], pixels: usize) {
        let c = w.len();
        for pixel in 0..pixels {
            let (y, x) = (&mut y[pixel * y_stride..][..c], &x[pixel * x_stride..][..c]);
            for k in 0..c {
                y[k] += x[k] * w[k];
            }
        }
    }

    /// Adds the bias and the residual, if there are any, and applies the activation: values below 0 become 0, those above
    /// `most` `most`.
    fn finish_rows<T: Element>(y: &mut [T], bias: Option<&[T]>, residual: Option<&[T]>, most: Option<T>) {
        if let Some(bias) = bias {
            for y in y.chunks_exact_mut(bias.len()) {
                for k in 0..bias.len() {
                    y[k] += bias[k];
                }
            }
        }
        if let Some(residual) = residual {
            for (y, &residual) in y.iter_mut().zip(residual) {
                *y += residual;
            }
        }
        if let Some(most) = most {
            for y in y {
                let positive = if *y < T::ZERO { T::ZERO } else { *y };
                *y = if positive > most { most } else { positive };
            }
        }
    }

    /// `sums += Σ over pixels of x · g`, by channel.
    fn add_dots<T: Element>(sums: &mut [T], x: &[T], x_stride: usize, g: &[T], pixels: usize) {
        let c = sums.len();
        for pixel in 0..pixels {
            let (x, g) = (&x[pixel * x_stride..][..c], &g[pixel * c..][..c]);
            for k in 0..c {
                sums[k] += x[k] * g[k];
            }
        }
    }
}

/// Weights `(c, 1, kh, kw)` as `(taps, c)`, or back.
pub(crate) fn transposed(weight: &[f32], rows: usize) -> Vec<f32> {
    let columns = weight.len() / rows.max(1);
    (0..weight.len()).map(|index| weight[index % rows * columns + index / rows]).collect()
}

/// Runs a walk: `(images, rows, columns, c)`, with weights `(taps, c)`.
pub(crate) fn run(set: InstructionSet, walk: &Walk, source: &[f32], weights: &[f32], finish: Finish) -> Vec<f32> {
    let (c, row) = (walk.pitch, walk.columns.output * walk.pitch);
    let rows = walk.images * walk.rows.output;
    let mut y = vec![0.0; rows * row];
    for_each_chunk(&mut y, row, 2 * rows * row * weights.len() / c, |index, y| {
        walk.for_each_run(index, |tap, run| {
            let w = &weights[tap * c..(tap + 1) * c];
            add_products(
                set,
                &mut y[run.to * c..],
                run.to_step * c,
                &source[run.from * c..],
                run.from_step * c,
                w,
                run.pixels,
            );
        });
        let residual = finish.residual.map(|residual| &residual[index * row..(index + 1) * row]);
        finish_rows(set, y, finish.bias, residual, most(finish.activation));
    });
    y
}

/// The largest value that an activation leaves; `None` for the identity.
pub(crate) fn most(activation: Activation) -> Option<f32> {
    match activation {
        Activation::Identity => None,
        Activation::Relu => Some(f32::INFINITY),
        Activation::Relu6 => Some(6.0),
    }
}

/// Weight gradient `(taps, c)` of a forward walk, for gradients `(images, rows, columns, c)`.
pub(crate) fn weight_gradient(set: InstructionSet, walk: &Walk, source: &[f32], gradient: &[f32]) -> Vec<f32> {
    let (c, taps, row) = (walk.pitch, walk.taps(), walk.columns.output * walk.pitch);
    let mut parts = vec![0.0; walk.images * taps * c];
    for_each_chunk(&mut parts, taps * c, 2 * gradient.len() * taps, |image, sums| {
        for index in image * walk.rows.output..(image + 1) * walk.rows.output {
            walk.for_each_run(index, |tap, run| {
                let g = &gradient[index * row + run.to * c..];
                add_dots(
                    set,
                    &mut sums[tap * c..(tap + 1) * c],
                    &source[run.from * c..],
                    run.from_step * c,
                    g,
                    run.pixels,
                );
            });
        }
    });
    let mut total = vec![0.0; taps * c];
    for part in parts.chunks_exact(taps * c) {
        for (total, part) in total.iter_mut().zip(part) {
            *total += part;
        }
    }
    total
}
