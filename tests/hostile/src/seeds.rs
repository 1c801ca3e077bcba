//! The files that damage starts from.

use crate::Kind;
use crate::archives::{gzip, idx, npz, parquet, png, safetensors, tar, zip};
use crate::bombs::bombs;
use taper_data::mutation::decode_file;
use zip::CompressionMethod::{Deflated, Stored};

/// A file, and what lies beside it.
#[derive(Debug, Clone)]
pub struct Seed {
    /// Its kind.
    pub kind: Kind,
    /// Its bytes.
    pub content: Vec<u8>,
    /// Files in the same folder: names and bytes.
    pub beside: Vec<(&'static str, Vec<u8>)>,
    /// Whether it is an ordinary file, which must be read, and not a bomb.
    pub ordinary: bool,
}

impl Seed {
    fn new(kind: Kind, content: Vec<u8>) -> Self {
        Self { kind, content, beside: Vec::new(), ordinary: true }
    }
}

/// Pictures of every format, as many files of the other kinds, and each bomb once.
pub fn seeds() -> Vec<Seed> {
    let mut pictures = pictures(Kind::Image, include_str!("../../../crates/taper-data/golden/formats.txt"));
    pictures.extend(self::pictures(Kind::Jpeg, include_str!("../../golden/jpegs.txt")));
    // The pictures are many: the other files come as often as all of them together
    let others = others();
    let repeats = pictures.len().div_ceil(others.len());
    pictures.into_iter().chain(std::iter::repeat_n(others, repeats).flatten()).chain(bombs()).collect()
}

/// Pictures in hexadecimal, one a line; those that this build reads.
fn pictures(kind: Kind, text: &str) -> Vec<Seed> {
    let byte = |file: &str, at: usize| u8::from_str_radix(&file[at..at + 2], 16).unwrap();
    let files = text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split(' ').nth(4).unwrap());
    files
        .map(|file| (0..file.len()).step_by(2).map(|at| byte(file, at)).collect::<Vec<u8>>())
        .filter(|content| decode_file(content).is_ok())
        .map(|content| Seed::new(kind, content))
        .collect()
}

fn others() -> Vec<Seed> {
    let images = [png(10), png(90), png(170), png(250)];
    let names = ["set/a/1.png", "set/a/2.png", "set/b/3.png", "set/b/4.png"];
    let folders: Vec<(&str, Vec<u8>)> = names.into_iter().zip(images.clone()).collect();
    let samples = [
        ("0.png", images[0].clone()),
        ("0.cls", b"0".to_vec()),
        ("1.png", images[1].clone()),
        ("1.json", br#"{"label": "dog"}"#.to_vec()),
    ];
    let run = |name: &'static str, image: &Vec<u8>| (name, image.clone());
    let runs = [
        run("run01/training/class01.png", &images[0]),
        run("run01/training/class02.png", &images[1]),
        run("run01/test/item01.png", &images[2]),
        run("run01/test/item02.png", &images[3]),
        (
            "run01/class_labels.txt",
            b"run01/test/item01.png run01/training/class02.png\nrun01/test/item02.png run01/training/class01.png\n"
                .to_vec(),
        ),
    ];
    let pixels = idx(&[3, 2, 3], &(0..18).collect::<Vec<u8>>());
    let labels = vec![("train-labels-idx1-ubyte", idx(&[3], &[1, 5, 1]))];
    let beside = |seed: Seed, beside: Vec<(&'static str, Vec<u8>)>| Seed { beside, ..seed };
    let record = |class: u8| [vec![class], (0..3072u32).map(|pixel| pixel as u8).collect()].concat();
    vec![
        Seed::new(Kind::Zip, zip(&folders, Deflated)),
        Seed::new(Kind::Zip, zip(&folders, Stored)),
        Seed::new(Kind::Tar, tar(&folders)),
        Seed::new(Kind::WebDataset, tar(&samples)),
        Seed::new(Kind::Parquet, parquet(&images)),
        Seed::new(Kind::NumPy, npz()),
        Seed::new(Kind::Safetensors, safetensors("features", "labels")),
        beside(Seed::new(Kind::Idx, pixels.clone()), labels.clone()),
        beside(Seed::new(Kind::Idx, gzip(&pixels)), labels),
        beside(
            Seed::new(Kind::Cifar, [record(0), record(1)].concat()),
            vec![("batches.meta.txt", b"cat\ndog\n".to_vec())],
        ),
        Seed::new(Kind::Lake, zip(&runs, Deflated)),
        Seed::new(Kind::TorchWeights, include_bytes!("../../golden/tiny.pth").to_vec()),
        Seed::new(Kind::OldTorchWeights, include_bytes!("../../golden/tiny-legacy.pth").to_vec()),
        Seed::new(Kind::Weights, safetensors("conv1.weight", "fc.bias")),
        beside(
            Seed::new(Kind::Table, b"file,label,split\n1.png,red,train\n2.png,blue,train\n3.png,red,test\n".to_vec()),
            ["1.png", "2.png", "3.png"].into_iter().zip(images).collect(),
        ),
    ]
}
