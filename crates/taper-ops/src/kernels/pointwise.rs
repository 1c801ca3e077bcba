//! Matrix products with final weights: a 1x1 convolution, or a linear layer over rows.

#![allow(unsafe_code)]

use super::buffer::{Unwritten, written};
use super::pack::{Packed, Strides};
use super::row_norm::normalized_rows;
use super::simd::InstructionSet;
use super::smooth::{Gelu, gelu_over};
use super::tile::{Activation, Finish, Offsets, Product, Rows};
use crate::threads::{for_each_chunk, may_split, threads};
use std::mem::MaybeUninit;

/// Packed weights and a bias per output.
pub(crate) struct Pointwise {
    pub(crate) weights: Packed,
    pub(crate) bias: Vec<f32>,
}

/// What comes before the product of rows, and after it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Around<'a> {
    /// Each row is first normalized, with this ε.
    pub(crate) normalized: Option<f32>,
    /// Added to the result, which has its shape.
    pub(crate) residual: Option<&'a [f32]>,
    /// Applied to the sums, without a residual.
    pub(crate) gelu: Option<Gelu>,
}

/// The most rows that one thread computes at a time: enough to read each weight seldom, few enough that their inputs
/// stay in the second-level cache.
const ROWS: usize = 120;

/// Weights of a panel whose products are summed at a time: they about fill the first-level cache.
const WEIGHTS: usize = 8192;

impl Pointwise {
    /// Packs `weight (o, i)`.
    pub(crate) fn new(set: InstructionSet, weight: &[f32], bias: Vec<f32>, inputs: usize) -> Self {
        let outputs = bias.len();
        assert_eq!(weight.len(), inputs * outputs, "weights of wrong size");
        let strides = Strides { group: weight.len(), input: 1, output: inputs };
        Self { weights: Packed::new(set, weight, (1, 1, inputs, outputs), strides), bias }
    }

    /// The products of rows `x (n, i)`: `(n, o)`. A row's bits do not depend on the others.
    pub(crate) fn run(&self, x: &[f32], around: Around) -> Vec<f32> {
        let Packed { inputs, outputs, .. } = self.weights;
        let rows = self.rows(x);
        assert!(around.residual.is_none_or(|residual| residual.len() == rows * outputs), "a residual of wrong size");
        let rows_a_chunk = rows_a_chunk(rows);
        let operations = 2usize.saturating_mul(x.len()).saturating_mul(outputs);
        // SAFETY: chunks cover the rows, and each writes all of its own.
        unsafe {
            written(rows * outputs, |y| {
                for_each_chunk(y, rows_a_chunk * outputs, operations, |index, part| {
                    let first = index * rows_a_chunk;
                    let here = first * inputs..first * inputs + part.len() / outputs * inputs;
                    self.chunk(&x[here], first, around, part);
                });
            })
        }
    }

    /// The number of rows of `x`.
    fn rows(&self, x: &[f32]) -> usize {
        let Packed { inputs, outputs, .. } = self.weights;
        assert!(inputs > 0 && outputs > 0 && x.len().is_multiple_of(inputs), "rows of wrong length");
        x.len() / inputs
    }

    /// `residual + second(gelu(self(x̂)))` for rows `x (n, d)`, x̂ being normalized with `eps`: the hidden rows never exist as
    /// a whole. A row's bits are those of the two products.
    pub(crate) fn perceptron(&self, second: &Self, x: &[f32], residual: &[f32], eps: f32, form: Gelu) -> Vec<f32> {
        let Packed { inputs, outputs: hidden, .. } = self.weights;
        let rows = self.rows(x);
        assert!(residual.len() == x.len(), "a residual of wrong size");
        assert!(
            (second.weights.inputs, second.weights.outputs) == (hidden, inputs),
            "layers that do not fit each other"
        );
        let rows_a_chunk = rows_a_chunk(rows);
        let operations = 4usize.saturating_mul(x.len()).saturating_mul(hidden);
        let before = Around { normalized: Some(eps), gelu: Some(form), ..Around::default() };
        let after = Around { residual: Some(residual), ..Around::default() };
        // SAFETY: chunks cover the rows, and each writes all of its own; so does the first layer its hidden rows.
        unsafe {
            written(x.len(), |y| {
                for_each_chunk(y, rows_a_chunk * inputs, operations, |index, part| {
                    let first = index * rows_a_chunk;
                    let here = &x[first * inputs..][..part.len()];
                    let middle = written(part.len() / inputs * hidden, |middle| self.chunk(here, 0, before, middle));
                    second.chunk(&middle, first, after, part);
                });
            })
        }
    }

    /// Writes the products of a chunk's rows, which begin with the row `first`.
    fn chunk(&self, x: &[f32], first: usize, around: Around, part: &mut [MaybeUninit<f32>]) {
        let Packed { inputs, outputs, set, .. } = self.weights;
        let normalized = around.normalized.map(|eps| normalized_values(set, x, inputs, eps));
        let x = normalized.as_deref().unwrap_or(x);
        let offsets: Offsets = (0..x.len() / inputs).map(|row| row * outputs).collect();
        let rows = Rows::Strided { values: x, stride: inputs, width: inputs };
        let finish = Finish { bias: Some(&self.bias), residual: around.residual, activation: Activation::Identity };
        for panel in self.weights.panels(0) {
            let channel = panel.channels.start;
            let at_a_time = WEIGHTS / panel.columns;
            for start in (0..inputs).step_by(at_a_time) {
                let end = inputs.min(start + at_a_time);
                let product = Product {
                    rows: &rows,
                    inputs: start..end,
                    taps: &[0],
                    panel: &panel.values[start * panel.columns..],
                    panel_inputs: inputs,
                    columns: panel.columns,
                    offsets: &offsets,
                    channels: panel.channels.len(),
                    add: start > 0,
                    finish: (end == inputs).then_some(finish),
                    first_channel: channel,
                };
                // SAFETY: only blocks after the first add, to what the first has written.
                unsafe { product.run(set, &mut part[channel..], first * outputs + channel) };
            }
        }
        if let Some(form) = around.gelu {
            // SAFETY: the panels have written all columns of all rows.
            let values = unsafe { &mut *(std::ptr::from_mut(part) as *mut [f32]) };
            gelu_over(set, values, form);
        }
    }
}

/// Rows that one thread computes at a time. That changes no bits.
fn rows_a_chunk(rows: usize) -> usize {
    let pieces = if may_split() { 4 * threads() } else { 1 };
    rows.div_ceil(pieces).min(ROWS).next_multiple_of(6)
}

/// Normalized rows of `c` values.
fn normalized_values(set: InstructionSet, x: &[f32], c: usize, eps: f32) -> Vec<f32> {
    // SAFETY: every row is written.
    unsafe {
        written(x.len(), |y| {
            let _ = normalized_rows::<f32>(set, x, c, eps, Unwritten::new(y));
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::numbers;
    use candle_core::cpu::erf::erf_f64;

    /// Errors are relative to the sum of the magnitudes of a sum's terms.
    #[test]
    fn every_instruction_set_agrees_with_the_definition_in_f64() {
        for (rows, inputs, outputs) in
            [(1, 1, 1), (5, 7, 3), (13, 64, 64), (130, 200, 70), (7, 259, 130), (7, 1100, 21)]
        {
            let (x, weight) = (numbers("x", rows * inputs), numbers("w", outputs * inputs));
            let (bias, residual) = (numbers("b", outputs), numbers("r", rows * outputs));
            for (normalized, adds, gelu) in
                [(None, true, None), (Some(0.1), false, Some(Gelu::Exact)), (None, false, Some(Gelu::Quick))]
            {
                let wide: Vec<f64> = x.chunks(inputs).flat_map(|row| normal(row, normalized)).collect();
                for set in InstructionSet::here() {
                    let layer = Pointwise::new(set, &weight, bias.clone(), inputs);
                    let around = Around { normalized, residual: adds.then_some(&residual[..]), gelu };
                    let y = layer.run(&x, around);
                    for (at, &y) in y.iter().enumerate() {
                        let (row, output) = (at / outputs, at % outputs);
                        let terms =
                            (0..inputs).map(|i| wide[row * inputs + i] * f64::from(weight[output * inputs + i]));
                        let scale: f64 = 1.0 + terms.clone().map(f64::abs).sum::<f64>();
                        let sum = f64::from(bias[output]) + terms.sum::<f64>();
                        let right = match gelu {
                            Some(Gelu::Exact) => sum * 0.5 * (1.0 + erf_f64(sum / 2f64.sqrt())),
                            Some(Gelu::Quick) => sum / (1.0 + (-1.702 * sum).exp()),
                            None => sum + f64::from(residual[at]),
                        };
                        let error = (f64::from(y) - right).abs() / scale;
                        assert!(error < 2e-6, "{set:?} {rows} {inputs} {outputs}: {y} for {right}");
                    }
                }
            }
        }
    }

    fn normal(row: &[f32], eps: Option<f32>) -> Vec<f64> {
        let row: Vec<f64> = row.iter().map(|&v| v.into()).collect();
        let Some(eps) = eps else { return row };
        let mean = row.iter().sum::<f64>() / row.len() as f64;
        let variance = row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / row.len() as f64;
        row.iter().map(|v| (v - mean) / (variance + f64::from(eps)).sqrt()).collect()
    }
}
