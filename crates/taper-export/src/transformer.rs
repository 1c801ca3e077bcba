//! The layers of vision transformers as nodes. Tokens are `(n, t, d)`.

use crate::Result;
use crate::graph::{Builder, Value, int, ints, number};
use taper_models::{LinearRows, State};
use taper_ops::Gelu;

/// Patches of images `(n, c, h, w)` as tokens.
pub(crate) fn patches(builder: &mut Builder, state: &State, name: &str, bias: bool, x: &str) -> Result<Value> {
    let weight = state.params.get(&format!("{name}.weight"))?;
    let (width, _, height, side) = weight.dims4()?;
    let mut inputs = vec![x.to_string(), builder.weight(&format!("{name}.weight"), weight)?];
    if bias {
        let bias = format!("{name}.bias");
        inputs.push(builder.weight(&bias, state.params.get(&bias)?)?);
    }
    let sizes = [height as i64, side as i64];
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let y = builder.node("Conv", &inputs, vec![ints("kernel_shape", &sizes), ints("strides", &sizes)]);
    let flat = builder.reshape(&y, &[0, width as i64, -1]);
    Ok(builder.transpose(&flat, &[0, 2, 1]))
}

/// The class token before the tokens, and the sum with the position embeddings.
pub(crate) fn tokens(builder: &mut Builder, state: &State, [class, positions]: [&str; 2], x: &str) -> Result<Value> {
    let token = state.params.get(class)?;
    let width = token.elem_count() as i64;
    let token = builder.weight(class, &token.reshape((1, 1, width as usize))?)?;
    let (images, rest) = (builder.size(x, 0), builder.ints(&[1, width]));
    let shape = builder.node("Concat", &[&images, &rest], vec![int("axis", 0)]);
    let first = builder.node("Expand", &[&token, &shape], vec![]);
    let all = builder.node("Concat", &[&first, x], vec![int("axis", 1)]);
    let places = state.params.get(positions)?;
    let places = builder.weight(positions, &places.reshape((1, (), width as usize))?)?;
    Ok(builder.node("Add", &[&all, &places], vec![]))
}

/// Each token normalized.
pub(crate) fn layer_norm(builder: &mut Builder, state: &State, name: &str, eps: f64, x: &str) -> Result<Value> {
    let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
    let weight = builder.weight(&weight, state.params.get(&weight)?)?;
    let bias = builder.weight(&bias, state.params.get(&bias)?)?;
    let attributes = vec![int("axis", -1), number("epsilon", eps as f32)];
    Ok(builder.node("LayerNormalization", &[x, &weight, &bias], attributes))
}

/// A fully connected layer of each token.
pub(crate) fn linear(builder: &mut Builder, state: &State, layer: &LinearRows, x: &str) -> Result<Value> {
    let weight = rows(builder, state, layer, "weight")?;
    let turned = builder.transpose(&weight, &[1, 0]);
    let y = builder.node("MatMul", &[x, &turned], vec![]);
    if !layer.bias {
        return Ok(y);
    }
    let bias = rows(builder, state, layer, "bias")?;
    Ok(builder.node("Add", &[&y, &bias], vec![]))
}

/// Rows of parameters called `NAME.what`, one after the other.
fn rows(builder: &mut Builder, state: &State, layer: &LinearRows, what: &str) -> Result<Value> {
    let (mut parts, mut count) = (Vec::new(), 0);
    for name in &layer.names {
        let name = format!("{name}.{what}");
        let tensor = state.params.get(&name)?;
        count += tensor.dim(0)?;
        parts.push(builder.weight(&name, tensor)?);
    }
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let all = match parts[..] {
        [one] => one.to_string(),
        _ => builder.node("Concat", &parts, vec![int("axis", 0)]),
    };
    match layer.rows == (0..count) {
        true => Ok(all),
        false => Ok(builder.part(&all, layer.rows.start as i64, layer.rows.end as i64, 0)),
    }
}

/// GELU.
pub(crate) fn gelu(builder: &mut Builder, form: Gelu, x: &str) -> Value {
    let share = match form {
        Gelu::Exact => {
            let (root, one, half) = (builder.float(0.5f32.sqrt()), builder.float(1.0), builder.float(0.5));
            let scaled = builder.node("Mul", &[x, &root], vec![]);
            let erf = builder.node("Erf", &[&scaled], vec![]);
            let twice = builder.node("Add", &[&erf, &one], vec![]);
            builder.node("Mul", &[&twice, &half], vec![])
        }
        Gelu::Quick => {
            let slope = builder.float(1.702);
            let scaled = builder.node("Mul", &[x, &slope], vec![]);
            builder.node("Sigmoid", &[&scaled], vec![])
        }
    };
    builder.node("Mul", &[x, &share], vec![])
}

/// Attention of queries `(n, m, width)` to keys and values `(n, t, 2 · width)`.
pub(crate) fn attention(builder: &mut Builder, heads: usize, width: usize, [q, kv]: [&str; 2]) -> Value {
    let (heads, width) = (heads as i64, width as i64);
    let (keys, values) = (builder.part(kv, 0, width, 2), builder.part(kv, width, 2 * width, 2));
    let mut apart = |x: &str, order: &[i64]| {
        let apart = builder.reshape(x, &[0, 0, heads, width / heads]);
        builder.transpose(&apart, order)
    };
    let (q, keys, values) = (apart(q, &[0, 2, 1, 3]), apart(&keys, &[0, 2, 3, 1]), apart(&values, &[0, 2, 1, 3]));
    let scale = builder.float(((width / heads) as f32).sqrt().recip());
    let scores = builder.node("MatMul", &[&q, &keys], vec![]);
    let scores = builder.node("Mul", &[&scores, &scale], vec![]);
    let weights = builder.node("Softmax", &[&scores], vec![int("axis", -1)]);
    let mixed = builder.node("MatMul", &[&weights, &values], vec![]);
    let together = builder.transpose(&mixed, &[0, 2, 1, 3]);
    builder.reshape(&together, &[0, 0, width])
}
