//! The steps for line drawings, of one image `(1, c, h, w)` at a time, samples from 0 to 1: what
//! `taper-data/src/transform/center.rs` and `drawing.rs` do, in their order.

use crate::graph::{Builder, Value, int};
use crate::proto::ElementKind;
use taper_data::Middle;

/// A smaller difference from the background than this does not count as ink.
const FAINTEST: f32 = 0.15;
/// Ink differs from the background by at least this share of the largest difference.
const INK: f32 = 0.5;
/// How much of the strongest ink a pixel must have to belong to the drawing that is moved.
const FAINT: f32 = 0.3;

/// The median of the border of each plane, `(1, c, 1, 1)`.
fn background(builder: &mut Builder, x: &str) -> Value {
    let last = i64::MAX;
    let rows = [(0, 1), (-1, last)].map(|(first, end)| builder.part(x, first, end, 2));
    let inner = builder.part(x, 1, -1, 2);
    let columns = [(0, 1), (-1, last)].map(|(first, end)| {
        let column = builder.part(&inner, first, end, 3);
        builder.transpose(&column, &[0, 1, 3, 2])
    });
    let parts = [&rows[0], &rows[1], &columns[0], &columns[1]].map(String::as_str);
    let border = builder.node("Concat", &parts, vec![int("axis", 3)]);
    let two = builder.ints(&[2]);
    let half = builder.size(&border, 3);
    let half = builder.node("Div", &[&half, &two], vec![]);
    let one = builder.ints(&[1]);
    let count = builder.node("Add", &[&half, &one], vec![]);
    let smallest = builder.first_of("TopK", &[&border, &count], 2, vec![int("axis", 3), int("largest", 0)]);
    builder.part(&smallest, -1, last, 3)
}

/// 1 where a gray image differs from its background by more than half of the largest difference, else 0. A blank
/// image, which is an error elsewhere, becomes NaN, as do its probabilities.
pub(crate) fn ink(builder: &mut Builder, x: &str) -> Value {
    let ground = background(builder, x);
    let off = builder.node("Sub", &[x, &ground], vec![]);
    let off = builder.node("Abs", &[&off], vec![]);
    let strongest = builder.reduce("ReduceMax", &off, &[1, 2, 3], true);
    let (share, one, zero) = (builder.float(INK), builder.float(1.0), builder.float(0.0));
    let level = builder.node("Mul", &[&strongest, &share], vec![]);
    let inked = builder.node("Greater", &[&off, &level], vec![]);
    let drawn = builder.node("Where", &[&inked, &one, &zero], vec![]);
    let (faintest, nothing) = (builder.float(FAINTEST), builder.float(f32::NAN));
    let blank = builder.node("Less", &[&strongest, &faintest], vec![]);
    builder.node("Where", &[&blank, &nothing, &drawn], vec![])
}

/// Whole numbers from 0 to before the size of a dimension, and the size as a number.
fn places(builder: &mut Builder, x: &str, dimension: i64) -> (Value, Value) {
    let size = builder.size(x, dimension);
    let first = builder.ints(&[0]);
    let size = builder.node("Squeeze", &[&size, &first], vec![]);
    let (zero, one) = (builder.whole(0), builder.whole(1));
    let places = builder.node("Range", &[&zero, &size, &one], vec![]);
    (builder.cast(&places, ElementKind::F32), builder.cast(&size, ElementKind::F32))
}

/// The first place with ink and the one after the last, of a list of truths; 0 and the size without any.
fn span(builder: &mut Builder, inked: &str, (places, size): &(Value, Value)) -> (Value, Value) {
    let one = builder.float(1.0);
    let nowhere = builder.float(-1.0);
    let low = builder.node("Where", &[inked, places, size], vec![]);
    let low = builder.reduce("ReduceMin", &low, &[0], false);
    let high = builder.node("Where", &[inked, places, &nowhere], vec![]);
    let high = builder.reduce("ReduceMax", &high, &[0], false);
    let high = builder.node("Add", &[&high, &one], vec![]);
    let none = builder.node("Less", &[&high, &one], vec![]);
    let zero = builder.float(0.0);
    let low = builder.node("Where", &[&none, &zero, &low], vec![]);
    (low, builder.node("Where", &[&none, size, &high], vec![]))
}

/// Half up, for numbers that are not negative.
fn rounded(builder: &mut Builder, x: &str) -> Value {
    let half = builder.float(0.5);
    let more = builder.node("Add", &[x, &half], vec![]);
    builder.node("Floor", &[&more], vec![])
}

/// Zeros added above, left, below and right of the planes; negative numbers cut off.
fn pad(builder: &mut Builder, x: &str, around: [&str; 4]) -> Value {
    let first = builder.ints(&[0]);
    let around = around.map(|size| {
        let size = builder.cast(size, ElementKind::I64);
        builder.node("Unsqueeze", &[&size, &first], vec![])
    });
    let none = builder.ints(&[0, 0]);
    let [top, left, bottom, right] = around.each_ref().map(String::as_str);
    let pads = builder.node("Concat", &[&none, top, left, &none, bottom, right], vec![int("axis", 0)]);
    builder.node("Pad", &[x, &pads], vec![])
}

/// The square around the ink of light drawings on dark, the part outside of the image dark.
pub(crate) fn square_around_ink(builder: &mut Builder, share: f32, keep: f32, x: &str) -> Value {
    let ends: Vec<_> = [(2, 3), (3, 2)]
        .into_iter()
        .map(|(dimension, across)| {
            let places = places(builder, x, dimension);
            let strongest = builder.reduce("ReduceMax", x, &[0, 1, across], false);
            let level = builder.float(INK);
            let inked = builder.node("Greater", &[&strongest, &level], vec![]);
            (span(builder, &inked, &places), places.1)
        })
        .collect();
    let [((top, bottom), height), ((left, right), width)] = ends.as_slice() else { return x.to_string() };
    let spans = [(top, bottom), (left, right)].map(|(low, high)| builder.node("Sub", &[high, low], vec![]));
    let ink = builder.node("Max", &[&spans[0], &spans[1]], vec![]);
    let image = builder.node("Max", &[height, width], vec![]);
    let share = builder.float(share);
    let exact = builder.node("Div", &[&ink, &share], vec![]);
    let (rest, keep) = (builder.float(1.0 - keep), builder.float(keep));
    let exact = builder.node("Pow", &[&exact, &rest], vec![]);
    let own = builder.node("Pow", &[&image, &keep], vec![]);
    let square = builder.node("Mul", &[&exact, &own], vec![]);
    let square = rounded(builder, &square);
    let one = builder.float(1.0);
    let square = builder.node("Max", &[&square, &one], vec![]);
    let half = builder.float(0.5);
    let around = [(top, bottom, height), (left, right, width)].map(|(low, high, size)| {
        let sum = builder.node("Add", &[low, high], vec![]);
        let twice = builder.node("Sub", &[&sum, &square], vec![]);
        let first = builder.node("Mul", &[&twice, &half], vec![]);
        let first = builder.node("Floor", &[&first], vec![]);
        let end = builder.node("Add", &[&first, &square], vec![]);
        (builder.node("Neg", &[&first], vec![]), builder.node("Sub", &[&end, size], vec![]))
    });
    pad(builder, x, [&around[0].0, &around[1].0, &around[0].1, &around[1].1])
}

/// The drawing moved to the middle by whole pixels; uncovered pixels get the background's color.
pub(crate) fn center(builder: &mut Builder, middle: Middle, x: &str) -> Value {
    let ground = background(builder, x);
    let off = builder.node("Sub", &[x, &ground], vec![]);
    let size = builder.node("Abs", &[&off], vec![]);
    let ink = builder.reduce("ReduceSum", &size, &[0, 1], false);
    let strongest = builder.reduce("ReduceMax", &ink, &[0, 1], false);
    let (share, zero) = (builder.float(FAINT), builder.float(0.0));
    let level = builder.node("Mul", &[&strongest, &share], vec![]);
    let faint = builder.node("Less", &[&ink, &level], vec![]);
    let ink = builder.node("Where", &[&faint, &zero, &ink], vec![]);
    let blank = builder.node("Equal", &[&strongest, &zero], vec![]);
    let (half, one) = (builder.float(0.5), builder.float(1.0));
    let moves = [(2, 1), (3, 0)].map(|(dimension, across)| {
        let places = places(builder, x, dimension);
        let along = builder.reduce("ReduceSum", &ink, &[across], false);
        let at = match middle {
            Middle::Mass => {
                let mass = builder.reduce("ReduceSum", &along, &[0], false);
                let weighted = builder.node("Mul", &[&along, &places.0], vec![]);
                let sum = builder.reduce("ReduceSum", &weighted, &[0], false);
                builder.node("Div", &[&sum, &mass], vec![])
            }
            Middle::Box => {
                let inked = builder.node("Greater", &[&along, &zero], vec![]);
                let (low, high) = span(builder, &inked, &places);
                let sum = builder.node("Add", &[&low, &high], vec![]);
                let sum = builder.node("Sub", &[&sum, &one], vec![]);
                builder.node("Mul", &[&sum, &half], vec![])
            }
        };
        let last = builder.node("Sub", &[&places.1, &one], vec![]);
        let middle = builder.node("Mul", &[&last, &half], vec![]);
        let far = builder.node("Sub", &[&middle, &at], vec![]);
        let far = builder.node("Where", &[&blank, &zero, &far], vec![]);
        // half away from zero
        let (sign, size) = (builder.node("Sign", &[&far], vec![]), builder.node("Abs", &[&far], vec![]));
        let size = rounded(builder, &size);
        builder.node("Mul", &[&sign, &size], vec![])
    });
    let back = moves.each_ref().map(|far| builder.node("Neg", &[far], vec![]));
    let moved = pad(builder, &off, [&moves[0], &moves[1], &back[0], &back[1]]);
    builder.node("Add", &[&moved, &ground], vec![])
}
