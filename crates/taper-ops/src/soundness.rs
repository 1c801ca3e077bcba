//! The portable kernels, the tape and the threads at sizes that Miri can run:
//! `cargo xtask soundness` selects the tests of this module.

use crate::convolution::{fast, geometry::Geometry};
use crate::kernels::simd::InstructionSet;
use crate::test_support::{near, numbers};
use crate::{
    Convolution, Epilogue, Tape, Window, conv_norm, in_pool, map_in_order, matmul_nt, on_one_thread, window_match,
};
use candle_core::{Device, Tensor};

/// `(output, input gradient, weight gradient)` by the definition, in f64.
fn by_definition(g: &Geometry, x: &[f32], weight: &[f32], y: &[f32]) -> [Vec<f64>; 3] {
    let (inputs, outputs) = (g.group_inputs(), g.group_outputs());
    let mut out = vec![0.0; g.n * g.oh * g.ow * g.o];
    let (mut dx, mut dw) = (vec![0.0; x.len()], vec![0.0; weight.len()]);
    for place in 0..out.len() {
        let (pixel, o) = (place / g.o, place % g.o);
        let (image, pixel) = (pixel / (g.oh * g.ow), pixel % (g.oh * g.ow));
        g.for_each_cell(pixel / g.ow, pixel % g.ow, |cell, source| {
            for i in 0..inputs {
                let at = (image * g.h * g.w + source) * g.c + o / outputs * inputs + i;
                let tap = (o * inputs + i) * g.taps() + cell;
                out[place] += f64::from(x[at]) * f64::from(weight[tap]);
                dx[at] += f64::from(y[place]) * f64::from(weight[tap]);
                dw[tap] += f64::from(y[place]) * f64::from(x[at]);
            }
        });
    }
    [out, dx, dw]
}

fn check([n, h, w, c]: [usize; 4], [o, k]: [usize; 2], how: Convolution) {
    let g = Geometry::new(&[n, h, w, c], &[o, c / how.groups, k, k], how).unwrap();
    let (x, weight) = (numbers("x", n * h * w * c), numbers("w", o * c / how.groups * k * k));
    let y = numbers("y", g.outputs().elem_count());
    let [out, dx, dw] = by_definition(&g, &x, &weight, &y);
    let set = InstructionSet::Portable;
    on_one_thread(|| {
        near(&fast::forward(set, &g, &x, &weight, None), &out, 1e-4);
        near(&fast::input_gradient(set, &g, &y, &weight, None), &dx, 1e-4);
        near(&fast::weight_gradient(set, &g, &x, &y), &dw, 1e-4);
    });
}

#[test]
fn direct_convolutions_and_their_gradients() {
    check([2, 4, 3, 5], [6, 2], Convolution::default());
    check([1, 5, 4, 6], [4, 3], Convolution { stride: 2, padding: 1, groups: 2 });
    check([1, 3, 3, 2], [9, 1], Convolution { stride: 3, ..Convolution::default() });
    check([1, 4, 4, 3], [5, 3], Convolution { padding: 1, ..Convolution::default() });
    check([0, 3, 3, 2], [2, 3], Convolution::default());
    check([1, 0, 2, 5], [2, 1], Convolution { padding: 1, ..Convolution::default() });
}

#[test]
fn depthwise_convolutions_and_their_gradients() {
    check([2, 4, 3, 5], [5, 3], Convolution { stride: 1, padding: 1, groups: 5 });
}

#[test]
fn winograd_convolutions_and_their_gradients() {
    check([1, 4, 5, 16], [16, 3], Convolution { padding: 1, ..Convolution::default() });
    if !cfg!(miri) {
        check([2, 8, 9, 18], [17, 3], Convolution { padding: 2, ..Convolution::default() });
    }
}

/// Second derivatives of a layer with respect to its weights, for one of several items.
fn curvature(item: u64) -> Vec<f32> {
    let tensor = |name: &str, shape: &[usize]| {
        Tensor::from_vec(numbers(name, shape.iter().product()), shape, &Device::Cpu).unwrap()
    };
    let tape = Tape::default();
    let leaf = |name: &str, shape: &[usize]| tape.leaf(&tensor(&format!("{name} {item}"), shape)).unwrap();
    let (x, weight) = (tensor("x", &[2, 4, 4, 2]), leaf("w", &[3, 2, 3, 3]));
    let (scale, shift) = (leaf("scale", &[3]), leaf("shift", &[3]));
    let epilogue = Epilogue::ReluPool(Window::tiled(2));
    let how = Convolution { padding: 1, ..Convolution::default() };
    let (y, _) = conv_norm(&x, &weight, how, (&scale, &shift), 1e-3, epilogue).unwrap();
    let rows = y.flatten_from(1).unwrap();
    let loss = matmul_nt(&rows, &rows).unwrap().sqr().unwrap().sum_all().unwrap();
    let slope = tape.tracked_gradients(&loss).unwrap().get(&weight).unwrap().clone();
    let curvature = tape.vector_products(&[(slope.clone(), slope.detach())]).unwrap();
    curvature.get(&weight).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
}

#[test]
fn a_layer_and_its_second_derivatives() {
    assert!(on_one_thread(|| curvature(0)).iter().all(|value| value.is_finite()));
}

#[test]
fn several_threads_give_the_same_bits() {
    let items: Vec<u64> = (0..if cfg!(miri) { 2 } else { 12 }).collect();
    let run = |threads| in_pool(threads, || map_in_order(&items, |_, &item| curvature(item))).unwrap();
    let alone = run(1);
    for threads in if cfg!(miri) { vec![2] } else { vec![2, 3, 8] } {
        assert_eq!(run(threads), alone);
    }
}

#[test]
fn soft_matching_in_a_window() {
    let tensor = |name, shape: (usize, usize, usize)| {
        Tensor::from_vec(numbers(name, shape.0 * shape.1 * shape.2), shape, &Device::Cpu).unwrap()
    };
    let tape = Tape::default();
    let one = tape.leaf(&tensor("one", (2, 4, 3))).unwrap();
    let window = Tensor::from_vec(numbers("window", 9), 9, &Device::Cpu).unwrap();
    let run = || tape.gradients(&window_match(&one, &tensor("other", (3, 4, 3)), &window, 2)?.sum_all()?);
    let gradients = on_one_thread(run).unwrap();
    assert_eq!(gradients.get(&one).unwrap().dims(), [2, 4, 3]);
}
