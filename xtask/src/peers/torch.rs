//! The same works in PyTorch, and in ONNX Runtime where people use it: one program each, in several variants. Programs are
//! beside this file, or in the folder of scripts that is given, whose `common.py` all of them use.

use super::Outcome;
use super::work::Work;
use crate::args::Peers;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// One implementation of a work by others.
pub(crate) struct Variant {
    /// The name that distinguishes it from the others.
    pub(crate) name: &'static str,
    program: &'static str,
    arguments: Vec<&'static str>,
    /// The figure that it prints.
    figure: &'static str,
}

const CHANNELS_LAST: &str = "--channels-last";

/// Every variant that may be the fastest.
pub(crate) fn variants(work: Work) -> Vec<Variant> {
    let several = |program, figure, common: &[&'static str], more: &[(&'static str, &[&'static str])]| {
        let variant = |&(name, own): &(&'static str, &[&'static str])| Variant {
            name,
            program,
            arguments: [common, own].concat(),
            figure,
        };
        more.iter().map(variant).collect()
    };
    let layouts: [(&str, &[&str]); 2] = [("plain", &[]), ("channels-last", &[CHANNELS_LAST])];
    let maml = |own: &[&'static str]| {
        let common = ["--ways", "5", "--shots", "1", "--queries", "1", "--tasks", "32", "--inner-lr", "0.4"];
        let common = [&common[..], own].concat();
        let mut variants: Vec<Variant> =
            several("torch_maml.py", "loop_it_per_s", &common, &[("loop", &["--impl", "loop"])]);
        variants.extend::<Vec<Variant>>(several(
            "torch_maml.py",
            "vmap_it_per_s",
            &common,
            &[("vmap", &["--impl", "vmap"])],
        ));
        variants
    };
    let transfer = |own: &[&'static str], more: &[(&'static str, &[&'static str])]| {
        let common = [&["--batch", "16", "--size", "224", "--classes", "10"][..], own].concat();
        several("torch_transfer.py", "images_per_s", &common, more)
    };
    let features = |name: &'static str, ways: &[(&'static str, &[&'static str])]| {
        several("features.py", "images_per_second", &[name, "--side", "224", "--batch", "16"], ways)
    };
    let eager: (&str, &[&str]) = ("PyTorch", &["--only", "eager"]);
    let by_channel: (&str, &[&str]) = ("PyTorch, channels-last", &["--only", "channels-last"]);
    let onnx_runtime: (&str, &[&str]) = ("ONNX Runtime", &["--only", "ort"]);
    let openvino: (&str, &[&str]) = ("OpenVINO", &["--only", "openvino"]);
    let resnet = |name: &'static str| {
        let folded: [(&str, &[&str]); 2] =
            [("PyTorch", &[]), ("PyTorch, channels-last, folded", &[CHANNELS_LAST, "--fuse"])];
        let mut variants: Vec<Variant> = transfer(&["--arch", name, "--mode", "features"], &folded);
        variants.extend(features(name, &[onnx_runtime, openvino]));
        variants
    };
    match work {
        Work::Maml1Step => maml(&["--steps", "1"]),
        Work::Maml5Steps => maml(&["--steps", "5"]),
        Work::MamlFirstOrder => maml(&["--steps", "1", "--first-order"]),
        Work::Protonet => {
            let common = ["--ways", "20", "--shots", "5", "--queries", "15"];
            several("torch_protonet.py", "episodes_per_s", &common, &layouts)
        }
        Work::Resnet18Features => resnet("resnet18"),
        Work::Resnet50Features => resnet("resnet50"),
        Work::EfficientnetLite0Features => features("tf_efficientnet_lite0", &[by_channel, onnx_runtime, openvino]),
        Work::Dinov2SmallFeatures => features("vit_small_patch14_dinov2", &[eager, onnx_runtime, openvino]),
        Work::ClipVitB32Features => features("vit_base_patch32_clip_224", &[eager, onnx_runtime, openvino]),
        Work::ConvnextTinyFeatures => features("convnext_tiny", &[eager, by_channel, onnx_runtime, openvino]),
        Work::EfficientnetLite0FineTune => {
            let common = ["tf_efficientnet_lite0", "--side", "224", "--batch", "32", "--classes", "10"];
            several("fine_tune.py", "images_per_second", &common, &layouts)
        }
        Work::FolderFeatures => {
            let common = ["tf_efficientnet_lite0", "--batch", "16"];
            several("folder_features.py", "images_per_second", &common, &[("ONNX Runtime, Pillow", &[])])
        }
        Work::ColdStart => several("cold_start.py", "starts_per_second", &[], &[("PyTorch", &[])]),
        Work::Dinov2SmallNorms => {
            let common = ["vit_small_patch14_dinov2", "--side", "224", "--batch", "16", "--classes", "10", "--norms"];
            several("fine_tune.py", "images_per_second", &common, &[("PyTorch", &[])])
        }
        Work::Resnet18FineTune => transfer(&["--arch", "resnet18", "--mode", "finetune"], &layouts),
        Work::CifarResnet20Train => {
            several("torch_resnet20.py", "images_per_s", &["--batch", "128", "--classes", "10"], &layouts)
        }
    }
}

impl Variant {
    /// Runs it on `threads` threads for `seconds`; one that reads files finds them in `folder`.
    pub(crate) fn run(&self, asked: &Peers, folder: Option<&Path>) -> Result<Outcome> {
        let Peers { python, scripts, threads, seconds, .. } = asked;
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/peers").join(self.program);
        let program = if own.exists() { own } else { scripts.join(self.program) };
        let output = Command::new(python)
            .arg(&program)
            .env("PYTHONPATH", scripts)
            .args(&self.arguments)
            .args(folder)
            .args(["--threads", &threads.to_string(), "--seconds", &seconds.to_string()])
            .output()
            .with_context(|| format!("{} does not start: give another --python", python.display()))?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr);
            match words.lines().last() {
                Some(last) => bail!("{} failed: {last}", program.display()),
                None => bail!("{} failed and printed nothing", program.display()),
            }
        }
        let words = String::from_utf8_lossy(&output.stdout);
        let line = words.lines().last().unwrap_or_default();
        let found: Value =
            serde_json::from_str(line).with_context(|| format!("{} printed no JSON: {line}", program.display()))?;
        match (found[self.figure].as_f64(), found["peak_rss_mb"].as_f64()) {
            (Some(rate), Some(megabytes)) => Ok(Outcome { rate, megabytes: Some(megabytes) }),
            _ => bail!("{} printed no {} or peak_rss_mb: {line}", program.display(), self.figure),
        }
    }
}
