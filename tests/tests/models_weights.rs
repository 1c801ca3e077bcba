//! Weight files of other programs: what loads, what is rejected, and that nothing panics.
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
use std::io::Write as _;
use std::path::{Path, PathBuf};
use taper_data::Transform;
use taper_models::{
    Architecture, Head, HeadPolicy, Network, WeightFile, identify, nearest, read_stored_weights, read_weights,
    recognize_weights, write_weights,
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

/// The result of reading a file of these bytes.
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
    assert!(index("three.safetensors").unwrap_err().contains("`three.safetensors` that is not beside it"));
}

#[test]
fn a_shard_of_torch_save_may_list_tensors_of_unsupported_types() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(checkpoint("typed.pth"), folder.path().join("one.bin")).unwrap();
    let index = |last: &str| {
        let names = ["conv1.weight", "bn1.bias", "scale", "phase", last];
        let map: BTreeMap<_, _> = names.into_iter().map(|name| (name, "one.bin")).collect();
        let text = serde_json::json!({ "weight_map": map }).to_string();
        std::fs::write(folder.path().join("pytorch_model.bin.index.json"), text).unwrap();
        WeightFile::read(folder.path())
    };
    let read = index("bn1.weight").unwrap();
    let said = read.report().notes().join("; ");
    assert!(said.contains("left out 2 tensors of an unsupported element type: `scale`, `phase`"), "{said}");
    assert!(read.tensors().contains_key("layers.2.bias") && !read.tensors().contains_key("scale"));
    assert!(index("other").unwrap_err().to_string().contains("lists `other`, which its shards lack"));
}

#[test]
fn a_name_that_ends_like_the_pickles_does_not_hide_it() {
    let file = std::fs::File::open(golden("tiny.pth")).unwrap();
    let mut original = zip::ZipArchive::new(file).unwrap();
    let mut more = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    more.start_file("tiny/code/metadata.pkl", zip::write::SimpleFileOptions::default()).unwrap();
    for entry in 0..original.len() {
        more.raw_copy_file(original.by_index_raw(entry).unwrap()).unwrap();
    }
    let read = read_bytes(&more.finish().unwrap().into_inner()).unwrap();
    assert_eq!(read.len(), read_weights(&golden("tiny.pth")).unwrap().len());
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
fn a_pickle_that_calls_a_function_is_refused_by_its_name() {
    let error = read_bytes(&legacy(b"\x80\x02cposix\nsystem\nX\x04\0\0\0true\x85R.")).unwrap_err();
    assert!(error.contains("`posix.system`") && error.contains("not run"), "{error}");
    let error = read_bytes(&legacy(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93)R.")).unwrap_err();
    assert!(error.contains("`builtins.eval`"), "{error}");
    let error = read_bytes(&legacy(b"\x80\x02(i__main__\nModel\n.")).unwrap_err();
    assert!(error.contains("`__main__.Model`"), "{error}");
}

fn checkpoint(name: &str) -> PathBuf {
    golden("checkpoints").join(name)
}

/// `golden/checkpoints.py` saved one network in the forms that training code uses.
#[test]
fn checkpoints_of_training_code_give_the_network_and_say_what_was_taken() {
    let names = [
        "bn1.bias",
        "bn1.num_batches_tracked",
        "bn1.running_mean",
        "bn1.running_var",
        "bn1.weight",
        "conv1.weight",
        "layers.0.bias",
        "layers.0.weight",
        "layers.2.bias",
        "layers.2.weight",
    ];
    let strangers = "skipped Python objects without executing them: ";
    let cases: [(&str, f64, &[&str]); 9] = [
        (
            "timm.pth.tar",
            100.0,
            &["from `state_dict_ema` (averaged weights), not from `state_dict`", strangers, "`argparse.Namespace`"],
        ),
        ("timm-legacy.pth.tar", 0.0, &["from `state_dict`", "prefix `module.`", strangers]),
        ("protocol-4.pth", 0.0, &["from `state_dict`", "prefix `module.`", strangers]),
        ("protocol-4-legacy.pth", 0.0, &["from `model`", strangers]),
        (
            "lightning.ckpt",
            0.0,
            &[
                "from `state_dict`",
                "prefix `_orig_mod.`, `model.`",
                "left out 1 tensors that are not the network's: `criterion`",
            ],
        ),
        ("whole-model.pth", 0.0, &["`__main__.Net`"]),
        ("whole-model-legacy.pth", 0.0, &["`__main__.Net`"]),
        ("torchscript.pt", 0.0, &["`__torch__"]),
        ("typed.pth", 0.0, &["from `net`", "left out 2 tensors of an unsupported element type"]),
    ];
    for (file, start, notes) in cases {
        let read = WeightFile::read(&checkpoint(file)).unwrap();
        let found: Vec<_> = read.tensors().keys().map(String::as_str).collect();
        // a traced module has no count of batches
        let names: Vec<_> = names.into_iter().filter(|name| file != "torchscript.pt" || found.contains(name)).collect();
        assert_eq!(found, names, "{file}");
        assert_eq!(values(&read.tensors()["layers.2.bias"]), [0.0, 1.0, 2.0].map(|value| value + start), "{file}");
        let said = read.report().notes().join("; ");
        for note in notes {
            assert!(said.contains(note), "{file}: no `{note}` in `{said}`");
        }
    }
}

#[test]
fn a_plain_state_dict_needs_no_note() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    write_weights(&path, &network("conv4-4", (1, 16, 16), 2).init(0).unwrap()).unwrap();
    assert_eq!(WeightFile::read(&path).unwrap().report().notes(), Vec::<String>::new());
}

fn as_map(state: &taper_models::State) -> BTreeMap<String, Tensor> {
    let all = state.params.iter().chain(state.buffers.iter());
    all.map(|(name, tensor)| (name.to_string(), tensor.clone())).collect()
}

#[test]
fn weights_that_hold_nan_are_refused_by_name_unless_the_head_is_replaced() {
    let network = network("cifar-resnet20", (3, 32, 32), 10);
    let with_nan = |name: &str| {
        let mut weights = as_map(&network.init(0).unwrap());
        let tensor = weights.get_mut(name).unwrap();
        *tensor = (&*tensor * f64::NAN).unwrap();
        weights
    };
    let error = network.load(with_nan("layer1.0.conv1.weight"), HeadPolicy::Exact).unwrap_err().to_string();
    assert!(error.contains("`layer1.0.conv1.weight` (2304 of 2304 values)"), "{error}");
    assert!(network.load(with_nan("linear.weight"), HeadPolicy::Exact).is_err());
    assert!(network.load(with_nan("linear.weight"), HeadPolicy::Replace { seed: 0 }).is_ok());
}

#[test]
fn a_head_under_another_name_is_found_and_an_incomplete_network_is_named() {
    let network = network("cifar-resnet20", (3, 32, 32), 10);
    let mut weights = as_map(&network.init(0).unwrap());
    for kind in ["weight", "bias"] {
        let tensor = weights.remove(&format!("linear.{kind}")).unwrap();
        weights.insert(format!("fc.{kind}"), tensor);
    }
    assert_eq!(identify(&weights), Some(("cifar-resnet20".parse().unwrap(), 10)));
    assert!(network.load(weights.clone(), HeadPolicy::Exact).is_ok());
    weights.remove("layer2.1.conv1.weight");
    assert_eq!(identify(&weights), None);
    let near = nearest(&weights).unwrap();
    assert_eq!(near.architecture, "cifar-resnet20".parse().unwrap());
    assert_eq!(near.problems, "missing `layer2.1.conv1.weight` [32, 32, 3, 3]");
}

#[test]
fn a_dinov2_at_224_pixels_has_257_tokens() {
    let at = |side| network("dinov2-small", (3, side, side), 2);
    let tokens = |network: &Network| {
        let spec = network.param_specs().into_iter().find(|spec| spec.name == "pos_embed").unwrap();
        spec.shape
    };
    assert_eq!((tokens(&at(224)), tokens(&at(518))), (vec![1, 257, 384], vec![1, 1370, 384]));
    let weights = as_map(&at(518).init(0).unwrap());
    let state = at(224).load(weights, HeadPolicy::Replace { seed: 0 }).unwrap();
    assert_eq!(state.params.get("pos_embed").unwrap().dims(), [1, 257, 384]);
    // weights of another size are recognized by their other tensors
    assert_eq!(identify(&as_map(&state)), Some(("dinov2-small".parse().unwrap(), 2)));
}

#[test]
fn other_files_are_called_what_they_are() {
    let cases: [(&[u8], &str); 6] = [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:abab\nsize 46807446\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html><head><title>Quota exceeded</title></head></html>", "web page"),
        (b"", "is empty"),
        (b"\0\0\0\0\0\0\0\x10{}", "claims a header of"),
        (b"\x1f\x8b\x08\0", "gzip"),
        (b"{\"architectures\": []}", "text in JSON"),
    ];
    for (bytes, what) in cases {
        let error = read_bytes(bytes).unwrap_err();
        assert!(error.contains(what), "{error}");
    }
    let zip = |names: &[&str]| {
        let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for name in names {
            archive.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        }
        archive.finish().unwrap().into_inner()
    };
    assert!(
        read_bytes(&zip(&["red/1.png", "blue/2.png"])).unwrap_err().contains("2 other files, such as `blue/2.png`")
    );
    assert!(
        read_bytes(&zip(&["a/model.safetensors"])).unwrap_err().contains("unpack it and use `a/model.safetensors`")
    );
    let whole = std::fs::read(checkpoint("timm.pth.tar")).unwrap();
    assert!(read_bytes(&whole[..whole.len() / 2]).unwrap_err().contains("cut off"));
}

#[test]
fn a_checkpoint_that_was_packed_again_reads_as_before() {
    let mut original = zip::ZipArchive::new(std::fs::File::open(checkpoint("timm.pth.tar")).unwrap()).unwrap();
    let mut packed = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    for index in 0..original.len() {
        let mut entry = original.by_index(index).unwrap();
        packed.start_file(entry.name(), options).unwrap();
        std::io::copy(&mut entry, &mut packed).unwrap();
    }
    let again = read_bytes(&packed.finish().unwrap().into_inner()).unwrap();
    let before = read_weights(&checkpoint("timm.pth.tar")).unwrap();
    assert!(before.iter().all(|(name, tensor)| values(tensor) == values(&again[name])));
}

#[test]
fn a_folder_with_one_weight_file_of_any_name_is_read() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(checkpoint("lightning.ckpt"), folder.path().join("last")).unwrap();
    std::fs::write(folder.path().join("config.json"), "{}").unwrap();
    assert!(read_weights(folder.path()).is_ok());
    std::fs::copy(checkpoint("timm.pth.tar"), folder.path().join("best.ckpt")).unwrap();
    let error = read_weights(folder.path()).unwrap_err().to_string();
    assert!(error.contains("2 weight files, such as best.ckpt and last"), "{error}");
    assert_eq!(recognize_weights(&folder.path().join("last")), Some(taper_models::WeightFormat::TorchZip));
    assert_eq!(recognize_weights(&folder.path().join("config.json")), None);
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
    assert!(read_weights(&folder.path().join("none.pth")).unwrap_err().to_string().contains("no such file"));
}

/// Bombs by views, empty lists, memo entries, declared sizes: each stays within the stated bounds.
#[test]
fn bombs_are_refused_within_the_memory_of_a_child_process() {
    in_child("bombs", 512 << 20, || {
        let lists = legacy(&[vec![b']'; 5_000_000], vec![b'.']].concat());
        assert!(read_bytes(&lists).unwrap_err().contains("too large"));
        let mut memo = b"]".to_vec();
        (0..3_000_000u32).for_each(|index| memo.extend([&b"r"[..], &index.to_le_bytes()].concat()));
        assert!(read_bytes(&legacy(&memo)).unwrap_err().contains("too large"));
        // copies of one dict, each in one instruction
        let mut copies = b"ccollections\nOrderedDict\nq\x000(](".to_vec();
        (0..2_000_000).for_each(|_| copies.push(b')'));
        copies.extend(b"e\x85q\x01");
        (0..1000).for_each(|_| copies.extend(b"h\x00h\x01R"));
        assert!(read_bytes(&legacy(&copies)).is_err());

        // 20,000 different views in f64 of one storage of 1 MiB
        let mut views = b"}(".to_vec();
        let elements = (1u32 << 17).to_le_bytes();
        for index in 0..10_000u32 {
            let name = format!("w{index}");
            views.extend([b"X", &(name.len() as u32).to_le_bytes()[..], name.as_bytes()].concat());
            views.extend(b"ctorch._utils\n_rebuild_tensor\n((X\x07\0\0\0storagectorch\nDoubleStorage\nX\x01\0\0\x000X\x03\0\0\0cpuJ");
            views.extend(
                [&elements[..], b"tQJ", &index.to_le_bytes(), b"(J", &(100_000u32).to_le_bytes(), b"t(K\x01ttR"]
                    .concat(),
            );
        }
        views.extend(b"u.");
        let magic = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e";
        let data = [&(1u64 << 17).to_le_bytes()[..], &vec![0; 1 << 20]].concat();
        let views = [&magic[..], b"M\xe9\x03.", b"}.", &views, b"]X\x01\0\0\x000a.", &data].concat();
        assert!(read_bytes(&views).unwrap_err().contains("larger than the file"));
    });
}

/// Tensors' bytes lie in stored entries. One may declare few bytes and have many, and thousands may be the same bytes.
#[test]
fn stored_entries_of_two_sizes_or_over_the_same_bytes_are_refused() {
    let original = std::fs::read(checkpoint("timm.pth.tar")).unwrap();
    let record = |name: &str| {
        let directory = original.windows(4).enumerate().filter(|(_, window)| *window == b"PK\x01\x02");
        let named = |at: usize| original[at + 46..].starts_with(name.as_bytes());
        directory.map(|(at, _)| at).find(|&at| named(at)).unwrap()
    };
    // the averaged weights, which are the ones that are taken, begin with storage 10
    let (first, later) = (record("timm.pth/data/10"), record("timm.pth/data/16"));
    let changed = |change: &dyn Fn(&mut [u8])| {
        let mut file = original.clone();
        change(&mut file);
        read_bytes(&file)
    };
    assert!(changed(&|_| ()).is_ok());
    // a record has the packed size at 20, the size at 24 and the place at 42
    let small = changed(&|file| file[first + 24..first + 28].copy_from_slice(&8u32.to_le_bytes()));
    assert!(small.as_ref().is_err_and(|error| error.contains("an entry has two sizes")), "{small:?}");
    let shared = changed(&|file| {
        file.copy_within(first + 42..first + 46, later + 42);
        file[later + 20..later + 24].copy_from_slice(&68u32.to_le_bytes());
        file[later + 24..later + 28].copy_from_slice(&68u32.to_le_bytes());
    });
    assert!(shared.as_ref().is_err_and(|error| error.contains("an entry lies outside the file")), "{shared:?}");
}

/// The file has 320 MiB, of which half is the optimizer's; reading it may take the memory of the tensors that are
/// kept and little more. Mapped pages don't count, a file that is read whole does.
#[test]
fn a_large_file_costs_its_own_size_and_the_network() {
    in_child("large", 720 << 20, || {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("large.safetensors");
        let megabytes = vec![0u8; 1 << 20];
        let mut header = String::from("{");
        let branches = ["backbone.layer", "optimizer.layer"];
        for index in 0..320 {
            let (branch, start) = (branches[index % 2], index << 20);
            let comma = if index > 0 { "," } else { "" };
            header += &format!(
                "{comma}\"{branch}{index}.weight\":{{\"dtype\":\"F32\",\"shape\":[512,512],\"data_offsets\":[{start},{}]}}",
                start + (1 << 20)
            );
        }
        header += "}";
        let mut file = std::fs::File::create(&path).unwrap();
        file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
        file.write_all(header.as_bytes()).unwrap();
        (0..320).for_each(|_| file.write_all(&megabytes).unwrap());
        drop(file);
        let read = WeightFile::read(&path).unwrap();
        assert_eq!(read.tensors().len(), 160);
        assert_eq!(read.report().left_out[0].tensors, 160);
    });
}

/// Runs `body` in a child process of this test whose own memory (heap and stacks, not mapped
/// files) may not exceed `bytes`, where the system can enforce that.
fn in_child(name: &str, bytes: usize, body: fn()) {
    let variable = "TAPER_MODELS_WEIGHTS_CHILD";
    if std::env::var(variable).is_ok_and(|child| child == name) {
        return body();
    }
    let thread = std::thread::current();
    let test = thread.name().unwrap();
    let program = std::env::current_exe().unwrap();
    let script = format!("ulimit -d {} || exit 99; exec \"$0\" --exact {test} --nocapture", bytes >> 10);
    let run = std::process::Command::new("sh").args(["-c", &script]).arg(program).env(variable, name).output();
    match run {
        Ok(output) if output.status.code() == Some(99) => println!("skipped: no limit on memory here"),
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => println!("skipped: {error}"),
    }
}

/// Files of every format with the damage that transfers and attackers cause.
#[test]
fn no_mutation_of_a_weight_file_panics_or_takes_much_memory() {
    in_child("mutations", 768 << 20, || {
        let folder = tempfile::tempdir().unwrap();
        let safetensors = folder.path().join("tiny.safetensors");
        write_weights(&safetensors, &network("conv4-4", (1, 16, 16), 2).init(0).unwrap()).unwrap();
        let names =
            ["timm.pth.tar", "timm-legacy.pth.tar", "protocol-4.pth", "whole-model-legacy.pth", "torchscript.pt"];
        let files: Vec<Vec<u8>> = [golden("tiny.pth"), golden("tiny-legacy.pth"), safetensors]
            .into_iter()
            .chain(names.map(checkpoint))
            .map(|path| std::fs::read(path).unwrap())
            .collect();
        let path = folder.path().join("mutated");
        let (mut loaded, mut refused) = (0, 0);
        for index in 0..8_000u64 {
            let mut bytes = files[index as usize % files.len()].clone();
            mutate(&mut bytes, &mut taper_ops::rng(0, "mutations", index));
            std::fs::write(&path, &bytes).unwrap();
            match read_weights(&path) {
                Ok(_) => loaded += 1,
                Err(error) => {
                    let error = error.to_string();
                    assert!(!error.contains('\n') && error.len() < 1500, "{error}");
                    refused += 1;
                }
            }
        }
        assert!(loaded > 100 && refused > 4_000, "{loaded} loaded, {refused} refused");
    });
}

fn mutate(bytes: &mut Vec<u8>, rng: &mut taper_ops::Rng) {
    for _ in 0..rng.random_range(1..4) {
        if bytes.len() < 64 {
            return;
        }
        let at = rng.random_range(0..bytes.len() - 8);
        match rng.random_range(0..8) {
            0 => bytes.truncate(at.max(1)),
            1 => bytes[at] ^= 1 << rng.random_range(0..8),
            2 => bytes[at] = rng.random(),
            3 => bytes[at..at + 4].fill(0xff),
            4 => {
                // a range repeated, or missing
                let end = (at + rng.random_range(1..200)).min(bytes.len());
                let stretch = bytes[at..end].to_vec();
                bytes.splice(at..at, stretch);
            }
            5 => {
                let end = (at + rng.random_range(1..50)).min(bytes.len());
                bytes.drain(at..end);
            }
            // sizes and places in a zip archive's records: unequal, overlapping, huge
            6 | 7 => {
                let signatures: [(&[u8], [usize; 5]); 3] = [
                    (b"PK\x01\x02", [10, 20, 24, 42, 28]),
                    (b"PK\x03\x04", [8, 18, 22, 26, 28]),
                    (b"PK\x05\x06", [8, 10, 12, 16, 20]),
                ];
                let (signature, fields) = signatures[rng.random_range(0..3)];
                let places: Vec<usize> =
                    bytes.windows(4).enumerate().filter(|(_, w)| *w == signature).map(|(at, _)| at).collect();
                if places.is_empty() {
                    return;
                }
                let at = places[rng.random_range(0..places.len())] + fields[rng.random_range(0..5)];
                let other = places[rng.random_range(0..places.len())] + fields[rng.random_range(0..5)];
                if at.max(other) + 4 > bytes.len() {
                    return;
                }
                let value: [u8; 4] = match rng.random_range(0..3) {
                    0 => bytes[other..other + 4].try_into().unwrap(),
                    1 => rng.random::<u32>().to_le_bytes(),
                    _ => rng.random_range(0..100_000u32).to_le_bytes(),
                };
                bytes[at..at + 4].copy_from_slice(&value);
            }
            _ => {}
        }
    }
}
