//! A network's traced steps as nodes.

use crate::graph::{Builder, Value, int, ints, number};
use crate::matching::{Matched, matching};
use crate::{ExportError, Result, transformer};
use candle_core::Tensor;
use taper_models::{Network, Operation, Shift, State, Then, TracedPass, TracedStep};
use taper_ops::{Convolution, Statistics, Window, fold_batch_norm};

/// What a network makes of images.
pub(crate) struct Classified {
    /// `(n, outputs)`.
    pub(crate) logits: Value,
    /// `(n, d)`.
    pub(crate) features: Value,
    /// How dense matching came to the logits.
    pub(crate) matched: Option<Matched>,
}

/// Adds the network's steps from `images (n, c, h, w)`, normalized, to logits.
///
/// # Errors
/// Returns an error if a step has no counterpart.
pub(crate) fn network(builder: &mut Builder, network: &Network, state: &State, images: &str) -> Result<Classified> {
    let TracedPass { steps, features } = network.trace(state)?;
    // each value, and whether it is tokens
    let mut values = vec![(images.to_string(), false)];
    let mut matched = None;
    for TracedStep { operation, inputs } in steps {
        let of_tokens = inputs.iter().all(|&input| values[input].1);
        let inputs: Vec<&str> = inputs.iter().map(|&input| values[input].0.as_str()).collect();
        let made = match operation {
            Operation::GlobalAveragePool if of_tokens => builder.reduce("ReduceMean", inputs[0], &[1], false),
            _ => step(builder, (network, state), &operation, &inputs, &mut matched)?,
        };
        values.push((made, makes_tokens(&operation, of_tokens)));
    }
    let features = values[features].0.clone();
    Ok(Classified { logits: values.pop().map(|(logits, _)| logits).unwrap_or_default(), features, matched })
}

fn makes_tokens(operation: &Operation, of_tokens: bool) -> bool {
    match operation {
        Operation::Patches { .. } => true,
        Operation::Flatten | Operation::GlobalAveragePool => false,
        _ => of_tokens,
    }
}

fn step(
    builder: &mut Builder,
    (network, state): (&Network, &State),
    what: &Operation,
    inputs: &[&str],
    matched: &mut Option<Matched>,
) -> Result<Value> {
    let x = inputs[0];
    Ok(match what {
        Operation::Convolution { name, how, shift, then } => {
            let (weight, bias) = folded(state, name, shift)?;
            let y = convolution(builder, name, *how, &weight, &bias, x)?;
            match then {
                Then::Nothing => y,
                Then::Relu => builder.node("Relu", &[&y], vec![]),
                Then::Relu6 => {
                    let (least, most) = (builder.float(0.0), builder.float(6.0));
                    builder.node("Clip", &[&y, &least, &most], vec![])
                }
                Then::AddRelu => {
                    let sum = builder.node("Add", &[&y, inputs[1]], vec![]);
                    builder.node("Relu", &[&sum], vec![])
                }
                Then::ReluPool(window) => {
                    let y = builder.node("Relu", &[&y], vec![]);
                    max_pool(builder, *window, &y)
                }
            }
        }
        Operation::Linear { name } => {
            let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
            let values = [
                builder.weight(&weight, state.params.get(&weight)?)?,
                builder.weight(&bias, state.params.get(&bias)?)?,
            ];
            builder.node("Gemm", &[x, &values[0], &values[1]], vec![int("transB", 1)])
        }
        Operation::Symmetry(symmetry) => turned(builder, *symmetry, x),
        Operation::Stack => builder.node("Concat", inputs, vec![int("axis", 0)]),
        Operation::Concatenate => builder.node("Concat", inputs, vec![int("axis", 1)]),
        Operation::SideBySide { views } => {
            let width = network.backbone().width() as i64;
            let views = *views as i64;
            let apart = builder.reshape(x, &[views, -1, width / views]);
            let swapped = builder.transpose(&apart, &[1, 0, 2]);
            builder.reshape(&swapped, &[-1, width])
        }
        Operation::Mean => builder.node("Mean", inputs, vec![]),
        Operation::SignedRoot => {
            let (sign, size) = (builder.node("Sign", &[x], vec![]), builder.node("Abs", &[x], vec![]));
            let root = builder.node("Sqrt", &[&size], vec![]);
            builder.node("Mul", &[&sign, &root], vec![])
        }
        Operation::Part([rows, columns]) => {
            let rows = builder.part(x, rows.start as i64, rows.end as i64, 2);
            builder.part(&rows, columns.start as i64, columns.end as i64, 3)
        }
        Operation::Columns(columns) => builder.part(x, columns.start as i64, columns.end as i64, 1),
        Operation::Length(length) => {
            let (unit, length) = (builder.unit_length(x), builder.float(*length as f32));
            builder.node("Mul", &[&unit, &length], vec![])
        }
        Operation::Relu => builder.node("Relu", &[x], vec![]),
        Operation::LeakyRelu(slope) => builder.node("LeakyRelu", &[x], vec![number("alpha", *slope as f32)]),
        Operation::Add => builder.node("Add", inputs, vec![]),
        Operation::MaxPool(window) => max_pool(builder, *window, x),
        Operation::GlobalAveragePool => {
            let pooled = builder.node("GlobalAveragePool", &[x], vec![]);
            builder.node("Flatten", &[&pooled], vec![])
        }
        Operation::EveryOther(stride) => {
            let stride = *stride as i64;
            let (first, end) = (builder.ints(&[0, 0]), builder.ints(&[i64::MAX, i64::MAX]));
            let (dimensions, step) = (builder.ints(&[2, 3]), builder.ints(&[stride, stride]));
            builder.node("Slice", &[x, &first, &end, &dimensions, &step], vec![])
        }
        Operation::Pad(around) => {
            let [rows, columns, channels] = around.map(|(before, after)| (before as i64, after as i64));
            let around = [0, channels.0, rows.0, columns.0, 0, channels.1, rows.1, columns.1];
            let around = builder.ints(&around);
            builder.node("Pad", &[x, &around], vec![])
        }
        Operation::Flatten => builder.node("Flatten", &[x], vec![]),
        Operation::FlattenByPixel => {
            let by_pixel = builder.transpose(x, &[0, 2, 3, 1]);
            builder.node("Flatten", &[&by_pixel], vec![])
        }
        Operation::Matching => {
            let backbone = network.backbone();
            let made = matching(builder, &state.params, backbone.head_name(), backbone.layout(), x)?;
            matched.insert(made).logits.clone()
        }
        Operation::Patches { name, bias } => transformer::patches(builder, state, name, *bias, x)?,
        Operation::Tokens { class, positions } => transformer::tokens(builder, state, [class, positions], x)?,
        Operation::ClassToken => builder.part(x, 0, 1, 1),
        Operation::LayerNorm { name, eps } => transformer::layer_norm(builder, state, name, *eps, x)?,
        Operation::TokenLinear(layer) => transformer::linear(builder, state, layer, x)?,
        Operation::LayerScale(name) => {
            let scale = builder.weight(name, state.params.get(name)?)?;
            builder.node("Mul", &[x, &scale], vec![])
        }
        Operation::Gelu(form) => transformer::gelu(builder, *form, x),
        Operation::Attention { heads, width } => transformer::attention(builder, *heads, *width, [x, inputs[1]]),
        Operation::Published(name) => return Err(ExportError::Network { network: name.clone() }),
    })
}

/// A convolution's weight and bias, with the norm folded in.
fn folded(state: &State, name: &str, shift: &Shift) -> Result<(Tensor, Tensor)> {
    let weight = state.params.get(&format!("{name}.weight"))?;
    Ok(match shift {
        Shift::Bias => (weight.clone(), state.params.get(&format!("{name}.bias"))?.clone()),
        Shift::Norm { name, eps } => {
            let statistics = Statistics {
                mean: state.buffers.get(&format!("{name}.running_mean"))?.clone(),
                variance: state.buffers.get(&format!("{name}.running_var"))?.clone(),
            };
            let (scale, shift) =
                (state.params.get(&format!("{name}.weight"))?, state.params.get(&format!("{name}.bias"))?);
            fold_batch_norm(weight, &statistics, scale, shift, *eps)?
        }
    })
}

fn convolution(
    builder: &mut Builder,
    name: &str,
    how: Convolution,
    weight: &Tensor,
    bias: &Tensor,
    x: &str,
) -> Result<Value> {
    let (_, _, height, width) = weight.dims4()?;
    let Convolution { stride, padding, groups } = how;
    let (weight, bias) =
        (builder.weight(&format!("{name}.weight"), weight)?, builder.weight(&format!("{name}.bias"), bias)?);
    let attributes = vec![
        ints("kernel_shape", &[height as i64, width as i64]),
        ints("strides", &[stride as i64; 2]),
        ints("pads", &[padding as i64; 4]),
        int("group", groups as i64),
    ];
    Ok(builder.node("Conv", &[x, &weight, &bias], attributes))
}

fn max_pool(builder: &mut Builder, window: Window, x: &str) -> Value {
    let Window { kernel, stride, padding } = window;
    let attributes = vec![
        ints("kernel_shape", &[kernel as i64; 2]),
        ints("strides", &[stride as i64; 2]),
        ints("pads", &[padding as i64; 4]),
    ];
    builder.node("MaxPool", &[x], attributes)
}

/// Images `(n, c, s, s)`, mirrored from the fifth symmetry on, then rotated by `symmetry % 4` quarter turns.
fn turned(builder: &mut Builder, symmetry: usize, x: &str) -> Value {
    let images = if symmetry >= 4 { builder.flip(x, &[3]) } else { x.to_string() };
    match symmetry % 4 {
        0 => images,
        1 => {
            let swapped = builder.transpose(&images, &[0, 1, 3, 2]);
            builder.flip(&swapped, &[3])
        }
        2 => builder.flip(&images, &[2, 3]),
        _ => {
            let swapped = builder.transpose(&images, &[0, 1, 3, 2]);
            builder.flip(&swapped, &[2])
        }
    }
}
