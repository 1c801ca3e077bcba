//! Every network, exported without its preprocessing and run by a small interpreter of ONNX's operators, gives the
//! network's own logits. The interpreter knows only the standard's definitions, and only of these operators;
//! `tests/golden/exports.py` does the same, and what is inside the preprocessing, with onnxruntime.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use candle_core::{DType, Device, Tensor};
use prost::Message as _;
use std::collections::BTreeMap;
use taper_export::{ExportError, OnnxOptions, Precision, onnx, proto};
use taper_learn::evaluation::Labeled;
use taper_learn::support::{Assessor, HeldOut, Rows, Support, SupportImage, features};
use taper_learn::{Model, methods::SettingValues, models::Origin, provenance::Provenance};
use taper_models::{Head, Mode, Network, State, named_backbone};
use taper_ops::{Window, max_pool2d, rng, uniform};

/// A classifier with random weights and statistics.
fn model(name: &str, input: (usize, usize, usize), head: Head) -> Model {
    let network = Network::new(named_backbone(name, input).unwrap(), head);
    let state = network.init(1).unwrap();
    let noisy = |(name, tensor): (&str, &Tensor)| {
        let noise = uniform(&mut rng(2, name, 0), tensor.shape().clone(), -0.1, 0.1).unwrap();
        (name.to_string(), (tensor + noise).unwrap())
    };
    let in_head = |name: &str| name.ends_with(".support") || name.ends_with(".members");
    let noisy_head = state.params.filter(in_head).iter().map(noisy).collect();
    let state = State { params: state.params.merged(&noisy_head), buffers: state.buffers.iter().map(noisy).collect() };
    let labels: Vec<String> = (0..head.outputs()).map(|class| format!("class {class}")).collect();
    let origin = Origin {
        method: "classifier".into(),
        on: "noise".into(),
        classes: labels.clone(),
        settings: SettingValues::new(),
        norm: "stored".into(),
        revised: false,
    };
    let transform = format!("resize({}x{})", input.2, input.1);
    Model { network, state, labels, transform, origin, provenance: Provenance::default(), support: None }
}

fn decoded(model: &Model, options: OnnxOptions) -> proto::Model {
    proto::Model::decode(onnx(model, options).unwrap().as_slice()).unwrap()
}

const BARE: OnnxOptions = OnnxOptions { bare: true, precision: Precision::Single };

/// The graph's logits for `inputs`.
fn run(graph: &proto::Graph, inputs: &Tensor) -> Tensor {
    run_all(graph, inputs)["logits"].clone()
}

/// All values that the graph makes of `inputs`, operator by operator.
fn run_all(graph: &proto::Graph, inputs: &Tensor) -> BTreeMap<String, Tensor> {
    let constants = graph.initializer.iter().map(|constant| (constant.name.clone(), tensor(constant)));
    let mut values: BTreeMap<String, Tensor> = constants.collect();
    values.insert(graph.input[0].name.clone(), inputs.clone());
    for node in &graph.node {
        let taken: Vec<&Tensor> = node.input.iter().map(|name| &values[name]).collect();
        let made = apply(node, &taken);
        values.insert(node.output[0].clone(), made);
    }
    values
}

fn tensor(constant: &proto::TensorData) -> Tensor {
    let dims: Vec<usize> = constant.dims.iter().map(|&size| size as usize).collect();
    if constant.data_type() == proto::ElementKind::I8 {
        let levels: Vec<f32> = constant.raw_data.iter().map(|&level| f32::from(level as i8)).collect();
        return Tensor::from_vec(levels, dims, &Device::Cpu).unwrap();
    }
    let kind = match constant.data_type() {
        proto::ElementKind::F32 => DType::F32,
        proto::ElementKind::F16 => DType::F16,
        proto::ElementKind::I64 => DType::I64,
        other => panic!("{other:?}"),
    };
    Tensor::from_raw_buffer(&constant.raw_data, kind, &dims, &Device::Cpu).unwrap()
}

fn apply(node: &proto::Node, x: &[&Tensor]) -> Tensor {
    let find = |name: &str| node.attribute.iter().find(|attribute| attribute.name == name);
    let int = |name: &str| find(name).unwrap().i.unwrap();
    let sizes = |name: &str| find(name).unwrap().ints.iter().map(|&size| size as usize).collect::<Vec<_>>();
    let dimension = |at: i64, rank: usize| if at < 0 { (at + rank as i64) as usize } else { at as usize };
    let whole = |tensor: &Tensor| tensor.to_vec1::<i64>().unwrap();
    // reductions take the dimensions as their second input
    let reduced = |sum: &dyn Fn(&Tensor, usize) -> candle_core::Result<Tensor>| {
        let at = dimension(whole(x[1])[0], x[0].rank());
        let made = sum(x[0], at).unwrap();
        if int("keepdims") == 1 { made.unsqueeze(at).unwrap() } else { made }
    };
    let result = match node.op_type.as_str() {
        "Conv" => {
            let pads = find("pads").map_or(vec![0], |_| sizes("pads"));
            let (strides, groups) = (sizes("strides"), find("group").map_or(1, |_| int("group") as usize));
            let y = x[0].conv2d(x[1], pads[0], strides[0], 1, groups);
            y.and_then(|y| match x.get(2) {
                Some(bias) => y.broadcast_add(&bias.reshape((1, (), 1, 1))?),
                None => Ok(y),
            })
        }
        "Gemm" => x[0].matmul(&x[1].t().unwrap()).and_then(|y| y.broadcast_add(x[2])),
        "MatMul" => x[0].contiguous().unwrap().broadcast_matmul(&x[1].contiguous().unwrap()),
        "Relu" => x[0].relu(),
        "LeakyRelu" => x[0]
            .relu()
            .and_then(|high| (x[0] - &high)?.affine(f64::from(find("alpha").unwrap().f.unwrap()), 0.0)? + high),
        "Clip" => x[0].broadcast_maximum(x[1]).and_then(|y| y.broadcast_minimum(x[2])),
        "Add" => x[0].broadcast_add(x[1]),
        "Mul" => x[0].broadcast_mul(x[1]),
        "Div" => x[0].broadcast_div(x[1]),
        "Sub" => x[0].broadcast_sub(x[1]),
        "Neg" => x[0].neg(),
        "GreaterOrEqual" => x[0].broadcast_ge(x[1]),
        "Mean" => Tensor::stack(x, 0).and_then(|all| all.mean(0)),
        "Sign" => x[0].sign(),
        "Abs" => x[0].abs(),
        "Max" => x[0].broadcast_maximum(x[1]),
        "Sqrt" => x[0].sqrt(),
        "Softplus" => x[0].exp().and_then(|e| (e + 1.0)?.log()),
        "MaxPool" => {
            let window =
                Window { kernel: sizes("kernel_shape")[0], stride: sizes("strides")[0], padding: sizes("pads")[0] };
            let by_pixel = x[0].permute((0, 2, 3, 1)).unwrap().contiguous().unwrap();
            max_pool2d(&by_pixel, window).unwrap().permute((0, 3, 1, 2)).unwrap().contiguous()
        }
        "GlobalAveragePool" => x[0].mean_keepdim((2, 3)),
        "LayerNormalization" => {
            let at = x[0].rank() - 1;
            let centered = x[0].broadcast_sub(&x[0].mean_keepdim(at).unwrap()).unwrap();
            let variance = centered.sqr().and_then(|squares| squares.mean_keepdim(at)).unwrap();
            let spread = (variance + f64::from(find("epsilon").unwrap().f.unwrap())).and_then(|v| v.sqrt()).unwrap();
            centered.broadcast_div(&spread).and_then(|y| y.broadcast_mul(x[1])?.broadcast_add(x[2]))
        }
        "Erf" => x[0].erf(),
        "Sigmoid" => (x[0].neg().unwrap().exp().unwrap() + 1.0).and_then(|y| y.recip()),
        "Shape" => {
            let sizes: Vec<i64> =
                x[0].dims()[int("start") as usize..int("end") as usize].iter().map(|&d| d as i64).collect();
            let count = sizes.len();
            Tensor::from_vec(sizes, count, &Device::Cpu)
        }
        "Expand" => x[0]
            .broadcast_as(whole(x[1]).into_iter().map(|size| size as usize).collect::<Vec<_>>())
            .and_then(|y| y.contiguous()),
        "Flatten" => x[0].flatten_from(1),
        "Reshape" => {
            let count = x[0].elem_count();
            // 0 is the size before
            let size = |(at, size): (usize, i64)| if size == 0 { x[0].dims()[at] as i64 } else { size };
            let sizes: Vec<i64> = whole(x[1]).into_iter().enumerate().map(size).collect();
            let known: usize = sizes.iter().filter(|&&size| size > 0).map(|&size| size as usize).product();
            let shape = sizes.into_iter().map(|size| if size < 0 { count / known } else { size as usize });
            x[0].reshape(shape.collect::<Vec<_>>())
        }
        "Transpose" => x[0].permute(sizes("perm")).and_then(|y| y.contiguous()),
        "Concat" => Tensor::cat(x, dimension(int("axis"), x[0].rank())),
        "DequantizeLinear" => {
            let sizes = [vec![x[1].elem_count()], vec![1; x[0].rank() - 1]].concat();
            assert_eq!(int("axis"), 0);
            x[0].broadcast_mul(&x[1].reshape(sizes).unwrap())
        }
        "Cast" => x[0].to_dtype(DType::F32),
        "Identity" => Ok(x[0].clone()),
        "Softmax" => candle_softmax(x[0]),
        "Unsqueeze" => x[0].unsqueeze(whole(x[1])[0] as usize),
        "Squeeze" => x[0].squeeze(whole(x[1])[0] as usize),
        "Gather" => {
            let at = whole(x[1]).into_iter().map(|at| at as u32).collect::<Vec<_>>();
            let count = at.len();
            x[0].index_select(&Tensor::from_vec(at, count, &Device::Cpu).unwrap(), int("axis") as usize)
        }
        "ReduceSum" => reduced(&|x, at| x.sum(at)).contiguous(),
        "ReduceL2" => reduced(&|x, at| x.sqr()?.sum(at)?.sqrt()).contiguous(),
        "ReduceMax" => reduced(&|x, at| x.max(at)).contiguous(),
        "ReduceMean" => reduced(&|x, at| x.mean(at)).contiguous(),
        "ReduceLogSumExp" => reduced(&|x, at| x.exp()?.sum(at)?.log()).contiguous(),
        "Pad" => {
            let around = whole(x[1]);
            let rank = x[0].rank();
            (0..rank)
                .try_fold(x[0].clone(), |y, at| y.pad_with_zeros(at, around[at] as usize, around[at + rank] as usize))
        }
        "Slice" => {
            let steps = x.get(4).map_or(vec![1; x[3].elem_count()], |steps| whole(steps));
            let parts = whole(x[1]).into_iter().zip(whole(x[2])).zip(whole(x[3])).zip(steps);
            parts.into_iter().try_fold(x[0].clone(), |y, (((first, end), at), step)| {
                let at = dimension(at, y.rank());
                let size = y.dim(at)? as i64;
                let place = |end: i64| if end < 0 { end.saturating_add(size).max(-1) } else { end.min(size) };
                let (first, end) = (place(first), place(end));
                let chosen = std::iter::successors(Some(first), |k| Some(k + step));
                let chosen: Vec<u32> =
                    chosen.take_while(|&k| if step > 0 { k < end } else { k > end }).map(|k| k as u32).collect();
                let count = chosen.len();
                y.index_select(&Tensor::from_vec(chosen, count, &Device::Cpu)?, at)
            })
        }
        other => panic!("{other} is not an operator of bare networks"),
    };
    result.unwrap()
}

fn candle_softmax(x: &Tensor) -> candle_core::Result<Tensor> {
    let e = x.exp()?;
    e.broadcast_div(&e.sum_keepdim(e.rank() - 1)?)
}

#[test]
fn every_bare_network_gives_its_own_logits() {
    let linear = Head::Linear { outputs: 3 };
    let cases = [
        ("small-cnn", (1, 14, 15), linear),
        ("conv4-8", (3, 20, 33), Head::Mlp { hidden: 5, outputs: 3 }),
        ("resnet12", (3, 20, 20), linear),
        ("cifar-resnet20", (3, 17, 16), linear),
        ("resnet18", (3, 33, 40), linear),
        ("resnet50", (1, 32, 32), linear),
        ("efficientnet-lite0", (3, 33, 50), linear),
        ("stroke-net-6", (1, 35, 35), Head::Matching { images: 5, outputs: 3 }),
        ("turned-stroke-net-6", (1, 35, 35), Head::Matching { images: 5, outputs: 3 }),
        ("turned-conv4-4", (1, 16, 16), linear),
        ("conv4-8", (1, 33, 33), Head::Matching { images: 5, outputs: 3 }),
        ("staged-efficientnet-lite0", (3, 33, 50), linear),
        ("four-view-staged-resnet18", (3, 33, 40), linear),
        ("staged-conv4-8", (1, 16, 16), linear),
        ("adapter-4", (7, 1, 1), linear),
        ("dinov2-small", (3, 28, 28), linear),
        ("two-view-staged-dinov2-small", (3, 28, 28), linear),
        ("clip-vit-b32", (3, 32, 32), linear),
    ];
    for (name, input, head) in cases {
        let model = model(name, input, head);
        let (c, h, w) = input;
        let inputs = uniform(&mut rng(3, name, 0), (2, c, h, w), -1.0, 1.0).unwrap();
        let own = model.network.logits(&model.state, &inputs).unwrap().to_vec2::<f32>().unwrap().concat();
        let file = decoded(&model, BARE);
        let made = run(file.graph.as_ref().unwrap(), &inputs).to_vec2::<f32>().unwrap().concat();
        let largest = own.iter().map(|value| value.abs()).fold(1.0, f32::max);
        for (made, own) in made.iter().zip(&own) {
            assert!((made - own).abs() < 1e-4 * largest, "{name}: {made} for {own}");
        }
        let names: std::collections::BTreeSet<_> =
            file.graph.as_ref().unwrap().initializer.iter().map(|constant| &constant.name).collect();
        assert_eq!(names.len(), file.graph.as_ref().unwrap().initializer.len(), "{name}: constants are written once");
        let spread = own.iter().map(|value| (value - own[0]).abs()).fold(0.0, f32::max);
        assert!(spread > 1e-3, "{name}: all logits are {}", own[0]);
    }
}

#[test]
fn a_file_tells_foreign_images_and_classes_that_fit_as_the_classifier_does() {
    let linear = Head::Linear { outputs: 3 };
    let cases = [
        ("conv4-8", (1, 20, 20), linear),
        ("adapter-4", (7, 1, 1), linear),
        ("two-view-staged-dinov2-small", (3, 28, 28), linear),
        ("stroke-net-6", (1, 35, 35), Head::Matching { images: 12, outputs: 3 }),
        ("turned-stroke-net-6", (1, 35, 35), Head::Matching { images: 12, outputs: 3 }),
        ("conv4-8", (1, 33, 33), Head::Matching { images: 12, outputs: 3 }),
    ];
    for (name, input, head) in cases {
        let (c, h, w) = input;
        let images = |part: &str, n: usize| uniform(&mut rng(3, part, 0), (n, c, h, w), -1.0, 1.0).unwrap();
        let (labeled, held_out, queries) = (images("labeled", 12), images("held out", 40), images("queries", 6));
        let mut model = model(name, input, head);
        let (network, state) = (&model.network, &mut model.state);
        let labels =
            |n: u32| Labeled { images: (0..n as usize).collect(), labels: (0..n).map(|k| k % 3).collect(), ways: 3 };
        let features = features(network, state, &Rows(labeled), &(0..12).collect::<Vec<_>>()).unwrap();
        if matches!(head, Head::Matching { .. }) {
            let in_head = format!("{}.support", network.backbone().head_name());
            state.params = state.params.merged(&[(in_head, features.clone())].into_iter().collect());
        }
        let held_out = HeldOut::of_images(network, state, &features, &Rows(held_out), &labels(40)).unwrap();
        let image = |k: usize| SupportImage { name: k.to_string(), content: taper_data::Hash([k as u8; 32]) };
        let support = Support {
            features,
            labels: labels(12).labels,
            images: (0..12).map(image).collect(),
            head: None,
            held_out: Some(held_out),
        };
        let assessor = Assessor::new(network, state, &support).unwrap();
        let forward = network.forward(&state.params, &state.buffers, &queries, Mode::evaluate()).unwrap();
        let (of_queries, logits) = (forward.features.detach(), forward.output.detach());
        let own = assessor.familiarity(&of_queries, &logits).unwrap();
        let sets = assessor.prediction_sets(&logits, 0.5).unwrap();
        model.support = Some(support);

        let file = decoded(&model, BARE);
        let graph = file.graph.as_ref().unwrap();
        let outputs: Vec<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
        assert_eq!(outputs, ["probabilities", "logits", "familiarity", "p_values"]);
        let values = run_all(graph, &queries);
        let made = values["familiarity"].to_vec1::<f32>().unwrap();
        for (made, own) in made.iter().zip(&own) {
            // a score on the edge of another may fall to either side
            assert!((f64::from(*made) - own).abs() < 1.5 / 41.0, "{name}: {made} for {own}");
        }
        let mostly = made.iter().zip(&own).filter(|(made, own)| (f64::from(**made) - **own).abs() < 1e-6).count();
        assert!(mostly >= 5, "{name}: {made:?} for {own:?}");
        assert!(made.iter().any(|share| (share - made[0]).abs() > 0.02), "{name}: all images are alike: {made:?}");
        let p_values = values["p_values"].to_vec2::<f32>().unwrap();
        for (row, mut set) in p_values.iter().zip(sets) {
            set.sort();
            assert_eq!((0..3).filter(|&class| row[class] > 0.5 + 1e-6).collect::<Vec<_>>(), set, "{name}: {row:?}");
        }
    }
}

#[test]
fn half_weights_take_half_the_bytes_and_hardly_change_the_logits() {
    let model = model("resnet12", (1, 20, 20), Head::Linear { outputs: 3 });
    let (whole, half) =
        (onnx(&model, BARE).unwrap(), onnx(&model, OnnxOptions { precision: Precision::Half, ..BARE }).unwrap());
    assert!(half.len() * 100 < whole.len() * 51, "{} and {} bytes", whole.len(), half.len());
    let inputs = uniform(&mut rng(3, "half", 0), (2, 1, 20, 20), -1.0, 1.0).unwrap();
    let logits = |bytes: &[u8]| {
        let graph = proto::Model::decode(bytes).unwrap().graph.unwrap();
        run(&graph, &inputs).to_vec2::<f32>().unwrap().concat()
    };
    let (whole, half) = (logits(&whole), logits(&half));
    let apart = whole.iter().zip(&half).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let largest = whole.iter().map(|value| value.abs()).fold(1.0, f32::max);
    assert!(apart > 0.0 && apart < 0.02 * largest, "{apart} of {largest}");
}

#[test]
fn weights_of_8_bits_take_a_quarter_of_the_bytes_and_change_the_logits_little() {
    for (name, input) in [("resnet12", (1, 20, 20)), ("staged-efficientnet-lite0", (3, 33, 50))] {
        let model = model(name, input, Head::Linear { outputs: 3 });
        let small = OnnxOptions { precision: Precision::Int8, ..BARE };
        let (whole, small) = (onnx(&model, BARE).unwrap(), onnx(&model, small).unwrap());
        assert!(small.len() * 100 < whole.len() * 29, "{name}: {} and {} bytes", whole.len(), small.len());
        let (c, h, w) = input;
        let inputs = uniform(&mut rng(3, "int8", 0), (2, c, h, w), -1.0, 1.0).unwrap();
        let logits = |bytes: &[u8]| {
            let graph = proto::Model::decode(bytes).unwrap().graph.unwrap();
            run(&graph, &inputs).to_vec2::<f32>().unwrap().concat()
        };
        let (whole, small) = (logits(&whole), logits(&small));
        let apart = whole.iter().zip(&small).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let largest = whole.iter().map(|value| value.abs()).fold(1.0, f32::max);
        assert!(apart > 0.0 && apart < 0.1 * largest, "{name}: {apart} of {largest}");
    }
}

#[test]
fn a_file_says_what_it_takes_gives_and_comes_from() {
    let model = model("conv4-4", (3, 16, 20), Head::Linear { outputs: 3 });
    let file = decoded(&model, OnnxOptions::default());
    assert_eq!((file.ir_version, file.opset_import[0].version), (8, 18));
    let graph = file.graph.unwrap();
    let names = |values: &[proto::ValueInfo]| values.iter().map(|value| value.name.clone()).collect::<Vec<_>>();
    assert_eq!(
        (names(&graph.input), names(&graph.output)),
        (vec!["images".into()], vec!["probabilities".into(), "logits".into()])
    );
    let metadata: BTreeMap<_, _> = file.metadata_props.into_iter().map(|entry| (entry.key, entry.value)).collect();
    assert_eq!(metadata["labels"], r#"["class 0","class 1","class 2"]"#);
    assert_eq!((metadata["transform"].as_str(), metadata["architecture"].as_str()), ("resize(20x16)", "conv4-4"));
    // every value that a node takes was made before
    let mut known: Vec<String> = graph.initializer.iter().map(|constant| constant.name.clone()).collect();
    known.extend(names(&graph.input));
    for node in graph.node {
        assert!(node.input.iter().all(|input| input.is_empty() || known.contains(input)), "{node:?}");
        known.extend(node.output);
    }
    assert!(known.contains(&"logits".to_string()));
}

#[test]
fn what_can_t_be_exported_says_why() {
    let error = |model: &Model, options| onnx(model, options).unwrap_err();
    let adapter = model("adapter-4", (7, 1, 1), Head::Linear { outputs: 3 });
    assert!(matches!(error(&adapter, OnnxOptions::default()), ExportError::Vectors { .. }));
    let learner = model("conv4-4", (1, 16, 16), Head::Identity);
    assert!(matches!(error(&learner, BARE), ExportError::Learner { .. }));
    let wrong = Model { transform: "resize(9x9)".into(), ..model("conv4-4", (1, 16, 16), Head::Linear { outputs: 2 }) };
    assert!(error(&wrong, OnnxOptions::default()).to_string().contains("`resize(9x9)` makes no image of (1, 16, 16)"));
    let facts = taper_export::CardFacts::default();
    let text = taper_export::timm(&wrong, &facts).unwrap_err().to_string();
    assert_eq!(text, "timm can't load this classifier (it has no conv4-4): export it as ONNX");
}
