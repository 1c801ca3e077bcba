//! A model's transform as nodes: images as they are decoded become the network's inputs.
//!
//! Every number is computed as `taper-data` does, in its order: samples are from 0 to 1, and a resize goes over
//! columns, then over rows, with 8 bits after each, as Pillow's.

use crate::Result;
use crate::drawing;
use crate::graph::{Builder, Value, declared, graph, int, number, word};
use crate::proto::{ElementKind, Graph};
use taper_data::{Filter, Step, Transform};

/// The largest of 8 bits.
const WHITE: f32 = 255.0;

/// Adds the transform of `images (n, h, w, c)`, of 8 bits, to inputs `(n, c, h, w)` of the network.
///
/// # Errors
/// Returns an error if a part can't be written.
pub(crate) fn preprocessing(
    builder: &mut Builder,
    transform: &Transform,
    channels: usize,
    images: &str,
) -> Result<Value> {
    let levels = builder.cast(images, ElementKind::F32);
    let white = builder.float(WHITE);
    let samples = builder.node("Div", &[&levels, &white], vec![]);
    let planes = builder.transpose(&samples, &[0, 3, 1, 2]);
    if transform.steps().iter().any(|step| matches!(step, Step::Center(_) | Step::Ink | Step::Frame { .. })) {
        return one_by_one(builder, transform, channels, &planes);
    }
    Ok(steps(builder, transform, channels, &planes))
}

/// The steps of each image on its own, because they depend on what it shows.
fn one_by_one(builder: &mut Builder, transform: &Transform, channels: usize, planes: &str) -> Result<Value> {
    let yes = builder.truth(true);
    let first = builder.ints(&[0]);
    let body = builder.inner(|builder| {
        let image = builder.node("Gather", &[planes, "image"], vec![int("axis", 0)]);
        let image = builder.node("Unsqueeze", &[&image, &first], vec![]);
        let made = steps(builder, transform, channels, &image);
        builder.named_node("Squeeze", &[&made, &first], "prepared", vec![]);
        builder.named_node("Identity", &["go_on"], "still_going_on", vec![]);
        Ok(Graph {
            name: "prepare_image".into(),
            input: vec![
                declared("image", ElementKind::I64, &[], "The number of the image."),
                declared("go_on", ElementKind::Bool, &[], "Always true."),
            ],
            output: vec![
                declared("still_going_on", ElementKind::Bool, &[], "Always true."),
                crate::graph::undeclared("prepared", ElementKind::F32),
            ],
            ..Graph::default()
        })
    })?;
    let count = builder.size(planes, 0);
    let count = builder.node("Squeeze", &[&count, &first], vec![]);
    Ok(builder.node("Loop", &[&count, &yes], vec![graph("body", body)]))
}

/// All steps on planes `(n, c, h, w)`. Random steps do nothing or take the middle, as without a generator.
fn steps(builder: &mut Builder, transform: &Transform, channels: usize, planes: &str) -> Value {
    let (mut x, mut channels) = (planes.to_string(), channels);
    for step in transform.steps() {
        x = match *step {
            Step::Resize { width, height, filter } => {
                let sizes = [height, width].map(|size| builder.ints(&[size as i64]));
                resize(builder, &x, sizes, filter)
            }
            Step::ResizeShort { side, filter } => resize_short(builder, &x, side, filter),
            Step::CenterCrop(side) | Step::RandomCrop { side, .. } => center_crop(builder, &x, channels, side),
            Step::RandomResizedCrop(side) => {
                let resized = resize_short(builder, &x, side, Filter::Bilinear);
                center_crop(builder, &resized, channels, side)
            }
            Step::Center(middle) => drawing::center(builder, middle, &x),
            Step::Ink => drawing::ink(builder, &x),
            Step::Frame { share, side, keep } => {
                let square = drawing::square_around_ink(builder, share, keep, &x);
                let size = builder.ints(&[side as i64]);
                resize(builder, &square, [size.clone(), size], Filter::Bilinear)
            }
            Step::Gray => gray(builder, &x, std::mem::replace(&mut channels, 1)),
            Step::Color if channels == 1 => {
                channels = 3;
                builder.node("Concat", &[&x, &x, &x], vec![int("axis", 1)])
            }
            Step::Invert => {
                let one = builder.float(1.0);
                builder.node("Sub", &[&one, &x], vec![])
            }
            Step::Flip => builder.flip(&x, &[3]),
            Step::Normalize { ref mean, ref std } => {
                let mean = builder.floats(mean, &[1, mean.len(), 1, 1]);
                let std = builder.floats(std, &[1, std.len(), 1, 1]);
                let centered = builder.node("Sub", &[&x, &mean], vec![]);
                builder.node("Div", &[&centered, &std], vec![])
            }
            Step::Color
            | Step::RandomFlip
            | Step::RandomErasing(_)
            | Step::RandomRotate(_)
            | Step::TrivialAugment
            | Step::RandomAffine(_)
            | Step::TaskSymmetry
            | Step::ClassWarp { .. }
            | Step::RandomWarp(_)
            | Step::RandomPen { .. } => x,
        };
    }
    x
}

/// Rec. 601 luma in Pillow's parts of 2^16.
fn gray(builder: &mut Builder, x: &str, channels: usize) -> Value {
    if channels == 1 {
        return x.to_string();
    }
    let parts = [(0, 19595.0), (1, 38470.0), (2, 7471.0)].map(|(channel, weight)| {
        let weight = builder.float(weight / 65536.0);
        let plane = builder.part(x, channel, channel + 1, 1);
        builder.node("Mul", &[&plane, &weight], vec![])
    });
    let sum = builder.node("Add", &[&parts[0], &parts[1]], vec![]);
    builder.node("Add", &[&sum, &parts[2]], vec![])
}

/// To a height and a width, each a list of one whole number.
fn resize(builder: &mut Builder, x: &str, [height, width]: [Value; 2], filter: Filter) -> Value {
    let across = resize_along(builder, x, &width, 3, filter);
    resize_along(builder, &across, &height, 2, filter)
}

fn resize_along(builder: &mut Builder, x: &str, size: &str, dimension: i64, filter: Filter) -> Value {
    let mode = match filter {
        Filter::Bilinear => "linear",
        Filter::Bicubic => "cubic",
    };
    let attributes = vec![
        word("mode", mode),
        int("antialias", 1),
        int("exclude_outside", 1),
        number("cubic_coeff_a", -0.5),
        crate::graph::ints("axes", &[dimension]),
    ];
    let resized = builder.node("Resize", &[x, "", "", size], attributes);
    let (least, most, white) = (builder.float(0.0), builder.float(1.0), builder.float(WHITE));
    let within = builder.node("Clip", &[&resized, &least, &most], vec![]);
    let levels = builder.node("Mul", &[&within, &white], vec![]);
    // half up: `Round` takes halves, which resized ink has, to the even level
    let half = builder.float(0.5);
    let levels = builder.node("Add", &[&levels, &half], vec![]);
    let levels = builder.node("Floor", &[&levels], vec![]);
    let rounded = builder.node("Div", &[&levels, &white], vec![]);
    // an image that has the size already stays as it is
    let before = builder.size(x, dimension);
    let is_same = builder.node("Equal", &[&before, size], vec![]);
    builder.node("Where", &[&is_same, &resized, &rounded], vec![])
}

/// The shorter side to `side`; the other is rounded down.
fn resize_short(builder: &mut Builder, x: &str, side: usize, filter: Filter) -> Value {
    let sizes = [2, 3].map(|dimension| builder.size(x, dimension));
    let shorter = builder.node("Min", &[&sizes[0], &sizes[1]], vec![]);
    let side = builder.ints(&[side as i64]);
    let sizes = sizes.map(|size| {
        let long = builder.node("Mul", &[&size, &side], vec![]);
        builder.node("Div", &[&long, &shorter], vec![])
    });
    resize(builder, x, sizes, filter)
}

/// The square in the middle, half a pixel going to the even neighbor. An image that is too small is an error when
/// the graph runs.
fn center_crop(builder: &mut Builder, x: &str, channels: usize, side: usize) -> Value {
    let kept = builder.ints(&[side as i64]);
    let half = builder.float(0.5);
    let firsts = [2, 3].map(|dimension| {
        let size = builder.size(x, dimension);
        let rest = builder.node("Sub", &[&size, &kept], vec![]);
        let rest = builder.cast(&rest, ElementKind::F32);
        let first = builder.node("Mul", &[&rest, &half], vec![]);
        let first = builder.node("Round", &[&first], vec![]);
        builder.cast(&first, ElementKind::I64)
    });
    let first = builder.node("Concat", &[&firsts[0], &firsts[1]], vec![int("axis", 0)]);
    let end = builder.node("Add", &[&first, &kept], vec![]);
    let part = builder.slice(x, &first, &end, &[2, 3]);
    builder.reshape(&part, &[0, channels as i64, side as i64, side as i64])
}
