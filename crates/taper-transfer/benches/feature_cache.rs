//! What the feature cache saves: features of 2,000 JPEGs in a first process and in a second one,
//! which hashes every file again, and the peak memory for 10,000. ResNet-18, 224 pixels.
//!
//! `cargo bench -p taper-transfer --bench feature_cache`
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program that measures may fail, and reports")]

use image::codecs::jpeg::JpegEncoder;
use image::{Rgb, RgbImage};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;
use taper_data::{Transform, View, open};
use taper_models::{Architecture, Head, Network};
use taper_transfer::{FeatureCache, Features};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CLASSES: usize = 10;

fn main() {
    // SAFETY: the first statement of main, before any thread exists.
    #[allow(unsafe_code)]
    unsafe {
        taper_ops::configure_process();
    }
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, child, folder] = arguments.as_slice()
        && child == "child"
    {
        return compute(Path::new(folder));
    }
    let folder = tempfile::tempdir().unwrap();
    write_photographs(folder.path(), 0..2000);
    let (first, _) = run(folder.path());
    let (second, _) = run(folder.path());
    println!("2,000 JPEGs: first {first:.2} s, again in a new process {second:.2} s, ratio {:.0}", first / second);
    write_photographs(folder.path(), 2000..10_000);
    let (seconds, megabytes) = run(folder.path());
    println!("10,000 JPEGs, 8,000 of them new: {seconds:.1} s, at most {megabytes:.0} MB");
}

/// The same work in a separate process: seconds, and its peak memory.
fn run(folder: &Path) -> (f64, f64) {
    let output = Command::new(std::env::current_exe().unwrap()).arg("child").arg(folder).output().unwrap();
    let words = String::from_utf8(output.stdout).unwrap();
    let mut numbers = words.split_whitespace().map(|word| word.parse::<f64>().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

fn compute(folder: &Path) {
    let start = Instant::now();
    let transform: Transform =
        "color resize-short(256) center-crop(224) normalize(mean=0.485,0.456,0.406,std=0.229,0.224,0.225)"
            .parse()
            .unwrap();
    let view = View::new(open(&folder.join("images")).unwrap(), transform).unwrap();
    let backbone = "resnet18".parse::<Architecture>().unwrap().backbone(view.shape()).unwrap();
    let network = Network::new(backbone, Head::Identity);
    let state = network.init(0).unwrap();
    let all: Vec<usize> = (0..view.dataset().labels().len()).collect();
    let cache = FeatureCache::new(&folder.join("cache"));
    taper_ops::in_pool(2, || Features::compute(&view, &all, &network, &state, Some(&cache), |_, _| Ok(())))
        .unwrap()
        .unwrap();
    println!("{} {}", start.elapsed().as_secs_f64(), peak_memory());
}

/// In MB; NaN if the system does not report it.
fn peak_memory() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok()).map_or(f64::NAN, |kb: f64| kb / 1024.0)
}

/// Smooth colors with edges, of the size of small photographs, all different.
fn write_photographs(folder: &Path, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let class = folder.join("images").join(format!("class{}", number % CLASSES));
        fs::create_dir_all(&class).unwrap();
        let tone = number as f32;
        let image = RgbImage::from_fn(480, 360, |x, y| {
            let (x, y) = (x as f32 / 480.0, y as f32 / 360.0);
            let wave =
                |speed: f32| ((x * speed + tone * 0.7).sin() * (y * speed * 1.3 + tone).cos() * 100.0 + 128.0) as u8;
            let edge = if (x * 7.0 + tone).fract() > 0.5 { 40 } else { 0 };
            Rgb([wave(9.0).saturating_sub(edge), wave(17.0), wave(31.0)])
        });
        let mut bytes = Vec::new();
        JpegEncoder::new_with_quality(&mut bytes, 90).encode_image(&image).unwrap();
        fs::write(class.join(format!("{number}.jpg")), bytes).unwrap();
    }
}
