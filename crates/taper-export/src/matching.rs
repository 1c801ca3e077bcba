//! Dense matching with the support images inside: [`taper_models::Matching`] as nodes, in its order.

use crate::Result;
use crate::graph::{Builder, Value, int};
use taper_models::{Layout, Params};

/// The parts of features of m images, for each of v views.
struct Parts {
    /// `(m, v, places, local)`, of length 1 each.
    places: Value,
    /// `(m, v, places)`, sums to 1.
    attention: Value,
    /// `(m, v, global)`, of length 1.
    whole: Value,
}

/// How well images match the support images.
pub(crate) struct Matched {
    /// `(m, ways)`.
    pub(crate) logits: Value,
    /// With each support image, `(m, images)`.
    strengths: Value,
    queries: Parts,
    scales: Vec<f32>,
    window: Vec<f32>,
}

/// Adds the logits of `features (m, d)` against the support images under `name`.
///
/// # Errors
/// Returns an error if a parameter is missing.
pub(crate) fn matching(
    builder: &mut Builder,
    params: &Params,
    name: &str,
    layout: Layout,
    features: &str,
) -> Result<Matched> {
    let get = |part: &str| params.get(&format!("{name}.{part}"));
    let (support, members) = (get("support")?, get("members")?);
    let images = support.dim(0)?;
    let support = builder.weight(&format!("{name}.support"), support)?;
    let members = builder.weight(&format!("{name}.members"), &members.t()?.contiguous()?)?;
    let scales = get("scales")?.exp()?.to_vec1::<f32>()?;
    let (queries, support) = (parts(builder, layout, features), parts(builder, layout, &support));

    // (m, v, 1, global) x (v, global, images)
    let one = builder.ints(&[2]);
    let query = builder.node("Unsqueeze", &[&queries.whole, &one], vec![]);
    let whole = builder.transpose(&support.whole, &[1, 2, 0]);
    let alike = builder.node("MatMul", &[&query, &whole], vec![]);
    let alike = builder.node("Squeeze", &[&alike, &one], vec![]);
    let mut both = times(builder, &alike, scales[2]);
    let window = if layout.side > 0 { get("window")?.to_vec1::<f32>()? } else { Vec::new() };
    if layout.side > 0 {
        let (views, places) = (layout.views as i64, layout.places() as i64);
        // (m, v, places, local) x (v, local, images * places): every place against every other
        let theirs = builder.transpose(&support.places, &[1, 3, 0, 2]);
        let theirs = builder.reshape(&theirs, &[views, layout.local as i64, -1]);
        let alike = builder.node("MatMul", &[&queries.places, &theirs], vec![]);
        let alike = builder.reshape(&alike, &[-1, views, places, images as i64, places]);
        let alike = builder.transpose(&alike, &[0, 1, 3, 2, 4]);
        let theirs = builder.transpose(&support.attention, &[1, 0, 2]);
        let attention = [queries.attention_to_each(builder), theirs];
        let local = local(builder, layout, &alike, attention, images, scales[0], &window);
        let local = times(builder, &local, scales[1]);
        both = builder.node("Add", &[&local, &both], vec![]);
    }
    let strengths = builder.reduce("ReduceMean", &both, &[1], false);
    let logits = builder.node("MatMul", &[&strengths, &members], vec![]);
    Ok(Matched { logits, strengths, queries, scales, window })
}

impl Matched {
    /// The strongest match `(m, 1)` of each image, as a share of its match with itself.
    pub(crate) fn nearest(&self, builder: &mut Builder, layout: Layout) -> Value {
        let (queries, scales) = (&self.queries, &self.scales);
        let square = builder.node("Mul", &[&queries.whole, &queries.whole], vec![]);
        let alike = builder.reduce("ReduceSum", &square, &[2], true);
        let mut itself = times(builder, &alike, scales[2]);
        if layout.side > 0 {
            let turned = builder.transpose(&queries.places, &[0, 1, 3, 2]);
            let alike = builder.node("MatMul", &[&queries.places, &turned], vec![]);
            let attention = queries.attention_to_each(builder);
            let local = local(builder, layout, &alike, [attention.clone(), attention], 1, scales[0], &self.window);
            let local = times(builder, &local, scales[1]);
            itself = builder.node("Add", &[&local, &itself], vec![]);
        }
        let itself = builder.reduce("ReduceMean", &itself, &[1], false);
        let least = builder.float(1e-6);
        let itself = builder.node("Max", &[&itself, &least], vec![]);
        let strongest = builder.reduce("ReduceMax", &self.strengths, &[1], true);
        builder.node("Div", &[&strongest, &itself], vec![])
    }
}

fn times(builder: &mut Builder, x: &str, factor: f32) -> Value {
    let factor = builder.float(factor);
    builder.node("Mul", &[x, &factor], vec![])
}

fn parts(builder: &mut Builder, layout: Layout, features: &str) -> Parts {
    let Layout { views, side, local, global } = layout;
    let (views, places, local, global) = (views as i64, (side * side) as i64, local as i64, global as i64);
    let width = places * (local + 1) + global;
    let by_view = builder.reshape(features, &[-1, views, width]);
    let whole = builder.part(&by_view, places * (local + 1), width, 2);
    let whole = unit(builder, &whole);
    if places == 0 {
        return Parts { places: Value::new(), attention: Value::new(), whole };
    }
    let of_places = builder.part(&by_view, 0, places * local, 2);
    let of_places = builder.reshape(&of_places, &[-1, views, places, local]);
    let attention = builder.part(&by_view, places * local, places * (local + 1), 2);
    let weight = builder.node("Softplus", &[&attention], vec![]);
    let sum = builder.reduce("ReduceSum", &weight, &[2], true);
    let least = builder.float(1e-6);
    let sum = builder.node("Add", &[&sum, &least], vec![]);
    let attention = builder.node("Div", &[&weight, &sum], vec![]);
    Parts { places: unit(builder, &of_places), attention, whole }
}

/// Vectors along the last dimension, scaled to length 1.
fn unit(builder: &mut Builder, x: &str) -> Value {
    let square = builder.node("Mul", &[x, x], vec![]);
    let sum = builder.reduce("ReduceSum", &square, &[-1], true);
    let least = builder.float(1e-8);
    let sum = builder.node("Add", &[&sum, &least], vec![]);
    let length = builder.node("Sqrt", &[&sum], vec![]);
    builder.node("Div", &[x, &length], vec![])
}

impl Parts {
    /// Attention `(m, v, 1, places)`, the same for every image that is compared.
    fn attention_to_each(&self, builder: &mut Builder) -> Value {
        let middle = builder.ints(&[2]);
        builder.node("Unsqueeze", &[&self.attention, &middle], vec![])
    }
}

/// How well places explain each other, `(m, v, images)`, where `alike` is the likeness of each place of one image to each
/// of the other, `m · v · images · places · places` values in this order: for each place, the soft maximum of its likeness
/// to the places of the window in the other image, averaged by the image's `attention`; in both directions.
fn local(
    builder: &mut Builder,
    layout: Layout,
    alike: &str,
    [mine, theirs]: [Value; 2],
    images: usize,
    sharpness: f32,
    window: &[f32],
) -> Value {
    let (views, places, images) = (layout.views as i64, layout.places() as i64, images as i64);
    let alike = builder.reshape(alike, &[-1, views, images, places * places]);
    // one zero at the end, for places outside of the image
    let around = builder.ints(&[0, 0, 0, 0, 0, 0, 0, 1]);
    let alike = builder.node("Pad", &[&alike, &around], vec![]);

    let explained = |builder: &mut Builder, attention: &str, back: bool| {
        let places_of = windows(layout.side, window.len(), back);
        let at = builder.ints(&places_of);
        let chosen = builder.node("Gather", &[&alike, &at], vec![int("axis", 3)]);
        let chosen = builder.reshape(&chosen, &[-1, views, images, places, window.len() as i64]);
        let sharp = times(builder, &chosen, sharpness);
        let preference = builder.floats(window, &[window.len()]);
        let sharp = builder.node("Add", &[&sharp, &preference], vec![]);
        let best = builder.reduce("ReduceLogSumExp", &sharp, &[4], false);
        let weighted = builder.node("Mul", &[&best, attention], vec![]);
        let sum = builder.reduce("ReduceSum", &weighted, &[3], false);
        times(builder, &sum, 1.0 / sharpness)
    };
    let there = explained(builder, &mine, false);
    let back = explained(builder, &theirs, true);
    builder.node("Add", &[&there, &back], vec![])
}

/// For each place of one image and each place of the window around it in the other, their number among all pairs
/// `places * query + support`; the number after the last pair for places outside of the image. The one image is the
/// query, or the support image if `back`.
fn windows(side: usize, window: usize, back: bool) -> Vec<i64> {
    let (side, span) = (side as i64, window.isqrt() as i64);
    let (places, reach) = (side * side, span / 2);
    let mut numbers = Vec::new();
    for (row, column) in (0..side).flat_map(|row| (0..side).map(move |column| (row, column))) {
        for (down, right) in (-reach..=reach).flat_map(|down| (-reach..=reach).map(move |right| (down, right))) {
            let (one, other) = (side * row + column, side * (row + down) + column + right);
            let inside = (0..side).contains(&(row + down)) && (0..side).contains(&(column + right));
            numbers.push(match (inside, back) {
                (false, _) => places * places,
                (true, false) => places * one + other,
                (true, true) => places * other + one,
            });
        }
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_stay_inside_and_go_both_ways() {
        // two by two places, a window of 3 by 3: of the first place, the last four are inside
        let there = windows(2, 9, false);
        assert_eq!(there[..9], [16, 16, 16, 16, 0, 1, 16, 2, 3]);
        let back = windows(2, 9, true);
        assert_eq!(back[..9], [16, 16, 16, 16, 0, 4, 16, 8, 12]);
        assert_eq!((there.len(), there.iter().filter(|&&at| at < 16).count()), (36, 16));
    }
}
