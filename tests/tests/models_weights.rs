//! Weight files as others write them: what loads, what is refused, and that nothing panics.
//! `golden/state_dicts.py` wrote the small files, `golden/cifar_resnet20.py` the logits.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test may fail, and say why it was skipped"
)]

use candle_core::{DType, Tensor};
use rand::Rng as _;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use taper_data::Transform;
use taper_models::{
    Architecture, Head, HeadPolicy, Network, identify, read_stored_weights, read_weights, write_weights,
};
use taper_ops::log_softmax;
use taper_tests::formula;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name)
}

fn network(name: &str, input: (usize, usize, usize), outputs: usize) -> Network {
    let backbone = name.parse::<Architecture>().unwrap().backbone(input).unwrap();
    Network::new(backbone, Head::Linear { outputs })
}

fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap()
}

/// What reading a file of these bytes gives.
fn read_bytes(bytes: &[u8]) -> Result<BTreeMap<String, Tensor>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.pth");
    std::fs::write(&path, bytes).unwrap();
    read_weights(&path).map_err(|error| error.to_string())
}

#[test]
fn both_formats_of_torch_save_load_alike_and_exactly() {
    for file in ["tiny.pth", "tiny-legacy.pth"] {
        let weights = read_weights(&golden(file)).unwrap();
        let expected: [(&str, &[usize], Vec<f64>); 10] = [
            ("bfloat16", &[2], vec![3.0, -0.125]),
            ("bn.num_batches_tracked", &[], vec![1_234_567_890_123.0]),
            ("contiguous", &[2, 3], vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]),
            ("double", &[1], vec![1e-3]),
            ("empty", &[0, 3], vec![]),
            ("half", &[2], vec![0.5, -1.25]),
            ("offset", &[2, 3], vec![8.0, 9.0, 10.0, 14.0, 15.0, 16.0]),
            ("parameter", &[2], vec![7.0, 8.0]),
            ("scalar", &[], vec![2.5]),
            ("transposed", &[6, 4], (0..24).map(|at| f64::from(at % 4 * 6 + at / 4)).collect()),
        ];
        let names: Vec<_> = weights.keys().map(String::as_str).collect();
        assert_eq!(names, expected.each_ref().map(|(name, ..)| *name), "{file}");
        for (name, shape, numbers) in expected {
            assert_eq!((weights[name].dims(), values(&weights[name])), (shape, numbers), "{file}: {name}");
        }
        assert_eq!((weights["half"].dtype(), weights["bfloat16"].dtype()), (DType::F32, DType::F32));
        let stored = read_stored_weights(&golden(file)).unwrap();
        assert_eq!((stored["half"].dtype(), stored["bfloat16"].dtype()), (DType::F16, DType::BF16));
    }
}

#[test]
fn published_cifar_resnet20_gives_pytorchs_logits() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/weights/cifar_resnet20.th");
    if !file.exists() {
        println!("skipped, no {}", file.display());
        return;
    }
    let weights = read_weights(&file).unwrap();
    assert_eq!(identify(&weights), Some(("cifar-resnet20".parse().unwrap(), 10)));
    let network = network("cifar-resnet20", (3, 32, 32), 10);
    let state = network.load(weights, HeadPolicy::Exact).unwrap();
    let images = (formula::uniform("cifar images", &[4, 3, 32, 32]).unwrap() * 2.0).unwrap();
    let ours = values(&network.logits(&state, &images).unwrap());
    let golden: BTreeMap<String, Vec<Vec<f64>>> =
        serde_json::from_slice(&std::fs::read(golden("cifar_resnet20.json")).unwrap()).unwrap();
    let theirs = golden["logits"].concat();
    let largest = theirs.iter().fold(0f64, |largest, value| largest.max(value.abs()));
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert!((ours - theirs).abs() < 1e-4 * largest, "{ours}, PyTorch's {theirs}");
    }
}

/// Decoding, resizing, normalizing and the network, all ours.
#[test]
fn published_efficientnet_lite0_sees_in_photographs_what_pytorch_sees() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let (file, photographs) = (shared.join("weights/efficientnet-lite0-57934424.pth"), shared.join("trashnet"));
    if !file.exists() || !photographs.exists() {
        println!("skipped, no {} or {}", file.display(), photographs.display());
        return;
    }
    let weights = read_weights(&file).unwrap();
    assert_eq!(identify(&weights), Some(("efficientnet-lite0".parse().unwrap(), 1000)));
    let network = network("efficientnet-lite0", (3, 224, 224), 1000);
    let state = network.load(weights, HeadPolicy::Exact).unwrap();
    let transform: Transform =
        "color resize-short(256,bicubic) center-crop(224) normalize(mean=0.49803922,std=0.5019608)".parse().unwrap();
    let golden: Vec<Value> =
        serde_json::from_slice(&std::fs::read(golden("efficientnet_lite0.json")).unwrap()).unwrap();
    for theirs in golden {
        let name = theirs["photograph"].as_str().unwrap();
        let planes = transform.apply(&taper_data::read_image(&photographs.join(name)).unwrap(), None).unwrap();
        let input = Tensor::from_vec(planes.values, (1, 3, 224, 224), &candle_core::Device::Cpu).unwrap();
        let logits = network.logits(&state, &input).unwrap();
        let probabilities = values(&log_softmax(&logits).unwrap().exp().unwrap());
        let mut ranked: Vec<usize> = (0..1000).collect();
        ranked.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
        let numbers = |key: &str| -> Vec<f64> {
            theirs[key].as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
        };
        for (place, (top, theirs)) in numbers("top").into_iter().zip(numbers("probabilities")).enumerate() {
            assert_eq!(ranked[place], top as usize, "{name}: class in place {place}");
            let ours = probabilities[ranked[place]];
            assert!((ours - theirs).abs() < 0.02, "{name}: probability {ours}, PyTorch's {theirs}");
        }
        let theirs = numbers("every_20th_logit");
        let largest = theirs.iter().fold(0f64, |largest, value| largest.max(value.abs()));
        for (ours, theirs) in values(&logits).iter().step_by(20).zip(&theirs) {
            assert!((ours - theirs).abs() < 0.03 * largest, "{name}: logit {ours}, PyTorch's {theirs}");
        }
    }
}

#[test]
fn written_weights_are_read_again_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let network = network("cifar-resnet20", (3, 32, 32), 7);
    let state = network.init(5).unwrap();
    write_weights(&path, &state).unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "a temporary file is left");
    let again = network.load(read_weights(folder.path()).unwrap(), HeadPolicy::Exact).unwrap();
    for (name, tensor) in state.params.iter() {
        assert_eq!(values(tensor), values(again.params.get(name).unwrap()));
    }
    for (name, tensor) in state.buffers.iter() {
        assert_eq!(values(tensor), values(again.buffers.get(name).unwrap()));
    }
}

#[test]
fn shards_are_read_together_and_never_from_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let state = network("conv4-32", (1, 28, 28), 5).init(0).unwrap();
    write_weights(
        &folder.path().join("one.safetensors"),
        &taper_models::State { buffers: Default::default(), ..state.clone() },
    )
    .unwrap();
    let rest = taper_models::State { params: Default::default(), ..state.clone() };
    write_weights(&folder.path().join("two.safetensors"), &rest).unwrap();
    let index = |shard: &str| {
        let params = state.params.iter().map(|(name, _)| (name, "one.safetensors"));
        let map: BTreeMap<_, _> = params.chain(state.buffers.iter().map(|(name, _)| (name, shard))).collect();
        let text = serde_json::json!({ "metadata": {}, "weight_map": map }).to_string();
        std::fs::write(folder.path().join("model.safetensors.index.json"), text).unwrap();
        read_weights(folder.path()).map_err(|error| error.to_string())
    };
    assert_eq!(index("two.safetensors").unwrap().len(), state.params.len() + state.buffers.len());
    assert!(index("../two.safetensors").unwrap_err().contains("outside its folder"));
    assert!(index("one.safetensors").unwrap_err().contains("which its shards lack"));
    assert!(index("three.safetensors").unwrap_err().contains("three.safetensors"));
}

#[test]
fn weights_that_do_not_fit_are_listed_and_a_head_is_replaced_only_when_asked() {
    let (ten, five) = (network("cifar-resnet20", (3, 32, 32), 10), network("cifar-resnet20", (3, 32, 32), 5));
    let state = ten.init(0).unwrap();
    let all = state.params.iter().chain(state.buffers.iter());
    let mut weights: BTreeMap<String, Tensor> = all.map(|(name, tensor)| (name.to_string(), tensor.clone())).collect();
    assert_eq!(identify(&weights), Some(("cifar-resnet20".parse().unwrap(), 10)));

    let error = five.load(weights.clone(), HeadPolicy::Exact).unwrap_err().to_string();
    assert!(error.contains("`linear.weight` is [10, 64] and should be [5, 64]"), "{error}");
    let replaced = five.load(weights.clone(), HeadPolicy::Replace { seed: 3 }).unwrap();
    assert_eq!(replaced.params.get("linear.bias").unwrap().dims(), [5]);
    assert_eq!(values(replaced.params.get("conv1.weight").unwrap()), values(state.params.get("conv1.weight").unwrap()));

    let moved = weights.remove("layer2.1.bn1.running_var").unwrap();
    weights.insert("layer9.weight".into(), moved);
    let error = ten.load(weights.clone(), HeadPolicy::Replace { seed: 3 }).unwrap_err().to_string();
    assert!(error.contains("missing `layer2.1.bn1.running_var` [32]"), "{error}");
    assert!(error.contains("unexpected `layer9.weight`"), "{error}");
    assert_eq!(identify(&weights), None);
}

#[test]
fn every_architecture_is_identified_by_its_weights() {
    let names = [
        "small-cnn",
        "conv4-32",
        "conv4-48",
        "resnet18",
        "resnet34",
        "resnet50",
        "cifar-resnet56",
        "efficientnet-lite0",
    ];
    for (name, outputs) in names.into_iter().zip(2..) {
        let architecture: Architecture = name.parse().unwrap();
        let side = architecture.default_side();
        let weights = network(name, (3, side, side), outputs);
        let param_specs = weights.param_specs().into_iter();
        let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &candle_core::Device::Cpu).unwrap();
        let weights = param_specs.map(|slot| (slot.name, zeros(&slot.shape))).collect();
        assert_eq!(identify(&weights), Some((architecture, outputs)), "{name}");
    }
}

/// A file in the older format whose third pickle is `main`.
fn legacy(main: &[u8]) -> Vec<u8> {
    let magic = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e";
    [magic, b"\x80\x02M\xe9\x03.".as_slice(), b"\x80\x02}.", main, b"\x80\x02]."].concat()
}

#[test]
fn a_pickle_that_asks_for_a_function_is_refused_by_its_name() {
    let error = read_bytes(&legacy(b"\x80\x02cposix\nsystem\nX\x04\0\0\0true\x85R.")).unwrap_err();
    assert!(error.contains("`posix.system`") && error.contains("nothing was run"), "{error}");
    let error = read_bytes(&legacy(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93)R.")).unwrap_err();
    assert!(error.contains("`builtins.eval`"), "{error}");
    let error = read_bytes(&legacy(b"\x80\x02(i__main__\nModel\n.")).unwrap_err();
    assert!(error.contains("instruction 0x69"), "{error}");
}

#[test]
fn hostile_pickles_are_errors_of_bounded_size() {
    let nested = [vec![b')'], vec![0x85; 3_000_000], vec![b'.']].concat();
    let endless = vec![b'N'; 5_000_000];
    let tensor = |sizes: &str, strides: &str| {
        format!(
            "}}X\x01\0\0\0wctorch._utils\n_rebuild_tensor\n((X\x07\0\0\0storagectorch\nFloatStorage\n\
             X\x01\0\0\x000X\x03\0\0\0cpuK\x04tQK\0({sizes}t({strides}ttRs."
        )
        .into_bytes()
    };
    let with_storage = |main: Vec<u8>| {
        let magic = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e";
        let keys = b"]X\x01\0\0\x000a.".as_slice();
        let data = [4u64.to_le_bytes().as_slice(), &[0; 16]].concat();
        [magic, b"M\xe9\x03.".as_slice(), b"}.", &main, keys, &data].concat()
    };
    assert_eq!(read_bytes(&with_storage(tensor("K\x02K\x02", "K\x02K\x01"))).unwrap()["w"].dims(), [2, 2]);
    let hostile = [
        ("nesting", legacy(&nested)),
        ("length", legacy(&endless)),
        ("text longer than the file", legacy(b"X\xff\xff\xff\x7fabc.")),
        ("outside its storage", with_storage(tensor("K\x03K\x02", "K\x02K\x01"))),
        ("expanded", with_storage(tensor("J\0\0\0\x40", "K\0"))),
        ("overflow", with_storage(tensor(&"J\0\0\0\x40".repeat(3), "K\x01K\x01K\x01"))),
        ("negative", with_storage(tensor("J\0\0\0\x7f", "J\0\0\0\x7f"))),
        ("many dimensions", with_storage(tensor(&"K\x01".repeat(9), &"K\x01".repeat(9)))),
        ("cycle", legacy(b"\x80\x02}q\0X\x05\0\0\0modelh\0s.")),
    ];
    for (what, bytes) in hostile {
        let error = read_bytes(&bytes).expect_err(what);
        assert!(error.len() < 600, "{what}: {error}");
    }
}

#[test]
fn files_that_hold_no_weights_are_errors_that_say_what_to_give() {
    for bytes in [b"".as_slice(), b"<html>not found</html>", b"{}", b"PK\x03\x04", b"\x80\x02}.", &[0; 64]] {
        let error = read_bytes(bytes).unwrap_err();
        assert!(error.contains("weights.pth"), "{error}");
    }
    let folder = tempfile::tempdir().unwrap();
    assert!(read_weights(folder.path()).unwrap_err().to_string().contains("folder without"));
    assert!(read_weights(&folder.path().join("none.pth")).unwrap_err().to_string().contains("cannot be read"));
}

#[test]
fn no_mutation_of_a_weight_file_panics() {
    let folder = tempfile::tempdir().unwrap();
    let safetensors = folder.path().join("tiny.safetensors");
    write_weights(&safetensors, &network("conv4-4", (1, 16, 16), 2).init(0).unwrap()).unwrap();
    let files = [golden("tiny.pth"), golden("tiny-legacy.pth"), safetensors].map(|path| std::fs::read(path).unwrap());
    let path = folder.path().join("mutated");
    let (mut loaded, mut refused) = (0, 0);
    for index in 0..1_200u64 {
        let mut bytes = files[index as usize % files.len()].clone();
        let rng = &mut taper_ops::rng(0, "mutations", index);
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(0..bytes.len());
            match rng.random_range(0..4) {
                0 => bytes.truncate(at.max(1)),
                1 => bytes[at] ^= 1 << rng.random_range(0..8),
                2 => bytes[at] = rng.random(),
                _ => bytes[at] = 0xff,
            }
        }
        std::fs::write(&path, &bytes).unwrap();
        match read_weights(&path) {
            Ok(_) => loaded += 1,
            Err(error) => {
                assert!(!error.to_string().contains('\n'), "{error}");
                refused += 1;
            }
        }
    }
    assert!(loaded > 0 && refused > 600, "{loaded} loaded, {refused} refused");
}
