//! What `taper export --bare` writes gives, run by tract, the probabilities that `taper predict` prints.
//!
//! The program is `target/debug/taper`, or that of the environment variable `TAPER`.

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tract_onnx::prelude::*;

/// Height and width of all images: no step changes it.
const SIZE: (usize, usize) = (33, 40);
const TRANSFORM: &str = "color;resize(40x33);normalize(mean=0.5,std=0.25)";

/// A semicolon in the line is a space inside an argument.
fn taper(folder: &Path, line: &str) -> String {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/debug/taper");
    let program = std::env::var_os("TAPER").map_or(built, PathBuf::from);
    let made = Command::new(&program)
        .args(line.split_whitespace().map(|word| word.replace(';', " ")))
        .current_dir(folder)
        .output();
    let made = made.unwrap_or_else(|error| panic!("{}: {error}: build the workspace first", program.display()));
    assert!(made.status.success(), "{line}: {}", String::from_utf8_lossy(&made.stderr));
    String::from_utf8(made.stdout).unwrap()
}

/// Red, green and blue pixels: noise around a shade of the class.
fn pixels(class: usize, image: usize) -> Vec<u8> {
    let mut noise = (class * 100 + image) as u64 + 1;
    let mut next = || {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (noise >> 56) as u8 / 2
    };
    (0..SIZE.0 * SIZE.1 * 3).map(|at| next() + if at % 3 == class { 100 } else { 20 }).collect()
}

/// `folder/NAME/class/image.ppm`, of three classes.
fn write(folder: &Path, name: &str, images: std::ops::Range<usize>) {
    for class in 0..3 {
        let at = folder.join(name).join(format!("class{class}"));
        fs::create_dir_all(&at).unwrap();
        for image in images.clone() {
            let header = format!("P6\n{} {}\n255\n", SIZE.1, SIZE.0).into_bytes();
            fs::write(at.join(format!("{image}.ppm")), [header, pixels(class, image)].concat()).unwrap();
        }
    }
}

/// The first output, probabilities, of a file for an image.
fn by_tract(file: &Path, pixels: &[u8]) -> Vec<f32> {
    let shape = [1, 3, SIZE.0, SIZE.1];
    let model = tract_onnx::onnx().model_for_path(file).unwrap();
    let model = model.with_input_fact(0, f32::fact(shape).into()).unwrap();
    let plan = model.into_optimized().unwrap().into_runnable().unwrap();
    let place = SIZE.0 * SIZE.1;
    let inputs: Vec<f32> = (0..3 * place)
        .map(|at| f32::from(pixels[at % place * 3 + at / place]))
        .map(|level| (level / 255.0 - 0.5) / 0.25)
        .collect();
    let made = plan.run(tvec!(Tensor::from_shape(&shape, &inputs).unwrap().into())).unwrap();
    made[0].to_array_view::<f32>().unwrap().iter().copied().collect()
}

/// Compares the answers to a new image of each class.
fn compare(folder: &Path, classifier: &str) {
    taper(folder, &format!("export {classifier} --bare --out {classifier}.onnx"));
    taper(folder, &format!("export {classifier} --bare --int8 --out {classifier}-int8.onnx"));
    for class in 0..3 {
        let said = taper(folder, &format!("predict {classifier} new/class{class}/90.ppm --json"));
        let answer: Value = said
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .find(|event| event["event"] == "prediction")
            .unwrap_or_else(|| panic!("{said}"));
        let by_tract = |file: String| by_tract(&folder.join(file), &pixels(class, 90));
        let (made, small) = (by_tract(format!("{classifier}.onnx")), by_tract(format!("{classifier}-int8.onnx")));
        // the few values of a task decide much of an adapted learner: 8 bits are for trained networks
        let apart = made.iter().zip(&small).map(|(made, small)| (made - small).abs()).fold(0.0, f32::max);
        assert!(apart < 0.2 || classifier.ends_with("adapted"), "{classifier}: 8 bits: {small:?} for {made:?}");
        for one in answer["classes"].as_array().unwrap() {
            let label: usize = one["class"].as_str().unwrap().trim_start_matches("class").parse().unwrap();
            let apart = (one["probability"].as_f64().unwrap() - f64::from(made[label])).abs();
            assert!(apart < 1e-4, "{classifier}: {one} for {made:?}");
        }
    }
}

#[test]
fn trained_networks_and_adapted_learners_give_their_own_probabilities() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write(at, "data", 0..8);
    write(at, "few", 20..22);
    write(at, "new", 90..91);
    for backbone in ["conv4-8", "resnet18", "efficientnet-lite0"] {
        taper(at, &format!("train data --backbone {backbone} --epochs 1 --transform {TRANSFORM} --out {backbone}"));
        compare(at, backbone);
    }
    let learner = "--backbone conv4-8 --ways 3 --queries 2 --steps 2";
    for method in ["protonet", "maml"] {
        taper(at, &format!("meta-train glyphs --method {method} {learner} --transform {TRANSFORM} --out {method}"));
        taper(at, &format!("adapt {method} few --out {method}-adapted"));
        compare(at, &format!("{method}-adapted"));
    }
}
